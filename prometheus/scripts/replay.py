"""``prometheus replay``: solve runs again from their records, and compare."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.scripts.boundary import DATE, Command, OneOf, format_option, workers_option
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from prometheus.audit.replay import Replayed
    from prometheus.audit.replay_range import ReplaySummary
    from prometheus.db.database import Database

_SOLVERS: Final = ("CLARABEL", "CVXPY", "CUOPT", "STRUCTURED")
#: Most mismatches printed in full; the summary has the number of all.
_SHOWN: Final = 20


@click.command("replay", cls=Command)
@click.argument("account_id", required=False)
@click.argument("run", required=False)
@click.option("--from", "first", type=DATE, help="First day of a period, YYYY-MM-DD.")
@click.option("--to", "last", type=DATE, help="Last day of the period, YYYY-MM-DD.")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Runs from a file.")
@click.option("--solver", type=OneOf(_SOLVERS), help="Another back-end than the recorded one.")
@click.option("--against-current", is_flag=True, help="Show what today's tables would change; one run only.")
@workers_option
@format_option("table", "json", default="table")
def command(
    account_id: str | None,
    run: str | None,
    first: datetime | None,
    last: datetime | None,
    path: Path | None,
    solver: str | None,
    *,
    against_current: bool,
    workers: int,
    output: Literal["table", "json"],
) -> None:
    """Solve persisted runs again from nothing but their records, and compare: weights to 1e-8, trades exactly.

    One run by account and label, an account's whole history by account alone, or every run of a period. With --file the
    runs of 'prometheus audit export' or of an archive, without any database. With --solver another back-end, whose
    answer may differ by the accepted gap. Nothing is written.

    Exit codes: 0 every run agrees, 1 at least one does not, 2 there is no such run.

    \b
    Examples:
      prometheus replay ACC-001 RUN-001
      prometheus replay --from 2018-06-01 --to 2018-06-29 --workers 2
      prometheus replay ACC-001 RUN-001 --against-current
    """
    begin, end = (None if day is None else day.date() for day in (first, last))
    if path is not None:
        if account_id is not None or begin is not None or end is not None or against_current:
            raise click.UsageError("--file has its own runs; it takes --solver and --format alone.")
        _finish(_replay_file(path, solver), output)
        return
    if account_id is None and begin is None and end is None:
        raise click.UsageError("Say which runs: ACCOUNT RUN, ACCOUNT, --from and --to, or --file.")
    if run is not None and (begin is not None or end is not None):
        raise click.UsageError("A single run has its day already; leave --from and --to out.")
    if against_current:
        if account_id is None or run is None:
            raise click.UsageError("--against-current takes one run: ACCOUNT RUN.")
        _against_current(account_id, run, output)
        return
    _replay_database(account_id, run, begin, end, solver, workers, output)


def _replay_database(
    account_id: str | None,
    run: str | None,
    first: date | None,
    last: date | None,
    solver: str | None,
    workers: int,
    output: Literal["table", "json"],
) -> None:
    from prometheus.audit.replay_range import replay_many, runs_of_period
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.foundation.errors import RequestError
    from prometheus.foundation.ids import parse_run_label
    from prometheus.scripts.progress import counting

    with open_database(load_settings()) as database:
        if account_id is not None:
            with database.transaction() as connection:
                accounts_of(connection, account_ids=[account_id])
        keys = runs_of_period(database, first=first, last=last, account_id=account_id)
        if run is not None:
            number = parse_run_label(run)
            keys = tuple(key for key in keys if key.run_seq == number)
            if not keys:
                raise RequestError(
                    f"Account {account_id} has no run {run}, or it was archived. See 'prometheus runs list "
                    f"{account_id}' and 'prometheus audit archives'.",
                    code="UNKNOWN_RUN",
                )
        with counting("replaying", len(keys)) as count:
            outcomes = []
            for outcome in replay_many(database, keys, solver=solver, workers=workers):
                outcomes.append(outcome)
                count(1)
    _finish(outcomes, output)


def _replay_file(path: Path, solver: str | None) -> "list[Replayed]":
    from prometheus.audit.run_file import replay_file

    return list(replay_file(path, solver=solver))


def replay_and_report(database: "Database", *, first: date, last: date, workers: int) -> bool:
    """Replay every run of a period, print how many agree and how fast, and return True where all do."""
    from prometheus.audit.replay_range import ReplaySummary, replay_many, runs_of_period
    from prometheus.scripts.progress import counting

    keys = runs_of_period(database, first=first, last=last)
    summary, began = ReplaySummary(), time.monotonic()
    with counting("replaying", len(keys)) as count:
        for outcome in replay_many(database, keys, workers=workers):
            summary.add(outcome)
            count(1)
    seconds = time.monotonic() - began
    _print_summary(summary)
    say(f"Replayed in {seconds:.1f} s with {workers} workers: {summary.replayed / seconds:.1f} runs a second")
    return not summary.mismatches


def _finish(outcomes: "Sequence[Replayed]", output: Literal["table", "json"]) -> None:
    from prometheus.audit.replay_range import ReplaySummary
    from prometheus.foundation.ids import run_label
    from prometheus.scripts.tables import print_table

    summary = ReplaySummary()
    for outcome in outcomes:
        summary.add(outcome)
    if output == "json":
        click.echo(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2))
    else:
        if len(outcomes) <= _SHOWN:
            header = ("as_of", "account", "run", "status", "solver", "agrees", "weights differ", "trades differ", "s")
            print_table(
                header,
                [
                    (
                        outcome.key.as_of,
                        outcome.key.account_id,
                        run_label(outcome.key.run_seq),
                        outcome.status or "error",
                        outcome.solver,
                        "yes" if outcome.agrees else "NO",
                        f"{outcome.weight_difference:.1e}",
                        outcome.trades_differing,
                        f"{outcome.seconds:.2f}",
                    )
                    for outcome in outcomes
                ],
                right=("weights differ", "trades differ", "s"),
                optional=("s", "solver"),
            )
        _print_summary(summary)
    if summary.mismatches:
        sys.exit(1)


def _print_summary(summary: "ReplaySummary") -> None:
    for outcome in summary.mismatches[:_SHOWN]:
        say(f"{outcome.key.label} of {outcome.key.as_of} does not agree:", err=True)
        for difference in outcome.differences:
            say(f"  {difference}", err=True)
    from prometheus.decision.code_version import code_version

    for code, runs in sorted(summary.other_code.items()):
        say(f"{runs} of them were decided by other code: {code}; this is {code_version()}", err=True)
    say(
        f"{summary.replayed} runs replayed: {summary.agreed} agree, {len(summary.mismatches)} mismatches; "
        f"largest weight difference {summary.largest_weight_difference:.1e}"
    )


def _as_json(outcome: "Replayed") -> JsonObject:
    weight = outcome.weight_difference
    return {
        "account": outcome.key.account_id,
        "run_seq": outcome.key.run_seq,
        "as_of": outcome.key.as_of.isoformat(),
        "agrees": outcome.agrees,
        "compared": "weights and trades" if outcome.exact else "objective",
        "recorded_status": outcome.recorded_status,
        "status": outcome.status,
        "solver": outcome.solver,
        "weight_difference": weight if weight == weight else None,  # noqa: PLR0124 (NaN: nothing to compare)
        "trades_differing": outcome.trades_differing,
        "objective_difference_bps": outcome.objective_difference,
        "gap_bps": outcome.gap_bps,
        "differences": list(outcome.differences),
        "decided_by": outcome.code,
        "same_code": outcome.same_code,
    }


def _against_current(account_id: str, run: str, output: Literal["table", "json"]) -> None:
    from prometheus.audit.against_current import compare_with_today
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.foundation.ids import parse_run_label

    with open_database(load_settings()) as database:
        comparison = compare_with_today(database, account_id, parse_run_label(run))
    if output == "json":
        click.echo(json.dumps(comparison.to_json(), indent=2))
        return
    _print_lines(f"{account_id} {run}: inputs that are others today", comparison.input_lines())
    _print_lines("Trades that today's inputs would have changed", comparison.trade_lines())
    say("The persisted trades stay as they are.")


def _print_lines(title: str, lines: Iterable[str]) -> None:
    say(title)
    for line in list(lines) or ["none"]:
        say(f"  {line}")
