"""How a run went, as its journal keeps it: bounded, and never in the way."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bulksubmit.core.history import LIVES_MAX, SAMPLES_MAX, Given, Life, Sample
from bulksubmit.core.model import Verdict
from bulksubmit.errors import JournalError
from bulksubmit.history import Told, told
from bulksubmit.journal import Journal
from bulksubmit.record import FILE, look
from tests.journal.helpers import IDENTITY, Writer, begun, outcomes_of, reopened

EMPTY = Sample(0.0, 0.25, 25, 2, 1, 0, 3.0, 2.0, 0.05, 0.06, "slow")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / IDENTITY.run_id


def told_in(folder: Path) -> Told:
    with closing(sqlite3.connect(folder / FILE)) as db:
        return told(db)


def live(journal: Journal, seconds: float, *, commit_every: int = 7) -> Life:
    """A process works for so long, a sample each quarter of a second."""
    life = Life(
        "2026-01-31T23:59:59+00:00", {"max_rate": Given("none", "default")}, {"Python": "3"}
    )
    journal.history.begin(life)
    for number in range(int(seconds * 4)):
        journal.history.add(replace(EMPTY, begun_s=number / 4))
        if number % commit_every == 0:
            journal.commit(journal.counts)
    journal.commit(journal.counts)
    return life


def test_what_was_committed_comes_back(folder: Path) -> None:
    """
    A process's samples, what it worked by, and how it ended; the attempts of each task settled.
    """
    with closing(begun(folder)) as journal:
        life = live(journal, 3.0)
        life.causes, life.limit_cut = {"slow": 2.5}, {"throttled": 2}
        writer = Writer(journal)
        writer.record(outcomes_of(range(10)))
        writer.record(outcomes_of([10], Verdict.REJECTED))
        writer.record(outcomes_of([11], Verdict.ABANDONED))
        writer.commit()
        journal.end("interrupted by SIGINT")

    found = told_in(folder)

    assert found.lives == [replace(life, number=1, lived_s=3.0, ended="interrupted by SIGINT")]
    assert found.samples == {1: [replace(EMPTY, begun_s=n / 4) for n in range(12)]}
    assert found.attempts == {2: 11}
    with closing(reopened(folder)) as journal:
        assert journal.counts.attempts == {2: 11}


def test_a_killed_process_leaves_no_last_word(folder: Path) -> None:
    """
    What it had committed is there but for the last second, and its end is not.
    """
    with closing(begun(folder)) as journal:
        live(journal, 3.5)
    with closing(reopened(folder)) as journal:
        live(journal, 2.0)
        journal.end("converged")

    found = told_in(folder)

    first, second = found.lives
    assert (first.number, first.ended) == (1, None)
    assert 2.5 < first.lived_s <= 3.5
    assert (second.number, second.lived_s, second.ended) == (2, 2.0, "converged")
    assert len(found.samples[1]) == first.lived_s * 4
    assert len(found.samples[2]) == 8


def test_a_long_run_has_as_many_samples_as_a_short_one(folder: Path) -> None:
    """
    However long it is, its samples are bounded, their counts stay, and no time is left out.
    """
    with closing(begun(folder)) as journal:
        live(journal, 7_200.0, commit_every=97)

    samples = told_in(folder).samples[1]

    assert SAMPLES_MAX / 2 <= len(samples) <= SAMPLES_MAX
    assert sum(sample.settled for sample in samples) == 25 * 4 * 7_200
    ends = [0.0, *(sample.end_s for sample in samples)]
    assert [sample.begun_s for sample in samples] == pytest.approx(ends[:-1])
    assert ends[-1] == pytest.approx(7_200.0)


def test_many_processes_are_bounded_too(folder: Path) -> None:
    """
    Of a run that is resumed again and again the last processes are kept, by their numbers.
    """
    for _ in range(LIVES_MAX + 5):
        with closing(reopened(folder) if folder.exists() else begun(folder)) as journal:
            live(journal, 6.0)
            journal.end("interrupted")

    found = told_in(folder)

    assert [life.number for life in found.lives] == list(range(6, LIVES_MAX + 6))
    assert sum(map(len, found.samples.values())) <= SAMPLES_MAX
    assert all(sum(s.settled for s in each) == 600 for each in found.samples.values())


def test_what_was_not_committed_is_written_with_the_next_commit(folder: Path) -> None:
    """
    A commit that fails takes nothing with it.
    """
    with closing(begun(folder)) as journal:
        life = live(journal, 1.0)
        journal.history.add(replace(EMPTY, begun_s=1.0))
        with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
            journal._db.execute("PRAGMA busy_timeout = 1")  # noqa: SLF001 - no test waits
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="locked"):
                journal.commit(journal.counts)
            other.execute("ROLLBACK")
        journal.history.add(replace(EMPTY, begun_s=1.25))
        journal.commit(journal.counts)

    found = told_in(folder)
    assert found.lives[0].lived_s == life.lived_s == 1.5
    assert len(found.samples[1]) == 6


def older(folder: Path) -> None:
    """Let a journal be as the version before made it."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        for table in ("life", "sample", "attempts"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version = 2")
        db.commit()


def test_a_journal_of_the_version_before_goes_on(folder: Path) -> None:
    """
    It can be looked at as it is, and has a history from the first process on that writes to it.
    """
    with closing(begun(folder)) as journal:
        writer = Writer(journal)
        writer.record(outcomes_of(range(10)))
        writer.commit()
    older(folder)

    with closing(sqlite3.connect(folder / FILE)) as db:
        assert len(look(db, folder / FILE).settled) == 10
    assert told_in(folder) == Told()
    with closing(reopened(folder)) as journal:
        live(journal, 1.0)
        writer = Writer(journal)
        writer.record(outcomes_of(range(10, 15)))
        writer.commit()
        journal.end("interrupted")
        assert writer.counts.settled == 15
    found = told_in(folder)
    assert (len(found.lives), len(found.samples[1]), found.attempts) == (1, 4, {2: 5})


def test_a_journal_of_a_later_version_is_refused(folder: Path) -> None:
    """
    Nobody knows what it holds; the error says why.
    """
    begun(folder).close()
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("PRAGMA user_version = 5")

    with pytest.raises(
        JournalError, match="made by a newer version of bulksubmit: its format is 5"
    ):
        reopened(folder)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE sample SET span_s = 'x'",
        "UPDATE sample SET span_s = -1",
        "UPDATE life SET settings = '{'",
        "UPDATE life SET settings = '[1]'",
        "UPDATE life SET causes = x'ff'",
        "UPDATE attempts SET tasks = 'many'",
    ],
)
def test_what_cannot_be_read_is_forgotten(folder: Path, damage: str) -> None:
    """
    A run goes on without it, and its history begins anew.
    """
    with closing(begun(folder)) as journal:
        live(journal, 1.0)
        writer = Writer(journal)
        writer.record(outcomes_of(range(10)))
        writer.commit()
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute(damage)
        db.commit()

    assert told_in(folder) == Told()
    with closing(reopened(folder)) as journal:
        assert len(journal.settled) == 10
        live(journal, 2.0)
    found = told_in(folder)
    assert [(life.number, len(found.samples[1])) for life in found.lives] == [(1, 8)]
    assert found.attempts == {}
