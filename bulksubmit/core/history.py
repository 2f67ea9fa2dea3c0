"""How a run went, over all processes that worked on it: for its report, and for nothing else.

Nothing here decides what is sent. A process leaves one Life, and of its time a row of Samples
without a gap, each of a span; so many that they can be drawn, and never more than SAMPLES_MAX of a
run: when there are, each two neighbours become one.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SAMPLE_S = 0.25  # The shortest span: a short run should be drawn, too.
SAMPLES_MAX = 500  # About 40 kB; of a run of ten hours, one a minute or two.
LIVES_MAX = 100

# How many attempts a task needed is counted one by one up to the first of these, then from one to
# the next, so that no run has more than a few numbers.
_EXACT_MAX = 10
_BEGINS = (11, 21, 51, 101, 201, 501, 1001)


@dataclass(frozen=True, slots=True)
class Sample:
    """A span of a process's time.

    Attributes:
        begun_s: When it begins, in seconds since the process began to work on the run.
        span_s: How long it is; more than 0.
        settled: Tasks settled in it.
        requests: Attempts ended in it.
        throttled: Of them, those answered with throttling.
        lost: Of them, those without a usable answer.
        limit: On attempts in flight, on average; below 1 with pauses between them.
        in_flight: Attempts and read-backs in flight, on average.
        p50_s: What half of the attempts took at most; None if none ended.
        p95_s: The same of 95 % of them. Of several spans the mean, weighted by attempts.
        cause: What limited the speed most, a Cause; None if that is not known.
    """

    begun_s: float
    span_s: float
    settled: int
    requests: int
    throttled: int
    lost: int
    limit: float
    in_flight: float
    p50_s: float | None
    p95_s: float | None
    cause: str | None

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.begun_s + self.span_s


def merged(first: Sample, second: Sample) -> Sample:
    """Two spans that follow each other, as one: counts are summed, the rest is averaged."""
    span_s = second.end_s - first.begun_s

    def mean(one: float, other: float) -> float:
        return (one * first.span_s + other * second.span_s) / (first.span_s + second.span_s)

    def of_attempts(one: float | None, other: float | None) -> float | None:
        if one is None or other is None:
            return other if one is None else one
        requests = first.requests + second.requests
        return (one * first.requests + other * second.requests) / requests

    longer = first if first.span_s > second.span_s else second
    return Sample(
        begun_s=first.begun_s,
        span_s=span_s,
        settled=first.settled + second.settled,
        requests=first.requests + second.requests,
        throttled=first.throttled + second.throttled,
        lost=first.lost + second.lost,
        limit=mean(first.limit, second.limit),
        in_flight=mean(first.in_flight, second.in_flight),
        p50_s=of_attempts(first.p50_s, second.p50_s),
        p95_s=of_attempts(first.p95_s, second.p95_s),
        cause=longer.cause or first.cause or second.cause,
    )


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """Each two neighbours of one process as one; an odd last one stays."""
    pairs = [merged(*samples[at : at + 2]) for at in range(0, len(samples) - 1, 2)]
    return pairs + list(samples[len(pairs) * 2 :])


@dataclass(frozen=True, slots=True)
class Given:
    """One setting that a process worked by.

    Attributes:
        value: For a person.
        origin: Where it comes from: a flag, the environment, a profile, the default; None if
            nobody said.
    """

    value: str
    origin: str | None = None


@dataclass(slots=True)
class Life:
    """A process that worked on a run.

    Attributes:
        begun_at: When it began to, UTC, ISO 8601.
        settings: What it worked by, by name. Never a secret.
        versions: Of what, which: ``bulksubmit``, ``Python``, ...
        number: 1 for the first of the run; 0 before it is on record.
        lived_s: How long it is known to have worked.
        ended: ``converged``, or what ended it; None if it never said: it still works, or it was
            killed.
        causes: Seconds for which each Cause limited the speed.
        advice: The one thing to do about it, if there is one.
        limit_raised: How often the limit was raised.
        limit_cut: How often it was cut, by reason.
        troubles: Attempts that were not simply answered, by what became of them and why.
    """

    begun_at: str
    settings: Mapping[str, Given] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    lived_s: float = 0.0
    ended: str | None = None
    causes: Mapping[str, float] = field(default_factory=dict)
    advice: str | None = None
    limit_raised: int = 0
    limit_cut: Mapping[str, int] = field(default_factory=dict)
    troubles: Mapping[str, int] = field(default_factory=dict)


def attempts_from(attempts: int) -> int:
    """By which number so many attempts are counted: itself, or the first of its range."""
    if attempts <= _EXACT_MAX:
        return attempts
    return _BEGINS[bisect_left(_BEGINS, attempts + 1) - 1]


def attempts_to(begin: int) -> int | None:
    """The last number of the range that begins so; None if it has no end."""
    if begin < _BEGINS[0]:
        return begin
    place = _BEGINS.index(begin) + 1
    return _BEGINS[place] - 1 if place < len(_BEGINS) else None
