"""What was settled, durably: one SQLite file a run, about one bit a task.

    run        one row: what was asked, the counters, and the mark ``doubt_below``
    block      65,536 ordinals each: a bitmap of the settled ones, and one of the existed
    exception  a row for each rejected or abandoned task
    place      where the source's blocks begin: ordinal, byte offset, line
shard, waiting             of a sharded run, whose ordinals are of their shards: see ``ledger``
    life, sample, attempts    how it went: see ``history``

What decides on which tasks are sent again has a digest: a bit that flipped on the disk must not
settle a task that nobody added.

``sqlite3 run.db`` shows it to a person, by the views ``summary``, ``exceptions``, ``blocks``.

Settled bits are committed in groups, inline on the event loop (a commit takes 0.2 ms; from a
thread beside a busy loop the slowest of a hundred took 520), without waiting for the disk: the
last groups may be lost in a power cut, and their tasks are then sent again, in doubt.

``doubt_below`` is committed ahead and waits for the disk, in strides, before the first task of a
stride is sent. So after any crash each unsettled task below it may have been sent, and none
above it was. A clean stop lowers it to what was really sent.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

from msgspec.structs import astuple

from bulksubmit.core.account import Counts, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.matching import ends_of
from bulksubmit.core.model import Attempt, Outcome, Verdict
from bulksubmit.core.redact import redact
from bulksubmit.core.shard import Shard
from bulksubmit.core.tasks import last_ordinal
from bulksubmit.database import (
    LOCK,
    connect,
    digest,
    digested,
    locked,
    sync_folder,
    transaction,
    translated,
)
from bulksubmit.errors import JournalError
from bulksubmit.history import SCHEMA as HISTORY
from bulksubmit.history import History, NoHistory
from bulksubmit.ledger import ALL, Ledger
from bulksubmit.ledger import insert as insert_shards
from bulksubmit.record import (
    FILE,
    FORMAT,
    FORMAT_BEFORE,
    FORMAT_SHARDED,
    IDENTITY,
    SCHEMA,
    Identity,
    look,
)

COMMIT_PERIOD_S = 0.2
STRIDE_S = 1.0  # Of sending: how far the mark goes ahead.
STRIDE_MIN = 2_000
# Of the write-ahead log, 4 KiB each, before it is moved into the file. SQLite's 1,000 make 4 MB,
# twenty times the journal of a million tasks.
LOG_PAGES = 40


class Journal:
    """One run's journal, open for writing: by one process at a time.

    Attributes:
        path: The file.
        identity: What the run is about.
        settled: The ordinals that are settled.
        doubt_below: Unsettled tasks below it may have been sent.
        counts: What was counted up to when it was opened.
        places: Where the source's blocks begin, in order.
        held: As in Look.
        ledger: How far each shard is; None of a run that is not sharded.
        history: How the run goes, for its report; committed along with the rest.
        file_of: Names the file of an item of the source; set by whoever reads it.
        wrote_s: How long was spent on writing, up to now.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Open a journal that exists.

        Args:
            folder: The run's.
            clock: The time in seconds, from any start.

        Raises:
            JournalError: if there is none, if it cannot be trusted, or if another process has
                it open.
        """
        self.path = folder / FILE
        self._clock = clock
        # Who only looks whether it is free holds it for a moment.
        self._lock = locked(folder / LOCK, patience_s=1.0)
        with ExitStack() as opened:
            opened.callback(self._lock.release)
            with translated(self.path):
                self._db = opened.enter_context(closing(connect(self.path)))
            found = look(self._db, self.path)
            with translated(self.path):
                # Also if the process that began the run was killed before it came to this.
                self._db.execute("PRAGMA journal_mode = WAL").fetchone()
                self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
                _bring_up_to_date(self._db)
                self.history = History(self._db)
                self.ledger = Ledger(found.shards, self._db) if found.shards else None
            opened.pop_all()
        self.identity, self.counts, self.doubt_below = (
            found.identity,
            found.counts,
            found.doubt_below,
        )
        self.settled, self.existed, self.places = found.settled, found.existed, found.places
        self.held = found.held
        self.counts.attempts = self.history.attempts
        self.file_of: Callable[[int], str] = lambda _: ""
        self.wrote_s = 0.0
        self._exceptions: list[tuple[object, ...]] = []
        self._places: list[Place] = []
        self._sent_below = self._marked_from = self.doubt_below
        self._committed_s = self._marked_s = clock()

    @classmethod
    def begin(
        cls,
        folder: Path,
        identity: Identity,
        clock: Callable[[], float],
        shards: Sequence[Shard] = (),
    ) -> Self:
        """Make a run's journal, on disk before anything is sent, and open it.

        Args:
            folder: The run's.
            identity: What it is about.
            clock: The time in seconds, from any start.
            shards: What the source is cut into, in order; none for a run of one process.

        Raises:
            JournalError: if it cannot be written.
        """
        path = folder / FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=False)
            for entry in (folder, folder.parent):
                sync_folder(entry)  # Or a power cut could take the whole folder back.
        except OSError as error:
            raise JournalError(f"{path} cannot be made: {error.strerror}") from error
        with translated(path):
            marks = ", ".join("?" * len(IDENTITY))
            with closing(connect(path)) as db:
                # At once, or a kill in between would leave a run that cannot be trusted. It is in
                # the file itself, on the disk: the log is turned on when it is opened.
                db.executescript(f"BEGIN; {SCHEMA}")
                db.execute(
                    f"INSERT INTO run ({', '.join(IDENTITY)}) VALUES ({marks})", astuple(identity)
                )
                _update_run(db)
                if shards:
                    insert_shards(db, shards)
                    db.execute(f"PRAGMA user_version = {FORMAT_SHARDED}")
                db.execute("COMMIT")
        return cls(folder, clock)

    # --- While the run goes on ---------------------------------------------------------------

    def will_send(self, attempt: Attempt) -> None:
        """Before an attempt is sent: its tasks are below the mark, on the disk.

        Raises:
            JournalError: if the mark cannot be written; the attempt must not be sent then.
        """
        # Fresh tasks stand last in a collection, in order, and all others were sent before.
        end = last_ordinal(attempt.tasks) + 1
        self._sent_below = max(self._sent_below, end)
        if end <= self.doubt_below:
            return
        now_s = self._clock()
        elapsed_s = max(now_s - self._marked_s, 1e-3)
        sent = end - self._marked_from
        # At the rate of the last stride, which a first moment may overstate.
        stride = max(STRIDE_MIN, min(int(sent / elapsed_s * STRIDE_S), 4 * sent))
        mark = end + stride
        with translated(self.path):
            self._db.execute("PRAGMA synchronous = FULL")
            with transaction(self._db):
                _update_run(self._db, doubt_below=mark)
            self._db.execute("PRAGMA synchronous = NORMAL")
            # Into the file itself: with the log cut off or gone the mark would fall back.
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.doubt_below, self._marked_from, self._marked_s = mark, end, now_s
        self.wrote_s += self._clock() - now_s

    def record(
        self, outcomes: Sequence[Outcome], others: Sequence[Outcome], *, in_order: bool
    ) -> None:
        """Put settled tasks into the open group.

        Args:
            outcomes: One or more.
            others: Those of them that are not ADDED.
            in_order: Whether their ordinals ascend, so that the ends tell whether any is left
                out.
        """
        if in_order and not others:
            first, last = ends_of(outcomes)
            if last - first == len(outcomes) - 1:
                self.settled.add_range(first, last + 1)
                return
        for outcome in outcomes:
            if outcome.verdict is not Verdict.ABANDONED:
                self.settled.add(outcome.ordinal)
        for outcome in others:
            if outcome.verdict is Verdict.EXISTED:
                self.existed.add(outcome.ordinal)
            else:
                self.note_exceptions([outcome])

    def note_exceptions(self, outcomes: Iterable[Outcome]) -> None:
        """Put rejected and abandoned tasks into the open group."""
        self._exceptions += [(*_row(o), self.file_of(o.ordinal)) for o in outcomes]

    def place(self, place: Place) -> None:
        """Note where a block of the source begins."""
        self._places.append(place)

    def commit_if_due(self, counts: Counts) -> None:
        """Commit the open group if the last one was committed long enough ago.

        Raises:
            JournalError: if it cannot be written.
        """
        if self._clock() - self._committed_s >= COMMIT_PERIOD_S:
            self.commit(counts)

    def commit(self, counts: Counts) -> None:
        """Commit the open group.

        Raises:
            JournalError: if it cannot be written; the group stays open.
        """
        self._commit(counts.attempts, counts.numbers)

    def _commit(self, attempts: Mapping[int, int], run: Mapping[str, object]) -> None:
        """Commit the open group, and values of the run's row."""
        db, began_s = self._db, self._clock()
        changed = self.settled.changed | self.existed.changed
        blocks = [(n, self._bits(self.settled, n), self._bits(self.existed, n)) for n in changed]
        places = [astuple(place) for place in self._places]
        with translated(self.path), transaction(db):
            db.executemany("INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?)", digested(blocks))
            db.executemany(_INSERT_EXCEPTION, self._exceptions)
            db.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?, ?, ?)", digested(places))
            self.history.write(attempts)
            if self.ledger:
                self.ledger.write(db)
            _update_run(db, **run)
        self.history.committed(attempts)
        if self.ledger:
            self.ledger.committed()
        self._committed_s = self._clock()
        self.wrote_s += self._committed_s - began_s
        for written in (self.settled.changed, self.existed.changed, self._exceptions, self._places):
            written.clear()

    def _bits(self, ordinals: Bitmap, number: int) -> bytes | None:
        bits = ordinals.block(number)
        # Each shard ends in the middle of a block: of a hundred thousand tasks, a quarter of its
        # bits would be of none. Older versions read whole blocks, and no sharded runs.
        return bits.rstrip(b"\0") if bits and self.ledger else bits

    # --- Of a sharded run --------------------------------------------------------------------

    def will_send_shard(self, number: int, counts: Counts) -> None:
        """Before a shard is handed out: it is noted, on the disk, that it may have been sent.

        The open group is committed along with it: a shard's row says how much of it is settled,
        and must never be ahead of the bits.

        Raises:
            JournalError: if it cannot be; the shard must not be handed out then.
        """
        assert self.ledger
        state = self.ledger.changed(number)
        if gone := state.counts.abandoned:  # By a worker that was lost before its last word.
            self.commit(counts)  # Their rows are there, then.
            counts.abandoned -= gone
            with translated(self.path), transaction(self._db):
                self.ledger.take_back(self._db, number)
                self.ledger.write(self._db)
                _update_run(self._db, abandoned=counts.abandoned)
        state.doubt_below = ALL
        self._sent_below = self.doubt_below = max(self.doubt_below, (number + 1) * ALL)
        with translated(self.path):
            self._db.execute("PRAGMA synchronous = FULL")
            self._commit(counts.attempts, counts.numbers | {"doubt_below": self.doubt_below})
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def number_lines(self, number: int, first_line: int, counts: Counts) -> None:
        """It is known now which line a shard begins at: its rejected tasks get theirs.

        Raises:
            JournalError: if it cannot be written.
        """
        assert self.ledger
        self.commit(counts)  # Their rows are there, then.
        with translated(self.path), transaction(self._db):
            self.ledger.number_lines(self._db, number, first_line)

    def hold(self, former: str | None) -> None:
        """Note, on the disk, what the job's onAllTasksComplete is to be again; None: it is.

        Raises:
            JournalError: if it cannot be written.
        """
        with translated(self.path):
            self._db.execute("PRAGMA synchronous = FULL")
            with transaction(self._db):
                _update_run(self._db, held=former)
            self._db.execute("PRAGMA synchronous = NORMAL")
        self.held = former

    # --- Its ends ----------------------------------------------------------------------------

    def resumed(self) -> None:
        """An earlier process's last words do not hold any more.

        Raises:
            JournalError: if it cannot be written.
        """
        self.counts.abandoned = 0
        with translated(self.path), transaction(self._db):
            self._db.execute("DELETE FROM exception WHERE verdict = ?", (Verdict.ABANDONED.value,))
            if self.ledger:
                self.ledger.resumed(self._db)
                self.ledger.write(self._db)
            _update_run(self._db, ended=None, abandoned=0)

    def end(self, ended: str) -> None:
        """The run has ended in order, and nothing of it is in flight any more.

        Raises:
            JournalError: if it cannot be written.
        """
        with translated(self.path):
            self._db.execute("PRAGMA synchronous = FULL")
            ended = redact(ended)
            self.history.end(ended)
            with transaction(self._db):
                self.history.write()
                _update_run(self._db, ended=ended, doubt_below=self._sent_below)

    def close(self) -> None:
        """Close the file, and let others have it; what was not committed is lost."""
        self._db.close()
        self._lock.release()


