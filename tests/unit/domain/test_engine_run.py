"""The error of a run in its stored form."""

import pytest

from prometheus.domain.engine_run import RunError

BARE = RunError(code="CANCELLED", message="Cancelled by an operator.", previous_phase="DATA_READY")
FULL = RunError(
    code="NO_PRICE",
    message="There is no price.",
    previous_phase="SOLVED",
    attempt=2,
    traceback_sha256="0" * 64,
    details={"ticker": "AAA", "days": [1, 2]},
)


@pytest.mark.parametrize("error", [BARE, FULL])
def test_error_is_read_back_as_it_was_stored(error):
    """The stored form has every value that there is, and no others."""
    assert RunError.from_json(error.to_json()) == error
    assert BARE.to_json().keys() == {"code", "message", "previous_phase"}
    assert FULL.to_json()["details"] == {"ticker": "AAA", "days": [1, 2]}


def test_error_written_by_hand_can_be_read():
    """What an operator wrote into the row need not have the shape of ours."""
    assert RunError.from_json({"attempt": "two"}) == RunError(code="UNKNOWN", message="")
