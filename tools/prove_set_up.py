"""Set the project up with every Python and pip that it is promised for, offline, long after its locks were made.

``python3 tools/prove_set_up.py [--demo] [--first N]``. A folder of wheels holds what the lock names and, for every
package of the lock, a release that is newer than any. Each combination of Python, pip and user gets a clone of HEAD, a
bare environment with that pip, and `make ready`; with ``--demo`` also `make demo` on an empty home. Prints a line for
each; exit code 1 where one failed. Needs a package index once, to fill the folder.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-dev.lock"
#: What Debian 12, Python 3.11 and Python 3.12 came with; "" is the newest that the index has.
PIPS = {"3.11": ("22.3.1", "23.0.1", "23.2.1", ""), "3.12": ("23.2.1", "")}
OF_LATER_PYTHONS = ("bundled", "")
#: Installations that are not on the PATH.
ELSEWHERE = (Path.home() / ".pyenv/versions", Path("/opt/python"))
NOBODY = 65534


@dataclass(frozen=True)
class Trial:
    """One set-up to be tried."""

    python: Path
    version: str
    pip: str
    user: int

    def __str__(self) -> str:
        who = "root" if self.user == 0 else f"user {self.user}"
        return f"Python {self.version:5} pip {self.pip or 'newest':8} {who:11} {self.python}"


def main() -> int:
    """Try every combination and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--demo", action="store_true", help="also run make demo on an empty home")
    parser.add_argument("--first", type=int, help="try so many combinations only")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="prometheus-set-up-"))
    work.chmod(0o755)
    failed = 0
    try:
        trials = list(_trials())[: options.first]
        wheels = work / "wheels"
        for version, python in {trial.version: trial.python for trial in trials}.items():
            _say(f"Downloading the wheels of the lock for Python {version}")
            _pip(python, "--require-hashes", "--requirement", str(LOCK), folder=wheels)
        for line in LOCK.read_text(encoding="utf-8").splitlines():
            if name := re.match(r"[\w.-]+(?===)", line):
                _newer_release(wheels, name[0])
        for trial in trials:
            began = time.monotonic()
            printed = _tried(trial, wheels, work, demo=options.demo)
            seconds = time.monotonic() - began
            result = "failed" if printed else "passed"
            failed += bool(printed)
            _say(f"{trial} {result} {seconds:6.1f} s")
            if printed:
                _say(printed)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _say(f"{len(trials) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _trials() -> Iterator[Trial]:
    for version, pythons in sorted(_pythons().items()):
        pips = PIPS.get(version, OF_LATER_PYTHONS)
        for pip in pips:
            yield Trial(pythons[0], version, pip, os.geteuid())
        # Users share all that matters but the home: the oldest pip is tried as another one too.
        for python in pythons if os.geteuid() == 0 else ():
            with suppress(OSError):
                subprocess.run([str(python), "-c", ""], user=NOBODY, group=NOBODY, extra_groups=[], check=True)
                yield Trial(python, version, pips[0], NOBODY)
                break


def _pythons() -> dict[str, list[Path]]:
    """Return the interpreters of each version from 3.11 on."""
    places = [Path(place) for place in os.get_exec_path()]
    places += [place for root in ELSEWHERE for place in sorted(root.glob("3.*/bin"))]
    interpreters: dict[str, list[Path]] = {}
    for python in (file for place in places for file in sorted(place.glob("python3*")) if file.is_file()):
        if not re.fullmatch(r"python3(\.\d+)?", python.name):
            continue
        asked = "import sys, ensurepip; print('{}.{}'.format(*sys.version_info), sys._base_executable)"
        words = [str(python), "-I", "-c", asked]
        told = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
        if len(told) == 2 and int(told[0].split(".")[1]) >= 11:
            same = interpreters.setdefault(told[0], [])
            same += [Path(told[1])] if Path(told[1]).resolve() not in [each.resolve() for each in same] else []
    return interpreters


def _tried(trial: Trial, wheels: Path, work: Path, *, demo: bool) -> str:
    """Set up once; return what was printed where it failed, else nothing."""
    place = work / "trial"
    place.mkdir()
    try:
        root, home = place / "checkout", place / "home"
        _check("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(root))
        home.mkdir()
        _give(place, trial.user)
        if trial.pip != "bundled":
            _bare_environment(trial, root, work)
        words = ["make", "demo" if demo else "ready", f"PYTHON={trial.python}"]
        other = {} if trial.user == os.geteuid() else {"user": trial.user, "group": trial.user, "extra_groups": []}
        done = subprocess.run(
            words, cwd=root, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **other,
            env={"PATH": os.defpath, "HOME": str(home), "PROMETHEUS_HOME": str(home / "engine"),
                 "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)},
        )  # fmt: skip
        return done.stdout if done.returncode else ""
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _bare_environment(trial: Trial, root: Path, work: Path) -> None:
    """Make an environment that holds the pip in question and nothing else, as an older Python would."""
    folder = work / f"pip-{trial.version}-{trial.pip or 'newest'}"
    if not folder.exists():
        _pip(trial.python, f"pip=={trial.pip}" if trial.pip else "pip", folder=folder)
    _check(str(trial.python), "-m", "venv", "--without-pip", str(root / ".venv"))
    (packages,) = (root / ".venv/lib").glob("python3*/site-packages")
    zipfile.ZipFile(next(folder.glob("pip-*.whl"))).extractall(packages)
    _give(root / ".venv", trial.user)


def _give(folder: Path, user: int) -> None:
    if user != os.geteuid():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)


def _newer_release(wheels: Path, name: str) -> None:
    """Put an empty release that is newer than any into the folder; it knows every extra that anybody asks for."""
    name = re.sub(r"[-_.]+", "_", name).lower()
    info = f"{name}-9999.dist-info"
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in ("toml", "binary", "pool", "c", "crypto"))
    with zipfile.ZipFile(wheels / f"{name}-9999-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9999\n{extras}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def _pip(python: Path, *wanted: str, folder: Path) -> None:
    """Download wheels for one Python with its own pip, or with ours where it has none."""
    environment = folder.parent / "downloader"
    _check(str(python), "-m", "venv", "--clear", str(environment))
    _check(str(environment / "bin/python"), "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
           "--dest", str(folder), *wanted)  # fmt: skip


def _check(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
