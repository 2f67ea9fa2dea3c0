"""The account on disk: one SQLite file, from which an emulator that was killed goes on.

What a request changed is one transaction, committed before its answer goes out: whatever a client
was told is there after a restart, and a request that was cut off is there whole or not at all.
The file is in WAL mode and is synced only now and then (``synchronous=NORMAL``): a killed process
loses nothing, a power cut perhaps the last moment.

| table | a row |
|---|---|
| account | the account: its name, and a key for those who have none |
| jobs | a job, in the order in which they were created |
| tasks | a task as it was added; ``place`` is the job's number times 2**40, plus one a task |
| changes | what happened last to a task: a ``Change`` as MessagePack |
| removed | a deleted task; ``place`` is the last one that was taken then, and what comes after is \
another task under the same ID |
| counts | what ``Job.past`` holds |

A task's row is only ever appended, for the sake of speed: without an index on its ID none can be
looked for. So what happens to it afterwards stands in tables of its own, and the rows of deleted
tasks are left until the file is opened next.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, groupby
from operator import attrgetter
from pathlib import Path
from typing import Self

import msgspec
import orjson

from bulksubmit.emulator.account import Account
from bulksubmit.emulator.store import Change, Counts, Event, Job, JobState, Noted

_APPLICATION = 0x42534531  # "BSE1": SQLite's application_id, by which a file says whose it is.
_FORMAT = 1  # SQLite's user_version.
_KEY_BYTES = 64  # As long as Azure's.
_PATIENCE_S = 0.5  # For an emulator that was just killed to be gone.
_PLACE_BITS = 40

_SCHEMA = """
CREATE TABLE account (name TEXT NOT NULL, key BLOB NOT NULL);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    properties TEXT NOT NULL,
    id TEXT NOT NULL,
    created_ticks INTEGER NOT NULL,
    state TEXT NOT NULL,
    modified_ticks INTEGER NOT NULL,
    state_ticks INTEGER NOT NULL,
    previous_state TEXT,
    previous_ticks INTEGER NOT NULL,
    next_state TEXT,
    next_ticks INTEGER NOT NULL,
    gone_ticks INTEGER,
    end_reason TEXT NOT NULL,
    manager_active INTEGER NOT NULL
);
CREATE TABLE tasks (place INTEGER PRIMARY KEY, id TEXT NOT NULL, stored BLOB NOT NULL);
CREATE TABLE changes (job INTEGER, id TEXT, change BLOB NOT NULL, PRIMARY KEY (job, id))
    WITHOUT ROWID;
CREATE TABLE removed (job INTEGER, id TEXT, place INTEGER NOT NULL, PRIMARY KEY (job, id))
    WITHOUT ROWID;
