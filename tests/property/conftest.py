"""Profiles of the property tests: ``default`` for every run, two for the night.

``default`` tries the same examples every time: whether a change may land must not depend on luck. The search for new
ones is the night's. ``ledger`` draws 5,000 journals for each property of the ledger (make prove-ledger); ``long`` draws
2,000 problems for the optimizer, whose examples cost more (make prove-optimizer). ``mutants`` tries few, for each of
hundreds of changes of the rules (make prove-mutants).
"""

from hypothesis import HealthCheck, settings

_SLOW_DRAWS = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default", max_examples=60, deadline=None, suppress_health_check=_SLOW_DRAWS, derandomize=True
)
settings.register_profile(
    "mutants", max_examples=20, deadline=None, suppress_health_check=_SLOW_DRAWS, derandomize=True
)
settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=_SLOW_DRAWS)
settings.register_profile("ledger", max_examples=5000, deadline=None, suppress_health_check=_SLOW_DRAWS)
settings.load_profile("default")
