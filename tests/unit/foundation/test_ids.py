import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.foundation.errors import RequestError
from prometheus.foundation.ids import owner_instance, parse_run_label, run_label


@pytest.mark.parametrize(("run_seq", "label"), [(1, "RUN-001"), (42, "RUN-042"), (1000, "RUN-1000")])
def test_labels_have_three_digits_or_more(run_seq, label):
    """Labels are padded to three digits and grow beyond."""
    assert run_label(run_seq) == label


@given(st.integers(1, 10**9))
def test_a_label_reads_back_as_its_number(run_seq):
    """Parsing undoes labelling for every sequence number."""
    assert parse_run_label(run_label(run_seq)) == run_seq


@pytest.mark.parametrize("text", ["7", "RUN-7", "run-007", " RUN-0007 "])
def test_short_lower_case_and_padded_labels_are_understood(text):
    """What a person types for a run is understood with or without prefix, case, zeros and spaces."""
    assert parse_run_label(text) == 7


@pytest.mark.parametrize("text", ["", "RUN-", "RUN-000", "0", "-1", "RUN-1.5", "RUN--1", "1 2", "ROW-001"])
def test_anything_else_is_refused_with_an_example(text):
    """Text that is no run label is refused, and the message shows what one looks like."""
    with pytest.raises(RequestError, match="labels look like RUN-001"):
        parse_run_label(text)


def test_an_owner_is_the_same_within_a_process():
    """One process has one name as lease owner, and its pid is part of it."""
    assert owner_instance() == owner_instance()
    assert f":{os.getpid()}:" in owner_instance()


def test_two_processes_have_different_owners():
    """Another process start gets another name, in the part that does not depend on the pid too."""
    code = "from prometheus.foundation.ids import owner_instance; print(owner_instance())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other.rsplit(":", 1)[1] != owner_instance().rsplit(":", 1)[1]
