"""What happened in a scenario, moment by moment, and the figures that come of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from bulksubmit.emulator.scenario import Expected, Range, Scenario

PACE_S = 5.0  # What a pace is measured over.


@dataclass(frozen=True, slots=True)
class Sent:
    """A request has gone."""

    at_s: float
    submitter: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Replied:
    """A request has come back.

    Attributes:
        at_s: When.
        submitter: Whose, 0 or 1.
        kind: ``clean``, ``servererror`` (all of it), ``throttled``, ``refused``, ``lost``.
        tasks: How many it held.
        added: How many of them were added.
        latency_s: How long it took.
    """

    at_s: float
    submitter: int
    kind: str
    tasks: int
    added: int
    latency_s: float


@dataclass(frozen=True, slots=True)
class Limited:
    """The limit on requests in flight is another; or it is the first one.

    Attributes:
        at_s: When.
        submitter: Whose.
        limit: What it is; below 1 it means pauses.
        reason: Why, as far as it was told.
    """

    at_s: float
    submitter: int
    limit: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, and what was expected of it.

    Attributes:
        what: Its name, and of which part of the time.
        expected: Its range.
        value: What it is.
    """

    what: str
    expected: Range
    value: float

    @property
    def fits(self) -> bool:
        """Whether it is in its range."""
        return self.expected[0] <= self.value <= self.expected[1]

    def __str__(self) -> str:
        least, most = self.expected
        return f"{self.what} is {self.value:.4g}, and should be from {least:g} to {most:g}"


@dataclass(slots=True)
class Timeline:
    """All that happened, in seconds since the first request.

    Attributes:
        scenario: Which.
        sent: Every request.
        replied: Every reply.
        limits: Every limit.
        seconds: How long it all took.
        error: Why it ended, if not because all was done.
    """

    scenario: Scenario
    sent: list[Sent] = field(default_factory=list)
    replied: list[Replied] = field(default_factory=list)
    limits: list[Limited] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None

    def measured(self, expected: Expected | None = None) -> Iterator[Measured]:
        """Each figure of which something is expected; by the scenario, if not otherwise."""
        expected = expected or self.scenario.expected
        for name, bounds in expected.ranges():
            yield Measured(name, bounds, self.figure(name))
        for part in expected.between:
            for name, bounds in part.ranges():
                what = f"{name} from {part.from_s:g} to {part.to_s:g} s"
                yield Measured(what, bounds, self.figure(name, part.from_s, part.to_s))
        for pace in expected.reaches:
            assert pace.seconds is not None
            what = f"seconds from {pace.from_s:g} s until {pace.tasks_per_s:g} tasks a second"
            yield Measured(what, pace.seconds, self.reaches_s(pace.from_s, pace.tasks_per_s))

    def figure(self, name: str, from_s: float = 0.0, to_s: float = math.inf) -> float:
        """A figure of a part of the time, under its name in a scenario file."""
        ends_s = min(to_s, self.seconds) if math.isinf(to_s) else to_s
        replied = [each for each in self.replied if from_s <= each.at_s < to_s]
        match name:
            case "seconds":
                return self.seconds
            case "requests":
                return sum(from_s <= each.at_s < to_s for each in self.sent)
            case "limit":
                return self.mean_limit(from_s, ends_s)
            case "limit_max":
                return max(each.limit for each in self.limits)
            case "tasks_per_s":
                return sum(each.added for each in replied) / max(1e-9, ends_s - from_s)
            case "throttled_share" | "lost_share":
                kind = name.removesuffix("_share")
                return _mean([float(each.kind == kind) for each in replied])
            case "latency_ms":
                return 1000 * _mean([each.latency_s for each in replied if each.kind == "clean"])
        assert name == "share", name
        return self._least_share(replied)

    def _least_share(self, replied: list[Replied]) -> float:
        added = dict.fromkeys(range(self.scenario.load.submitters), 0)
        for each in replied:
            added[each.submitter] += each.added
        return min(added.values()) / (sum(added.values()) or math.nan)

    def mean_limit(self, from_s: float, to_s: float) -> float:
        """The mean of the limit over a part of the time, the submitters' together."""
        total = 0.0
        for submitter in range(self.scenario.load.submitters):
            own = [each for each in self.limits if each.submitter == submitter]
            ends = Limited(max(to_s, self.seconds), submitter, 0.0)
            for now, later in pairwise([*own, ends]):
                total += now.limit * max(0.0, min(later.at_s, to_s) - max(now.at_s, from_s))
        return total / (to_s - from_s)

    def reaches_s(self, from_s: float, tasks_per_s: float) -> float:
        """How long it takes to reach a pace, over PACE_S; infinite for never."""
        replied = sorted((each.at_s, each.added) for each in self.replied if each.at_s >= from_s)
        ahead, added = 0, 0
        begins = [from_s, *(at_s for at_s, _ in replied)]
        gone = [0, *(count for _, count in replied)]
        for began_s, left_behind in zip(begins, gone, strict=True):
            while ahead < len(replied) and replied[ahead][0] <= began_s + PACE_S:
                added += replied[ahead][1]
                ahead += 1
            added -= left_behind
            if added >= tasks_per_s * PACE_S:
                return began_s - from_s
        return math.inf

    def __str__(self) -> str:
        """The figures in a line."""
        names = ("requests", "seconds", "tasks_per_s", "throttled_share", "limit", "limit_max")
        figures = ", ".join(f"{name} {self.figure(name):.4g}" for name in names)
        return f"{self.scenario.name}: {figures}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
