"""Checks that keep an operator from taking an empty or damaged embedded database for the right one.

``start.lock`` records that a home once had a database; it is kept where the database's own directory is lost. A home
that other users may write is refused, because they could exchange the database in it.
"""

import grp
import os
import pwd
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from prometheus.foundation.errors import ConfigurationError, DatabaseError, DatabaseUnavailableError

_MARK: Final = "start.lock"
#: Code of the error for a database whose files are damaged.
DATABASE_DAMAGED: Final = "DATABASE_DAMAGED"
#: Messages of a server that cannot go on because of its files.
_DAMAGE: Final = re.compile(
    r"[Cc]ould not (open|read|access|locate|find) |directory .* does not exist|invalid page|corrupt|checksum"
    r"|incorrect|is not a valid data directory|could not find the database system|invalid data in file|invalid .*record"
)
#: Restarts after a crash of one of its processes from which on the files are taken for damaged.
_CRASHES: Final = 2
_LOG_END: Final = 100_000
#: The remedy, in messages.
_REMEDY: Final = (
    "restore a backup with 'prometheus restore FILE --replace', which keeps the old files aside "
    "(docs/specs/database.md, 'A damaged database')"
)


def has_files(data: Path) -> bool:
    """Return whether a data directory has any files; False where it does not exist."""
    try:
        return any(data.iterdir())
    except FileNotFoundError:
        return False


def made_before(home: Path) -> bool:
    """Return whether a database was ever made in a home."""
    try:
        return (home / _MARK).stat().st_size > 0
    except OSError:
        return False


def note_database(home: Path, lock: IO[str], account: pwd.struct_passwd) -> None:
    """Write into the held start.lock that the home has a database, unless it says so already."""
    stat_result = os.fstat(lock.fileno())
    # Never into a file of another name or owner: root writes here, in the service user's directory.
    if stat_result.st_size == 0 and stat_result.st_nlink == 1 and stat_result.st_uid == account.pw_uid:
        made = datetime.fromtimestamp((home / "data").stat().st_ctime, UTC)
        lock.write(f"{made:%Y-%m-%d %H:%M} UTC\n")
        lock.flush()


def refuse_lost_database(home: Path) -> None:
    """Refuse a home that had a database and has none now, instead of making an empty one.

    Raises:
        DatabaseError: It had one (DATABASE_MISSING).
    """
    if made_before(home):
        since = (home / _MARK).read_text(encoding="utf-8", errors="replace").strip()[:40]
        raise DatabaseError(
            f"{home} has had a database since {since}, and its directory {home / 'data'} is gone or empty. Move it "
            "back or restore a backup with 'prometheus restore FILE'. To begin with an empty database choose another "
            f"PROMETHEUS_HOME, or remove {home / _MARK}.",
            code="DATABASE_MISSING",
        )


def damaged(home: Path, what: str) -> DatabaseError:
    """Return the error for a cluster whose files are damaged: what is wrong, the server's log, what to do."""
    return DatabaseError(
        f"The database in {home} is damaged: {what.rstrip('.')}. The server's log is {home / 'data' / 'server.log'}. "
        f"Stop the timer and {_REMEDY}.",
        code=DATABASE_DAMAGED,
    )


def damage_behind(home: Path, error: DatabaseError) -> DatabaseError | None:
    """Return the error for damaged files behind an error of a connection to the embedded server; None for no damage.

    Args:
        home: The server's home.
        error: Error of the connection.
    """
    if error.code == DATABASE_DAMAGED:
        return damaged(home, error.message.removeprefix("The database is damaged: "))
    if re.search(r'FATAL: +database "\w+" does not exist', error.message):
        return damaged(home, "its catalog does not have our database any more")
    if isinstance(error, DatabaseUnavailableError) and (what := crashes_again_and_again(home)) is not None:
        return damaged(home, what)
    return None


def told_of_damage(log: str) -> str | None:
    """Return the message of a server that ended because of damaged files; None where it ended for another reason.

    Args:
        log: Its log since it was started.
    """
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if ("FATAL:" in line or "PANIC:" in line or "could not find the database system" in line) and (
            _DAMAGE.search(line) or any(_DAMAGE.search(detail) for detail in lines[number + 1 : number + 3])
        ):
            return _without_prefix(line)
    return None


def crashes_again_and_again(home: Path) -> str | None:
    """Return why the server starts over and over, None where it does not.

    Args:
        home: The home; the server's log since its last start is read.
    """
    try:
        with (home / "data" / "server.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_END))
            log = file.read().decode(errors="replace")
    except OSError:
        return None
    started = log.rpartition(" starting PostgreSQL ")[2]
    if started.count("reinitializing") < _CRASHES:
        return None
    why = [line for line in started.splitlines() if "PANIC:" in line or ("FATAL:" in line and _DAMAGE.search(line))]
    return f"its server crashes again and again: {_without_prefix(why[-1])}" if why else None


def _without_prefix(line: str) -> str:
    return line.rpartition("PANIC:")[2].rpartition("FATAL:")[2].strip()


def refuse_open_home(home: Path, account: pwd.struct_passwd) -> None:
    """Refuse a home in which, or on the way to which, other users may exchange directories.

    Args:
        home: The home directory.
        account: The account the server runs as; it, root and ourselves may write there.

    Raises:
        ConfigurationError: Another user owns the home, or may write to it or to a directory above it that is not
            sticky.
    """
    ours = {0, os.geteuid(), account.pw_uid}
    real = Path(os.path.realpath(home))
    for path in dict.fromkeys((home, *home.parents, real, *real.parents)):
        try:
            stat_result = path.stat()
        except FileNotFoundError:
            continue
        inside = path in {home, real}
        # Where we may not write ourselves, the operating system's own error says more.
        if inside and stat_result.st_uid not in ours and os.access(path, os.W_OK):
            raise ConfigurationError(
                f"PROMETHEUS_HOME={home} belongs to {_name(stat_result.st_uid)}, who could put another database in the "
                "place of ours. Choose a directory of your own."
            )
        if stat_result.st_mode & stat.S_ISVTX and not inside:
            continue
        who = _who_else_writes(stat_result, account)
        if who is not None:
            raise ConfigurationError(
                f"PROMETHEUS_HOME={home}: {who} may write to {path} and so could put another database in the place of "
                f"ours. Take that right away ('chmod go-w {path}') or choose another directory."
            )


def _who_else_writes(stat_result: os.stat_result, account: pwd.struct_passwd) -> str | None:
    if stat_result.st_mode & stat.S_IWOTH:
        return "every user"
    if not stat_result.st_mode & stat.S_IWGRP or stat_result.st_gid == 0:
        return None
    try:
        group = grp.getgrgid(stat_result.st_gid)
    except KeyError:
        return None
    # Many systems give each user a group of their own that may write the user's files.
    trusted = {account.pw_name, _name(0), _name(os.geteuid())}
    others = set(group.gr_mem) | {user.pw_name for user in pwd.getpwall() if user.pw_gid == stat_result.st_gid}
    return f"the group '{group.gr_name}'" if others - trusted else None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
