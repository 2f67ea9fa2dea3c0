"""How much the service can do at once, and what it says to what is more.

A request is asked about once, when its body is there. It goes through

    a link      bodies pass it one after the other
    a line      until there is a slot for it, and a token for each of its tasks; where as many
                wait as may, it is refused
    its work    in the slot, for as long as it takes

Times are worked out as soon as a request comes: nothing runs here. A request that waits keeps the
start that it was given, whatever changes meanwhile.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Literal

from bulksubmit.emulator.faults import Fault

SILENCE_S = 600.0  # Longer than any client waits.

_MB = 1e6  # Bytes.
_DAY_S = 86_400
_SILENCE_MS = SILENCE_S * 1000

# What is wanted in the place of 0.
_ABOVE_0 = {
    "parallel": "at least 1 is wanted, or inf for no limit; an outage is what takes nothing at all",
    "tasks_per_s": "more is wanted, or inf for no limit; an outage is what takes nothing at all",
    "link_mb_per_s": "more is wanted, or inf for no limit; an outage is what takes nothing at all",
    "burst_s": "more is wanted, such as 0.2; 1 if left out",
}

# The most that makes sense; what is not here may be infinite. What lasts longer than a silence is
# one, and a spread of 3 already has one request in six take twenty times the median.
_MOST = {
    "burst_s": _DAY_S,
    "latency_ms": _SILENCE_MS,
    "latency_spread": 3.0,
    "per_task_ms": _SILENCE_MS,
    "per_mb_ms": _SILENCE_MS,
    "refusal_ms": _SILENCE_MS,
    "retry_after_s": _DAY_S,
    "server_error": 1.0,
}

_OUTAGES = {
    "500": Fault.TIMED_OUT,
    "502": Fault.BAD_GATEWAY,
    "drop": Fault.DROP_AFTER,
    "silence": Fault.DROP_AFTER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the service can do, for as long as it stays so.

    Attributes:
        parallel: Requests that it works on at once; infinite for any number.
        others_parallel: How many of these work for other clients.
        tasks_per_s: Tasks that it takes in, over time; infinite for any number.
        burst_s: How many seconds' worth of tasks it takes in at once.
        waits: Requests that may wait for the above; 0 to refuse them at once, infinite to refuse
            none.
        latency_ms: How long the work on a request takes, in the median.
        latency_spread: The standard deviation of that time's logarithm: 0 for none, 0.3 to
            0.6 as services have it.
        per_task_ms: How long each task takes on top.
        per_mb_ms: How long each million bytes of the body take on top.
        link_mb_per_s: Million bytes a second that reach the service.
        throttle: The status of a refusal.
        retry_after_s: What its Retry-After says; None for none. Also in an outage by 429 or 503.
        retry_after_date: Retry-After is a date; 429 only, so an outage by 503 says seconds.
        refusal_ms: How long a refusal takes; it needs no slot.
        outage: What becomes of every request, none of which adds anything: a status, ``drop``
            to cut the connection, ``silence`` to answer nothing.
        server_error: The share of tasks that are answered with ServerError and not added.

    Raises:
        ValueError: if a value makes no sense.
    """

    parallel: float = math.inf
    others_parallel: int = 0
    tasks_per_s: float = math.inf
    burst_s: float = 1.0
    waits: float = 0.0
    latency_ms: float = 100.0
    latency_spread: float = 0.0
    per_task_ms: float = 0.0
    per_mb_ms: float = 0.0
    link_mb_per_s: float = math.inf
    throttle: Literal[429, 503] = 429
    retry_after_s: int | None = None
    retry_after_date: bool = False
    refusal_ms: float = 20.0
    outage: Literal["none", "429", "500", "502", "503", "drop", "silence"] = "none"
    server_error: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int):
                self._check_bounds(field.name, value)
        for name in ("parallel", "waits"):
            value = getattr(self, name)
            if math.isfinite(value) and value != int(value):
                raise ValueError(f"{name} is {value:g}; a whole number or inf is wanted")
        self._check_others()
        self._check_retry_after()

    def _check_bounds(self, name: str, value: float) -> None:
        if math.isnan(value):
            raise ValueError(f"{name} is nan; a number is wanted")
        if value < 0:
            raise ValueError(f"{name} is {value:g}; it must not be below 0")
        if name in _ABOVE_0 and value == 0:
            raise ValueError(f"{name} is 0; {_ABOVE_0[name]}")
        most = _MOST.get(name, math.inf)
        if value > most:
            raise ValueError(f"{name} is {value:g}; 0 to {most:,g} is wanted")

    def _check_others(self) -> None:
        if self.others_parallel and math.isinf(self.parallel):
            raise ValueError(
                f"others_parallel is {self.others_parallel} where parallel has no limit; "
                "set parallel to more than that, or others_parallel to 0"
            )
        if self.others_parallel >= self.parallel:
            raise ValueError(
                f"others_parallel is {self.others_parallel} and parallel {self.parallel:g}; "
                "at least one must be left"
            )

    def _check_retry_after(self) -> None:
        if not self.retry_after_date:
            return
        if self.retry_after_s is None:
            raise ValueError("retry_after_date is true without retry_after_s; set this, too")
        if self.throttle != 429 and self.outage != "429":  # noqa: PLR2004  HTTP's own number.
            raise ValueError("retry_after_date is true where throttle is 503; only a 429 has dates")

    @property
    def slots(self) -> int | None:
        """Requests that it works on at once for this client; None for any number."""
        return int(self.parallel) - self.others_parallel if math.isfinite(self.parallel) else None

    def work_s(self, tasks: int, body_bytes: int, random: Random) -> float:
        """Draw how long the work on a request takes."""
        latency_ms = self.latency_ms
        if self.latency_spread:
            latency_ms *= math.exp(self.latency_spread * random.gauss(0.0, 1.0))
        return (latency_ms + self.per_task_ms * tasks + self.per_mb_ms * body_bytes / _MB) / 1000

    @property
    def refusal(self) -> Fault:
        """How a request is refused, by throttling or by the outage."""
        if self.outage in _OUTAGES:
            return _OUTAGES[self.outage]
        status = self.throttle if self.outage == "none" else int(self.outage)
        if status == 503:  # noqa: PLR2004  HTTP's own number.
            return Fault.BUSY if self.retry_after_s is None else Fault.BUSY_RETRY_AFTER
        if self.retry_after_s is None:
            return Fault.THROTTLED_BARE
        return Fault.THROTTLED_DATE if self.retry_after_date else Fault.THROTTLED


