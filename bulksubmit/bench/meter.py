"""Measures a step: every attempt, when it went, when its reply came, and what that was.

An attempt brings its tasks over the time that it takes, not at its end: so a step of few rounds is
measured as well as one of many, wherever in a round it begins and ends.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio

from bulksubmit.bench.curve import Step
from bulksubmit.core.model import Answered, Attempt, Lost, Refused, Reply, Throttled
from bulksubmit.core.suspects import TASK_EXISTS
from bulksubmit.core.wire import Job, ListedTask, TaskPage, TaskRange
from bulksubmit.service.replies import Unavailable
from bulksubmit.submission import Service

# What a step begins with is not measured: connections are made, and nothing is in line yet.
SETTLING_SHARE = 0.25
SETTLING_SHARE_AUTO = 0.5  # The adaptive limit has its number to find.
REPLIES_MIN = 2  # One has no pace.


@dataclass(frozen=True, slots=True)
class Exchange:
    """An attempt and its reply.

    Attributes:
        sent_s: When it went.
        ended_s: When its reply was there.
        kind: ``good``: it says what became of tasks; ``throttled``; ``lost``: of no use.
        added: How many tasks it added.
        cpu_s: What this process had taken of its cores by then.
    """

    sent_s: float
    ended_s: float
    kind: Literal["good", "throttled", "lost"]
    added: int
    cpu_s: float


class Meter:
    """A service that is measured.

    Attributes:
        exchanges: Of this step, as they ended.
        added: Tasks added, ever.
        spent: The same, and those that may have been: their reply was lost, and is not known yet.
        enough_s: When as much was spent in this step as may be; infinite before.
        stop: Called then.
        quiet_until_s: When the service asked to be left alone until; it may be over.
        trouble: What it said in the last reply that was of no use, if there was one.
    """

    def __init__(self, service: Service, cpu_s: Callable[[], float] = time.process_time) -> None:
        """Measure a service.

        Args:
            service: Which.
            cpu_s: How long this process has kept a core busy.
        """
        self._service, self._cpu_s = service, cpu_s
        self.exchanges: list[Exchange] = []
        self.added = self.spent = self._spent_max = 0
        self.enough_s = math.inf
        self.stop: Callable[[], None] = lambda: None
        self.quiet_until_s = 0.0
        self.trouble: str | None = None

    def begin(self, spent_max: int) -> None:
        """Begin a step, which is to stop when so much is spent, ever."""
        self.exchanges.clear()
        self._spent_max, self.enough_s = spent_max, math.inf

    async def add(self, attempt: Attempt) -> Reply:
        """See Transport."""
        sent_s = anyio.current_time()
        reply = await self._service.add(attempt)
        ended_s = anyio.current_time()
        if isinstance(reply, Throttled | Lost):
            self.trouble = reply.reason
            quiet_s = reply.retry_after_s or 0.0
            self.quiet_until_s = max(self.quiet_until_s, ended_s + quiet_s)
        added = _added(attempt, reply)
        self.added += added
        doubtful = isinstance(reply, Lost) and reply.sent
        self.spent += len(attempt.tasks) if doubtful else added
        if self.spent >= self._spent_max and math.isinf(self.enough_s):
            self.enough_s = ended_s
            self.stop()
        self.exchanges.append(Exchange(sent_s, ended_s, _kind(reply), added, self._cpu_s()))
        return reply

    async def get_job(self) -> Job | Unavailable:
        """See Transport."""
        return await self._service.get_job()

    async def patch_job(self, on_all_tasks_complete: str) -> Unavailable | None:
        """See Transport."""
        return await self._service.patch_job(on_all_tasks_complete)

    async def list_tasks(
        self, link: str | None = None, *, within: TaskRange | None = None
    ) -> TaskPage | Unavailable:
        """See Transport."""
        return await self._service.list_tasks(link, within=within)

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        """See Transport."""
        return await self._service.get_task(task_id)


def _added(attempt: Attempt, reply: Reply) -> int:
    if not isinstance(reply, Answered):
        return 0
    added = sum(result.status.lower() == "success" for result in reply.results)
    if attempt.resent:  # An earlier attempt took, whose reply was lost.
        codes = (r.error.code or "" for r in reply.results if r.error)
        added += sum(code.lower() == TASK_EXISTS for code in codes)
    return added


def _kind(reply: Reply) -> Literal["good", "throttled", "lost"]:
    match reply:
        case Throttled():
            return "throttled"
        case Answered() if any(r.status.lower() != "servererror" for r in reply.results):
            return "good"
        case Lost() | Refused() | Answered():
            return "lost"


def measured(
    exchanges: Sequence[Exchange], in_flight: int | None, *, until_s: float
) -> Step | None:
    """What a step brought, once it had settled in, and as long as more was sent.

    Args:
        exchanges: All of it, as they ended.
        in_flight: How many were to be; None for the adaptive limit.
        until_s: When it was stopped.

    Returns:
        The step; None if there is too little to be said of it.
    """
    if not exchanges:
        return None
    from_s, to_s = min(each.sent_s for each in exchanges), until_s
    settling = SETTLING_SHARE if in_flight else SETTLING_SHARE_AUTO
    settled_s = from_s + settling * (to_s - from_s)
    inside = _ended_in(exchanges, settled_s, to_s)
    if len(inside) >= REPLIES_MIN:
        from_s = settled_s
    else:  # The service has asked to be left alone for most of the time.
        inside = _ended_in(exchanges, from_s, to_s)
    if len(inside) < REPLIES_MIN or to_s <= from_s:
        return None
    return _step(exchanges, inside, from_s, to_s, in_flight)


def _ended_in(exchanges: Sequence[Exchange], from_s: float, to_s: float) -> list[Exchange]:
    return [each for each in exchanges if from_s < each.ended_s <= to_s]


def _step(
    exchanges: Sequence[Exchange],
    inside: Sequence[Exchange],
    from_s: float,
    to_s: float,
    in_flight: int | None,
) -> Step:
    seconds = to_s - from_s
    shares = [(each, _share(each, from_s, to_s)) for each in exchanges]
    added = sum(each.added * share for each, share in shares)
    busy_s = sum((each.ended_s - each.sent_s) * share for each, share in shares)
    good_s = sorted(each.ended_s - each.sent_s for each in inside if each.kind == "good")
    first, last = inside[0], inside[-1]
    watched_s = last.ended_s - first.ended_s
    return Step(
        in_flight=in_flight or round(busy_s / seconds, 1),
        auto=in_flight is None,
        seconds=seconds,
        requests=len(inside),
        tasks=round(added),
        tasks_per_s=added / seconds,
        p50_ms=_at(good_s, 0.5),
        p95_ms=_at(good_s, 0.95),
        throttled_share=sum(each.kind == "throttled" for each in inside) / len(inside),
        lost_share=sum(each.kind == "lost" for each in inside) / len(inside),
        cpu_share=(last.cpu_s - first.cpu_s) / watched_s if watched_s else 0.0,
    )


def _share(exchange: Exchange, from_s: float, to_s: float) -> float:
    """How much of an exchange lies within the time."""
    took_s = exchange.ended_s - exchange.sent_s
    if not took_s:
        return float(from_s < exchange.ended_s <= to_s)
    inside_s = min(exchange.ended_s, to_s) - max(exchange.sent_s, from_s)
    return max(0.0, inside_s) / took_s


def _at(sorted_s: Sequence[float], share: float) -> float | None:
    """The value that a share of them does not exceed, in milliseconds."""
    if not sorted_s:
        return None
    return 1000 * sorted_s[min(len(sorted_s) - 1, int(share * len(sorted_s)))]
