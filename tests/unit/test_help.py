"""Every command explains itself."""

import re

import click
import pytest
from click.testing import CliRunner

from prometheus.scripts import run_engine_state, show_engine_runs
from prometheus.scripts.main import main


def commands(command=main, path=("prometheus",)):
    """Yield every command of the tree below ``command`` with its path."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, (*path, name))


TREE = dict(commands())
IDS = [" ".join(path) for path in TREE]


def asked_of(command):
    """Return what a caller may have to say: arguments and options, --help and --version apart."""
    return [
        option
        for option in command.params
        if isinstance(option, click.Argument) or not {"--help", "--version"} & set(option.opts)
    ]


@pytest.mark.parametrize("path", TREE, ids=IDS)
def test_help_says_what_the_command_does(path):
    """--help ends with exit code 0 and has a sentence right below the usage line."""
    done = CliRunner().invoke(main, [*path[1:], "--help"], prog_name="prometheus")
    assert done.exit_code == 0
    assert done.stderr == ""
    usage, _, rest = done.stdout.partition("\n\n")
    assert usage.startswith(f"Usage: {' '.join(path)} ")
    first = " ".join(rest.partition("\n\n")[0].split())
    assert re.match(r"[A-Z].*[.:]", first), first


@pytest.mark.parametrize(
    "path",
    [path for path, command in TREE.items() if asked_of(command) and not isinstance(command, click.Group)],
    ids=" ".join,
)
def test_command_with_arguments_shows_an_example(path):
    """A command that takes arguments or options shows how it is called, with its own name."""
    text = TREE[path].help or ""
    _, heading, examples = text.partition("Example")
    assert heading, f"{' '.join(path)} has no Example"
    assert any(name in examples for name in (" ".join(path), path[-1].replace("-", "_")))


@pytest.mark.parametrize("path", TREE, ids=IDS)
def test_every_option_is_explained(path):
    """Each option has a help text or says itself what it may be."""
    silent = [
        option.name
        for option in asked_of(TREE[path])
        if isinstance(option, click.Option) and not option.help and not isinstance(option.type, click.Choice)
    ]
    assert silent == []


def test_tree_holds_the_commands_of_the_manual():
    """The commands that documents and timers name are there."""
    assert {
        "prometheus run-engine-state",
        "prometheus show-engine-runs",
        "prometheus runs list",
        "prometheus runs show",
        "prometheus risk refresh",
        "prometheus engine freeze",
        "prometheus engine unfreeze",
        "prometheus engine status",
        "prometheus strategy show",
        "prometheus strategy load",
        "prometheus db upgrade",
        "prometheus db status",
        "prometheus ingest",
        "prometheus demo",
    } <= set(IDS)


def test_short_help_works_everywhere():
    """-h is --help, for the group and for the two commands with names of their own."""
    for command in (main, run_engine_state.command, show_engine_runs.command):
        assert CliRunner().invoke(command, ["-h"]).stdout.startswith("Usage: ")


def test_unknown_command_is_a_usage_error():
    """A command that is not there ends with exit code 2 and its name."""
    done = CliRunner().invoke(main, ["rebalance"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "No such command 'rebalance'" in done.stderr


def test_version_is_the_package_s():
    """--version prints the package's version."""
    from prometheus import __version__

    assert CliRunner().invoke(main, ["--version"]).stdout == f"prometheus, version {__version__}\n"
