"""The tutorial as a stranger follows it: every command of docs/tutorial.md in order, with the output that it prints."""

import os
import re
import subprocess
import sysconfig
import time

import pytest

from prometheus.db.embedded.server import release
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PAGE = REPOSITORY / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A program is saved under the name in its first line.
PROGRAM = re.compile(r"# (\w+\.py)\n")


def steps():
    """Return the blocks of the page in order: language and text."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def pattern_of(extract):
    """Return what matches an extract: parts of lines that follow each other; three dots alone stand for any lines."""
    lines = []
    for line in extract.splitlines():
        part = re.escape(line).replace(re.escape("..."), ".*")
        lines.append(r"(?:.*\n)*?" if line == "..." else rf".*{part}.*\n")
    return re.compile("".join(lines))


class Shell:
    """A shell that is called once for each block and keeps directory and environment between the calls."""

    def __init__(self, directory, environment) -> None:
        self.directory, self.environment, self.kept = directory, environment, directory / ".environment"

    def run(self, block):
        """Run a block, which ends at its first failing command; return what it printed."""
        script = f'set -eo pipefail\n{block}\n{{ printf "%s\\0" "$PWD"; env -0; }} > "{self.kept}"\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        where, *variables = self.kept.read_text(encoding="utf-8").rstrip("\0").split("\0")
        self.environment = dict(variable.split("=", 1) for variable in variables)
        self.directory = type(self.kept)(where)
        return done.stdout


@pytest.fixture
def shell(open_tmp):
    """A shell in a new directory, with our commands on its path and none of our settings; its server is stopped."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_")}
    environment["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), environment["PATH"]])
    environment |= {"COLUMNS": "120", "PROMETHEUS_EMBEDDED_LINGER_SECONDS": "3"}
    opened = Shell(open_tmp, environment)
    yield opened
    home = open_tmp / "tutorial" / "home"
    release(home)
    for _ in range(150):
        if not (home / "data" / "postmaster.pid").exists():
            break
        time.sleep(0.1)


@pytest.mark.long
def test_every_command_of_the_tutorial_works_and_prints_what_it_says(shell):
    """A stranger's files become certified trades by the commands of the page, and the extracts are what they print."""
    printed, compared = "", 0
    for language, block in steps():
        if language == "python":
            (shell.directory / PROGRAM.match(block)[1]).write_text(block, encoding="utf-8")
        elif language == "sh":
            printed = shell.run(block)
        else:
            assert pattern_of(block).search(printed), f"The page says:\n{block}\nThe command printed:\n{printed}"
            compared += 1
    assert compared >= 6
    assert (shell.directory / "orders.csv").read_text(encoding="utf-8").count("\n") > 1


def test_the_tutorial_has_commands_and_programs_and_extracts_alone():
    """Every block is a program with a name, commands, or an extract that follows commands."""
    languages = [language for language, _ in steps()]
    assert set(languages) == {"python", "sh", "text"}
    assert all(PROGRAM.match(block) for language, block in steps() if language == "python")
    assert all(languages[place - 1] in {"sh", "text"} for place, language in enumerate(languages) if language == "text")
