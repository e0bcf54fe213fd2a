"""Codes that ask for a person: one list, which code, runbook and help agree with."""

import ast
import re

import pytest

from prometheus.domain.attention import ATTENTION, FINDING_CODES, Tells, remedy_of_hold
from prometheus.scripts import engine_health
from tests.conftest import REPOSITORY

RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
SOURCES = [
    path
    for path in sorted((REPOSITORY / "prometheus").rglob("*.py"))
    if path.name != "attention.py" and path.parent.name != "problem_file"
]
#: What raises a code, and where in the call the code stands: the place among the arguments, or the keyword ``code``.
RAISERS = {
    "PhaseHeldError": None,
    "Flag": 0,
    "alert": 2,
    "raise_alert": None,
    "raise_fleet_alert": None,
    "DataAge": 7,
}
#: Codes of holds inside the database, and of alerts of the reaper.
SQL_CODE = re.compile(r"THEN '([A-Z]+_[A-Z_]+)'")


def named(call, name):
    """Return whether a call calls something of this name."""
    return getattr(call.func, "id", getattr(call.func, "attr", None)) == name


def codes_raised(tree, path):
    """Yield the codes that a module raises for a person, as far as they are written where they are raised."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        nodes = []
        for name, place in RAISERS.items():
            if named(call, name):
                nodes += [keyword.value for keyword in call.keywords if keyword.arg == "code"]
                nodes += [] if place is None else call.args[place : place + 1]
        if path.name == "health.py" and named(call, "Finding"):
            nodes += call.args[:1]
        yield from (value.value for value in nodes if isinstance(value, ast.Constant) and value.value)


def all_codes():
    """Return every code raised anywhere, with the modules that do."""
    codes = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        for code in codes_raised(ast.parse(text), path):
            codes.setdefault(code, set()).add(path.name)
        if path.name == "reaper.py":
            for code in SQL_CODE.findall(text):
                codes.setdefault(code, set()).add(path.name)
    return codes


def sections():
    """Return the runbook's sections of codes: code to its text."""
    parts = re.split(r"^### ", RUNBOOK, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].strip(): part for part in parts}


def test_every_code_that_is_raised_is_in_the_list():
    """Nothing holds, flags, alerts or finds under a code that the list of codes does not have."""
    codes = all_codes()
    assert {"STALE_RISK", "MISSING_PRICE", "RUN_FAILED", "WORKER_LOST", "NO_HEARTBEAT", "PAUSED_ACCOUNTS"} <= set(codes)
    assert {code: sorted(where) for code, where in codes.items() if code not in ATTENTION} == {}


def test_the_runbook_has_every_code_and_no_other():
    """Each code has its section in the runbook, and each section is a code."""
    assert sorted(sections()) == sorted(ATTENTION)


@pytest.mark.parametrize("code", ATTENTION)
def test_section_has_cause_check_and_remedy(code):
    """Each section says how the code reaches a person, what causes it, where to look and what to do."""
    text = sections()[code]
    told = [re.search(rf"^{word}: (.+)", text, re.MULTILINE) for word in ("Cause", "Check", "Remedy")]
    assert all(told), text
    kinds = re.search(r"^\*(.+)\.\*$", text, re.MULTILINE)[1].lower()
    assert {tell for tell in Tells if tell.value.lower() in kinds} == ATTENTION[code].tells
    assert ("passes" in kinds) == ATTENTION[code].passing


def test_help_of_engine_health_lists_every_finding():
    """The help names the findings of the list, all of them."""
    listed = re.search(r"Findings: ([A-Z_,\s]+)\.", engine_health.command.help)[1]
    assert tuple(re.split(r",\s+", listed)) == FINDING_CODES


def test_hold_without_a_remedy_is_one_that_passes():
    """Every hold that does not pass by itself has a command that mends it, filled in for the run."""
    holds = {code: one for code, one in ATTENTION.items() if Tells.HOLD in one.tells}
    assert {code for code, one in holds.items() if not one.command} == {
        code for code, one in holds.items() if one.passing
    }
    assert remedy_of_hold("STALE_RISK", account_id="A", as_of="2024-06-28") == (
        "prometheus risk refresh --as-of 2024-06-28"
    )
    assert remedy_of_hold("NEW_CODE", account_id="A", as_of="2024-06-28") is None
