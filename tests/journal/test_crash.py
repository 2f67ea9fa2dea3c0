"""Crashes and damage: what is read back is what was committed, or an error says why not."""

import shutil
from contextlib import closing
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from bulksubmit import journal as journals
from bulksubmit.core.account import Place
from bulksubmit.core.model import Verdict
from bulksubmit.errors import JournalError
from bulksubmit.record import FILE
from tests.journal.helpers import Writer, attempt_of, begun, outcomes_of, reopened

WAL = f"{FILE}-wal"
TASKS = 600

# What a journal says: the settled ordinals, the existed ones, added, rejected, total, places.
Said = tuple[frozenset[int], frozenset[int], int, int, int, int]


def said(folder: Path) -> tuple[Said, int]:
    """What a journal says, and its mark."""
    with closing(reopened(folder)) as journal:
        settled = frozenset(n for n in range(TASKS) if n in journal.settled)
        existed = frozenset(n for n in range(TASKS) if n in journal.existed)
        counts = journal.counts
        assert len(journal.settled) == counts.settled
        places = len(journal.places)
        told = (settled, existed, counts.added, counts.rejected, counts.total, places)
        return told, journal.doubt_below


def as_said(writer: Writer, places: int) -> Said:
    settled = frozenset(n for n in range(TASKS) if n in writer.journal.settled)
    existed = frozenset(n for n in range(TASKS) if n in writer.journal.existed)
    counts = writer.counts
    return settled, existed, counts.added, counts.rejected, counts.total, places


def crashed(folder: Path, *, groups: int) -> list[Said]:
    """The files of a run whose process died after so many groups.

    They are chosen so that none of the last three was moved from the log into the file: before
    SQLite does that it has waited for the disk, so that no crash can undo it. The log has room for
    more groups here than usual: each of them has tasks all over the source, and so many pages.

    Returns:
        What the journal said at that time, and after each group since then.
    """
    work = folder.with_name("alive")
    random = Random(1)
    with patch.object(journals, "LOG_PAGES", 100), closing(begun(work)) as journal:
        writer = Writer(journal)
        history: list[Said] = [as_said(writer, 0)]
        left = list(range(TASKS))
        number, moved, in_file = 0, 0, (work / FILE).read_bytes()
        while number < max(groups, moved + 3):
            journal.will_send(attempt_of(range(number * 50, number * 50 + 50)))
            if (work / FILE).read_bytes() != in_file:  # With the mark.
                moved, in_file = number, (work / FILE).read_bytes()
            settling = [left.pop(random.randrange(len(left))) for _ in range(30)]
            writer.record(outcomes_of(settling[:20]))
            writer.record(outcomes_of(settling[20:25], Verdict.EXISTED))
            writer.record(outcomes_of(settling[25:], Verdict.REJECTED))
            journal.place(Place(number + 1, 100 * number, number + 1))
            writer.commit()
            number += 1
            history.append(as_said(writer, number))
            if (work / FILE).read_bytes() != in_file:
                moved, in_file = number, (work / FILE).read_bytes()
        # As they lie there while the process is alive, which no close() has tidied up.
        shutil.copytree(work, folder)
    (folder / f"{FILE}-shm").unlink(missing_ok=True)
    return history[moved:]


def copied(folder: Path, tmp_path: Path, size: int, wal: bytes) -> Path:
    """The files again, with another log."""
    copy = tmp_path / f"copy-{size}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    (copy / WAL).write_bytes(wal)
    return copy


@pytest.mark.parametrize("groups", [3, 8])
def test_any_crash_leaves_a_prefix(tmp_path: Path, groups: int) -> None:
    """
    However many bytes of the write-ahead log reached the disk, what is read back is the state
    after one of the groups, whole, and never an older one for more bytes.
    """
    folder = tmp_path / "crashed"
    history = crashed(folder, groups=groups)
    wal = (folder / WAL).read_bytes()
    latest = 0

    for size in [*range(0, len(wal), 1999), len(wal)]:
        copy = copied(folder, tmp_path, size, wal[:size])
        found, _mark = said(copy)
        assert found in history
        assert history.index(found) >= latest
        latest = history.index(found)

    assert latest == len(history) - 1


def test_a_log_that_was_overwritten_leaves_a_prefix(tmp_path: Path) -> None:
    """From the first byte on that is not what was written, nothing of the log counts."""
    folder = tmp_path / "crashed"
    history = crashed(folder, groups=5)
    wal = (folder / WAL).read_bytes()
    random = Random(2)

    for offset in range(40, len(wal) - 64, 1499):
        damaged = bytearray(wal)
        damaged[offset : offset + 64] = random.randbytes(64)
        copy = copied(folder, tmp_path, offset, bytes(damaged))
        found, _mark = said(copy)
        assert found in history


def test_a_resumed_run_goes_on_from_a_prefix(tmp_path: Path) -> None:
    """What is committed after a crash stands beside what was before it."""
    folder = tmp_path / "crashed"
    crashed(folder, groups=3)
    wal = (folder / WAL).read_bytes()

    for size in range(0, len(wal), 9973):
        copy = copied(folder, tmp_path, size, wal[:size])
        with closing(reopened(copy)) as journal:
            journal.resumed()
            writer = Writer(journal)
            left = [n for n in range(TASKS) if n not in journal.settled]
            writer.record(outcomes_of(left[:100]))
            writer.commit()
            wanted = as_said(writer, len(journal.places))
        assert said(copy)[0] == wanted


def closed(folder: Path) -> Said:
    """A journal that was closed in order: all of it is in one file."""
    with closing(begun(folder)) as journal:
        writer = Writer(journal)
        for first in range(0, 500, 100):
            journal.will_send(attempt_of(range(first, first + 100)))
            writer.record(outcomes_of(range(first, first + 90)), in_order=True)
            writer.record(outcomes_of(range(first + 90, first + 95), Verdict.EXISTED))
            writer.record(outcomes_of(range(first + 95, first + 97), Verdict.REJECTED))
            journal.place(Place(first + 100, 100 * first, first + 100))
        writer.commit()
        journal.end("interrupted")
        return as_said(writer, 5)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    """
    However much of a journal's file is missing, that is said, and it is never begun anew; unless
    it is the empty end of its last page.
    """
    folder = tmp_path / "closed"
    closed(folder)
    whole = (folder / FILE).read_bytes()
    end = len(whole.rstrip(b"\0"))

    for size in [*range(0, end, 1021), end - 1]:
        (folder / FILE).write_bytes(whole[:size])
        with pytest.raises(JournalError, match=FILE):
            said(folder)


@pytest.mark.parametrize("length", [1, 8, 64, 4096])
def test_a_file_that_was_overwritten_is_refused_or_right(tmp_path: Path, length: int) -> None:
    """
    Wherever a journal's file was overwritten, it is refused, by a JournalError; unless nothing
    that it says has changed.
    """
    folder = tmp_path / "closed"
    truth = closed(folder)
    whole = (folder / FILE).read_bytes()
    mark = said(folder)[1]
    random = Random(length)
    refused = 0

    for offset in range(0, len(whole) - length, max(197, length // 3)):
        damaged = bytearray(whole)
        damaged[offset : offset + length] = random.randbytes(length)
        (folder / FILE).write_bytes(damaged)
        try:
            assert said(folder) == (truth, mark), f"byte {offset}"
        except JournalError:
            refused += 1

    assert refused
