"""``prometheus risk``: build, show and judge the risk model."""

from datetime import datetime
from typing import Final

import click

from prometheus.scripts import risk_calibrate, risk_evaluate, risk_show
from prometheus.scripts.boundary import DATE, REGION, Group
from prometheus.scripts.tables import say

#: A model younger than this fraction of the largest accepted age need not be built again.
_FRESH_SHARE: Final = 1 / 3


@click.group("risk", cls=Group)
def command() -> None:
    """Build, show and judge the risk model."""


command.add_command(risk_calibrate.command)
command.add_command(risk_evaluate.command)
command.add_command(risk_show.command)


@command.command()
@click.option("--as-of", type=DATE, required=True, help="Date of the model, YYYY-MM-DD.")
@click.option(
    "--region", type=REGION, default="US", show_default=True, help="Whose exchange calendar counts the sessions."
)
@click.option("--benchmark", help="Benchmark that is the market; without it the one with the most constituents.")
@click.option("--estimator", help="Estimator by name; without it PROMETHEUS_RISK_ESTIMATOR or the default.")
def refresh(as_of: datetime, region: str, benchmark: str | None, estimator: str | None) -> None:
    """Estimate covariance and factor loadings from the trailing 504 sessions (at least 126) and store them.

    \b
    Example:
      prometheus risk refresh --as-of 2018-06-01

    The same numbers are stored again once a third of PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS has passed, not before.

    Exit codes: 0 stored, or stored a short while ago; 1 refused (an earlier model stays as it is): too little data, no
    benchmark weights by the date, or more than 5 sessions in a row missing for more than 2 % of the securities.
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.orchestration.risk_refresh import refresh_risk_model
    from prometheus.risk.settings import RiskSettings

    settings = load_settings()
    chosen = estimator or settings.risk_estimator
    with open_database(settings) as database:
        done = refresh_risk_model(
            database,
            as_of=as_of.date(),
            region=region,
            settings=RiskSettings(estimator=chosen) if chosen else None,
            benchmark_id=benchmark,
            reuse_within_hours=settings.risk_model_max_age_hours * _FRESH_SHARE,
        )
    if done.reused:
        say("The same model was stored a short while ago; nothing was written.", err=True)
    diagnostics = done.model.diagnostics
    say(
        f"risk model {done.risk_model_id} of {as_of:%Y-%m-%d}: {len(done.model.tickers)} assets, "
        f"{diagnostics.sessions} sessions ({diagnostics.first_date} to {diagnostics.last_date}), "
        f"{diagnostics.variance_explained:.0%} of variance explained by factors, "
        f"{len(diagnostics.fallback)} assets with fallback values"
    )
    for ticker, reason in diagnostics.fallback[:10]:
        say(f"  fallback: {ticker} ({reason})")
    if len(diagnostics.fallback) > 10:
        say(f"  and {len(diagnostics.fallback) - 10} more")
