"""Which code decided: a digest that moves with the sources a decision is computed by, and with nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import prometheus
from prometheus.decision.code_version import DECIDING, code_version, source_digest, told_apart
from prometheus.pipeline.engine_config import EngineConfig


def package(root, **files: str):
    """Write a package of some files, named package__module."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_digest_moves_with_what_decides(tmp_path):
    """Another word in a deciding package, another name or file is another digest; other packages do not count."""
    base = {"optimizer__solve": "x = 1\n", "pipeline__tasks": "y = 2\n"}
    first = source_digest(package(tmp_path / "a", **base, scripts__show="z = 3\n"))
    assert first == source_digest(package(tmp_path / "b", **base, scripts__show="z = 4\n", api__web="w\n"))
    others = [
        source_digest(package(tmp_path / "c", **{**base, "optimizer__solve": "x = 2\n"})),
        source_digest(package(tmp_path / "d", optimizer__solver="x = 1\n", pipeline__tasks="y = 2\n")),
        source_digest(package(tmp_path / "e", **base, risk__model="")),
        source_digest(package(tmp_path / "f", optimizer__solve="y = 2\n", pipeline__tasks="x = 1\n")),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize("name", DECIDING)
def test_a_new_module_counts_wherever_it_lies_in_a_deciding_package(name, tmp_path):
    """A module or a package inside that nobody listed anywhere is covered."""
    first = source_digest(package(tmp_path / "a", decision__solve="x = 1\n"))
    at = name.replace("/", "__")
    deeper = package(tmp_path / "c", decision__solve="x = 1\n", **{f"{at}__inside__new": "y = 2\n"})
    beside = package(tmp_path / "b", decision__solve="x = 1\n", **{f"{at}__new": "y = 2\n"})
    assert len({first, source_digest(beside), source_digest(deeper)}) == 3


def test_every_package_either_decides_or_cannot():
    """A package that is new has to be named: among those that decide, or here among those that cannot."""
    cannot = {"api", "audit", "bootstrap", "db", "orchestration", "scripts", "simulation"}
    there = {path.parent.name for path in Path(prometheus.__file__).parent.glob("*/__init__.py")}
    assert there - cannot <= set(DECIDING)
    assert {name for name in DECIDING if "/" not in name} - there <= {"ledger"}


def test_package_without_sources_has_its_version_alone(tmp_path, monkeypatch):
    """Where there are no sources to read the version stands alone."""
    assert source_digest(tmp_path) is None
    monkeypatch.setattr(prometheus, "__file__", str(tmp_path / "__init__.py"))
    code_version.cache_clear()
    assert code_version() == prometheus.__version__
    code_version.cache_clear()


def test_every_process_finds_the_same(tmp_path):
    """A fresh process elsewhere, as another worker is, records the same code."""
    assert re.fullmatch(rf"{re.escape(prometheus.__version__)}\+[0-9a-f]{{16}}", code_version())
    done = subprocess.run(
        [sys.executable, "-c", "from prometheus.decision.code_version import code_version; print(code_version())"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == code_version() == EngineConfig(owner="me").code_version


def test_other_code_is_said():
    """A record by this code has nothing to say, one by other code names both."""
    assert told_apart(code_version()) is None
    assert told_apart("0.1.0") == f"the code is {code_version()} here, the record was decided by 0.1.0"
