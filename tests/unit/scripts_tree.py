"""The tree of commands, for tests that look at every one of them."""

import click

from prometheus.scripts.main import main


def command_of(words):
    """Return the command of a path such as ``runs show``."""
    command = main
    for word in words.split():
        command = command.get_command(click.Context(command), word)
    return command


def leaves(command=main, path=()):
    """Yield the words of every command that is no group."""
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))
