"""Wait until nobody uses the embedded server, then stop it. A separate program that uses the standard library only.

It does not import pathlib, which would cost start-up time.

The first command that finds no watcher starts it before the server; it leaves that command's session and outlives it.
Users hold a shared lock on one file; the kernel releases it when a process ends, also when it is killed. The watcher
locks another file exclusively while it lives; where that lock is free, the next command starts a new watcher.

Arguments: users.lock, descriptor of the held watch.lock, data directory, linger seconds, uid and gid of the server.
"""

import fcntl
import os
import signal
import sys
import time

#: How long PostgreSQL may take to write its last checkpoint before it is stopped without one.
_STOP_SECONDS = 120.0
#: A server whose starter was killed may still be starting when the watcher first looks.
_SECOND_LOOK_SECONDS = 1.0


def watch(users_lock: str, watch_descriptor: int, data: str, linger: float) -> None:
    """Return once the users' lock file has had no holder for ``linger`` seconds and the server is stopped.

    A home may be removed or moved meanwhile and another one made at its path. The watcher stops the server beside the
    lock that it holds, not one that it finds by the path alone.
    """
    users = os.open(users_lock, os.O_RDWR)
    looked = False
    while True:
        fcntl.flock(users, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_UN)
        # Every user touches the file: one that came and went between two looks starts the time afresh.
        touched = os.fstat(users).st_mtime_ns
        time.sleep(max(linger, _SECOND_LOOK_SECONDS) if looked else linger)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            looked = False
            continue
        if os.fstat(users).st_mtime_ns != touched:
            looked = False
            fcntl.flock(users, fcntl.LOCK_UN)
            continue
        home = directory_of(users)
        if home is None:
            # This lock file was removed. Where our own lock file is still in place, the users may have a new one there.
            home = directory_of(watch_descriptor)
            again = None if home is None else _opened(f"{home}/{os.path.basename(users_lock)}")  # noqa: PTH119 -- no pathlib here
            if again is not None:
                os.close(users)
                users, looked = again, False
                continue
        if home is None:
            end_abandoned(data)
            os.close(watch_descriptor)
            os.close(users)
            return
        data = f"{home}/{os.path.basename(data)}"  # noqa: PTH119 -- no pathlib here
        # From here on a new user waits for this lock, and starts the server afresh afterwards.
        pid = postmaster_pid(data)
        if pid is None and not looked:
            looked = True
            fcntl.flock(users, fcntl.LOCK_UN)
            continue
        if pid is not None:
            stop(pid, data)
        # Release this lock first: the next holder of the users' lock must not take us for a running watcher.
        os.close(watch_descriptor)
        os.close(users)
        return


def directory_of(descriptor: int) -> str | None:
    """Return the directory in which an open file lies now, None where it was removed or replaced by another one."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 -- no pathlib here
    return os.path.dirname(path) if is_file_at(descriptor, path) else None  # noqa: PTH120 -- no pathlib here


def is_file_at(descriptor: int, path: str) -> bool:
    """Return whether an open file is still the one that its path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116 -- no pathlib here
    except OSError:
        return False


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None


def end_abandoned(data: str) -> None:
    """End a server whose data directory was removed.

    The kernel reports its working directory as removed. PostgreSQL notices it by itself within a minute or two.
    """
    gone = f"{data} (deleted)"
    for entry in os.listdir("/proc"):  # noqa: PTH208 -- no pathlib here
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == gone:  # noqa: PTH115 -- no pathlib here
                os.kill(int(entry), signal.SIGQUIT)
        except OSError:
            continue  # somebody else's, or gone


def postmaster_pid(data: str) -> int | None:
    """Return the process id of the running server of a data directory, None where none runs.

    The process id in a file left by a crash may belong to any process; the server is the one whose working directory
    this is.
    """
    try:
        with open(f"{data}/postmaster.pid") as handle:  # noqa: PTH123 -- no pathlib here
            pid = int(handle.readline())
    except (OSError, ValueError):
        return None
    return pid if works_in(pid, data) else None


def works_in(pid: int, data: str) -> bool:
    """Return whether a process is one of the server of a data directory.

    Across user namespaces (a hardened systemd unit) the kernel does not show the working directory even of the same
    user's processes; then the program's name decides, so that a running server is never taken for a dead one.
    """
    try:
        return os.path.samestat(os.stat(data), os.stat(f"/proc/{pid}/cwd"))  # noqa: PTH116 -- no pathlib here
    except PermissionError:
        pass
    except OSError:
        return False
    try:
        with open(f"/proc/{pid}/comm") as handle:  # noqa: PTH123 -- no pathlib here
            return handle.read().strip() == "postgres"
    except OSError:
        return False


def stop(pid: int, data: str) -> None:
    """End the server with a checkpoint and wait for it; without one where it takes too long."""
    for how in (signal.SIGINT, signal.SIGQUIT):
        if postmaster_pid(data) != pid:
            return
        os.kill(pid, how)
        deadline = time.monotonic() + _STOP_SECONDS
        while postmaster_pid(data) == pid and time.monotonic() < deadline:
            time.sleep(0.02)


def main(users_lock: str, watch_descriptor: int, data: str, linger: float, uid: int, gid: int) -> int:
    """Become the server's account, leave the starting command, and watch; return 0 at once in the starting process."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if os.fork() > 0:
        return 0
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    watch(users_lock, watch_descriptor, data, linger)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])))
