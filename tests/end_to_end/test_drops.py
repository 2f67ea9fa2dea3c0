"""Connections that are cut, anywhere: the same tasks go again, and none is there twice."""

import asyncio

import pytest

from bulksubmit import Settings, SharedKey, submit
from bulksubmit.core.events import Event, RequestEnded
from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Fault, Faults
from bulksubmit.service import operations
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    converges,
    listening,
    make_service,
    make_tasks,
)

pytestmark = pytest.mark.usefixtures("hurried")

TASKS = make_tasks(1000)


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.DROP_BODY])
async def test_drop_before_processing(fault: Fault) -> None:
    """
    A connection that is cut before or while the body is sent has added nothing: the tasks go
    again, and are added then.
    """
    async with listening(make_service(script=[fault] * 3)) as account:
        run = await converges(account, TASKS)

    assert run.report.added == 1000
    assert run.report.existed_own == 0
    assert run.report.requests == account.adds == 13
    assert run.report.retried_requests == 3


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.DROP_ANSWER])
async def test_drop_after_processing(fault: Fault) -> None:
    """
    A connection that is cut without an answer, or in the middle of it, has added its tasks:
    sent again they exist, and they are ours.
    """
    async with listening(make_service(script=[fault] * 3)) as account:
        run = await converges(account, TASKS, settings=Settings(concurrency=16))

    assert run.report.added == 700
    assert run.report.existed == run.report.existed_own == 300
    assert all(outcome.in_doubt == (outcome.attempts == 2) for outcome in run.outcomes)


async def test_answer_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An answer that does not come in time is as good as none: the tasks were added.
    """
    monkeypatch.setattr(operations, "CLIENT_MARGIN_S", -0.7)
    service = make_service(Faults(slow_s=5.0), script=[Fault.SLOW] * 3)
    async with listening(service) as account:
        run = await converges(account, TASKS, settings=Settings(server_timeout_s=1, concurrency=16))

    assert [event.reason for event in run.requests if event.reason] == ["no answer in time"] * 3
    assert run.report.existed_own == 300


async def test_processed_after_client_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The service may work on a request that nobody waits for any more, also while the same tasks
    are on their way again; whichever comes first adds them.
    """
    monkeypatch.setattr(operations, "CLIENT_MARGIN_S", -0.9)

    def first_three_wait(call: Call) -> None:
        slow = call.operation is Operation.ADD_TASK_COLLECTION and call.number < 3
        service.faults = Faults(latency_s=0.3 if slow else 0.0)

    service = make_service(script=first_three_wait)
    async with listening(service) as account:
        run = await converges(account, TASKS, settings=Settings(server_timeout_s=1, concurrency=16))
        assert len(run.requests) >= 13


async def test_processed_after_hanging_up() -> None:
    """
    The same, with a connection that is cut at once.
    """
    service = make_service(Faults(late_s=0.3), script=[Fault.LATE] * 3)
    async with listening(service) as account:
        run = await converges(account, TASKS)

    assert run.report.existed == run.report.existed_own


async def test_service_away_at_the_start(unused_tcp_port: int) -> None:
    """
    Where nobody listens yet, nothing is sent, and the run begins when somebody does.
    """
    refused = asyncio.Event()

    def observe(event: Event, /) -> None:
        if isinstance(event, RequestEnded) and event.reply == "lost":
            refused.set()

    run = asyncio.ensure_future(
        submit(
            TASKS,
            job_id=JOB_ID,
            endpoint=f"http://127.0.0.1:{unused_tcp_port}",
            credential=SharedKey(NAME, KEY),
            observer=observe,
        )
    )
    await refused.wait()
    async with listening(make_service(), port=unused_tcp_port) as account:
        report = await run
        account.assert_holds(TASKS)

    assert report.added == report.total == 1000
    assert report.requests == 10


async def test_service_away_in_between(unused_tcp_port: int) -> None:
    """
    A service that goes away with requests in flight and comes back: connections are cut, then
    refused, and every task is added once. What was never sent was never in doubt.
    """
    under_way, refused = asyncio.Event(), asyncio.Event()

    def look(call: Call) -> None:
        if call.operation is Operation.ADD_TASK_COLLECTION and call.number == 3:
            under_way.set()

    def observe(event: Event, /) -> None:
        if isinstance(event, RequestEnded) and "Connect call failed" in (event.reason or ""):
            refused.set()

    service = make_service(Faults(latency_s=0.05), script=look)
    async with listening(service, port=unused_tcp_port) as account:
        run = asyncio.ensure_future(
            submit(
                TASKS,
                job_id=JOB_ID,
                endpoint=account.endpoint,
                credential=SharedKey(NAME, KEY),
                settings=Settings(concurrency=2),
                observer=observe,
            )
        )
        await under_way.wait()
    await refused.wait()
    async with listening(service, port=unused_tcp_port) as account:
        report = await run
        account.assert_holds(TASKS)

    assert report.added + report.existed_own == report.total == 1000
