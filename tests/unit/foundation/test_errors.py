import inspect
import re

import pytest

from prometheus.foundation import errors
from prometheus.foundation.errors import PrometheusError


def _subclasses(kind: type[PrometheusError]) -> list[type[PrometheusError]]:
    direct = [cls for cls in kind.__subclasses__() if cls.__module__ == errors.__name__]
    return direct + [deeper for cls in direct for deeper in _subclasses(cls)]


ALL = [PrometheusError, *_subclasses(PrometheusError)]


def drawn_tree() -> dict[str, str]:
    """Read the tree in the module's docstring: name of each class to the name of its parent."""
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = [(-1, "PrometheusError")]
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"([| ]*)\+-- (.*)", line)
        more = re.match(r"[| ]+(\w+Error)", line)
        if branch:
            depth = len(branch.group(1))
            path = [(at, name) for at, name in path if at < depth]
            names = re.findall(r"\w+Error", branch.group(2))
            parents.update(dict.fromkeys(names, path[-1][1]))
            path.append((depth, names[0]))
        elif more:  # a list that goes on: same parent as the names before it
            parent = parents[path[-1][1]]
            parents.update(dict.fromkeys(re.findall(r"\w+Error", line), parent))
    return parents


def test_the_drawn_tree_is_the_tree_of_classes():
    """The tree in the docstring names every class once, under its real base."""
    actual = {cls.__name__: cls.__bases__[0].__name__ for cls in ALL[1:]}
    assert drawn_tree() == actual


def test_retryable_marks_in_the_drawing_are_true():
    """Exactly the classes drawn as retryable are retryable."""
    drawn = set(re.findall(r"(\w+Error) \(retryable\)", errors.__doc__ or ""))
    assert {cls.__name__ for cls in ALL if cls.retryable} == drawn


def test_codes_are_stable_words_of_their_own():
    """Every class has its own code in capitals, because codes are persisted and searched for."""
    codes = [cls.default_code for cls in ALL]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[A-Z][A-Z_]+", code) for code in codes)


def test_only_requests_exit_with_two():
    """A request that cannot be met ends with exit code 2, every other failure with 1."""
    assert {cls.exit_code for cls in _subclasses(errors.RequestError)} == {2}
    assert {cls.exit_code for cls in ALL if not issubclass(cls, errors.RequestError)} == {1}


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_an_error_carries_message_code_and_details(cls):
    """An error shows its sentence as text and keeps code and details for the record."""
    plain = cls("the sentence.")
    assert str(plain) == plain.message == "the sentence."
    assert plain.code == cls.default_code
    assert plain.details == {}
    special = cls("the sentence.", code="SPECIAL", details={"ticker": "ABC"})
    assert (special.code, special.details) == ("SPECIAL", {"ticker": "ABC"})


def test_details_are_not_shared_between_errors():
    """Writing into one error's details leaves other errors alone."""
    first, second = PrometheusError("one."), PrometheusError("two.")
    first.details["x"] = 1
    assert second.details == {}


def test_every_public_class_is_an_error_of_the_tree():
    """The module defines nothing but the tree."""
    defined = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__}
    assert defined == set(ALL)


def test_a_refused_file_tells_its_line_and_value():
    """Line and value come from the details; what is not there or is of another type is None."""
    refused = errors.FileRefusedError("the sentence.", details={"line": 3, "value": "x"})
    assert (refused.line, refused.value) == (3, "x")
    bare = errors.FileRefusedError("the sentence.", details={"line": "three"})
    assert (bare.line, bare.value) == (None, None)
