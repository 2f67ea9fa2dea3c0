"""What each stage of a submission takes a task, and a picture of where the time goes.

Run it from the project's folder: ``python -m benchmarks.stages --help``.
"""

import argparse
import gc
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.flood import machine
from benchmarks.sidebyside.runs import Case, Server, on_core
from benchmarks.stages.icicle import Sampler, draw
from benchmarks.stages.parts import REQUEST_TASKS, REQUESTS, Parts, Stage
from benchmarks.task_file import RICH_BYTES, SMALL_BYTES, task_file
from bulksubmit import Settings, SharedKey, submit_sync

KINDS = {"small": SMALL_BYTES, "rich": RICH_BYTES}
REST = "HTTP, and what lies between"
WHOLE = "the whole flood"
FLOOD_TASKS = {"small": 300_000, "rich": 100_000}

_Figures = Mapping[tuple[str, str], Sequence[float]]


def time_stage(stage: Stage, tasks: int) -> float:
    """How long it takes, in ns of CPU time a task."""
    once = stage.begin()
    gc.collect()
    began_ns = time.process_time_ns()
    once()
    return (time.process_time_ns() - began_ns) / tasks


def flood(endpoint: str, path: Path) -> None:
    """Submit a file, 16 requests at a time, with everything on.

    Raises:
        RuntimeError: if not every task was added.
    """
    settings = Settings(concurrency=16, on_unfinished="new")
    credential = SharedKey("devaccount", "YSBrZXkgZm9yIGJlbmNobWFya3M=")
    report = submit_sync(
        path, job_id="bench", endpoint=endpoint, credential=credential, settings=settings
    )
    if report.added != report.total:
        raise RuntimeError(report)


def table(figures: _Figures, names: Sequence[str]) -> str:
    """The medians, with the least and the most of each, as a table in Markdown."""
    lines = [f"| stage | {' | '.join(f'{kind}, ns' for kind in KINDS)} |", "|---|---:|---:|"]
    for name in names:
        cells = []
        for kind in KINDS:
            values = figures[kind, name]
            cells.append(f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(
    folder: Path, rounds: int, flood_tasks: Mapping[str, int]
) -> tuple[_Figures, list[str]]:
    """All stages of both kinds of tasks, and the whole, round by round."""
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    parts = {
        kind: Parts(task_file(folder, tasks=REQUESTS * REQUEST_TASKS, task_bytes=size), folder)
        for kind, size in KINDS.items()
    }
    names = [stage.name for stage in parts["small"].stages()]
    with Server(Case(SMALL_BYTES, 0), folder) as server:
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
            for kind, size in KINDS.items():
                for stage in parts[kind].stages():
                    figures[kind, stage.name].append(time_stage(stage, parts[kind].tasks))
                path = task_file(folder, tasks=flood_tasks[kind], task_bytes=size)
                began_ns = time.process_time_ns()
                flood(server.endpoint, path)
                whole = (time.process_time_ns() - began_ns) / flood_tasks[kind]
                known = sum(figures[kind, name][-1] for name in names)
                figures[kind, REST].append(whole - known)
                figures[kind, WHOLE].append(whole)
    return figures, [*names, REST, WHOLE]


def picture(folder: Path, kind: str, tasks: int, to: Path) -> Path:
    """Draw a flood of one kind of tasks."""
    path = task_file(folder, tasks=tasks, task_bytes=KINDS[kind])
    sampler = Sampler()
    with Server(Case(KINDS[kind], 0), folder) as server, sampler.running():
        flood(server.endpoint, path)
    drawn = to / f"stages-{kind}.svg"
    title = f"{tasks:,} {kind} tasks of {KINDS[kind]:,} bytes, 16 requests in flight: CPU time"
    draw(sampler.tree(below=lambda name: name.startswith("Runner.run ")), drawn, title=title)
    return drawn


def main() -> None:
    """Measure, print, draw."""
    results = Path(__file__).parents[1] / "results"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--tasks-max", type=int, default=sys.maxsize, help="of a whole flood")
    parser.add_argument("--results", type=Path, default=results, help="default: %(default)s")
    arguments = parser.parse_args()
    folder = Path(tempfile.gettempdir(), "bulksubmit-benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    flood_tasks = {kind: min(many, arguments.tasks_max) for kind, many in FLOOD_TASKS.items()}
    with tempfile.TemporaryDirectory() as state, on_core(0):
        os.environ["BULKSUBMIT_STATE_DIR"] = state
        head = machine()
        figures, names = measure(folder, arguments.rounds, flood_tasks)
        text = f"{head}\n\nrounds: {arguments.rounds}\n\n{table(figures, names)}\n"
        (arguments.results / "stages.md").write_text(text, encoding="utf-8")
        print(text)
        for kind, tasks in flood_tasks.items():
            print(picture(folder, kind, 3 * tasks, arguments.results))


if __name__ == "__main__":
    main()
