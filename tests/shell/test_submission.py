"""The straight line on a virtual clock: every task that is read ends in exactly one place."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson
import pytest

from bulksubmit.core.model import Attempt, Lost, Reply, Throttled, Verdict
from bulksubmit.core.wire import Job
from bulksubmit.errors import (
    NotConverged,
    OutputError,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    SourceError,
)
from bulksubmit.service.replies import Unavailable
from bulksubmit.settings import MIB, RejectsBound, Settings
from tests.core.helpers import answered, make_tasks
from tests.shell.doubles import (
    Blocks,
    FakeService,
    adds,
    bad_gateway,
    flood,
    lines,
    rejects,
    slowly,
    spec,
)
from tests.virtual import START_S, run_virtual


def test_a_file_converges(task_file: Path) -> None:
    """
    5,000 tasks in 50 requests, four at a time, a second each, are 13 seconds; exit 0.
    """
    service = FakeService()

    ended, took_s = run_virtual(lambda: flood(task_file, service, Settings(concurrency=4)))

    assert ended.error is None
    assert took_s == 13
    assert (ended.report.total, ended.report.added, ended.report.requests) == (5000, 5000, 50)
    assert ended.report.converged
    assert ended.report.exit_code == 0
    assert ended.report.elapsed_s == 13
    assert {outcome.task_id for outcome in ended.outcomes} == {f"t{n}" for n in range(5000)}


def test_tasks_go_in_the_order_of_the_source(task_file: Path) -> None:
    """One request after the other leaves in the order of the input."""
    service = FakeService(reply_s=lambda attempt: attempt.number % 3 + 1)

    run_virtual(lambda: flood(task_file, service, Settings(concurrency=8)))

    assert [task.ordinal for task in service.tasks] == list(range(5000))


# --- The source ------------------------------------------------------------------------------


def test_a_bad_line_at_the_start(tmp_path: Path) -> None:
    """A line that is no task, before anything was sent: exit 2, and the line is named."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines(3) + b'{"id":"a b","commandLine":"x"}\n' + lines(3, first=3))
    service = FakeService()

    ended, _ = run_virtual(lambda: flood(path, service))

    assert isinstance(ended.error, SourceError)
    assert str(ended.error).startswith(f"{path}:4: ")
    assert service.sent == []
    assert ended.report.exit_code == 2


def test_a_bad_line_in_the_middle() -> None:
    """
    A line that is no task, after something was sent: what was read before is sent as well, its
    answers are taken in, exit 5.
    """
    service = FakeService(reply_s=5)
    blocks = [(1.0, make_tasks(100, first=100 * n)) for n in range(3)]
    source = Blocks(blocks, error=SourceError("tasks.jsonl", 301, "no task"))

    ended, took_s = run_virtual(lambda: flood(source, service, Settings(concurrency=4)))

    assert isinstance(ended.error, SourceError)
    assert took_s == 3 + 5
    assert (ended.report.total, ended.report.added, ended.report.unsettled) == (300, 300, 0)
    assert not ended.report.source_complete
    assert not ended.report.converged
    assert ended.report.exit_code == 5


def test_a_bad_line_while_the_service_is_down() -> None:
    """What was read before a bad line is tried for as long as a run that is stopped waits."""
    service = FakeService(bad_gateway, reply_s=1)
    blocks = [(1.0, make_tasks(100, first=100 * n)) for n in range(3)]
    source = Blocks(blocks, error=SourceError("tasks.jsonl", 301, "no task"))

    ended, took_s = run_virtual(lambda: flood(source, service, Settings(concurrency=4, drain_s=4)))

    assert isinstance(ended.error, SourceError)
    assert 3 + 4 <= took_s <= 3 + 4 + 1
    assert (ended.report.added, ended.report.unsettled) == (0, 300)


