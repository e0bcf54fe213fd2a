"""What a database server has used of the machine, read from the kernel's own accounts."""

import os
from pathlib import Path
from typing import Final

_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
#: Positions after the name in /proc/PID/stat: the parent, and CPU of the process, of ended children, in ticks.
_PARENT, _OWN, _CHILDREN = 1, slice(11, 13), slice(13, 15)


def server_cpu_seconds(data_directory: Path) -> float:
    """Return the CPU that a server and all its processes have used since its start.

    Sessions that ended count with their parent, those that live with themselves, so the sum never falls.
    """
    postmaster = int((data_directory / "postmaster.pid").read_text().split()[0])
    own = _stat(postmaster)
    ticks = sum(map(int, [*own[_OWN], *own[_CHILDREN]]))
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat_fields = _stat(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if int(stat_fields[_PARENT]) == postmaster:
            ticks += sum(map(int, stat_fields[_OWN]))
    return ticks * _TICK_SECONDS


def _stat(pid: int) -> list[str]:
    # The name may hold spaces and brackets: what counts begins after its last bracket.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
