"""Peak memory of a load that is offered gigabytes in a small compressed file, beside that of a load of one row.

    python -m bench.ingest_limits [--gigabytes 3]

Each load is a process of its own, `prometheus ingest FILE --kind prices`; the kernel tells its peak resident memory.
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prometheus.db.embedded.server import EmbeddedServer, release

_HEADER = b"date,ticker,close\n"
_ROW = b"2023-04-20,AAA,10.00\n"


def main():
    """Parse, write the files, load them, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=3.0)
    size = int(parser.parse_args().gigabytes * 2**30)
    folder = Path(tempfile.mkdtemp(prefix="prometheus-limits-"))
    folder.chmod(0o755)
    home = folder / "home"
    try:
        url = EmbeddedServer(home, linger_seconds=0).ensure_running()
        subprocess.run(
            [*_PROMETHEUS, "db", "upgrade"],
            env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
            check=True,
            capture_output=True,
        )
        for name, unpacked in (("one row", len(_HEADER + _ROW)), ("a bomb", size)):
            path = packed(folder / f"{name.replace(' ', '-')}.csv.gz", unpacked)
            seconds, peak, code, said = load(path, url)
            print(
                f"{name:8} {path.stat().st_size / 2**20:8.2f} MiB unpack to {unpacked / 2**20:8.1f} MiB: exit {code}, "
                f"{seconds:5.1f} s, peak {peak:6.1f} MiB; {said}"
            )
    finally:
        release(home)
        shutil.rmtree(folder, ignore_errors=True)


_PROMETHEUS = [sys.executable, "-m", "prometheus.scripts.main"]


def packed(path, size):
    """Write a compressed file of rows that unpacks to ``size`` bytes."""
    block = _ROW * 50_000
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(_HEADER)
        left = size - len(_HEADER)
        while left > 0:
            left -= stream.write(block[:left])
    return path


def load(path, url):
    """Load a file in a process of its own; return seconds, peak memory in MiB, exit code and what it finds."""
    began = time.monotonic()
    with subprocess.Popen(
        [*_PROMETHEUS, "ingest", str(path), "--kind", "prices"],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = process.stdout.read().split("\n")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    lines = [line.strip() for line in said if "_" in line]
    return time.monotonic() - began, usage.ru_maxrss / 1024, process.returncode, lines[0] if lines else ""


if __name__ == "__main__":
    main()