CREATE TABLE counts (
    job INTEGER,
    ticks INTEGER,
    active INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    active_slots INTEGER NOT NULL,
    succeeded_slots INTEGER NOT NULL,
    failed_slots INTEGER NOT NULL,
    PRIMARY KEY (job, ticks)
) WITHOUT ROWID
"""


class StateError(Exception):
    """The account cannot be read from its file, or not be written to it; names the file."""


class State:
    """An account, and the file that it is kept in. One thread at a time may use it.

    Attributes:
        account: What the file held, and what became of it since.
        key: The account's key for those who were given none: made up with the file.
    """

    def __init__(self, path: Path, *, account_name: str = "devaccount") -> None:
        """Open a file, or make it, for this process alone.

        Args:
            path: Where it is. What SQLite keeps beside it bears its name, with an ending.
            account_name: Of the account that is in it; compared ignoring case.

        Raises:
            StateError: it cannot be opened, is in use, is no such file, is of a newer format or
                another account, or is damaged.
        """
        self._path, self._closed = path, False
        with _translated(path):
            _make(path)
            self._db = sqlite3.connect(path, timeout=_PATIENCE_S, check_same_thread=False)
            try:
                _open(self._db, path, account_name)
                self.key: bytes = self._db.execute("SELECT key FROM account").fetchone()[0]
                self._kept = dict(_load(self._db))
            except (LookupError, TypeError, ValueError) as error:
                # What was read is not what was written, though SQLite finds nothing wrong.
                self._db.close()
                raise StateError(f"{path} is damaged: {error!r}") from error
            except BaseException:
                self._db.close()
                raise
        self._numbers = count(max((each.number for each in self._kept.values()), default=0) + 1)
        self.account = Account(watched=True)
        for kept in self._kept.values():
            self.account.keep(kept.job)
        self._touched.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self) -> None:
        """Write what happened to the account since the last time; does nothing if nothing did.

        Raises:
            StateError: it cannot be written. The next time tries it again.
        """
        # The first statement that writes begins a transaction.
        with _translated(self._path), self._db:
            written = {each: self._write(each) for each in tuple(self._touched)}
        for folded, kept in written.items():
            if kept is None:
                self._kept.pop(folded, None)
            else:
                self._kept[folded] = kept
                kept.job.unsaved = []
        self._touched.clear()

    def close(self) -> None:
        """Write what a caller did to jobs without a request, and let go of the file, once.

        Raises:
            StateError: it cannot be written. It is let go of all the same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._touched.update(self._kept, (job.id.lower() for job in self.account))
            self.write()
        finally:
            self._db.close()

    @property
    def _touched(self) -> set[str]:
        touched = self.account.touched
        assert touched is not None, "the account is watched"
        return touched

    def _write(self, folded: str) -> "_Kept | None":
        """Write one job; what is kept of it then."""
        kept, job = self._kept.get(folded), self.account.find(folded)
        if kept is not None and kept.job is not job:
            _forget(self._db, kept.number)
            kept = None
        if job is None:
            return None
        if kept is None:
            number = next(self._numbers)
            kept = _Kept(job, number, (), number << _PLACE_BITS, None)
        facts = _facts_of(job)
        if facts != kept.facts:
            values = (kept.number, orjson.dumps(job.properties).decode(), *facts[1:])
            statement = "REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            self._db.execute(statement, values)
        place = kept.place
        if job.unsaved:
            place = _write_tasks(self._db, kept.number, place, job.unsaved)
        noted = job.past[-1] if job.past else None
        if noted is not None and noted is not kept.noted:
            _write_counts(self._db, kept.number, job.past)
        return _Kept(job, kept.number, facts, place, noted)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A job as the file has it.

    Attributes:
        job: The object that was written; another one under its ID is another job.
        number: Its row.
        facts: What its row says.
        place: Of the next task.
        noted: The last counts.
    """

    job: Job
    number: int
    facts: tuple[object, ...]
    place: int
    noted: Noted | None


class _JobRow(msgspec.Struct):
    """A row of jobs without number and properties; its fields are the columns, and the job's."""

    id: str
    created_ticks: int
    state: JobState
    modified_ticks: int
    state_ticks: int
    previous_state: JobState | None
    previous_ticks: int
    next_state: JobState | None
    next_ticks: int
    gone_ticks: int | None
    end_reason: str
    manager_active: int


# Properties are replaced and never changed, so that comparing them costs nothing if nobody did.
_facts_of = attrgetter("properties", *_JobRow.__struct_fields__)


# --- Opening ---------------------------------------------------------------------------------


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise into a StateError that names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # The low byte; the rest says more than can be used. Python's own errors have none.
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY:
                raise StateError(f"{path} is in use by another emulator") from error
            case sqlite3.SQLITE_NOTADB:
                raise StateError(f"{path} holds no emulator's state") from error
            case sqlite3.SQLITE_CORRUPT:
                raise StateError(f"{path} is damaged: {error}") from error
        raise StateError(f"{path}: {error}") from error
    except OSError as error:
        raise StateError(f"{path} cannot be made: {error.strerror}") from error