def test_whatever_an_iterable_raises_ends_the_run() -> None:
    """
    An exception of the caller's own iterable ends the run in order, and comes out as it was
    raised, with its cause.
    """

    def specs() -> Iterator[bytes]:
        for number in range(1000):
            yield spec(number)
        try:
            orjson.loads(b"{")
        except ValueError as error:
            raise RuntimeError("the generator broke") from error

    ended, _ = run_virtual(lambda: flood(specs(), FakeService()))

    assert isinstance(ended.error, RuntimeError)
    assert isinstance(ended.error.__cause__, ValueError)
    assert ended.report.total == 1000
    assert ended.report.exit_code == 1


def test_a_slow_source_is_not_waited_for() -> None:
    """
    A task leaves within a quarter of a second though the source is not at its end; those that
    come in between travel with it.
    """
    service = FakeService(reply_s=0.01)
    source = slowly([spec(n) for n in range(20)], pause_s=0.1, stays_open_s=60)

    ended, took_s = run_virtual(lambda: flood(source, service))

    read_s = [START_S + 0.1 * (n + 1) for n in range(20)]
    delays = [
        sent_s - read_s[task.ordinal] for sent_s, attempt in service.sent for task in attempt.tasks
    ]
    assert took_s == pytest.approx(62)
    assert max(delays) <= 0.25 + 1e-6
    assert 5 <= len(service.sent) <= 10
    assert ended.error is None


def test_an_empty_iterable_converges() -> None:
    """No task at all is nothing to do."""
    ended, _ = run_virtual(lambda: flood([], FakeService()))

    assert ended.error is None
    assert ended.report.converged
    assert ended.report.total == 0


# --- The job ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "code"),
    [(Refusal.NOT_FOUND, 3), (Refusal.AUTHENTICATION, 4), (Refusal.JOB_CLOSED, 7)],
)
def test_preflight_refusals(task_file: Path, refusal: Refusal, code: int) -> None:
    """If the job or we are refused at the door, nothing is read or sent; each has its code."""
    service = FakeService()
    service.job = ServiceRefused(refusal, "Code", "it says no")

    ended, _ = run_virtual(lambda: flood(task_file, service))

    assert ended.error is service.job
    assert service.sent == []
    assert ended.report.total == 0
    assert ended.report.exit_code == code


@pytest.mark.parametrize("state", ["completed", "Terminating", "deleting"])
def test_a_closed_job(task_file: Path, state: str) -> None:
    """A job that takes no more tasks is not sent any: exit 7."""
    service = FakeService()
    service.job = Job("job-1", state)

    ended, _ = run_virtual(lambda: flood(task_file, service))

    assert isinstance(ended.error, ServiceRefused)
    assert service.sent == []
    assert ended.report.exit_code == 7


@pytest.mark.parametrize(("name_unknown", "code"), [(True, 3), (False, 5)])
def test_nobody_answers(task_file: Path, *, name_unknown: bool, code: int) -> None:
    """Without any answer for 30 s from the start the run ends."""
    service = FakeService()
    service.job = Unavailable("no route", sent=False, name_unknown=name_unknown)

    ended, took_s = run_virtual(lambda: flood(task_file, service))

    assert isinstance(ended.error, ServiceUnreachable)
    assert took_s == pytest.approx(30)
    assert ended.report.exit_code == code


def test_the_job_ends_in_mid_run(task_file: Path) -> None:
    """
    When the job is completed in the middle of a run, the run ends with exit 7; the other answers
    in flight are taken in, the rest stays unsettled.
    """

    def closing(attempt: Attempt, now_s: float) -> Reply:
        if attempt.number > 10:
            raise ServiceRefused(Refusal.JOB_CLOSED, "JobCompleted", "it is over")
        return adds(attempt, now_s)

    service = FakeService(closing)

    ended, _ = run_virtual(lambda: flood(task_file, service, Settings(concurrency=4)))

    assert isinstance(ended.error, ServiceRefused)
    assert ended.report.added == 1000
    assert ended.report.unsettled == ended.report.total - 1000
    assert ended.report.exit_code == 7
    assert len(service.sent) <= 10 + 4


