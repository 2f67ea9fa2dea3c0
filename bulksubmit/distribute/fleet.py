"""How it goes with all workers together: their gauges, summed up."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from bulksubmit.core.history import SAMPLE_S, Life, Sample
from bulksubmit.core.model import Learnt
from bulksubmit.distribute.messages import Gauges, Report
from bulksubmit.observe.causes import Asked, Cause, advice
from bulksubmit.observe.report import Tally
from bulksubmit.observe.sampler import History
from bulksubmit.observe.speed import TOLD_S_MIN, Limited


class Fleet:
    """What the workers say of how it goes; what they have done stays when they are gone.

    Attributes:
        life: Of the coordinator, with what the workers have said.
    """

    def __init__(
        self,
        life: Life,
        history: History,
        tally: Tally,
        clock: Callable[[], float],
        *,
        asked: Asked,
    ) -> None:
        """Start with nobody.

        Args:
            life: What is known of this process beforehand.
            history: Where samples are kept.
            tally: Told of the limit.
            clock: The time in seconds, from any start.
            asked: What the user asked for, of all workers together.
        """
        self.life = life
        self._history, self._tally, self._clock = history, tally, clock
        self._now: dict[int, Gauges] = {}
        self._last: dict[int, Gauges] = {}
        self._places: list[Learnt] = []  # What those have learnt whose places are free.
        self._before = Gauges(causes={}, limit_cut={}, troubles={})  # Of workers that are gone.
        self._samples: list[Sample] = []
        self._started_s = self._since_s = clock()
        self._settled = tally.counts.settled
        self._asked = asked
        self._limits_max = 0  # How many workers have told theirs at once.

    def begin(self) -> None:
        """The work begins."""
        self._history.begin(self.life)
        self._started_s = self._since_s = self._clock()
        self._settled = self._tally.counts.settled

    def take_in(self, number: int, report: Report) -> None:
        """What a worker says."""
        self._now[number] = report.gauges
        self._samples += report.samples
        limits = [gauges.limit for gauges in self._now.values() if gauges.limit is not None]
        tally = self._tally
        if len(limits) >= self._limits_max:  # When one after the other ends, it is no news.
            self._limits_max, tally.limit = len(limits), sum(limits) if limits else None
        tally.limit_reason = report.gauges.limit_reason or tally.limit_reason
        tally.limit_raised = sum([gauges.limit_raised for gauges in self._all])
        tally.limit_cut = _summed(gauges.limit_cut for gauges in self._all)

    def gone(self, number: int) -> None:
        """A worker has ended, or is lost."""
        gauges = self._now.pop(number, None)
        if gauges is None:
            return
        self._last[number] = gauges
        if gauges.learnt:
            self._places.append(gauges.learnt)
        before = self._before
        self._before = Gauges(
            limit_raised=before.limit_raised + gauges.limit_raised,
            limit_cut=_summed([before.limit_cut, gauges.limit_cut]),
            causes=_added([before.causes, gauges.causes]),
            troubles=_summed([before.troubles, gauges.troubles]),
        )

    def take_place(self) -> Learnt | None:
        """What the worker had found out about the pace whose place a new one takes, if any."""
        return self._places.pop() if self._places else None

    # --- What it comes to ----------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Attempts and read-backs that await their reply."""
        return sum([gauges.in_flight for gauges in self._now.values()])

    @property
    def retrying(self) -> int:
        """Tasks that wait to be sent again."""
        return sum([gauges.retrying for gauges in self._now.values()])

    @property
    def holding_s(self) -> float | None:
        """How long all of them still hold back; None if one sends."""
        held = [gauges.holding_s for gauges in self._now.values()]
        known = [seconds for seconds in held if seconds is not None]
        return min(known) if known and len(known) == len(held) else None

    def of(self, number: int) -> Gauges | None:
        """What the worker of a shard has said last; None if there is none."""
        return self._now.get(number)

    def last_of(self, number: int) -> Gauges | None:
        """The same; or what the last one said that is gone."""
        return self._now.get(number) or self._last.get(number)

    @property
    def recently(self) -> Limited | None:
        """What most of them say limits the speed at present."""
        said = Counter(gauges.recently for gauges in self._now.values() if gauges.recently)
        if not said:
            return None
        cause, times = said.most_common(1)[0]
        return Limited(Cause(cause), times / said.total())

    @property
    def causes(self) -> Mapping[str, float]:
        """Seconds that each Cause has limited; side by side, of no more than there were."""
        added = _added([gauges.causes for gauges in self._all])
        total_s, lived_s = sum(added.values()), self._clock() - self._started_s
        if total_s <= lived_s:
            return added
        return {cause: round(s * lived_s / total_s, 3) for cause, s in added.items()}

    @property
    def altogether(self) -> Limited | None:
        """What has limited the speed most; see Speed."""
        causes = self.causes
        total_s = sum(causes.values())
        if total_s < TOLD_S_MIN:
            return None
        most = max(causes, key=lambda cause: causes[cause])
        return Limited(Cause(most), causes[most] / total_s)

    @property
    def advice(self) -> str | None:
        """The one thing to do about it."""
        limited = self.altogether
        return advice(limited.cause, self._asked, tasks_per_s=None) if limited else None

    @property
    def _all(self) -> list[Gauges]:
        return [self._before, *self._now.values()]

    # --- How it went ---------------------------------------------------------------------------

    def look(self, *, last: bool = False) -> None:
        """Add what happened since the last sample to the history, if it is time to."""
        now_s = self._clock()
        span_s = now_s - self._since_s
        if not self.life.number or not (span_s >= 2 * SAMPLE_S or (last and span_s > 0.0)):
            return
        life, tally = self.life, self._tally
        life.causes, life.advice = self.causes, self.advice
        life.limit_raised, life.limit_cut = tally.limit_raised, tally.limit_cut
        life.troubles = _summed(gauges.troubles for gauges in self._all)
        settled, samples = tally.counts.settled, self._samples
        recently = self.recently
        self._history.add(
            Sample(
                begun_s=round(self._since_s - self._started_s, 3),
                span_s=max(0.001, round(span_s, 3)),
                settled=settled - self._settled,
                requests=sum([sample.requests for sample in samples]),
                throttled=sum([sample.throttled for sample in samples]),
                lost=sum([sample.lost for sample in samples]),
                limit=tally.limit or 0.0,
                in_flight=self.in_flight,
                p50_s=_weighted([(s.p50_s, s.requests) for s in samples]),
                p95_s=_weighted([(s.p95_s, s.requests) for s in samples]),
                cause=recently.cause.value if recently else None,
            )
        )
        self._since_s, self._settled = now_s, settled
        self._samples = []


def _weighted(values: list[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None and weight]
    if not known:
        return None
    return round(sum(v * weight for v, weight in known) / sum(weight for _, weight in known), 4)


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def _added(seconds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for each in seconds:
        for cause, s in each.items():
            total[cause] = round(total.get(cause, 0.0) + s, 3)
    return total