def _make(path: Path) -> None:
    """Make an empty file that only its owner can read, if there is none: a key will be in it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        # Not even opened: to close any descriptor of it would drop the locks that SQLite has on
        # it in this process.
        return


def _open(db: sqlite3.Connection, path: Path, account_name: str) -> None:
    """Lock a file, look whose it is, and lay it out if it is empty."""
    # Before anything is read, so that no second process ever gets in, nor needs shared memory.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if pages and application != _APPLICATION:
        raise StateError(f"{path} holds no emulator's state")
    if version > _FORMAT:
        raise StateError(
            f"{path} was made by a newer version: its format is {version}, and {_FORMAT} is known"
        )
    if not pages:
        # Before the switch to WAL, which would write to the file and commit: so it is never half
        # laid out.
        _lay_out(db, account_name)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    (name,) = db.execute("SELECT name FROM account").fetchone()
    if name.lower() != account_name.lower():
        raise StateError(f"{path} is of the account {name}, not of {account_name}")


def _lay_out(db: sqlite3.Connection, account_name: str) -> None:
    with db:
        db.execute("BEGIN EXCLUSIVE")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        key = secrets.token_bytes(_KEY_BYTES)
        db.execute("INSERT INTO account VALUES (?, ?)", (account_name, key))
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {_FORMAT}")


# --- Reading ---------------------------------------------------------------------------------


def _load(db: sqlite3.Connection) -> Iterator[tuple[str, _Kept]]:
    """Each job, by its folded ID, in the order in which they were created."""
    _drop_removed(db)
    for number, properties, *facts in db.execute("SELECT * FROM jobs ORDER BY number").fetchall():
        row = dict(zip(_JobRow.__struct_fields__, facts, strict=True))
        # Checked as it is read: nothing else would tell a damaged row.
        row = msgspec.structs.asdict(msgspec.convert(row, _JobRow))
        manager_active = bool(row.pop("manager_active"))
        job = Job(properties=orjson.loads(properties), **row)
        job.manager_active = manager_active
        first, last = _places_of(number)
        job.restore(
            db.execute("SELECT id, stored FROM tasks WHERE place BETWEEN ? AND ?", (first, last)),
            _read_changes(db, number),
        )
        job.past.extend(_read_counts(db, number))
        (taken,) = db.execute(
            "SELECT max(place) FROM tasks WHERE place BETWEEN ? AND ?", (first, last)
        ).fetchone()
        place = first if taken is None else taken + 1
        noted = job.past[-1] if job.past else None
        yield job.id.lower(), _Kept(job, number, _facts_of(job), place, noted)


def _drop_removed(db: sqlite3.Connection) -> None:
    """Drop the rows of deleted tasks, so that those left have one ID each."""
    if db.execute("SELECT 1 FROM removed LIMIT 1").fetchone() is None:
        return
    with db:
        db.execute(
            "DELETE FROM tasks WHERE EXISTS (SELECT 1 FROM removed WHERE removed.id = tasks.id "
            "AND removed.job = tasks.place >> ? AND tasks.place <= removed.place)",
            (_PLACE_BITS,),
        )
        db.execute("DELETE FROM removed")


def _read_changes(db: sqlite3.Connection, number: int) -> dict[str, Change]:
    decode = msgspec.msgpack.Decoder(Change).decode
    rows = db.execute("SELECT id, change FROM changes WHERE job = ?", (number,))
    return {folded: decode(change) for folded, change in rows}


def _read_counts(db: sqlite3.Connection, number: int) -> Iterator[Noted]:
    rows = db.execute("SELECT * FROM counts WHERE job = ? ORDER BY ticks", (number,))
    for row in rows:
        _, ticks, *numbers = msgspec.convert(row, tuple[int, ...])
        yield ticks, Counts(*numbers[:3]), Counts(*numbers[3:])


def _places_of(number: int) -> tuple[int, int]:
    """The first and the last place that a job's tasks may have."""
    return number << _PLACE_BITS, ((number + 1) << _PLACE_BITS) - 1


# --- Writing ---------------------------------------------------------------------------------


def _write_tasks(db: sqlite3.Connection, number: int, place: int, events: Sequence[Event]) -> int:
    """Write what happened to a job's tasks; the next free place."""
    for kind, group in groupby(events, lambda event: type(event[1])):
        if kind is bytes:
            rows = [(at, *event) for at, event in enumerate(group, place)]
            db.executemany("INSERT INTO tasks VALUES (?, ?, ?)", rows)
            place += len(rows)
        elif kind is Change:
            changes = [(number, each, msgspec.msgpack.encode(change)) for each, change in group]
            db.executemany("REPLACE INTO changes VALUES (?, ?, ?)", changes)
        else:
            for folded, _ in group:
                db.execute("DELETE FROM changes WHERE job = ? AND id = ?", (number, folded))
                db.execute("REPLACE INTO removed VALUES (?, ?, ?)", (number, folded, place - 1))
    return place


def _write_counts(db: sqlite3.Connection, number: int, past: Sequence[Noted]) -> None:
    """Write the counts that were noted last, and drop those that they replaced or outlived."""
    ticks, tasks, slots = past[-1]
    before_ticks = past[-2][0] if len(past) > 1 else -1
    db.execute(
        "DELETE FROM counts WHERE job = ? AND (ticks > ? OR ticks < ?)",
        (number, before_ticks, past[0][0]),
    )
    astuple = msgspec.structs.astuple
    values = (number, ticks, *astuple(tasks), *astuple(slots))
    db.execute("REPLACE INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)


def _forget(db: sqlite3.Connection, number: int) -> None:
    """Drop a job that is gone, and all of its tasks."""
    db.execute("DELETE FROM jobs WHERE number = ?", (number,))
    db.execute("DELETE FROM tasks WHERE place BETWEEN ? AND ?", _places_of(number))
    db.execute("DELETE FROM changes WHERE job = ?", (number,))
    db.execute("DELETE FROM removed WHERE job = ?", (number,))
    db.execute("DELETE FROM counts WHERE job = ?", (number,))
