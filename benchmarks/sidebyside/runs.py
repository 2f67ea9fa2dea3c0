"""Runs of clients against the lean server, each measured and checked."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import IO, Self, cast

from benchmarks.flood import child_environment
from benchmarks.measure import Usage, run_measured
from benchmarks.sidebyside.clients import Client
from benchmarks.task_file import task_file

START_UP_TASKS = 100


@dataclass(frozen=True, slots=True)
class Case:
    """What a client is to do.

    Attributes:
        task_bytes: Of each task.
        tasks: In the file; a client with a share gets fewer.
        in_flight: Requests at a time.
        latency_ms: How long the server takes for each.
        tls: Whether it is HTTPS.
        server_error: The share of tasks that are answered with ServerError, each time.
        fail_once: Whether each task is, the first time.
        options: More arguments of the client, which it must know.
    """

    task_bytes: int
    tasks: int
    in_flight: int = 16
    latency_ms: int = 0
    tls: bool = False
    server_error: float = 0.0
    fail_once: bool = False
    options: tuple[str, ...] = ()

    @property
    def start_up(self) -> "Case":
        """The same with so few tasks that only the start and the end of the client count."""
        return replace(self, tasks=START_UP_TASKS, task_bytes=76, latency_ms=0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server saw: see ``server.Seen``."""

    requests: int
    tasks: int
    added: int
    connections: int
    at_once_max: int
    first_s: float
    last_s: float
    cpu_s: float

    @property
    def busy(self) -> float:
        """The server's share of one core while the flood lasted."""
        lasted_s = self.last_s - self.first_s
        return self.cpu_s / lasted_s if lasted_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was measured.

    Attributes:
        client: Its name.
        case: With the number of tasks that it really had.
        usage: Of the client's process.
        seen: By the server.
    """

    client: str
    case: Case
    usage: Usage
    seen: Seen

    @property
    def tasks_per_s(self) -> float:
        """From the first request's arrival to the last answer."""
        lasted_s = self.seen.last_s - self.seen.first_s
        return self.seen.added / lasted_s if lasted_s > 0 else 0.0


class Server:
    """A server of its own process, as a context manager."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case, self._folder = case, folder
        self._process: subprocess.Popen[bytes]
        self.endpoint = ""
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Self:
        case = self._case
        command = [sys.executable, "-m", "benchmarks.sidebyside.server"]
        command += ["--latency-ms", str(case.latency_ms), "--server-error", str(case.server_error)]
        command += ["--fail-once"] * case.fail_once
        command += ["--tls", str(self._folder / "tls")] * case.tls
        with on_core(-1):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        self.endpoint, _, ca_path = self._line().decode().strip().partition(" ")
        if ca_path:
            self.variables = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), ca_path)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cast("IO[bytes]", self._process.stdin).close()
        self._process.wait()
        cast("IO[bytes]", self._process.stdout).close()

    def seen(self) -> Seen:
        """What it saw since the last time it was asked."""
        asked = cast("IO[bytes]", self._process.stdin)
        asked.write(b"\n")
        asked.flush()
        return Seen(**json.loads(self._line()))

    def _line(self) -> bytes:
        return cast("IO[bytes]", self._process.stdout).readline()


@contextmanager
def on_core(which: int) -> Iterator[None]:
    """What is started in here has one core to itself: 0 is the first one, -1 the last one.

    With a core of its own no client is faster for having threads, and none is slowed down by the
    server. Where there is only one core, or no such call, nothing happens.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[which]})
    try:
        yield
    finally:
        if len(cores) > 1:
            os.sched_setaffinity(0, cores)


@dataclass(slots=True)
class Bench:
    """Runs clients; as a context manager, since servers stay up between runs.

    Attributes:
        folder: For task files, which are kept, and for what the clients write.
    """

    folder: Path
    _servers: dict[tuple[object, ...], Server] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(self, name: str, client: Client, case: Case) -> Run:
        """One run.

        Raises:
            RuntimeError: if not every task was added: its figures would be worth nothing.
        """
        tasks = max(START_UP_TASKS, round(case.tasks * client.share))
        case = replace(case, tasks=tasks if case.tasks > START_UP_TASKS else START_UP_TASKS)
        path = task_file(self.folder, tasks=case.tasks, task_bytes=case.task_bytes)
        server = self._server(case)
        server.seen()
        command = client.command(case, server.endpoint, path)
        with on_core(0):
            usage = run_measured(command, child_environment(self.folder) | server.variables)
        run = Run(name, case, usage, server.seen())
        told = usage.output.split()[-1:] or [b"nothing"]
        if usage.exit_code or run.seen.added != case.tasks or int(told[0]) != case.tasks:
            raise RuntimeError(f"{name}: exit code {usage.exit_code}, {run}")
        return run

    def _server(self, case: Case) -> Server:
        kind = (case.latency_ms, case.tls, case.server_error, case.fail_once)
        if kind not in self._servers:
            self._servers[kind] = self._stack.enter_context(Server(case, self.folder))
        return self._servers[kind]


def cpu_per_task_us(runs: Sequence[Run], start_ups: Sequence[Run]) -> list[float]:
    """CPU time a task of each run, less the start-up, which is the median of others."""
    start_up_s = median(run.usage.cpu_s for run in start_ups)
    return [
        (run.usage.cpu_s - start_up_s) / (run.case.tasks - START_UP_TASKS) * 1e6 for run in runs
    ]
