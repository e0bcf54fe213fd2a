"""What coverage costs in the processes that tests fork: each saves its own measurement once, or is not measured."""

import os
import sys


def let_forks_save_their_own_coverage_alone():
    """Keep each forked process from saving once more what its parents had measured.

    Coverage wraps ``os._exit`` again in every child and calls its parents' wrappers too: late in a session each fork
    wrote the whole session's data, for several times the CPU of what it was forked for.
    """
    parents = []
    os.register_at_fork(
        before=lambda: parents.append(_current()),
        after_in_parent=parents.pop,
        # Coverage's own hook was registered before any conftest was read, so the child's measurement has begun.
        after_in_child=lambda: _save_nothing(parents.pop()),
    )
    if _current() is not None:
        # For its own debugging Coverage notes the stack at each start. With two thousand modules loaded, whose files
        # the standard library all looks for, that takes a fork 0.2 s of CPU.
        sys.modules["coverage.collector"].short_stack = lambda *_arguments, **_options: ""


def stop_measuring():
    """Trace no more in this forked process, and save nothing: whole days under faults are what it is for."""
    own = _current()
    if own is not None:
        own.stop()
    _save_nothing(own)


def _save_nothing(measurement):
    if measurement is not None:
        measurement.save = lambda: None


def _current():
    coverage = sys.modules.get("coverage")
    return coverage and coverage.Coverage.current()