class NoJournal:
    """Remembers nothing: for a source that cannot be opened a second time."""

    path = None
    identity = None
    doubt_below = 0
    places: Sequence[Place] = ()
    held: str | None = None
    wrote_s = 0.0

    def __init__(self) -> None:
        self.settled = Bitmap()
        self.counts = Counts()
        self.history = NoHistory()
        self.file_of: Callable[[int], str] = lambda _: ""

    def hold(self, former: str | None) -> None:
        """See Journal."""

    def will_send(self, attempt: Attempt) -> None:
        """See Journal."""

    def record(
        self, outcomes: Sequence[Outcome], others: Sequence[Outcome], *, in_order: bool
    ) -> None:
        """See Journal."""

    def place(self, place: Place) -> None:
        """See Journal."""

    def commit_if_due(self, counts: Counts) -> None:
        """See Journal."""

    def commit(self, counts: Counts) -> None:
        """See Journal."""

    def end(self, ended: str) -> None:
        """See Journal."""

    def close(self) -> None:
        """See Journal."""


def _bring_up_to_date(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA user_version").fetchone() == (FORMAT_BEFORE,):
        with transaction(db):
            for table in HISTORY:
                db.execute(table)
            db.execute(f"PRAGMA user_version = {FORMAT}")


_INSERT_EXCEPTION = "INSERT OR REPLACE INTO exception VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _row(outcome: Outcome) -> tuple[object, ...]:
    # An ID that is none may be a URL, and signed.
    task = (outcome.ordinal, outcome.line, redact(outcome.task_id))
    verdict = (outcome.verdict.value, outcome.attempts, outcome.in_doubt)
    # What the service says may quote a URL of the task, with its signature.
    error = (outcome.code, outcome.message and redact(outcome.message))
    return (*task, *verdict, *error, outcome.request_id, outcome.client_request_id)


def _update_run(db: sqlite3.Connection, **values: object) -> None:
    """Change some values of the run's row, and with them its digest."""
    if values:
        sets = ", ".join(f"{name} = :{name}" for name in values)
        db.execute(f"UPDATE run SET {sets}", values)
    *row, _ = db.execute("SELECT * FROM run").fetchone()
    db.execute("UPDATE run SET digest = ?", (digest(*row),))
