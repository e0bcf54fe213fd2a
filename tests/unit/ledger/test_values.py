import gc

import pytest

from prometheus.ledger.values import fact, value, without_collector


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


@pytest.mark.parametrize(("count", "rests"), [(10, False), (1_000, True)])
def test_the_collector_rests_while_many_values_are_made(count, rests):
    """It is off inside for many values only, and on again afterwards, after an error too."""
    assert gc.isenabled()
    seen = []

    def fail():
        with without_collector(count):
            seen.append(gc.isenabled())
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert seen == [not rests]
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off():
    """Who has turned it off turns it on again himself."""
    gc.disable()
    try:
        with without_collector(1_000):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_others_have_frozen_stays_frozen():
    """Objects that the process keeps from the collector are not given back to it."""
    gc.freeze()
    try:
        with without_collector(1_000):
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
