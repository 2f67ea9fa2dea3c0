"""What limits the speed: the sum, by cause, of the time in which nothing can be sent.

The pool says when it begins to wait, and why; the time in between it works, which is CPU time.
Time is cut into slices of a second or more, and in each the machine comes first: waiting for a
reply looks the same whether it has not come, or lies in a socket because nobody had time to read.

    disk    a third of the slice was spent on writing
    CPU     nine tenths of a core were busy
    else    as the pool says
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from bulksubmit.core.events import RequestEnded
from bulksubmit.core.model import Why
from bulksubmit.observe.causes import Asked, Cause, advice, server_errors_advice

SLICE_S = 1.0
RECENT_S = 10.0
TOLD_S_MIN = 2.0  # What can be said of less than this is noise.
DISK_SHARE = 1 / 3
CPU_SHARE = 0.9
# Of the last replies; with so many bad ones they are behind all that is full, or has to wait.
BAD_SHARE, REPLIES = 0.05, 50
KNOWN_S_MIN = 10.0  # A rate is known well from so long at one cause, and no hold in between.
SERVER_ERRORS_SHARE = 0.2  # Of the tasks sent; with more, they are what to tell of.


class Limited(msgspec.Struct, frozen=True):
    """What limited the speed most.

    Attributes:
        cause: What.
        share: Of the time.
    """

    cause: Cause
    share: float


class Speed:
    """Sums up what the pool waits for.

    Attributes:
        asked: The user's bounds.
    """

    def __init__(
        self,
        asked: Asked,
        clock: Callable[[], float],
        *,
        rate_opens_s: Callable[[float], float] = lambda now_s: now_s,
        consumer_is_slow: Callable[[], bool] = lambda: True,
        disk_s: Callable[[], float] = lambda: 0.0,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """Start with nothing.

        Args:
            asked: The user's bounds.
            clock: The time in seconds; the pool's.
            rate_opens_s: When the user's bound on the rate lets the next tasks go.
            consumer_is_slow: Whether outcomes wait for it in line. Otherwise a place that
                outcomes still have is one that nobody had time to give back.
            disk_s: How long was spent on writing, up to now.
            cpu_s: The same of this process on any core.
        """
        self.asked = asked
        self._clock, self._rate_opens_s = clock, rate_opens_s
        self._consumer_is_slow = consumer_is_slow
        self._disk_s, self._cpu_s = disk_s, cpu_s
        self._state: Cause | None = None  # None before the pool's first word, and after its last.
        self._since_s = 0.0
        self._slice: defaultdict[Cause, float] = defaultdict(float)
        self._slice_from_s = self._disk_from_s = self._cpu_from_s = 0.0
        self._recent: deque[tuple[float, Mapping[Cause, float]]] = deque()  # By their ends.
        self._total: defaultdict[Cause, float] = defaultdict(float)
        self._reply, self._bad_share, self._bad = "", 0.0, Cause.FAILING
        self._full = False
        self._why: Why | None = None  # None while the pool does not wait.
        self._asked_s = 0.0  # Spent on waiting as long as the service asked to.
        # What was settled, now and when the slice began; and of the slices without a hold, by
        # what limited them most: seconds and tasks.
        self._settled = self._settled_from = 0
        self._slice_held = False
        self._known_s, self._known_tasks = defaultdict[Cause, float](float), Counter[Cause]()
        # Tasks, each time they were sent: all, those sent before, those refused with all others.
        self._sent = self._resent = self._pressed = 0

    # --- What happens --------------------------------------------------------------------------

    def wait(self, why: Why, bound: str, *, opens_s: float, now_s: float) -> None:
        """From now on the pool waits; see Stopwatch."""
        self._turn(self._cause(why, bound, opens_s, now_s), now_s)
        self._why = why
        self._slice_held = self._slice_held or why in {Why.ASKED, Why.HELD}

    def work(self, now_s: float) -> None:
        """From now on it sends."""
        self._turn(Cause.CPU, now_s)
        self._why = None

    def stop(self, now_s: float) -> None:
        """It sends nothing any more."""
        self._turn(None, now_s)
        self._why = None

    def memory(self, *, full: bool) -> None:
        """Whether the source has more, and there is no room for it in memory."""
        if full == self._full:
            return
        self._full = full
        if self._state in {Cause.SOURCE, Cause.BUFFER}:
            self._turn(Cause.BUFFER if full else Cause.SOURCE, self._clock())

    def ended(self, event: RequestEnded) -> None:
        """The reply to an attempt has come."""
        self._reply = event.reply
        bad = event.reply in {"throttled", "lost"}
        if bad:
            self._bad = Cause.THROTTLED if event.reply == "throttled" else Cause.FAILING
        self._bad_share += (bad - self._bad_share) / REPLIES
        self._sent += event.tasks
        self._resent += event.resent
        self._pressed += event.tasks if event.reply != "answered" else 0

    def settled(self, tasks: int) -> None:
        """So many more are settled."""
        self._settled += tasks

    def _cause(self, why: Why, bound: str, opens_s: float, now_s: float) -> Cause:
        match why:
            case Why.PACE if self._rate_opens_s(now_s) >= opens_s:
                return Cause.MAX_RATE
            case Why.PLACES if bound == "consumer" and not self._consumer_is_slow():
                return Cause.CPU
            case Why.PLACES | Why.PACE if bound != "user":
                return Cause(bound)
            case Why.PLACES | Why.PACE:
                return self._unless_bad(Cause.CONCURRENCY)
            case Why.ASKED:  # By a 429 as a rule, but a gateway may do so in an outage.
                return Cause.FAILING if self._reply == "lost" else Cause.THROTTLED
            case Why.HELD:  # So the last reply is one of those that settled nothing.
                return Cause.THROTTLED if self._reply == "throttled" else Cause.FAILING
            case Why.SOURCE:
                return self._unless_bad(Cause.BUFFER) if self._full else Cause.SOURCE
            case Why.RETRIES:
                return self._unless_bad(Cause.RETRIES)
            case Why.REPLIES:
                return Cause.REPLIES

    def _unless_bad(self, cause: Cause) -> Cause:
        return self._bad if self._bad_share > BAD_SHARE else cause

    def _turn(self, state: Cause | None, now_s: float) -> None:
        if self._state is None:
            self._begin_slice(now_s)
        else:
            if now_s > self._since_s:
                self._slice[self._state] += now_s - self._since_s
                self._asked_s += now_s - self._since_s if self._why is Why.ASKED else 0.0
            if state is None or now_s >= self._slice_from_s + SLICE_S:
                self._end_slice(now_s)
        self._state, self._since_s = state, now_s

    def _begin_slice(self, now_s: float) -> None:
        self._slice_from_s, self._slice = now_s, defaultdict(float)
        self._disk_from_s, self._cpu_from_s = self._disk_s(), self._cpu_s()
        self._settled_from, self._slice_held = self._settled, False

    def _end_slice(self, now_s: float) -> None:
        ended = self._judged(self._slice)
        for cause, seconds in ended.items():
            self._total[cause] += seconds
        if ended:
            self._recent.append((now_s, ended))
        if ended and not self._slice_held:
            most = max(ended, key=lambda each: ended[each])
            self._known_s[most] += sum(ended.values())
            self._known_tasks[most] += self._settled - self._settled_from
        while self._recent and self._recent[0][0] <= now_s - RECENT_S:
            self._recent.popleft()
        self._begin_slice(now_s)

    def _judged(self, waited: Mapping[Cause, float]) -> Mapping[Cause, float]:
        """The seconds of the slice up to now, each for what really limited it."""
        total_s = sum(waited.values())
        if self._disk_s() - self._disk_from_s >= DISK_SHARE * total_s > 0.0:
            return {Cause.DISK: total_s}
        if self._cpu_s() - self._cpu_from_s >= CPU_SHARE * total_s > 0.0:
            return {Cause.CPU: total_s}
        return waited

    # --- What it comes to ----------------------------------------------------------------------

    @property
    def recently(self) -> Limited | None:
        """What limited the speed most in the last ten seconds or so; None if it is too early."""
        now_s = self._clock()
        parts = [self._open(now_s)]
        for end_s, seconds in self._recent:
            # Of a long slice the part that is not over for long.
            recent_s = max(0.0, end_s - (now_s - RECENT_S))
            share = min(1.0, recent_s / sum(seconds.values()))
            parts.append({cause: share * each_s for cause, each_s in seconds.items()})
        return _most(parts)

    @property
    def altogether(self) -> Limited | None:
        """What limited it most since the beginning; None if that is too short."""
        most = _most([self._open(self._clock()), self._total])
        if most and not self._settled and self._bad_share:
            return Limited(self._bad, 1.0)  # Whatever was waited for: nothing has got through.
        return most

    @property
    def causes(self) -> Mapping[Cause, float]:
        """For how many seconds each has limited it since the beginning."""
        summed = self._total.copy()
        for cause, seconds in self._open(self._clock()).items():
            summed[cause] += seconds
        return summed

    @property
    def advice(self) -> str | None:
        """The one thing to do about what limited it altogether; None if that is not known."""
        limited = self.altogether
        if limited is None:
            return None
        again = self._resent - self._pressed  # A refused collection is sent again as a whole.
        if again > SERVER_ERRORS_SHARE * self._sent:
            return server_errors_advice(again, self._sent)
        cause, now_s = limited.cause, self._clock()
        asked_s = self._asked_s + (now_s - self._since_s if self._why is Why.ASKED else 0.0)
        throttled_s = self._total[Cause.THROTTLED] + self._open(now_s).get(Cause.THROTTLED, 0.0)
        known_s = self._known_s[cause]
        return advice(
            cause,
            self.asked,
            tasks_per_s=self._known_tasks[cause] / known_s if known_s >= KNOWN_S_MIN else None,
            retry_after_s=asked_s if asked_s > throttled_s / 2 else None,
        )

    def _open(self, now_s: float) -> Mapping[Cause, float]:
        """The slice that is not over."""
        if self._state is None:
            return {}
        waited = self._slice.copy()
        waited[self._state] += now_s - self._since_s
        return self._judged(waited)


def _most(parts: Iterable[Mapping[Cause, float]]) -> Limited | None:
    summed: defaultdict[Cause, float] = defaultdict(float)
    for part in parts:
        for cause, seconds in part.items():
            summed[cause] += seconds
    total_s = sum(summed.values())
    if total_s < TOLD_S_MIN:
        return None
    cause = max(summed, key=lambda each: summed[each])
    return Limited(cause, summed[cause] / total_s)
