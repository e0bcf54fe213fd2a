"""``prometheus today``: the state of the day, and what to type next."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.scripts.boundary import DATE, REGION, Command, format_option
from prometheus.scripts.tables import print_table, say, short_time

if TYPE_CHECKING:
    from prometheus.orchestration.next_step import NextStep
    from prometheus.orchestration.today import RegionDay, RunNote, Today
    from prometheus.pipeline.data_ages import DataAge

#: Lines of one kind that are shown; the rest is counted.
_SHOWN: Final = 5


@click.command("today", cls=Command)
@click.option("--as-of", type=DATE, help="Day, YYYY-MM-DD; default: each region's newest closed session.")
@click.option("--region", "regions", type=REGION, multiple=True, help="Only this region; may be repeated.")
@format_option("table", "json", default="table")
def command(as_of: datetime | None, regions: tuple[str, ...], output: Literal["table", "json"]) -> None:
    """Show each region's day, the ages of its data, and in the last line what to do next.

    Expected are all accounts of a region: PERSISTED, HELD, FAILED, in work, waiting for data, without a run, paused.
    Below are unfilled orders of earlier days, the ages of the day's data, and undelivered alerts. Nothing is written.

    \b
    Examples:
      prometheus today
      prometheus today --as-of 2018-06-01 --format json

    Exit codes: 0 nothing is left to do, 1 something is (the last line says what), 2 the request cannot be met.
    """
    from prometheus.bootstrap.limits import engine_config
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.orchestration.next_step import next_step
    from prometheus.orchestration.today import read_today

    settings = load_settings()
    with open_database(settings) as database:
        today = read_today(
            database,
            engine_config(settings),
            as_of=None if as_of is None else as_of.date(),
            regions=regions,
            undelivered_minutes=settings.health_undelivered_minutes,
        )
    step = next_step(today)
    if output == "json":
        click.echo(json.dumps(today_json(today, step), indent=2))
    else:
        print_today(today, step)
    if not step.done:
        sys.exit(1)


def today_json(today: "Today", step: "NextStep") -> JsonObject:
    """Return the report as JSON types; decimals are text."""
    document: JsonObject = _plain({**asdict(today), "next": asdict(step)})
    return document


def print_today(today: "Today", step: "NextStep") -> None:
    """Print the report: regions, what needs a person, orders, ages, alerts, and what to do next."""
    _print_regions(today)
    for region in today.regions:
        _print_notes("HELD", region.held)
        _print_notes("FAILED", region.failed)
        _print_notes("tried again later", region.retried)
        _print_notes("ended without trades", region.ended)
        _print_notes("paused", region.paused)
        _print_names(f"{region.region}: no run of {region.as_of}", region.not_created)
        _print_names(f"{region.region}: NON_OPTIMAL, previous targets kept, nothing traded", region.non_optimal)
        if region.why_non_optimal is not None:
            click.echo(f"  {region.why_non_optimal}")
    _print_notes("unfinished earlier day", today.earlier)
    if today.earlier_waiting:
        days = ", ".join(f"{day} ({count})" for day, count in list(today.earlier_waiting.items())[:_SHOWN])
        say(f"never marked ready: {days}; those that nobody will trade any more end with", hanging="  ")
        click.echo(f"  run_engine_state --as-of {next(iter(today.earlier_waiting))} --region REGION --cancel")
    _print_orders(today)
    if today.ages:
        click.echo()
        _print_ages(today.ages)
    click.echo()
    outbox = today.outbox
    said = "none" if not outbox.given_up + outbox.late else f"{outbox.given_up} given up, {outbox.late} late"
    say(f"undelivered alerts: {said}")
    if today.frozen is not None:
        since = "" if today.frozen_since is None else f" (since {short_time(today.frozen_since)})"
        say(f"FROZEN: {today.frozen}{since}")
    say(step.sentence)
    if step.command is not None:
        click.echo(f"next: {step.command}")


def _print_regions(today: "Today") -> None:
    header = (
        "region",
        "day",
        "expected",
        "PERSISTED",
        "HELD",
        "FAILED",
        "ended",
        "in work",
        "waiting",
        "no run",
        "paused",
    )
    print_table(
        header,
        [_region_row(region) for region in today.regions],
        right=header[2:],
        optional=("ended", "in work"),
        elsewhere="--format json has them",
    )
    if not today.regions:
        say("No account is loaded.")


def _region_row(region: "RegionDay") -> tuple[object, ...]:
    if not region.session:
        return (region.region, f"{region.as_of}: no session", *([None] * 9))
    return (
        region.region,
        region.as_of,
        region.expected,
        region.persisted,
        len(region.held),
        len(region.failed),
        # an empty column is left out on a terminal
        len(region.ended) or None,
        len(region.in_work) + len(region.retried) + len(region.behind) or None,
        len(region.waiting) or None,
        len(region.not_created) or None,
        len(region.paused) or None,
    )


def _print_notes(what: str, notes: "Iterable[RunNote]") -> None:
    """Print the notes on runs, those with one code together."""
    groups: dict[tuple[object, ...], list[RunNote]] = {}
    for note in notes:
        key = (note.as_of, note.code) if note.code is not None else (note.as_of, note.message)
        groups.setdefault(key, []).append(note)
    for group in list(groups.values())[:_SHOWN]:
        first = group[0]
        others = "" if len(group) == 1 else f" and {len(group) - 1} more"
        code = "" if first.code is None else f" {first.code}:"
        text = f"{what}: {first.account_id}{others} of {first.as_of}:{code} {first.message or ''}".rstrip(": ")
        if first.mended:
            text += " (something was stored since that may end it)"
        if first.due_at is not None:
            text += f" (again at {short_time(first.due_at)})"
        say(text, hanging="  ")
        if first.remedy is not None:
            click.echo(f"  {first.remedy}")
    if len(groups) > _SHOWN:
        say(f"{what}: and {len(groups) - _SHOWN} more kinds; --format json has them")


def _print_names(what: str, names: tuple[str, ...]) -> None:
    if names:
        others = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        say(f"{what}: {', '.join(names[:_SHOWN])}{others}", hanging="  ")


def _print_orders(today: "Today") -> None:
    trading: dict[date, int] = {}
    for region in today.regions:
        trading[region.as_of] = trading.get(region.as_of, 0) + region.persisted - region.without_orders
    for day, runs in trading.items():
        if runs:
            # Only a person sends them to the broker.
            say(f"runs of {day} with orders: {runs}; those still open leave with", hanging="  ")
            click.echo(f"  prometheus trades export --as-of {day} --output FILE")
    if not today.orders:
        return
    accounts = sorted({(order.account_id, order.as_of_date) for order in today.orders})
    shown = ", ".join(f"{account} of {day}" for account, day in accounts[:_SHOWN])
    others = f" and {len(accounts) - _SHOWN} more" if len(accounts) > _SHOWN else ""
    say(f"unfilled orders of earlier days: {len(today.orders)} in {shown}{others}", hanging="  ")


def _print_ages(ages: "Iterable[DataAge]") -> None:
    print_table(
        ("data", "of", "newest", "age", "limit", "usable", "why not"),
        [
            (
                age.kind.replace("_", " "),
                age.name,
                age.newest or "none",
                _age(age),
                None if age.limit is None else f"{age.limit:g}",
                "yes" if age.usable else "NO",
                age.reason or None,
            )
            for age in ages
        ],
        right=("age", "limit"),
        optional=("limit",),
        below=("why not",),
    )


def _age(age: "DataAge") -> str | None:
    if age.age is None:
        return None
    unit = age.unit.removesuffix("s") if round(age.age) == 1 else age.unit
    return f"{age.age:.0f} {unit}" + (" left" if age.kind == "calendar" else "")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value.isoformat() if hasattr(value, "isoformat") else value


def _key(key: Any) -> str:
    return key.isoformat() if hasattr(key, "isoformat") else str(key)
