"""The process boundary: errors to exit codes, tables, and progress that only a terminal sees."""

import io

import click
import pytest
from click.testing import CliRunner

from prometheus.foundation.errors import DatabaseUnavailableError, PrometheusError, RequestError
from prometheus.scripts.boundary import DATE, Command, Group
from prometheus.scripts.progress import counting
from prometheus.scripts.tables import print_table


def raising(error):
    """Return a command that prints nothing and raises."""

    @click.command("raising", cls=Command)
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestError("There is no such day."), 2),
        (DatabaseUnavailableError("The server is gone."), 1),
        (PrometheusError("Something.", code="ODD"), 1),
    ],
)
def test_typed_error_is_one_sentence_and_its_exit_code(error, code):
    """A typed error becomes its sentence with its code on standard error, nothing on standard output."""
    done = CliRunner().invoke(raising(error), [])
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr == f"error: {error.message} [{error.code}]\n"


def test_error_inside_a_nested_group_is_reported_once():
    """However deep a command hangs in groups, its error is printed once."""
    outer, inner = click.Group("outer"), Group("inner")
    inner.add_command(raising(RequestError("No.")))
    outer = Group("outer")
    outer.add_command(inner)
    done = CliRunner().invoke(outer, ["inner", "raising"])
    assert (done.exit_code, done.stderr) == (2, "error: No. [BAD_REQUEST]\n")


def test_error_that_is_a_fault_of_the_program_is_not_hidden():
    """An exception that is not ours keeps its traceback: it is a defect, not an answer."""
    done = CliRunner().invoke(raising(ZeroDivisionError("x")), [])
    assert isinstance(done.exception, ZeroDivisionError)


def test_unusable_setting_ends_before_the_command():
    """A setting out of range ends with exit code 2 before the command does anything."""
    called = []

    @click.command("quiet", cls=Command)
    def command():
        called.append(True)

    done = CliRunner().invoke(command, [], env={"PROMETHEUS_LOG_LEVEL": "LOUD"})
    assert done.exit_code == 2
    assert "PROMETHEUS_LOG_LEVEL='LOUD'" in done.stderr
    assert called == []


@pytest.mark.parametrize("text", ["2024-02-30", "28.06.2024", "today", "2024-06-28T10:00"])
def test_dates_are_days_of_the_calendar(text):
    """Only YYYY-MM-DD is a date; anything else is refused with the form that is meant."""
    with pytest.raises(click.BadParameter, match="%Y-%m-%d"):
        DATE.convert(text, None, None)


def test_table_in_a_pipe_is_never_cut(capsys, monkeypatch):
    """In a pipe a long value stays whole whatever COLUMNS says, None is nothing and numbers stand flush right."""
    monkeypatch.setenv("COLUMNS", "20")
    long = "x" * 5000
    print_table(("name", "n"), [("a", 5), (long, 10), (None, 7)], title="Names", right=("n",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].rstrip() == "Names"
    assert lines[1].split() == ["name", "n"]
    assert [line.split() for line in lines[2:]] == [["a", "5"], [long, "10"], ["7"]]
    assert len({len(line) for line in lines[1:]}) == 1


def test_table_prints_brackets_as_they_are(capsys):
    """Text in brackets is text: nothing in a value is taken for a command to the printer."""
    print_table(("message",), [("[bold]no[/bold] [UNKNOWN_RUN] [/] :smile:",)])
    assert "[bold]no[/bold] [UNKNOWN_RUN] [/] :smile:" in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_message_never_shares_the_line_of_progress(monkeypatch):
    """While progress is shown a message on either stream takes the line away first; output stays on its stream."""
    terminal, piped = _Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", piped)
    with counting("working", total=3) as count:
        count(1)
        click.echo("a message", err=True)
        click.echo("an answer")
        count(1)
    assert piped.getvalue() == "an answer\n"
    assert "\r\x1b[2Ka message\n" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[2K")


def test_ctrl_c_is_130_and_a_sentence():
    """Ctrl-C ends any command with exit code 130 and one sentence, its own where it has one."""

    @click.command("own", cls=Command, interrupted="Interrupted: the file stays.")
    def own():
        raise KeyboardInterrupt

    assert CliRunner().invoke(own, []).stderr == "Interrupted: the file stays.\n"
    outer = Group("outer")
    outer.add_command(raising(KeyboardInterrupt()))
    done = CliRunner().invoke(outer, ["raising"])
    assert (done.exit_code, done.stdout) == (130, "")
    assert done.stderr.startswith("Interrupted: ")
    assert len(done.stderr.splitlines()) == 1


def test_progress_is_silent_in_a_pipe(capsys):
    """Where standard error is no terminal counting prints nothing at all."""
    with counting("working", total=3) as count:
        count(2)
    assert capsys.readouterr() == ("", "")


def test_progress_counts_on_a_terminal(monkeypatch):
    """On a terminal the bar names the work and how much of it is done."""
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with counting("working", total=3) as count:
        count(2)
        count(1)
    assert "working" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
