"""``prometheus strategy``: versioned strategy parameters and tag overrides."""

import json
from pathlib import Path
from typing import Final

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.scripts.boundary import Group

#: A strategy has some dozen parameters.
_LARGEST: Final = 2**20
_PARTS: Final = "strategy_id, params and tag_overrides"


@click.group("strategy", cls=Group)
def command() -> None:
    """Show and load versioned strategies."""


@command.command()
@click.argument("strategy_id", default="tax-managed-index")
def show(strategy_id: str) -> None:
    """Print the newest version of a strategy as JSON; the same form that 'load' takes.

    \b
    Example:
      prometheus strategy show tax-managed-index > strategy.json
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.strategies import latest_strategy
    from prometheus.foundation.errors import RequestError

    with open_database(load_settings()) as database, database.transaction() as connection:
        strategy = latest_strategy(connection, strategy_id)
    if strategy is None:
        raise RequestError(f"There is no strategy '{strategy_id}'.", code="UNKNOWN_STRATEGY")
    click.echo(
        json.dumps(
            {
                "strategy_id": strategy.strategy_id,
                "version": strategy.version,
                "params": strategy.params,
                "tag_overrides": strategy.tag_overrides,
            },
            indent=2,
        )
    )


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def load(file: Path) -> None:
    """Store FILE as the next version of its strategy; accounts use it from their next snapshot on.

    \b
    Example:
      prometheus strategy load strategy.json

    Exit codes: 0 stored, or equal to the newest version; 2 the file is not a usable strategy (nothing is stored).
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.strategies import add_strategy_version

    strategy_id, params, tags = _read(file)
    with open_database(load_settings()) as database, database.transaction() as connection:
        version = add_strategy_version(connection, strategy_id, params, tags)
    click.echo(f"strategy {strategy_id}: version {version}")


def _read(file: Path) -> tuple[str, JsonObject, JsonObject]:
    """Return the strategy's id, parameters and tag overrides, all checked."""
    from prometheus.domain.strategy import StrategyParams
    from prometheus.foundation.errors import ConfigurationError
    from prometheus.foundation.files import read_at_most

    see = "See 'prometheus strategy show'."
    try:
        with file.open("rb") as stream:
            record = json.loads(read_at_most(stream, _LARGEST))
        strategy_id, params, tags = (record[name] for name in ("strategy_id", "params", "tag_overrides"))
    except KeyError as error:
        raise ConfigurationError(f"{file} has no {error.args[0]}; it needs {_PARTS}. {see}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"{file} must be a JSON object with {_PARTS}: {error}. {see}") from error
    if not isinstance(strategy_id, str) or not strategy_id.strip():
        raise ConfigurationError(f"{file}: strategy_id must be a name, not {strategy_id!r}. {see}")
    mappings = {"params": params, "tag_overrides": tags}
    if isinstance(tags, dict):
        mappings |= {f"tag_overrides '{tag}'": overrides for tag, overrides in tags.items()}
    for name, mapping in mappings.items():
        if not isinstance(mapping, dict):
            raise ConfigurationError(f"{file}: {name} must be a JSON object, not {mapping!r}. {see}")
    try:
        base = StrategyParams.from_dict(params)
        _require_solver(base.solver)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error.message}") from error
    for tag, overrides in tags.items():
        try:
            _require_solver(base.overridden(overrides).solver)
        except ConfigurationError as error:
            raise ConfigurationError(f"{file}: tag '{tag}': {error.message}") from error
    return strategy_id, params, tags


def _require_solver(name: str) -> None:
    """Refuse an unknown solver; whether it is installed is checked on the machine that solves."""
    from prometheus.foundation.errors import ConfigurationError
    from prometheus.optimizer.backends.base import backend_names

    if name not in backend_names():
        raise ConfigurationError(f"there is no solver {name!r}; known are {', '.join(backend_names())}.")
