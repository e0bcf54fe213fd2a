"""The package as a user has it: installed away from the checkout, in an environment of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

#: All that a build reads.
SOURCES = ("prometheus", "migrations", "pyproject.toml", "README.md", "LICENSE", ".gitignore")


@dataclass(frozen=True)
class Installation:
    """An environment that the package is installed in.

    Attributes:
        root: Directory of the environment.
        site: Where its packages lie.
        elsewhere: An empty directory, in which its commands run.
    """

    root: Path
    site: Path
    elsewhere: Path

    def run(self, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Run one of its programs in the empty directory, with an empty home and none of our own settings."""
        ours = ("PROMETHEUS_", "PYTHON")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        # A narrow terminal somewhere must not cut what goes through a pipe.
        environment |= {"HOME": str(self.elsewhere), "COLUMNS": "80", **variables}
        return subprocess.run(
            [self.root / "bin" / program, *arguments],
            cwd=self.elsewhere, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip


def install(what, folder):
    """Install a wheel or a directory of sources into a new environment that sees what ours has installed, no more.

    The package of ours is a link to the checkout, in a file of paths: such files are read in the environment's own
    directory and nowhere else.
    """
    root, elsewhere = folder / "environment", folder / "elsewhere"
    elsewhere.mkdir()
    venv.create(root, symlinks=True)
    (site,) = root.glob("lib/python*/site-packages")
    dependencies = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (site / "dependencies.pth").write_text("\n".join([*dependencies, ""]))
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", root / "bin" / "python", "install", "--quiet", "--no-index",
            "--no-deps", "--no-build-isolation", "--no-compile", "--ignore-installed", what,
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    _lend_machine_code(site / "prometheus" / "optimizer")
    return Installation(root, site, elsewhere)


def _lend_machine_code(installed):
    """Put what our loops were compiled to beside the same loops: to compile them again takes 20 seconds.

    Numba takes it where the source has the size and the time that it had.
    """
    ours = REPOSITORY / "prometheus" / "optimizer"
    # An index first: what it names is then there, or new.
    for kind in ("nbi", "nbc"):
        for file in ours.rglob(f"__pycache__/*.{kind}"):
            lent = installed / file.relative_to(ours)
            lent.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, lent)
    for source in ours.rglob("*.py"):
        shutil.copystat(source, installed / source.relative_to(ours))
