"""What a journal keeps, when it is on the disk, and who may write it."""

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.account import Counts, Place
from bulksubmit.core.model import Verdict
from bulksubmit.database import is_locked
from bulksubmit.errors import JournalError
from bulksubmit.journal import COMMIT_PERIOD_S, STRIDE_MIN, NoJournal
from bulksubmit.record import FILE
from tests.journal.helpers import (
    IDENTITY,
    Clock,
    Writer,
    attempt_of,
    begun,
    outcomes_of,
    reopened,
    settled_in,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / IDENTITY.run_id


def rows(folder: Path, question: str) -> list[tuple[object, ...]]:
    """What SQLite answers, from a connection of its own."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        return db.execute(question).fetchall()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Each connection that is made from now on."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connecting(path: Path, **how: Any) -> sqlite3.Connection:
        made.append(connect(path, **how))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", connecting)
    return made


def mark_on_disk(folder: Path) -> int:
    ((mark,),) = rows(folder, "SELECT doubt_below FROM run")
    assert isinstance(mark, int)
    return mark


# --- What is kept --------------------------------------------------------------------------------


def test_a_run_is_on_disk_before_anything_is_sent(folder: Path) -> None:
    """A journal that was only begun says which run it is of, and that nothing was sent."""
    begun(folder).close()

    with closing(reopened(folder)) as journal:
        assert journal.identity == IDENTITY
        assert journal.counts == Counts()
        assert (journal.doubt_below, len(journal.settled), journal.places) == (0, 0, [])


def test_what_was_committed_comes_back(folder: Path) -> None:
    """Bits, counts, places and exceptions, as they were."""
    with closing(begun(folder)) as journal:
        writer = Writer(journal)
        writer.record(outcomes_of(range(100)), in_order=True)
        writer.record(outcomes_of([100, 70_000], Verdict.EXISTED))
        writer.record(outcomes_of([102], Verdict.REJECTED))
        writer.record(outcomes_of([103], Verdict.ABANDONED))
        writer.counts.requests, writer.counts.source_complete = 4, True
        for place in (Place(50, 5000, 60), Place(90, 9000, 100)):
            journal.place(place)
        writer.commit()
        journal.end("interrupted")

    with closing(reopened(folder)) as journal:
        assert journal.counts == writer.counts
        assert journal.counts.source_complete is True
        assert journal.places == [Place(50, 5000, 60), Place(90, 9000, 100)]
        assert [n for n in range(110) if n in journal.settled] == [*range(101), 102]
        assert [n for n in (100, 102, 70_000) if n in journal.existed] == [100, 70_000]
        assert 70_000 in journal.settled
        assert journal.settled.changed == set()


def test_what_was_not_committed_is_lost(folder: Path) -> None:
    """Closing a journal does not commit: its tasks are unsettled, and are sent again."""
    with closing(begun(folder)) as journal:
        writer = Writer(journal)
        writer.record(outcomes_of(range(10)))
        writer.commit()
        writer.record(outcomes_of(range(10, 20)))

    assert settled_in(folder, 30) == set(range(10))


def test_a_person_can_read_it(folder: Path) -> None:
    """``sqlite3 run.db`` shows what happened by views with readable columns."""
    with closing(begun(folder)) as journal:
        journal.file_of = lambda _: "tasks.jsonl"
        writer = Writer(journal)
        writer.record(outcomes_of(range(5)))
        writer.record(outcomes_of([5], Verdict.REJECTED))
        writer.counts.total = 8
        writer.commit()
        journal.end("interrupted by SIGINT")

    with closing(sqlite3.connect(folder / FILE)) as db:
        db.row_factory = sqlite3.Row
        summary = dict(db.execute("SELECT * FROM summary").fetchone())
        exceptions = [dict(row) for row in db.execute("SELECT * FROM exceptions")]
        blocks = [dict(row) for row in db.execute("SELECT * FROM blocks")]
    wanted = {"run_id": IDENTITY.run_id, "job": "night-1", "source": "/data/tasks.jsonl"}
    counted = {"tasks_read": 8, "added": 5, "rejected": 1, "unsettled": 2}
    assert summary.items() >= {**wanted, **counted, "ended": "interrupted by SIGINT"}.items()
    assert exceptions == [
        {
            "file": "tasks.jsonl",
            "line": 6,
            "task": "t5",
            "verdict": "rejected",
            "code": "InvalidPropertyValue",
            "message": "not like this",
            "attempts": 2,
            "doubt": "",
            "request_id": "r-1",
            "client_request_id": "c-1",
        }
    ]
    ((first, last, bits),) = [tuple(block.values()) for block in blocks]
    assert (first, last, bits[:4]) == (0, 65_535, "3F00")


def test_it_is_private(folder: Path) -> None:
    """Nobody but the user may read a run's files."""
    with closing(begun(folder)) as journal:
        Writer(journal).commit()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert set(modes) >= {"run.db", "run.db-wal", "run.lock"}
    assert {mode & 0o077 for mode in modes.values()} == {0}


@settings(max_examples=20)  # Each begins two journals.
@given(ordinals=st.sets(st.integers(0, 300), min_size=1), others=st.sets(st.integers(0, 300)))
def test_the_fast_path_is_the_slow_one(
    tmp_path_factory: pytest.TempPathFactory, ordinals: set[int], others: set[int]
) -> None:
    """Outcomes in order may be told as such: the same is kept as if they were not."""
    folder = tmp_path_factory.mktemp("journals")
    outcomes = [
        outcome
        for ordinal in sorted(ordinals)
        for outcome in outcomes_of(
            [ordinal], Verdict.EXISTED if ordinal in others else Verdict.ADDED
        )
    ]
    kept = []
    for in_order in (True, False):
        with closing(begun(folder / str(in_order))) as journal:
            Writer(journal).record(outcomes, in_order=in_order)
            kept.append((journal.settled.block(0), journal.existed.block(0)))

    assert kept[0] == kept[1]


def test_a_run_without_a_journal() -> None:
    """A source that cannot be opened twice has none: it remembers nothing, and never fails."""
    nothing = NoJournal()
    outcomes = outcomes_of([1])

    nothing.will_send(attempt_of([1]))
    nothing.record(outcomes, [], in_order=True)
    nothing.place(Place(1, 1, 1))
    nothing.commit_if_due(Counts())
    nothing.commit(Counts())
    nothing.end("converged")
    nothing.close()

    assert (nothing.path, nothing.doubt_below, len(nothing.settled)) == (None, 0, 0)


# --- Groups --------------------------------------------------------------------------------------


def test_groups_are_committed_by_time(folder: Path) -> None:
    """What is settled within a fifth of a second is committed at once, and not later."""
    clock = Clock()
    with closing(begun(folder, clock)) as journal:
        writer, seen = Writer(journal), []
        for number in range(10):
            clock.now_s += COMMIT_PERIOD_S / 2
            writer.record(outcomes_of([number]))
            journal.commit_if_due(writer.counts)
            seen += rows(folder, "SELECT added FROM run")

    assert [added for (added,) in seen] == [0, 2, 2, 4, 4, 6, 6, 8, 8, 10]


def test_a_group_that_cannot_be_committed_stays_open(folder: Path) -> None:
    """
    Whichever statement of a commit fails, nothing of the group is on the disk then; a later
    commit brings all of it.
    """
    with closing(begun(folder)) as journal:
        writer = Writer(journal)
        writer.record(outcomes_of(range(5)))
        writer.commit()
        writer.record(outcomes_of(range(5, 9)))
        writer.record(outcomes_of([9], Verdict.REJECTED))
        journal.place(Place(9, 900, 10))
        for table in ("block", "exception", "place", "run"):
            what = "UPDATE" if table == "run" else "INSERT"
            with closing(sqlite3.connect(folder / FILE)) as db:
                db.execute(
                    f"CREATE TRIGGER no BEFORE {what} ON {table} "
                    "BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"
                )
            with pytest.raises(JournalError, match="the disk is full"):
                writer.commit()
            with closing(sqlite3.connect(folder / FILE)) as db:
                assert db.execute("SELECT added, rejected FROM run").fetchall() == [(5, 0)]
                assert db.execute("SELECT count(*) FROM exception").fetchall() == [(0,)]
                db.execute("DROP TRIGGER no")
        writer.commit()

    assert settled_in(folder, 20) == set(range(10))
    with closing(reopened(folder)) as journal:
        assert (journal.counts.added, journal.counts.rejected) == (9, 1)
        assert journal.places == [Place(9, 900, 10)]


# --- The mark ------------------------------------------------------------------------------------


def test_the_mark_is_ahead_of_what_is_sent(
    folder: Path, connections: list[sqlite3.Connection]
) -> None:
    """
    Before an attempt is sent, each of its tasks is below the mark on the disk; one commit, which
    waits for the disk, serves a whole stride.
    """
    clock = Clock()
    with closing(begun(folder, clock)) as journal:
        asked: list[str] = []
        connections[-1].set_trace_callback(asked.append)
        for first in range(0, 50_000, 100):
            clock.now_s += 0.01  # 10,000 tasks a second.
            journal.will_send(attempt_of(range(first, first + 100)))
            assert mark_on_disk(folder) >= first + 100

        marks = [number for number, text in enumerate(asked) if "SET doubt_below" in text]
        assert len(marks) < 12
        assert {asked[number - 2] for number in marks} == {"PRAGMA synchronous = FULL"}
        # Beyond what was sent it reaches a second's work, and that of a slow start.
        assert mark_on_disk(folder) <= 50_000 + 10_000 + STRIDE_MIN


def test_retries_do_not_move_the_mark(folder: Path) -> None:
    """Tasks that were sent before are below it."""
    with closing(begun(folder)) as journal:
        journal.will_send(attempt_of(range(5000)))
        mark = mark_on_disk(folder)
        journal.will_send(attempt_of([1, 17, 4999]))

        assert mark_on_disk(folder) == journal.doubt_below == mark > 5000


def test_a_clean_end_lowers_the_mark(folder: Path) -> None:
    """To the last task that was really sent, so that the others are in no doubt."""
    with closing(begun(folder)) as journal:
        journal.will_send(attempt_of(range(100)))
        journal.will_send(attempt_of([3, 250]))
        journal.will_send(attempt_of([4, 5]))
        assert mark_on_disk(folder) > 251
        journal.end("interrupted")

    assert mark_on_disk(folder) == 251


def test_a_crash_leaves_the_mark(folder: Path) -> None:
    """
    A process that went on with a run after a crash, and sent nothing, leaves the doubts of the
    process before it.
    """
    with closing(begun(folder)) as journal:
        journal.will_send(attempt_of(range(100)))
        mark = journal.doubt_below

    with closing(reopened(folder)) as journal:
        assert journal.doubt_below == mark
        journal.resumed()
        journal.end("interrupted")

    assert mark_on_disk(folder) == mark


def test_what_the_mark_cannot_cover_is_not_sent(folder: Path) -> None:
    """If it cannot be committed, the sender is told; asking again tries again."""
    with closing(begun(folder)) as journal:
        with closing(sqlite3.connect(folder / FILE)) as db:
            db.execute(
                "CREATE TRIGGER no BEFORE UPDATE ON run BEGIN SELECT RAISE(FAIL, 'full'); END"
            )
        for _ in range(2):
            with pytest.raises(JournalError, match="full"):
                journal.will_send(attempt_of(range(100)))
        assert journal.doubt_below == 0
        with closing(sqlite3.connect(folder / FILE)) as db:
            db.execute("DROP TRIGGER no")
        journal.will_send(attempt_of(range(100)))

    assert mark_on_disk(folder) >= 100


# --- Going on ------------------------------------------------------------------------------------


def test_abandoned_tasks_are_tried_again(folder: Path) -> None:
    """A process that goes on takes back what the one before it said at its end; the rest stays."""
    with closing(begun(folder)) as journal:
        writer = Writer(journal)
        writer.record(outcomes_of([0], Verdict.REJECTED))
        writer.record(outcomes_of([1, 2], Verdict.ABANDONED))
        writer.commit()
        journal.end("gave up")

    with closing(reopened(folder)) as journal:
        assert journal.counts.abandoned == 2
        journal.resumed()
        assert (journal.counts.abandoned, journal.counts.rejected) == (0, 1)

    assert rows(folder, "SELECT ended, abandoned FROM run") == [(None, 0)]
    assert rows(folder, "SELECT task, verdict FROM exceptions") == [("t0", "rejected")]
    assert settled_in(folder, 5) == {0}


def test_a_task_that_is_abandoned_again(folder: Path) -> None:
    """Its row is its last one."""
    with closing(begun(folder)) as journal:
        writer = Writer(journal)
        writer.record(outcomes_of([1], Verdict.ABANDONED))
        writer.commit()
    with closing(reopened(folder)) as journal:
        journal.resumed()
        writer = Writer(journal)
        writer.record(outcomes_of([1], Verdict.REJECTED))
        writer.commit()

    assert rows(folder, "SELECT task, verdict FROM exceptions") == [("t1", "rejected")]
    assert settled_in(folder, 5) == {1}


# --- One writer ----------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from typing import Any
from bulksubmit.journal import Journal
journal = Journal(Path(sys.argv[1]), lambda: 0.0)
print("open", flush=True)
sys.stdin.read()
"""


def test_one_process_writes(folder: Path) -> None:
    """
    While a process has it open, another one is refused, and reading is not; once the first is
    dead, however it died, its lock is gone.
    """
    begun(folder).close()
    assert not is_locked(folder)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"

        assert is_locked(folder)
        with pytest.raises(JournalError, match="in use by another process"):
            reopened(folder)
        assert rows(folder, "SELECT run_id FROM summary") == [(IDENTITY.run_id,)]

        holder.kill()
    assert not is_locked(folder)
    reopened(folder).close()


def test_a_journal_is_not_begun_twice(folder: Path) -> None:
    """One that is there is never overwritten."""
    begun(folder).close()

    with pytest.raises(JournalError, match="cannot be made: File exists"):
        begun(folder)


def test_nothing_is_left_open(folder: Path, connections: list[sqlite3.Connection]) -> None:
    """A journal that cannot be opened leaves neither a lock nor a connection."""
    begun(folder).close()
    (folder / FILE).write_bytes(b"no database" * 1000)

    with pytest.raises(JournalError, match=FILE):
        reopened(folder)

    db = connections[-1]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")
    assert not is_locked(folder)
