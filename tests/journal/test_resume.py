"""A run that goes on: what is settled is neither read nor sent again, and nothing is lost."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import anyio
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit import runs
from bulksubmit.core.model import Attempt, Outcome, Reply, Task, Verdict
from bulksubmit.core.taskcheck import Checker, Finding
from bulksubmit.errors import JournalError, NotConverged, OutputError, SourceError
from bulksubmit.journal import Journal
from bulksubmit.producer.files import FileSource, NamedFile
from bulksubmit.producer.opening import BLOCK_BYTES, OpenFile
from bulksubmit.producer.source import Source
from bulksubmit.settings import Settings
from tests.core.helpers import answered
from tests.journal.runs import change_file, run_of
from tests.shell.doubles import FakeService, adds, bad_gateway, spec, stopping


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """5,000 tasks, of 1.1 MB: four blocks and a bit."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"".join(spec(n, body_bytes=220) + b"\n" for n in range(5000)))
    return path


def interrupted(path: Path, after_s: float, service: FakeService | None = None) -> str:
    """A run of four requests a second that was stopped in order; its name."""
    ended = run_of(
        path, service or FakeService(), Settings(concurrency=4), beside=stopping(after_s)
    )
    assert isinstance(ended.error, NotConverged)
    assert ended.report.run_id is not None
    return ended.report.run_id


def test_each_task_is_sent_once(task_file: Path) -> None:
    """Stopped and gone on with, again and again: each task is sent once, and none is in doubt."""
    service = FakeService()
    run_id = interrupted(task_file, 2.5, service)

    for after_s in (0.5, 3.5):
        ended = run_of(
            task_file, service, Settings(concurrency=4), resume=run_id, beside=stopping(after_s)
        )
        assert isinstance(ended.error, NotConverged)
        assert ended.report.in_doubt == 0
    ended = run_of(task_file, service, Settings(concurrency=4), resume=run_id)

    assert ended.error is None
    assert [task.ordinal for task in service.tasks] == list(range(5000))
    assert {attempt.resent for _, attempt in service.sent} == {0}
    assert (ended.report.total, ended.report.added, ended.report.requests) == (5000, 5000, 50)
    assert ended.report.exit_code == 0


def test_a_converged_run_sends_nothing(task_file: Path) -> None:
    """Going on with it gives its report, and asks the service nothing."""
    first = run_of(task_file, FakeService())
    service = FakeService()
    service.job = RuntimeError("asked for the job")

    again = run_of(task_file, service, resume=first.report.run_id)

    assert again.error is None
    assert again.report.added == first.report.added == 5000
    assert (again.report.requests, again.report.exit_code) == (50, 0)


def test_what_was_in_flight_is_in_doubt(task_file: Path) -> None:
    """
    Tasks whose answers were not waited for may exist; a task that exists after that is our own.
    """
    service = FakeService(lambda attempt, _: answered(attempt.tasks), reply_s=3600)
    run_id = interrupted(task_file, 1, service)
    sent = {task.ordinal for task in service.tasks}
    assert len(sent) == 400

    def exists(attempt: Attempt, now_s: float) -> Reply:
        known = [task for task in attempt.tasks if task.ordinal in sent]
        if not known:
            return adds(attempt, now_s)
        return answered(attempt.tasks, "ClientError", "TaskExists")

    again = FakeService(exists)
    again.held = {task.id: task.body for task in service.tasks}
    ended = run_of(task_file, again, Settings(concurrency=4), resume=run_id)

    assert ended.error is None
    assert (ended.report.existed, ended.report.existed_own, ended.report.added) == (400, 400, 4600)
    assert {o.ordinal for o in ended.outcomes if o.verdict is Verdict.EXISTED} == sent


def test_doubts_are_counted_at_once(task_file: Path) -> None:
    """Before anything is read again the report says how many tasks are in doubt."""
    run_id = interrupted(task_file, 1, FakeService(reply_s=3600))
    service = FakeService()
    service.job_s = 3600

    ended = run_of(task_file, service, resume=run_id, beside=stopping(1))

    assert service.sent == []
    assert (ended.report.in_doubt, ended.report.added) == (400, 0)


