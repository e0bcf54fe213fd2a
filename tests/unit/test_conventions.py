"""Rules of the house that a machine can hold."""

import ast
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

TEST_FILES = sorted((REPOSITORY / "tests").rglob("test_*.py"))
MODULES = sorted((REPOSITORY / "prometheus").rglob("*.py"))
#: All versions and hashes: what runs, what develops and tests it, the benchmarks' peers, and what resolves these three.
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock", "requirements-uv.lock")


def _tests_in(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_test_states_a_behaviour(path):
    """Every test function begins with a docstring that is a sentence."""
    silent = [
        f"{path.name}:{test.lineno} {test.name}"
        for test in _tests_in(path)
        if not re.fullmatch(r"\S+ .*[.:]", (ast.get_docstring(test) or "").split("\n\n")[0].replace("\n", " "))
    ]
    assert silent == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_modules_say_what_they_are(path):
    """Every module has a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path.name} has no docstring"


def test_csv_is_written_in_one_place():
    """One module writes CSV for people and programs; the files of the synthetic fleet alone are made elsewhere."""
    writers = [path.name for path in MODULES if re.search(r"csv\.(writer|DictWriter)\(", path.read_text("utf-8"))]
    assert writers == ["files.py", "demo_files.py"]


def _pinned(name):
    """Return what a lock file holds: each requirement, with its version and marker, and its hashes."""
    text = re.sub(r"^\s*#.*\n", "", (REPOSITORY / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    blocks = (block.split() for block in text.replace("\\\n", "").splitlines())
    return {
        " ".join(word for word in words if not word.startswith("--")): {word for word in words if word.startswith("--")}
        for words in blocks
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_files_name_no_index(lock):
    """Dependencies are locked to versions and hashes, without the address of any package index."""
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    assert not re.search(r"://| @ |^\s*--(?!hash=)", text, re.MULTILINE), "an address, or an option besides --hash"
    pinned = _pinned(lock)
    assert pinned
    assert [name for name, hashes in pinned.items() if "==" not in name or not hashes] == []


def test_every_lock_file_is_looked_at():
    """The locks that are guarded are all that there are."""
    assert sorted(path.name for path in REPOSITORY.glob("*.lock")) == sorted(LOCKS)


@pytest.mark.parametrize("larger", ["requirements-dev.lock", "requirements-bench.lock"])
def test_what_is_tested_is_what_is_installed(larger):
    """An installation has the versions and files that the tests and benchmarks ran with."""
    tested = _pinned(larger)
    assert {name for name, hashes in _pinned("requirements.lock").items() if tested.get(name) != hashes} == set()


def test_the_runtime_lock_has_all_that_the_project_asks_for():
    """The runtime lock has every dependency of the project, within its range, and nothing of the development group."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = {}
    for name in _pinned("requirements.lock"):
        requirement = Requirement(name)
        pinned.setdefault(requirement.name, []).append(next(iter(requirement.specifier)).version)
    asked = [Requirement(each) for each in project["project"]["dependencies"]]
    assert {str(each) for each in asked if not pinned.get(each.name)} == set()
    assert [str(each) for each in asked for version in pinned[each.name] if not each.specifier.contains(version)] == []
    assert pinned.keys() & {Requirement(each).name for each in project["dependency-groups"]["dev"]} == set()


def test_documents_link_to_files_that_exist():
    """Every relative link in the project's own documents leads to a file."""
    pages = (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md"))
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
