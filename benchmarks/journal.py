"""What the journal takes: bytes, CPU time a request, and the time to go on. See README.md.

Run it from the project's folder: ``python -m benchmarks.journal --help``.
"""

import argparse
import asyncio
import base64
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import msgspec

from benchmarks.flood import KEY, Case, bar, child_environment, emulator, machine
from benchmarks.measure import run_measured
from benchmarks.task_file import task_file
from bulksubmit.core.account import Counts, Place
from bulksubmit.core.history import SAMPLE_S, Life, Sample
from bulksubmit.core.model import Attempt, Outcome, Task, Verdict
from bulksubmit.emulator import Access, Service
from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.server import serve
from bulksubmit.journal import Journal, NoJournal
from bulksubmit.producer.opening import BLOCK_BYTES
from bulksubmit.producer.spec import SourceSpec, fingerprint
from bulksubmit.record import FILE, Identity
from bulksubmit.runs import versions
from bulksubmit.settings import Settings

TASK_BYTES = 300
_LINE_BYTES = TASK_BYTES + 1
_COLLECTION = 100
_JOB = "bench"
_RATES = (300, 1_500)  # Requests a second: over a network, and what the emulator can do.


@dataclass(frozen=True, slots=True)
class Taken:
    """What a journal took.

    Attributes:
        cpu_us: CPU time a request, in µs, less that of the loop around it.
        bytes_max: The most that all of its files had at once.
        bytes_after: What is left of them once it is closed.
    """

    cpu_us: float
    bytes_max: int
    bytes_after: int


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now_s


