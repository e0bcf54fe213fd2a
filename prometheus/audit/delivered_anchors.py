"""Anchors as they left the database: read back from the file or directory that the outbox wrote them to."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from prometheus.domain.outbox import MessageKind
from prometheus.foundation.errors import FileRefusedError
from prometheus.foundation.files import TooLargeError, lines_of

#: A message is some hundred characters; what is longer is none.
_LONGEST: Final = 2**20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class DeliveredAnchors:
    """What was found: day and digest of each anchor, once each, and the lines that cannot be read."""

    anchors: tuple[tuple[date, str], ...]
    unreadable: tuple[str, ...]


def read_delivered_anchors(path: Path) -> DeliveredAnchors:
    """Read the anchors among delivered messages; alerts are passed over, what was delivered twice counts once.

    Args:
        path: A file of JSON lines, or a directory with a file for each message.

    Raises:
        FileRefusedError: It cannot be read, or there is no anchor in it.
    """
    anchors: dict[tuple[date, str], None] = {}
    unreadable = []
    try:
        for where, line in _lines(path):
            try:
                message = json.loads(line)
                if message["kind"] == MessageKind.ANCHOR:
                    anchors[_anchor(message["payload"])] = None
            except (ValueError, KeyError, TypeError, RecursionError):
                unreadable.append(where)
    except (OSError, UnicodeDecodeError, TooLargeError) as error:
        raise FileRefusedError(f"{path} cannot be read: {error}.") from error
    if not anchors:
        raise FileRefusedError(f"There is no audit anchor in {path}; was it written by PROMETHEUS_ALERT_FILE?")
    return DeliveredAnchors(tuple(anchors), tuple(unreadable))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    if path.is_dir():
        for file in sorted(path.glob("*.json")):
            with file.open(encoding="utf-8") as text:
                yield str(file), text.read(_LONGEST)
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines_of(lines, _LONGEST), start=1):
            if line.strip():
                yield f"{path}, line {number}", line


def _anchor(payload: Any) -> tuple[date, str]:
    digest = payload["digest"]
    if _DIGEST.fullmatch(digest) is None:
        raise ValueError(digest)
    return date.fromisoformat(payload["as_of"]), digest
