"""The coordinator of a large run by itself, whose workers are simulated; prints what it took.

A process of its own, to be measured: see ``shards``. Its source is a file that has only its first
line: nobody reads the rest.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import anyio

from benchmarks.flood import KEY
from benchmarks.shards_files import LINE_BYTES
from bulksubmit import Outcomes, SharedKey, resume, stream
from bulksubmit.core.events import Event
from bulksubmit.core.shard import Shard, Unit
from bulksubmit.distribute.crew import Crew
from bulksubmit.loop import run_async
from bulksubmit.producer.spec import SourceSpec

PROGRESS_S = 0.25  # As a terminal has it.


class Simulated(Executor):
    """Has calls run by a process of simulated workers.

    Attributes:
        first_orders_s: When the first worker had its orders, by ``time.perf_counter``.
        first_orders_cpu_s: What CPU time this process had taken by then.
    """

    def __init__(self, workers: int, rate: float) -> None:
        command = [sys.executable, "-m", "benchmarks.shards_workers"]
        command += ["--workers", str(workers), "--rate", str(rate)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._futures: dict[int, Future[Any]] = {}
        self.first_orders_s: float | None = None
        self.first_orders_cpu_s = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def submit(self, _fn: Any, /, *args: Any, **_: Any) -> "Future[Any]":
        """Have a shard submitted, in words."""
        call, future = args[0], Future[Any]()
        future.set_running_or_notify_cancel()
        self._futures[call.shard] = future
        calls = cast("IO[str]", self._process.stdin)
        calls.write(json.dumps(asdict(call)) + "\n")
        calls.flush()
        return future

    def _read(self) -> None:
        for line in cast("IO[str]", self._process.stdout):
            word, value = line.split()
            if word == "ended":
                self._futures.pop(int(value)).set_result(None)
            elif self.first_orders_s is None:
                self.first_orders_s = float(value)
                self.first_orders_cpu_s = time.process_time()

    def end(self) -> None:
        """No more calls come."""
        cast("IO[str]", self._process.stdin).close()
        self._process.wait()
        self._reader.join()


class Planned(Crew):
    """A crew that knows where lines begin, and need not look at the file for it."""

    shards = 1

    def plan(self, spec: SourceSpec) -> list[Shard]:
        """Cut it into as many as are wanted, alike."""
        tasks = Path(spec.files[0]).stat().st_size // LINE_BYTES
        cuts = [tasks * n // self.shards * LINE_BYTES for n in range(self.shards + 1)]
        return [
            Shard(number, 0, Unit.BYTES, begin, end, end - begin, None if number else 1)
            for number, (begin, end) in enumerate(pairwise(cuts))
        ]


async def coordinate(given: argparse.Namespace) -> dict[str, object]:
    """Coordinate a run, to its end or to where it is to be killed; returns what it took."""
    executor = Simulated(given.workers, given.rate)
    Planned.shards = given.shards
    crew = Planned(executor, given.workers)
    told: Counter[str] = Counter()

    def observe(event: Event, /) -> None:
        told[type(event).__name__] += 1

    begun_cpu_s, frames_cpu_s = time.process_time(), 0.0
    async with _outcomes(given, crew, observe if given.observed else None) as outcomes:

        async def show() -> None:
            nonlocal frames_cpu_s
            while True:
                await anyio.sleep(PROGRESS_S)
                frame_s = time.thread_time()
                settled = outcomes.progress.settled
                frames_cpu_s += time.thread_time() - frame_s
                if given.killed_at is not None and settled >= given.killed_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        async with anyio.create_task_group() as beside:
            beside.start_soon(show)
            await outcomes.drain()
            beside.cancel_scope.cancel()
    cpu_s = time.process_time() - begun_cpu_s
    executor.end()
    report = outcomes.report
    return {
        "cpu_s": cpu_s,
        "frames_cpu_s": frames_cpu_s,
        "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
        "settled": report.added + report.existed + report.rejected,
        "settled_here": outcomes.progress.settled - outcomes.progress.settled_before,
        "rejected": report.rejected,
        "exit_code": report.exit_code,
        "elapsed_s": report.elapsed_s,
        "events": told["RequestEnded"],
        "first_orders_s": (executor.first_orders_s or 0.0) - given.started_s,
        "first_orders_cpu_s": executor.first_orders_cpu_s,
    }


def _outcomes(
    given: argparse.Namespace, crew: Crew, observer: Any
) -> AbstractAsyncContextManager[Outcomes]:
    credential = SharedKey("devaccount", KEY)
    if given.resumed:
        return resume("last", credential=credential, observer=observer, executor=crew)
    return stream(
        str(given.path),
        job_id="bench",
        endpoint=given.endpoint,
        credential=credential,
        observer=observer,
        executor=crew,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("endpoint")
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="of each worker, tasks a second")
    parser.add_argument("--started-s", type=float, required=True, help="by time.perf_counter")
    parser.add_argument("--observed", action="store_true", help="events are told")
    parser.add_argument("--resumed", action="store_true", help="goes on with the last run")
    parser.add_argument("--killed-at", type=int, help="as many tasks settled")
    print(json.dumps(run_async(coordinate, parser.parse_args(arguments))))


if __name__ == "__main__":
    main()
