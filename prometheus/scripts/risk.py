"""``prometheus risk``: build the risk model."""

from datetime import datetime

import click

from prometheus.scripts.boundary import DATE, Group


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

    Exit codes: 0 stored, 1 too little data (an earlier model stays as it is).
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.pipeline.risk_refresh import refresh_risk_model

    with open_database(load_settings()) as database:
        done = refresh_risk_model(database, as_of=as_of.date(), region=region)
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
