"""The table of guards is true of the code; ``make prove-guards`` removes them one by one."""

import re

from tests.chaos.guards import GUARDS, OUTBOX, ROOT

#: The engine's promises under fire, as numbered in docs/specs/engine.md.
LINES = range(1, 14)


def test_every_guard_stands_once_where_the_table_says():
    """Each guard is found exactly once in its file, differs from what is put in its place, and its test exists."""
    for guard in GUARDS:
        assert (ROOT / guard.file).read_text().count(guard.guarded) == 1, guard.name
        assert guard.guarded != guard.unguarded
        file, _, name = guard.test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), guard.test


def test_every_promise_has_a_guard():
    """Each of the thirteen promises has at least one guard whose removal a test notices."""
    assert {guard.line for guard in GUARDS} == {OUTBOX, *LINES}
