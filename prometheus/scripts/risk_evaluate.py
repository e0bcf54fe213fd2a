"""``prometheus risk evaluate``: how far risk forecasts were off, for our estimators and the textbook's."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from prometheus.foundation.files import write_csv
from prometheus.scripts.boundary import DATE, REGION, Command

if TYPE_CHECKING:
    from prometheus.risk.evaluation.history import MarketHistory
    from prometheus.risk.evaluation.measure import ClassMonth, ClassScore

_PATH: Final = click.Path(path_type=Path)


@click.command("evaluate", cls=Command)
@click.option("--from", "first", type=DATE, required=True, help="First as-of date, YYYY-MM-DD.")
@click.option("--to", "last", type=DATE, required=True, help="Last as-of date, YYYY-MM-DD.")
@click.option("--estimator", "names", multiple=True, help="Estimator by name; may be given again. Default: ours.")
@click.option("--textbook/--no-textbook", default=True, show_default=True, help="Textbook estimators too.")
@click.option("--directory", type=_PATH, help="Read market files from here instead of the database.")
@click.option("--benchmark", help="Benchmark in the database; without it the one with the most constituents.")
@click.option(
    "--region", type=REGION, default="US", show_default=True, help="Whose exchange calendar counts the sessions."
)
@click.option("--csv", "csv_file", type=_PATH, help="Write every month's scores to this file.")
@click.option("--plot", "plot_file", type=_PATH, help="Draw bias and QLIKE into this file (PNG, SVG or PDF).")
def command(
    first: datetime,
    last: datetime,
    names: tuple[str, ...],
    textbook: bool,  # noqa: FBT001 -- click passes options by keyword
    directory: Path | None,
    benchmark: str | None,
    region: str,
    csv_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Compare forecasts of active risk with what followed, month by month.

    Classes: A random portfolios and tilts, B1 least tracking error on given assets, B2 the same cut greedily to 100
    assets, C sector and style tilts.

    \b
    Example:
      prometheus risk evaluate --from 2014-01-01 --to 2020-12-31 --plot risk.png

    Exit codes: 0 done; 1 too little data; 2 a file or option cannot be used.
    """
    from prometheus.risk.evaluation.estimators import REFERENCE, TEXTBOOK, covariance_estimator
    from prometheus.risk.evaluation.history import months
    from prometheus.risk.evaluation.measure import evaluate, summarise
    from prometheus.risk.factor_model import ESTIMATORS
    from prometheus.scripts.progress import counting

    chosen = tuple(dict.fromkeys((*(TEXTBOOK if textbook else ()), REFERENCE, *(names or ESTIMATORS))))
    for name in chosen:
        covariance_estimator(name)
    for path in (csv_file, plot_file):
        _require_writable(path)
    history = _history(directory, first, last, benchmark, region)
    total = len(months(history, first.date(), last.date()))
    with counting(f"{len(chosen)} estimators, {total} months", total * len(chosen)) as progress:
        scores = evaluate(history, chosen, first.date(), last.date(), progress=progress)
    summary = summarise(scores)
    _print(summary, chosen, REFERENCE)
    if csv_file is not None:
        _write_csv(csv_file, scores)
    if plot_file is not None:
        from prometheus.scripts.risk_plot import draw_evaluation

        draw_evaluation(plot_file, scores, summary, chosen)


def _history(
    directory: Path | None, first: datetime, last: datetime, benchmark: str | None, region: str
) -> "MarketHistory":
    if directory is not None:
        from prometheus.ingestion.market_directory import read_market_directory

        return read_market_directory(directory)
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.orchestration.risk_inputs import market_history

    with open_database(load_settings()) as database, database.transaction() as connection:
        return market_history(connection, first.date(), last.date(), region=region, benchmark_id=benchmark)


def _print(summary: "Sequence[ClassScore]", names: Sequence[str], reference: str) -> None:
    """Print a table for each period: bias and QLIKE by class, their mean, and realised tracking error of class B2."""
    from prometheus.risk.evaluation.portfolios import CLASSES
    from prometheus.scripts.tables import print_table

    header = ("estimator", *(f"{kind} bias/QLIKE" for kind in CLASSES), "mean QLIKE", "in band", "B2 TE", "of ref.")
    for period in dict.fromkeys(score.period for score in summary):
        of = {(score.estimator, score.portfolio_class): score for score in summary if score.period == period}
        base = of[reference, "B2"].realised_tracking_error
        rows = []
        for name in names:
            scores = [of[name, kind] for kind in CLASSES]
            error = of[name, "B2"].realised_tracking_error
            rows.append(
                (
                    name,
                    *(f"{score.bias:.2f} / {score.qlike:.3f}" for score in scores),
                    f"{sum(score.qlike for score in scores) / len(scores):.3f}",
                    f"{sum(score.in_band for score in scores) / len(scores):.0%}",
                    f"{error:.3%}",
                    f"{error / base:.3f}" if base > 0 else "",
                )
            )
        months = of[reference, "B2"].months
        print_table(header, rows, title=f"{period}: {months} months", right=header[1:], optional=header[-1:0:-1])
        click.echo()


def _require_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written before minutes are spent on its content."""
    from prometheus.foundation.errors import RequestError

    if path is not None and not path.absolute().parent.is_dir():
        raise RequestError(f"{path}: the directory does not exist.")


def _write_csv(path: Path, scores: "Sequence[ClassMonth]") -> None:
    from prometheus.foundation.errors import RequestError
    from prometheus.risk.evaluation.measure import ClassMonth

    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            write_csv(file, [field.name for field in fields(ClassMonth)], (asdict(score) for score in scores))
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}.") from error
    click.echo(f"{len(scores)} rows written to {path}", err=True)
