"""Rules of the house that a machine can hold."""

import ast
import re

import pytest

from tests.conftest import REPOSITORY

TEST_FILES = sorted((REPOSITORY / "tests").rglob("test_*.py"))
MODULES = sorted((REPOSITORY / "prometheus").rglob("*.py"))
#: Lines of a module; past this look for the second idea inside.
LONGEST_MODULE = 500


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
def test_modules_are_small_and_say_what_they_are(path):
    """Every module has a docstring and at most so many lines that it has one idea."""
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path.name} has no docstring"
    assert text.count("\n") <= LONGEST_MODULE


def test_the_lock_file_names_no_index():
    """Dependencies are locked to versions and hashes, without the address of any package index."""
    lock = (REPOSITORY / "requirements-dev.lock").read_text(encoding="utf-8")
    assert "--hash=sha256:" in lock
    assert not re.search(r"://| @ |^\s*--(?!hash=)", lock, re.MULTILINE), "an address, or an option besides --hash"


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
