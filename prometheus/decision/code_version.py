"""Which code decides: the package's version, and a digest of the sources that a decision is computed by."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import prometheus

#: Packages whose code can change a decision or the books, with all that lies in them. A comment changed there changes
#: the digest, too: equal versions mean equal code, other versions only that somebody touched it.
DECIDING: Final = (
    "bookkeeping",
    "db/repositories",
    "decision",
    "domain",
    "execution",
    "foundation",
    "ingestion",
    "ledger",
    "optimizer",
    "pipeline",
    "risk",
)
_DIGITS: Final = 16


@cache
def code_version() -> str:
    """Return version and digest, such as ``0.1.0+5f3a...``; computed once for each process.

    The version alone where the sources are not there to be read.
    """
    digest = source_digest(Path(prometheus.__file__).parent)
    return prometheus.__version__ if digest is None else f"{prometheus.__version__}+{digest[:_DIGITS]}"


def source_digest(package: Path) -> str | None:
    """Return the SHA-256 over names and contents of the deciding packages' sources; None where there are none."""
    digest, has_source = hashlib.sha256(), False
    for name in DECIDING:
        for path in sorted((package / name).rglob("*.py")):
            has_source = True
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(package).as_posix()}\n{content}\n".encode())
    return digest.hexdigest() if has_source else None


def told_apart(recorded: str) -> str | None:
    """Return a sentence where a record was decided by other code than this, or None where it was by this."""
    here = code_version()
    return None if recorded == here else f"the code is {here} here, the record was decided by {recorded}"
