"""Profiles of the property tests: ``default`` for every run, ``long`` for the night.

pytest tests/property --hypothesis-profile=long
"""

from hypothesis import HealthCheck, settings

_SLOW_DRAWS = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=_SLOW_DRAWS)
settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=_SLOW_DRAWS)
settings.load_profile("default")
