"""How many attempts may be in flight, and how closely they may follow each other.

Numbers in, numbers out: the service tells its pace by what it answers and how soon.

    window    how many attempts in flight the service answers well, a real number. As many as that,
              rounded up, may be in flight; once the service has throttled, attempts also start
              at least (time of a reply / window) apart. So 15.4 is less than 16, and 0.1 is one
              attempt, and then a pause of nine times as long as it took.
    round     as many clean replies as the window is wide, to attempts sent since the last change:
              they say what this window does. One change a round.
    base      what a reply takes when nothing waits in line

    at first             double each round, up to the first evidence
    throttled, timed out cut by a ratio, and the window that was too much is the *ceiling*
    replies slowed       1.5 times the base and more: cut to what the base gives room for
    clean, below the ceiling   close a quarter of the gap to just below it, each round
    clean, at the ceiling      100 replies later try a little more; each clean round beyond it
                               doubles the step, since then the service has become faster
    nothing gets through       down to one; then double up to where it was

Evidence counts only if the window was used: a slow source says nothing about the service.
"""

import math
from typing import Protocol

from bulksubmit.core.events import LimitChanged, Observer
from bulksubmit.core.model import Answered, Attempt, Lost, Reply, Throttled

WINDOW_START = 1.0
WINDOW_MIN = 0.01

# Of the window, by one throttled reply; what follows before a round was clean cuts deeper.
CUT, CUT_AGAIN, CUT_FIRST = 0.9, 0.75, 0.5
BELOW_CEILING = 0.97
GAP_SHARE = 0.25

# A probe costs one or two throttled replies: fewer than 2 in 100.
PROBE_AFTER_REPLIES = 100
STEP_SHARE, STEP_MIN = 0.03, 0.1

SLOW, ROOM = 1.5, 1.2  # Times the base: from where it is too much, and up to where it may rise.

ROUND_REPLIES_MIN = 8
ROUND_S_MIN = 0.1  # On a fast line; more changes a second would be noise.

PAUSE_S_MAX = 20.0


class Rate(Protocol):
    """When the next attempt may go, by the user's will."""

    def opens_s(self, now_s: float) -> float:
        """Now, or later."""

    def sent(self, tasks: int, now_s: float) -> None:
        """So many tasks go."""


class MaxRate:
    """At most so many tasks a second, whatever else is true."""

    # Timers fire late by some milliseconds; what is lost so may be made up, 1 % of ten seconds.
    CREDIT_S = 0.1

    def __init__(self, tasks_per_s: float) -> None:
        """Start with no credit.

        Args:
            tasks_per_s: The most; infinite for no bound.
        """
        self._tasks_per_s = tasks_per_s
        self._next_s = -math.inf

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, or later."""
        return max(now_s, self._next_s)

    def sent(self, tasks: int, now_s: float) -> None:
        """So many tasks go."""
        least_s = now_s if math.isinf(self._next_s) else now_s - self.CREDIT_S
        self._next_s = max(self._next_s, least_s) + tasks / self._tasks_per_s


class FixedLimit:
    """As many attempts in flight as the user says."""

    bound = "user"

    def __init__(self, value: int, *, rate: Rate | None = None) -> None:
        """Fix it.

        Args:
            value: At least 1.
            rate: On the tasks sent; None for no bound.
        """
        assert value >= 1
        self.value = value
        self._rate = rate or MaxRate(math.inf)

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, or later."""
        return self._rate.opens_s(now_s)

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:  # noqa: ARG002
        """An attempt goes."""
        self._rate.sent(len(attempt.tasks), now_s)

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:
        """A reply changes nothing."""