@dataclass(frozen=True, slots=True)
class Phase:
    """A capacity, and from when on it is the service's.

    Attributes:
        at_s: Since the first request.
        capacity: What it can do.
    """

    at_s: float
    capacity: Capacity


@dataclass(frozen=True, slots=True)
class Turn:
    """What becomes of a request.

    Attributes:
        after_s: How long until it is processed, or refused.
        fault: How it is refused; None if it is processed.
        capacity: What the service can do at the time.
    """

    after_s: float
    fault: Fault | None
    capacity: Capacity


class Bottleneck:
    """Gives each request its turn, as far as the capacity goes."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        """Stand idle.

        Args:
            phases: What the service can do, and when; in the order of time, the first at 0.
        """
        assert phases[0].at_s == 0
        self._later = list(reversed(phases[1:]))
        self._capacity = phases[0].capacity
        self._began_s: float | None = None
        self._link_free_s = -math.inf
        self._slots_free_s = [-math.inf] * (self._capacity.slots or 0)  # A heap; see _resize().
        self._tokens, self._filled_s = math.inf, -math.inf
        self._starts_s: list[float] = []  # A heap of those that wait.

    def take(self, tasks: int, body_bytes: int, *, now_s: float, random: Random) -> Turn:
        """Give a request its turn.

        Args:
            tasks: How many it holds.
            body_bytes: The size of its body.
            now_s: When its body was there; never earlier than at the call before.
            random: Where chance comes from.
        """
        capacity = self._capacity_at(now_s)
        refusal_s = capacity.refusal_ms / 1000
        if capacity.outage != "none":
            after_s = SILENCE_S if capacity.outage == "silence" else refusal_s
            return Turn(after_s, capacity.refusal, capacity)
        arrives_s = self._arrive(body_bytes, now_s)
        starts_s = max(arrives_s, self._tokens_s(tasks, arrives_s))
        if self._slots_free_s:
            starts_s = max(starts_s, self._slots_free_s[0])
        while self._starts_s and self._starts_s[0] <= arrives_s:
            heapq.heappop(self._starts_s)
        if starts_s > arrives_s:
            if len(self._starts_s) >= capacity.waits:
                return Turn(arrives_s + refusal_s - now_s, capacity.refusal, capacity)
            heapq.heappush(self._starts_s, starts_s)
        self._tokens -= tasks
        ends_s = starts_s + capacity.work_s(tasks, body_bytes, random)
        if self._slots_free_s:
            heapq.heapreplace(self._slots_free_s, ends_s)
        return Turn(ends_s - now_s, None, capacity)

    def _capacity_at(self, now_s: float) -> Capacity:
        if self._began_s is None:
            self._began_s = now_s
        while self._later and self._began_s + self._later[-1].at_s <= now_s:
            capacity = self._later.pop().capacity
            self._tokens_s(0, max(now_s, self._filled_s))
            self._resize(capacity.slots or 0, now_s)
            self._capacity = capacity
        return self._capacity

    def _resize(self, slots: int, now_s: float) -> None:
        """Have so many slots.

        Fewer: those that come free first are gone, so that as many keep working as did, and
        nothing new begins before there are fewer than ``slots`` of them.
        """
        free_s = sorted(self._slots_free_s)
        more = slots - len(free_s)
        self._slots_free_s = [now_s] * more + free_s if more > 0 else free_s[-more:]
        heapq.heapify(self._slots_free_s)

    def _arrive(self, body_bytes: int, now_s: float) -> float:
        """When the whole body is through the link."""
        rate = self._capacity.link_mb_per_s
        if math.isinf(rate):
            return now_s
        self._link_free_s = max(self._link_free_s, now_s) + body_bytes / _MB / rate
        return self._link_free_s

    def _tokens_s(self, tasks: int, at_s: float) -> float:
        """When there is a token for each task; for more tasks than a burst has, as many."""
        rate = self._capacity.tasks_per_s
        if math.isinf(rate):
            self._tokens = math.inf
            return at_s
        burst = rate * self._capacity.burst_s
        since_s = max(0.0, at_s - self._filled_s)  # Once a link is gone, bodies come sooner.
        self._tokens = min(burst, self._tokens + rate * since_s)
        self._filled_s = at_s
        return at_s + max(0.0, min(tasks, burst) - self._tokens) / rate
