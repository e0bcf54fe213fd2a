"""One click command a file: parse, call, print.

Every command computes with one BLAS thread: accounts are small, the fleet runs in parallel over accounts, and a replay
gives the same bits on every machine. It is set before numpy is imported, unless the environment sets it.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
