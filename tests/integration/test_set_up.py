"""`make` sets up its environment from the lock, whatever was released since, and says in a sentence where it cannot.

A project in miniature replaces this one: its own Makefile and tools/set_up.py are copied, its packages are a few tiny
wheels. `make prove-set-up` does the same with the real locks, wheels, Pythons and pips.
"""

import hashlib
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
#: The interpreter that environments are made with: not that of this environment.
BASE_PYTHON = Path(sys._base_executable)
#: The oldest pip that set-up is promised for, by Python; later ones bring one that is newer than these.
OLDEST_PIPS = {
    (3, 11): "pip==22.3.1 --hash=sha256:908c78e6bc29b676ede1c4d57981d490cb892eb45cd8c214ab6298125119e077",
    (3, 12): "pip==23.2.1 --hash=sha256:7ccf472345f20d35bdc9d1841ff5f313260c2c33fe417f48c30ac46cccabf5be",
}
PYTHON = sys.version_info[:2]
BACKEND = '''
"""Builds the project in miniature, without any package."""
import zipfile

MODULE = """
import alpha, beta

def main():
    print("alpha", alpha.RELEASE, "beta", beta.RELEASE)
"""
FILES = {
    "METADATA": "Metadata-Version: 2.1\\nName: prometheus-engine\\nVersion: 0.1\\nRequires-Dist: alpha\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "entry_points.txt": "[console_scripts]\\nprometheus = miniature:main\\n",
    "RECORD": "",
}

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "prometheus_engine-0.1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("miniature.py", MODULE)
        for file, text in FILES.items():
            wheel.writestr(f"prometheus_engine-0.1.dist-info/{file}", text)
    return name
'''


