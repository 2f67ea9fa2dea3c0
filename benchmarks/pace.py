"""How well the limit on requests in flight finds the service's pace. See README.md.

Run it from the project's folder: ``python -m benchmarks.pace --help``.
"""

import argparse
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from benchmarks import pace_http, pace_pictures
from benchmarks.pace_runs import (
    FIXED,
    LIMITS,
    OURS,
    SETTLES_S,
    Best,
    Case,
    Figures,
    has_knee,
    mean,
    measure,
    sweep,
)
from bulksubmit.emulator.scenario import Scenario
from tests.scenarios.run import scenarios

_T = TypeVar("_T")

# What is wanted of ours.
THROUGHPUT_MIN, THROTTLED_MAX, SHARE_MIN = 0.9, 0.02, 0.4


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario, and how each limit did in it.

    Attributes:
        scenario: Which.
        best: The best fixed limit.
        figures: By the names of LIMITS.
    """

    scenario: Scenario
    best: Best
    figures: Mapping[str, Figures]

    def throughput(self, limit: str) -> float:
        """As a share of the best fixed limit's."""
        return self.figures[limit].tasks_per_s / self.best.tasks_per_s

    def within_ranges(self, limit: str) -> bool:
        """Whether all of the scenario's ranges hold."""
        return self.figures[limit].fitting == self.figures[limit].ranges


def run_all(chosen: Sequence[Scenario], limits: Sequence[str], seeds: int) -> list[Row]:
    """Run each scenario with each limit, in as many processes as there are cores.

    Args:
        chosen: Which scenarios.
        limits: Of LIMITS.
        seeds: How many times ours is run; the others are run once.
    """
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        bests = list(_told("sweeps", pool.map(sweep, chosen), len(chosen)))
        cases = [
            Case(scenario, limit, seed, best.first)
            for scenario, best in zip(chosen, bests, strict=True)
            for limit in limits
            for seed in range(1, seeds + 1 if limit == OURS else 2)
        ]
        measured = _told("runs", pool.map(measure, cases), len(cases))
        done: dict[tuple[str, str], list[Figures]] = defaultdict(list)
        for case, figures in zip(cases, measured, strict=True):
            done[case.scenario.name, case.limit].append(figures)
    return [
        Row(scenario, best, {limit: mean(done[scenario.name, limit]) for limit in limits})
        for scenario, best in zip(chosen, bests, strict=True)
    ]


def _told(what: str, each: Iterable[_T], count: int) -> Iterator[_T]:
    """Say on the terminal how far it is."""
    for number, one in enumerate(each, 1):
        end = "\n" if number == count else ""
        print(f"\r{what}: {number} of {count}", end=end, file=sys.stderr, flush=True)
        yield one


# --- Tables ----------------------------------------------------------------------------------


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """All of them, in Markdown."""
    yield _summary(rows)
    yield "Throughput after settling, % of the best fixed limit's:"
    yield _table(
        rows,
        lambda row, limit: f"{100 * row.throughput(limit):.0f}",
        {
            "best": lambda row: f"{row.best.value}",
            "tasks/s": lambda row: f"{row.best.tasks_per_s:,.0f}",
        },
    )
    yield "Throttled replies, % after settling (% of the whole run):"
    yield _table(rows, _throttled)
    yield "Seconds until settled (until recovered):"
    yield _table(rows, _settles)
    yield "Ranges of the scenario that hold:"
    yield _table(rows, _ranges, {"ranges": lambda row: f"{row.figures[OURS].ranges:.0f}"})


def _table(
    rows: Sequence[Row],
    cell: Callable[[Row, str], str],
    before: Mapping[str, Callable[[Row], str]] | None = None,
) -> str:
    before, limits = before or {}, rows[0].figures
    heads = ["scenario", *before, *limits]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for row in rows:
        cells = [show(row) for show in before.values()] + [cell(row, limit) for limit in limits]
        lines.append(f"| {' | '.join([row.scenario.name, *cells])} |")
    return "\n".join(lines)


def _throttled(row: Row, limit: str) -> str:
    figures = row.figures[limit]
    return f"{100 * figures.throttled_settled:.1f} ({100 * figures.throttled:.1f})"


def _settles(row: Row, limit: str) -> str:
    figures = row.figures[limit]
    recovers = "" if figures.recovers_s is None else f" ({_seconds(figures.recovers_s)})"
    return f"{_seconds(figures.settles_s)}{recovers}"


def _ranges(row: Row, limit: str) -> str:
    return "all" if row.within_ranges(limit) else f"{row.figures[limit].fitting:.0f}"


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


