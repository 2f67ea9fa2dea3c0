"""Runs: how they begin and go on, where they lie, and what stands in their way."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bulksubmit import runs
from bulksubmit.core.account import Place
from bulksubmit.database import LOCK
from bulksubmit.errors import JournalError, JournalMismatch, UnfinishedRun
from bulksubmit.journal import Journal
from bulksubmit.producer import open_source
from bulksubmit.record import FILE
from tests.journal.helpers import Writer, attempt_of, outcomes_of, reopened
from tests.journal.runs import begin, change_file
from tests.shell.doubles import lines


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """5,000 tasks."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines(5000))
    return path


def left_behind(path: Path, *, converged: bool = False, job_id: str = "job-1") -> str:
    """A run of a file that has sent something; its name."""
    with closing(open_source(path)) as source:
        run = begin(source, job_id=job_id, on_unfinished="new")
    with closing(run.journal) as journal:
        assert isinstance(journal, Journal)
        journal.will_send(attempt_of(range(100)))
        writer = Writer(journal)
        writer.record(outcomes_of(range(100)))
        writer.counts.source_complete = converged
        journal.place(Place(100, 1000, 101))
        writer.commit()
        journal.end("converged" if converged else "interrupted")
    return run.run_id


def go_on(run_id: str, path: Path) -> None:
    """Go on with a run of a file, and leave it."""
    with closing(open_source(path)) as source:
        runs.resume(run_id, source, clock=lambda: 0.0).journal.close()


# --- Where they lie ------------------------------------------------------------------------------


def test_runs_lie_below_the_state_folder(task_file: Path, state_folder: Path) -> None:
    """Each in a folder of its own name, for the user alone."""
    run_id = left_behind(task_file)

    folder = state_folder / "runs" / run_id
    assert (folder / FILE).is_file()
    assert folder.stat().st_mode & 0o077 == 0
    assert runs.run_folder(run_id) == folder


def test_without_a_setting_they_lie_where_the_platform_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The platform's folder for a user's state, which the user may have moved."""
    monkeypatch.delenv("BULKSUBMIT_STATE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    assert runs.runs_folder().is_relative_to(tmp_path)
    assert "bulksubmit" in runs.runs_folder().parts


def test_names_sort_by_time() -> None:
    """A name is a time and a little more, short enough to type."""
    names = [runs.new_run_id() for _ in range(50)]

    assert len(set(names)) == 50
    assert {len(name) for name in names} == {22}
    assert [name[:15] for name in names] == sorted(name[:15] for name in names)


# --- Finding them --------------------------------------------------------------------------------


def test_finding_a_run(task_file: Path) -> None:
    """By its name, by the beginning of it, or as the last one written to."""
    first, second = left_behind(task_file), left_behind(task_file, converged=True)
    assert first != second
    os.utime(runs.run_folder(first) / FILE, ns=(1, 1))

    assert runs.find(first).run_id == first
    assert runs.find(second[:-1] if second[:-1] != first[:-1] else second).run_id == second
    assert runs.find("last").run_id == second
    assert [run.run_id for run in runs.kept()] == [second, first]
    assert [run.state for run in runs.kept()] == ["converged", "unfinished"]


def test_the_last_one_is_the_last_written_to(task_file: Path) -> None:
    """An older run that went on since is the last; what is only in its log counts."""
    first, second = left_behind(task_file), left_behind(task_file)
    for name in (first, second):
        os.utime(runs.run_folder(name) / FILE, ns=(1, 1))

    with closing(open_source(task_file)) as source:
        run = runs.resume(first, source, clock=lambda: 0.0)
    with closing(run.journal):
        last = runs.find("last")
        assert (last.run_id, last.state, last.in_use) == (first, "running", True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("last", "there is no run"),
        ("2026", "there is no such run"),
        ("../../etc", "is no run"),
        ("*", "is no run"),
        ("", "is no run"),
    ],
)
def test_a_run_that_is_not_there(name: str, reason: str) -> None:
    """That is said, and no name leads out of the folder."""
    with pytest.raises(JournalError, match=reason):
        runs.find(name)


def test_a_name_that_is_short_of_one(task_file: Path) -> None:
    """The beginning of two names is none; a whole name that begins another's is."""
    for _ in range(2):
        left_behind(task_file)

    with pytest.raises(JournalError, match="more than one run begins so"):
        runs.find("2")


def test_a_damaged_run_hides_no_other(task_file: Path) -> None:
    """It is left out of the list, and named when it is asked for."""
    whole, damaged = left_behind(task_file), left_behind(task_file)
    (runs.run_folder(damaged) / FILE).write_bytes(b"no database" * 1000)

    assert [run.run_id for run in runs.kept()] == [whole]
    with pytest.raises(JournalError, match=damaged):
        runs.find(damaged)


def test_a_damaged_run_is_not_begun_anew_in_silence(task_file: Path) -> None:
    """
    It may be an unfinished run of the same source: that is said, and --new-run is the way on. One
    that was killed before it had begun is in nobody's way.
    """
    path = runs.run_folder(left_behind(task_file)) / FILE
    path.write_bytes(path.read_bytes()[:5000])

    with closing(open_source(task_file)) as source:
        with pytest.raises(JournalError, match="may be an unfinished run of this source"):
            begin(source)
        path.write_bytes(b"")  # Cut to nothing: its lock says that it was begun.
        with pytest.raises(JournalError, match="may be an unfinished run of this source"):
            begin(source)
        begin(source, on_unfinished="new").journal.close()
        path.with_name(LOCK).unlink()
        begin(source).journal.close()


# --- Beginning and going on ----------------------------------------------------------------------


