"""How fast ``bulksubmit validate`` is, and what the look for duplicate IDs takes. See README.md.

Run it from the project's folder: ``python -m benchmarks.validate --help``.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks.flood import MB, child_environment, machine
from benchmarks.measure import Usage, run_measured
from benchmarks.task_file import task_file

_SMALL_BYTES, _RICH_BYTES = 100, 300
_MANY_IDS, _MEMORY_MB, _MEMORY_MANY_MB = 10_000_000, 40, 64
_FEW = 100  # For what a process takes by itself.


def duplicates(ids: int, rounds: int, environment: Mapping[str, str]) -> str:
    """What the look for IDs that come twice takes by itself.

    Args:
        ids: How many it is told of; one of them comes again.
        rounds: How often; the medians are taken.
        environment: Of the processes.
    """
    measured = [_duplicates(ids, environment) for _ in range(rounds)]
    adding_s, finding_s, rss_bytes = (median(values) for values in zip(*measured, strict=True))
    base_bytes = median(_duplicates(_FEW, environment)[2] for _ in range(rounds))
    lines = [
        bar("CPU an ID while reading, µs", adding_s / ids * 1e6, 0.3),
        bar("CPU an ID at the end, µs", finding_s / ids * 1e6, 0.2),
        bar(
            "memory, MB",
            (rss_bytes - base_bytes) / MB,
            _MEMORY_MB if ids <= _MANY_IDS else _MEMORY_MANY_MB,
        ),
    ]
    return "\n".join([f"{ids:,} IDs, for the look for duplicates alone:", *indented(lines)])


def _duplicates(ids: int, environment: Mapping[str, str]) -> tuple[float, float, int]:
    """The CPU seconds of adding and of finding, and the peak RSS in bytes."""
    usage = run_measured([sys.executable, "-m", "benchmarks.duplicate_ids", str(ids)], environment)
    adding_s, finding_s, count = usage.output.decode().split() or "???"
    if usage.exit_code or count != "1":
        raise RuntimeError(f"exit code {usage.exit_code}, duplicates found: {count}")
    return float(adding_s), float(finding_s), usage.rss_bytes


def validation(source: Path, tasks: int, rounds: int, environment: Mapping[str, str]) -> str:
    """What ``bulksubmit validate`` takes for a file, its start included.

    Args:
        source: Tasks without an error.
        tasks: That it has.
        rounds: How often; the medians are taken.
        environment: Of the processes.
    """
    runs: dict[str, list[Usage]] = {"": [], "--no-dedupe": []}
    for _ in range(rounds):
        for option, usages in runs.items():
            usages.append(_validate(source, tasks, environment, *filter(None, [option])))
    cpu_s, without_s = (median(one.cpu_s for one in usages) for usages in runs.values())
    lines = [
        bar("CPU a task, µs", cpu_s / tasks * 1e6, 10),  # 100,000 a second on one core.
        f"tasks/s by the clock: {tasks / median(one.wall_s for one in runs['']):,.0f}",
        f"of which for duplicates, µs a task: {(cpu_s - without_s) / tasks * 1e6:.2f}",
        bar("peak RSS, MB", median(one.rss_bytes for one in runs[""]) / MB, 96),
    ]
    size = source.stat().st_size / tasks - 1
    heading = f"bulksubmit validate, {tasks:,} tasks of {size:.0f} bytes:"
    return "\n".join([heading, *indented(lines)])


def _validate(source: Path, tasks: int, environment: Mapping[str, str], *options: str) -> Usage:
    command = [sys.executable, "-m", "bulksubmit", "validate", str(source), "--output", "json"]
    usage = run_measured([*command, *options], environment)
    if usage.exit_code or json.loads(usage.output)["tasks"] != tasks:
        raise RuntimeError(f"exit code {usage.exit_code}, output {usage.output[:200]!r}")
    return usage


def small_tasks(folder: Path, tasks: int) -> Path:
    """A new file of tasks with an ID and a command line only."""
    path = folder / "small.jsonl"
    with path.open("w") as file:
        for number in range(tasks):
            head = f'{{"id":"task-{number:09}","commandLine":"'
            file.write(f'{head}{"x" * (_SMALL_BYTES - len(head) - 2)}"}}\n')
    return path


def bar(what: str, value: float, most: float) -> str:
    """What is wanted, and whether it is so."""
    return f"{what}: {value:.2f}, at most {most:g}: {'met' if value <= most else 'NOT MET'}"


def indented(lines: list[str]) -> list[str]:
    """Each line below a heading."""
    return [f"  {line}" for line in lines]


def main() -> None:
    """One part after the other, each a few lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validate", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "--ids",
        type=int,
        nargs="+",
        default=[1_000_000, 10_000_000],
        help="default: 1 and 10 million; 100 million take minutes, and 1.7 GB of disk",
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "bulksubmit-benchmarks"),
        help="for the task file (300 MB), which is kept; default: %(default)s",
    )
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    environment = child_environment(given.folder)
    print(machine(), "", sep="\n", flush=True)
    for ids in given.ids:
        print(duplicates(ids, given.rounds, environment), flush=True)
    rich = task_file(given.folder, tasks=given.tasks, task_bytes=_RICH_BYTES)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        for source in (small_tasks(Path(name), given.tasks), rich):
            print(validation(source, given.tasks, given.rounds, environment), flush=True)


if __name__ == "__main__":
    main()
