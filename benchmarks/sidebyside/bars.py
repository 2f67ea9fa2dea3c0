"""What is wanted of bulksubmit, and whether it is so: computed from the results."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.sidebyside.clients import (
    AZURE_AIO,
    BULKSUBMIT,
    IDEAL,
    IMPORTS,
    SHOWN,
)
from benchmarks.sidebyside.results import Results
from benchmarks.sidebyside.runs import TASKS_MAX, Case, Run
from benchmarks.sidebyside.sections import (
    BESIDE_IDEAL,
    CPU,
    ERRORS,
    FAILING,
    FAILING_ONCE,
    FLIGHT,
    LATENCY_MS,
    MEDIUM,
    MEMORY,
    RESUMED,
    RICH,
    SHOWING,
    SMALL,
    START,
    TLS,
)

_MIB = 2**20
_MILLION = 1_000_000
_UNCHECKED = ("dedupe=false",)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        what: Is measured, with its unit.
        value: What it is; None if it was not measured.
        wanted: The least or the most that it may be.
        at_least: Whether that is the least.
    """

    what: str
    value: float | None
    wanted: float
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is as it should be; None if it was not measured."""
        if self.value is None or math.isnan(self.value):
            return None
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted


def table(bars: Sequence[Bar]) -> str:
    """A row a bar."""
    lines = ["### What is wanted of bulksubmit", "", "| wanted | | is | |", "|---|---:|---:|---|"]
    words = {True: "met", False: "**not met**", None: "not measured"}
    for bar in bars:
        bound = f"{'≥' if bar.at_least else '≤'} {bar.wanted:g}"
        value = "" if bar.met is None else f"{bar.value:,.3g}"
        lines.append(f"| {bar.what} | {bound} | {value} | {words[bar.met]} |")
    return "\n".join(lines)


def bars_of(results: Results) -> list[Bar]:
    """All of them."""
    return [
        *_cpu(results),
        *_pace(results),
        *_tls(results),
        *_memory(results),
        Bar("requests ÷ needed at 2 % ServerError", _requests(results), 1.03),
        *_start(results),
        Bar("CPU, progress and metrics on ÷ off", _shown(results), 1.02),
        Bar(
            "first request of a resumed run of 10 M tasks, half of them in, s", _resumed(results), 3
        ),
    ]


def _cpu(results: Results) -> Iterator[Bar]:
    for section, other, name, bounds in (
        (CPU, AZURE_AIO, "azure-batch 15.1 aio", (0.05, 0.022)),
        (BESIDE_IDEAL, IDEAL, "the ideal loop", (1.4, 1.4)),
    ):
        for case, wanted in zip((SMALL, RICH), bounds, strict=True):
            ratio = _ratio(results, results.cpu_us, section, case, other)
            yield Bar(f"CPU a task ÷ {name}, {case.task_bytes:,} B", ratio, wanted)


def _pace(results: Results) -> Iterator[Bar]:
    ratio = _ratio(results, _tasks_per_s, BESIDE_IDEAL, SMALL, IDEAL)
    yield Bar("tasks/s without latency ÷ the ideal loop", ratio, 0.8, at_least=True)
    for in_flight, wanted in ((10, 0.97), (50, 0.93), (100, 0.85)):
        case = _late(in_flight)
        share = _share_of_bound(results, BULKSUBMIT, case)
        what = f"tasks/s at 100 ms ÷ the latency's bound, {in_flight} in flight"
        yield Bar(what, share, wanted, at_least=True)
    ratio = _ratio(results, _tasks_per_s, FLIGHT, case, AZURE_AIO)
    yield Bar("the same ÷ azure-batch 15.1 aio", ratio, 7, at_least=True)


def _tls(results: Results) -> Iterator[Bar]:
    for case, wanted in ((SMALL, 1.15), (RICH, 1.25)):
        own, plain = (results.of(TLS, BULKSUBMIT, replace(case, tls=tls)) for tls in (True, False))
        ratio = results.ratio(results.cpu_us, own, plain)
        yield Bar(f"CPU a task, TLS ÷ plain, {case.task_bytes:,} B", ratio, wanted)
    more = [
        run.seen.connections - run.case.in_flight
        for run in results.runs
        if run.client == BULKSUBMIT and run.section in {CPU, FLIGHT, TLS}
    ]
    what = "connections opened beyond those in flight, the most of all runs"
    yield Bar(what, float(max(more)) if more else None, 0)


def _memory(results: Results) -> Iterator[Bar]:
    def mib(case: Case) -> float | None:
        runs = results.of(MEMORY, BULKSUBMIT, case)
        return _median(run.rss_bytes / _MIB for run in runs if run.case.tasks == case.tasks)

    million = replace(MEDIUM, tasks=_MILLION)
    for in_flight, wanted in ((16, 64), (100, 80)):
        for options, name, most in ((_UNCHECKED, "without", wanted), ((), "with", 96)):
            case = replace(million, in_flight=in_flight, options=options)
            what = f"peak RSS, MiB, 1 M tasks, {in_flight} in flight, {name} duplicate check"
            yield Bar(what, mib(case), most)
    for server_error, name in (
        (0.0, ""),
        (FAILING_ONCE, ", each task failing once on the average"),
    ):
        case = replace(SMALL, server_error=server_error)
        many, few = (mib(replace(case, tasks=tasks)) for tasks in (10 * _MILLION, _MILLION))
        more = None if many is None or few is None else many - few
        yield Bar(f"peak RSS of 10 M tasks above that of 1 M, MiB{name}", more, 8)
    yield Bar("peak RSS, MiB, tasks of 1 MB", mib(Case(999_000, 300, latency_ms=50)), 160)


def _requests(results: Results) -> float | None:
    case = replace(SMALL, server_error=FAILING)
    return _median(run.requests_share for run in results.of(ERRORS, BULKSUBMIT, case))


def _start(results: Results) -> Iterator[Bar]:
    runs = results.of(START, BULKSUBMIT, SMALL)
    imports_s = _median(run.wall_s for run in results.of(START, IMPORTS, SMALL))
    first_s = _median(run.first_s for run in runs)
    above_s = None if first_s is None or imports_s is None else first_s - imports_s
    yield Bar("start-up CPU, 100 tasks, s", _median(run.cpu_s for run in runs), 0.4)
    yield Bar("first request, above importing aiohttp and structlog, s", above_s, 0.5)
    yield Bar("end after the last answer, s", _median(run.exit_s for run in runs), 0.2)


def _shown(results: Results) -> float | None:
    case = replace(MEDIUM, tasks=1)
    shown, hidden = (results.of(SHOWING, client, case) for client in (SHOWN, BULKSUBMIT))
    return results.ratio(results.cpu_us, shown, hidden)


def _resumed(results: Results) -> float | None:
    return _median(run.first_s for run in results.runs if run.section == RESUMED)


def _ratio(
    results: Results,
    value: Callable[[Run], float],
    section: str,
    case: Case,
    other: str,
    *,
    client: str = BULKSUBMIT,
) -> float | None:
    own = results.of(section, client, case)
    return results.ratio(value, own, results.of(section, other, case))


def _late(in_flight: int) -> Case:
    return replace(SMALL, in_flight=in_flight, latency_ms=LATENCY_MS)


def _share_of_bound(results: Results, client: str, case: Case) -> float | None:
    bound = case.in_flight * TASKS_MAX * 1000 / case.latency_ms
    return _median(run.tasks_per_s / bound for run in results.of(FLIGHT, client, case))


def _tasks_per_s(run: Run) -> float:
    return run.tasks_per_s


def _median(values: Iterator[float]) -> float | None:
    found = list(values)
    return median(found) if found else None
