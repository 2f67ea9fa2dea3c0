"""The pool on a virtual clock: bounds, stopping, giving up, being cut off."""

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from random import Random

import anyio
import pytest

from bulksubmit.core.model import Attempt, Lost, Outcome, Reply, Throttled, Verdict
from bulksubmit.core.pacing import FixedLimit
from bulksubmit.core.reconciler import Reconciler
from bulksubmit.errors import NotConverged, Refusal, ServiceRefused
from bulksubmit.observe.causes import Asked
from bulksubmit.observe.speed import Speed
from bulksubmit.pool import Pool, Record, Room, Signal
from bulksubmit.readback import TaskReader
from tests.core.helpers import answered, make_reconciler, make_tasks
from tests.shell.doubles import FakeService, adds, exists
from tests.virtual import START_S, run_virtual

ASKED = Asked(concurrency=1, auto=False, max_rate=None, buffer_bytes_max=2**25)


class Kept:
    """What a pool records and delivers; a delivery takes so long."""

    def __init__(self, *, deliver_s: float = 0.0) -> None:
        self.recorded: list[Outcome] = []
        self.delivered: list[Outcome] = []
        self._deliver_s = deliver_s

    def record(self, outcomes: Sequence[Outcome], *, in_order: bool) -> None:
        ordinals = [outcome.ordinal for outcome in outcomes]
        assert not in_order or ordinals == sorted(ordinals)
        self.recorded += outcomes

    async def deliver(self, outcomes: Sequence[Outcome]) -> None:
        await anyio.sleep(self._deliver_s)
        self.delivered += outcomes


def make_pool(
    reconciler: Reconciler,
    service: FakeService,
    kept: Kept,
    *,
    limit: int | FixedLimit,
    drain_s: float = 10.0,
    before: Callable[[Attempt], None] = lambda _: None,
    record: Record | None = None,
) -> Pool:
    return Pool(
        reconciler,
        service,
        TaskReader(service),
        FixedLimit(limit) if isinstance(limit, int) else limit,
        stopwatch=Speed(ASKED, anyio.current_time),
        before=before,
        record=record or kept.record,
        deliver=kept.deliver,
        drain_s=drain_s,
    )


def stopped(
    pool: Pool, at_s: float, error: Exception | None = None
) -> Callable[[], Awaitable[None]]:
    """Runs a pool, and stops it at a time."""

    async def run() -> None:
        async with anyio.create_task_group() as beside:
            beside.start_soon(pool.run)
            await anyio.sleep(at_s)
            pool.stop(error)

    return run


def test_limit_is_kept() -> None:
    """
    1234 tasks are 13 collections; three at a time, a minute each, take five minutes.
    """
    service, kept = FakeService(reply_s=60), Kept()
    reconciler = make_reconciler(make_tasks(1234))

    _, took_s = run_virtual(make_pool(reconciler, service, kept, limit=3).run)

    assert service.in_flight_peak == 3
    assert took_s == 5 * 60
    assert sorted(outcome.ordinal for outcome in kept.recorded) == list(range(1234))
    assert kept.delivered == kept.recorded


def test_slow_consumer_slows_the_run() -> None:
    """
    While outcomes are being handed over, the place of their attempt stays taken: 12 collections,
    two at a time, a second each, and ten more to hand them over, take 66 seconds.
    """
    service, kept = FakeService(reply_s=1), Kept(deliver_s=10)
    reconciler = make_reconciler(make_tasks(1200))

    _, took_s = run_virtual(make_pool(reconciler, service, kept, limit=2).run)

    assert took_s == 6 * (1 + 10)
    assert service.in_flight_peak == 2
    assert len(kept.delivered) == 1200


def test_a_consumer_that_pauses_is_no_reason_to_give_up() -> None:
    """
    The retry timeout is about the service. While every place waits for the consumer, nothing is
    tried, so a consumer that takes an hour does not end the run, even with tasks to be retried.
    """
    replies = count()

    def half(attempt: Attempt, now_s: float) -> Reply:
        first = next(replies) == 0
        return answered(attempt.tasks[:50]) if first else adds(attempt, now_s)

    service, kept = FakeService(half), Kept(deliver_s=3600)
    reconciler = make_reconciler(make_tasks(100), retry_timeout_s=1800)
    pool = make_pool(reconciler, service, kept, limit=1)

    run_virtual(pool.run)

    assert pool.gave_up is None
    assert len(kept.delivered) == 100


