"""``prometheus risk show``: the stored model in numbers."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import click

from prometheus.scripts.boundary import DATE, Command, format_option

if TYPE_CHECKING:
    from prometheus.orchestration.risk_description import RiskDescription

_QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@click.command("show", cls=Command)
@click.option("--as-of", type=DATE, help="The model in force on this day, YYYY-MM-DD; default: the newest.")
@click.option(
    "--names", type=click.IntRange(min=1), default=4, show_default=True, help="Assets at each end of a factor."
)
@format_option("table", "json", default="table")
def command(as_of: datetime | None, names: int, output: Literal["table", "json"]) -> None:
    """Show the risk model in force: factors with their largest assets, specific volatilities, links, age.

    \b
    Example:
      prometheus risk show --as-of 2018-06-01

    Exit codes: 0 shown; 1 there is no model by that day.
    """
    from datetime import date

    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.orchestration.risk_description import describe_risk_model

    with open_database(load_settings()) as database:
        description = describe_risk_model(
            database, as_of=date.max if as_of is None else as_of.date(), names=names, quantiles=_QUANTILES
        )
    if output == "json":
        click.echo(json.dumps(asdict(description), indent=2))
    else:
        _print(description)


def _print(description: "RiskDescription") -> None:
    from prometheus.scripts.tables import print_table, say

    say(
        f"risk model {description.risk_model_id} of {description.as_of}, {description.estimator}, "
        f"built {description.built_at} ({description.age_hours:.1f} hours ago): {description.names} assets, "
        f"{description.sessions} sessions, "
        f"{description.variance_explained:.0%} of variance explained by factors, "
        f"{len(description.fallback)} assets with fallback values, {len(description.floored)} on the floor"
    )
    click.echo()
    print_table(
        ("factor", "volatility_pct", "share_of_factor_variance_pct", "highest", "lowest"),
        (
            (
                factor.factor,
                f"{100 * factor.volatility:.2f}",
                f"{100 * factor.share:.1f}",
                " ".join(factor.highest),
                " ".join(factor.lowest),
            )
            for factor in description.factors
        ),
        right=("volatility_pct", "share_of_factor_variance_pct"),
        below=("highest", "lowest"),
    )
    click.echo()
    print_table(
        tuple(description.specific_volatility),
        [[f"{100 * value:.2f}" for value in description.specific_volatility.values()]],
        title="specific volatility, % a year, by quantile of assets",
        right=tuple(description.specific_volatility),
    )
    if description.links:
        click.echo()
        print_table(
            ("linked_names", "pairs", "mean_correlation", "largest", "between"),
            (
                (
                    block.names,
                    block.pairs,
                    f"{block.mean:.3f}",
                    f"{block.largest:.3f}",
                    " ".join(block.between),
                )
                for block in description.links
            ),
            right=("linked_names", "pairs", "mean_correlation", "largest"),
            optional=("between",),
        )
