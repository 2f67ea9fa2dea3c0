"""Floods the emulator over HTTP, and measures the client's process: see README.md.

Run it from the project's folder: ``python -m benchmarks.flood --help``.
"""

import argparse
import base64
import dataclasses
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import IO, cast

from benchmarks.measure import Usage, run_measured
from benchmarks.task_file import task_file

MB = 1_000_000
EMULATOR_TASKS = 10_000_000
_LIBRARIES = ("bulksubmit", "aiohttp", "anyio", "msgspec", "orjson", "uvloop")
KEY = base64.b64encode(b"a key for benchmarks").decode()


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One flood.

    Attributes:
        tasks: In the file.
        task_bytes: Of each.
        latency_ms: How long each request waits at the emulator before it is processed.
        server_error: The probability that a task is answered with ServerError, each time.
        default: Run when no case is named; the others take their time.
    """

    tasks: int
    task_bytes: int = 300
    latency_ms: int = 0
    server_error: float = 0.0
    default: bool = True


START_UP = "start-up"
CASES = {
    START_UP: Case(100),
    "100k": Case(100_000),
    "100k-50ms": Case(100_000, latency_ms=50),
    "1m": Case(1_000_000),
    "1m-50ms": Case(1_000_000, latency_ms=50, default=False),
    "1m-failing": Case(1_000_000, server_error=0.5, default=False),
    # One task a request: its frame still fits into the client's default of 1,000,000 bytes.
    "large": Case(300, 999_000),
    "large-50ms": Case(300, 999_000, latency_ms=50),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One flood that was measured.

    Attributes:
        usage: Of the client's process, its start-up included.
        tasks: That it submitted.
        requests: That it sent for them.
    """

    usage: Usage
    tasks: int
    requests: int


def emulator(case: Case, environment: Mapping[str, str]) -> AbstractContextManager[str]:
    """An emulator that behaves as the case says; see ``emulator_with``."""
    latency_ms, server_error = str(case.latency_ms), str(case.server_error)
    options = ["--latency-ms", latency_ms, "--server-error", server_error]
    return emulator_with(options, environment)