class AdaptiveLimit:
    """As many attempts in flight as the service answers well; see the module's text.

    Attributes:
        window: The limit as a real number.
        bound: What keeps it from being higher: ``user``, ``finding`` (nothing yet), ``throttled``,
            ``slow``, ``failing``.
    """

    def __init__(
        self,
        most: int,
        *,
        rate: Rate | None = None,
        observer: Observer = lambda _: None,
    ) -> None:
        """Start low.

        Args:
            most: Never more than this, at least 1.
            rate: On the tasks sent; None for no bound.
            observer: Told of each change.
        """
        assert most >= 1
        self.window = WINDOW_START
        self.bound = "finding"
        self._most, self._rate, self._observer = most, rate or MaxRate(math.inf), observer
        self._doubles_to = math.inf
        self._ceiling = math.inf
        self._step = 0.0  # Of the last rise beyond the ceiling.
        self._throttled = False  # Ever: attempts are paced from then on.
        self._cuts = 0  # Since the last clean round.
        self._failures = 0  # In a row.
        self._before_failures = WINDOW_START
        self._clean_replies = 0  # Since the last cut.
        self._reply_s = 0.0  # Smoothed.
        self._base_s = 0.0
        self._slowed: tuple[float, float] | None = None  # Window and reply time at the first cut.
        self._tasks_max = 1
        self._next_s = -math.inf
        self._begin_round(-math.inf)

    @property
    def value(self) -> int:
        """How many may be in flight: the window, rounded up."""
        return max(1, min(self._most, math.ceil(self.window - 1e-9)))

    # --- Sending ---------------------------------------------------------------------------

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, or later."""
        return max(self._rate.opens_s(now_s), self._next_s if self._paced else now_s)

    @property
    def _paced(self) -> bool:
        return self._throttled and self._reply_s > 0.0 and self.window < self._most

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:
        """An attempt goes, as one of so many in flight."""
        self._rate.sent(len(attempt.tasks), now_s)
        pause_s = min(PAUSE_S_MAX, self._reply_s / self.window)
        if in_flight >= self.value or (self._paced and now_s <= self._next_s + pause_s / 2):
            self._used = True
        # What a timer is late may be made up, so that the rate is kept on the average.
        self._next_s = max(self._next_s, now_s - pause_s / 2) + pause_s

    # --- Replies ---------------------------------------------------------------------------

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:
        """A reply has come."""
        match reply:
            case Answered() if any(r.status.lower() != "servererror" for r in reply.results):
                self._clean(attempt, now_s)
            case Throttled(by_load=False):
                pass  # The job is closed for a while.
            case Throttled():
                self._failed(attempt, now_s, "throttled", by_load=True)
            case Lost(by_load=True):
                self._failed(attempt, now_s, "timed out", by_load=True)
            case Lost() | Answered():
                self._failed(attempt, now_s, "nothing gets through", by_load=False)

    def _failed(self, attempt: Attempt, now_s: float, reason: str, *, by_load: bool) -> None:
        if self._failures == 0:
            self._before_failures = self.window
        self._failures += 1
        self._clean_replies = 0
        if self._failures > max(2, self._before_failures) and self.window > 1.0:
            self._doubles_to = CUT * self._before_failures
            self.bound = "failing"
            self._change(1.0, "nothing gets through", now_s)
        elif by_load and attempt.sent_s >= self._round_s:
            self._cut(reason, now_s)

    def _cut(self, reason: str, now_s: float) -> None:
        self._throttled = True
        self.bound = "throttled"
        first = self._doubles_to == math.inf
        ratio = CUT_FIRST if first else CUT_AGAIN if self._cuts else CUT
        self._cuts += 1
        self._ceiling = self.window
        self._doubles_to, self._step = 0.0, 0.0
        self._change(max(WINDOW_MIN, ratio * self.window), reason, now_s)

    def _clean(self, attempt: Attempt, now_s: float) -> None:
        self._failures = 0
        self._clean_replies += 1
        if attempt.sent_s < self._round_s:
            return  # It says nothing about the window as it is now.
        self._replies += 1
        # A request that is not full is answered sooner: no measure for the others.
        self._tasks_max = max(self._tasks_max, len(attempt.tasks))
        if 2 * len(attempt.tasks) > self._tasks_max:
            reply_s = now_s - attempt.sent_s
            self._timed += 1
            self._timed_s += reply_s
            weight = max(1 / 16, 1 / self._timed) if not self._base_s else 1 / 16
            self._reply_s += (reply_s - self._reply_s) * weight
        doubling = self.window < self._doubles_to
        wanted = max(2 if doubling else ROUND_REPLIES_MIN, self.window)
        least_s = 0.0 if doubling else ROUND_S_MIN
        if self._replies >= wanted and now_s >= self._round_s + least_s:
            self._end_round(now_s)

    def _end_round(self, now_s: float) -> None:
        mean_s = self._timed_s / self._timed if self._timed else self._base_s
        if not self._base_s:
            self._base_s = mean_s
        used, ratio = self._used, mean_s / self._base_s if self._base_s else 1.0
        margin = 1.0 / math.sqrt(max(1, self._timed))
        if used and ratio > SLOW + margin and self.window > 1.0:
            self._slow_down(mean_s, now_s)
            return
        self._cuts = 0
        if ratio < 1.0:
            self._base_s += (mean_s - self._base_s) / 8
        elif ratio < 1.05:
            self._base_s += (mean_s - self._base_s) / 32
        if ratio < ROOM:
            self._slowed = None
        if used and ratio < ROOM + margin / 2:
            self._rise(now_s)
        else:
            self._begin_round(now_s)

    def _slow_down(self, mean_s: float, now_s: float) -> None:
        if (
            self._slowed
            and self.window <= 0.75 * self._slowed[0]
            and mean_s > 0.85 * self._slowed[1]
        ):
            # Fewer at once did not help: the service takes longer now, whatever we do.
            self._base_s, self._slowed = mean_s, None
            self._begin_round(now_s)
            return
        self._slowed = self._slowed or (self.window, mean_s)
        self._ceiling = self.window
        self._doubles_to, self._step = 0.0, 0.0
        self._clean_replies = 0
        self.bound = "slow"
        fitting = 1.1 * self.window * self._base_s / mean_s
        self._change(max(1.0, 0.5 * self.window, fitting), "replies slowed", now_s)

    def _rise(self, now_s: float) -> None:
        window, target = self.window, BELOW_CEILING * self._ceiling
        if window < self._doubles_to:
            new, reason = min(2 * window, max(self._doubles_to, window)), "doubling"
        elif window < 0.99 * target:
            new = min(target, window + max(STEP_MIN, GAP_SHARE * (target - window)))
            reason = "headroom"
        elif self._step or self._clean_replies >= PROBE_AFTER_REPLIES:
            self._step = 2 * self._step or max(STEP_MIN * min(1.0, window), STEP_SHARE * window)
            new, reason = window + min(self._step, window), "headroom"
            self._ceiling = max(self._ceiling, new)
        else:
            new, reason = window, ""
        new = min(new, float(self._most))
        if new > window:
            if new == self._most:
                self.bound = "user"
            self._change(new, reason, now_s)
        else:
            self._begin_round(now_s)

    def _change(self, new: float, reason: str, now_s: float) -> None:
        old, self.window = self.window, new
        self._begin_round(now_s)
        self._observer(LimitChanged(round(old, 2), round(new, 2), reason))

    def _begin_round(self, now_s: float) -> None:
        self._round_s = now_s
        self._replies = self._timed = 0
        self._timed_s = 0.0
        self._used = False
