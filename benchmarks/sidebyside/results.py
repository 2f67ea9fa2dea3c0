"""Runs, looked up and put into ratios; to JSON and back."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from benchmarks.sidebyside.clients import CLIENTS
from benchmarks.sidebyside.runs import START_UP_TASKS, Case, Run, Seen


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured.

    Attributes:
        machine: On what.
        runs: In their order.
        sat: For each section, when it was measured, and how busy the machine was before.
        tasks_max: To which the cases were shrunk, for a quick look; None if they were not.
    """

    machine: str
    runs: Sequence[Run] = ()
    sat: Mapping[str, str] = field(default_factory=dict)
    tasks_max: int | None = None

    def plus(self, section: str, runs: Sequence[Run], sat: str) -> "Results":
        """The same with a section, in the place of what there may be of it already."""
        others = [run for run in self.runs if run.section != section]
        return replace(self, runs=[*others, *runs], sat={**self.sat, section: sat})

    def of(self, section: str, client: str, case: Case) -> list[Run]:
        """The runs of a client in a section that did as the case says, with however many tasks."""
        return [
            run
            for run in self.runs
            if (run.section, run.client, run.start_up) == (section, client, False)
            and replace(run.case, tasks=case.tasks) == case
        ]

    def start_up_s(self, section: str, client: str, *, tls: bool) -> float | None:
        """The CPU time that a client takes to start up and to end, if that was measured."""
        cpu_s = [
            run.cpu_s
            for run in self.runs
            if (run.section, run.client, run.start_up) == (section, client, True)
            and run.case.tls == tls
        ]
        return median(cpu_s) if cpu_s else None

    def cpu_us(self, run: Run) -> float:
        """CPU time a task, the start-up left out; NaN if that was not measured."""
        if CLIENTS[run.client].added is None:
            return run.cpu_s / run.case.tasks * 1e6  # A wrk that starts takes next to nothing.
        start_up_s = self.start_up_s(run.section, run.client, tls=run.case.tls)
        more = run.case.tasks - START_UP_TASKS
        return (
            math.nan if start_up_s is None or more <= 0 else (run.cpu_s - start_up_s) / more * 1e6
        )

    def ratio(
        self, value: Callable[[Run], float], runs: Iterable[Run], others: Iterable[Run]
    ) -> float | None:
        """The median of the ratios of runs that were made in the same round."""
        by_round = {run.round: value(run) for run in others}
        ratios = [value(run) / by_round[run.round] for run in runs if by_round.get(run.round)]
        return median(ratios) if ratios else None

    def to_json(self) -> bytes:
        """All of it."""
        return json.dumps(asdict(self), indent=1).encode()


def from_json(text: bytes) -> Results:
    """What to_json() gave."""
    given = json.loads(text)
    runs = []
    for each in given["runs"]:
        case, seen = each.pop("case"), each.pop("seen")
        case["options"] = tuple(case["options"])
        runs.append(Run(case=Case(**case), seen=Seen(**seen), **each))
    return Results(**{**given, "runs": runs})
