"""Results as pictures."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from statistics import median
from typing import TypeVar

from benchmarks.sidebyside import svg
from benchmarks.sidebyside.results import Results
from benchmarks.sidebyside.runs import TASKS_MAX, Run
from benchmarks.sidebyside.sections import CPU, FLIGHT, LATENCY_MS, MEMORY, SMALL

_Key = TypeVar("_Key", bound=Hashable)

_MIB = 2**20


def pictures(results: Results) -> dict[str, str]:
    """SVG by name, of those sections that were run."""
    drawn = {
        CPU: _cpu(results),
        f"{FLIGHT}-0-ms": _in_flight(results, 0),
        f"{FLIGHT}-{LATENCY_MS}-ms": _in_flight(results, LATENCY_MS),
        MEMORY: _memory(results),
    }
    return {name: picture for name, picture in drawn.items() if picture}


def _cpu(results: Results) -> str:
    groups: dict[str, dict[str, float]] = {}
    runs = [run for run in results.runs if run.section == CPU and not run.start_up]
    values = _medians(runs, lambda run: (run.client, run.case.task_bytes), results.cpu_us)
    for (client, task_bytes), value in values.items():
        # A run that is tiny may take less than what the start-up took in another.
        groups.setdefault(client, {})[f"{task_bytes:,} B"] = max(value, 0.01)
    return svg.bars("CPU a task, µs", groups) if groups else ""


def _in_flight(results: Results, latency_ms: int) -> str:
    runs = [
        run
        for run in results.runs
        if run.section == FLIGHT and not run.start_up and run.case.latency_ms == latency_ms
    ]
    values = _medians(runs, lambda run: (run.client, run.case.in_flight), lambda r: r.tasks_per_s)
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (client, in_flight), value in values.items():
        series[client].append((in_flight, value))
    if not series:
        return ""
    bound = "the latency's bound"
    if latency_ms:
        numbers = sorted({in_flight for _, in_flight in values})
        series[bound] = [(each, each * TASKS_MAX * 1000 / latency_ms) for each in numbers]
    title = f"tasks/s, {SMALL.task_bytes} B, latency {latency_ms} ms"
    return svg.lines(title, "requests in flight", series, dashed=[bound])


def _memory(results: Results) -> str:
    runs = [
        run
        for run in results.runs
        if run.section == MEMORY and not run.case.options and run.case.in_flight == SMALL.in_flight
    ]
    values = _medians(
        [run for run in runs if not run.case.latency_ms],
        lambda run: (
            f"{run.client}, {run.case.task_bytes} B" + ", failing" * bool(run.case.server_error),
            run.case.tasks,
        ),
        lambda run: run.rss_bytes / _MIB,
    )
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (name, tasks), value in values.items():
        series[name].append((tasks, value))
    return svg.lines("peak RSS, MiB", "tasks", series) if series else ""


def _medians(
    runs: Iterable[Run], key: Callable[[Run], _Key], value: Callable[[Run], float]
) -> dict[_Key, float]:
    values: dict[_Key, list[float]] = defaultdict(list)
    for run in runs:
        values[key(run)].append(value(run))
    return {name: median(each) for name, each in values.items()}