def test_a_disabled_job_is_waited_for(task_file: Path) -> None:
    """A job that is disabled for ten minutes holds the run up, and then it goes on."""

    def disabled(attempt: Attempt, now_s: float) -> Reply:
        if now_s < START_S + 600:
            return Throttled(10.0, "JobDisabled", by_load=False)
        return adds(attempt, now_s)

    service = FakeService(disabled, reply_s=0.1)

    ended, took_s = run_virtual(lambda: flood(task_file, service))

    assert ended.error is None
    assert ended.report.added == 5000
    assert 600 < took_s < 660
    assert len(service.sent) < 16 + 61 + 50 + 5


# --- Rejected tasks ----------------------------------------------------------------------------


def test_rejected_tasks_do_not_end_a_run(tmp_path: Path, task_file: Path) -> None:
    """
    Every tenth task is rejected: the rest is added, the rejects file holds each, exit 6, and
    nothing is raised, as every task is settled.
    """

    def every_tenth(attempt: Attempt, _now_s: float) -> Reply:
        bad = [task for task in attempt.tasks if task.ordinal % 10 == 3]
        good = [task for task in attempt.tasks if task.ordinal % 10 != 3]
        refused = answered(bad, "ClientError", "InvalidPropertyValue")
        return answered(good).__class__(answered(good).results + refused.results, "r")

    path = tmp_path / "rejects.ndjson"
    service = FakeService(every_tenth)

    ended, _ = run_virtual(lambda: flood(task_file, service, Settings(rejects_path=path)))

    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert ended.error is None
    assert ended.report.converged
    assert (ended.report.added, ended.report.rejected) == (4500, 500)
    assert ended.report.rejects_path == str(path)
    assert ended.report.exit_code == 6
    assert sorted(row["line"] for row in rows) == list(range(4, 5001, 10))


@pytest.mark.parametrize(
    ("bound", "rejected_max"),
    [
        (RejectsBound(), 1000 + 16 * 100),
        (RejectsBound(count_max=150), 200 + 16 * 100),
        (RejectsBound(share_max=0.5), 1000 + 16 * 100),
    ],
)
def test_a_run_whose_every_task_is_rejected_ends(
    task_file: Path, bound: RejectsBound, rejected_max: int
) -> None:
    """
    A wrong setting does not grind through the whole input: the bound on rejects ends the run,
    with exit 5, and the answers in flight are taken in.
    """
    service = FakeService(rejects)

    ended, _ = run_virtual(lambda: flood(task_file, service, Settings(rejects_bound=bound)))

    assert isinstance(ended.error, NotConverged)
    assert "max-rejects" in str(ended.error)
    assert "InvalidPropertyValue" in str(ended.error)
    assert ended.report.rejected <= rejected_max
    assert ended.report.unsettled > 0
    assert ended.report.exit_code == 5


