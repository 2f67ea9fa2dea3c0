"""Answers that are not what they should be: whatever they say, each task is counted once."""

import pytest

from bulksubmit import NotConverged, Settings, Verdict
from bulksubmit.core import backoff
from bulksubmit.core.events import Anomaly
from bulksubmit.emulator.exchange import Answer
from bulksubmit.emulator.faults import Fault, Faults, TaskFault
from tests.end_to_end.account import (
    Flood,
    converges,
    flood,
    listening,
    make_service,
    make_tasks,
    refusing,
)

pytestmark = pytest.mark.usefixtures("hurried")

TASKS = make_tasks(1000)


def anomalies(run: Flood) -> set[str]:
    return {event.what for event in run.events if isinstance(event, Anomaly)}


async def test_every_200_leaves_out_a_tenth() -> None:
    """
    Results that are left out, from every answer, cost more requests and nothing else: half of
    those tasks were added, and are found to be ours.
    """
    async with listening(make_service(Faults(missing=1.0))) as account:
        run = await converges(account, TASKS)

    assert anomalies(run) == {"missing_id"}
    assert run.report.existed == run.report.existed_own
    assert 20 <= run.report.existed <= 80
    assert run.report.requests <= 30


@pytest.mark.parametrize(
    ("fault", "anomaly"),
    [(Fault.EXTRA, "unknown_id"), (Fault.REPEATED, "repeated_id")],
)
async def test_more_results_than_tasks(fault: Fault, anomaly: str) -> None:
    """
    Results for tasks that were not sent, and results said twice alike, are noted; they count
    for nothing.
    """
    async with listening(make_service(script=[fault] * 10)) as account:
        run = await converges(account, TASKS)

    assert anomalies(run) == {anomaly}
    assert run.report.added == 1000
    assert run.report.requests == 10


async def test_contradicting_results() -> None:
    """
    A task that was added and not added, by one answer, is asked for again.
    """
    async with listening(make_service(script=[Fault.CONTRADICTED] * 10)) as account:
        run = await converges(account, TASKS)

    assert anomalies(run) == {"repeated_id", "unknown_status"}
    assert run.report.existed == run.report.existed_own == 10


async def test_truncated_200() -> None:
    """
    A 200 whose JSON stops half-way says nothing: its tasks are ours when they exist.
    """
    async with listening(make_service(script=[Fault.TRUNCATED] * 3)) as account:
        run = await converges(account, TASKS, settings=Settings(concurrency=16))

    assert (run.report.added, run.report.existed_own) == (700, 300)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Type": "application/json", "Content-Length": "0"}),
        Answer(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"),
        Answer(200, {"Content-Type": "application/json"}, b'{"value":[]}'),
        Answer(200, {"Content-Type": "application/json"}, b"[]"),
        Answer(200, {"Content-Encoding": "gzip"}, b"not gzip at all"),
        Answer(202, {"Content-Length": "0"}),
        Answer(302, {"Location": "/elsewhere", "Content-Length": "0"}),
        Answer(404, {"Content-Type": "text/html"}, b"<html>Not Found</html>"),
        Answer(403, {"Content-Type": "text/html"}, b"<html>The proxy forbids it</html>"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body.decode()}",
)
async def test_answer_that_says_nothing(answer: Answer) -> None:
    """
    An answer that is not the service's loses no task and ends no run.
    """
    async with listening(make_service(script=[answer] * 2)) as account:
        run = await converges(account, TASKS)

    assert (run.report.added, run.report.requests) == (1000, 12)


@pytest.mark.parametrize("status", ["servererror", "ServerError", "SERVERERROR"])
@pytest.mark.parametrize("added", [False, True])
async def test_server_error(status: str, added: bool) -> None:  # noqa: FBT001 - a parameter
    """
    However it is spelled, only tasks with a servererror are sent again, under the same IDs; it
    may have added them all the same.
    """
    failed: set[str] = set()

    def fail_once(task_id: str) -> TaskFault | None:
        if not task_id.endswith("7") or task_id in failed:
            return None
        failed.add(task_id)
        return TaskFault(status, "OperationTimedOut", added=added)

    async with listening(make_service(task_script=fail_once)) as account:
        run = await converges(account, TASKS)

    assert account.service.record.tasks == 1000 + 100
    assert run.report.requests <= 20
    assert run.report.existed == run.report.existed_own == (100 if added else 0)
    assert {o.task_id for o in run.outcomes if o.attempts == 2} == failed


async def test_status_nobody_knows() -> None:
    """
    A status that is none of the three settles nothing, and is asked for again.
    """
    seen: set[str] = set()

    def say_pending_once(task_id: str) -> TaskFault | None:
        first = task_id not in seen
        seen.add(task_id)
        return TaskFault("Pending", "Whatever", added=True) if first else None

    async with listening(make_service(task_script=say_pending_once)) as account:
        run = await converges(account, make_tasks(50))

    assert anomalies(run) == {"unknown_status"}
    assert run.report.existed_own == 50


async def test_server_error_that_stays() -> None:
    """
    One task that fails each time is tried until the retry timeout, and is then the only one
    abandoned; the run says so with 5.
    """

    def fail(task_id: str) -> TaskFault | None:
        return TaskFault("ServerError", "InternalError") if task_id == "t-00042" else None

    settings = Settings(retry_timeout_s=1.0)
    async with listening(make_service(task_script=fail)) as account:
        run = await flood(account, TASKS, settings=settings)

    assert isinstance(run.error, NotConverged)
    assert "InternalError" in str(run.error)
    (abandoned,) = run.of(Verdict.ABANDONED)
    assert abandoned.task_id == "t-00042"
    assert abandoned.in_doubt
    assert abandoned.body == TASKS[42]
    assert (run.report.added, run.report.abandoned) == (999, 1)
    assert (run.report.exit_code, run.report.converged) == (5, False)
    assert run.report.requests <= 10 + 1.0 / backoff.GRID_S


async def test_500_processed_in_part() -> None:
    """
    A 500 may have added some tasks of its collection and not others.
    """
    async with listening(make_service(script=[Fault.TIMED_OUT] * 3)) as account:
        run = await converges(account, TASKS)

    assert 50 <= run.report.existed_own <= 250
    assert run.report.added + run.report.existed_own == 1000


async def test_500_without_a_word() -> None:
    """
    A Batch error that the table does not name is a lost answer.
    """
    async with listening(make_service(script=[refusing("InternalError"), None])) as account:
        run = await converges(account, TASKS)

    assert run.report.requests == 11
