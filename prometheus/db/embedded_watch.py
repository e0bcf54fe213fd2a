"""Wait until nobody uses the embedded server, then stop it. A program of its own, standard library only.

Started once by whoever starts the server, in a session of its own, so that it outlives that command. Users hold a
shared lock on a file; the kernel releases it when a process ends, however it ends.

Arguments: users.lock, pg_ctl, data directory, linger seconds, uid and gid of the server.
"""

import fcntl
import os
import subprocess
import sys
import time


def main(lock_path: str, pg_ctl: str, data: str, linger: float, uid: int, gid: int) -> int:
    """Stop the server once its lock file has had no holder for ``linger`` seconds; return pg_ctl's exit status."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    with open(lock_path, "r+") as handle:  # noqa: PTH123 -- pathlib costs start-up time in a process that stays
        while True:
            fcntl.flock(handle, fcntl.LOCK_EX)
            fcntl.flock(handle, fcntl.LOCK_UN)
            time.sleep(linger)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            # From here a new user waits for us at the lock, and starts the server afresh afterwards.
            if not os.path.exists(os.path.join(data, "postmaster.pid")):  # noqa: PTH110, PTH118 -- as above
                return 0
            return subprocess.run([pg_ctl, "-D", data, "-m", "fast", "-w", "stop"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])))