def test_a_task_over_the_byte_bound_is_rejected_unsent(tmp_path: Path) -> None:
    """A task that no request can hold is rejected by its ID; its neighbours go."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines(3) + spec(3, body_bytes=1_100_000) + b"\n" + lines(3, first=4))
    service = FakeService()

    ended, _ = run_virtual(lambda: flood(path, service))

    (rejected,) = [o for o in ended.outcomes if o.verdict is Verdict.REJECTED]
    assert (rejected.task_id, rejected.line, rejected.attempts) == ("t3", 4, 0)
    assert "t3" not in {task.id for task in service.tasks}
    assert (ended.report.added, ended.report.rejected, ended.report.exit_code) == (6, 1, 6)


# --- Files -------------------------------------------------------------------------------------


def test_results_hold_every_outcome(tmp_path: Path, task_file: Path) -> None:
    """The results file has one row a task."""
    path = tmp_path / "results.ndjson"

    run_virtual(lambda: flood(task_file, FakeService(), Settings(results_path=path)))

    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted(row["line"] for row in rows) == list(range(1, 5001))
    assert rows[0] == {"line": 1, "id": "t0", "verdict": "added", "attempts": 1, "code": None}


def test_files_are_closed(tmp_path: Path, task_file: Path) -> None:
    """Whatever a run opened is closed when it is over."""
    before = len(list(Path("/dev/fd").iterdir()))
    paths = Settings(rejects_path=tmp_path / "rejects", results_path=tmp_path / "results")

    run_virtual(lambda: flood(task_file, FakeService(), paths))

    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_results_file_that_cannot_be_written(task_file: Path) -> None:
    """
    A full disk ends the run with exit 5. The answers in flight are taken in, but a task whose row
    is missing is not settled: a resume asks for it again, and brings the row after.
    """
    service = FakeService()

    ended, _ = run_virtual(
        lambda: flood(task_file, service, Settings(concurrency=4, results_path=Path("/dev/full")))
    )

    assert isinstance(ended.error, OutputError)
    assert "/dev/full" in str(ended.error)
    assert len(service.sent) == 4
    assert service.ended == 4
    assert (ended.report.added, ended.report.in_doubt, len(ended.outcomes)) == (0, 400, 0)
    assert ended.report.exit_code == 5


def test_a_rejects_folder_that_cannot_be_made(
    tmp_path: Path, task_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default rejects file is made when it is needed; if it cannot be, that is told."""
    (tmp_path / "file").write_bytes(b"in the way")
    monkeypatch.setenv("BULKSUBMIT_STATE_DIR", str(tmp_path / "file"))

    ended, _ = run_virtual(lambda: flood(task_file, FakeService(rejects)))

    assert isinstance(ended.error, OutputError)
    assert ended.report.rejected == 0
    assert ended.report.in_doubt > 0
    assert ended.report.exit_code == 5


# --- Bounds on memory --------------------------------------------------------------------------


def test_no_more_is_read_than_a_volley() -> None:
    """
    However fast the source is, no more tasks wait unsent than the senders take at once, and a
    block: reading on would only be memory. So many do wait, for whoever is free next.
    """
    blocks = [(0.0, make_tasks(500, first=500 * n)) for n in range(40)]
    source, service = Blocks(blocks), FakeService()

    def reply(attempt: Attempt, now_s: float) -> Reply:
        sent = {task.ordinal for task in service.tasks}
        assert len(source.admitted) - len(sent) <= 4 * 100 + 500
        if attempt.number == 1:
            assert len(source.admitted) - len(sent) >= 4 * 100
        return adds(attempt, now_s)

    service.reply = reply

    ended, _ = run_virtual(lambda: flood(source, service, Settings(concurrency=4)))

    assert ended.error is None
    assert ended.report.added == 20_000


def test_no_more_bytes_are_read_than_the_buffer_holds() -> None:
    """
    However large tasks are and however many fail, the unsettled ones take no more bytes than the
    buffer has, and a block.
    """
    random = Random(1)
    blocks = [(0.0, make_tasks(4, first=4 * n, body_bytes=200_000)) for n in range(100)]
    source, settled = Blocks(blocks), set[int]()

    def reply(attempt: Attempt, _now_s: float) -> Reply:
        unsettled = [task for task in source.admitted if task.ordinal not in settled]
        assert sum(len(task.body) for task in unsettled) <= 8 * MIB + 4 * 200_000
        taken = [task for task in attempt.tasks if random.random() < 0.7]
        settled.update(task.ordinal for task in taken)
        return answered(taken) if taken else Lost("reset", sent=True)

    limits = Settings(concurrency=100, buffer_bytes_max=8 * MIB)

    ended, _ = run_virtual(lambda: flood(source, FakeService(reply), limits))

    assert ended.error is None
    assert ended.report.added == 400


def test_a_task_larger_than_the_buffer_goes_alone() -> None:
    """With the byte bound off, a task that is larger than the whole buffer still goes."""
    blocks = [(0.0, make_tasks(1, first=n, body_bytes=9 * MIB)) for n in range(3)]
    limits = Settings(request_bytes_max=0, buffer_bytes_max=8 * MIB)

    ended, _ = run_virtual(lambda: flood(Blocks(blocks), FakeService(), limits))

    assert ended.error is None
    assert ended.report.added == 3
