"""Make the project's environment in .venv from its lock files, or leave a complete one as it is.

``python3 tools/set_up.py [--bench]``; make calls it before every target. A lock names every package with its version
and hashes, so nothing is resolved: pip installs it with ``--no-deps``, then ``pip check`` says whether it was complete.
(Older pips resolve a requirement with an extra apart from its pin, and fail once the index has a newer release.)

``.venv/.ready`` says what the environment was made from, each part written when it was done. An environment without it,
from another place, for another Python or from another lock is made anew, so that an interrupted set-up needs no repair
by hand. An environment that holds nothing but an installer is used as it is: another tool may have made it.

Standard library only: nothing is installed yet when this runs.
"""

import argparse
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
READY = ENVIRONMENT / ".ready"
#: Wheels are unpacked beside the environment: a small or closed /tmp does not matter then.
ROOM = ENVIRONMENT / ".tmp"
DEV_LOCK, BENCH_LOCK = "requirements-dev.lock", "requirements-bench.lock"
#: What an environment (1,460 and 1,530 MB) and the wheels that it is unpacked from need, in MB.
NEEDED_MB = {DEV_LOCK: 1_900, BENCH_LOCK: 2_000}
#: What an environment holds before anything is installed.
INSTALLER = re.compile(r"(pip|setuptools|wheel|pkg_resources|_distutils_hack|distutils|_virtualenv|__pycache__)\b")
#: Settings that would put the packages elsewhere or import other code.
MISLEADING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME")
#: Settings that override those of pip's configuration files, but not the command line.
SETTINGS = {
    "TMPDIR": str(ROOM),
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_USER": "0",
    "PIP_REQUIRE_HASHES": "0",
    "PIP_DRY_RUN": "0",
}
#: What pip prints when it fails, the likeliest cause first.
FULL_DISK = re.compile(r"No space left on device|Errno 28\b|Disk quota exceeded|Errno 122\b")
ALTERED = re.compile(r"DO NOT MATCH THE HASHES")
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|Max retries exceeded|ProxyError|ReadTimeout|"
    r"name resolution|Connection refused|Connection ?Reset|RemoteDisconnected|Network is unreachable|SSLError|"
    r"connection error|Read timed out|\b50[234] (?:Server )?Error|\b407\b",
    re.IGNORECASE,
)
ABSENT = re.compile(r"No matching distribution found for (\S+)")
#: How often progress is told where the output is no terminal, in seconds.
PROGRESS_SECONDS = 20.0
#: The lock of ``_one_at_a_time``. Programs that are started hold it too: one may outlive a set-up that was killed.
_held: list[int] = []


class SetUpError(Exception):
    """Set-up cannot go on; the message is for whoever called make."""


def main() -> int:
    """Bring the environment up to date and return the exit code: 0 complete, 1 a sentence says why not."""
    parser = argparse.ArgumentParser(description="Make the project's environment in .venv from its lock files.")
    parser.add_argument("--bench", action="store_true", help="also install what the benchmarks' peers need")
    parser.add_argument("--this-python", action="store_true", help="make an environment of another Python anew")
    options = parser.parse_args()
    locks = [DEV_LOCK, BENCH_LOCK] if options.bench else [DEV_LOCK]
    try:
        with _one_at_a_time():
            bring_up_to_date(locks, this_python=options.this_python)
    except KeyboardInterrupt:
        _say("Set-up was interrupted. The next call of make starts it afresh.")
        return 130
    except SetUpError as error:
        _say(str(error))
        return 1
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            _say(
                f"{ENVIRONMENT} cannot be written by this user ({error}). Remove it as the user that it belongs to, or "
                "work in a checkout of your own."
            )
        else:
            _say(_full_disk(str(error), locks[-1]) or f"Set-up failed: {error}")
        return 1
    return 0


def bring_up_to_date(locks: list[str], *, this_python: bool) -> None:
    """Make what is missing of the environment; do nothing where it is complete.

    Raises:
        SetUpError: with what is wrong and what to do.
    """
    wanted = {lock: _digest(ROOT / lock) for lock in locks}
    made = _made_from(this_python=this_python)
    done: dict[str, str] = made["locks"]
    # A lock that changed may have lost packages, and one that is half installed may lack files: only a new environment
    # is without both. Half the peers of the benchmarks do not harm the rest.
    if any(done.get(lock, digest) != digest or _begun(lock).exists() for lock, digest in wanted.items()):
        done = {}
    project = _digest(ROOT / "pyproject.toml")
    if wanted.keys() <= done.keys() and made.get("project") == project:
        return

    if not done:
        _make_environment()
    for lock in locks:
        if lock not in done:
            _begun(lock).touch()
            _install_lock(lock)
            done = {**done, lock: wanted[lock]}
            _write_ready(done, project=None)
            _begun(lock).unlink()
    _pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT), what="Installing the project")
    _pip("check", what="The check that the lock is complete (pip check)")
    if not (ENVIRONMENT / "bin" / "prometheus").exists():
        raise SetUpError(
            "pip put the packages elsewhere: remove target, prefix and root from its configuration (python3 -m pip "
            "config list) and call make again."
        )
    shutil.rmtree(ROOM)
    _write_ready(done, project=project)


