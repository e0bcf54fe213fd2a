"""Whether two optimizer problems are the same, bit for bit."""

from dataclasses import fields

import numpy as np

from prometheus.optimizer.problem import RebalanceProblem


def differing_fields(one: RebalanceProblem, other: RebalanceProblem) -> tuple[str, ...]:
    """Return the names of the fields in which two problems differ, in the order of the class; none where equal."""
    return tuple(
        field.name
        for field in fields(RebalanceProblem)
        if not np.array_equal(getattr(one, field.name), getattr(other, field.name))
    )
