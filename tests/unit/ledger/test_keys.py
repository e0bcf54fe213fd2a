import pytest

from prometheus.ledger.keys import fact, value


@value
class Pair:
    """Two numbers."""

    first: int
    second: int = 0


@fact
class Named:
    """A number that is given by name."""

    number: int


def test_values_compare_and_hash_by_content():
    """Two values of one content are one key."""
    assert {Pair(1): "a", Pair(1, 0): "b"} == {Pair(1): "b"}
    assert Pair(1) != Pair(1, 2)


def test_fields_of_a_fact_are_given_by_name():
    """A fact compares as a value does and takes no field by its place."""
    assert Named(number=1) == Named(number=1)
    with pytest.raises(TypeError):
        Named(1)
