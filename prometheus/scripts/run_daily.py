"""``prometheus run-daily``: the day in one command."""

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.scripts.boundary import DATE, REGION, Command, StopSignals, format_option
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus.orchestration.advance_all import AdvanceSummary
    from prometheus.orchestration.run_daily import PreparedRegion


@click.command(
    "run-daily",
    cls=Command,
    interrupted="Interrupted: what was committed stays, claimed runs were given back. "
    "The same command, with the same --as-of and --region, goes on where it stopped.",
)
@click.option("--as-of", type=DATE, help="Day, YYYY-MM-DD; default: each region's newest closed session.")
@click.option("--region", "regions", type=REGION, multiple=True, help="Only this region; may be repeated.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that compute; as many as cores by default, 0 for none beside this one.",
)
@format_option("table", "json", default="table")
def command(
    as_of: datetime | None, regions: tuple[str, ...], workers: int | None, output: Literal["table", "json"]
) -> None:
    """Run the fleet's day: create the runs, mark the data ready, advance, and report as 'today' does.

    The same as 'run_engine_state --ensure --data-ready --advance-all' for every region, then 'prometheus today', but
    data are marked ready only where prices, corporate actions, benchmark, borrow curve and risk model are recent
    enough; else the reasons are printed, and the runs wait. Given again it goes on, or changes nothing.

    \b
    Examples:
      prometheus run-daily
      prometheus run-daily --as-of 2018-06-01 --region us

    Exit codes: 0 every run is PERSISTED and nothing is left to do, 1 something is refused, held, failed or waits (the
    last line says what to do), 2 the request cannot be met, 130 ended by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
    """
    from prometheus.bootstrap.engine import default_workers, tick_of
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.orchestration.advance_all import advance_all
    from prometheus.orchestration.next_step import next_step
    from prometheus.orchestration.run_daily import prepare_day
    from prometheus.orchestration.today import read_today
    from prometheus.scripts.progress import counting
    from prometheus.scripts.today import print_today, today_json

    settings = load_settings()
    tick = tick_of(settings)
    processes = default_workers() if workers is None else workers
    day = None if as_of is None else as_of.date()
    stop = StopSignals()
    with open_database(settings) as database:
        prepared = prepare_day(
            database,
            tick.config,
            as_of=day,
            regions=regions,
            on_prepared=_print_prepared if output == "table" else lambda _: None,
        )
        with counting("advancing runs", threads=processes == 0) as count, stop.heard():
            advanced = advance_all(
                database,
                tick.config,
                database.sibling,
                limits=tick.limits,
                outbox=tick.outbox,
                workers=processes,
                on_outcome=lambda *_: count(1),
                must_stop=lambda: stop.received is not None,
            )
        stop.leave_if_told()
        today = read_today(
            database,
            tick.config,
            as_of=day,
            regions=regions,
            undelivered_minutes=settings.health_undelivered_minutes,
        )
    step = next_step(today)
    if output == "json":
        click.echo(json.dumps({**_as_json(prepared, advanced), "today": today_json(today, step)}, indent=2))
    else:
        _print_advanced(advanced)
        click.echo()
        print_today(today, step)
    if not step.done or advanced.needs_a_person:
        sys.exit(1)


def _print_prepared(region: "PreparedRegion") -> None:
    """Print the preparation of a region; the reasons for refused data are printed once below, with their ages."""
    if not region.session:
        say(f"{region.region}: {region.as_of} is no session of its exchange.")
        return
    superseded = f", {len(region.superseded)} superseded by a later day" if region.superseded else ""
    say(f"{region.region} {region.as_of}: {region.created} created, {region.ready} marked ready{superseded}")
    if region.refused:
        refused = (f"{age.code} ({age.name})" if age.name else age.code for age in region.refused)
        say(f"  refused, the data are not ready: {', '.join(refused)}", hanging="    ")


def _print_advanced(summary: "AdvanceSummary") -> None:
    outcomes = ", ".join(f"{count} {outcome.value}" for outcome, count in sorted(summary.outcomes.items()))
    say(
        f"advanced {sum(summary.outcomes.values())} runs in {summary.seconds:.1f} s"
        + (f": {outcomes}" if outcomes else "")
    )
    for problem in summary.problems:
        say(problem, err=True, hanging="  ")


def _as_json(prepared: "Iterable[PreparedRegion]", advanced: "AdvanceSummary") -> JsonObject:
    return {
        "regions": [
            {
                "region": region.region,
                "as_of": region.as_of.isoformat(),
                "session": region.session,
                "created": region.created,
                "ready": region.ready,
                "superseded": list(region.superseded),
                "refused": [{"code": age.code, "reason": age.reason, "remedy": age.remedy} for age in region.refused],
            }
            for region in prepared
        ],
        "advanced": {
            "outcomes": {outcome.value: count for outcome, count in sorted(advanced.outcomes.items())},
            "problems": list(advanced.problems),
            "seconds": round(advanced.seconds, 3),
        },
    }