def _summary(rows: Sequence[Row]) -> str:
    heads = (
        *("limit", "throughput, mean %", "worst", "throttled, mean %", "worst"),
        *("settles, worst s", "recovers, worst s", "share of two", "scenarios within ranges"),
    )
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for limit in rows[0].figures:
        figures = [row.figures[limit] for row in rows]
        throughputs = [100 * row.throughput(limit) for row in rows]
        throttled = [100 * each.throttled_settled for each in figures]
        recovers = [each.recovers_s for each in figures if each.recovers_s is not None]
        shares = [each.share for each in figures if each.share is not None]
        cells = (
            limit if limit not in FIXED else f"fixed {limit}",
            f"{fmean(throughputs):.1f}",
            f"{min(throughputs):.0f}",
            f"{fmean(throttled):.1f}",
            f"{max(throttled):.1f}",
            _seconds(max(each.settles_s for each in figures)),
            _seconds(max(recovers)) if recovers else "",
            f"{min(shares):.2f}" if shares else "",
            f"{sum(row.within_ranges(limit) for row in rows)} of {len(rows)}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# --- What is wanted --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that is wanted of ours.

    Attributes:
        what: A figure, and its unit.
        least: It is not to be below this; None for no matter.
        most: Nor above this.
        values: What it is, by scenario.
    """

    what: str
    values: Mapping[str, float]
    least: float | None = None
    most: float | None = None

    @property
    def misses(self) -> dict[str, float]:
        """The scenarios in which it is not so."""
        return {
            name: value
            for name, value in self.values.items()
            if (self.least is not None and value < self.least)
            or (self.most is not None and not value <= self.most)
        }

    def __str__(self) -> str:
        """A row of a table."""
        worst = min if self.least is not None else max
        name = worst(self.values, key=self.values.__getitem__)
        wanted = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        verdict = "NOT MET" if self.misses else "met"
        return f"| {self.what} | {wanted} | {_shown(self.values[name])} ({name}) | {verdict} |"


def _shown(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.3g}"


def bars(rows: Sequence[Row]) -> list[Bar]:
    """All of them, but those that no scenario says anything of."""
    ours = {row.scenario.name: row.figures[OURS] for row in rows}
    knees = [row for row in rows if has_knee(row.scenario)]
    shares = {row.scenario.name: 100 * row.throughput(OURS) for row in knees}
    names = {row.scenario.name for row in knees}
    found = [
        Bar("throughput, % of the best fixed limit's", shares, least=100 * THROUGHPUT_MIN),
        Bar(
            "throttled after settling, %",
            {name: 100 * each.throttled_settled for name, each in ours.items() if name in names},
            most=100 * THROTTLED_MAX,
        ),
        Bar("settles in, s", {name: each.settles_s for name, each in ours.items()}, most=SETTLES_S),
        Bar(
            "recovers in, s",
            {name: each.recovers_s for name, each in ours.items() if each.recovers_s is not None},
            most=SETTLES_S,
        ),
        Bar(
            "the smaller share of two submitters",
            {name: each.share for name, each in ours.items() if each.share is not None},
            least=SHARE_MIN,
        ),
    ]
    return [bar for bar in found if bar.values]


def show_bars(found: Sequence[Bar]) -> bool:
    """Print them, and each scenario in which one is not met; say whether all are."""
    print("| wanted of ours | | worst | |", "|---|---:|---:|---|", *found, sep="\n")
    print()
    for bar in found:
        for name, value in bar.misses.items():
            print(f"NOT MET: {name}: {bar.what}: {_shown(value)}")
    return not any(bar.misses for bar in found)


# --- The command -----------------------------------------------------------------------------


def _arguments() -> argparse.Namespace:
    known = {scenario.name: scenario for scenario in scenarios()}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pace", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="SCENARIO", help=f"of {', '.join(known)} [default: all]"
    )
    parser.add_argument(
        "--limits",
        nargs="*",
        choices=LIMITS,
        default=LIMITS,
        metavar="LIMIT",
        help=f"of {', '.join(LIMITS)}; {OURS} is always run; default: all",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="how often ours is run; the others are run once; default: %(default)s",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="draw a picture of each scenario instead; wants matplotlib",
    )
    parser.add_argument(
        "--http",
        action="store_true",
        help="compare real HTTP and virtual time instead, a minute; default: "
        + ", ".join(pace_http.SCENARIOS),
    )
    parser.add_argument("--tasks-max", type=int, help="with these two, for a quick look")
    given = parser.parse_args()
    if unknown := set(given.names) - known.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    names = given.names or (pace_http.SCENARIOS if given.http else known)
    given.scenarios = [_smaller(known[name], given.tasks_max) for name in names]
    given.limits = [limit for limit in LIMITS if limit in {OURS, *given.limits}]
    return given


def _smaller(scenario: Scenario, tasks_max: int | None) -> Scenario:
    tasks = min(scenario.load.tasks, tasks_max or sys.maxsize)
    return replace(scenario, load=replace(scenario.load, tasks=tasks))


def main() -> None:
    """Exit code 1 if something is not as is wanted."""
    given = _arguments()
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawing = partial(pace_pictures.draw, folder=given.pictures)
            for path in pool.map(drawing, given.scenarios):
                print(path, flush=True)
        return
    if given.http:
        with tempfile.TemporaryDirectory() as folder:
            pairs = pace_http.compare(given.scenarios, Path(folder))
        print(pace_http.table(pairs))
        sys.exit(not all(pair.agrees for pair in pairs))
    rows = run_all(given.scenarios, given.limits, given.seeds)
    for part in tables(rows):
        print(part, end="\n\n")
    sys.exit(not show_bars(bars(rows)))


if __name__ == "__main__":
    main()
