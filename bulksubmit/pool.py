"""Bounded concurrency: next step, post or read back, settle, record, deliver."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from bulksubmit.core.model import (
    Attempt,
    Converged,
    GiveUp,
    Lost,
    Outcome,
    ReadBack,
    Reading,
    Reply,
    Send,
    Step,
    Wait,
    Why,
)
from bulksubmit.core.reconciler import Reconciler
from bulksubmit.errors import ServiceRefused

# While replies bring the next attempts along, run() looks so often at what it waits for.
LOOK_S = 0.25


class Transport(Protocol):
    """Posts attempts."""

    async def add(self, attempt: Attempt) -> Reply:
        """Post the attempt's collection, once.

        Raises:
            ServiceRefused: if the service will take no task at all.
        """


class Reader(Protocol):
    """Reads tasks back."""

    async def read(self, read: ReadBack) -> Reading:
        """What exists under the IDs of these tasks.

        Raises:
            ServiceRefused: if the service will not say.
        """


class Record(Protocol):
    """Takes note of outcomes, at once."""

    def __call__(self, outcomes: Sequence[Outcome], *, in_order: bool) -> None:
        """Take note.

        Args:
            outcomes: Of one reply; may be none.
            in_order: Whether they are in the order of the source.
        """


class Limit(Protocol):
    """How many attempts and read-backs may be in flight, and how closely they may follow.

    Attributes:
        value: At least 1; may change at any time.
        bound: Whose limit it is: ``user``, ``finding`` (it may still rise), or why the service
            does not answer more any better: ``throttled``, ``slow``, ``failing``.
    """

    @property
    def value(self) -> int:
        """The limit now."""

    @property
    def bound(self) -> str:
        """What keeps it from being higher."""

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, or later."""

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:
        """An attempt goes, as one of so many in flight."""

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:
        """Its reply has come."""


class Stopwatch(Protocol):
    """Told what the pool waits for."""

    def wait(self, why: Why, bound: str, *, opens_s: float, now_s: float) -> None:
        """From now on the pool waits.

        Args:
            why: What for.
            bound: Of PLACES and PACE: the limit's, or ``consumer``, whose outcomes have places.
            opens_s: Of PACE: when the next attempt may go.
            now_s: Now.
        """

    def work(self, now_s: float) -> None:
        """From now on it does not."""

    def stop(self, now_s: float) -> None:
        """It sends nothing any more."""


class Signal:
    """Wakes the one task that waits for it; what was set before is not missed."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the waiting task, or the next one to wait."""
        self._set = True
        if self._waiting:
            _wake(self._waiting)

    async def wait(self, until_s: float = math.inf) -> None:
        """Until set, or until a time of the event loop's clock."""
        if not self._set:
            # By hand: an event within a cancel scope takes five times as long.
            loop = asyncio.get_running_loop()
            self._waiting = waiting = loop.create_future()
            timer = loop.call_at(until_s, _wake, waiting) if until_s < math.inf else None
            try:
                await waiting
            finally:
                self._waiting = None
                if timer:
                    timer.cancel()
        self._set = False


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


class Room:
    """Lets the one task that fills the backlog wait until there is room in it."""

    def __init__(self) -> None:
        self._enough: Callable[[], bool] | None = None
        self._event = anyio.Event()

    def freed(self) -> None:
        """Some was freed: wake the waiting task, if it is enough."""
        if self._enough and self._enough():
            self._enough = None
            self._event.set()

    async def wait(self, enough: Callable[[], bool]) -> None:
        """Until there is enough, as asked at once and whenever some is freed."""
        while not enough():
            self._enough, self._event = enough, anyio.Event()
            await self._event.wait()


