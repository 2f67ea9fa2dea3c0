"""Measures the emulator's own process under collections of 100 small tasks: see README.md.

Run it from the project's folder: ``python -m benchmarks.emulator --help``. Linux only: it pins
processes to cores, and reads /proc.
"""

import argparse
import asyncio
import base64
import itertools
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import IO, cast

import uvloop

from benchmarks.flood import KEY, bar, child_environment, machine
from benchmarks.task_file import make_task
from bulksubmit.core.limits import API_VERSION
from bulksubmit.core.sharedkey import signature, string_to_sign
from bulksubmit.core.wire import CONTENT_TYPE
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.service import Service

TASKS = 100  # A request.
CONNECTIONS = 16
SMALL_BYTES = 76
CPU_MS_MAX = 1.0  # A request: 1,000 of them a second fill one core.
_ACCOUNT, _JOB = "devaccount", "bench"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_END_OF_HEAD, _END_OF_BODY = b"\r\n\r\n", b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load.

    Attributes:
        task_bytes: Of each task.
        signed: Requests carry a Shared Key signature, which the emulator verifies; otherwise it
            lets everybody in.
    """

    task_bytes: int
    signed: bool


CASES = {
    "small": Case(SMALL_BYTES, signed=True),
    "small-open": Case(SMALL_BYTES, signed=False),
    "300": Case(300, signed=True),
    "300-open": Case(300, signed=False),
}


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one load.

    Attributes:
        requests: How many were answered, each with 100 tasks added.
        wall_s: From the first byte sent to the last one received.
        user_s: User CPU time of the emulator's process meanwhile.
        system_s: System CPU time of it.
    """

    requests: int
    wall_s: float
    user_s: float
    system_s: float

    @property
    def cpu_ms(self) -> float:
        """CPU time a request, in milliseconds."""
        return (self.user_s + self.system_s) / self.requests * 1e3

    @property
    def per_s(self) -> float:
        """Requests a second by the clock."""
        return self.requests / self.wall_s


def make_tasks(request: int, task_bytes: int) -> bytes:
    """The tasks of one request, joined; their IDs are no other request's."""
    numbers = range(request * TASKS, (request + 1) * TASKS)
    if task_bytes != SMALL_BYTES:
        return b",".join(make_task(number, task_bytes) for number in numbers)
    return b",".join(
        b'{"id":"task%08d","commandLine":"/bin/bash -c \'process --part %08d\'"}' % (each, each)
        for each in numbers
    )


def make_request(number: int, case: Case, host: str, date: str) -> bytes:
    """One request as it goes on the wire.

    Args:
        number: 0-based; makes the tasks' IDs.
        case: Which kind.
        host: The emulator's host and port.
        date: The time, as HTTP headers have it.
    """
    body = b'{"value":[' + make_tasks(number, case.task_bytes) + b"]}"
    path = f"/jobs/{_JOB}/addtaskcollection"
    query = (("api-version", API_VERSION), ("timeout", "30"))
    headers = {
        "host": host,
        "accept": "application/json",
        "content-type": CONTENT_TYPE,
        "content-length": str(len(body)),
        "client-request-id": f"00000000-0000-0000-0000-{number:012}",
        "return-client-request-id": "true",
        "ocp-date": date,
        "user-agent": "benchmark",
    }
    if case.signed:
        text = string_to_sign("POST", _ACCOUNT, path, query, headers)
        signed = signature(base64.b64decode(KEY), text)
        headers["authorization"] = f"SharedKey {_ACCOUNT}:{signed}"
    line = f"POST {path}?{'&'.join('='.join(each) for each in query)} HTTP/1.1"
    head = "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items())])
    return head.encode() + _END_OF_HEAD + body


class _Connection(asyncio.Protocol):
    """Sends one request after the other; looks no closer at an answer than it must."""

    def __init__(self, requests: Iterator[bytes], done: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._done = done
        self._answer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(_END_OF_BODY):
            return
        added = self._answer.count(b'"status":"Success"')
        if not self._answer.startswith(b"HTTP/1.1 200 ") or added != TASKS:
            self._fail(f"{added} tasks added: {self._answer[:200]!r}")
            return
        self._answer.clear()
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the emulator hung up: {exc}")

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        else:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()

    def _fail(self, reason: str) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(reason))