def test_stop_sends_nothing_more_and_takes_answers_in() -> None:
    """
    Once stopped, the pool sends nothing more, takes in what is in flight, and is done with the
    last answer.
    """
    service, kept = FakeService(reply_s=5), Kept()
    reconciler = make_reconciler(make_tasks(1000))
    pool = make_pool(reconciler, service, kept, limit=2)
    reason = NotConverged("told to")

    _, took_s = run_virtual(stopped(pool, 7, reason))

    assert took_s == 10
    assert len(service.sent) == service.ended == 4
    assert len(kept.delivered) == 400
    assert pool.error is reason
    assert reconciler.unsettled == 600
    reconciler.check()


def test_what_is_recorded_is_delivered() -> None:
    """
    The time to drain is for answers: outcomes that were recorded reach the consumer, however
    long it takes for them.
    """
    service, kept = FakeService(reply_s=1), Kept(deliver_s=3600)
    pool = make_pool(make_reconciler(make_tasks(1000)), service, kept, limit=4, drain_s=10)

    _, took_s = run_virtual(stopped(pool, 7))

    assert took_s == 1 + 3600
    assert len(kept.delivered) == len(kept.recorded) == 400


def test_draining_ends_after_drain_s() -> None:
    """
    Answers that take longer than drain_s are not waited for; their tasks are in doubt.
    """
    service, kept = FakeService(reply_s=60), Kept()
    reconciler = make_reconciler(make_tasks(1000))
    pool = make_pool(reconciler, service, kept, limit=3, drain_s=10)

    _, took_s = run_virtual(stopped(pool, 7))

    assert took_s == 17
    assert service.ended == 0
    assert service.in_flight == 0
    assert kept.recorded == []
    assert (reconciler.unsettled, reconciler.in_doubt) == (1000, 300)
    reconciler.check()


def test_stop_wakes_a_pool_that_waits() -> None:
    """A pool that waits for a Retry-After of an hour is stopped at once."""
    service = FakeService(lambda _attempt, _now_s: Throttled(3600, "429"), reply_s=1)
    reconciler = make_reconciler(make_tasks(1), retry_timeout_s=7200)
    pool = make_pool(reconciler, service, Kept(), limit=3)

    _, took_s = run_virtual(stopped(pool, 7))

    assert took_s == 7
    assert len(service.sent) == 1


def test_stopped_before_it_runs() -> None:
    """A pool that was stopped beforehand sends nothing."""
    service = FakeService()
    pool = make_pool(make_reconciler(make_tasks(5)), service, Kept(), limit=3)
    pool.stop()

    _, took_s = run_virtual(pool.run)

    assert took_s == 0
    assert service.sent == []


def test_the_first_reason_stands() -> None:
    """Whatever stops the pool again while it drains, the first error is the one to tell."""
    service = FakeService(reply_s=5)
    pool = make_pool(make_reconciler(make_tasks(5)), service, Kept(), limit=3)
    first = NotConverged("first")

    async def run() -> None:
        async with anyio.create_task_group() as beside:
            beside.start_soon(pool.run)
            await anyio.sleep(1)
            pool.stop(first)
            pool.stop(NotConverged("second"))

    run_virtual(run)

    assert pool.error is first


def test_a_refusal_of_all_drains_the_others() -> None:
    """
    One answer that ends the run lets the other answers in flight come in, and sends nothing
    more; its own tasks stay unsettled.
    """
    refused = ServiceRefused(Refusal.JOB_CLOSED, "JobCompleted", "it is over")

    def second_refused(attempt: Attempt, now_s: float) -> Reply:
        if attempt.number == 2:
            raise refused
        return adds(attempt, now_s)

    service = FakeService(second_refused, reply_s=lambda attempt: attempt.number % 2 + 1)
    kept, reconciler = Kept(), make_reconciler(make_tasks(2000))
    pool = make_pool(reconciler, service, kept, limit=3)

    _, took_s = run_virtual(pool.run)

    assert took_s == 2
    assert pool.error is refused
    assert [attempt.number for _, attempt in service.sent] == [1, 2, 3]
    assert len(kept.delivered) == 200
    assert reconciler.unsettled == 1800
    reconciler.check()