def test_what_is_invalid_now_may_have_been_sent(tmp_path: Path) -> None:
    """
    An item with a field that only an earlier process was told to allow may exist; one that no
    process ever sent does not.
    """
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b'{"id":"a","commandLine":"c","odd":1}\n{"id":"b"}\n')
    reject = Settings(invalid="reject")

    def allowing(source: Source) -> Source:
        source.checker = Checker(allow_unknown=True)
        return source

    ended = run_of(path, FakeService(bad_gateway), reject, opened=allowing)
    assert (ended.report.abandoned, ended.report.rejected) == (1, 1)

    again = run_of(path, FakeService(), reject, resume=ended.report.run_id)

    (first,) = again.outcomes
    (second,) = [outcome for outcome in ended.outcomes if outcome.verdict is Verdict.REJECTED]
    assert (first.task_id, first.verdict, first.in_doubt) == ("a", Verdict.REJECTED, True)
    assert (second.task_id, second.in_doubt) == ("b", False)


def test_abandoned_tasks_are_sent_again(task_file: Path) -> None:
    """What a run gave up is not lost: it is sent by the next process, and counted once."""
    ended = run_of(task_file, FakeService(bad_gateway), Settings(concurrency=2))
    assert ended.report.abandoned > 0

    again = run_of(task_file, FakeService(), resume=ended.report.run_id)

    assert again.error is None
    assert (again.report.abandoned, again.report.added) == (0, 5000)


# --- What is read --------------------------------------------------------------------------------