class Miniature:
    """A project of two packages and its folder of wheels; ``make`` runs a target of the real Makefile in it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.wheels, self.home = folder / "project", folder / "wheels", folder / "home"
        self.programs = folder / "programs"
        for made in (self.root / "tools", self.wheels, self.home, self.programs):
            made.mkdir(parents=True)
        (self.programs / "python3").symlink_to(BASE_PYTHON)
        shutil.copy(REPOSITORY / "Makefile", self.root)
        shutil.copy(REPOSITORY / "tools" / "set_up.py", self.root / "tools")
        (self.root / "backend.py").write_text(BACKEND)
        (self.root / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            '[project]\nname = "prometheus-engine"\nversion = "0.1"\n'
        )
        alpha, beta = self.wheel("alpha", "1.0", "beta[speed]>=1.0"), self.wheel("beta", "1.0")
        self.lock(alpha, beta)

    def wheel(self, name: str, version: str, *requires: str) -> str:
        """Put a tiny wheel into the folder of wheels; return its line of a lock."""
        path = self.wheels / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.py", f"RELEASE = {version!r}\n")
            wheel.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: speed\n{needs}",
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    def lock(self, *lines: str) -> None:
        """Write the lock."""
        (self.root / "requirements-dev.lock").write_text("".join(lines))

    def start(self, *words: str, **settings: str) -> subprocess.Popen:
        """Start make as from a shell in which the environment is activated; offline where no index is said."""
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        path = os.pathsep.join([str(self.root / ".venv/bin"), str(self.programs), os.defpath])
        environment = {"PATH": path, "HOME": str(self.home), **offline, **settings}
        return subprocess.Popen(
            ["make", *(words or ("demo",))], cwd=self.root, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def make(self, *words: str, **settings: str) -> tuple[int, str]:
        """Run make; return its exit code and what it printed."""
        with self.start(*words, **settings) as process:
            printed = process.communicate()[0]
        return process.returncode, printed

    def is_complete(self) -> bool:
        """Return True where set-up would take the environment as it is."""
        module = runpy.run_path(str(self.root / "tools" / "set_up.py"))
        made = module["_made_from"](this_python=False)
        lock = hashlib.sha256((self.root / "requirements-dev.lock").read_bytes()).hexdigest()
        return (
            made["locks"] == {"requirements-dev.lock": lock} and not module["_begun"]("requirements-dev.lock").exists()
        )


@pytest.fixture
def miniature(tmp_path):
    """A project in miniature that was never set up."""
    return Miniature(tmp_path)


@pytest.fixture(scope="module")
def oldest_pip(tmp_path_factory):
    """The wheel of the oldest supported pip; None where it is the one that Python brings, or cannot be downloaded."""
    if PYTHON not in OLDEST_PIPS:
        return None
    folder = tmp_path_factory.mktemp("pip")
    (folder / "pip.txt").write_text(OLDEST_PIPS[PYTHON])
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r", "pip.txt"],
        cwd=folder, check=False, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"), None)


def bare_environment(root: Path, pip: Path | None) -> None:
    """Make an environment that holds the oldest pip and nothing else; without one, leave it to set-up."""
    if pip is not None:
        subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", root / ".venv"], check=True)
        (packages,) = (root / ".venv" / "lib").glob("python3*/site-packages")
        zipfile.ZipFile(pip).extractall(packages)


@contextmanager
def package_index(wheels: Path, stall_at: str | None = None):
    """Serve a folder of wheels as a package index behind an HTTP proxy; the first request for one wheel may hang."""
    stalled, go_on = threading.Event(), threading.Event()

    class Index(BaseHTTPRequestHandler):
        def do_GET(self):
            path = re.sub(r"^http://[^/]+", "", self.path)
            if path.endswith("/"):
                name = path.strip("/").rpartition("/")[2]
                links = "".join(f'<a href="/{each.name}">{each.name}</a>' for each in wheels.glob(f"{name}-*.whl"))
                body, kind = f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html"
            else:
                if stall_at and path.startswith(f"/{stall_at}-") and not stalled.is_set():
                    stalled.set()
                    go_on.wait()
                body, kind = (wheels / path.strip("/")).read_bytes(), "application/octet-stream"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], stalled
    finally:
        go_on.set()
        server.shutdown()
        server.server_close()


def test_a_newer_release_of_what_another_requires_with_an_extra_breaks_nothing(miniature, oldest_pip):
    """The oldest pip installs what the lock names although the folder of wheels has a newer release of it."""
    if PYTHON in OLDEST_PIPS and oldest_pip is None:
        pytest.skip("the oldest supported pip could not be downloaded: no package index can be reached")
    miniature.wheel("beta", "1.1")
    bare_environment(miniature.root, oldest_pip)
    code, printed = miniature.make()
    assert code == 0, printed
    assert miniature.make() == (0, "alpha 1.0 beta 1.0\n"), "a second call sets up nothing"


@pytest.mark.long
def test_a_set_up_that_is_killed_or_made_from_another_lock_is_made_anew(miniature, oldest_pip, tmp_path):
    """After another lock and SIGKILL in a download through a proxy the next call makes a whole environment."""
    bare_environment(miniature.root, oldest_pip)
    assert miniature.make()[0] == 0
    assert miniature.is_complete()
    miniature.lock(miniature.wheel("alpha", "1.0"), miniature.wheel("beta", "1.1"))
    with package_index(miniature.wheels, stall_at="beta") as (port, stalled):
        configuration = tmp_path / "pip.conf"
        configuration.write_text(
            "[global]\nindex-url = http://wheels.test/index/\ntrusted-host = wheels.test\n"
            f"proxy = http://127.0.0.1:{port}\n[install]\nuser = true\nrequire-hashes = true\n"
        )
        online = {"PIP_CONFIG_FILE": str(configuration), "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""}
        with miniature.start(**online) as process:
            while not stalled.wait(0.05):
                assert process.poll() is None, process.communicate()[0]
            os.killpg(process.pid, signal.SIGKILL)
        assert not miniature.is_complete()
        code, printed = miniature.make(**online)
    assert (code, printed.splitlines()[-1]) == (0, "alpha 1.0 beta 1.1")
    assert "anew" in printed
    held = [path.name for path in miniature.root.glob(".venv/lib/python3*/site-packages/beta*")]
    assert sorted(held) == ["beta-1.1.dist-info", "beta.py"]


@pytest.mark.long
def test_an_environment_that_moved_is_not_complete_and_one_that_lost_a_step_is(miniature, oldest_pip):
    """A moved checkout needs a new environment; a project that could not be installed costs only that step again."""
    bare_environment(miniature.root, oldest_pip)
    assert miniature.make()[0] == 0
    here = miniature.root
    miniature.root = here.rename(here.with_name("moved"))
    assert not miniature.is_complete()
    miniature.root = miniature.root.rename(here)
    assert miniature.is_complete()

    whole = (here / "pyproject.toml").read_text()
    (here / "pyproject.toml").write_text(whole.replace('"backend"', '"nowhere"'))
    code, printed = miniature.make("ready")
    assert (code, "Installing the project failed" in printed) == (2, True)
    (here / "pyproject.toml").write_text(whole + "# repaired\n")
    assert miniature.make(PIP_FIND_LINKS="")[0] == 0, "nothing but the project was installed again"


def test_a_person_s_own_folder_is_left_alone(miniature):
    """A .venv that is no environment is not removed: set-up says to move it away."""
    notes = miniature.root / ".venv" / "notes.txt"
    notes.parent.mkdir()
    notes.touch()
    code, printed = miniature.make("ready")
    assert (code, notes.exists()) == (2, True)
    assert f"{notes.parent} is no Python environment." in printed


@pytest.mark.long
def test_a_lock_that_lacks_a_package_is_told(miniature, oldest_pip):
    """What a locked package needs and the lock does not name ends set-up with both names, and not as complete."""
    bare_environment(miniature.root, oldest_pip)
    miniature.lock(miniature.wheel("alpha", "1.0", "beta[speed]>=1.0"))
    code, printed = miniature.make("ready")
    assert code == 2
    assert "alpha 1.0 requires beta" in printed
    assert "alpha 1.0 requires beta" in miniature.make("ready")[1], "it is not taken for complete afterwards"


def test_a_folder_that_lacks_a_wheel_and_an_altered_wheel_are_told(miniature, oldest_pip):
    """Offline, a wheel that is missing or not the locked one is named with what to do."""
    bare_environment(miniature.root, oldest_pip)
    beta = miniature.wheels / "beta-1.0-py3-none-any.whl"
    beta.unlink()
    code, printed = miniature.make("ready")
    assert code == 2
    assert f"The folder of wheels ({miniature.wheels}) has no wheel of beta==1.0 for Python 3." in printed
    shutil.copy(miniature.wheels / "alpha-1.0-py3-none-any.whl", beta)
    shutil.rmtree(miniature.root / ".venv")
    bare_environment(miniature.root, oldest_pip)
    code, printed = miniature.make("ready")
    assert code == 2
    assert "A downloaded package is not the one that the lock names" in printed


def test_an_index_that_cannot_be_reached_is_told(miniature, oldest_pip):
    """Where nobody listens at the index the first sentence says so, with the way to work offline."""
    bare_environment(miniature.root, oldest_pip)
    code, printed = miniature.make(
        "ready", PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0", PIP_NO_INDEX="0", PIP_FIND_LINKS=""
    )
    assert code == 2
    told = [line for line in printed.splitlines() if not line.startswith(("Setting up", "  the package index"))]
    assert told[0].startswith("The package index could not be reached, or refused to answer.")
    assert "PIP_NO_INDEX=1" in told[0]


def test_a_full_disk_is_told_before_anything_is_written(miniature):
    """On a disk with too little space set-up says how much it needs, and leaves nothing behind."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    script = 'mount -t tmpfs -o size=4m none "$1" && cd "$1" && cp -r "$2"/. . && make ready PYTHON="$3"; ls -A'
    disk = miniature.home / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", disk, miniature.root, BASE_PYTHON],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.stderr.startswith(("mount:", "unshare:")):
        pytest.skip("this machine lets nobody mount a small disk")
    assert f"The disk that holds {disk / '.venv'} is full" in done.stderr
    assert "MB are free, set-up needs about" in done.stderr
    assert "tools" in done.stdout.split()
    assert ".venv" not in done.stdout.split()