def test_a_read_back_takes_a_place_in_flight() -> None:
    """
    Two collections of taken IDs, one at a time, a second each, and then a list of five seconds:
    seven seconds, and never more than one request.
    """
    service, kept = FakeService(exists), Kept()
    tasks = make_tasks(200)
    service.held = {task.id: task.body for task in tasks}
    service.list_s = 5.0

    _, took_s = run_virtual(make_pool(make_reconciler(tasks), service, kept, limit=1).run)

    assert took_s == 2 * 1 + 5
    assert service.in_flight_peak == 1
    assert {outcome.verdict for outcome in kept.delivered} == {Verdict.EXISTED}
    assert len(kept.delivered) == len(kept.recorded) == 200


def test_a_refusal_to_list_ends_the_run() -> None:
    """
    If the service will not list, the run ends as if it would not add, the other answers in
    flight are taken in, and nothing of what was to be read back is settled.
    """
    refused = ServiceRefused(Refusal.AUTHENTICATION, "AuthenticationFailed", "no")

    def some_exist(attempt: Attempt, now_s: float) -> Reply:
        return exists(attempt, now_s) if attempt.number == 1 else adds(attempt, now_s)

    service, kept = FakeService(some_exist, reply_s=lambda attempt: attempt.number), Kept()
    service.refusal, service.list_s = refused, 0.5
    reconciler = make_reconciler(make_tasks(200))
    pool = make_pool(reconciler, service, kept, limit=2)

    _, took_s = run_virtual(pool.run)

    assert took_s == 2
    assert pool.error is refused
    assert len(service.listed) == 1
    assert len(kept.delivered) == 100
    assert (reconciler.unsettled, reconciler.in_doubt) == (100, 100)
    reconciler.check()


def test_what_is_settled_is_not_held_in_memory() -> None:
    """
    Senders with nothing to send do not hold what they have sent, which may be a megabyte each.
    """
    service, kept = FakeService(), Kept()
    tasks = make_tasks(1200)
    bodies = [task.body for task in tasks]
    reconciler = make_reconciler(tasks, sealed=False)
    pool = make_pool(reconciler, service, kept, limit=4)
    counts: list[int] = []

    async def run() -> None:
        async with anyio.create_task_group() as beside:
            beside.start_soon(pool.run)
            await anyio.sleep(10)
            service.sent.clear()
            counts.extend(sys.getrefcount(body) for body in bodies)
            reconciler.seal()
            pool.work.set()

    run_virtual(run)

    assert len(kept.delivered) == 1200
    assert max(counts) == min(counts)


def test_stopping_waits_for_a_read_back_too() -> None:
    """
    A read-back in flight is an answer in flight: a stopped pool takes it in, and begins none.
    """
    service, kept = FakeService(exists), Kept()
    tasks = make_tasks(200)
    service.held = {task.id: task.body for task in tasks}
    service.list_s = 5.0
    reconciler = make_reconciler(tasks[:100], sealed=False)
    pool = make_pool(reconciler, service, kept, limit=2)

    async def run() -> None:
        async with anyio.create_task_group() as beside:
            beside.start_soon(pool.run)
            await anyio.sleep(2)  # The first hundred is being read by now.
            reconciler.admit(tasks[100:200])
            pool.work.set()
            await anyio.sleep(0.5)
            pool.stop()

    _, took_s = run_virtual(run)

    assert took_s == 1 + 5
    assert len(service.listed) == 1
    assert len(kept.delivered) == 100
    assert (reconciler.unsettled, reconciler.in_doubt) == (100, 100)
    reconciler.check()


def test_what_cannot_be_recorded_stops_the_run() -> None:
    """
    If outcomes cannot be recorded, the run stops, and the other answers in flight are still
    taken in.
    """
    kept = Kept()
    full = OSError("no space left")

    def record(outcomes: Sequence[Outcome], *, in_order: bool) -> None:
        kept.record(outcomes, in_order=in_order)
        if len(kept.recorded) == 100:
            raise full

    service = FakeService()
    reconciler = make_reconciler(make_tasks(2000))
    pool = make_pool(reconciler, service, kept, limit=4, record=record)

    run_virtual(pool.run)

    assert pool.error is full
    assert len(kept.recorded) == 100 * len(service.sent)
    reconciler.check()


