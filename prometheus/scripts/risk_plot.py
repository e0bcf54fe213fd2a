"""The plot of ``prometheus risk evaluate``: bias and QLIKE of each estimator by class and over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from prometheus.risk.evaluation.measure import ClassMonth, ClassScore

#: Months of the moving bias.
_MOVING: Final = 12


def draw_evaluation(
    path: Path, scores: "Sequence[ClassMonth]", summary: "Sequence[ClassScore]", names: Sequence[str]
) -> None:
    """Draw bias and QLIKE by class in calm months, and the moving bias of optimised portfolios, into a file.

    Raises:
        RequestError: The file cannot be written, or its ending is no known format.
    """
    import numpy as np
    from matplotlib.figure import Figure

    from prometheus.foundation.errors import RequestError
    from prometheus.risk.evaluation.portfolios import CLASSES

    period = summary[0].period
    of = {(score.estimator, score.portfolio_class): score for score in summary if score.period == period}
    figure = Figure(figsize=(11, 11), layout="constrained")
    bias, qlike, moving = figure.subplots(3, 1)
    width = 0.8 / len(names)
    for at, name in enumerate(names):
        places = np.arange(len(CLASSES)) + (at - (len(names) - 1) / 2) * width
        bias.bar(places, [of[name, kind].bias - 1.0 for kind in CLASSES], width, bottom=1.0, label=name)
        qlike.bar(places, [of[name, kind].qlike for kind in CLASSES], width)
        monthly = [score for score in scores if score.estimator == name and score.portfolio_class == "B2"]
        ratio = np.array([score.ratio for score in monthly])
        span = min(_MOVING, len(ratio))
        average = np.convolve(ratio, np.ones(span) / span, mode="valid")
        days = np.array([score.as_of for score in monthly], dtype="datetime64[D]")
        moving.plot(days[span - 1 :], np.sqrt(average), label=name)
    for axes, title in ((bias, f"Bias by class of portfolios ({period})"), (qlike, f"QLIKE by class ({period})")):
        axes.set_xticks(np.arange(len(CLASSES)), CLASSES)
        axes.set_title(title)
    moving.set_title(f"Bias of greedily cut portfolios (B2), {span} months moving")
    for axes in (bias, moving):
        axes.axhline(1.0, color="black", linewidth=0.8)
    bias.legend(ncols=4, fontsize="small")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be drawn: {error}") from error
    click.echo(f"picture written to {path}", err=True)
