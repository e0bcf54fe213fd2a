from itertools import pairwise

from prometheus.domain.phases import LEGAL_EDGES, TASK_PHASES, TERMINAL_PHASES, Phase, RunStatus

FORWARD = (Phase.WAITING_FOR_DATA, Phase.DATA_READY, Phase.SNAPSHOT_BUILT, Phase.SOLVED, Phase.PERSISTED)


def test_the_way_forward_is_one_chain():
    """Apart from failing and the reset, each phase leads to exactly the next one."""
    onwards = {edge for edge in LEGAL_EDGES if Phase.FAILED not in edge}
    assert onwards == set(pairwise(FORWARD))


def test_every_unfinished_phase_can_fail():
    """Every phase that is not terminal may end in FAILED, and no other may."""
    assert {start for start, end in LEGAL_EDGES if end is Phase.FAILED} == set(Phase) - TERMINAL_PHASES


def test_persisted_is_final():
    """No edge leaves PERSISTED: what was written is never rewritten."""
    assert not [edge for edge in LEGAL_EDGES if edge[0] is Phase.PERSISTED]


def test_failed_reopens_only_before_the_snapshot():
    """A reset leads back to a phase in which no input is frozen yet, never into the middle of a run."""
    assert {end for start, end in LEGAL_EDGES if start is Phase.FAILED} == {Phase.WAITING_FOR_DATA, Phase.DATA_READY}


def test_no_phase_leads_to_itself():
    """Asking for the phase a run is in already is a no-op, not an edge."""
    assert not [edge for edge in LEGAL_EDGES if edge[0] is edge[1]]


def test_tasks_belong_to_the_phases_between_data_and_persisted():
    """Phases with a task are those in progress, in the order in which a run passes them."""
    assert list(TASK_PHASES) == list(FORWARD[1:-1])


def test_values_are_the_words_of_the_database():
    """Phases and statuses are stored by their own names."""
    assert all(phase.value == phase.name for phase in Phase)
    assert [status.value for status in RunStatus] == ["OPTIMAL", "NON_OPTIMAL"]
