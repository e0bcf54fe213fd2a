"""``prometheus strategy``: versioned strategy parameters and tag overrides."""

import json
from pathlib import Path

import click

from prometheus.scripts.boundary import Group


@click.group("strategy", cls=Group)
def command() -> None:
    """Show and load versioned strategies."""


@command.command()
@click.argument("strategy_id", default="tax-managed-index")
def show(strategy_id: str) -> None:
    """Print the newest version of a strategy as JSON; the same form that 'load' takes."""
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.strategies import latest_strategy
    from prometheus.foundation.errors import RequestError

    with open_database(load_settings()) as database, database.transaction() as connection:
        found = latest_strategy(connection, strategy_id)
    if found is None:
        raise RequestError(f"There is no strategy '{strategy_id}'.", code="UNKNOWN_STRATEGY")
    click.echo(
        json.dumps(
            {
                "strategy_id": found.strategy_id,
                "version": found.version,
                "params": found.params,
                "tag_overrides": found.tag_overrides,
            },
            indent=2,
        )
    )


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def load(file: Path) -> None:
    """Store FILE as the next version of its strategy; accounts use it from their next snapshot on.

    Exit codes: 0 stored, or equal to the newest version; 2 the file is not a usable strategy (nothing is stored).
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.strategies import add_strategy_version
    from prometheus.domain.strategy import StrategyParams
    from prometheus.foundation.errors import ConfigurationError

    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        strategy_id, params, tags = record["strategy_id"], record["params"], record["tag_overrides"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file} must be JSON with strategy_id, params and tag_overrides: {error}. See 'prometheus strategy show'."
        ) from error
    base = StrategyParams.from_dict(params)
    for tag, overrides in tags.items():
        try:
            base.overridden(overrides)
        except ConfigurationError as error:
            raise ConfigurationError(f"{file}: tag '{tag}': {error.message}") from error
    with open_database(load_settings()) as database, database.transaction() as connection:
        version = add_strategy_version(connection, strategy_id, params, tags)
    click.echo(f"strategy {strategy_id}: version {version}")
