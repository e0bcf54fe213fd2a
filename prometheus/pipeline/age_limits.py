"""How old the data of a day may be; the judgement upon them is ``pipeline.data_ages``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """Ages beyond which data is stale; 0 or less means no limit, except where it says otherwise.

    Attributes:
        benchmark_days: Calendar days from the day on which constituents took effect to the day they are used.
        unchanged_prices: Share of the names, 0 to 1, whose close may equal that of the day before; 1 for no limit.
        borrow_days: Calendar days from the newest borrow rate to the day, where a strategy sells short.
        actions_days: Calendar days from the newest corporate action, or the day on which a file of them was loaded, to
            the day; not judged where no file of actions was ever loaded.
    """

    benchmark_days: float = 45.0
    unchanged_prices: float = 0.25
    borrow_days: float = 7.0
    actions_days: float = 7.0
