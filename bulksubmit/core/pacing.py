"""How many attempts may be in flight, and how closely they may follow each other.

Numbers in, numbers out: the service tells its pace by what it answers, and how soon.

    window    how many attempts in flight the service answers well, a real number. As many as that,
              rounded up, may be in flight; once the service has throttled, attempts also start
              at least (time of a reply / window) apart. So 15.4 is less than 16, and 0.1 is one
              attempt, and then a pause of nine times as long as it took.
    round     as many clean replies as the window is wide, to attempts sent since the last change:
              they say what this window does. One change a round.
    base      what a reply takes when nothing waits in line
    queued    how many of the window wait in line, by how much longer than the base replies take

    at first               double each round, up to the first evidence
    throttled, timed out   cut by a ratio. If the window had just been raised, what was clean
                           before is the *ceiling*; otherwise somebody else needs room, and gets it
    too many queued        for two rounds: cut to what the base gives room for. If that does not
                           help, the service has become slower: the base rises, and the window
                           goes back
    clean, below the       close part of the gap to just below it, each round
    ceiling
    clean, at the ceiling  some 100 replies later try a little more; each clean round beyond it
                           doubles the step: the service has become faster
    nothing gets through   down to one; then double up to where it was

Evidence counts only if the window was used: a slow source says nothing about the service. Of the
algorithms that ``benchmarks/`` compares over all scenarios, this one did best; the numbers below
were found there, too.
"""

import math

import msgspec

from bulksubmit.core.events import LimitChanged, Observer
from bulksubmit.core.limits import TASKS_MAX
from bulksubmit.core.model import Answered, Attempt, Learnt, Lost, Reply, Throttled

WINDOW_START = 1.0
WINDOW_MIN = 0.01

# A cut takes 0.025 times the window's root of it, so that of two submitters the larger one gives
# more way. The first evidence comes after a doubling; what comes before a round was clean again
# says that the cut was too small.
CUT_PER_ROOT, CUT_LEAST, CUT_MOST = 0.025, 0.05, 0.15
CUT_FIRST, CUT_AGAIN = 0.5, 0.25

BELOW_CEILING = 0.97
GAP_SHARE = 0.42
BACK_TO = 0.9  # Of a window that was left behind; the rest by evidence.

# Trying more costs one or two throttled replies, once in so many clean ones; it is fewer for a
# small window, so that the smaller of two submitters grows faster. Where replies are few, the
# time counts instead.
TRY_REPLIES, TRY_REPLIES_PER_WINDOW, TRY_S = 100, 5, 25.0
# Two submitters that try equally often come to equal shares. That somebody else is there shows
# when more is refused than was tried.
TRY_SHARED_S, SHARED_S, SHARED_MIN = 8.0, 60.0, 3.0
STEP, STEP_SHARE, STEP_MIN = 0.5, 0.2, 0.1
BURST_STEPS, BURST_MAX = 1.3, 2.0  # One step, and not two, of a small window.

# So few may have been refused while it doubles, because somebody else was too many. A submitter
# that comes late would not get off the ground: it kept 2 % of the tasks, not half.
REFUSED_FEW, REFUSED_SHARE = 3, 0.34

# In a row: more is no matter of how many are in flight.
FAILURES_FEW = 4.0

# So many in line are wanted: enough to be seen. Twice as many are too many. A number, not a
# share: two submitters in one line then hold about as many places each.
QUEUED, QUEUED_SHARE = 2.0, 0.08
SLOW_CUT_LEAST, SLOW_CUT_MOST = 0.25, 0.5
HELPED = 0.5  # Of what shorter replies were to be expected.
# A line that is neither short nor long may be none: after so long, see if fewer are answered
# sooner. Each time that they are, the next look is later.
LOOK_S_MIN, LOOK_S_MAX = 5.0, 80.0

ROUND_REPLIES, ROUND_REPLIES_DOUBLING = 8, 2
ROUND_S_MIN = 0.1  # On a fast line; more changes a second would be noise.

PAUSE_S_MAX = 20.0


