"""What a worker remembers of its shard: nothing for long. It tells the coordinator."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bulksubmit.core.account import BEGINNING, Counts, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.events import Event, Progressed, SourceRead
from bulksubmit.core.history import Life, Sample
from bulksubmit.core.matching import ends_of
from bulksubmit.core.model import Attempt, Outcome, Verdict
from bulksubmit.core.tasks import last_ordinal
from bulksubmit.distribute.messages import Ended, Gauges, Orders, Report

REPORT_S = 0.5  # What a lost worker may have settled in vain, and a stop may be late.
# Of one report: what is told beyond is not worth its weight.
EVENTS_MAX = 20_000


class ShardHistory:
    """Keeps samples until they are reported.

    Attributes:
        life: Of the worker, as the sampler keeps it.
        samples: Since the last report.
    """

    def __init__(self) -> None:
        self.life: Life | None = None
        self.samples: list[Sample] = []

    def begin(self, life: Life) -> None:
        """The worker begins."""
        life.number = 1
        self.life = life

    def add(self, sample: Sample) -> None:
        """A span of its time."""
        self.samples.append(sample)


class ShardJournal:
    """See Journal: the same, for a shard. What is settled goes into the next report.

    Attributes:
        file_of: As in Journal.
        where: Says where an item is, for a person; set, like the former, by whoever reads it.
        report: The next report, if one is due and the last one has gone; taken by the sender.
        lines: How many lines the shard holds, once that is known.
    """

    path = None
    identity = None
    held: str | None = None
    wrote_s = 0.0

    def __init__(
        self,
        orders: Orders,
        clock: Callable[[], float],
        *,
        gauges: Callable[[], Gauges],
        ready: Callable[[], None],
    ) -> None:
        """Go on from what the orders say.

        Args:
            orders: The coordinator's.
            clock: The time in seconds, from any start.
            gauges: How it goes.
            ready: Told that there is a report to be sent.
        """
        self.settled, self.existed = Bitmap(), Bitmap()
        for number, bits in orders.settled:
            self.settled.load(number, bits)
        self.counts = Counts.of(orders.counts)
        self.doubt_below, self.places = orders.doubt_below, orders.places
        self.history = ShardHistory()
        self.file_of: Callable[[int], str] = lambda _: ""
        self.where: Callable[[int, int], str] = lambda _ordinal, _line: ""
        self.lines: int | None = None
        self.report: Report | None = None
        self._clock, self._gauges, self._ready = clock, gauges, ready
        self._keeps_all, self._keeps_events = orders.results, orders.events
        self._sent_below = orders.doubt_below
        self._last_place = BEGINNING
        self._line = orders.shard.line or 1
        self._exceptions: list[tuple[Outcome, str]] = []
        self._results: list[Outcome] = []
        self._places: list[Place] = []
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._reported_s = clock()

    def hold(self, former: str | None) -> None:
        """The job is the coordinator's business."""
        raise AssertionError(f"a worker does not hold {former}")

    def observe(self, event: Event, /) -> None:
        """What the coordinator's observers are to be told. How far it is they know anyway."""
        told = self._keeps_events and not isinstance(event, Progressed | SourceRead)
        if told and len(self._events) < EVENTS_MAX:
            self._events.append((type(event).__name__, msgspec.structs.asdict(event)))

    def will_send(self, attempt: Attempt) -> None:
        """The coordinator has noted that all of the shard may be sent; this says how much was."""
        self._sent_below = max(self._sent_below, last_ordinal(attempt.tasks) + 1)

    def record(
        self, outcomes: Sequence[Outcome], others: Sequence[Outcome], *, in_order: bool
    ) -> None:
        """See Journal."""
        first, last = ends_of(outcomes)
        if in_order and not others and last - first == len(outcomes) - 1:
            self.settled.add_range(first, last + 1)
        else:
            for outcome in outcomes:
                if outcome.verdict is not Verdict.ABANDONED:
                    self.settled.add(outcome.ordinal)
        for outcome in others:
            if outcome.verdict is Verdict.EXISTED:
                self.existed.add(outcome.ordinal)
            else:
                self._exceptions.append((outcome, self.where(outcome.ordinal, outcome.line)))
        if self._keeps_all:
            self._results += outcomes

    def place(self, place: Place) -> None:
        """See Journal."""
        self._places.append(place)
        self._last_place = place

    def commit_if_due(self, counts: Counts) -> None:
        """Make a report if it is time to, and the last one has gone."""
        if self.report is None and self._clock() - self._reported_s >= REPORT_S:
            self.report = self.take(counts)
            self._ready()

    def commit(self, counts: Counts) -> None:
        """The run is about to end: the last report takes everything along."""

    def end(self, ended: str) -> None:
        """See commit()."""

    def close(self) -> None:
        """Nothing is open."""

    def last(self, counts: Counts, ended: Ended) -> Report:
        """The last report."""
        report = self.take(counts)
        report.ended = ended
        return report

    @property
    def sent_below(self) -> int:
        """No item from there on was sent, by this worker or one before."""
        return self._sent_below

    def take(self, counts: Counts) -> Report:
        """What has happened since this was last called."""
        if self.lines is None and counts.source_complete and self._last_place is not BEGINNING:
            self.lines = self._last_place.line - self._line
        report = Report(
            counts=counts.numbers,
            attempts=dict(counts.attempts),
            settled=[(n, self.settled.block(n) or b"") for n in self.settled.changed],
            existed=[(n, self.existed.block(n) or b"") for n in self.existed.changed],
            exceptions=self._exceptions,
            results=self._results,
            places=self._places,
            lines=self.lines,
            gauges=self._gauges(),
            samples=self.history.samples,
            events=self._events,
        )
        self.settled.changed.clear()
        self.existed.changed.clear()
        self._exceptions, self._results, self._places, self._events = [], [], [], []
        self.history.samples = []
        self._reported_s = self._clock()
        return report
