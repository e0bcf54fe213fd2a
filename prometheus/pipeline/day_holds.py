"""Why a day waits for a person before anything of it is booked: orders that are not settled, data that is too old."""

from collections.abc import Sequence
from typing import Final

from prometheus.domain.money import plain_text
from prometheus.domain.orders import OpenOrder
from prometheus.foundation.errors import PhaseHeldError
from prometheus.foundation.ids import run_label
from prometheus.pipeline.data_ages import DataAge
from prometheus.pipeline.engine_config import AgeLimits

#: Limits that nobody changed: what is beyond them is flagged on the run where a setting allows it.
USUAL: Final = AgeLimits()


def unfilled_in_words(orders: Sequence[OpenOrder]) -> str | None:
    """Return what orders of one run are open, in a sentence; None without any."""
    if not orders:
        return None
    first, run = orders[0], f"{run_label(orders[0].run_seq)} of {orders[0].as_of_date}"
    rest = f"{first.side.value} {plain_text(first.quantity)} {first.ticker}"
    if first.filled:
        rest += f", filled {plain_text(first.filled)}"
    return f"{len(orders)} order(s) of {run} are not filled, first {rest}."


def require_settled(orders: Sequence[OpenOrder]) -> None:
    """Do nothing where an account has no open orders of its run before.

    Raises:
        PhaseHeldError: It has (UNSETTLED_ORDERS): what was ordered would be ordered again.
    """
    unfilled = unfilled_in_words(orders)
    if unfilled is None:
        return
    account_id, run = orders[0].account_id, run_label(orders[0].run_seq)
    raise PhaseHeldError(
        f"{account_id}: {unfilled} Load what was executed with 'prometheus ingest FILE --kind executions'; say that no "
        f"more comes with 'prometheus trades settle {account_id} {run} --expired --reason TEXT'.",
        code="UNSETTLED_ORDERS",
        details={"run_seq": orders[0].run_seq, "orders": len(orders)},
    )


def require_usable(age: DataAge) -> None:
    """Do nothing where data is recent enough.

    Raises:
        PhaseHeldError: It is not; the code is the age's.
    """
    if not age.usable:
        raise PhaseHeldError(f"{age.reason} {age.remedy}", code=age.code)
