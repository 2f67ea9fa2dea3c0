"""The shards of a run, in its journal."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit import record
from bulksubmit.core.account import Counts
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.core.shard import Shard, Unit
from bulksubmit.errors import JournalError
from bulksubmit.journal import Journal
from bulksubmit.ledger import ALL
from bulksubmit.record import FILE, Look, look
from tests.journal.helpers import IDENTITY, Clock, begun, reopened

ROW = ("file", "unit", "begin", "end", "bytes", "line", "lines", "doubt_below", *Counts.NUMBERS)


def make_shards(count: int, *, file: int = 0) -> list[Shard]:
    """Of one file: only the first one's line is known."""
    return [
        Shard(n, file, Unit.BYTES, 100 * n, 100 * n + 100, 100, None if n else 1)
        for n in range(count)
    ]


def sharded(folder: Path, shards: Sequence[Shard]) -> Journal:
    """A new journal of a sharded run."""
    return Journal.begin(folder, IDENTITY, Clock(), shards)


def committed_in(folder: Path) -> Look:
    """What a journal says to somebody who only looks: what was committed."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        return look(db, folder / FILE)


def settle(journal: Journal, counts: Counts, number: int, tasks: int) -> None:
    """So many more tasks of a shard are added."""
    assert journal.ledger
    own = journal.ledger.changed(number).counts
    first = journal.ledger.states[number].shard.base + own.added
    journal.settled.add_range(first, first + tasks)
    for each in (own, counts):
        each.total += tasks
        each.added += tasks


def test_a_sharded_run_is_as_it_was_planned(tmp_path: Path) -> None:
    shards = [*make_shards(3), Shard(3, 1, Unit.WHOLE, 0, 9, 9, 1)]
    with closing(sharded(tmp_path, shards)) as journal:
        assert journal.ledger
        assert [state.shard for state in journal.ledger.states] == shards

    found = committed_in(tmp_path)
    assert [state.shard for state in found.shards] == shards
    assert {state.doubt_below for state in found.shards} == {0}


def test_only_a_sharded_journal_needs_this_version(tmp_path: Path) -> None:
    """
    One of one process is what earlier versions made; a sharded one says to them that it is not.
    """
    begun(tmp_path / "ordinary").close()
    sharded(tmp_path / "sharded", make_shards(1)).close()
    formats = {}
    for name in ("ordinary", "sharded"):
        with closing(sqlite3.connect(tmp_path / name / FILE)) as db:
            (formats[name],) = db.execute("PRAGMA user_version").fetchone()
    assert formats == {"ordinary": 3, "sharded": 4}

    with patch.object(record, "FORMAT_SHARDED", record.FORMAT_BEFORE):  # It knows of none.
        reopened(tmp_path / "ordinary").close()
        with pytest.raises(JournalError, match="a newer version of bulksubmit: its format is 4"):
            reopened(tmp_path / "sharded")


def test_a_shard_may_have_been_sent_before_its_worker_knows_of_it(tmp_path: Path) -> None:
    """
    What was settled of others by then is committed along with the mark: no row is ever ahead of
    the bits that it counts.
    """
    counts = Counts()
    with closing(sharded(tmp_path, make_shards(3))) as journal:
        journal.will_send_shard(0, counts)
        settle(journal, counts, 0, 70)
        journal.will_send_shard(2, counts)
        settle(journal, counts, 0, 30)  # Lost with the process.

    found = committed_in(tmp_path)
    assert [state.doubt_below for state in found.shards] == [ALL, 0, ALL]
    assert [state.counts.added for state in found.shards] == [70, 0, 0]
    assert len(found.settled) == found.counts.added == 70
    base = found.shards[2].shard.base
    assert found.doubted(base)
    assert not found.doubted(base - 1)


def test_what_was_in_doubt_is_so_until_a_worker_says_how_far_it_was(tmp_path: Path) -> None:
    with closing(sharded(tmp_path, make_shards(1))) as journal:
        assert journal.ledger
        counts = Counts()
        journal.will_send_shard(0, counts)
        settle(journal, counts, 0, 10)
        state = journal.ledger.changed(0)
        counts.total = state.counts.total = 25
        assert state.in_doubt == 15

        state.doubt_below = 12
        journal.commit(counts)

    (state,) = committed_in(tmp_path).shards
    assert state.in_doubt == 2


@pytest.mark.parametrize("column", ROW)
def test_a_row_that_was_changed_is_not_trusted(tmp_path: Path, column: str) -> None:
    with closing(sharded(tmp_path, make_shards(2))) as journal:
        assert journal.ledger
        journal.ledger.changed(1).lines = 7
        settle(journal, counts := Counts(), 1, 5)
        journal.commit(counts)
    value = "'groups'" if column == "unit" else f'coalesce("{column}", 0) + 1'
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute(f'UPDATE shard SET "{column}" = {value} WHERE number = 1')  # noqa: S608 - ours
        db.commit()

    with pytest.raises(JournalError, match="holds what was not written"):
        reopened(tmp_path)


def test_shards_that_do_not_add_up_are_not_trusted(tmp_path: Path) -> None:
    """
    Each row is as it was written, but not all of them together.
    """
    with closing(sharded(tmp_path, make_shards(2))) as journal:
        settle(journal, counts := Counts(), 1, 5)
        journal.commit(counts)
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        former = db.execute("SELECT * FROM shard WHERE number = 1").fetchone()
    with closing(reopened(tmp_path)) as journal:
        settle(journal, counts, 1, 5)
        journal.commit(counts)
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        marks = ", ".join("?" * len(former))
        db.execute(f"INSERT OR REPLACE INTO shard VALUES ({marks})", former)  # noqa: S608 - ours
        db.commit()

    with pytest.raises(JournalError, match="do not add up"):
        reopened(tmp_path)


def test_a_task_that_waits_and_was_overwritten_is_an_error(tmp_path: Path) -> None:
    with closing(sharded(tmp_path, make_shards(2))) as journal:
        assert journal.ledger
        journal.ledger.wait(rejected(1, 0))
        journal.commit(Counts())
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("UPDATE waiting SET outcome = x'c1'")
        db.commit()

    with pytest.raises(JournalError, match="damaged"):
        reopened(tmp_path)


def rejected(number: int, place: int, verdict: Verdict = Verdict.REJECTED) -> Outcome:
    """An item of a shard, with the line that it has in it."""
    ordinal = make_shards(number + 1)[number].base + place
    return Outcome(ordinal, place + 1, f"t{ordinal}", verdict, code="InvalidPropertyValue")


@settings(max_examples=12, deadline=None)  # Each opens several journals.
@given(st.lists(st.integers(0, 5), min_size=2, max_size=6), st.data())
def test_lines_are_right_in_whichever_order_they_become_known(
    lengths: list[int], data: st.DataObject
) -> None:
    """
    The line of an item is that of its shard's beginning and its own in it, once all lines before
    are counted; until then it waits, across a crash and a resume, too.
    """
    with TemporaryDirectory() as name:
        folder, counts = Path(name, "run"), Counts()
        journal = sharded(folder, make_shards(len(lengths)))
        try:
            for number in data.draw(st.permutations(range(len(lengths)))):
                assert journal.ledger
                journal.ledger.changed(number).lines = lengths[number]
                newly = [rejected(number, place) for place in range(lengths[number])]
                if (first := journal.ledger.first_line(number)) is None:
                    journal.note_exceptions(newly)
                    for outcome in newly:
                        journal.ledger.wait(outcome)
                else:
                    moved = [msgspec.structs.replace(o, line=o.line + first - 1) for o in newly]
                    journal.note_exceptions(moved)
                journal.commit(counts)
                if data.draw(st.booleans()):
                    journal.close()
                    journal = reopened(folder)
                    journal.resumed()
                assert journal.ledger
                for waits in [*journal.ledger.waiting]:
                    if (line := journal.ledger.first_line(waits)) is not None:
                        del journal.ledger.waiting[waits]
                        journal.number_lines(waits, line, counts)
            assert journal.ledger
            assert not any(journal.ledger.waiting.values())
        finally:
            journal.close()
        with closing(sqlite3.connect(folder / FILE)) as db:
            told = [line for (line,) in db.execute("SELECT line FROM exception ORDER BY ordinal")]
            assert told == [*range(1, sum(lengths) + 1)]
            assert db.execute("SELECT * FROM waiting").fetchall() == []


def test_what_an_earlier_process_gave_up_waits_no_more(tmp_path: Path) -> None:
    with closing(sharded(tmp_path, make_shards(2))) as journal:
        assert journal.ledger
        counts, own = Counts(), journal.ledger.changed(1).counts
        outcomes = [rejected(1, 0), rejected(1, 1, Verdict.ABANDONED)]
        journal.settled.add(outcomes[0].ordinal)
        journal.note_exceptions(outcomes)
        for outcome in outcomes:
            journal.ledger.wait(outcome)
        for each in (own, counts):
            each.total, each.rejected, each.abandoned = 2, 1, 1
        journal.commit(counts)

    with closing(reopened(tmp_path)) as journal:
        journal.resumed()

    found = committed_in(tmp_path)
    assert found.counts.abandoned == found.shards[1].counts.abandoned == 0
    with closing(reopened(tmp_path)) as journal:
        assert journal.ledger
        assert journal.ledger.waiting == {1: [outcomes[0]]}
