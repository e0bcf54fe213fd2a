"""``run_engine_state``: create runs, mark data ready, advance, cancel and reset, for timers and operators."""

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import click

from prometheus.scripts.boundary import DATE, REGION, Command, StopSignals
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from prometheus.bootstrap.engine import Tick
    from prometheus.db.database import Database


@click.command(
    "run-engine-state", cls=Command, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False
)
@click.option("--as-of", type=DATE, help="Day of the runs, YYYY-MM-DD.")
@click.option("--region", type=REGION, help="All accounts of a region (US, CA).")
@click.option("--account", "account_id", help="One account.")
@click.option("--ensure", is_flag=True, help="Create the day's runs where they are missing.")
@click.option("--data-ready", is_flag=True, help="Mark the day's data as complete: WAITING_FOR_DATA -> DATA_READY.")
@click.option("--advance-all", is_flag=True, help="Advance every eligible run of every day; the timer's whole job.")
@click.option("--cancel", is_flag=True, help="Cancel the day's unfinished runs.")
@click.option("--reset", is_flag=True, help="Re-open the day's FAILED runs; needs --reason.")
@click.option("--reason", default="", help="Why; recorded with --reset and --cancel.")
@click.option("--time-budget", type=click.FloatRange(min=0), help="Begin with no further run after this many seconds.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that compute; as many as cores by default, 0 for none beside this one.",
)
def command(
    as_of: datetime | None,
    region: str | None,
    account_id: str | None,
    ensure: bool,  # noqa: FBT001 -- click passes options by keyword
    data_ready: bool,  # noqa: FBT001 - a flag of the command line
    advance_all: bool,  # noqa: FBT001 - a flag of the command line
    cancel: bool,  # noqa: FBT001 - a flag of the command line
    reset: bool,  # noqa: FBT001 - a flag of the command line
    reason: str,
    time_budget: float | None,
    workers: int | None,
) -> None:
    """Drive the engine_runs state machine. Every action may be repeated safely.

    --ensure, --data-ready, --cancel and --reset need --as-of and one of --region and --account. They run in the order
    reset, cancel, ensure, data-ready, advance-all, however they are written. --advance-all alone takes no scope.

    \b
    Examples:
      run_engine_state --as-of 2018-06-01 --region US --ensure --data-ready
      run_engine_state --advance-all
      run_engine_state --as-of 2018-06-01 --account ACC-007 --reset --reason WHY

    On SIGTERM, SIGINT or SIGHUP claimed runs are given back, uncharged, and what was committed stays.

    Exit codes: 0 done, 1 a run failed or waits for a person (or the database is gone), 2 the request cannot be met,
    143 ended by SIGTERM, 130 by SIGINT, 129 by SIGHUP.
    """
    scoped = ensure or data_ready or cancel or reset
    _check_usage(scoped=scoped, advance=advance_all, as_of=as_of, region=region, account_id=account_id)
    if cancel and (ensure or data_ready or reset or advance_all):
        raise click.UsageError("--cancel is used alone.")
    if time_budget is not None and not advance_all:
        raise click.UsageError("--time-budget limits --advance-all and says nothing without it.")
    if workers is not None and not advance_all:
        raise click.UsageError("--workers belongs to --advance-all and says nothing without it.")
    if reset and not reason.strip():
        raise click.UsageError("--reset needs --reason: it is recorded in the run's history.")
    if reason and not (reset or cancel):
        raise click.UsageError("--reason belongs to --reset and --cancel; nothing else records it.")
    from prometheus.bootstrap.engine import default_workers, tick_of
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database

    settings = load_settings()
    tick = tick_of(settings)
    said: list[str] = []
    failed = False
    stop = StopSignals()
    with open_database(settings) as database:
        if scoped:
            from prometheus.pipeline import state

            assert as_of is not None  # _check_usage has refused it
            scope = state.resolve_scope(database, as_of=as_of.date(), region=region, account_id=account_id)
            if reset:
                counts = state.reset(database, scope, tick.config, reason=reason)
                said.append("reset: " + _counts(counts))
                if counts.get("UNCHANGED"):
                    _say(
                        f"{counts['UNCHANGED']} run(s) of {scope.as_of} stay as they are: only FAILED runs are "
                        "re-opened. A PERSISTED day is decided for good; the account's next day takes what was loaded "
                        "since.",
                        err=True,
                    )
                if counts.get("SUPERSEDED"):
                    failed = True
                    _say(
                        f"{counts['SUPERSEDED']} run(s) of {scope.as_of} stay FAILED: a later day of the account was "
                        "already worked on, so this one can no longer be traded.",
                        err=True,
                    )
            if cancel:
                counts = state.cancel(database, scope, reason=reason)
                said.append("cancel: " + _counts(counts))
                if counts.get("REQUESTED"):
                    _say(
                        f"{counts['REQUESTED']} run(s) are being worked on: the worker ends them at its next heartbeat "
                        "or commit, or the next --advance-all once its lease has run out.",
                        err=True,
                    )
            if ensure or data_ready:
                done = state.prepare(database, scope, tick.config, ensure=ensure, data_ready=data_ready)
                said.append(f"{done.created} created, {done.ready} marked ready, {len(scope.accounts)} in scope")
                if done.superseded:
                    said.append(
                        f"{len(done.superseded)} ended as SUPERSEDED because a later day was already worked on: "
                        + ", ".join(done.superseded[:5])
                    )
        if advance_all:
            processes = default_workers() if workers is None else workers
            failed = _advance(database, tick, time_budget, processes, stop, said) or failed
    _say("run_engine_state: " + "; ".join(said))
    if stop.received is not None:
        sys.exit(128 + stop.received)
    if failed:
        sys.exit(1)