class Counting:
    """A file that counts what is read of it.

    Attributes:
        read_bytes: So many.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.read_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.read_bytes += len(data)
        return data

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


def test_only_what_is_not_settled_is_read(task_file: Path) -> None:
    """
    Of the settled part no whole block is read, and no settled line is parsed.
    """
    run_id = interrupted(task_file, 9.5)
    files: list[Counting] = []
    parsed: list[bytes] = []

    def counted(source: Source) -> Source:
        source.close()
        files.append(Counting(task_file.open("rb", buffering=0)))
        opened = OpenFile(cast("IO[bytes]", files[0]), name=str(task_file), owned=True)
        named = NamedFile(str(task_file), lambda: opened, opened.size)
        return FileSource([named], checker=Noting(), spec=source.spec)

    class Noting(Checker):
        def check(self, bodies: Sequence[bytes]) -> tuple[list[str], dict[int, Finding]]:
            parsed.extend(bodies)
            return super().check(bodies)

    ended = run_of(task_file, FakeService(), resume=run_id, opened=counted)
    files[0].close()

    assert ended.error is None
    assert len(ended.outcomes) == 1000
    assert parsed == [spec(n, body_bytes=220) for n in range(4000, 5000)]
    # And the first block, whose form tells how the rest is to be read.
    assert files[0].read_bytes <= 1000 * 221 + 2 * BLOCK_BYTES


def test_lines_and_ordinals_after_a_resume(tmp_path: Path) -> None:
    """Blank lines, CR LF, a BOM, a last line without an end: each task keeps its line."""
    path = tmp_path / "tasks.jsonl"
    rows = [spec(n, body_bytes=300) for n in range(3000)]
    odd = [row + (b"\r" if n % 3 else b"\n\n  \r") for n, row in enumerate(rows)]
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(odd).rstrip())
    whole = {task.ordinal: task.line for task in tasks_of(run_of(path, FakeService()).outcomes)}
    assert len(whole) == 3000

    run_id = interrupted(path, 3.5)
    ended = run_of(path, FakeService(), resume=run_id)

    again = tasks_of(ended.outcomes)
    assert [task.ordinal for task in again] == list(range(1600, 3000))
    assert {task.ordinal: task.line for task in again}.items() <= whole.items()
    assert ended.report.converged


def tasks_of(outcomes: list[Outcome]) -> list[Task]:
    """What outcomes say of their tasks, in order."""
    return sorted(
        (Task(o.ordinal, o.line, o.task_id, b"") for o in outcomes), key=lambda task: task.ordinal
    )


def test_a_bad_line_after_a_resume_is_named(tmp_path: Path) -> None:
    """The error of a line that was not reached before names its number in the whole file."""
    path = tmp_path / "tasks.jsonl"
    good = [spec(n, body_bytes=400) for n in range(3000)]
    path.write_bytes(b"\n".join([*good, b"no task"]))
    run_id = interrupted(path, 3.5)

    ended = run_of(path, FakeService(), resume=run_id)

    assert isinstance(ended.error, SourceError)
    assert ended.error.line == 3001
    assert ended.report.exit_code == 5


def test_huge_lines(tmp_path: Path) -> None:
    """Lines longer than a block are read again whole."""
    path = tmp_path / "tasks.jsonl"
    rows = [spec(n, body_bytes=(3 * BLOCK_BYTES if n % 4 == 1 else 100)) for n in range(40)]
    path.write_bytes(b"\n".join(rows))
    service = FakeService()
    limits = Settings(concurrency=1, tasks_per_request_max=1)
    first = run_of(path, service, limits, beside=stopping(6.5))

    ended = run_of(path, service, limits, resume=first.report.run_id)

    assert ended.error is None
    assert [task.body for task in service.tasks] == rows


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([40, 200, 5_000, BLOCK_BYTES]), min_size=1, max_size=30),
    blanks=st.lists(st.integers(0, 29), max_size=5),
    last_line_end=st.booleans(),
    stops_s=st.lists(st.integers(0, 6), max_size=3),
)
@pytest.mark.thorough
def test_whatever_the_file_and_the_stops(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    blanks: list[int],
    last_line_end: bool,  # noqa: FBT001 - hypothesis's
    stops_s: list[int],
) -> None:
    """Every task of every file is sent once, however often its run is stopped."""
    path = tmp_path_factory.mktemp("source") / "tasks.jsonl"
    rows = [spec(n, body_bytes=size) for n, size in enumerate(sizes)]
    text = [b"\n" * (n in blanks) + row for n, row in enumerate(rows)]
    path.write_bytes(b"\n".join(text) + b"\n" * last_line_end)
    service = FakeService()
    limits = Settings(concurrency=1, tasks_per_request_max=3)
    run_id = None

    for stop_s in stops_s:
        ended = run_of(path, service, limits, resume=run_id, beside=stopping(stop_s + 0.5))
        run_id = ended.report.run_id
    ended = run_of(path, service, limits, resume=run_id)

    assert ended.error is None
    assert ended.report.added == len(rows)
    assert [task.body for task in service.tasks] == rows


# --- Files beside it -----------------------------------------------------------------------------


def rejects_some(attempt: Attempt, _now_s: float) -> Reply:
    """The first task of each request is rejected."""
    bad = answered(attempt.tasks[:1], "ClientError", "InvalidPropertyValue")
    return type(bad)([*bad.results, *answered(attempt.tasks[1:]).results], "r-1")


def rows_of(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(row) for row in path.read_bytes().splitlines()]


def test_rejects_and_results_are_written_on(task_file: Path, tmp_path: Path) -> None:
    """The files of a run that goes on are not begun anew: they tell of the whole run."""
    results = tmp_path / "results.ndjson"
    files = Settings(concurrency=4, results_path=results)
    first = run_of(task_file, FakeService(rejects_some), files, beside=stopping(2.5))
    assert len(rows_of(results)) == 1200

    ended = run_of(task_file, FakeService(rejects_some), files, resume=first.report.run_id)

    assert ended.error is None
    assert [row["line"] for row in rows_of(results)] == [
        *(row["line"] for row in rows_of(results)[:1200]),
        *(o.line for o in ended.outcomes),
    ]
    assert len({row["id"] for row in rows_of(results)}) == 5000
    assert first.report.rejects_path == ended.report.rejects_path is not None
    assert len(rows_of(Path(ended.report.rejects_path))) == ended.report.rejected == 50
    assert ended.report.exit_code == 6


def test_a_row_that_was_cut_swallows_no_other(task_file: Path, tmp_path: Path) -> None:
    """A crash may leave half a row at the end; the next one stands on a line of its own."""
    results = tmp_path / "results.ndjson"
    files = Settings(concurrency=4, results_path=results)
    first = run_of(task_file, FakeService(), files, beside=stopping(0.5))
    results.write_bytes(results.read_bytes()[:-9])

    run_of(task_file, FakeService(), files, resume=first.report.run_id)

    cut, *others = results.read_bytes().splitlines()[399:]
    assert b'"t399"' in cut
    assert {orjson.loads(row)["id"] for row in others} == {f"t{n}" for n in range(400, 5000)}


# --- Disks ---------------------------------------------------------------------------------------


def failing(
    monkeypatch: pytest.MonkeyPatch, method: str, *, after: int, then_works: bool = False
) -> None:
    """Let a call of the journal fail from a certain one on, or once."""
    whole = getattr(Journal, method)
    calls = 0

    def fail(journal: Journal, *args: object) -> None:
        nonlocal calls
        calls += 1
        if calls == after or (calls > after and not then_works):
            raise JournalError("run.db: database or disk is full")
        whole(journal, *args)

    monkeypatch.setattr(Journal, method, fail)


@pytest.mark.parametrize(("method", "after"), [("commit", 1), ("commit", 4), ("will_send", 1)])
@pytest.mark.parametrize("reply_s", [1.0, 30.0])
@pytest.mark.parametrize("then_works", [True, False])
def test_a_journal_that_cannot_be_written_ends_the_run(
    task_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    after: int,
    *,
    reply_s: float,
    then_works: bool,
) -> None:
    """
    Whether an answer or the clock brought the commit: the run ends with that error and exit 5,
    the answers in flight are taken in, what is settled is handed over, and the next process
    goes on from what reached the disk. Nothing is lost.
    """
    service = FakeService(reply_s=reply_s)
    with monkeypatch.context() as patch:
        failing(patch, method, after=after, then_works=then_works)
        ended = run_of(task_file, service, Settings(concurrency=4, drain_s=60))

    assert isinstance(ended.error, JournalError)
    assert "disk is full" in str(ended.error)
    assert ended.report.exit_code == (5 if service.sent else 2)
    assert service.ended == len(service.sent)
    assert len(ended.outcomes) == ended.report.added == len(service.tasks)
    assert ended.report.run_id is not None

    kept = runs.find(ended.report.run_id)
    assert kept.state == "unfinished"
    assert kept.counts.added == ended.report.added or not then_works
    again = run_of(task_file, service, resume=ended.report.run_id)
    assert again.report.converged
    assert {task.ordinal for task in service.tasks} == set(range(5000))


def test_rows_that_cannot_be_written_come_with_the_resume(task_file: Path, tmp_path: Path) -> None:
    """
    A results file on a full disk ends the run; with room again, the run goes on, and the file
    tells of each task.
    """
    run = run_of(task_file, FakeService(), Settings(concurrency=4, results_path=Path("/dev/full")))
    assert isinstance(run.error, OutputError)
    assert run.report.in_doubt == 400

    results = tmp_path / "results.ndjson"
    ended = run_of(
        task_file, FakeService(), Settings(results_path=results), resume=run.report.run_id
    )

    assert ended.error is None
    assert {row["id"] for row in rows_of(results)} == {f"t{n}" for n in range(5000)}


# --- The source ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["cut", "grown", "replaced", "touched", "edited"])
def test_a_source_that_changes_while_it_is_read(task_file: Path, change: str) -> None:
    """It ends the run with an error and exit 5, unless only its name was given to another file."""

    async def change_it(_outcomes: object) -> None:
        await anyio.sleep(2.5)
        change_file(task_file, change)

    ended = run_of(task_file, FakeService(), Settings(concurrency=4), beside=change_it)

    assert ended.report.total == ended.report.added + ended.report.unsettled
    if change == "replaced":  # The file that was opened is read to its end.
        assert ended.report.converged
    else:
        assert isinstance(ended.error, SourceError)
        assert ended.report.exit_code == 5
        assert not ended.report.converged
        # No way on is told that would not be one.
        hint = ended.error.hint or ""
        assert "once it is as it was and can be read, go on by bulksubmit runs resume " in hint
        assert "--invalid" not in hint
