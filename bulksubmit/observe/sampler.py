"""How a run goes over time: samples of it, and what is known of this process, for its journal."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from bulksubmit.core.events import RequestEnded
from bulksubmit.core.history import SAMPLE_S, Life, Sample
from bulksubmit.observe.causes import Cause
from bulksubmit.observe.report import Tally
from bulksubmit.observe.speed import Speed

TROUBLES_MAX = 30  # Kinds of them; the rest is counted together.
OTHERS = "others"


class History(Protocol):
    """Where samples are kept, if anywhere."""

    def begin(self, life: Life) -> None:
        """A process begins; it gets its number, if this is kept."""

    def add(self, sample: Sample) -> None:
        """A span of its time, which begins where the last one ended."""


class Sampler:
    """Sums up what happens from one sample to the next.

    Attributes:
        life: Of this process, as of the last sample.
    """

    def __init__(
        self,
        history: History,
        life: Life,
        clock: Callable[[], float],
        *,
        tally: Tally,
        speed: Speed,
        in_flight: Callable[[], int],
    ) -> None:
        """Start with nothing.

        Args:
            history: Keeps the samples, or nothing.
            life: What is known of this process beforehand.
            clock: The time in seconds, from any start.
            tally: What was counted, and the limit on attempts in flight.
            speed: What limits it.
            in_flight: How many attempts are in flight.
        """
        self.life = life
        self._history, self._clock = history, clock
        self._tally, self._speed, self._in_flight = tally, speed, in_flight
        self._started_s = self._since_s = clock()
        self._settled = tally.counts.settled
        self._causes: Mapping[Cause, float] = {}
        self._latencies_s: list[float] = []
        self._replies, self._troubles = Counter[str](), Counter[str]()

    def begin(self) -> None:
        """The work begins: from now on attempts are counted, if there is a history."""
        self._history.begin(self.life)
        if self.life.number:
            self._tally.sampler = self
            self._started_s = self._since_s = self._clock()

    def ended(self, event: RequestEnded) -> None:
        """The reply to an attempt has come, or will never."""
        self._latencies_s.append(event.latency_s)
        if event.reply == "answered":
            return
        self._replies[event.reply] += 1
        trouble = f"{event.reply}: {event.reason}" if event.reason else event.reply
        known = trouble in self._troubles or len(self._troubles) < TROUBLES_MAX
        self._troubles[trouble if known else OTHERS] += 1

    def look(self, *, last: bool = False) -> None:
        """Add what happened since the last sample to the history, if it is time to.

        Args:
            last: It is, however short the time was.
        """
        now_s = self._clock()
        span_s = now_s - self._since_s
        if self.life.number and (span_s >= SAMPLE_S or (last and span_s > 0.0)):
            self._look_back()
            self._history.add(self._sample(now_s))

    def _sample(self, now_s: float) -> Sample:
        span_s = now_s - self._since_s
        settled, causes = self._tally.counts.settled, self._speed.causes
        latencies_s = sorted(self._latencies_s)
        sample = Sample(
            begun_s=round(self._since_s - self._started_s, 3),
            span_s=max(0.001, round(span_s, 3)),
            settled=settled - self._settled,
            requests=len(latencies_s),
            throttled=self._replies["throttled"],
            lost=self._replies["lost"],
            limit=self._tally.limit or 0.0,
            in_flight=self._in_flight(),
            p50_s=_quantile(latencies_s, 0.5),
            p95_s=_quantile(latencies_s, 0.95),
            cause=self._most_since(causes),
        )
        self._since_s, self._settled, self._causes = now_s, settled, dict(causes)
        self._latencies_s.clear()
        self._replies.clear()
        return sample

    def _most_since(self, causes: Mapping[Cause, float]) -> str | None:
        """What limited the speed most since the last sample."""
        # A cause can have lost time since: what waited is put down to the CPU in the end.
        since = {cause: s - self._causes.get(cause, 0.0) for cause, s in causes.items()}
        most = max(since, key=lambda cause: since[cause], default=None)
        return most.value if most and since[most] > 0.0 else None

    def _look_back(self) -> None:
        life, tally = self.life, self._tally
        life.causes = {c.value: round(seconds, 3) for c, seconds in self._speed.causes.items()}
        life.advice = self._speed.advice
        life.limit_raised, life.limit_cut = tally.limit_raised, tally.limit_cut
        life.troubles = self._troubles


def _quantile(ascending: list[float], share: float) -> float | None:
    if not ascending:
        return None
    return round(ascending[min(int(share * len(ascending)), len(ascending) - 1)], 4)
