"""The journal's write-ahead log: it is there, and it stays small."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.journal import Clock, identity, in_isolation
from bulksubmit.journal import Journal
from bulksubmit.record import FILE, look


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
    Journal.begin(tmp_path, identity(None), Clock()).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")

    Journal(tmp_path, Clock()).close()

    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_begin_is_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that is killed while it begins a run leaves a whole journal, or none: at each
    statement, what another process would read is no run yet, or one that can be trusted.
    """
    path, seen = tmp_path / FILE, set()

    def look_beside(statement: str) -> None:
        with closing(sqlite3.connect(path)) as db:
            there = db.execute("SELECT name FROM sqlite_master WHERE name = 'run'").fetchone()
            seen.add((statement.split(maxsplit=1)[0], bool(there)))
            if there:
                look(db, path)

    connect = sqlite3.connect

    def watched(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*args, **kwargs)
        if kwargs.get("isolation_level", "") is None:
            db.set_trace_callback(look_beside)
        return db

    monkeypatch.setattr(sqlite3, "connect", watched)
    Journal.begin(tmp_path, identity(None), Clock()).close()

    assert {("CREATE", False), ("INSERT", False), ("UPDATE", False), ("PRAGMA", True)} <= seen
