"""When to send again, and when to send at all: numbers in, numbers out.

    backoff   full jitter: a random part of min(cap, base * 2^(n-1)), rounded up to a common grid
    hold      after as many pressure replies in a row as attempts were in flight, everything
              waits but one probe: 0.5 s later, then 1, 2, … 15, each less up to a half of it
    budget    sending pressure tasks again costs a token: 10 at the start, 1 a second,
              0.2 for each clean reply, the token back if what was sent again came through,
              never more than 100

*Pressure* is a reply that settles nothing: throttled, lost, or servererror for every task.
Clients without such a brake send 230 to 480 requests a second to a service that is down.
"""

import math
from collections.abc import Sequence
from random import Random

import msgspec

from bulksubmit.core.model import Task
from bulksubmit.core.partitioner import request_bytes

# Due times fall on this grid, so that the last few tasks travel together: measured at 1 %
# servererror, 1.013 to 1.025 times the minimum of requests with it, 1.1 to 1.6 without.
GRID_S = 0.25

PROBE_S_MIN, PROBE_S_MAX = 0.5, 15.0

BUDGET_START = 10.0
BUDGET_PER_S = 1.0
BUDGET_PER_CLEAN_REPLY = 0.2
BUDGET_MAX = 100.0  # One volley of the most attempts that the service advises to have in flight.


def on_grid(at_s: float) -> float:
    """The first point of the common grid at or after a time."""
    return math.ceil(at_s / GRID_S) * GRID_S


class Backoff(msgspec.Struct, frozen=True):
    """Exponential backoff with full jitter.

    Attributes:
        base_s: The bound of the first delay.
        cap_s: The bound of any delay.
    """

    base_s: float
    cap_s: float

    def delay_s(self, failures: int, random: Random) -> float:
        """How long to wait after this many failures in a row, 1 or more."""
        doublings = min(failures - 1, 32)  # 2^32 is beyond any cap, and still a float.
        return random.random() * min(self.cap_s, self.base_s * 2.0**doublings)


# A servererror is about one task, not about the service: with a cap of 30 s a run of 6.6 s
# lasted 65 s, waiting for its last few tasks.
SERVER_ERROR_BACKOFF = Backoff(base_s=0.1, cap_s=0.5)
PRESSURE_BACKOFF = Backoff(base_s=0.5, cap_s=30.0)


class RetryBudget:
    """How much resending under pressure the run may do."""

    def __init__(self) -> None:
        self._tokens = BUDGET_START
        self._counted_s = -math.inf

    def earn(self, *, resent: bool) -> None:
        """A clean reply has come.

        Args:
            resent: Whether the attempt held tasks that were sent before. Such a reply brings a
                whole token back: when nothing but such tasks is left, a run would crawl at
                1.25 collections a second through a service that is well again. (100,000 tasks,
                50 requests/s taken and the rest answered 429: 23 s so, and 732 s otherwise.)
        """
        earned = 1.0 if resent else BUDGET_PER_CLEAN_REPLY
        self._tokens = min(BUDGET_MAX, self._tokens + earned)

    def ready_s(self, now_s: float) -> float:
        """When the next token can be spent: now, or later."""
        self._count(now_s)
        return now_s + max(0.0, 1.0 - self._tokens) / BUDGET_PER_S

    def spend(self, now_s: float) -> None:
        """Take one token, which must be there."""
        self._count(now_s)
        # A token that is ready at t may, in floating point, lack a hair at t.
        assert self._tokens > 1.0 - 1e-6
        self._tokens = max(0.0, self._tokens - 1.0)

    def _count(self, now_s: float) -> None:
        if math.isfinite(self._counted_s):
            earned = (now_s - self._counted_s) * BUDGET_PER_S
            self._tokens = min(BUDGET_MAX, self._tokens + earned)
        self._counted_s = now_s


