"""A SQLite file that one process at a time writes."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import xxhash

from bulksubmit.errors import JournalError

LOCK = "run.lock"


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def sync_folder(folder: Path) -> None:
    """Let what was made in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for writing."""
    # Transactions are begun and ended by us; each other statement is one by itself.
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        db.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        db.close()
        raise
    return db


def locked(path: Path, *, patience_s: float = 0.0) -> filelock.BaseFileLock:
    """The lock that one writer holds.

    It is on a file of its own: closing any descriptor of the database's own file would drop
    SQLite's locks.
    """
    lock = filelock.FileLock(path, timeout=patience_s, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise JournalError(f"{path.parent} is in use by another process") from error
    except OSError as error:
        raise JournalError(f"{path} cannot be locked: {error.strerror}") from error
    return lock


def is_locked(folder: Path) -> bool:
    """Whether a process works on the run now."""
    try:
        locked(folder / LOCK).release()
    except JournalError:
        return True
    return False


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a JournalError that names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path}: {error}") from error
    except (LookupError, TypeError, ValueError) as error:  # Of a schema that was overwritten.
        raise JournalError(f"{path} is damaged: {error!r}") from error


def digested(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows, each with its digest behind it."""
    return [(*row, digest(*row)) for row in rows]


def digest(*values: object) -> str:
    """Tells values that a disk has changed."""
    hasher = xxhash.xxh3_64()
    for value in values:
        hasher.update(value if isinstance(value, bytes) else repr(value).encode())
        hasher.update(b"\n")
    return hasher.hexdigest()
