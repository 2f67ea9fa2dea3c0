"""Floods the emulator with the same tasks in each form of input: see README.md.

Run it from the project's folder: ``python -m benchmarks.forms --help``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.flood import MB, Case, child_environment, emulator, machine
from benchmarks.measure import Usage, run_measured

# What is wanted: the most of resident memory, in MB.
RSS_MAX = {
    "lines": 128,
    "array": 128,
    "pretty": 128,
    "rejects": 128,
    "lines.gz": 128,
    "array.gz": 128,
    "pretty.zst": 128,
    "csv": 128,
    "parquet": 256,
    "sweep": 128,
    "parts": 128,
    "remote": 128,
}
TEN_MILLION = Path("configs", "sweeps", "ten-million.toml")
_TEN_MILLION_TASKS = 10_000_000
_TEN_MILLION_RSS_MAX = 96
_HEADS = ("form", "file, MB", "s", "tasks/s", "CPU a task, µs", "peak RSS, MB", "at most", "")


@dataclass(frozen=True, slots=True)
class Flood:
    """A source that was submitted.

    Attributes:
        name: Of its row.
        file_bytes: Of all of the source's files.
        tasks: That were to be submitted.
        usage: Of the client's process, its start-up included.
        rss_max: What is wanted, in MB.
        wrong: What the job lacks or has too much, or how the client ended; None if all is well.
    """

    name: str
    file_bytes: int
    tasks: int
    usage: Usage
    rss_max: int
    wrong: str | None

    @property
    def verdict(self) -> str:
        """A word on it."""
        if self.wrong:
            return f"FAILED: {self.wrong}"
        return "met" if self.usage.rss_bytes <= self.rss_max * MB else "NOT MET"

    def row(self) -> str:
        """Of the table."""
        wall_s, cpu_s = self.usage.wall_s, self.usage.cpu_s
        return (
            f"| {self.name} | {self.file_bytes / MB:,.1f} | {wall_s:.1f} "
            f"| {self.tasks / wall_s:,.0f} | {cpu_s / self.tasks * 1e6:.1f} "
            f"| {self.usage.rss_bytes / MB:.1f} | {self.rss_max} | {self.verdict} |"
        )


def flood(
    name: str,
    source: Sequence[str],
    folder: Path,
    *,
    tasks: int,
    rss_max: int,
    digest: str,
) -> Flood:
    """Submit a source to an emulator of its own, and look at what is in the job afterwards.

    Args:
        name: Of its row.
        source: The arguments that name it.
        folder: Where its files are; the run's are put there too.
        tasks: That it has.
        rss_max: What is wanted, in MB.
        digest: Of the job's tasks as they should be (see ``job_digest``).
    """
    file_bytes = sum(file.stat().st_size for file in folder.iterdir())
    environment = child_environment(folder)
    with emulator(Case(tasks), environment) as endpoint:
        command = [sys.executable, "-m", "bulksubmit", "submit", *source, "--job-id", "bench"]
        command += ["--account-endpoint", endpoint, "--account-name", "devaccount"]
        usage = run_measured([*command, "--quiet", "--output", "json"], environment)
        wrong = _wrong(usage, tasks)
        if not wrong and (held := digest_of(endpoint, environment)) != digest:
            wrong = f"the job's tasks are {held}, not {digest}"
    return Flood(name, file_bytes, tasks, usage, rss_max, wrong)


def _wrong(usage: Usage, tasks: int) -> str | None:
    try:
        report = json.loads(usage.output)
    except ValueError:
        return f"exit code {usage.exit_code}, and no report"
    if usage.exit_code or report["total"] != tasks or report["added"] != tasks:
        return f"exit code {usage.exit_code}, {report}"
    return None


def flood_form(form: str, tasks: int, parent: Path, digest: str) -> Flood:
    """Write the tasks in one form, submit that, and remove it."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        command = [sys.executable, "-m", "benchmarks.task_forms", form, name, str(tasks)]
        written = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        source, rss_max = json.loads(written), RSS_MAX[form]
        return flood(form, source, Path(name), tasks=tasks, rss_max=rss_max, digest=digest)


def flood_ten_million(parent: Path) -> Flood:
    """Submit the sweep of ten million tasks; to list them takes as long again."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        sweep = folder / TEN_MILLION.name
        sweep.write_bytes(TEN_MILLION.read_bytes())
        return flood(
            "ten million",
            [str(sweep)],
            folder,
            tasks=_TEN_MILLION_TASKS,
            rss_max=_TEN_MILLION_RSS_MAX,
            digest=digest_of(str(sweep), child_environment(folder)),
        )


def digest_of(of: str, environment: Mapping[str, str]) -> str:
    """The digest of the job at an endpoint, or of tasks as they should be in one.

    Args:
        of: An endpoint, a number of tasks, or a path of a sweep.
        environment: Of the process.
    """
    command = [sys.executable, "-m", "benchmarks.job_digest", of]
    ended = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    return ended.stdout.decode().strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forms", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "--forms",
        nargs="*",
        choices=RSS_MAX,
        default=[*RSS_MAX],
        metavar="FORM",
        help=f"of {', '.join(RSS_MAX)}; none after it: none; default: all",
    )
    parser.add_argument(
        "--ten-million",
        action="store_true",
        help=f"submit {TEN_MILLION} as well: ten minutes, and the emulator takes 3 GB of memory",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="for the files (up to 1 GB), which are removed; default: %(default)s",
    )
    return parser.parse_args()


def main() -> None:
    """One form after the other; exit code 1 if one differs, or takes too much memory."""
    given = _arguments()
    print(machine(), f"{given.tasks:,} tasks", sep="\n\n", end="\n\n")
    print(f"| {' | '.join(_HEADS)} |", f"|---|{'---:|' * 6}---|", sep="\n", flush=True)
    digest = digest_of(str(given.tasks), child_environment(given.folder)) if given.forms else ""
    done = []
    for form in given.forms:
        done.append(flood_form(form, given.tasks, given.folder, digest))
        print(done[-1].row(), flush=True)
    if given.ten_million:
        done.append(flood_ten_million(given.folder))
        print(done[-1].row(), flush=True)
    sys.exit(any(each.verdict != "met" for each in done))


if __name__ == "__main__":
    main()
