"""Versioned strategy records."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, text

from prometheus.db.models import StrategyRow
from prometheus.foundation.canonical import JsonObject


@dataclass(frozen=True, slots=True)
class StrategyRecord:
    """One version of a strategy as stored: parameters and tag overrides as JSON values."""

    strategy_id: str
    version: int
    params: JsonObject
    tag_overrides: Mapping[str, JsonObject]


def latest_strategy(connection: Connection, strategy_id: str) -> StrategyRecord | None:
    """Return the newest version of a strategy, or None where there is none."""
    row = connection.execute(
        select(StrategyRow.strategy_id, StrategyRow.version, StrategyRow.params, StrategyRow.tag_overrides)
        .where(StrategyRow.strategy_id == strategy_id)
        .order_by(StrategyRow.version.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else StrategyRecord(row.strategy_id, row.version, row.params, row.tag_overrides)


def add_strategy_version(
    connection: Connection, strategy_id: str, params: JsonObject, tag_overrides: JsonObject
) -> int:
    """Store the next version of a strategy and return its number; an equal newest version is returned as it is."""
    # Writers of one strategy queue here, so that version numbers stay gap-free.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"strategy:{strategy_id}"})
    newest = latest_strategy(connection, strategy_id)
    if newest is not None and newest.params == params and newest.tag_overrides == tag_overrides:
        return newest.version
    version = 1 if newest is None else newest.version + 1
    connection.execute(
        insert(StrategyRow).values(
            strategy_id=strategy_id, version=version, params=dict(params), tag_overrides=dict(tag_overrides)
        )
    )
    return version
