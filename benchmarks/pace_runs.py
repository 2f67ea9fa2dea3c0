"""Runs scenarios on virtual time with one limit or another, for ``benchmarks/pace.py``."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from statistics import fmean
from typing import Any

from benchmarks.limits import Aimd, Cubic, Gradient2
from bulksubmit.core.pacing import FixedLimit
from bulksubmit.emulator.scenario import Scenario
from bulksubmit.pool import Limit
from tests.scenarios.run import run
from tests.scenarios.timeline import Replied, Timeline

OURS = "ours"
PUBLISHED: dict[str, Callable[[int], Limit]] = {
    "AIMD": Aimd,
    "Gradient2": Gradient2,
    "Cubic": Cubic,
}
FIXED = ("1", "16", "100")
LIMITS = (OURS, *PUBLISHED, *FIXED)
SWEEP = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 100)

SETTLES_S = 30.0  # What a limit has to find the pace in; after that it is measured for as long.
SHARED_S = 90.0  # What the share of two is measured for: they may take turns.
SETTLED_SHARE = 0.8  # Of the best fixed limit's pace.
_MORE, _USELESS_SHARE = 1.01, 0.5  # When a sweep ends.


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which the service, and who asks it, stay as they are.

    Attributes:
        from_s: When it begins.
        to_s: When it ends.
    """

    from_s: float
    to_s: float

    @property
    def settled_s(self) -> tuple[float, float]:
        """The part in which the pace should have been found: its second half, 30 s at most."""
        return max((self.from_s + self.to_s) / 2, self.to_s - SETTLES_S), self.to_s


@dataclass(frozen=True, slots=True)
class Case:
    """What is run.

    Attributes:
        scenario: Which.
        limit: Of LIMITS, or a number.
        seed: Decides all chance.
        pace: The best fixed limit's in the first span, in tasks a second; 0 for unknown.
    """

    scenario: Scenario
    limit: str
    seed: int
    pace: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of a case; or the means over seeds.

    Attributes:
        tasks_per_s: In the settled part of each span, on the average.
        throttled_settled: The share of throttled replies in these.
        throttled: The same of the whole run.
        settles_s: Until the pace is reached for the first time; infinite for never.
        recovers_s: The slowest of what the scenario says is to be reached later on; None if it
            says nothing.
        share: The smaller submitter's part from the settled part of the last span on, of each
            half minute by itself, one half being fair; None if there is only one.
        fitting: How many of the scenario's ranges hold; None for seeds other than 1.
        ranges: How many there are; None as above.
    """

    tasks_per_s: float
    throttled_settled: float
    throttled: float
    settles_s: float
    recovers_s: float | None
    share: float | None
    fitting: int | None
    ranges: int | None


@dataclass(frozen=True, slots=True)
class Best:
    """The best fixed limit.

    Attributes:
        value: Requests in flight.
        tasks_per_s: In the settled part of each span, on the average.
        first: In that of the first span.
    """

    value: int
    tasks_per_s: float
    first: float


def spans(scenario: Scenario) -> list[Span]:
    """The times in which tasks can be added; the last one is as long as need be."""
    load = scenario.load
    second_at_s = load.second_at_s if load.submitters > 1 else 0.0
    begins = sorted({second_at_s} | {phase.at_s for phase in scenario.phases})
    ends = [*begins[1:], begins[-1] + 2 * SETTLES_S]
    found = []
    for from_s, to_s in zip(begins, ends, strict=True):
        capacity = [each.capacity for each in scenario.phases if each.at_s <= from_s][-1]
        if capacity.outage == "none" and capacity.server_error < 1:
            found.append(Span(from_s, to_s))
    return found


def has_knee(scenario: Scenario) -> bool:
    """Whether more requests in flight are of no use from some number on."""
    capacities = [phase.capacity for phase in scenario.phases]
    return any(
        math.isfinite(most)
        for each in capacities
        for most in (each.parallel, each.tasks_per_s, each.link_mb_per_s)
    )


def limit_of(name: str, concurrency_max: int) -> Callable[[], Limit] | None:
    """What makes a limit; None for ours."""
    if name == OURS:
        return None
    if name in PUBLISHED:
        return partial(PUBLISHED[name], concurrency_max)
    return partial(FixedLimit, min(int(name), concurrency_max))


def endless(scenario: Scenario) -> Scenario:
    """The same with as many tasks as last for all of its spans, after which it is stopped."""
    load = scenario.load
    seconds_max = spans(scenario)[-1].to_s
    if load.submitters > 1:
        seconds_max += SHARED_S - SETTLES_S
    load = replace(load, tasks=100 * load.tasks, seconds_max=seconds_max)
    return replace(scenario, load=load)


def run_case(case: Case, scenario: Scenario) -> Timeline:
    """Run a scenario with the case's limit and seed."""
    limit = limit_of(case.limit, scenario.load.concurrency_max)
    return run(scenario, limit=limit, seed=case.seed)