def _begun(lock: str) -> Path:
    """Return the file that is there while a lock is being installed, and stays where that ended on its way."""
    return ENVIRONMENT / f".{lock}.begun"


def _made_from(*, this_python: bool) -> dict:
    """Return what a complete environment was made from; ``{"locks": {}}`` where it has to be made anew."""
    anew = {"locks": {}}
    try:
        made = json.loads(READY.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return anew
    # An environment knows its own path: one that was moved or copied is of no use.
    made_now = {"environment": str(ENVIRONMENT), "python": _version(PYTHON)}
    if not isinstance(made, dict) or {key: made.get(key) for key in made_now} != made_now:
        return anew
    if this_python and made["python"] != _version(Path(sys.executable)):
        return anew
    return made


def _make_environment() -> None:
    if _is_bare():
        return
    try:
        import ensurepip  # noqa: F401, PLC0415 -- whether it is there is the question
        import venv  # noqa: F401, PLC0415
    except ImportError:
        raise SetUpError(
            f"{sys.executable} can make no virtual environments: Debian and Ubuntu keep that in a package of its own. "
            f"Install it (apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv), or make .venv with "
            "another tool (virtualenv .venv), and call make again."
        ) from None
    _clear()
    _check_room(NEEDED_MB[DEV_LOCK])
    ENVIRONMENT.mkdir(exist_ok=True)
    _begun(DEV_LOCK).touch()
    # In two steps, because venv keeps what pip's installer says to itself. Not this very Python: it may be the one that
    # was just removed, where a person had activated the environment.
    base = str(getattr(sys, "_base_executable", sys.executable))
    _run([base, "-I", "-m", "venv", "--without-pip", str(ENVIRONMENT)], what="Making the environment (python -m venv)")
    _run([str(PYTHON), "-I", "-m", "ensurepip", "--default-pip"], what="Installing pip (ensurepip)")


def _clear() -> None:
    """Remove what an environment holds; leave alone what is none."""
    if not ENVIRONMENT.exists():
        ENVIRONMENT.unlink(missing_ok=True)  # a link to nowhere
        return
    held = list(ENVIRONMENT.iterdir()) if ENVIRONMENT.is_dir() else [ENVIRONMENT]
    if held and not (ENVIRONMENT / "pyvenv.cfg").exists() and not _begun(DEV_LOCK).exists():
        raise SetUpError(f"{ENVIRONMENT} is no Python environment. Move it away and call make again.")
    if held:
        _say("Making .venv anew: what is there is incomplete, or made from something else.")
    # The mark last: until then what is left is known to be no whole environment.
    READY.unlink(missing_ok=True)
    _begun(DEV_LOCK).touch()
    for path in held:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != _begun(DEV_LOCK):
            path.unlink(missing_ok=True)


def _is_bare() -> bool:
    """Return True for a working environment that holds an installer and nothing else."""
    if _begun(DEV_LOCK).exists() or READY.exists() or _version(PYTHON) != _version(Path(sys.executable)):
        return False
    held = [path.name for folder in ENVIRONMENT.glob("lib/python3*/site-packages") for path in folder.iterdir()]
    return "pip" in held and all(INSTALLER.match(name) for name in held)


def _install_lock(lock: str) -> None:
    packages = sum(line[:1].isalnum() for line in (ROOT / lock).read_text(encoding="utf-8").splitlines())
    _check_room(NEEDED_MB[lock] if not _has_packages() else NEEDED_MB[lock] - NEEDED_MB[DEV_LOCK])
    _say(f"Setting up .venv from {lock} ({packages} packages, a minute or two, once)")
    try:
        # Wheels only: what an old source archive needs to be built is in no lock.
        _pip("install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off",
             "--requirement", str(ROOT / lock), what=f"Installing {lock}", packages=packages)  # fmt: skip
    except SetUpError as error:
        raise SetUpError(_cause(str(error), lock) or str(error)) from error


def _has_packages() -> bool:
    return any(ENVIRONMENT.glob("lib/python3*/site-packages/numpy"))


def _pip(command: str, *arguments: str, what: str, packages: int = 0) -> None:
    _run([str(PYTHON), "-I", "-m", "pip", "--no-color", command, *arguments], what=what, packages=packages)


def _run(words: list[str], *, what: str, packages: int = 0) -> None:
    """Run a program of the set-up, show how far it is, and raise its failure with the end of what it printed."""
    ROOM.mkdir(exist_ok=True)
    environment = {name: text for name, text in os.environ.items() if name not in MISLEADING} | SETTINGS
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", pass_fds=_held,
    ) as process:  # fmt: skip
        lines = list(_shown(process.stdout, packages))
    if process.returncode:
        # pip may tell first why and then, line by line, what it gave up.
        told = [line for line in lines if not line.startswith(("  Downloading", "Collecting", "Looking in"))]
        text = f"{what} failed. The end of what was printed:\n" + "\n".join(told[-30:])
        raise SetUpError(_full_disk(text, DEV_LOCK) or text)


