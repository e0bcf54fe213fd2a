"""Identifiers that people read: the per-account run label and the name of a worker process."""

import getpass
import os
import re
import socket
import uuid
from typing import Final

from prometheus.foundation.errors import RequestError

_RUN_LABEL: Final = re.compile(r"(?:RUN-)?0*([1-9][0-9]*)", re.IGNORECASE)
# One value for each process start: a host may reuse a pid after a reboot, a lease owner must stay unique.
_BOOT: Final = uuid.uuid4().hex[:12]


def run_label(run_seq: int) -> str:
    """Return the label people use for an account's run, ``RUN-001`` for ``run_seq`` 1.

    Args:
        run_seq: Sequence number within the account, from 1.
    """
    return f"RUN-{run_seq:03d}"


def parse_run_label(text: str) -> int:
    """Return the ``run_seq`` of a label such as ``RUN-001`` or ``1``.

    Raises:
        RequestError: The text is not a run label.
    """
    match = _RUN_LABEL.fullmatch(text.strip())
    if match is None:
        raise RequestError(f"'{text}' is not a run label; labels look like RUN-001.")
    return int(match.group(1))


def login_name() -> str:
    """Return who gives a command: login and host, such as ``ann@host-1``."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        # a user id without an entry in the password database
        login = f"uid-{os.getuid()}"
    return f"{login}@{socket.gethostname()}"


def owner_instance() -> str:
    """Return this process's name as a lease owner: host, pid and a part unique to this process start.

    A forked child gets its own pid, so parent and child never share a name.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{_BOOT}"