def test_an_unfinished_run_stands_in_the_way(task_file: Path) -> None:
    """It is named, with both ways on; each of them works."""
    unfinished = left_behind(task_file)

    with closing(open_source(task_file)) as source:
        with pytest.raises(UnfinishedRun, match=r'"resume".*"new"') as raised:
            begin(source)
        resumed = begin(source, on_unfinished="resume")
        resumed.journal.close()
        new = begin(source, on_unfinished="new")
        new.journal.close()

    assert raised.value.run_id == unfinished
    assert (resumed.run_id, resumed.resumed) == (unfinished, True)
    assert len(resumed.journal.settled) == 100
    assert (new.run_id != unfinished, new.resumed) == (True, False)
    assert len(new.journal.settled) == 0


def test_another_run_does_not_stand_in_the_way(task_file: Path, tmp_path: Path) -> None:
    """Not one that converged, nor one of another job, account or source."""
    left_behind(task_file, converged=True)
    left_behind(task_file, job_id="job-2")
    other = tmp_path / "other.jsonl"
    other.write_bytes(lines(5000))
    left_behind(other)

    for how in ("stop", "resume"):
        with closing(open_source(task_file)) as source:
            run = begin(source, job_id=f"job-{how}", on_unfinished=how)
            run.journal.close()
            assert not run.resumed


def test_a_source_by_another_name_is_the_same(task_file: Path, tmp_path: Path) -> None:
    """A link to it, or a relative path, does not hide the unfinished run."""
    left_behind(task_file)
    link = tmp_path / "link.jsonl"
    link.symlink_to(task_file)

    with closing(open_source(link)) as source, pytest.raises(UnfinishedRun):
        begin(source)


def test_a_run_that_is_under_way(task_file: Path) -> None:
    """Another process's run is not gone on with."""
    run_id = left_behind(task_file)
    with closing(open_source(task_file)) as source:
        run = runs.resume(run_id, source, clock=lambda: 0.0)
        with closing(run.journal):
            with pytest.raises(UnfinishedRun, match="running"):
                begin(source)
            with pytest.raises(JournalError, match="in use by another process"):
                go_on(run_id, task_file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("cut", "had .* bytes and has"),
        ("grown", "had .* bytes and has"),
        ("replaced", "was written to since"),
        ("edited", "was written to since"),
        ("touched", "was written to since"),
    ],
)
def test_a_source_that_was_changed(task_file: Path, change: str, reason: str) -> None:
    """Its run does not go on, which is said with the reason; put back as it was, it does."""
    run_id = left_behind(task_file)
    data, status = task_file.read_bytes(), task_file.stat()
    change_file(task_file, change)

    with pytest.raises(JournalMismatch, match=reason) as raised:
        go_on(run_id, task_file)

    assert run_id in str(raised.value)
    assert runs.find(run_id).counts.added == 100
    task_file.write_bytes(data)
    os.utime(task_file, ns=(status.st_atime_ns, status.st_mtime_ns))
    go_on(run_id, task_file)


def test_a_source_with_other_bytes_and_the_same_time(task_file: Path) -> None:
    """A sample of the bytes tells, where size and time do not."""
    run_id = left_behind(task_file)
    status = task_file.stat()
    change_file(task_file, "edited")
    os.utime(task_file, ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.raises(JournalMismatch, match="has other bytes"):
        go_on(run_id, task_file)


def test_another_source(task_file: Path, tmp_path: Path) -> None:
    """A copy of it is not it."""
    run_id = left_behind(task_file)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(task_file.read_bytes())

    with pytest.raises(JournalMismatch, match=r"tasks\.jsonl, not of .*copy\.jsonl"):
        go_on(run_id, copy)


# --- Disks ---------------------------------------------------------------------------------------


def test_a_state_folder_that_cannot_be_written(
    task_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file is in the way, or no folder can be made, no run begins: a JournalError."""
    (tmp_path / "file").write_bytes(b"in the way")
    for state in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        monkeypatch.setenv("BULKSUBMIT_STATE_DIR", str(state))
        with (
            closing(open_source(task_file)) as source,
            pytest.raises(JournalError, match="cannot be made"),
        ):
            begin(source)


WRITE = """
import resource, signal, sys
from contextlib import closing
from pathlib import Path
from bulksubmit.errors import JournalError
from tests.journal.helpers import Writer, attempt_of, begun, outcomes_of

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
committed = sent = 0
try:
    with closing(begun(Path(sys.argv[1]))) as journal:
        writer = Writer(journal)
        for first in range(0, 3_000_000, 30_000):
            journal.will_send(attempt_of([first, first + 29_999]))
            sent = first + 30_000
            writer.record(outcomes_of(range(first, first + 29_000)), in_order=True)
            writer.commit()
            committed = first + 29_000
except JournalError as error:
    print(committed, sent, error)
"""


MORE = pytest.mark.thorough


@pytest.mark.parametrize(
    "size",
    [
        0,
        1000,
        5_000,
        20_000,
        40_000,
        pytest.param(100_000, marks=MORE),
        pytest.param(300_000, marks=MORE),
    ],
)
def test_a_full_disk(tmp_path: Path, size: int) -> None:
    """
    Wherever a file can grow no more, be it at the beginning: a JournalError. What was committed
    before it is there, what was sent is below the mark, and with room again it can be read.
    """
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", WRITE, folder, str(size)],
        capture_output=True,
        text=True,
        check=True,
    )
    committed, sent, reason = done.stdout.split(maxsplit=2)

    assert FILE in reason
    if committed == "0":
        assert size < 100_000
        return
    with closing(reopened(folder)) as journal:
        groups = (int(committed) + 1000) // 30_000
        assert len(journal.settled) == 29_000 * groups
        assert journal.doubt_below >= int(sent)