def in_isolation(folder: Path, *, tasks: int, rate: int) -> Taken:
    """The journal by itself, told of clean requests at a rate.

    Args:
        folder: For its file.
        tasks: How many, 100 a request.
        rate: Requests a second, of a clock that is ours.
    """
    clock, bytes_max = Clock(), 0
    journal = Journal.begin(folder, identity(None), clock)

    def weigh() -> None:
        nonlocal bytes_max
        bytes_max = max(bytes_max, files_bytes(folder))

    cpu_s = _requests(journal, clock, tasks, rate)
    bare_s = _requests(NoJournal(), clock, tasks, rate)
    journal.close()
    folder = folder.with_name(f"{folder.name}-weighed")
    weighed = Journal.begin(folder, identity(None), clock)
    _requests(weighed, clock, tasks, rate, weigh)
    weighed.end("converged")
    weighed.close()
    return Taken((cpu_s - bare_s) / (tasks // _COLLECTION) * 1e6, bytes_max, files_bytes(folder))


def _requests(
    journal: Journal | NoJournal,
    clock: Clock,
    tasks: int,
    rate: int,
    after: Callable[[], None] | None = None,
) -> float:
    """Tell a journal of requests, and how they went; returns the CPU time of it in seconds."""
    counts, block = Counts(source_complete=True), BLOCK_BYTES // _LINE_BYTES
    outcomes = [_outcome(0)] * _COLLECTION
    began_s, begun_cpu_s = clock.now_s, time.process_time()
    sampled_s, sampled = began_s, 0
    journal.history.begin(Life("2026-01-01T00:00:00+00:00", Settings().given, versions()))
    for number, first in enumerate(range(0, tasks, _COLLECTION)):
        end = first + _COLLECTION
        if first // block != end // block:
            journal.place(Place(end, end * _LINE_BYTES, end + 1))
        clock.now_s = began_s + number / rate
        journal.will_send(Attempt(number, "", (Task(end - 1, end, "", b""),), 0))
        outcomes[0], outcomes[-1] = _outcome(first), _outcome(end - 1)
        counts.total = counts.added = counts.attempts[1] = end
        if clock.now_s - sampled_s >= SAMPLE_S:
            journal.history.add(
                _sample(sampled_s - began_s, clock.now_s - sampled_s, end - sampled)
            )
            sampled_s, sampled = clock.now_s, end
        journal.record(outcomes, [], in_order=True)
        journal.commit_if_due(counts)
        if after:
            after()
    journal.commit(counts)
    return time.process_time() - begun_cpu_s


def _sample(begun_s: float, span_s: float, tasks: int) -> Sample:
    figures = (12.5, 11.25, 0.0483, 0.0612, "finding")
    return Sample(begun_s, span_s, tasks, tasks // _COLLECTION, 0, 0, *figures)


def _outcome(ordinal: int) -> Outcome:
    return Outcome(ordinal, ordinal + 1, "", Verdict.ADDED, 1, in_doubt=False)


def files_bytes(folder: Path) -> int:
    """What a journal's files have, its write-ahead log among them."""
    parts = (folder / f"{FILE}{end}" for end in ("", "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def identity(source: Path | None, endpoint: str = "") -> Identity:
    """What a journal is about; None if no resume is going to ask."""
    spec = SourceSpec(files=(str(source),) if source else ()).expanded()
    files = [fingerprint(path) for path in spec.files]
    return Identity(
        run_id="20260101-000000-0000",
        job_id=_JOB,
        endpoint=endpoint,
        source=spec.label,
        source_spec=spec.to_json(),
        source_files=msgspec.json.encode(files).decode(),
        begun_at="2026-01-01T00:00:00+00:00",
        version="0",
    )


async def time_to_go_on(folder: Path, source: Path, *, tasks: int) -> float:
    """The seconds from the start of ``runs resume`` to its first request with tasks.

    Args:
        folder: For the run, half of which is done, and which is begun anew.
        source: Lines of the same size.
        tasks: That it has.
    """
    came = asyncio.get_running_loop().create_future()

    def watch(call: Call) -> None:
        if call.operation is Operation.ADD_TASK_COLLECTION and not came.done():
            came.set_result(time.perf_counter())

    access = Access("devaccount", base64.b64decode(KEY))
    service = Service(random=Random(0), access=access, script=watch)  # noqa: S311 - repeatable
    service.create_job(_JOB)
    async with serve(service) as server:
        _half_done(folder / "runs" / "20260101-000000-0000", source, tasks, server.endpoint)
        environment = child_environment(folder) | {"BULKSUBMIT_STATE_DIR": str(folder)}
        began_s = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bulksubmit", "runs", "resume", "last", "--quiet"),
            *("--account-name", "devaccount"),
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({came, ended}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            if not came.done():
                raise RuntimeError("it sent nothing")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    return float(came.result() - began_s)


def _half_done(folder: Path, source: Path, tasks: int, endpoint: str) -> None:
    """A run that was killed in the middle: its first half is settled, but for a few tasks."""
    half = tasks // 2
    begun = identity(source, endpoint)
    journal = Journal.begin(folder, begun, time.monotonic)
    for end in range(BLOCK_BYTES, half * _LINE_BYTES, BLOCK_BYTES):
        ordinal = end // _LINE_BYTES
        journal.place(Place(ordinal, ordinal * _LINE_BYTES, ordinal + 1))
    outcomes = [_outcome(0)] * (half - 10_000)
    outcomes[-1] = _outcome(half - 10_001)
    journal.record(outcomes, [], in_order=True)
    for first in range(half - 9_900, half, 1_000):  # The last collections were in flight.
        rest = [_outcome(ordinal) for ordinal in range(first, first + 900)]
        journal.record(rest, [], in_order=True)
        outcomes += rest
    journal.will_send(Attempt(1, "", (Task(half, half + 1, "", b""),), 0))
    journal.commit(Counts(total=half + 1_000, added=len(outcomes)))
    journal.close()


def whole_run_us(source: Path, *, tasks: int, rounds: int, environment: dict[str, str]) -> float:
    """The CPU time a request of whole runs with a journal, less that of runs without, in µs.

    A file on standard input is read in the same way and has no journal.
    """
    cpu_s: dict[str, list[float]] = {str(source): [], "-": []}
    for _ in range(rounds):
        for name, measured in cpu_s.items():
            with emulator(Case(tasks), environment) as endpoint:
                command = [sys.executable, "-m", "bulksubmit", "submit", name, "--job-id", _JOB]
                command += ["--account-endpoint", endpoint, "--account-name", "devaccount"]
                shell = ["/bin/sh", "-c", 'exec "$@" <"$0"', str(source)]
                usage = run_measured([*shell, *command, "--quiet"], environment)
            if usage.exit_code:
                raise RuntimeError(f"exit code {usage.exit_code}")
            measured.append(usage.cpu_s)
    with_journal, without = map(median, cpu_s.values())
    return (with_journal - without) / (tasks // _COLLECTION) * 1e6


def main() -> None:
    """One part after the other, each a line or two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "--tasks-resumed", type=int, default=10_000_000, help="default: %(default)s (3 GB)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "bulksubmit-benchmarks"),
        help="for the task files, which are kept; default: %(default)s",
    )
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    print(machine(), "", sep="\n", flush=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        for rate in _RATES:
            taken = [
                in_isolation(Path(name, f"{rate}-{n}"), tasks=given.tasks, rate=rate)
                for n in range(given.rounds)
            ]
            print(f"{given.tasks:,} clean tasks at {rate:,} requests a second:")
            cpu_us = median(one.cpu_us for one in taken)
            bytes_max, bytes_after = taken[0].bytes_max, taken[0].bytes_after
            print("  " + bar("CPU a request by itself, µs", cpu_us, 5))
            print("  " + bar("journal after the run, kB", bytes_after / 1000, 500))
            print("  " + bar("the most during it, its log included, kB", bytes_max / 1000, 500))
    source = task_file(given.folder, tasks=given.tasks, task_bytes=TASK_BYTES)
    environment = child_environment(given.folder)
    difference_us = whole_run_us(
        source, tasks=given.tasks, rounds=given.rounds, environment=environment
    )
    print(f"CPU a request of whole runs, with a journal less without: {difference_us:.1f} µs")
    source = task_file(given.folder, tasks=given.tasks_resumed, task_bytes=TASK_BYTES)
    went_on_s = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            went_on = time_to_go_on(Path(name), source, tasks=given.tasks_resumed)
            went_on_s.append(asyncio.run(went_on))
    what = f"half-done run of {given.tasks_resumed:,} tasks, to the first request, s"
    print(bar(what, median(went_on_s), 3))


if __name__ == "__main__":
    main()
