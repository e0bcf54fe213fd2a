"""``prometheus compare-solvers``: the recorded runs under two back-ends."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import click

from prometheus.scripts.boundary import DATE, Command, OneOf, workers_option

if TYPE_CHECKING:
    from prometheus.audit.solver_comparison import SolverRow

_SOLVERS: Final = ("CLARABEL", "CVXPY", "CUOPT", "STRUCTURED")


@click.command("compare-solvers", cls=Command)
@click.option("--from", "first", type=DATE, required=True, help="First day, YYYY-MM-DD.")
@click.option("--to", "last", type=DATE, required=True, help="Last day, YYYY-MM-DD.")
@click.option("--a", "a", type=OneOf(_SOLVERS), default="CLARABEL", show_default=True, help="One back-end.")
@click.option("--b", "b", type=OneOf(_SOLVERS), default="CVXPY", show_default=True, help="The other.")
@click.option("--account", "account_id", help="Only this account.")
@click.option("--csv", "table", type=click.Path(dir_okay=False, path_type=Path), help="Write the table here.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it here, .png or .svg.")
@workers_option
def command(
    first: datetime,
    last: datetime,
    a: str,
    b: str,
    account_id: str | None,
    table: Path | None,
    plot: Path | None,
    workers: int,
) -> None:
    """Decide every recorded run of a period with two back-ends and compare them run by run; nothing is written.

    Objectives and gaps are in bps of NAV; the gap is certified from the problem data, whatever the solver says.

    Exit codes: 0 compared, 1 a back-end failed on a run or the two end with another status, 2 a back-end is not here.

    \b
    Example:
      prometheus compare-solvers --from 2018-06-01 --to 2018-06-29 --csv t.csv
    """
    from prometheus.audit.replay_range import runs_of_period
    from prometheus.audit.solver_comparison import compare_solvers, require_solvers, write_plot, write_table_csv
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.foundation.errors import RequestError
    from prometheus.scripts.progress import counting

    for path, endings in ((table, (".csv",)), (plot, (".png", ".svg"))):
        if path is not None and (path.suffix not in endings or not path.absolute().parent.is_dir()):
            raise RequestError(f"'{path}' must end with {' or '.join(endings)} and be in a directory that exists.")
    require_solvers(a, b)
    with open_database(load_settings()) as database:
        if account_id is not None:
            with database.transaction() as connection:
                accounts_of(connection, account_ids=[account_id])
        keys = runs_of_period(database, first=first.date(), last=last.date(), account_id=account_id)
        with counting("comparing", len(keys)) as count:
            rows = []
            for row in compare_solvers(database, keys, a, b, workers=workers):
                rows.append(row)
                count(1)
    _print_rows(rows, a, b)
    if table is not None:
        write_table_csv(rows, table)
    if plot is not None:
        write_plot(rows, a, b, plot)
    if any(row.status_a != row.status_b or "ERROR" in {row.status_a, row.status_b} for row in rows):
        sys.exit(1)


def _print_rows(rows: "Sequence[SolverRow]", a: str, b: str) -> None:
    from prometheus.foundation.ids import run_label
    from prometheus.scripts.tables import print_table, say

    header = (
        "as_of", "account", "run", f"status {a}", f"status {b}", f"objective {a}", f"{b} less {a}", f"gap {a}",
        f"gap {b}", "weights differ", "trades differ", f"ms {a}", f"ms {b}",
    )  # fmt: skip
    print_table(
        header,
        [
            (
                row.as_of,
                row.account_id,
                run_label(row.run_seq),
                row.status_a,
                row.status_b,
                _number(row.objective_a, ".4f"),
                _number(row.objective_difference, "+.4f"),
                _number(row.gap_a, ".4f"),
                _number(row.gap_b, ".4f"),
                _number(row.weight_difference, ".1e"),
                row.trades_differing,
                f"{1000 * row.seconds_a:.0f}",
                f"{1000 * row.seconds_b:.0f}",
            )
            for row in rows
        ],
        right=header[5:],
        optional=(*header[11:], header[5], header[7], header[8], header[9]),
        elsewhere="a pipe and --csv have them",
    )
    for row in rows:
        if row.error:
            say(f"{row.account_id} {run_label(row.run_seq)}: {row.error}", err=True)
    same = sum(row.trades_differing == 0 for row in rows)
    weights = [row.weight_difference for row in rows if row.weight_difference is not None]
    objectives = [abs(row.objective_difference) for row in rows if row.objective_difference is not None]
    times = (median(row.seconds_a for row in rows), median(row.seconds_b for row in rows))
    say(
        f"{len(rows)} runs: the same trades in {same}; largest weight difference {max(weights, default=0.0):.1e}, "
        f"largest objective difference {max(objectives, default=0.0):.4f} bps; median time {a} "
        f"{1000 * times[0]:.0f} ms, {b} {1000 * times[1]:.0f} ms"
    )


def _number(value: float | None, how: str) -> Any:
    return None if value is None else f"{value:{how}}"