def test_giving_up_takes_late_answers_in() -> None:
    """
    After a retry timeout without a single task settled the pool gives up, and still takes in
    what is in flight.
    """

    def late(attempt: Attempt, now_s: float) -> Reply:
        return adds(attempt, now_s) if now_s >= START_S + 100 else Lost("502", sent=True)

    service, kept = FakeService(late, reply_s=30), Kept()
    reconciler = make_reconciler(make_tasks(100), retry_timeout_s=98)
    pool = make_pool(reconciler, service, kept, limit=1, drain_s=60)

    _, took_s = run_virtual(pool.run)

    assert pool.gave_up is not None
    assert "98 s" in pool.gave_up
    assert pool.error is None
    assert 98 < took_s < 98 + 60
    assert len(kept.delivered) == 100


@pytest.mark.parametrize("seed", range(5))
def test_cut_off_anywhere_the_books_are_in_order(seed: int) -> None:
    """
    Wherever run() is cancelled, every invariant of the reconciler holds, what was recorded is
    settled, and the rest is unsettled.
    """
    random = Random(seed)

    def moody(attempt: Attempt, _now_s: float) -> Reply:
        match random.randrange(4):
            case 0:
                return Lost("reset", sent=True)
            case 1:
                return Throttled(1.0, "429")
            case _:
                return answered([task for task in attempt.tasks if random.random() < 0.9])

    for tenths in range(1, 100, 7):
        service, kept = FakeService(moody, reply_s=random.random()), Kept(deliver_s=0.1)
        reconciler = make_reconciler(make_tasks(2000), random=random)
        pool = make_pool(reconciler, service, kept, limit=4)

        async def cut_off(pool: Pool = pool, after_s: float = tenths / 10) -> None:
            with anyio.move_on_after(after_s):
                await pool.run()

        run_virtual(cut_off)

        reconciler.check()
        assert reconciler.unsettled + len(kept.recorded) == 2000
        abandoned = reconciler.abandon("cut off")
        assert {outcome.verdict for outcome in abandoned} <= {Verdict.ABANDONED}
        settled = {outcome.ordinal for outcome in kept.recorded}
        assert settled.isdisjoint(outcome.ordinal for outcome in abandoned)
        assert service.in_flight == 0


def test_a_signal_set_before_is_not_missed() -> None:
    """What was set while nobody waited wakes the next one to wait, once."""

    async def wait() -> tuple[float, float, float]:
        signal, times = Signal(), []
        signal.set()
        await signal.wait()
        times.append(anyio.current_time() - START_S)
        await signal.wait(START_S + 5)
        times.append(anyio.current_time() - START_S)
        signal.set()
        await signal.wait(math.inf)
        return times[0], times[1], anyio.current_time() - START_S

    assert run_virtual(wait)[0] == (0, 5, 5)


def test_who_waits_for_room_is_woken_when_there_is_enough() -> None:
    """Not whenever some is freed, and not at all if there is enough from the beginning."""

    async def wait() -> tuple[list[int], float]:
        room, free, asked = Room(), 0, list[int]()

        def enough() -> bool:
            asked.append(free)
            return free >= 2

        async with anyio.create_task_group() as beside:
            beside.start_soon(room.wait, enough)
            for count in (1, 2):
                await anyio.sleep(1)
                free = count
                room.freed()
        room.freed()
        await room.wait(enough)
        return asked, anyio.current_time() - START_S

    assert run_virtual(wait)[0] == ([0, 1, 2, 2, 2], 2)


class RisingLimit(FixedLimit):
    """Twice as many from the first reply on."""

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:  # noqa: ARG002
        self.value = 4


def test_more_places_are_used_at_once() -> None:
    """
    Whoever has a reply sends what is next in his place; if the reply has raised the limit, the
    other places are used at that moment as well: 2 collections in the first second, then 4 in each.
    """
    service, kept = FakeService(reply_s=1), Kept()
    pool = make_pool(make_reconciler(make_tasks(1000)), service, kept, limit=RisingLimit(2))

    _, took_s = run_virtual(pool.run)

    assert took_s == 3
    assert service.in_flight_peak == 4