async def _send(requests: Sequence[bytes], host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    left = iter(requests)
    ends = []
    for _ in range(CONNECTIONS):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(partial(_Connection, left, done), host, port)
    async with asyncio.timeout(600):
        for end in ends:
            await end


def load(case: Case, requests: int, cores: tuple[int, int], environment: Mapping[str, str]) -> Load:
    """One load of a fresh emulator.

    Args:
        case: Which kind.
        requests: How many.
        cores: The emulator's, and ours.
        environment: Of the emulator.

    Raises:
        RuntimeError: if not every task was added.
    """
    with _emulator(case, cores[0], environment) as (pid, host, port):
        date = formatdate(time.time(), usegmt=True)
        made = [make_request(number, case, f"{host}:{port}", date) for number in range(requests)]
        os.sched_setaffinity(0, {cores[1]})
        before, started_s = _cpu_s(pid), time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_send(made, host, port))
        wall_s, after = time.perf_counter() - started_s, _cpu_s(pid)
    return Load(requests, wall_s, after[0] - before[0], after[1] - before[1])


@contextmanager
def _emulator(
    case: Case, core: int, environment: Mapping[str, str]
) -> Iterator[tuple[int, str, int]]:
    """An emulator on a core of its own; gives its process ID, host and port."""
    if case.signed:
        command = [sys.executable, "-m", "bulksubmit", "emulator", "--job", _JOB]
    else:
        command = [sys.executable, "-m", "benchmarks.emulator", "--serve-open"]
    pinned = ["taskset", "-c", str(core), *command]  # Replaces itself by the command.
    with subprocess.Popen(pinned, env=environment, stdout=subprocess.PIPE) as process:
        try:
            line = cast("IO[bytes]", process.stdout).readline().decode()
            found = re.search(r"http://([\d.]+):(\d+)", line)
            if not found:
                raise RuntimeError(f"the emulator names no endpoint: {line!r}")
            yield process.pid, found[1], int(found[2])
        finally:
            process.terminate()


def _cpu_s(pid: int) -> tuple[float, float]:
    """User and system CPU time of a process so far; see proc(5), fields 14 and 15 of its stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) * _TICK_S, int(fields[12]) * _TICK_S


async def _serve_open() -> None:
    """The emulator as the command line starts it, but open to everybody."""
    service = Service(random=Random(0))  # noqa: S311  Repeatable on purpose.
    service.create_job(_JOB)
    async with serve(service) as server:
        print(server.endpoint, flush=True)
        await asyncio.Event().wait()  # Until terminated.


def table(loads: Mapping[str, list[Load]]) -> str:
    """The medians, as a table in Markdown."""
    lines = [
        "| case | bytes | Shared Key | requests/s | tasks/s | CPU a request, ms | of it system |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for name, measured in loads.items():
        case, cpu_ms = CASES[name], [each.cpu_ms for each in measured]
        per_s = median(each.per_s for each in measured)
        system_ms = median(each.system_s / each.requests * 1e3 for each in measured)
        lines.append(
            f"| {name} | {case.task_bytes} | {'yes' if case.signed else 'no'} | {per_s:,.0f} "
            f"| {per_s * TASKS:,.0f} | {median(cpu_ms):.2f} ({min(cpu_ms):.2f} to "
            f"{max(cpu_ms):.2f}) | {system_ms:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Go through the cases round by round, so that a busy minute does not hit one case only."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emulator", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=5_000, help="default: %(default)s")
    parser.add_argument("--serve-open", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if arguments.serve_open:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_open())
    cores = sorted(os.sched_getaffinity(0))
    print(machine(), flush=True)
    environment = child_environment(Path())
    loads: dict[str, list[Load]] = defaultdict(list)
    for number, name in itertools.product(range(1, arguments.rounds + 1), arguments.cases or CASES):
        print(f"round {number} of {arguments.rounds}: {name}", file=sys.stderr, flush=True)
        case = CASES[name]
        loads[name].append(load(case, arguments.requests, (cores[-1], cores[0]), environment))
    print("", table(loads), "", sep="\n")
    for name, measured in loads.items():
        cpu_ms = median(each.cpu_ms for each in measured)
        print(bar(f"CPU a request of {name}, ms", cpu_ms, CPU_MS_MAX))


if __name__ == "__main__":
    main()
