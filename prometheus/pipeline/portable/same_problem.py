"""Whether two optimizer problems are the same, bit for bit."""

from dataclasses import fields
from typing import Any

import numpy as np

from prometheus.optimizer.problem import RebalanceProblem, SpecificBlock


def differing_fields(one: RebalanceProblem, other: RebalanceProblem) -> tuple[str, ...]:
    """Return the names of the fields in which two problems differ, in the order of the class; none where equal."""
    return tuple(
        field.name
        for field in fields(RebalanceProblem)
        if not _same(getattr(one, field.name), getattr(other, field.name))
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, SpecificBlock):
        return _same(one.names, other.names) and _same(one.covariance, other.covariance)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    return np.array_equal(one, other)
