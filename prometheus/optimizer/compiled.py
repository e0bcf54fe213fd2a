"""Loops compiled by Numba, for one signature each, with the same bits in every process.

Neither threads nor reordered sums nor fused products. Signatures are explicit: importing a module compiles its loops
once for each machine and source, or reads what was compiled from Numba's cache (beside the module, or in the user's
cache directory where that cannot be written; without any writable place every process compiles for itself). What is
forked after the import inherits the machine code. The cache knows the source of the loop's own module only: loops call
no compiled loops of other modules, and share constants with them that do not change.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

from numba import njit

from prometheus.foundation.logging import tell

_Kernel = TypeVar("_Kernel", bound=Callable[..., object])


def compiled(signature: str) -> Callable[[_Kernel], _Kernel]:
    """Return a decorator that compiles a function for one signature, cached wherever a place can be written.

    Args:
        signature: Numba's; F and F2 stand for contiguous floats in one and two dimensions, I and I2 for integers, B for
            booleans, f, i and b for single ones.
    """
    codes = {
        "F2": "float64[:, ::1]",
        "F": "float64[::1]",
        "I2": "int64[:, ::1]",
        "I": "int64[::1]",
        "B": "boolean[::1]",
        "f": "float64",
        "i": "int64",
        "b": "boolean",
    }
    result, _, arguments = signature.partition(" <- ")
    types = ", ".join(codes[code] for code in arguments.split())
    results = [codes.get(code, code) for code in result.split()]
    returned = results[0] if len(results) == 1 else f"UniTuple({results[0]}, {len(results)})"

    def compile_one(function: _Kernel) -> _Kernel:
        machine: Any
        try:
            machine = njit(f"{returned}({types})", cache=True, error_model="numpy")(function)
        except RuntimeError:
            # no directory for the cache can be written
            _say_once(
                "The optimizer's loops are compiled for this process alone, which takes up to half a minute: no "
                "directory can be written to keep them. Name one with NUMBA_CACHE_DIR."
            )
            machine = njit(f"{returned}({types})", error_model="numpy")(function)
        else:
            if machine.stats.cache_misses:
                _say_once("The optimizer's loops are compiled for this machine, once; it takes up to half a minute.")
        return cast("_Kernel", machine)

    return compile_one


@cache
def _say_once(sentence: str) -> None:
    # Said after the first loop, the moment at which it is known; many follow.
    tell(sentence)
