"""What showing progress costs while a file is flooded at full speed: see README.md.

Run it from the project's folder: ``python -m benchmarks.progress --help``.
"""

import argparse
import asyncio
import os
import pty
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from benchmarks.flood import KEY, Case, child_environment, emulator, machine
from benchmarks.task_file import task_file
from bulksubmit import Settings, SharedKey, stream
from bulksubmit.core.events import Event
from bulksubmit.loop import run_async
from bulksubmit.observe.screen import Screen

TASK_BYTES = 300


@dataclass(slots=True)
class Cost:
    """What was spent on progress.

    Attributes:
        frames: Drawn.
        frames_s: CPU time of looking at the run and drawing, of all frames.
        slowest_s: CPU time of the one that took most.
        events: Told.
        events_s: CPU time of taking as many in, measured afterwards: a clock that is read twice
            an event would cost more than the event.
        wall_s: How long the flood lasted.
    """

    frames: int = 0
    frames_s: float = 0.0
    slowest_s: float = 0.0
    events: int = 0
    events_s: float = 0.0
    wall_s: float = 0.0

    @property
    def core_share(self) -> float:
        """Of one core, while the flood lasted."""
        return (self.frames_s + self.events_s) / self.wall_s


@contextmanager
def terminal() -> Iterator[TextIO]:
    """A terminal whose output another process reads and drops."""
    ours, theirs = pty.openpty()
    os.environ["TERM"] = "xterm-256color"
    with (
        subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL) as reader,  # noqa: S607 - wherever it is
        os.fdopen(theirs, "w", encoding="utf-8") as out,
    ):
        os.close(ours)
        yield out
        reader.terminate()


async def flood(path: Path, endpoint: str, screen: Screen) -> Cost:
    """Flood a file, and show it."""
    cost = Cost()
    told: list[Event] = []

    def observe(event: Event, /) -> None:
        screen(event)
        told.append(event)

    async with stream(
        str(path),
        job_id="bench",
        endpoint=endpoint,
        credential=SharedKey("devaccount", KEY),
        settings=Settings(concurrency=16),
        observer=observe,
    ) as outcomes:

        async def show() -> None:
            while True:
                await asyncio.sleep(screen.period_s)
                began_s = time.thread_time()
                screen.progress(outcomes.progress)
                took_s = time.thread_time() - began_s
                cost.frames += 1
                cost.frames_s += took_s
                cost.slowest_s = max(cost.slowest_s, took_s)

        shown = asyncio.create_task(show())
        await outcomes.drain()
        shown.cancel()
    cost.wall_s, cost.events = outcomes.report.elapsed_s, len(told)
    began_s = time.thread_time()
    for event in told:
        screen(event)
    cost.events_s = time.thread_time() - began_s
    return cost


def main() -> None:
    """Flood, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=500_000, help="In the file (500,000).")
    folder = Path(tempfile.gettempdir()) / "bulksubmit-benchmarks"
    parser.add_argument("--folder", type=Path, default=folder, help="For the file, which stays.")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = task_file(arguments.folder, tasks=arguments.tasks, task_bytes=TASK_BYTES)
    environment = child_environment(arguments.folder)
    os.environ["BULKSUBMIT_STATE_DIR"] = environment["BULKSUBMIT_STATE_DIR"]
    print(machine(), flush=True)
    print("\n| latency | tasks/s | events/s | frames | CPU a frame, ms (most) | of a core |")
    print("|---|---:|---:|---:|---:|---:|")
    for latency_ms in (0, 50):
        case = Case(arguments.tasks, TASK_BYTES, latency_ms=latency_ms)
        with emulator(case, environment) as endpoint, terminal() as out:
            cost = run_async(flood, path, endpoint, Screen(out, quiet=False))
        print(
            f"| {latency_ms} ms | {arguments.tasks / cost.wall_s:,.0f} "
            f"| {cost.events / cost.wall_s:,.0f} | {cost.frames} "
            f"| {1000 * cost.frames_s / max(1, cost.frames):.2f} ({1000 * cost.slowest_s:.2f}) "
            f"| {100 * cost.core_share:.2f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
