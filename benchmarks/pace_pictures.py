"""A picture of a scenario: the limit, the pace and what went wrong over time."""

import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pace_runs import OURS, PUBLISHED, Case, run_case
from bulksubmit.emulator.capacity import Capacity
from bulksubmit.emulator.scenario import Load, Scenario
from tests.scenarios.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEP_S = 2.0  # What a pace is the mean of.
_OURS = ("#1f5fa8", "#2a9d8f")  # The second one for the second submitter.
_OTHERS = dict(zip(PUBLISHED, ("#e08e2b", "#b565a7", "#8a8a8a"), strict=True))
_WRONG = {"throttled": "#e0a82b", "lost": "#c8443c", "servererror": "#7d5ba6"}


def draw(scenario: Scenario, folder: Path) -> Path:
    """Run it with our limit and the published ones, and draw ``NAME.png``."""
    import matplotlib as mpl  # noqa: PLC0415  Only a picture needs it.

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    runs = {
        limit: run_case(Case(scenario, limit, seed=1), scenario) for limit in (OURS, *PUBLISHED)
    }
    ours = runs[OURS]
    shape = {"height_ratios": (3, 3, 1.5)}
    figure, axes = plt.subplots(3, sharex=True, figsize=(9, 7), gridspec_kw=shape)
    _limits(axes[0], ours)
    _paces(axes[1], runs)
    _wrong(axes[2], ours)
    for axis in axes:
        for at_s, _ in _changes(scenario):
            axis.axvline(at_s, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_xlim(0, 1.02 * ours.seconds)
        axis.set_ylim(0)
        axis.spines[["top", "right"]].set_visible(False)
    for at_s, text in _changes(scenario):
        place = axes[0].get_xaxis_transform()
        axes[0].text(at_s, 1, text, transform=place, va="bottom", fontsize=8, color="0.3")
    axes[-1].set_xlabel("seconds")
    figure.suptitle(str(ours), fontsize=9)
    figure.tight_layout()
    path = folder / f"{scenario.name}.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _limits(axis: "Axes", timeline: Timeline) -> None:
    scenario = timeline.scenario
    for submitter in range(scenario.load.submitters):
        own = [each for each in timeline.limits if each.submitter == submitter]
        ends_s = max(each.at_s for each in timeline.replied if each.submitter == submitter)
        times = [*(each.at_s for each in own), ends_s]
        values = [*(each.limit for each in own), own[-1].limit]
        axis.step(times, values, where="post", color=_OURS[submitter], linewidth=1.5)
    slots = [(at_s, capacity.slots or math.nan) for at_s, capacity in _capacities(timeline)]
    if not all(math.isnan(value) for _, value in slots):
        axis.step(
            *zip(*slots, strict=True),
            where="post",
            color="0.4",
            linestyle="--",
            linewidth=0.8,
            label="works on at once",
        )
        _legend(axis)
    axis.set_ylabel("limit")


def _paces(axis: "Axes", runs: dict[str, Timeline]) -> None:
    ours = runs[OURS]
    for limit, color in _OTHERS.items():
        axis.plot(*_pace(runs[limit]), color=color, linewidth=0.8, alpha=0.9, label=limit)
    if ours.scenario.load.submitters > 1:
        for submitter in range(ours.scenario.load.submitters):
            name = f"{OURS}, submitter {submitter + 1}"
            axis.plot(*_pace(ours, submitter), color=_OURS[submitter], linewidth=1.2, label=name)
    axis.plot(*_pace(ours), color="#123a66", linewidth=2, label=OURS)
    best = [
        (at_s, _best_pace(capacity, ours.scenario.load)) for at_s, capacity in _capacities(ours)
    ]
    axis.step(
        *zip(*best, strict=True),
        where="post",
        color="0.4",
        linestyle="--",
        linewidth=0.8,
        label="at best",
    )
    axis.set_ylabel("tasks/s")
    _legend(axis)


def _wrong(axis: "Axes", timeline: Timeline) -> None:
    bottom = [0.0] * (int(timeline.seconds) + 1)
    for kind, color in _WRONG.items():
        counts = [0.0] * len(bottom)
        for each in timeline.replied:
            counts[int(each.at_s)] += each.kind == kind
        if any(counts):
            axis.bar(
                range(len(counts)),
                counts,
                width=1,
                align="edge",
                bottom=bottom,
                color=color,
                label=kind,
            )
        bottom = [below + count for below, count in zip(bottom, counts, strict=True)]
    axis.set_ylabel("failures/s")
    if any(bottom):
        _legend(axis)


def _legend(axis: "Axes") -> None:
    """In a line above the picture, where it hides nothing."""
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=7, fontsize=8, frameon=False)


def _pace(timeline: Timeline, submitter: int | None = None) -> tuple[list[float], list[float]]:
    """The middles of steps, and the tasks that were added a second in each."""
    steps = max(1, int(timeline.seconds / _STEP_S))
    added = [0] * steps
    for each in timeline.replied:
        step = int(each.at_s / _STEP_S)
        if step < steps and submitter in (None, each.submitter):
            added[step] += each.added
    return [(step + 0.5) * _STEP_S for step in range(steps)], [each / _STEP_S for each in added]


def _capacities(timeline: Timeline) -> list[tuple[float, Capacity]]:
    """When each begins; and the last one's end."""
    phases = timeline.scenario.phases
    return [
        *((phase.at_s, phase.capacity) for phase in phases),
        (timeline.seconds, phases[-1].capacity),
    ]


def _best_pace(capacity: Capacity, load: Load) -> float:
    """Tasks a second that the service can add, however they are sent."""
    if capacity.outage != "none":
        return 0.0
    tasks, body_bytes = load.tasks_per_request, load.tasks_per_request * load.task_bytes
    median_ms = capacity.latency_ms * math.exp(capacity.latency_spread**2 / 2)
    work_s = (
        median_ms + capacity.per_task_ms * tasks + capacity.per_mb_ms * body_bytes / 1e6
    ) / 1e3
    at_once = min(capacity.slots or math.inf, load.submitters * load.concurrency_max)
    link = 1e6 * capacity.link_mb_per_s / load.task_bytes
    most = min(at_once * tasks / work_s, capacity.tasks_per_s, link)
    return most * (1 - capacity.server_error)


def _changes(scenario: Scenario) -> Iterator[tuple[float, str]]:
    """When something changes, and what: ``parallel 12``."""
    for before, phase in zip(scenario.phases, scenario.phases[1:], strict=False):
        changed = [
            f"{field.name} {getattr(phase.capacity, field.name)}"
            for field in fields(Capacity)
            if getattr(phase.capacity, field.name) != getattr(before.capacity, field.name)
        ]
        yield phase.at_s, "\n".join(changed)
    if scenario.load.submitters > 1:
        yield scenario.load.second_at_s, "second submitter"