class Hold:
    """Whether anything at all may be sent.

    A Retry-After closes it until its time. A streak of pressure closes it for all but one
    probe at a time, until a clean reply.

    Attributes:
        reason: Why it is closed, for the operator.
        streak: How many pressure replies have come in a row.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._floor_s = -math.inf
        self.streak = 0
        self._streak_max = 0
        self._probe_s = PROBE_S_MIN
        self._probe_at_s: float | None = None  # None while no streak holds the run.
        self._probe: int | None = None  # The attempt that probes, while it is in flight.
        self.reason = ""

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, later, or never before the probe's reply."""
        if self._probe is not None:
            return math.inf
        return max(now_s, self._floor_s, self._probe_at_s or now_s)

    @property
    def probing(self) -> bool:
        """Whether the next attempt is a probe, after which nothing goes until its reply."""
        return self._probe_at_s is not None

    @property
    def asked(self) -> bool:
        """Whether it is a Retry-After that closes it, rather than a probe's pause or reply."""
        return self._probe is None and self._floor_s >= (self._probe_at_s or -math.inf)

    def sent(self, attempt: int) -> None:
        """An attempt has gone; while holding, it is the probe."""
        if self.probing:
            self._probe = attempt

    def floor(self, until_s: float, reason: str) -> None:
        """The service asks all senders to wait."""
        if until_s > self._floor_s:
            self._floor_s, self.reason = until_s, reason

    def clean(self) -> None:
        """The service works: hold no longer."""
        self.streak = 0
        self._probe_s, self._probe_at_s, self._probe = PROBE_S_MIN, None, None

    def pressure(self, attempt: int, reason: str, *, in_flight: int, now_s: float) -> None:
        """A pressure reply has come, with this many attempts in flight, itself included."""
        self.streak += 1
        if self.streak == 1:
            self._streak_max = in_flight
        if self._probe == attempt:
            self._probe_s = min(PROBE_S_MAX, 2 * self._probe_s)
        elif self.probing or self.streak < self._streak_max:
            return  # A late reply from before the hold, or too few yet.
        self._probe, self.reason = None, reason
        self._probe_at_s = now_s + self._probe_s * (0.5 + 0.5 * self._random.random())


class BytesBound:
    """The bound on a request's body, which 413 lowers and clean replies raise again.

    A first refusal takes it to 95 % of what was refused: it may have been about one odd task. If
    that is refused as well, something in between takes less than the service, and is found by
    halving the distance to what was taken: with many requests in flight each wrong guess costs
    as many.

    Attributes:
        value: The bound in bytes now.
    """

    LOWERED = 0.95
    RAISED = 1.05
    # Replies to a rise. A gateway with a smaller limit than the service's is met again at each
    # rise, so that the next one waits twice as long.
    PATIENCE_MIN, PATIENCE_MAX = 50, 3200

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._patience = self.PATIENCE_MIN
        self._clean_replies = 0
        self._taken = 0  # The largest body that was taken since the bound was lowered first.
        self._risen = False  # Since the last refusal.
        self.value = bytes_max

    def refused(self, body_bytes: int) -> None:
        """A collection of this size was too large."""
        lowered = int(self.LOWERED * body_bytes)
        if self.value == self._bytes_max:
            self._taken, self._patience = 0, self.PATIENCE_MIN
        elif self._taken < body_bytes <= self.value:
            lowered = min(lowered, (self._taken + body_bytes) // 2)
            if self._risen:
                self._patience = min(self.PATIENCE_MAX, 2 * self._patience)
        self.value = min(self.value, lowered)
        self._clean_replies, self._risen = 0, False

    def clean(self, tasks: Sequence[Task]) -> None:
        """A collection was taken."""
        if self.value == self._bytes_max:
            return
        self._taken = max(self._taken, request_bytes(tasks))
        self._clean_replies += 1
        if self._clean_replies % self._patience == 0:
            self.value = min(self._bytes_max, int(self.RAISED * self.value))
            self._risen = True
