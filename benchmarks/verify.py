"""What ``bulksubmit verify`` takes, in time and in memory. See README.md.

Run it from the project's folder: ``python -m benchmarks.verify --help``.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.flood import MB, bar, child_environment, emulator_with, machine
from benchmarks.measure import Usage, run_measured
from benchmarks.task_file import task_file

_TASK_BYTES = 300
_MEMORY_MB = 128


def listed(tasks: int, environment: Mapping[str, str]) -> str:
    """A sweep of so many tasks against a job in the same process, which lacks one of them.

    Raises:
        RuntimeError: if it finds anything else.
    """
    command = [sys.executable, "-m", "benchmarks.verify_listed", str(tasks)]
    usage = run_measured(command, environment)
    found = json.loads(usage.output or b"{}")
    if usage.exit_code or (found["expected"], found["missing"], found["extra"]) != (tasks, 1, 0):
        raise RuntimeError(f"exit code {usage.exit_code}, found {found}")
    heading = f"{tasks:,} IDs of 21 characters, in process, {found['requests']:,} pages:"
    return "\n".join([heading, *_figures(usage, tasks)])


def over_http(tasks: int, folder: Path, environment: Mapping[str, str]) -> str:
    """A file of so many tasks against the emulator: by IDs, and with content.

    Raises:
        RuntimeError: if there is a difference.
    """
    path = task_file(folder, tasks=tasks, task_bytes=_TASK_BYTES)
    lines = []
    with emulator_with([], environment) as endpoint:
        account = ["--job-id", "bench", "--account-endpoint", endpoint]
        account += ["--account-name", "devaccount", "--output", "json", "--quiet"]
        _run("submit", path, account, environment)
        for options in ([], ["--content"]):
            usage = _run("verify", path, [*account, *options], environment)
            requests = json.loads(usage.output)["requests"]
            what = " ".join(["bulksubmit verify", *options])
            lines.append(f"{what}, {tasks:,} tasks over HTTP, {requests:,} requests:")
            lines += _figures(usage, tasks)
    return "\n".join(lines)


def _run(command: str, path: Path, options: list[str], environment: Mapping[str, str]) -> Usage:
    usage = run_measured(
        [sys.executable, "-m", "bulksubmit", command, str(path), *options], environment
    )
    if usage.exit_code:
        raise RuntimeError(f"{command}: exit code {usage.exit_code}, {usage.output[:500]!r}")
    return usage


def _figures(usage: Usage, tasks: int) -> list[str]:
    return [
        f"  IDs/s by the clock: {tasks / usage.wall_s:,.0f} ({usage.wall_s:,.1f} s)",
        f"  CPU an ID, µs: {usage.cpu_s / tasks * 1e6:.1f}",
        f"  {bar('peak RSS, MB', usage.rss_bytes / MB, _MEMORY_MB)}",
    ]


def main() -> None:
    """One part after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="over HTTP; %(default)s")
    parser.add_argument("--ids", type=int, default=10_000_000, help="in process; %(default)s")
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
    print(listed(given.ids, environment), flush=True)
    print(over_http(given.tasks, given.folder, environment), flush=True)


if __name__ == "__main__":
    main()
