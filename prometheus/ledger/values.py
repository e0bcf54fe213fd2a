"""Values that a fold makes by the million: frozen for the type checker, plain slots at run time.

The generated constructor of a frozen dataclass sets each field through ``object.__setattr__`` and takes seven times as
long as one that assigns; a fold makes several such values an event. So these classes are frozen where it counts, in
``mypy --strict``, and compare and hash by value as frozen ones do.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True)
def value(cls: type[_Class]) -> type[_Class]:
    """Make a class of typed fields a value: slots, a constructor, equality and hash by content."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
