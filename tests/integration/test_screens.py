"""Every command on a terminal of 80 columns: no line is longer, and in a pipe nothing depends on a width."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading

import pytest

from prometheus.scripts.main import main
from tests.conftest import REPOSITORY, clone_of
from tests.integration.commands_fleet import AS_OF, NEXT_DAY, call
from tests.unit.scripts_tree import leaves

COLUMNS = 80
#: A word that nobody may break: a path, a digest, an address.
LONG_WORD = 40
DAY, NEXT = AS_OF.isoformat(), NEXT_DAY.isoformat()
NOWHERE = "/nowhere/at/all.json"
#: Every command with its words; what a small fleet cannot do is looked at in its refusal.
SCREENS = {
    "audit anchor": ("--as-of", DAY),
    "audit archive": ("--before", DAY, "--out", "x.jsonl", "--reason", "retention"),
    "audit archives": (),
    "audit export": ("ACC-9", "--out", "/nowhere/x.jsonl"),
    "audit real": ("/nowhere", "/nowhere", "--first", DAY),
    "audit year": ("--sessions", "400"),
    "backup": ("/nowhere/prometheus.zip",),
    "compare-solvers": ("--from", DAY, "--to", DAY, "--account", "ACC-4", "--b", "structured"),
    "db status": (),
    "db upgrade": (),
    "demo": (),
    "engine freeze": ("--reason", "a feed that nobody has looked at since the evening of the day before yesterday"),
    "engine outbox": ("--format", "table"),
    "engine pause": ("ACC-2", "--reason", "the client asked to wait until the house is sold and the loan is repaid"),
    "engine resume": ("ACC-2",),
    "engine status": (),
    "engine tasks": (),
    "engine unfreeze": (),
    "engine-health": (),
    "explain": ("ACC-1", "1"),
    "ingest": (NOWHERE,),
    "ledger refold": ("--dry-run",),
    "ledger rebuild": ("--check",),
    "ledger tax-report": ("ACC-1", "--years", "2024"),
    "ledger wash-sales": (str(REPOSITORY / "tests/golden/vector_01_publication_550/trades_us.csv"),),
    "optimize": (str(REPOSITORY / "examples/problem_small.json"),),
    "replay": ("ACC-4", "1"),
    "restore": (NOWHERE,),
    "risk calibrate": (),
    "risk evaluate": ("--from", "2014-01-01", "--to", "2014-02-01"),
    "risk refresh": ("--as-of", DAY),
    "risk show": (),
    "run-daily": ("--as-of", NEXT, "--workers", "0"),
    "run-engine-state": ("--advance-all", "--time-budget", "0"),
    "runs export": ("ACC-9", "1"),
    "runs history": ("ACC-1", DAY),
    "runs list": (),
    "runs show": ("ACC-1", "1", "--details"),
    "show-engine-runs": ("--format", "table"),
    "strategy load": (NOWHERE,),
    "strategy show": ("momentum",),
    "today": ("--as-of", NEXT),
    "trades export": ("--output", "/nowhere/orders.csv"),
    "trades list": (),
    "trades settle": ("ACC-9", "RUN-001", "--expired", "--reason", "nothing more comes"),
    "verify-audit": (),
}


@pytest.fixture(scope="module")
def url(server, traded_template):
    """A database with two days of the fleet."""
    with clone_of(server, traded_template) as clone:
        yield clone


def screen(monkeypatch, url, words, columns=COLUMNS):
    """Run a command on a terminal, a real one but for the person; return its lines as they stand at the end."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    pieces = []

    def read():
        try:
            while piece := os.read(leader, 65_536):
                pieces.append(piece)
        except OSError:
            pass  # the terminal's other side was closed: all is read

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", url)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    with os.fdopen(follower, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
        for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
            patch.setattr(sys, name, terminal)
        with pytest.raises(SystemExit):
            main.main(list(words), prog_name="prometheus")
        terminal.flush()
    reader.join(timeout=60)
    os.close(leader)
    shown = re.sub(r"[^\n]*\r\x1b\[2K", "", b"".join(pieces).decode().replace("\r\n", "\n"))
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()


def too_long(lines, columns=COLUMNS):
    """Return the lines that a terminal would fold, but for those that one long word makes long."""
    return [line for line in lines if len(line) > columns and max(map(len, line.split())) < LONG_WORD]


def test_every_command_has_its_screen():
    """No command of the tree is left out."""
    assert sorted(SCREENS) == sorted(leaves())


@pytest.mark.parametrize("command", SCREENS)
def test_no_line_is_longer_than_the_terminal(monkeypatch, url, command):
    """What a command shows on a terminal of 80 columns is not folded by it."""
    lines = screen(monkeypatch, url, (*command.split(), *SCREENS[command]))
    assert too_long(lines) == []


@pytest.mark.parametrize("command", SCREENS)
def test_no_line_of_help_is_longer_than_the_terminal(monkeypatch, url, command):
    """Help, with its examples, fits a terminal of 80 columns."""
    lines = screen(monkeypatch, url, (*command.split(), "--help"))
    assert lines[0].startswith("Usage: prometheus ")
    assert too_long(lines) == []


@pytest.mark.parametrize("columns", [100, 120])
def test_wider_terminals_show_more_columns(monkeypatch, url, columns):
    """At 100 and 120 columns nothing is folded either, and the list has more of its columns."""
    narrow = screen(monkeypatch, url, ("runs", "list"))
    wide = screen(monkeypatch, url, ("runs", "list"), columns)
    assert too_long(wide, columns) == []
    assert len(wide[0].split()) > len(narrow[0].split())


@pytest.mark.parametrize("words", [("runs", "list"), ("today", "--as-of", NEXT), ("show-engine-runs",)])
def test_a_pipe_has_the_same_whatever_the_width(url, words):
    """In a pipe output is plain and the same for every COLUMNS, with no escape sequence in it."""
    outputs = {call(url, *words, COLUMNS=columns).stdout for columns in ("40", "80", "200")}
    assert len(outputs) == 1
    assert "\x1b" not in outputs.pop()


@pytest.mark.parametrize("name", ["NO_COLOR", None])
def test_no_color_is_respected(monkeypatch, url, name):
    """Headings are bold on a terminal, and plain where NO_COLOR is set."""
    from prometheus.scripts.tables import may_decorate

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if name is not None:
        monkeypatch.setenv(name, "1")
    assert may_decorate(Terminal()) is (name is None)
