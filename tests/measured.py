"""Coverage where it adds something, and in forked processes only what they did themselves.

Coverage is measured by the tests of units and of how they work together. Whole days, random search and faults run over
the same lines again, at full speed; so do commands that tests start as processes of their own.

Coverage has patches of its own for ``fork`` and ``os._exit``. They are not used: each start of a measurement applies
them again, every child begins as many measurements as there were starts, and all of them, and what the parents had
measured, are written when it ends. Late in a session a fork took a second of CPU.
"""

import gc
import os
import pkgutil
import sys
from contextlib import contextmanager, suppress
from importlib import import_module

import prometheus

#: Beginnings of the paths of tests that are not measured. Rehearsals are: nothing else runs their commands.
UNMEASURED = (
    # whole days
    "acceptance/test_actions",
    "acceptance/test_demo",
    "acceptance/test_odd",
    "acceptance/test_real",
    "acceptance/test_tutorial",
    "integration/test_engine_day",
    "integration/test_rebalancing",
    # faults, and commands as processes of their own
    "chaos",
    "integration/test_commands_run_engine_state",
    "integration/test_embedded_lifecycle",
    "integration/test_idle_tick",
    "integration/test_ingest_actions",
    "integration/test_ingest_command",
    "integration/test_ledger_workers",
    "integration/test_packaging",
    "integration/test_set_up",
    # random search, and answers compared with those of others
    "integration/test_ingest_fuzz",
    "optimizer",
    "problem_files/test_problem",
    "property",
    "unit/optimizer/dual",
    "unit/optimizer/problem/test_envelope",
    "unit/optimizer/rounding/test_exchanges",
    "unit/optimizer/test_certificate",
    # the repository itself
    "unit/test_",
)

_exit = os._exit
_session = os.getpid()
_paused = False


def measure_forked_processes():
    """Have each process that tests fork save what it did itself, once, when it ends by ``os._exit``."""
    os.register_at_fork(after_in_child=_forget_what_parents_did)
    os._exit = _save_and_exit


@contextmanager
def unmeasured():
    """Trace nothing inside, in this process and in those that it forks."""
    global _paused  # noqa: PLW0603 -- there is one trace function in a process
    own = _current()
    if own is None:
        yield
        return
    _paused = True
    own._collector.pause()
    try:
        yield
    finally:
        own._collector.resume()
        _paused = False


@contextmanager
def collecting():
    """Trace the import of every module of the package, and nothing of the collection inside.

    All that a collection makes stays until the end: the garbage collector need not go through it again and again.
    """
    if _current() is not None:
        for module in pkgutil.walk_packages(prometheus.__path__, "prometheus."):
            import_module(module.name)
    gc.disable()
    try:
        with unmeasured():
            yield
    finally:
        gc.freeze()
        gc.enable()


def _forget_what_parents_did():
    own = _current()
    if own is not None:
        own._collector._clear_data()


def _save_and_exit(status):
    own = _current()
    if own is not None and not _paused and os.getpid() != _session:
        with suppress(Exception):  # nothing keeps a process from ending
            own.save()
    _exit(status)


def _current():
    coverage = sys.modules.get("coverage")
    return coverage and coverage.Coverage.current()
