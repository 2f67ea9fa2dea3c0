"""The journal's write-ahead log: it is there, and it stays small."""

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.journal import Clock, identity, in_isolation
from bulksubmit.journal import FILE, Journal


def test_journal_is_small(tmp_path: Path) -> None:
    """
    The files of a million clean tasks have half a megabyte at most, after the run and at any
    moment of it, the write-ahead log among them.
    """
    taken = in_isolation(tmp_path / "run", tasks=1_000_000, rate=300)

    assert taken.bytes_after <= taken.bytes_max <= 500_000


def test_log_of_a_run_that_was_cut_off_early(tmp_path: Path) -> None:
    """
    A process that was killed before it had turned the log on leaves it to the next one.
    """
    path = tmp_path / FILE
    Journal.begin(tmp_path, identity(Path("tasks.jsonl"), 0, ""), Clock()).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")

    Journal(tmp_path, Clock()).close()

    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