def test_a_python_that_makes_no_environments_is_told(miniature, monkeypatch, capfd):
    """Where the distribution splits venv off, set-up names its package and leaves no half environment."""
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    monkeypatch.setattr(sys, "argv", ["set_up.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(miniature.root / "tools" / "set_up.py"), run_name="__main__")
    assert ended.value.code == 1
    assert "apt install python3." in capfd.readouterr().err
    assert not (miniature.root / ".venv").exists()


@pytest.mark.parametrize(
    ("printed", "sentence"),
    [
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'ProxyError('Cannot connect')'",
            "The package in",
        ),
        ("socket.gaierror: Temporary failure in name resolution", "The package index could not be reached"),
        ("(from versions: none)\nNo matching distribution found for alpha==1.0", "The package index could not be rea"),
        ("ERROR: No matching distribution found for numba==0.66.1", "The package index has no wheel of numba==0.66.1"),
        ("NameError: name 'x' is not defined", ""),
        ("ERROR: something new", ""),
    ],
)
def test_causes_are_told_from_what_pip_prints(printed, sentence, monkeypatch):
    """Each known cause gets its sentence; what is not known is passed on as pip printed it."""
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    told = runpy.run_path(str(REPOSITORY / "tools" / "set_up.py"))["_cause"](printed, "requirements-dev.lock")
    assert told.startswith(sentence)
    assert bool(told) is bool(sentence)


@pytest.mark.parametrize("printed", ["OSError: [Errno 28] No space left on device", "[Errno 122] Disk quota exceeded"])
def test_a_disk_that_fills_on_the_way_is_told(printed):
    """What programs print of a full disk or a used-up quota becomes the sentence for it."""
    module = runpy.run_path(str(REPOSITORY / "tools" / "set_up.py"))
    assert module["_full_disk"](printed, "requirements-dev.lock").startswith("The disk that holds ")
