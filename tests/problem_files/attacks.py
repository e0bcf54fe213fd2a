"""Attacks on single fields of a problem file: what somebody types, cuts off or multiplies, one field at a time.

``attack`` draws a field of a random problem file and puts there a value of the wrong kind, size, sign or day, or takes
it away, or doubles it. Where the result may still be meant, the document is returned as well, so
that its answer can be checked.
"""

import json
from copy import deepcopy
from random import Random
from typing import Any

from tests.problem_files.generator import problem

Path = tuple[str | int, ...]

#: Written as JSON, because NaN and numbers of a thousand digits are no Python values that json would write.
TOKENS = (
    "null", "true", "false", '""', '" "', '"x"', '"12,5"', '"1e5"', '"-0"', '"nan"', '"Infinity"', '"2026-02-30"',
    '"9999-12-31"', '"0001-01-01"', '"1899-12-31"', '"2199-12-31"', '"12.5\\n"', '"\\ud800"', '"\\u0000"', "[]", "{}",
    "[null]", '["CLARABEL"]', '{"a": 1}', "NaN", "Infinity", "-Infinity", "0", "-0.0", "1", "-1", "0.5", "2", "100",
    "1e-9", "1e-15", "1e-300", "1e-400", "1e6", "1e9", "1e15", "1e16", "1e154", "1e308", "1e400", "-1e15", "-1e308",
    '"0.000000000000000001"', '"999999999999999"', '"1000000000000000000"', '"-999999999999999"', "1" * 400,
    "0." + "3" * 60, "[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]",
)  # fmt: skip
#: Numbers that the checker's floats read otherwise than a file that is read exactly, by more than it forgives.
UNCHECKED = ("1e-300", "1e-400")
ABSENT, TWICE, UNKNOWN = "taken away", "twice", "an unknown field beside it"
#: Fields that every file may have; those of a drawn file are added to them.
PARAMS = (
    "risk_aversion", "tax_weight", "cost_bps", "cash_min", "cash_max", "max_weight", "max_active_weight", "min_trade",
    "no_buy", "no_sell", "never_hold", "never_hold_sub_industries", "low_volatility_tilt", "loss_sale_policy",
    "max_gap_bps", "max_missing_price_share", "solver", "solver_tolerance", "te_max", "sector_active_max",
    "factor_active_max", "turnover_max", "tax_budget", "tax_budget_ytd", "max_names", "long_max",
)  # fmt: skip
OPTIONAL: tuple[Path, ...] = (
    *(("params", name) for name in PARAMS),
    ("nav",), ("account_id",), ("realized_this_year",), ("sheltered",), ("previous_targets",), ("description",),
    ("specific_correlation_blocks",), ("tax_rates", "niit"), ("previous_targets", "T000"), ("$schema",),
    *(("assets", 0, name) for name in ("price_date", "sub_industry", "group", "cost", "borrow_rate")),
)  # fmt: skip
OPTIONAL_IN_LOTS = ("cost_basis", "holding_period_start")
OPTIONAL_IN_TRADES = (
    "group", "realized_gain", "lot_id", "unreplaced", "washed_quantity", "disallowed_loss", "acquired_on",
    "holding_period_start", "execution_id", "account", "denied_for_good",
)  # fmt: skip
_MARK = "\x01here\x01"


def attack(seed: int) -> tuple[bytes, str, str, dict[str, Any] | None]:
    """Return a file, the field attacked, what was done to it, and the document where it can be read as JSON values."""
    random = Random(f"attack {seed}")
    document = problem(random.randrange(400))
    fields = _fields(document)
    path = random.choice(fields)
    what = random.choice((ABSENT, TWICE, UNKNOWN) if random.random() < 0.12 else TOKENS)
    changed = deepcopy(document)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent.setdefault(key, {}) if isinstance(parent, dict) else parent[key]
    last, where = path[-1], ".".join(map(str, path))
    present = last in parent if isinstance(parent, dict) else True
    if what == ABSENT and present:
        del parent[last]
    elif what == UNKNOWN and isinstance(parent, dict):
        parent[f"{last}s"] = 1
    elif what == TWICE and isinstance(parent, list):
        parent.insert(int(last), deepcopy(parent[int(last)]))
    elif what == TWICE and present:
        twice = f"{json.dumps(last)}: {json.dumps(parent[last])}, {json.dumps(last)}"
        text = json.dumps(changed).replace(f"{json.dumps(last)}: ", f"{twice}: ", 1)
        return text.encode(), where, what, None
    else:
        token = what if what in TOKENS else "null"
        parent[last] = _MARK
        text = json.dumps(changed).replace(json.dumps(_MARK), token)
        return text.encode(), where, token[:40], _plain(text)
    text = json.dumps(changed)
    return text.encode(), where, what, _plain(text)


def _plain(text: str) -> dict[str, Any] | None:
    """Return the document where a checker with floats reads the same numbers; None where it would not."""
    try:
        document: dict[str, Any] = json.loads(text)
        json.dumps(document, allow_nan=False)
    except ValueError:
        return None
    return document


def _fields(document: dict[str, Any]) -> list[Path]:
    """Return the fields of a file with those it might have, a row of each list and not all of them."""
    paths: list[Path] = list(OPTIONAL)
    for name, value in document.items():
        paths.append((name,))
        if isinstance(value, dict):
            paths += [(name, key) for key in value]
        if isinstance(value, list) and value:
            paths.append((name, 0))
            row = value[-1]
            paths += [(name, len(value) - 1, key) for key in (row if isinstance(row, dict) else range(len(row)))]
            if isinstance(row, dict):
                for key, inner in row.items():
                    paths += [(name, len(value) - 1, key, 0)] if isinstance(inner, list) and inner else []
    if document["lots"]:
        paths += [("lots", 0, name) for name in OPTIONAL_IN_LOTS]
    if document["recent_trades"]:
        paths += [("recent_trades", 0, name) for name in OPTIONAL_IN_TRADES]
    return paths