class MaxRate:
    """At most so many tasks a second, whatever else is true."""

    # Timers fire late by some milliseconds; what is lost so may be made up, 1 % of ten seconds.
    CREDIT_S = 0.1
    REQUEST_S = 0.2  # What a request takes of the rate, lest it be seen: 2 % of ten seconds.

    def __init__(self, tasks_per_s: float) -> None:
        """Start with no credit.

        Args:
            tasks_per_s: The most; infinite for no bound.
        """
        self._tasks_per_s = tasks_per_s
        self._next_s = -math.inf
        self._last_tasks = 0

    def bound_to(self, tasks_per_s: float, now_s: float) -> None:
        """From now on at most so many a second, as a share of what several may send.

        The first request waits for its time, too: whoever had this share before has had his.
        """
        self._tasks_per_s = tasks_per_s
        if math.isinf(self._next_s) and math.isfinite(tasks_per_s):
            self._next_s = now_s + self.REQUEST_S

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, or later."""
        return max(now_s, self._next_s)

    def tasks_max(self, now_s: float) -> int:
        """How many tasks a request may hold.

        More than REQUEST_S of the rate while the rate is not reached: where few requests can be
        in flight, small ones would make it much less. Once it is, a tenth less each time.
        """
        if math.isinf(self._tasks_per_s):
            return TASKS_MAX
        idle_s = 0.0 if math.isinf(self._next_s) else max(0.0, now_s - self._next_s)
        tasks = max(
            self.REQUEST_S * self._tasks_per_s,
            0.9 * self._last_tasks + min(idle_s * self._tasks_per_s, TASKS_MAX),
        )
        return max(1, int(min(tasks, TASKS_MAX)))

    def sent(self, tasks: int, now_s: float) -> None:
        """So many tasks go."""
        self._last_tasks = tasks
        least_s = now_s if math.isinf(self._next_s) else now_s - self.CREDIT_S
        self._next_s = max(self._next_s, least_s) + tasks / self._tasks_per_s


class FixedLimit:
    """As many attempts in flight as the user says."""

    bound = "user"

    def __init__(self, value: int, *, rate: MaxRate | None = None) -> None:
        """Fix it.

        Args:
            value: At least 1.
            rate: On the tasks sent; None for no bound.
        """
        assert value >= 1
        self.value = value
        self._rate = rate or MaxRate(math.inf)

    def bound_to(self, most: int) -> None:
        """From now on as many as this."""
        self.value = most

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, or later."""
        return self._rate.opens_s(now_s)

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:  # noqa: ARG002
        """An attempt goes."""
        self._rate.sent(len(attempt.tasks), now_s)

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:
        """A reply changes nothing."""


class _Round:
    """What the replies to the attempts came to that were sent since a change.

    By their numbers: what goes at the very time of a change may have gone before it or after.
    """

    def __init__(self, since_s: float, sent: int) -> None:
        self.since_s, self._sent = since_s, sent
        self.used = False  # The window was full, or the pace was kept: more would have gone.
        self.clean = self.refused = 0
        self._timed, self._sum_s, self._squares = 0, 0.0, 0.0

    def has(self, attempt: Attempt) -> bool:
        """Whether an attempt is one of them."""
        return attempt.number > self._sent

    def time(self, reply_s: float) -> None:
        """A clean reply took so long."""
        self._timed += 1
        self._sum_s += reply_s
        self._squares += reply_s * reply_s

    @property
    def mean_s(self) -> float:
        """How long they took; 0 if none is a measure."""
        return self._sum_s / self._timed if self._timed else 0.0

    @property
    def error(self) -> float:
        """The standard error of the mean, as a share of it."""
        if self._timed < 2 or not self._sum_s:  # noqa: PLR2004  One has no spread.
            return 1.0
        variance = max(0.0, self._squares / self._timed - self.mean_s**2)
        return math.sqrt(variance / self._timed) / self.mean_s

    @property
    def few_refused(self) -> bool:
        """Whether so few were refused that somebody else may have been too many."""
        return self.refused < REFUSED_FEW or self.refused < REFUSED_SHARE * (
            self.refused + self.clean
        )


