import pytest

from prometheus.ledger.files.builders import action_of
from prometheus.ledger.files.columns import CASH_USES, COLUMNS, USES, Action, allowed_columns, use_of
from prometheus.ledger.files.findings import RefusedRowError


def test_every_action_says_which_columns_it_uses():
    """No action is without its columns, and all of them are columns of the format."""
    assert set(USES) == set(Action)
    assert set().union(*(use.columns for use in (*USES.values(), *CASH_USES.values()))) <= set(COLUMNS)


def test_cash_uses_other_columns_than_shares():
    """A row without a ticker is of cash: it has no shares, no lots and no group."""
    assert use_of(Action.OPEN, "").columns == {"amount"}
    assert "quantity" in use_of(Action.OPEN, "X").columns
    assert "group" in allowed_columns(Action.OPEN, "X")
    assert "group" not in allowed_columns(Action.OPEN, "")


def test_a_reversal_names_a_row_and_nothing_else():
    """What a REVERSE says beyond its target would be said for nothing."""
    assert not allowed_columns(Action.REVERSE, "") & {"quantity", "amount", "currency", "corrects", "ticker"}


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("buy", Action.BUY),
        ("Symbol change", Action.RENAME),
        ("spin-off", Action.SPINOFF),
        ("sell short", Action.SHORT),
        ("buy to cover", Action.COVER),
        ("Return of capital", Action.RETURN_OF_CAPITAL),
    ],
)
def test_actions_are_known_by_other_words(text, action):
    """Case, blanks and hyphens do not matter, and common words are understood."""
    assert action_of(text) is action


def test_an_unknown_action_is_refused_with_the_known_ones():
    """The remedy lists what can be written."""
    with pytest.raises(RefusedRowError) as refused:
        action_of("gift")
    assert (refused.value.code, "TRANSFER_OUT" in refused.value.remedy) == ("UNKNOWN_ACTION", True)
