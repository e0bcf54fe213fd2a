"""Bytes to a document: exact numbers, and nothing that JSON readers silently accept."""

from decimal import Decimal

import pytest

from prometheus.decision.problem_file.document import parse_document
from prometheus.foundation.errors import FileRefusedError


def test_numbers_are_read_exactly():
    """A number with decimals keeps every digit, an integer stays one."""
    found = parse_document(b'{"a": 0.10000000000000000000000000000000001, "b": 12345678901234567890, "c": 1e-3}', "f")
    assert found == {
        "a": Decimal("0.10000000000000000000000000000000001"),
        "b": 12345678901234567890,
        "c": Decimal("0.001"),
    }
    assert isinstance(found["b"], int)


def test_byte_order_mark_is_passed_over():
    """A file saved with a byte order mark is read like any other."""
    assert parse_document(b"\xef\xbb\xbf{}", "f") == {}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1 is not JSON"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6 is not JSON"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"[1]", "one JSON object, not a list"),
        (b"1.5", "one JSON object, not a Decimal"),
        (b'{"a": {"price": 1, "b": 2, "price": 3}}', "the key 'price' stands twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number that is too long"),
        (b'{"a": 1e99999999999999999999}', "too long"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_unreadable_files_are_refused_in_a_sentence(raw, said):
    """What is not one unambiguous JSON object is refused with the place and the reason."""
    with pytest.raises(FileRefusedError) as refused:
        parse_document(raw, "problem.json")
    assert refused.value.message.startswith("problem.json cannot be read: ")
    assert said in refused.value.message
    assert refused.value.exit_code == 2


def test_every_number_that_is_none_is_listed_by_path():
    """NaN, infinities and numbers beyond any float are refused together, each by its path."""
    raw = b'{"lots": [{"q": NaN}, {"q": Infinity}], "b": -Infinity, "c": 1e400, "d": 1' + b"0" * 400 + b', "e": true}'
    with pytest.raises(FileRefusedError) as refused:
        parse_document(raw, "problem.json")
    paths = [item["path"] for item in refused.value.details["defects"]]
    assert paths == ["$.lots[0].q", "$.lots[1].q", "$.b", "$.c", "$.d"]
    assert "$.lots[0].q = NaN: is not a finite number" in refused.value.message