def _shown(output: Iterable[str], packages: int) -> Iterator[str]:
    """Pass lines on; tell on standard error how many packages were fetched, and when the index does not answer."""
    fetched, told, terminal = 0, time.monotonic(), sys.stderr.isatty()
    for line in output:
        fetched += line.startswith("Collecting ")
        due = terminal or time.monotonic() - told > PROGRESS_SECONDS
        if packages and due and line.startswith(("Collecting ", "Installing collected")):
            step = "installing" if line.startswith("Installing") else f"{fetched} of {packages} fetched"
            sys.stderr.write(f"\r  {step}\x1b[K" if terminal else f"  {step}\n")
            told = time.monotonic()
        elif "Retrying (" in line and "after connection broken" in line and fetched <= 1:
            _say("  the package index does not answer; trying again")
        yield line.rstrip("\n")
    if packages and terminal:
        sys.stderr.write("\r\x1b[K")


def _full_disk(text: str, lock: str) -> str:
    """Return the sentence for a failure of which what was printed tells that a disk is full, or nothing."""
    if not FULL_DISK.search(text):
        return ""
    return (
        f"The disk that holds {ENVIRONMENT} is full, or a quota or its number of files is used up: {_free_mb()} MB are "
        f"free, set-up needs about {NEEDED_MB[lock]} MB. Free some space and call make again."
    )


def _cause(text: str, lock: str) -> str:
    """Return the sentence for a lock that could not be installed, told from what pip printed, or nothing."""
    offline = os.environ.get("PIP_NO_INDEX", "").lower() in {"1", "true", "yes", "on", "y", "t"}
    absent = ABSENT.search(text)
    if ALTERED.search(text):
        return (
            "A downloaded package is not the one that the lock names (its hash differs), so nothing of it was "
            "installed. Call make again; if it stays so, the package index or mirror serves altered files.\n" + text
        )
    if not offline and (UNREACHABLE.search(text) or (absent and "from versions: none" in text)):
        return (
            "The package index could not be reached, or refused to answer. Check the network, and the proxy and index "
            "that pip is told to use (python3 -m pip config list; HTTPS_PROXY), then call make again. Without a "
            "network: PIP_NO_INDEX=1 PIP_FIND_LINKS=a-folder-of-wheels, filled elsewhere by pip download "
            f"--require-hashes --no-deps --only-binary :all: -d a-folder-of-wheels -r {lock}.\n" + text
        )
    if absent:
        where = f"The folder of wheels ({os.environ.get('PIP_FIND_LINKS', '')})" if offline else "The package index"
        python = "{}.{}".format(*sys.version_info)
        return (
            f"{where} has no wheel of {absent[1]} for Python {python} on this machine. Complete it, or call make with "
            "another Python: make PYTHON=python3.13 ...\n" + text
        )
    return ""


def _check_room(needed: int) -> None:
    if _free_mb() < needed:
        raise OSError(errno.ENOSPC, f"No space left on device: {needed} MB are needed")


def _free_mb() -> int:
    return shutil.disk_usage(ROOT).free // 2**20


def _write_ready(locks: dict[str, str], project: str | None) -> None:
    made = {"environment": str(ENVIRONMENT), "python": _version(PYTHON), "locks": locks, "project": project}
    written = READY.with_suffix(".new")
    written.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    written.replace(READY)


def _version(python: Path) -> str:
    """Return which Python an interpreter is, as ``3.11 in /usr``, or nothing where it does not run."""
    asked = "import sys; print('{}.{}'.format(*sys.version_info), 'in', sys.base_prefix)"
    words = [str(python), "-I", "-S", "-c", asked]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two calls of make from setting up the same checkout at once."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Waiting for another set-up of this checkout")
            fcntl.flock(folder, fcntl.LOCK_EX)
        _held.append(folder)
        yield
    finally:
        os.close(folder)


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


if __name__ == "__main__":
    sys.exit(main())
