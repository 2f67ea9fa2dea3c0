"""Runs of clients against the lean server, each measured and checked."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from benchmarks.flood import child_environment
from benchmarks.measure import run_measured
from benchmarks.sidebyside.clients import CLIENTS
from benchmarks.task_file import SMALL_BYTES, task_file

START_UP_TASKS = 100
TASKS_MAX = 100  # A request.
REQUEST_BYTES_MAX = 1_000_000  # That ours sends.


@dataclass(frozen=True, slots=True)
class Case:
    """What a client is to do.

    Attributes:
        task_bytes: Of each task.
        tasks: In the file.
        in_flight: Requests at a time.
        latency_ms: How long the server takes for each.
        tls: Whether it is HTTPS.
        server_error: The share of tasks that are answered with ServerError, each time.
        options: More arguments of the client, which it must know.
    """

    task_bytes: int
    tasks: int
    in_flight: int = 16
    latency_ms: int = 0
    tls: bool = False
    server_error: float = 0.0
    options: tuple[str, ...] = ()

    @property
    def start_up(self) -> "Case":
        """The same with so few tasks that only the start and the end of the client count."""
        return Case(SMALL_BYTES, START_UP_TASKS, tls=self.tls)

    @property
    def fits(self) -> bool:
        """Whether a request takes as many tasks as it may, whatever their size."""
        return self.task_bytes * TASKS_MAX <= REQUEST_BYTES_MAX

    def __str__(self) -> str:
        words = [f"{self.task_bytes:,} B", f"{self.in_flight} in flight"]
        words += [f"{self.latency_ms} ms"] * bool(self.latency_ms) + ["TLS"] * self.tls
        words += [f"{self.server_error:.0%} ServerError"] * bool(self.server_error)
        return ", ".join([*words, *self.options])


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
    def lasted_s(self) -> float:
        """From the first request's arrival to the last answer."""
        return self.last_s - self.first_s

    @property
    def idle(self) -> float:
        """The share of that time in which the server's core was not at work for it."""
        return 1 - self.cpu_s / self.lasted_s if self.lasted_s > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was measured.

    Attributes:
        section: Of which it is a part.
        round: 0-based; what was run in one round can be compared best.
        start_up: Whether it is there only to see what starting up takes.
        client: Its name.
        case: What it did.
        cpu_s: User and system CPU time of the client's process.
        rss_bytes: The peak of its resident memory.
        wall_s: How long it lasted, by the clock.
        first_s: From its start to the arrival of its first request that adds tasks.
        exit_s: From the last answer to its end.
        seen: By the server.
    """

    section: str
    round: int
    start_up: bool
    client: str
    case: Case
    cpu_s: float
    rss_bytes: int
    wall_s: float
    first_s: float
    exit_s: float
    seen: Seen

    @property
    def tasks_per_s(self) -> float:
        """From the first request's arrival to the last answer."""
        return self.seen.added / self.seen.lasted_s if self.seen.lasted_s > 0 else 0.0

    @property
    def requests_share(self) -> float:
        """Requests, over those that could carry all tasks as often as they had to be sent."""
        return self.seen.requests / ceil(self.seen.tasks / TASKS_MAX) if self.seen.tasks else 1.0


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
        command += ["--tls", str(self._folder / "tls")] * case.tls
        with on_core(-1):
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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
        folder: For task files, which are kept.
        state: For what the clients write.
    """

    folder: Path
    state: Path
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

    def run(
        self,
        client: str,
        case: Case,
        *,
        section: str = "",
        number: int = 0,
        start_up: bool = False,
        earlier: int = 0,
    ) -> Run:
        """One run.

        Args:
            client: Its name.
            case: What it is to do.
            section: See Run.
            number: The round's.
            start_up: See Run.
            earlier: Tasks that a process before it has added; some of them may be added again.

        Raises:
            RuntimeError: if not every task was added: its figures would be worth nothing.
        """
        given = CLIENTS[client]
        path = task_file(self.folder, tasks=case.tasks, task_bytes=case.task_bytes)
        server = self.server(case)
        server.seen()
        command = given.command(case, server.endpoint, path)
        with on_core(0):
            usage = run_measured(command, child_environment(self.state) | server.variables)
        seen = server.seen()
        if usage.exit_code:
            raise RuntimeError(f"{client} ended with {usage.exit_code}: {case}")
        if given.added is None:
            case = replace(case, tasks=seen.added)
        elif (
            given.added(usage.output) != case.tasks
            or seen.added + earlier < case.tasks
            or (seen.added > case.tasks and not earlier)
        ):
            raise RuntimeError(f"{client}: not all added: {case}, {seen}, {usage.output!r}")
        return Run(
            section=section,
            round=number,
            start_up=start_up,
            client=client,
            case=case,
            cpu_s=usage.cpu_s,
            rss_bytes=usage.rss_bytes,
            wall_s=usage.wall_s,
            first_s=seen.first_s - usage.started_s,
            exit_s=usage.started_s + usage.wall_s - seen.last_s,
            seen=seen,
        )

    def server(self, case: Case) -> Server:
        """The server for such a case, which stays up."""
        kind = (case.latency_ms, case.tls, case.server_error)
        if kind not in self._servers:
            self._servers[kind] = self._stack.enter_context(Server(case, self.state))
        return self._servers[kind]
