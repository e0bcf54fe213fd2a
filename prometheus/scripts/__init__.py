"""One click command a file: parse, call, print.

Every command computes with one BLAS thread: accounts are small, the fleet runs in parallel over accounts instead, and a
replay gives the same bits whatever the machine. Set before numpy is imported, and only where nobody chose otherwise.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