class Pool:
    """Posts what the reconciler says, as many at once as the limit allows.

    Whoever has taken a reply in asks for the next step himself, and posts it in his place, so
    that with full places nobody else need be woken. All other steps are run()'s.

    Attributes:
        stopped: Nothing more is sent.
        error: What stopped it, if anything did.
        gave_up: Why it gave up, if it did.
        work: Set it when tasks were admitted, or the source was sealed.
        room: In the backlog, for more to be admitted; freed when tasks have left it.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        transport: Transport,
        reader: Reader,
        limit: Limit,
        *,
        stopwatch: Stopwatch,
        before: Callable[[Attempt], None],
        record: Record,
        deliver: Callable[[Sequence[Outcome]], Awaitable[None]],
        deliver_now: Callable[[Sequence[Outcome]], bool] = lambda _: False,
        drain_s: float,
    ) -> None:
        """Wire the parts.

        Args:
            reconciler: Decides.
            transport: Posts.
            reader: Reads back.
            limit: On what is in flight.
            stopwatch: Told what it waits for.
            before: Told of an attempt before it is sent.
            record: Takes note of outcomes, at once.
            deliver: Hands outcomes on; while it waits, the place of their attempt or read-back
                stays taken, so that a slow consumer slows the run.
            deliver_now: Hands outcomes on if that takes no waiting, and says whether it did.
            drain_s: How long answers are waited for once the pool is stopped.
        """
        self._reconciler, self._limit, self._stopwatch = reconciler, limit, stopwatch
        self._transport, self._reader = transport, reader
        self._before, self._record = before, record
        self._deliver, self._deliver_now = deliver, deliver_now
        self._drain_s = drain_s
        self._posts: TaskGroup | None = None
        self._delivering = 0
        # The limit whose places run() waits for; None if for anything else, or not at all.
        self._waits_by: tuple[int, str] | None = None
        self.stopped = False
        self.error: Exception | None = None
        self.gave_up: str | None = None
        self.work = Signal()
        self.room = Room()

    def stop(self, error: Exception | None = None) -> None:
        """Send nothing more; run() takes in the answers in flight and returns."""
        self.stopped = True
        self.error = self.error or error
        self.work.set()

    def cut(self) -> None:
        """Wait for no answer any more; after stop()."""
        self._drain_s = 0.0
        if self._posts is not None:
            scope = self._posts.cancel_scope
            scope.deadline = min(scope.deadline, anyio.current_time())

    async def run(self) -> None:
        """Post collections until every task is settled, the run gives up, or it is stopped.

        Look at ``error`` and ``gave_up`` afterwards: an exception from inside the task group
        would cut off the answers that are still in flight. What is recorded is delivered, even
        if that takes the consumer longer than ``drain_s``.
        """
        # anyio takes ten times as long to look at it, and it is looked at several times a request.
        clock = asyncio.get_running_loop().time
        async with anyio.create_task_group() as deliveries, anyio.create_task_group() as posts:
            self._posts = posts
            sender = _Sender(posts, deliveries, clock)
            converged = await self._send_all(sender)
            sender.dismiss()
            self._stopwatch.stop(clock())
            if not converged:
                posts.cancel_scope.deadline = clock() + self._drain_s

    def _next_step(self, now_s: float) -> tuple[Step, float]:
        """What to do now, and when the next attempt may go."""
        opens_s = self._limit.opens_s(now_s)
        step = self._reconciler.next_step(
            now_s=now_s,
            in_flight_max=self._limit.value - self._delivering,
            opens_s=opens_s,
        )
        if isinstance(step, Send):
            self._limit.sent(step.attempt, in_flight=self._reconciler.in_flight, now_s=now_s)
            self.room.freed()
        return step, opens_s

    async def _send_all(self, sender: "_Sender") -> bool:
        while not self.stopped:
            now_s = sender.clock()
            step, opens_s = self._next_step(now_s)
            match step:
                case Send():  # Under no name: it would be held in memory until the next one.
                    if not sender.give(step.attempt):
                        sender.posts.start_soon(self._post, step.attempt, sender)
                case ReadBack():
                    sender.posts.start_soon(self._read_back, step, sender)
                case Wait(until_s, why):
                    value, bound = self._limit.value, self._limit.bound
                    self._waits_by = (value, bound) if why is Why.PLACES else None
                    if why is Why.PLACES and self._reconciler.in_flight < value:
                        bound = "consumer"
                    self._stopwatch.wait(why, bound, opens_s=opens_s, now_s=now_s)
                    looks_s = now_s + LOOK_S if why is Why.PLACES else math.inf
                    await self.work.wait(min(until_s, looks_s))
                    self._stopwatch.work(sender.clock())
                case GiveUp(reason):
                    self.gave_up = reason
                    return False
                case Converged():
                    return True
        return False

    async def _post(self, attempt: Attempt | None, sender: "_Sender") -> None:
        """Post an attempt; then in its place the next one, or whatever there is later."""
        while attempt:
            attempt = await self._post_one(attempt, sender)
            if attempt is None:  # And nothing holds the last one's tasks in memory.
                attempt = await sender.later()

    async def _post_one(self, attempt: Attempt, sender: "_Sender") -> Attempt | None:
        try:
            self._before(attempt)
            reply = await self._add(attempt)
            now_s = sender.clock()
            self._limit.ended(attempt, reply, now_s=now_s)
            outcomes = self._reconciler.settle(attempt, reply, now_s=now_s)
            # No await between settling and recording: what is settled is on record. A
            # collection of fresh tasks is in the order of the source.
            self._record(outcomes, in_order=attempt.resent == 0)
        except Exception as error:  # noqa: BLE001 - taken in like the other answers
            self.stop(error)
            return None
        self._hand_on(outcomes, sender)
        return self._following(now_s, sender)

    def _following(self, now_s: float, sender: "_Sender") -> Attempt | None:
        """The attempt to be posted in the place of one that has ended, if there is one."""
        if self.stopped:
            return None
        step, _ = self._next_step(now_s)
        match step:
            case Send(attempt):
                # With a higher limit there are more places, and with another bound another cause;
                # and with free places there may be a time now that run() is to wake at.
                if self._waits_by != (self._limit.value, self._limit.bound):
                    self.work.set()
                return attempt
            case ReadBack():
                sender.posts.start_soon(self._read_back, step, sender)
        self.work.set()
        return None

    async def _read_back(self, read: ReadBack, sender: "_Sender") -> None:
        try:
            reading = await self._read(read)
            outcomes = self._reconciler.settle_read_back(read, reading, now_s=sender.clock())
            self._record(outcomes, in_order=False)
        except Exception as error:  # noqa: BLE001 - as above
            self.stop(error)
            return
        self._hand_on(outcomes, sender)
        self.work.set()

    def _hand_on(self, outcomes: Sequence[Outcome], sender: "_Sender") -> None:
        if outcomes:
            if not self._deliver_now(outcomes):
                self._delivering += 1
                sender.deliveries.start_soon(self._hand_over, outcomes)
            self.room.freed()

    async def _add(self, attempt: Attempt) -> Reply:
        try:
            return await self._transport.add(attempt)
        except ServiceRefused as refused:
            # The run ends, and this attempt added nothing.
            self.stop(refused)
            return Lost(refused.reason, sent=False)

    async def _read(self, read: ReadBack) -> Reading:
        try:
            return await self._reader.read(read)
        except ServiceRefused as refused:
            self.stop(refused)
            return Reading({}, Lost(refused.reason, sent=True))

    async def _hand_over(self, outcomes: Sequence[Outcome]) -> None:
        await self._deliver(outcomes)
        self._delivering -= 1
        self.work.set()


class _Sender:
    """What run() has for as long as it runs.

    Attributes:
        posts: Attempts and read-backs under way.
        deliveries: Outcomes that the consumer has no room for yet.
        clock: The event loop's time.
    """

    def __init__(self, posts: TaskGroup, deliveries: TaskGroup, clock: Callable[[], float]) -> None:
        self.posts, self.deliveries, self.clock = posts, deliveries, clock
        # Of posts that wait for something to post: a new task takes fifteen times as long.
        self._idle: list[asyncio.Future[Attempt | None]] = []
        self._dismissed = False

    async def later(self) -> Attempt | None:
        """Something to post, once there is; None if there is nothing any more."""
        if self._dismissed:
            return None
        idle: asyncio.Future[Attempt | None] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        return await idle

    def give(self, attempt: Attempt) -> bool:
        """Give one that waits this to post; returns whether there is one."""
        if not self._idle:
            return False
        self._idle.pop().set_result(attempt)
        return True

    def dismiss(self) -> None:
        """There is nothing any more."""
        self._dismissed = True
        for idle in self._idle:
            if not idle.done():  # As when all is cut off.
                idle.set_result(None)
