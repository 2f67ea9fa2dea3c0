"""Tasks, replies, and a pool without an event loop."""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from bulksubmit.core.events import Event
from bulksubmit.core.model import (
    Answered,
    Attempt,
    BatchError,
    Bounds,
    Converged,
    ErrorDetail,
    ErrorMessage,
    GiveUp,
    Lost,
    OnExists,
    Outcome,
    ReadBack,
    Reading,
    Refused,
    Reply,
    Send,
    Task,
    TaskResult,
    Wait,
)
from bulksubmit.core.reconciler import Reconciler
from bulksubmit.core.tasks import Columns

GUID = "12345678-1234-4321-8888-123456789abc"


class FixedRandom(Random):
    """Jitter that is always the same, so that times are exact."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value


def make_task(ordinal: int, *, body_bytes: int = 0, task_id: str | None = None) -> Task:
    """The task ``t<ordinal>``; no other has its body, which is of at least so many bytes."""
    task_id = task_id or f"t{ordinal}"
    body = b'{"id":"%s","commandLine":"%d ' % (task_id.encode(), ordinal)
    padding = max(1, body_bytes - len(body) - 2)
    return Task(ordinal, ordinal + 1, task_id, body + b"x" * padding + b'"}')


def make_tasks(count: int, *, first: int = 0, body_bytes: int = 0) -> list[Task]:
    """So many tasks, ``t<first>`` and upwards."""
    return [make_task(n, body_bytes=body_bytes) for n in range(first, first + count)]


def columns(tasks: Sequence[Task]) -> Columns:
    """The same tasks as the producer hands them on."""
    lines, bodies = [task.line for task in tasks], [task.body for task in tasks]
    return Columns([task.ordinal for task in tasks], lines, [task.id for task in tasks], bodies)


def make_reconciler(
    tasks: Sequence[Task] = (),
    *,
    sealed: bool = True,
    tasks_max: int = 100,
    bytes_max: int = 1_000_000,
    retry_timeout_s: float = 1800.0,
    server_timeout_s: float = 30.0,
    on_exists: OnExists = "verify",
    doubt_below: int = 0,
    random: Random | None = None,
    events: list[Event] | None = None,
) -> Reconciler:
    """A reconciler that has admitted these tasks."""
    reconciler = Reconciler(
        Bounds(tasks_max, bytes_max, retry_timeout_s, server_timeout_s),
        guid=GUID,
        random=random or FixedRandom(1.0),
        on_exists=on_exists,
        doubt_below=doubt_below,
        observer=(lambda _: None) if events is None else events.append,
    )
    assert reconciler.admit(columns(tasks)) == []
    if sealed:
        reconciler.seal()
    return reconciler


def sent(reconciler: Reconciler, now_s: float, *, in_flight_max: int = 1000) -> Attempt:
    """The attempt that is to be sent now."""
    step = reconciler.next_step(now_s=now_s, in_flight_max=in_flight_max)
    assert isinstance(step, Send), type(step)
    return step.attempt


def waits(reconciler: Reconciler, now_s: float, *, in_flight_max: int = 1000) -> float:
    """Until when there is nothing to send."""
    step = reconciler.next_step(now_s=now_s, in_flight_max=in_flight_max)
    assert isinstance(step, Wait), type(step)
    assert step.until_s > now_s
    return step.until_s


def sent_next(reconciler: Reconciler, now_s: float) -> tuple[Attempt, float]:
    """The next attempt to be sent from now on, and its time, with nothing else happening."""
    attempt, now_s = next_request(reconciler, now_s)
    assert isinstance(attempt, Attempt), type(attempt)
    return attempt, now_s


def read_back(reconciler: Reconciler, now_s: float, *, in_flight_max: int = 1000) -> ReadBack:
    """The read-back that is to be made now."""
    step = reconciler.next_step(now_s=now_s, in_flight_max=in_flight_max)
    assert isinstance(step, ReadBack), type(step)
    return step


def next_request(reconciler: Reconciler, now_s: float) -> tuple[Attempt | ReadBack, float]:
    """What goes next from now on, and when, with nothing else happening."""
    for _ in range(1000):
        step = reconciler.next_step(now_s=now_s, in_flight_max=1000)
        if isinstance(step, Send):
            return step.attempt, now_s
        if isinstance(step, ReadBack):
            return step, now_s
        assert isinstance(step, Wait), type(step)
        assert now_s < step.until_s < math.inf
        now_s = step.until_s
    raise AssertionError("asked 1000 times and nothing went")


def shown(tasks: Iterable[Task], *, command: bytes | None = None) -> Reading:
    """What the service shows of tasks that exist: as they were sent, or with another command."""
    return Reading(
        {
            task.id.lower(): task.body
            if command is None
            else b'{"id":"%s","commandLine":"%s","state":"active"}' % (task.id.encode(), command)
            for task in tasks
        }
    )


def absent(tasks: Iterable[Task]) -> Reading:
    """What the service shows of tasks that do not exist."""
    return Reading({task.id.lower(): None for task in tasks})


def results(
    tasks: Iterable[Task], status: str = "Success", code: str | None = None
) -> list[TaskResult]:
    """The same result for each of these tasks."""
    error = BatchError(code, ErrorMessage("en-us", f"text of {code}")) if code else None
    return [TaskResult(task.id, status, error) for task in tasks]


def answered(tasks: Iterable[Task], status: str = "Success", code: str | None = None) -> Answered:
    """An answer with the same result for each of these tasks."""
    return Answered(results(tasks, status, code), request_id="r-1")


Service = Callable[[Attempt, float], tuple[float, Reply]]
Lister = Callable[[ReadBack, float], tuple[float, Reading]]


def no_tasks(read: ReadBack, _now_s: float) -> tuple[float, Reading]:
    """None of the tasks exists."""
    return 0.0, absent(read.tasks)


@dataclass
class Simulated:
    """What a simulated run did.

    Attributes:
        sent_s: When each attempt was sent.
        outcomes: In the order in which they came.
        ended: The last step, or None if time ran out.
        now_s: When the run ended.
    """

    sent_s: list[float]
    outcomes: list[Outcome]
    ended: Converged | GiveUp | None
    now_s: float


def simulate(
    reconciler: Reconciler,
    service: Service,
    lister: Lister = no_tasks,
    *,
    in_flight_max: int,
    source: Iterable[tuple[float, Sequence[Task]]] = (),
    until_s: float = math.inf,
) -> Simulated:
    """A pool without an event loop: what is in flight is a heap of replies to come.

    Args:
        reconciler: Whose steps to follow.
        service: Gives for an attempt and its time how long the reply takes, and the reply.
        lister: The same for a read-back.
        in_flight_max: How many senders there are.
        source: More tasks, each block with the time at which it is read; then the seal.
        until_s: When to stop looking.
    """
    run = Simulated([], [], None, 0.0)
    replies: list[tuple[float, int, partial[Any]]] = []
    settle: partial[Any]  # Of a list of outcomes, or another sequence of them.
    blocks, tie = deque(source), itertools.count()
    while run.now_s < until_s:
        while blocks and blocks[0][0] <= run.now_s:
            run.outcomes += reconciler.admit(blocks.popleft()[1])
        if not blocks and not reconciler.sealed:
            reconciler.seal()
        while replies and replies[0][0] <= run.now_s:
            _, _, settle = heapq.heappop(replies)
            run.outcomes += settle(now_s=run.now_s)
        step = reconciler.next_step(now_s=run.now_s, in_flight_max=in_flight_max)
        if isinstance(step, Send):
            latency_s, reply = service(step.attempt, run.now_s)
            run.sent_s.append(run.now_s)
            settle = partial(reconciler.settle, step.attempt, reply)
            heapq.heappush(replies, (run.now_s + latency_s, next(tie), settle))
        elif isinstance(step, ReadBack):
            latency_s, reading = lister(step, run.now_s)
            settle = partial(reconciler.settle_read_back, step, reading)
            heapq.heappush(replies, (run.now_s + latency_s, next(tie), settle))
        elif isinstance(step, Wait):
            assert step.until_s > run.now_s, "a busy loop"
            reply_s = replies[0][0] if replies else math.inf
            block_s = blocks[0][0] if blocks else math.inf
            run.now_s = min(step.until_s, reply_s, block_s)
            assert run.now_s < math.inf, "stuck: nothing in flight, and nothing to wait for"
        else:
            run.ended = step
            break
    return run


# --- Taken IDs ---------------------------------------------------------------------------------

INVALID = Refused("InvalidPropertyValue", "Odd.", (ErrorDetail("PropertyName", "x"),), "r-2")


def told_exists(reconciler: Reconciler, attempt: Attempt, now_s: float) -> Sequence[Outcome]:
    """The answer to an attempt: each of its IDs is taken."""
    exists = answered(attempt.tasks, "ClientError", "TaskExists")
    return reconciler.settle(attempt, exists, now_s=now_s)


def doubted(reconciler: Reconciler) -> tuple[Attempt, float]:
    """The second attempt of all tasks, the first having been sent at 0 s and lost at 1 s."""
    first = sent(reconciler, 0.0)
    reconciler.settle(first, Lost("read timeout", sent=True), now_s=1.0)
    return sent_next(reconciler, 1.0)


def rejected_alone(reconciler: Reconciler, attempt: Attempt, now_s: float, how: str) -> None:
    """The one task of an attempt is refused: by its result, or as the only one of a request."""
    error = BatchError(INVALID.code, ErrorMessage("en", INVALID.message), INVALID.values)
    result = Answered([TaskResult(attempt.tasks[0].id, "ClientError", error)], INVALID.request_id)
    reply = INVALID if how == "refused" else result
    assert reconciler.settle(attempt, reply, now_s=now_s) == []