@contextmanager
def emulator_with(options: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """An emulator of its own process with one job, ``bench``; gives its endpoint."""
    command = [sys.executable, "-m", "bulksubmit", "emulator", "--job", "bench", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            line = cast("IO[bytes]", process.stdout).readline().decode()
            found = re.search(r"http://[^\s,]+", line)
            if not found:
                raise RuntimeError(f"the emulator names no endpoint: {line!r}")
            yield found[0]
        finally:
            process.terminate()


def run_case(case: Case, path: Path, environment: Mapping[str, str], concurrency: str) -> Run:
    """One flood by the command line, checked: a figure of a run that lost tasks is worth nothing.

    Raises:
        RuntimeError: if not every task was added.
    """
    with emulator(case, environment) as endpoint:
        command = [sys.executable, "-m", "bulksubmit", "submit", str(path), "--job-id", "bench"]
        command += ["--account-endpoint", endpoint, "--account-name", "devaccount"]
        command += ["--concurrency", concurrency, "--quiet", "--output", "json"]
        usage = run_measured(command, environment)
    report = json.loads(usage.output or b"{}")
    if usage.exit_code or report["added"] + report["existed"] != case.tasks:
        raise RuntimeError(f"exit code {usage.exit_code}, report {report}")
    return Run(usage, case.tasks, report["requests"])


def child_environment(folder: Path) -> dict[str, str]:
    """Ours, without what would change how the client behaves.

    Byte code is cached, as it is wherever nothing forbids it: compiling the sources at each start
    would count as the client's CPU and memory.
    """
    prefixes = ("AZURE_", "BULKSUBMIT_", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    return environment | {
        "AZURE_BATCH_ACCESS_KEY": KEY,
        "BULKSUBMIT_STATE_DIR": str(folder / "state"),
    }


def machine() -> str:
    """What the figures were measured on."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {pages * page_bytes / 1e9:.0f} GB; "
        f"{platform.system()} {platform.release()}; load before: {load}\n"
        f"{platform.python_implementation()} {platform.python_version()}; {libraries}"
    )


def table(runs: Mapping[str, list[Run]], cases: Mapping[str, Case]) -> str:
    """The medians, as a table in Markdown."""
    heads = (
        *("case", "tasks", "bytes", "latency", "requests", "tasks/s"),
        *("CPU, s", "CPU a task, µs", "peak RSS, MB"),
    )
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for name, measured in runs.items():
        case = cases[name]
        wall_s = median(run.usage.wall_s for run in measured)
        cpu_s = median(run.usage.cpu_s for run in measured)
        each = "" if name == START_UP else _with_range(cpu_per_task_us(runs, name))
        lines.append(
            f"| {name} | {case.tasks:,} | {case.task_bytes:,} | {case.latency_ms} ms "
            f"| {median(run.requests for run in measured):,.0f} | {case.tasks / wall_s:,.0f} "
            f"| {cpu_s:.2f} | {each} "
            f"| {_with_range([run.usage.rss_bytes / MB for run in measured])} |"
        )
    return "\n".join(lines)


def cpu_per_task_us(runs: Mapping[str, list[Run]], name: str) -> list[float]:
    """CPU time a task in each of the case's runs, less what the start-up takes (its median)."""
    start_up_s = median(run.usage.cpu_s for run in runs[START_UP])
    return [(run.usage.cpu_s - start_up_s) / run.tasks * 1e6 for run in runs[name]]


def _with_range(values: list[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def bars(runs: Mapping[str, list[Run]]) -> str:
    """What is wanted of the client, and whether it is so; of the cases that were run."""
    rss_mb = {
        name: median(run.usage.rss_bytes for run in measured) / MB
        for name, measured in runs.items()
    }
    lines = []
    if "1m" in runs:
        lines.append(bar("CPU a task at 1m, µs", median(cpu_per_task_us(runs, "1m")), 15))
    for name, value in rss_mb.items():
        if name.startswith("1m"):
            lines.append(bar(f"peak RSS of {name}, MB", value, 96))
        if name.startswith("large"):
            lines.append(bar(f"peak RSS of {name}, MB", value, 160))
    if {"1m", "100k"} <= rss_mb.keys():
        lines.append(bar("peak RSS of 1m over that of 100k, MB", rss_mb["1m"] - rss_mb["100k"], 16))
    return "\n".join(lines)


def bar(what: str, value: float, most: float) -> str:
    """What is wanted, and whether it is so."""
    return f"{what}: {value:.1f}, at most {most:g}: {'met' if value <= most else 'NOT MET'}"


def emulator_memory(tasks: int, environment: Mapping[str, str]) -> str:
    """Fill the emulator's service, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.emulator_memory", str(tasks)]
    usage = run_measured(command, environment)
    if usage.exit_code or int(usage.output) != tasks:
        raise RuntimeError(f"exit code {usage.exit_code}, tasks: {usage.output!r}")
    name = f"peak RSS of the emulator with {tasks:,} tasks of 100 bytes, GiB"
    return bar(name, usage.rss_bytes / 2**30, 4)


def _arguments() -> argparse.Namespace:
    default = [name for name, case in CASES.items() if case.default]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flood", description=__doc__)
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help=f"of {', '.join(CASES)} [default: {', '.join(default)}]; {START_UP} is always run",
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--concurrency", default="auto", help="default: %(default)s")
    parser.add_argument("--tasks-max", type=int, help="of each case, for a quick look")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "bulksubmit-benchmarks"),
        help="for the task files (600 MB), which are kept; default: %(default)s",
    )
    parser.add_argument(
        "--emulator-memory",
        action="store_true",
        help=f"measure the emulator instead, with {EMULATOR_TASKS:,} tasks",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    arguments.cases = {START_UP, *(arguments.cases or default)}
    return arguments


def main() -> None:
    """Go through the cases round by round, so that a busy minute does not hit one case only."""
    arguments = _arguments()
    environment = child_environment(arguments.folder)
    tasks_max = arguments.tasks_max or sys.maxsize
    print(machine(), flush=True)
    if arguments.emulator_memory:
        print(emulator_memory(min(EMULATOR_TASKS, tasks_max), environment))
        return
    cases = {
        name: dataclasses.replace(case, tasks=min(case.tasks, tasks_max))
        for name, case in CASES.items()
        if name in arguments.cases
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    paths = {
        name: task_file(arguments.folder, tasks=case.tasks, task_bytes=case.task_bytes)
        for name, case in cases.items()
    }
    # Not counted: it compiles what is not compiled yet.
    run_case(cases[START_UP], paths[START_UP], environment, arguments.concurrency)
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(1, arguments.rounds + 1):
        for name, case in cases.items():
            print(f"round {number} of {arguments.rounds}: {name}", file=sys.stderr, flush=True)
            run = run_case(case, paths[name], environment, arguments.concurrency)
            runs[name].append(run)
    title = (
        f"rounds: {arguments.rounds}, medians (least to most); {arguments.concurrency} in flight"
    )
    print("", title, table(runs, cases), bars(runs), sep="\n\n")


if __name__ == "__main__":
    main()
