"""Measures what it takes to share a run among several workers: see README.md.

Run it from the project's folder: ``python -m benchmarks.shards --help``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.flood import MB, Case, bar, child_environment, emulator, machine
from benchmarks.shards_files import TASK_BYTES, hollow_tasks, small_tasks

WAYS = ("one process", "processes", "Dask")  # As shards_submit has them, which imports a lot.
_START_UP_TASKS = 100
_JOURNAL = ("run.db", "run.db-wal")
_LOOKS_S = 0.05


class Weighed:
    """How large a run's journal is.

    Attributes:
        bytes_max: The most that its files had at once.
        bytes_now: What they have.
    """

    bytes_max = bytes_now = 0

    def look(self, runs: Path) -> None:
        """Weigh it, in the folder of all runs, of which there is one."""
        self.bytes_now = 0
        for path in runs.glob("*/*"):
            if path.name in _JOURNAL and path.exists():
                self.bytes_now += path.stat().st_size
        self.bytes_max = max(self.bytes_max, self.bytes_now)


@contextmanager
def weighing(runs: Path) -> Iterator[Weighed]:
    """Weigh the journal again and again."""
    weighed, over = Weighed(), threading.Event()

    def look() -> None:
        while not over.wait(_LOOKS_S):
            weighed.look(runs)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield weighed
    finally:
        over.set()
        thread.join()
        weighed.look(runs)


def told(command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """What a module of ours prints, as JSON.

    Raises:
        RuntimeError: if it prints nothing.
    """
    command = [sys.executable, "-m", *command]
    ran = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE)
    if ran.returncode:
        raise RuntimeError(f"exit code {ran.returncode}")
    values: dict[str, Any] = json.loads(ran.stdout)
    return values


# --- The coordinator by itself ---------------------------------------------------------------


def coordinator(given: argparse.Namespace, folder: Path) -> None:
    """Three runs of simulated workers: a whole one, one that is killed, and that one resumed."""
    path, environment = hollow_tasks(folder, tasks=given.plan), child_environment(folder)
    runs = Path(environment["BULKSUBMIT_STATE_DIR"], "runs")
    print(
        f"{given.plan:,} tasks in {given.shards:,} shards, {given.simulated} simulated workers of "
        f"at most {given.rate:,.0f} tasks/s each:",
        flush=True,
    )
    with emulator(Case(1), environment) as endpoint:
        command = ["benchmarks.shards_coordinator", str(path), endpoint]
        command += ["--shards", str(given.shards), "--workers", str(given.simulated)]
        command += ["--rate", str(given.rate)]

        def run(*options: str) -> dict[str, Any]:
            return told([*command, "--started-s", str(time.perf_counter()), *options], environment)

        with weighing(runs) as weighed:
            whole = run()
        _print_bars("  nobody observes it", whole, given.plan)
        print("  " + bar("journal after the run, MB", weighed.bytes_now / MB, 20))
        print("  " + bar("the most during it, its log included, MB", weighed.bytes_max / MB, 20))
        shutil.rmtree(runs)
        killed = [*command, "--started-s", "0", "--observed", "--killed-at", str(given.plan // 2)]
        subprocess.run([sys.executable, "-m", *killed], env=environment, check=False)
        resumed = run("--observed", "--resumed")
        _print_bars("  the second half, each request observed", resumed, given.plan)
        print(
            f"  half done, killed, resumed: to the first orders {resumed['first_orders_s']:.1f} s, "
            f"{resumed['first_orders_cpu_s']:.2f} s of CPU time"
        )


def _print_bars(name: str, took: dict[str, Any], plan: int) -> None:
    """What one run took.

    Raises:
        RuntimeError: if it did not settle each task once.
    """
    if took["settled"] != plan:
        raise RuntimeError(f"settled {took['settled']:,} of {plan:,}")
    settled, elapsed_s = took["settled_here"], took["elapsed_s"]
    print(f"{name}: {settled:,} tasks in {elapsed_s:.0f} s, {settled / elapsed_s:,.0f} tasks/s")
    cpu_us = took["cpu_s"] / settled * 1e6
    print(f"  CPU a task, µs: {cpu_us:.3f}, at most 1: {'met' if cpu_us <= 1 else 'NOT MET'}")
    shown = took["frames_cpu_s"] / took["cpu_s"]
    print(f"  of it for showing progress, 4 times a second: {shown:.1%}")
    print("  " + bar("peak RSS, MB", took["rss_bytes"] / MB, 128), flush=True)


# --- Whole runs ------------------------------------------------------------------------------


def floods(given: argparse.Namespace, folder: Path) -> None:
    """One process, several, and a Dask cluster, in turn; then a table of the medians."""
    environment = child_environment(folder)
    ways = [way for way in WAYS if way in given.way]
    path = small_tasks(given.folder, tasks=given.tasks)
    start_up = small_tasks(folder, tasks=_START_UP_TASKS)
    idle = {way: _flood(way, start_up, _START_UP_TASKS, given.workers, environment) for way in ways}
    taken: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(given.rounds):
        for way in ways:
            taken[way].append(_flood(way, path, given.tasks, given.workers, environment))
    print(f"\n{given.tasks:,} tasks of {TASK_BYTES} bytes, {given.workers} workers:\n")
    print("| | tasks/s | CPU a task, µs | of it the coordinator | start-up, s of CPU |")
    print("|---|---:|---:|---:|---:|")
    for way, runs in taken.items():
        own = _us(runs, given.tasks, lambda run: run["cpu_s"])
        both = _us(runs, given.tasks, lambda run: run["cpu_s"] + run["workers_cpu_s"])
        started = idle[way]["cpu_s"] + idle[way]["workers_cpu_s"]
        rate = median(given.tasks / run["wall_s"] for run in runs)
        alone = "" if way == WAYS[0] else own
        print(f"| {way} | {rate:,.0f} | {both} | {alone} | {started:.1f} |")


def _us(runs: list[dict[str, Any]], tasks: int, seconds: Callable[[dict[str, Any]], float]) -> str:
    each = sorted(seconds(run) / tasks * 1e6 for run in runs)
    return f"{median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def _flood(
    way: str, path: Path, tasks: int, workers: int, environment: Mapping[str, str]
) -> dict[str, Any]:
    """One run; afterwards the job holds just the tasks of the file.

    Raises:
        RuntimeError: if it does not.
    """
    with emulator(Case(tasks), environment) as endpoint:
        command = ["benchmarks.shards_submit", way, str(path), endpoint]
        took = told([*command, "--workers", str(workers)], environment)
        if took["exit_code"] or took["settled"] != tasks:
            raise RuntimeError(f"{way}: {took}")
        listed = ["bulksubmit", "verify", str(path), "--job-id", "bench", "--quiet"]
        listed += ["--account-endpoint", endpoint, "--account-name", "devaccount"]
        # By all IDs, one by one; told() raises if one is missing, or one too many.
        told([*listed, "--output", "json"], environment)
    wall = f"{took['wall_s']:.0f} s, {took['cpu_s'] + took['workers_cpu_s']:.1f} s of CPU"
    print(f"{way}: {tasks:,} tasks, all of them listed; {wall}", file=sys.stderr, flush=True)
    return took


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    parser.add_argument(
        "--plan", type=int, default=100_000_000, help="tasks; 0 leaves the coordinator out"
    )
    parser.add_argument("--shards", type=int, default=1_000, help="default: %(default)s")
    parser.add_argument("--simulated", type=int, default=16, help="workers; default: %(default)s")
    parser.add_argument(
        "--rate", type=float, default=100_000, help="of each, tasks a second; default: %(default)s"
    )
    parser.add_argument(
        "--tasks", type=int, default=2_000_000, help="of whole runs; 0 leaves them out"
    )
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--way", nargs="+", choices=WAYS, default=WAYS, help="default: all")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "bulksubmit-benchmarks"),
        help="for the task file, which is kept; default: %(default)s",
    )
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    print(machine(), "", sep="\n", flush=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        if given.plan:
            coordinator(given, Path(name))
        if given.tasks:
            floods(given, Path(name))


if __name__ == "__main__":
    main()
