"""A service that is busy or down: it is waited for, asked seldom, and given up on in the end."""

import asyncio
from functools import partial
from typing import Any

import pytest

from bulksubmit import NotConverged, ServiceUnreachable, Settings, Verdict, api
from bulksubmit.core.events import Held, Resumed
from bulksubmit.emulator.exchange import Answer, Call
from bulksubmit.emulator.faults import Fault, Faults
from bulksubmit.emulator.switches import Switches
from tests.core.helpers import FixedRandom
from tests.end_to_end.account import (
    Flood,
    converges,
    flood,
    listening,
    make_service,
    make_tasks,
    refusing,
)

TASKS = make_tasks(1000)


def held_for_s(run: Flood) -> float:
    """The longest that sending was said to be held back."""
    return max(event.for_s for event in run.events if isinstance(event, Held))


# --- Throttled ----------------------------------------------------------------------------------


async def test_retry_after_holds_all_senders() -> None:
    """
    After one answer with Retry-After, in seconds or as a date, nobody sends before its time.
    """

    async def wait_for(fault: Fault) -> None:
        service = make_service(Faults(retry_after_s=1), script=[fault])
        async with listening(service) as account:
            run = await converges(account, TASKS, settings=Settings(concurrency=1))

        first, second = [seen.time_s for seen in service.record.log][1:3]
        assert second - first >= 0.9
        assert 0.9 < held_for_s(run) <= 1.0
        assert any(isinstance(event, Resumed) for event in run.events)
        assert (run.report.requests, run.report.throttled_requests) == (11, 1)

    faults = (Fault.THROTTLED, Fault.THROTTLED_DATE, Fault.BUSY_RETRY_AFTER)
    await asyncio.gather(*(wait_for(fault) for fault in faults))


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", [Fault.THROTTLED_BARE, Fault.BUSY])
@pytest.mark.parametrize("adds", ["none", "some"])
async def test_throttled_without_retry_after(fault: Fault, adds: Any) -> None:
    """
    Without Retry-After we back off by ourselves; whether such an answer has added some of the
    tasks all the same makes no difference.
    """
    service = make_service(switches=Switches(throttled_adds=adds), script=[fault] * 2)
    async with listening(service) as account:
        run = await converges(account, TASKS)

    assert (run.report.existed_own > 0) == (adds == "some")
    assert run.report.requests == 12
    assert run.report.throttled_requests == (2 if fault is Fault.THROTTLED_BARE else 0)


async def test_retry_after_beyond_the_timeout() -> None:
    """
    A service that asks to come back later than we would wait ends the run at once, and the
    reason says when to go on.
    """
    service = make_service(Faults(retry_after_s=120), script=[None, Fault.THROTTLED])
    settings = Settings(retry_timeout_s=60, concurrency=1)
    async with listening(service) as account:
        run = await flood(account, TASKS, settings=settings)

    assert isinstance(run.error, NotConverged)
    assert "120 s" in str(run.error)
    report = run.report
    assert (report.added, report.abandoned) == (100, 100)
    assert report.unsettled == report.total - 200 > 0
    assert (report.exit_code, report.requests) == (5, 2)


# --- Down ---------------------------------------------------------------------------------------


async def test_502_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A gateway that answers 502 for good, having added half of what it got: the run holds, probes
    a few times, and gives up by its retry timeout with 5. What was sent is abandoned and in
    doubt, what was not is unsettled and not, and together they are all.
    """
    service = make_service(Faults(bad_gateway=1.0))
    settings = Settings(retry_timeout_s=1.5, concurrency=16)
    # Without jitter what was sent is due before the first probe, which would take fresh tasks
    # otherwise, now and then.
    monkeypatch.setattr(api, "Random", partial(FixedRandom, 0.0))
    async with listening(service) as account:
        run = await flood(account, make_tasks(5000), settings=settings)

    report = run.report
    assert isinstance(run.error, NotConverged)
    assert "no task was settled for 1.5 s; last: HTTP 502" in str(run.error)
    assert (report.exit_code, report.converged, report.added) == (5, False, 0)
    # 16 replies in a row hold the run; each but the last has let another attempt go. Then probes
    # after 0.25 to 0.5 s, 0.5 to 1 s.
    assert 16 <= report.requests == account.adds <= 16 + 15 + 3
    assert 1600 <= report.abandoned == len(run.of(Verdict.ABANDONED)) <= 3100
    assert report.abandoned == sum(sent.tasks - sent.resent for sent in run.requests)
    assert report.abandoned + report.unsettled == report.total
    assert all(outcome.in_doubt and outcome.body for outcome in run.outcomes)
    assert report.in_doubt == 0


@pytest.mark.usefixtures("hurried")
@pytest.mark.thorough
async def test_down_for_a_while() -> None:
    """
    A service that is down for the first volley and some probes is flooded again afterwards.
    """
    async with listening(make_service(script=[Fault.BAD_GATEWAY] * 20)) as account:
        run = await converges(account, make_tasks(5000))

    assert run.report.requests == 50 + 20
    kinds = [type(event) for event in run.events if isinstance(event, Held | Resumed)]
    assert kinds[0] is Held
    assert kinds[-1] is Resumed


async def test_nothing_works_from_the_start() -> None:
    """
    A gateway that answers 502 even for the job itself is given up on before anything is sent.
    """
    service = make_service(Faults(bad_gateway=1.0, everywhere=True))
    async with listening(service) as account:
        run = await flood(account, TASKS, settings=Settings(retry_timeout_s=0.5))

    assert isinstance(run.error, ServiceUnreachable)
    assert "HTTP 502" in str(run.error)
    assert (run.report.exit_code, run.report.total, account.adds) == (5, 0, 0)


@pytest.mark.usefixtures("hurried")
async def test_job_is_throttled_at_first() -> None:
    """
    The first look at the job is as patient as all that follows.
    """
    left: list[Fault | Answer] = [
        Fault.THROTTLED_BARE,
        refusing("ServerBusy"),
        Fault.DROP_AFTER,
    ]

    def look(_: Call) -> Fault | Answer | None:
        return left.pop() if left else None

    async with listening(make_service(script=look)) as account:
        await converges(account, TASKS)

    assert account.adds == 10