def measure(case: Case) -> Figures:
    """Run a case; with seed 1 once more, to the end, as the scenario's ranges want it."""
    scenario = case.scenario
    timeline = run_case(case, endless(scenario))
    windows = [span.settled_s for span in spans(scenario)]
    settled = _within(timeline, windows)
    later = [pace for pace in scenario.expected.reaches if pace.from_s]
    measured = list(run_case(case, scenario).measured()) if case.seed == 1 else None
    return Figures(
        tasks_per_s=tasks_per_s(timeline, windows),
        throttled_settled=sum(each.kind == "throttled" for each in settled) / max(1, len(settled)),
        throttled=timeline.figure("throttled_share"),
        settles_s=timeline.reaches_s(0.0, SETTLED_SHARE * case.pace),
        recovers_s=max(
            (timeline.reaches_s(pace.from_s, pace.tasks_per_s) for pace in later), default=None
        ),
        share=_share(timeline, windows[-1][0]) if scenario.load.submitters > 1 else None,
        fitting=None if measured is None else sum(each.fits for each in measured),
        ranges=None if measured is None else len(measured),
    )


def sweep(scenario: Scenario) -> Best:
    """Find the best fixed limit.

    The limits rise, until two in a row are not one in a hundred better than the best before, or
    one has half of its requests throttled at all times.
    """
    most = scenario.load.concurrency_max
    windows = [span.settled_s for span in spans(scenario)]
    best, worse = Best(0, 0.0, 0.0), 0
    for value in sorted({*(each for each in SWEEP if each < most), min(most, SWEEP[-1])}):
        timeline = run_case(Case(scenario, str(value), seed=1), endless(scenario))
        found = Best(value, tasks_per_s(timeline, windows), tasks_per_s(timeline, windows[:1]))
        worse = worse + 1 if found.tasks_per_s < _MORE * best.tasks_per_s else 0
        best = max(best, found, key=lambda each: each.tasks_per_s)
        throttled = min(timeline.figure("throttled_share", *window) for window in windows)
        if worse > 1 or throttled > _USELESS_SHARE:
            break
    return best


def tasks_per_s(timeline: Timeline, windows: Sequence[tuple[float, float]]) -> float:
    """Tasks added a second in these parts of the time."""
    added = sum(each.added for each in _within(timeline, windows))
    return added / sum(to_s - from_s for from_s, to_s in windows)


def _share(timeline: Timeline, from_s: float) -> float:
    """The mean of the smaller one's parts in the half minutes of SHARED_S."""
    begins = (from_s + SETTLES_S * number for number in range(int(SHARED_S / SETTLES_S)))
    return fmean(timeline.figure("share", at_s, at_s + SETTLES_S) for at_s in begins)


def _within(timeline: Timeline, windows: Sequence[tuple[float, float]]) -> list[Replied]:
    return [
        each
        for each in timeline.replied
        if any(from_s <= each.at_s < to_s for from_s, to_s in windows)
    ]


def mean(figures: Sequence[Figures]) -> Figures:
    """Over the seeds, each figure that all of them have; else the one that the first seed has."""

    def of(name: str) -> Any:
        values = [getattr(each, name) for each in figures]
        return values[0] if None in values else fmean(values)

    return Figures(**{field.name: of(field.name) for field in fields(Figures)})