def _check_usage(
    *, scoped: bool, advance: bool, as_of: datetime | None, region: str | None, account_id: str | None
) -> None:
    if not scoped and not advance:
        raise click.UsageError("Say what to do: --ensure, --data-ready, --advance-all, --cancel or --reset.")
    if scoped and (as_of is None or (region is None) == (account_id is None)):
        raise click.UsageError("--ensure, --data-ready, --cancel and --reset need --as-of and --region or --account.")
    if not scoped and (as_of is not None or region is not None or account_id is not None):
        raise click.UsageError(
            "--advance-all takes every eligible run; --as-of, --region and --account do not limit it."
        )


def _advance(
    database: "Database",
    tick: "Tick",
    time_budget: float | None,
    workers: int,
    stop: StopSignals,
    said: list[str],
) -> bool:
    from prometheus.orchestration.advance_all import advance_all
    from prometheus.scripts.progress import counting

    with counting("advancing runs", threads=workers == 0) as count, stop.heard():
        summary = advance_all(
            database,
            tick.config,
            database.sibling,
            limits=tick.limits,
            outbox=tick.outbox,
            workers=workers,
            time_budget_seconds=time_budget,
            on_outcome=lambda *_: count(1),
            must_stop=lambda: stop.received is not None,
        )
    told = f"delivered {summary.delivered} messages" + (f", {summary.undelivered} not" if summary.undelivered else "")
    told_anything = summary.delivered + summary.undelivered > 0
    if summary.frozen is not None:
        said.append(f"the engine is FROZEN ({summary.frozen}): nothing claimed, nothing committed")
        said += [told] if told_anything else []
        for problem in summary.problems:
            _say(problem, err=True)
        return summary.needs_a_person
    advanced = sum(summary.outcomes.values())
    waiting = _waiting(database, None if time_budget is None or summary.seconds < time_budget else time_budget)
    said.append(f"advanced {advanced} runs in {summary.seconds:.1f} s")
    if advanced:
        said[-1] += ": " + _counts({outcome.value: count for outcome, count in summary.outcomes.items()})
    elif waiting is None:
        said[-1] += ", nothing to do"
    said += [waiting] if waiting is not None else []
    if summary.given_back:
        said.append(f"{summary.given_back} given back unbegun")
    if summary.stopped:
        said.append("told to end: what is left waits for the next tick")
    if summary.reaped:
        said.append(f"{summary.reaped} recovered from lost workers")
    said += [told] if told_anything else []
    for problem in summary.problems:
        _say(problem, err=True)
    return summary.needs_a_person


def _waiting(database: "Database", out_of_time: float | None) -> str | None:
    """Return what waits and why, so that "nothing to do" does not hide runs that wait."""
    from prometheus.db.repositories.unfinished_runs import unfinished_counts
    from prometheus.scripts.waiting import waiting_in_words

    with database.transaction() as connection:
        counts = unfinished_counts(connection)
    return waiting_in_words(counts, out_of_time=out_of_time)


def _say(line: str, *, err: bool = False) -> None:
    """Print a line; a closed pipe does not change what was done, nor its exit code."""
    try:
        say(line, err=err)
    except OSError:
        stream = sys.stderr if err else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())) or "nothing"


def main() -> None:
    """Console entry point."""
    command.main(prog_name="run_engine_state")


if __name__ == "__main__":
    main()
