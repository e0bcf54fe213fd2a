"""Digests of a run part by part, so that an alteration can be located and not only detected.

A run has five parts: its own columns, three JSON documents and its trade list. Each part has a SHA-256 over the digests
of its fields, and beside it a mark of three bytes for each field. The part's digest is the proof; the marks only locate
an alteration. The run's hash is taken over the digests, the number and the hash of the account's run before; so it can
be checked after the documents were archived, when only their digests are left.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from prometheus.db.trade_lines import TRADE_COLUMNS, trade_line
from prometheus.domain.money import plain_text
from prometheus.domain.run_record import RunRecord, TradeRow
from prometheus.foundation.canonical import (
    CanonicalText,
    JsonObject,
    JsonValue,
    canonical_json,
    sha256_of,
    text_of_jsonable,
    to_jsonable,
)
from prometheus.foundation.errors import DatabaseError

#: Written with every run from now on; a digest is checked by the rules of the format it names. Format 1 took a trade's
#: digest over its canonical JSON, format 2 takes it over its line (``trade_lines``).
DIGEST_FORMAT: Final = 2
DOCUMENTS: Final = ("snapshot", "params_snapshot", "result")
_COLUMNS: Final = (
    "account_id", "as_of_date", "code_version", "flags", "gap_bps", "iterations", "library_versions",
    "loadings_sha256", "lower_bound", "objective", "risk_model_id", "rounded_gap_bps", "solver", "solver_status",
    "solver_tolerance", "specific_variance_sha256", "status", "strategy_id", "strategy_version", "timings",
)  # fmt: skip
#: Columns of ``runs`` that are hashed, by format. A column added later joins in a format of its own.
HASHED_COLUMNS: Final[Mapping[int, tuple[str, ...]]] = {1: _COLUMNS, 2: _COLUMNS}
#: Columns of ``run_trades`` that are hashed, by format.
HASHED_TRADE_COLUMNS: Final[Mapping[int, tuple[str, ...]]] = {1: TRADE_COLUMNS, 2: TRADE_COLUMNS}
_MARK_BYTES: Final = 3

#: As stored with a run; nothing here trusts them.
Digests = JsonObject


def run_digests(
    record: RunRecord,
    trades: Sequence[TradeRow],
    *,
    digest_format: int = DIGEST_FORMAT,
    lines: Sequence[str] | None = None,
) -> Digests:
    """Return the digests of every part of a run: format, and for each part its SHA-256 and the marks of its fields.

    Args:
        record: The run; what is not hashed is passed over.
        trades: Its trades in order.
        digest_format: Rules to go by.
        lines: The lines of the trades where they were written already.

    Raises:
        DatabaseError: A format this code has no rules for (DIGEST_FORMAT).
    """
    if digest_format not in HASHED_COLUMNS:
        raise DatabaseError(
            f"Digest format {digest_format} is not known here; install a newer version of the engine.",
            code="DIGEST_FORMAT",
        )
    columns = {name: _plain(getattr(record, name)) for name in HASHED_COLUMNS[digest_format]}
    if digest_format == 1:
        traded = [_trade_json({name: getattr(trade, name) for name in TRADE_COLUMNS}) for trade in trades]
    else:
        traded = [trade_line(trade) for trade in trades] if lines is None else list(lines)
    return {
        "format": digest_format,
        "columns": _of_mapping(columns),
        **{name: _of_mapping(getattr(record, name)) for name in DOCUMENTS if getattr(record, name) is not None},
        "trades": _of_fields(map(_digest, traded)),
    }


def run_hash(digests: Digests, *, run_seq: int, previous_hash: bytes | None) -> bytes:
    """Return the hash of a run (32 bytes) from its digests, its number and the hash of the account's run before."""
    previous = None if previous_hash is None else previous_hash.hex()
    return bytes.fromhex(sha256_of({**digests, "run_seq": run_seq, "prev_hash": previous}))


def altered_part(stored: Digests, record: RunRecord, trades: Sequence[TradeRow], *, archived: bool) -> str | None:
    """Return the first part or field of a run that does not have its stored digest, in words; None where all have.

    Args:
        stored: The digests written with the run.
        record: The run's columns as they are now.
        trades: Its trades as they are now.
        archived: True where documents and trades were archived: then they must be gone, and only the columns count.

    Raises:
        DatabaseError: A format this code has no rules for.
    """
    now = run_digests(record, trades, digest_format=int(str(stored.get("format", 0))))
    if archived:
        left = next((name for name in DOCUMENTS if name in now), "a trade" if trades else None)
        if left is not None:
            return f"{left} is stored although the run is archived"
    for part in ("columns",) if archived else ("columns", *DOCUMENTS, "trades"):
        was, digests = stored.get(part), now.get(part)
        if was == digests:
            continue
        if digests is None:
            return f"{part} is missing"
        if was is None:
            return f"{part} has no stored digest"
        return _first_field(part, was, digests, record, trades)
    return None


def _first_field(part: str, was: JsonValue, digests: JsonValue, record: RunRecord, trades: Sequence[TradeRow]) -> str:
    before, after = _marks(was), _marks(digests)
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    if part == "trades":
        if len(after) != len(before):
            kind = "missing" if len(after) < len(before) else "added"
            return (
                f"a trade is {kind}: {len(before)} were recorded, {len(after)} are stored, different from {at + 1} on"
            )
        if at == len(after):
            return "the digest of the trades was altered"
        if sorted(before) == sorted(after):
            return f"the trades are in another order from trade {at + 1} on"
        trade = trades[at]
        return f"trade {at + 1} ({trade.side} {trade.ticker}, lot {trade.lot_id}) was altered"
    names = sorted(HASHED_COLUMNS[DIGEST_FORMAT] if part == "columns" else getattr(record, part))
    if len(before) != len(after):
        return f"{part} has {len(after)} fields, {len(before)} were recorded"
    if at == len(after):
        return f"the digest of {part} was altered"
    return f"column {names[at]} was altered" if part == "columns" else f"{part}.{names[at]} was altered"


def _of_mapping(value: Mapping[str, Any] | CanonicalText) -> dict[str, str]:
    # A document that the engine has serialised already is split at its top level only.
    if isinstance(value, CanonicalText) and value.members is not None:
        return _of_fields(_digest(f"{canonical_json(name)}:{text}") for name, text in value.members.items())
    fields = to_jsonable(value)
    return _of_fields(_digest(f"{canonical_json(name)}:{text_of_jsonable(fields[name])}") for name in sorted(fields))


def _of_fields(digests: Iterable[bytes]) -> dict[str, str]:
    whole, marks = hashlib.sha256(), bytearray()
    for digest in digests:
        whole.update(digest)
        marks += digest[:_MARK_BYTES]
    return {"sha256": whole.hexdigest(), "marks": base64.b64encode(bytes(marks)).decode()}


def _marks(digests: JsonValue) -> list[bytes]:
    if not isinstance(digests, Mapping):
        raise TypeError("the digests of a part are no object")
    raw = base64.b64decode(str(digests["marks"]))
    return [raw[at : at + _MARK_BYTES] for at in range(0, len(raw), _MARK_BYTES)]


def _trade_json(trade: Mapping[str, Any]) -> str:
    # A column pads decimals with zeros and has no negative zero; the hash must not depend on that.
    plain = {name: plain_text(value) if isinstance(value, Decimal) else value for name, value in trade.items()}
    return canonical_json(plain)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _plain(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value
