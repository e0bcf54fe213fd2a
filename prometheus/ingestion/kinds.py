"""The kinds of files: the names by which they are recognised, and their order of loading."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from prometheus.foundation.errors import RequestError


class FileKind(StrEnum):
    """Kind of a file; the values are those of ``--kind``, in the order in which files load."""

    SECURITIES = "securities"
    ACTIONS = "actions"
    PRICES = "prices"
    BENCHMARK = "benchmark"
    BORROW = "borrow"
    ACCOUNTS = "accounts"
    LOTS = "lots"
    TRANSACTIONS = "transactions"
    EXECUTIONS = "executions"


SUFFIXES: Final = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")

#: File name without suffix, by kind.
STEMS: Final[Mapping[FileKind, str]] = {
    FileKind.SECURITIES: "securities",
    FileKind.ACTIONS: "corporate_actions",
    FileKind.PRICES: "prices",
    FileKind.BENCHMARK: "benchmark",
    FileKind.BORROW: "borrow",
    FileKind.ACCOUNTS: "accounts",
    FileKind.LOTS: "lots",
    FileKind.TRANSACTIONS: "transactions",
    FileKind.EXECUTIONS: "executions",
}

#: Kinds that cannot load where the one they refer to was refused: every row would be an unknown ticker or account.
DEPENDS_ON: Final[Mapping[FileKind, tuple[FileKind, ...]]] = {
    FileKind.SECURITIES: (),
    FileKind.ACTIONS: (FileKind.SECURITIES,),
    FileKind.PRICES: (FileKind.SECURITIES,),
    FileKind.BENCHMARK: (FileKind.SECURITIES,),
    FileKind.BORROW: (FileKind.SECURITIES,),
    FileKind.ACCOUNTS: (),
    FileKind.LOTS: (FileKind.SECURITIES, FileKind.ACCOUNTS),
    FileKind.TRANSACTIONS: (FileKind.SECURITIES, FileKind.ACCOUNTS, FileKind.LOTS),
    FileKind.EXECUTIONS: (FileKind.SECURITIES, FileKind.ACCOUNTS, FileKind.LOTS),
}

#: Kinds that describe a real fleet and are refused in a demo database.
FLEET_KINDS: Final = frozenset({FileKind.ACCOUNTS, FileKind.LOTS, FileKind.TRANSACTIONS})

_NOT_NEEDED: Final = {"index_membership": "membership is point in time in the benchmark file"}


@dataclass(frozen=True, slots=True)
class DirectoryListing:
    """The files of a directory.

    Attributes:
        files: Path by kind, in load order.
        left_alone: Names of the other files, each with a reason, sorted.
    """

    files: Mapping[FileKind, Path]
    left_alone: tuple[str, ...]


def suffix_of(path: Path) -> str | None:
    """Return which of ``SUFFIXES`` the name ends with, or None."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), None)


def list_directory(directory: Path) -> DirectoryListing:
    """Recognise the files of a directory by name.

    Raises:
        RequestError: It is no directory, holds nothing to load, or several files for one kind.
    """
    if not directory.is_dir():
        raise RequestError(f"'{directory}' is not a directory.")
    kind_of_stem = {stem: kind for kind, stem in STEMS.items()}
    by_kind: dict[FileKind, list[Path]] = {}
    left_alone = []
    for path in sorted(directory.iterdir()):
        suffix = suffix_of(path)
        stem = path.name[: -len(suffix)].lower() if suffix else path.name
        if suffix and stem in kind_of_stem:
            by_kind.setdefault(kind_of_stem[stem], []).append(path)
        else:
            left_alone.append(f"{path.name} ({_NOT_NEEDED.get(stem, 'not a name that is loaded')})")
    for kind, paths in by_kind.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise RequestError(
                f"'{directory}' holds several files of kind {kind}: {names}. Keep one, or load one file with --kind."
            )
    if not by_kind:
        expected = ", ".join(STEMS.values())
        raise RequestError(
            f"'{directory}' holds nothing to load. Recognised names: {expected}, each with {', '.join(SUFFIXES)}."
        )
    return DirectoryListing({kind: by_kind[kind][0] for kind in FileKind if kind in by_kind}, tuple(left_alone))
