"""A problem of four names whose every number can be checked by hand, for tests to change."""

import json
from copy import deepcopy
from pathlib import Path

from prometheus.decision.problem_file.reading import read_problem

REPOSITORY = Path(__file__).resolve().parents[4]
EXAMPLE = REPOSITORY / "examples" / "problem_small.json"

_DOCUMENT = {
    "version": 1,
    "as_of": "2026-11-16",
    "base_currency": "USD",
    "cash": "1000.00",
    "fractional_shares": False,
    "lot_method": "HIFO",
    "tax_regime": "US",
    "tax_rates": {"st": "0.37", "lt": "0.2"},
    "params": {"max_weight": 0.5, "max_active_weight": 0.2},
    "factor_covariance": [[0.04, 0.0], [0.0, 0.01]],
    "assets": [
        {
            "ticker": ticker,
            "price": price,
            "benchmark_weight": weight,
            "sector": "Energy",
            "loadings": [1.0, style],
            "specific_variance": 0.04,
        }
        for ticker, price, weight, style in (
            ("AAA", "10.50", 0.3, 0.5),
            ("BBB", "20", 0.3, -0.5),
            ("CCC", "40.25", 0.2, 0.1),
            ("DDD", "5", 0.2, 0.0),
        )
    ],
    "lots": [
        {"lot_id": "L1", "ticker": "AAA", "acquired_on": "2024-01-02", "quantity": "2000", "adjusted_basis": "15000"},
        {"lot_id": "L2", "ticker": "AAA", "acquired_on": "2026-05-04", "quantity": "500", "adjusted_basis": "7500"},
        {"lot_id": "L3", "ticker": "BBB", "acquired_on": "2025-01-02", "quantity": "1200", "adjusted_basis": "18000"},
        {"lot_id": "L4", "ticker": "CCC", "acquired_on": "2025-06-02", "quantity": "600", "adjusted_basis": "30000"},
    ],
    "recent_trades": [],
}


def small_document():
    """Return the document, to be changed at will."""
    return deepcopy(_DOCUMENT)


def raw(document):
    """Return a document as the bytes of a file."""
    return json.dumps(document).encode()


def read(document):
    """Read a document as a problem file."""
    return read_problem(raw(document), "problem.json")


def changed(document, path, value):
    """Return the document with the value at a path (a sequence of keys) replaced, or removed where it is ``...``."""
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return document