class _Slowed(msgspec.Struct, frozen=True):
    """A cut because replies had slowed.

    Attributes:
        before: The window before the first such cut in a row.
        ceiling: Then.
        goal: Then.
        window: The window before this one.
        reply_s: How long replies took then.
    """

    before: float
    ceiling: float
    goal: float
    window: float
    reply_s: float

    def helped_s(self, window: float) -> float:
        """How long replies take at most, at this smaller window, if there was a line."""
        return self.reply_s * (1.0 - HELPED * (1.0 - window / self.window))


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
        rate: MaxRate | None = None,
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
        self.bound = "finding" if most > WINDOW_START else "user"
        self._most, self._rate, self._observer = most, rate or MaxRate(math.inf), observer
        self._goal = math.inf  # Doubles up to here; infinite until the first evidence.
        self._ceiling = math.inf
        self._step = 0.0  # Of the last rise beyond the ceiling; 0 while below.
        self._tried = WINDOW_START  # The window before the first of these.
        self._proven = WINDOW_START  # The window at the end of the last clean round.
        self._cuts = 0  # Since then.
        self._clean_replies = 0  # Since more was too much.
        self._tried_s = -math.inf  # When that was.
        self._shared_s = -math.inf  # When more was refused than was tried.
        self._failures = 0  # Since the last clean reply.
        self._failing = False
        self._throttled = False  # Ever: attempts are paced from then on.
        self._base_s = self._reply_s = 0.0
        self._slow_rounds = 0  # In a row.
        self._look_s = LOOK_S_MIN
        self._slowed: _Slowed | None = None  # The cut that the next round is to judge.
        self._tasks_max = 1
        self._next_s = -math.inf
        self._sent = 0  # The last attempt's number.
        self._round, self._changed_s = _Round(-math.inf, 0), -math.inf

    @property
    def value(self) -> int:
        """How many may be in flight: the window, rounded up."""
        return max(1, min(self._most, math.ceil(self.window - 1e-9)))

    # --- Sending ---------------------------------------------------------------------------

    @property
    def learnt(self) -> Learnt:
        """What was found out."""
        return Learnt(self.window, self._ceiling < math.inf, self._throttled)

    def go_on(self, learnt: Learnt) -> None:
        """Begin where another has ended, whose place this one takes."""
        self.window = self._tried = self._proven = max(WINDOW_MIN, learnt.window)
        self._throttled = learnt.throttled
        if learnt.found:
            self._ceiling, self._goal = learnt.window / BELOW_CEILING, 0.0

    def bound_to(self, most: int) -> None:
        """From now on never more than this; what was found out about the service stays."""
        self._most = most
        if self.bound == "user" and self.window < most:
            self.bound = "finding"

    def opens_s(self, now_s: float) -> float:
        """When the next attempt may go: now, or later."""
        return max(self._rate.opens_s(now_s), self._next_s if self._paced else now_s)

    @property
    def _paced(self) -> bool:
        return self._throttled and self._reply_s > 0.0 and self.window < self._most

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:
        """An attempt goes, as one of so many in flight."""
        self._rate.sent(len(attempt.tasks), now_s)
        self._sent = attempt.number
        pause_s = min(PAUSE_S_MAX, self._reply_s / self.window)
        if in_flight >= self.value or (self._paced and now_s <= self._next_s + pause_s / 2):
            self._round.used = True
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
                self._failed(attempt, now_s, "throttled")
            case Lost(by_load=True):
                self._failed(attempt, now_s, "timed out")
            case Lost() | Answered():
                self._failed(attempt, now_s, None)

    def _failed(self, attempt: Attempt, now_s: float, by_load: str | None) -> None:
        self._failures += 1
        if self._failing:
            return  # How many are too many cannot be learnt from it.
        if self._failures > max(FAILURES_FEW, 2.0 * self.window):
            self._failing, self.bound = True, "failing"
            self._go_back_to(self._proven)
            self._change(min(1.0, self.window), "nothing gets through", now_s)
        elif by_load and self._round.has(attempt):
            self._round.refused += 1
            if not (self._doubling and self._round.few_refused):
                self._cut(by_load, now_s)

    def _go_back_to(self, window: float) -> None:
        """Up to where it was, fast, once it goes well again."""
        if self._goal < math.inf:
            self._ceiling, self._goal, self._step = window, BACK_TO * window, 0.0

    def _cut(self, reason: str, now_s: float) -> None:
        window = self.window
        if self._goal == math.inf:
            cut = CUT_FIRST
        elif self._cuts and self._round.clean < max(window, ROUND_REPLIES / 2):
            cut = CUT_AGAIN
        elif self._step:
            cut = CUT_LEAST
        else:
            cut = max(CUT_LEAST, min(CUT_MOST, CUT_PER_ROOT * math.sqrt(window)))
        if self._step:
            # What was clean for a moment may have been a burst's. With few in flight that would
            # be many throttled replies for so few: nearer to what was clean for long.
            short = self._tried < BURST_MAX and self._proven < BURST_STEPS * self._tried
            long = 1.0 if short else min(0.5, 1.0 / self._tried)
            self._ceiling = self._tried**long * self._proven ** (1.0 - long) / BELOW_CEILING
            self._clean_replies, self._tried_s = 0, now_s
        elif self._ceiling < math.inf:
            # Nothing was tried: somebody else needs room, and gets half of the cut for good.
            self._ceiling = window * (1.0 - cut / 2)
            self._shared_s = now_s if window > SHARED_MIN else self._shared_s
        else:
            self._ceiling = window
        self._throttled, self.bound = True, "throttled"
        self._cuts += 1
        self._goal, self._step = 0.0, 0.0
        new = (1.0 - cut) * min(window, self._ceiling)
        self._change(max(WINDOW_MIN, new), reason, now_s)

    def _clean(self, attempt: Attempt, now_s: float) -> None:
        if self._failing:
            self._failing, self.bound = False, "finding"
        self._failures = 0
        self._clean_replies += 1
        round_ = self._round
        if not round_.has(attempt):
            return  # It says nothing about the window as it is now.
        round_.clean += 1
        # A request that is not full is answered sooner: no measure for the others.
        self._tasks_max = max(self._tasks_max, len(attempt.tasks))
        if 2 * len(attempt.tasks) > self._tasks_max:
            reply_s = now_s - attempt.sent_s
            round_.time(reply_s)
            self._reply_s += (reply_s - self._reply_s) / (16 if self._base_s else 1)
        least, least_s = (
            (ROUND_REPLIES_DOUBLING, 0.0) if self._doubling else (ROUND_REPLIES, ROUND_S_MIN)
        )
        if round_.clean >= max(self.window, least) and now_s >= round_.since_s + least_s:
            self._end_round(now_s)

    @property
    def _doubling(self) -> bool:
        return self.window < self._goal

    def _end_round(self, now_s: float) -> None:
        round_ = self._round
        mean_s = round_.mean_s or self._base_s
        if self._slowed and mean_s > self._slowed.helped_s(self.window):
            self._no_line(self._slowed, mean_s)
        self._base_s = self._base_s or mean_s
        queued = self.window * (1.0 - self._base_s / mean_s) if mean_s else 0.0
        error = self.window * round_.error
        room = max(QUEUED, QUEUED_SHARE * self.window) + error
        can_slow = round_.used and self.window > 1.0
        fitting = self.window - queued + room
        if can_slow and queued > 2 * room:
            # At first the line was still filling: the next round says how long it is.
            self._slow_rounds += 1
            if self._slowed or self._slow_rounds > 1:
                self._slow_down(mean_s, fitting, now_s)
            else:
                self._round = _Round(now_s, self._sent)
            return
        if self._slowed:
            self._look_s = min(LOOK_S_MAX, 2 * self._look_s)
        self._cuts, self._slow_rounds, self._slowed, self._proven = 0, 0, None, self.window
        if queued < (room if self._doubling else 2 * error):
            # Down faster than up: a line that grows slowly must not pass for the base.
            slowly = 2 if self._doubling else 8 if queued < 0.0 else 16
            self._base_s += (mean_s - self._base_s) / slowly
        if round_.used and queued < room:
            self._rise(now_s)
        elif can_slow and now_s >= self._changed_s + self._look_s:
            self._slow_down(mean_s, fitting, now_s)
        else:
            self.bound = "slow" if can_slow else self.bound
            self._round = _Round(now_s, self._sent)

    def _no_line(self, slowed: _Slowed, mean_s: float) -> None:
        """Fewer at once did not help: the service takes so long now, whatever we do."""
        self._base_s, self._look_s = mean_s, LOOK_S_MIN
        self._ceiling = slowed.ceiling
        self._goal = max(slowed.goal, BACK_TO * slowed.before)

    def _slow_down(self, mean_s: float, fitting: float, now_s: float) -> None:
        first = self._slowed or _Slowed(self.window, self._ceiling, self._goal, 0.0, 0.0)
        self._slowed = msgspec.structs.replace(first, window=self.window, reply_s=mean_s)
        self._ceiling, self._goal, self._step = fitting, 0.0, 0.0
        self._clean_replies, self._tried_s = 0, now_s
        self.bound = "slow"
        least, most = (1.0 - SLOW_CUT_MOST) * self.window, (1.0 - SLOW_CUT_LEAST) * self.window
        self._change(max(1.0, least, min(most, fitting)), "replies slowed", now_s)

    def _rise(self, now_s: float) -> None:
        window, target = self.window, BELOW_CEILING * self._ceiling
        new, reason = window, "headroom"
        if self._doubling:
            new, reason = min(2 * window, self._goal), "doubling"
        elif window < 0.99 * target:
            new = min(target, window + max(STEP_MIN, GAP_SHARE * (target - window)))
        elif self._step or self._tries(now_s):
            self._tried = self._tried if self._step else window
            self._step = 2 * self._step or max(STEP_MIN, min(STEP, STEP_SHARE * window))
            new = window + min(self._step, window)
            self._ceiling = max(self._ceiling, new)
        new = min(new, float(self._most))
        if new > window:
            self.bound = "user" if new == self._most else self.bound
            self._change(new, reason, now_s)
        else:
            self._round = _Round(now_s, self._sent)

    def _tries(self, now_s: float) -> bool:
        """Whether it is time to try more."""
        wanted = TRY_REPLIES + TRY_REPLIES_PER_WINDOW * self.window
        since_s = now_s - self._tried_s
        if now_s < self._shared_s + SHARED_S:
            return since_s >= TRY_SHARED_S
        return self._clean_replies >= wanted or since_s >= TRY_S

    def _change(self, new: float, reason: str, now_s: float) -> None:
        old, self.window, self._changed_s = self.window, new, now_s
        self._round = _Round(now_s, self._sent)
        if round(old, 2) != round(new, 2):
            self._observer(LimitChanged(round(old, 2), round(new, 2), reason))
