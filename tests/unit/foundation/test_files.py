"""Files are read up to a limit."""

import io

import pytest

from prometheus.foundation.files import TooLargeError, lines_of


def test_lines_are_read_up_to_a_limit():
    """A line is given whole or not at all."""
    assert list(lines_of(io.StringIO("ab\ncd"), 3)) == ["ab\n", "cd"]
    with pytest.raises(TooLargeError):
        list(lines_of(io.StringIO("ab\nabcd\n"), 3))
