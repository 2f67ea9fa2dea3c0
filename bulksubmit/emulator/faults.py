"""What can go wrong with a request, how often, and by whose hand: by chance or by a script."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from random import Random
from typing import Protocol

from bulksubmit.core.model import ErrorDetail


class Fault(StrEnum):
    """What goes wrong with one request; each has its rate in Faults, under the same name."""

    DROP_BEFORE = "drop_before"
    DROP_BODY = "drop_body"
    DROP_AFTER = "drop_after"
    DROP_ANSWER = "drop_answer"
    TRUNCATED = "truncated"
    MISSING = "missing"
    EXTRA = "extra"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    THROTTLED = "throttled"
    THROTTLED_DATE = "throttled_date"
    THROTTLED_BARE = "throttled_bare"
    BUSY = "busy"
    BUSY_RETRY_AFTER = "busy_retry_after"
    TIMED_OUT = "timed_out"
    BAD_GATEWAY = "bad_gateway"
    SLOW = "slow"
    LATE = "late"


_FAULTS = tuple(Fault)
_rates_of = attrgetter(*_FAULTS)  # Asked of each request: a getattr each takes four times as long.

THROTTLING = frozenset(
    {
        Fault.THROTTLED,
        Fault.THROTTLED_DATE,
        Fault.THROTTLED_BARE,
        Fault.BUSY,
        Fault.BUSY_RETRY_AFTER,
    }
)


# No source names the codes of a ServerError; these are the natural ones.
SERVER_ERROR_CODES = ("InternalError", "OperationTimedOut", "ServerBusy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each fault strikes, and how hard.

    The rates are probabilities a request, of which at most one strikes: their sum is at most 1.
    Those of ``server_error`` and ``server_error_added`` are probabilities a task.

    Attributes:
        drop_before: The connection is cut before the body is read.
        drop_body: It is cut in the middle of the request's body.
        drop_after: It is cut when all is processed, without an answer.
        drop_answer: It is cut in the middle of the answer's body.
        truncated: The answer ends well as HTTP, but its JSON is cut off.
        missing: A 200 leaves out ``missing_share`` of its results; half of those tasks exist.
        extra: A 200 has a result for a task that was not sent.
        repeated: A 200 has one result twice.
        contradicted: A 200 has a task twice, with different statuses.
        throttled: 429 with Retry-After in seconds.
        throttled_date: 429 with Retry-After as an HTTP date.
        throttled_bare: 429 without Retry-After.
        busy: 503 without Retry-After, as recorded.
        busy_retry_after: 503 with Retry-After in seconds.
        timed_out: 500 OperationTimedOut; ``partial_share`` of the tasks were added.
        bad_gateway: 502 with a page of HTML; ``partial_share`` of the tasks were added.
        slow: The answer comes ``slow_s`` after all is processed.
        late: The connection is cut, and the request is processed ``late_s`` afterwards.
        server_error: A task is answered with ServerError and not added.
        server_error_added: A task is answered with ServerError, but it was added.
        missing_share: How many of the results the fault ``missing`` takes away.
        partial_share: How many tasks are added by a request that is answered with a failure; by
            one that is throttled only if the switch ``throttled_adds`` says so.
        retry_after_s: What Retry-After says.
        slow_s: See ``slow``.
        late_s: See ``late``.
        latency_s: How long every request waits to be processed.
        proxy_bytes_max: Bodies above it are refused by a 413 with a page of HTML, as if a proxy
            stood in between; None for no proxy.
        run_tasks: Tasks are complete as soon as they are added, and so is a job that waits for
            that, between two requests. Otherwise they stay active.
        everywhere: The rates strike every operation; otherwise only add collection.
    """

    drop_before: float = 0.0
    drop_body: float = 0.0
    drop_after: float = 0.0
    drop_answer: float = 0.0
    truncated: float = 0.0
    missing: float = 0.0
    extra: float = 0.0
    repeated: float = 0.0
    contradicted: float = 0.0
    throttled: float = 0.0
    throttled_date: float = 0.0
    throttled_bare: float = 0.0
    busy: float = 0.0
    busy_retry_after: float = 0.0
    timed_out: float = 0.0
    bad_gateway: float = 0.0
    slow: float = 0.0
    late: float = 0.0
    server_error: float = 0.0
    server_error_added: float = 0.0
    missing_share: float = 0.1
    partial_share: float = 0.5
    retry_after_s: int = 1
    slow_s: float = 1.0
    late_s: float = 1.0
    latency_s: float = 0.0
    proxy_bytes_max: int | None = None
    run_tasks: bool = False
    everywhere: bool = False

    def __post_init__(self) -> None:
        for name in ("latency_s", "slow_s", "late_s", "retry_after_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it is a number of seconds from 0 on")
        per_task = {
            "server_error": self.server_error,
            "server_error_added": self.server_error_added,
        }
        for rates in (per_task, dict(self.rates())):
            for name, rate in rates.items():
                if not 0.0 <= rate <= 1.0:
                    raise ValueError(f"the rate {name} is {rate:g}; a rate is 0 to 1")
            total = sum(rates.values())
            if total > 1.0 + 1e-9:  # Ten times 0.1 is a little more than 1.
                raise ValueError(f"the rates add up to {total:g}; at most one fault strikes")

    def rates(self) -> Iterator[tuple[Fault, float]]:
        """Each fault of a request, and its probability."""
        return zip(_FAULTS, _rates_of(self), strict=True)

    def draw(self, random: Random) -> Fault | None:
        """Draw the fault that strikes one request."""
        left = random.random()
        for fault, rate in self.rates():
            left -= rate
            if left < 0.0:
                return fault
        return None


@dataclass(frozen=True, slots=True)
class TaskFault:
    """What goes wrong with one task; the rest of its collection is not touched.

    Attributes:
        status: As on the wire: ``ServerError``, ``ClientError``, or what no service says.
        code: The error's code.
        added: Whether the task is added all the same.
        values: The error's details.
    """

    status: str
    code: str
    added: bool = False
    values: tuple[ErrorDetail, ...] = ()

    @property
    def kind(self) -> str:
        """What to count it as: the rate it stands for, be it scripted, or else its status."""
        if self.status != "ServerError":
            return self.status
        return "server_error_added" if self.added else "server_error"

    @classmethod
    def draw(cls, faults: Faults, code: str, random: Random) -> "TaskFault | None":
        """Draw the fault that strikes one task; the code is one, or ``any``."""
        if faults.server_error == faults.server_error_added == 0.0:
            return None
        at = random.random()
        if at >= faults.server_error + faults.server_error_added:
            return None
        drawn = random.choice(SERVER_ERROR_CODES)
        code = drawn if code == "any" else code
        return cls("ServerError", code, added=at >= faults.server_error)


class TaskScript(Protocol):
    """Says what goes wrong with a task, each time it is sent; None for nothing."""

    def __call__(self, task_id: str, /) -> TaskFault | None:
        """Look at a task's ID, spelled as it was sent."""
