"""``prometheus risk calibrate``: forecast and realised risk of the fleet's own runs."""

import sys
from datetime import datetime

import click

from prometheus.scripts.boundary import DATE, REGION, Command
from prometheus.scripts.tables import say


@click.command("calibrate", cls=Command)
@click.option("--to", "through", type=DATE, help="Last day of the quarter, YYYY-MM-DD; default: the last with prices.")
@click.option(
    "--region", type=REGION, default="US", show_default=True, help="Whose exchange calendar counts the sessions."
)
def command(through: datetime | None, region: str) -> None:
    """Compare the tracking error that runs predicted in the last 63 sessions with what followed.

    \b
    Example:
      prometheus risk calibrate --to 2018-08-31

    Outside PROMETHEUS_RISK_BIAS_LOW to PROMETHEUS_RISK_BIAS_HIGH the fleet's bias raises an alert.

    Exit codes: 0 inside the range, or too few sessions to tell; 1 an alert was raised, or there are no prices.
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.orchestration.risk_calibration import LEAST_SESSIONS, calibrate_fleet
    from prometheus.scripts.tables import print_table

    settings = load_settings()
    with open_database(settings) as database:
        calibration = calibrate_fleet(
            database,
            through=None if through is None else through.date(),
            region=region,
            bias_range=(settings.risk_bias_low, settings.risk_bias_high),
        )
    if calibration.fleet is None:
        say(f"No run's forecast has a session between {calibration.first} and {calibration.last} to be judged by.")
        return
    header = ("account", "forecasts", "sessions", "forecast_te_pct", "realised_te_pct", "bias")
    print_table(
        header,
        (
            (
                name,
                one.forecasts,
                one.sessions,
                f"{100 * one.forecast:.3f}",
                f"{100 * one.realised:.3f}",
                f"{one.bias:.2f}",
            )
            for name, one in (*calibration.accounts.items(), ("all", calibration.fleet))
        ),
        title=f"{calibration.first} to {calibration.last}",
        right=header[1:],
    )
    if calibration.fleet.sessions < LEAST_SESSIONS:
        say(f"fewer than {LEAST_SESSIONS} sessions in all: too few to judge the model", err=True)
    if calibration.alert is not None:
        say(f"alert: {calibration.alert}", err=True)
        sys.exit(1)
