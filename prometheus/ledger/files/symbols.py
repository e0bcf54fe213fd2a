"""Symbols that may be one security: brokers write the class of a share behind a point, a slash, a hyphen or a blank."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from prometheus.ledger.files.findings import RowFinding

_SEPARATORS: Final = re.compile(r"[./ -]")


def separator_hints(tickers: Mapping[str, int]) -> list[RowFinding]:
    """Return a hint for each symbol that differs from another one by the separator only, such as BRK.B and BRK/B.

    The rows are booked as two securities: the ledger does not guess that they are one.

    Args:
        tickers: Symbol to the first line that names it.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for ticker in tickers:
        spellings[_SEPARATORS.sub("", ticker)].append(ticker)
    hints = []
    for names in spellings.values():
        first, *others = sorted(names, key=lambda name: (tickers[name], name))
        hints += [
            RowFinding(
                tickers[other],
                "SIMILAR_SYMBOLS",
                f"{other} and {first} differ by the separator only, and are booked as two securities.",
                "Write one symbol throughout where they are one, or enter a RENAME.",
                refused=False,
            )
            for other in others
        ]
    return hints
