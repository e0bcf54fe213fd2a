"""``prometheus risk``: build the risk model."""

from datetime import datetime
from typing import Final

import click

from prometheus.scripts.boundary import DATE, Group

#: A model younger than this share of the largest accepted age need not be built again.
_FRESH_SHARE: Final = 1 / 3


@click.group("risk", cls=Group)
def command() -> None:
    """Build the risk model."""


@command.command()
@click.option("--as-of", type=DATE, required=True, help="Date of the model, YYYY-MM-DD.")
@click.option("--region", default="US", show_default=True, help="Whose exchange calendar counts the sessions.")
def refresh(as_of: datetime, region: str) -> None:
    """Estimate covariance and factor loadings from the trailing 504 sessions and store them.

    \b
    Example:
      prometheus risk refresh --as-of 2018-06-01

    The same numbers are stored again once a third of PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS has passed, not before.

    Exit codes: 0 stored, or stored a short while ago; 1 too little data (an earlier model stays as it is).
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.pipeline.risk_refresh import refresh_risk_model

    settings = load_settings()
    with open_database(settings) as database:
        done = refresh_risk_model(
            database,
            as_of=as_of.date(),
            region=region,
            reuse_within_hours=settings.risk_model_max_age_hours * _FRESH_SHARE,
        )
    if done.reused:
        click.echo("The same model was stored a short while ago; nothing was written.", err=True)
    found = done.model.diagnostics
    click.echo(
        f"risk model {done.risk_model_id} of {as_of:%Y-%m-%d}: {len(done.model.tickers)} names, {found.sessions} "
        f"sessions ({found.first_date} to {found.last_date}), {found.variance_explained:.0%} of variance explained by "
        f"factors, {len(found.fallback)} names with fallback values"
    )
    for ticker, reason in found.fallback[:10]:
        click.echo(f"  fallback: {ticker} ({reason})")
    if len(found.fallback) > 10:
        click.echo(f"  and {len(found.fallback) - 10} more")
