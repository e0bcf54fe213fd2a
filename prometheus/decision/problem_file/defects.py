"""What is wrong with a problem file, as values: where, what stands there, why it cannot be, what to do."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from prometheus.foundation.errors import FileRefusedError

#: A file with more defects than this says how many more there are.
MOST_SHOWN: Final = 50
_LONGEST_VALUE: Final = 60

#: Keys and positions that lead from the document to a value.
Location = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect of a problem file.

    Attributes:
        path: JSON path of the value, such as ``$.lots[3].quantity``.
        value: What stands there, shortened; None where something is missing.
        reason: Why it cannot be, and what to do.
    """

    path: str
    value: str | None
    reason: str

    def __str__(self) -> str:
        """Return the defect as one line."""
        stands = "" if self.value is None else f" = {self.value}"
        return f"{self.path}{stands}: {self.reason}"


def defect(location: Location, value: Any, reason: str) -> Defect:
    """Return the defect of a value that stands in the document."""
    return Defect(json_path(location), shown(value), reason)


def json_path(location: Location) -> str:
    """Return a location as a JSON path."""
    parts = [
        f"[{part}]" if isinstance(part, int) else f".{part}" if part.isidentifier() else f"[{json.dumps(part)}]"
        for part in location
    ]
    return "$" + "".join(parts)


def shown(value: Any) -> str:
    """Return a JSON value as a person reads it, shortened to a line."""
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def refuse(name: str, defects: Iterable[Defect]) -> None:
    """Refuse a file that has defects.

    Raises:
        FileRefusedError: Lists them, at most 50; the details hold them all.
    """
    listed = tuple(defects)
    if not listed:
        return
    lines = [f"  {item}" for item in listed[:MOST_SHOWN]]
    if len(listed) > MOST_SHOWN:
        lines.append(f"  and {len(listed) - MOST_SHOWN} more")
    count = "1 defect" if len(listed) == 1 else f"{len(listed)} defects"
    raise FileRefusedError(
        "\n".join((f"{name} is not a problem that can be solved; {count}:", *lines)),
        code="PROBLEM_REFUSED",
        details={"defects": [{"path": item.path, "value": item.value, "reason": item.reason} for item in listed]},
    )


def _plain(value: Any) -> Any:
    # Not as text: the reader wrote a number. A float shows it well enough, and exactly where it has few digits.
    assert isinstance(value, Decimal)
    return float(value)
