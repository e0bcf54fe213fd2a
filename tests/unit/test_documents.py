"""What the documents tell people to type can be typed, and the tests and files that they name exist."""

import re

import click
import pytest

from prometheus.risk.settings import RiskSettings
from prometheus.scripts import engine_health, run_engine_state, show_engine_runs
from prometheus.scripts.main import main
from tests.conftest import REPOSITORY

PAGES = (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
PROGRAMS = {
    "prometheus": main,
    "run_engine_state": run_engine_state.command,
    "show_engine_runs": show_engine_runs.command,
    "engine_health": engine_health.command,
}
#: A program's name at the start of a line or of quoted code, and what follows it there.
CALL = re.compile(rf"(?:^|[`|;(]|&& |\$ )\s*((?:{'|'.join(PROGRAMS)}) [^`|\n#]*)", re.MULTILINE)


def calls(page):
    """Return the words of every call in a page; brackets around what may be left out are dropped."""
    parts = page.read_text(encoding="utf-8").replace("\\\n", " ").split("```")
    # Outside of blocks a line may break in the middle of a quoted call.
    parts[::2] = [re.sub(r"`[^`]+`", lambda quoted: quoted[0].replace("\n", " "), part) for part in parts[::2]]
    text = "```".join(parts)
    return [call[1].replace("[", "").replace("]", "").split() for call in CALL.finditer(text)]


def unknown_in(words):
    """Return the first word of a call that names no command, or its options that do not exist or lack their value."""
    command, rest = PROGRAMS[words[0]], words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        child = command.get_command(click.Context(command), rest[0])
        if child is None:
            return rest[:1]
        command, rest = child, rest[1:]
    known = {"--help", "--version"}.union(*((*option.opts, *option.secondary_opts) for option in command.params))
    valued = {name for option in command.params if not (getattr(option, "is_flag", False)) for name in option.opts}
    named = [(option[0], n) for n, word in enumerate(rest) if (option := re.match(r"--[a-z][a-z-]*", word))]
    # A page that names an option alone speaks of it ("its `ingest --kind`"); one with more to type is to be typed.
    return [option for option, n in named if option not in known] + [
        f"{option} without a value"
        for option, n in named
        if option in valued and rest[n] == option and (n + 1 == len(rest) or rest[n + 1].startswith("-"))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_in_the_documents_exists(page):
    """Commands and options that a page names are those of the programs."""
    assert {" ".join(words): unknown for words in calls(page) if (unknown := unknown_in(words))} == {}


def test_commands_are_found_in_the_documents_and_judged():
    """The README's calls are among those that are looked at, and a call that does not exist would be named."""
    assert ["prometheus", "runs", "show", "ACC-001", "RUN-001"] in calls(REPOSITORY / "README.md")
    assert unknown_in(["prometheus", "runs", "shwo", "ACC-001"]) == ["shwo"]
    assert unknown_in(["run_engine_state", "--advance-all", "--tomorrow"]) == ["--tomorrow"]
    assert unknown_in(["prometheus", "verify-audit", "--anchors"]) == ["--anchors without a value"]
    assert unknown_in(["prometheus", "verify-audit", "--anchors", "FILE", "--account", "A"]) == []


def test_written_guarantees_name_tests_that_exist():
    """Every test that a document names is there, and the engine's guarantees name at least two hundred."""
    there = set()
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        there.update(re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))
    named = {str(page): set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))) - there for page in PAGES}
    assert {page: sorted(missing) for page, missing in named.items() if missing} == {}
    engine = (REPOSITORY / "docs" / "evidence" / "engine.md").read_text(encoding="utf-8")
    assert len(set(re.findall(r"`(test_\w+)`", engine))) > 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_files_that_a_document_names_exist(page):
    """Every path of a test, benchmark or example in quotes leads to a file; test modules may stand without a folder."""
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:tests|bench|examples|tools|prometheus)/[\w/.*]+)`", text)
    modules = re.findall(r"`((?:\w+/)*test_\w+\.py)`", text)
    missing = [path for path in paths if not any(REPOSITORY.glob(path.rstrip("/")))]
    tests = REPOSITORY / "tests"
    missing += [module for module in modules if not any(tests.glob(f"**/{module.removeprefix('tests/')}"))]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_to_headings_lead_to_one(page):
    """The part of a link behind the number sign is a heading of the page that it leads to."""
    broken = []
    for target in re.findall(r"\]\(([^):]*#[^)]+)\)", page.read_text(encoding="utf-8")):
        path, heading = target.split("#")
        text = (page.parent / path if path else page).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        if heading not in {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}:
            broken.append(target)
    assert broken == []


def test_rules_and_evidence_link_each_other():
    """Each page of evidence belongs to a specification of the same name, and both lead to the other."""
    pages = sorted((REPOSITORY / "docs" / "evidence").glob("*.md"))
    assert len(pages) >= 9
    for page in pages:
        rules = REPOSITORY / "docs" / "specs" / page.name
        assert f"(../specs/{page.name})" in page.read_text(encoding="utf-8"), page.name
        assert f"(../evidence/{page.name}" in rules.read_text(encoding="utf-8"), page.name


def test_the_sessions_that_a_risk_model_needs_are_said_where_one_is_made():
    """README, runbook and help say how few sessions are refused, which a new fleet meets first."""
    least = RiskSettings().min_window
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert f"(at least {least})" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"at least {least}\nsessions" in runbook
    assert f"(at least {least})" in main.get_command(click.Context(main), "risk").commands["refresh"].help
