"""What coverage costs in the processes that tests start: each saves its own measurement once, or is not measured."""

import os
import posix
import sys
from contextlib import suppress


def save_own_coverage_alone():
    """Let a forked process save what it measured itself, and not once more what its parents had measured.

    Coverage wraps ``os._exit`` again in every child and calls its parents' wrappers too: late in a session each fork
    wrote the whole session's data, for several times the CPU of what it was forked for.
    """
    own = _current()
    if own is not None:

        def leave(status):
            with suppress(Exception):  # as Coverage itself: nothing keeps a process from ending
                own.save()
            posix._exit(status)

        os._exit = leave


def leave_out_the_stack():
    """Keep Coverage from noting, for its own debugging, the stack at each start: it takes a fork 0.2 s of CPU.

    The standard library looks through the files of every loaded module for it, and the tests load two thousand.
    """
    if _current() is not None:
        sys.modules["coverage.collector"].short_stack = lambda *_arguments, **_options: ""


def stop_measuring():
    """Trace no more in this forked process, and save nothing: whole days under faults are what it is for."""
    own = _current()
    if own is not None:
        own.stop()
    os._exit = posix._exit


def _current():
    coverage = sys.modules.get("coverage")
    return coverage and coverage.Coverage.current()
