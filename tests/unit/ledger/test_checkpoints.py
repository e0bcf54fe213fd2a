"""A state as bytes and back."""

import json

import lz4.frame
import pytest

from prometheus.foundation.errors import AccountingError
from prometheus.ledger.checkpoints import VERSION, from_bytes, to_bytes
from prometheus.ledger.state import EMPTY
from tests.unit.ledger.told import Told


def test_a_state_comes_back():
    """Lots with fractions, cash, purchases, losses, groups and unlisted actions are as they were."""
    told = Told(
        """
        2018-01-02,A,OLD,BUY,10,100,L
        2018-01-02,B,OLD,BUY,10,100,L
        2018-06-04,A,OLD,SPLIT,1:3
        2018-06-05,A,OLD,SELL,1,20
        2018-06-05,B,OLD,BUY,0.5,20,M
        2018-06-06,A,OLD,RENAME,,,,NEW
        """,
        groups={"OLD": "G"},
        sound=False,
    )
    assert told.state.losses
    assert told.state.unlisted
    assert told.state.groups == {"NEW": "G"}
    again = from_bytes(to_bytes(told.state))
    assert again == told.state
    assert to_bytes(again) == to_bytes(told.state)


def test_an_empty_state_comes_back():
    """A household without events has a state too."""
    assert from_bytes(to_bytes(EMPTY)) == EMPTY


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "cannot be read"), (lz4.frame.compress(json.dumps({"version": VERSION + 1}).encode()), "has version")],
)
def test_other_bytes_are_refused(data, said):
    """Bytes that are no state, or one of another version, are refused with what to do."""
    with pytest.raises(AccountingError, match=said):
        from_bytes(data)
