"""What is run: sections of cases and clients, each interleaved in rounds of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from benchmarks.sidebyside.clients import (
    AIOHTTP,
    AIOHTTP_QUICK,
    AZ,
    AZURE_14,
    AZURE_AIO,
    AZURE_SYNC,
    BULKSUBMIT,
    CLIENTS,
    COMMAND_LINE,
    HTTPX,
    IDEAL,
    IMPORTS,
    REQUESTS,
    SHOWN,
    WRK,
)
from benchmarks.sidebyside.runs import TASKS_MAX, Case
from benchmarks.task_file import MEDIUM_BYTES, RICH_BYTES, SMALL_BYTES

CPU, BESIDE_IDEAL, FLIGHT, TLS, ERRORS = "cpu", "ideal", "in-flight", "tls", "errors"
START, SHOWING, MEMORY, RESUMED = "start", "shown", "memory", "resumed"

# So many that the start, which is left out, and differs by some hundredths of a second, makes no
# difference.
SMALL = Case(SMALL_BYTES, 1_000_000)
MEDIUM = Case(MEDIUM_BYTES, 500_000)
RICH = Case(RICH_BYTES, 200_000)

LATENCY_MS = 100
FAILING = 0.02
# Each task fails once on the average. If all of a request's failed, ours would take it for a
# service that is down, and hold back.
FAILING_ONCE = 0.5
_FLOOD_S = 5  # What a flood with latency is to take.
_WAVES = 4  # A client that makes all its requests before it sends them would seem quick.

_COMPARED = (BULKSUBMIT, IDEAL, AZURE_AIO)
# Those that are compared most come one after the other: a machine may be slower a minute later.
_ALL = (
    *(BULKSUBMIT, IDEAL, AZURE_AIO, COMMAND_LINE, AZURE_SYNC, AZURE_14, AZ),
    *(AIOHTTP, AIOHTTP_QUICK, HTTPX, REQUESTS, WRK),
)


@dataclass(frozen=True, slots=True)
class Section:
    """Cases that are compared with each other.

    Attributes:
        what: For a reader.
        runs: Clients' names and what each is to do, in the order of a round.
        rounds: How many rounds there are for each that is asked for; at least one is made.
        start_up: Whether the CPU time of starting up is to be measured, and left out.
    """

    what: str
    runs: Sequence[tuple[str, Case]]
    rounds: float = 1.0
    start_up: bool = True

    def round(self, clients: Sequence[str]) -> Iterator[tuple[str, Case, bool]]:
        """All runs of a round, of these clients, and whether each is there for the start only."""
        runs = [run for run in self.runs if run[0] in clients]
        if self.start_up:
            for client, case in dict.fromkeys((client, case.start_up) for client, case in runs):
                yield client, case, True
        for client, case in runs:
            yield client, case, False

    def rounds_of(self, asked: int) -> int:
        """How many rounds there are if so many are asked for."""
        return ceil(self.rounds * asked)

    def shrunk(self, tasks_max: int) -> "Section":
        """The same with so many tasks at most."""
        runs = [
            (client, replace(case, tasks=min(case.tasks, tasks_max))) for client, case in self.runs
        ]
        return replace(self, runs=list(dict.fromkeys(runs)))


def _each(clients: Sequence[str], *cases: Case) -> list[tuple[str, Case]]:
    """Each case for each client; the slow ones get their share of the tasks only."""
    return [
        (client, replace(case, tasks=ceil(case.tasks * CLIENTS[client].share)))
        for case in cases
        for client in clients
    ]


def _flight_runs() -> list[tuple[str, Case]]:
    """Floods without latency; each with several requests for each that is in flight."""
    cases = [replace(SMALL, in_flight=in_flight) for in_flight in (1, 16, 100)]
    return [
        (client, replace(case, tasks=max(case.tasks, _WAVES * case.in_flight * TASKS_MAX)))
        for client, case in _each(_COMPARED, *cases)
    ]


def _late_runs() -> list[tuple[str, Case]]:
    """Floods with latency that take a few seconds each."""
    runs = []
    for in_flight in (1, 10, 16, 50, 100):
        tasks = in_flight * TASKS_MAX * 1000 * _FLOOD_S // LATENCY_MS
        case = replace(SMALL, tasks=tasks, in_flight=in_flight, latency_ms=LATENCY_MS)
        fewer = replace(case, tasks=min(tasks, 30_000))  # It would take much longer.
        runs += [(client, fewer if client == AZURE_AIO else case) for client in _COMPARED]
    return runs


def _memory_runs() -> list[tuple[str, Case]]:
    sizes = [replace(MEDIUM, tasks=tasks) for tasks in (10_000, 100_000, 1_000_000)]
    unchecked = ("dedupe=false",)
    many = [replace(SMALL, tasks=tasks) for tasks in (1_000_000, 10_000_000)]
    failing = [replace(case, server_error=FAILING_ONCE) for case in many]
    ours = [
        *sizes,
        replace(sizes[-1], options=unchecked),
        replace(sizes[-1], in_flight=100),
        replace(sizes[-1], in_flight=100, options=unchecked),
        *many,
        *failing,
        # One a request: its frame still fits into 1,000,000 bytes.
        Case(999_000, 300, latency_ms=50),
    ]
    return [(BULKSUBMIT, case) for case in ours] + [(AZURE_AIO, case) for case in sizes[:2]]


SECTIONS: Mapping[str, Section] = {
    CPU: Section(
        "CPU a task: all clients, 16 requests in flight, no latency",
        _each(_ALL, SMALL, MEDIUM, RICH),
    ),
    BESIDE_IDEAL: Section(
        "Against the ideal loop, in more rounds: what differs is less than what a machine varies",
        _each([BULKSUBMIT, IDEAL], SMALL, RICH),
        rounds=4,
    ),
    FLIGHT: Section(
        "Requests in flight, with a latency of 0 and of 100 ms",
        [
            *_flight_runs(),
            *_late_runs(),
        ],
        rounds=0.6,
    ),
    TLS: Section(
        "Plain and TLS",
        _each(_COMPARED, SMALL, replace(SMALL, tls=True), RICH, replace(RICH, tls=True)),
    ),
    ERRORS: Section(
        "2 % of the tasks are answered ServerError, each time",
        _each(
            [BULKSUBMIT, AZURE_14, AIOHTTP],
            replace(SMALL, tasks=400_000, server_error=FAILING),
        ),
        rounds=0.6,
    ),
    START: Section(
        "Start and end, with 100 tasks",
        [(client, SMALL.start_up) for client in (IMPORTS, COMMAND_LINE, *_COMPARED)],
        rounds=2,
        start_up=False,
    ),
    SHOWING: Section(
        "Progress and metrics on",
        _each([BULKSUBMIT, SHOWN], replace(MEDIUM, tasks=300_000)),
        rounds=2,
    ),
    MEMORY: Section(
        "Peak memory, 10,000 to 10,000,000 tasks",
        _memory_runs(),
        rounds=0.1,
        start_up=False,
    ),
    RESUMED: Section(
        "Killed when half of the tasks were in, and resumed: the process that goes on",
        [(BULKSUBMIT, replace(SMALL, tasks=10_000_000))],
        rounds=0.1,
        start_up=False,
    ),
}

# What those who work on the engine want to know at once.
QUICK: Mapping[str, Section] = {
    BESIDE_IDEAL: replace(SECTIONS[BESIDE_IDEAL], rounds=1),
    CPU: Section(SECTIONS[CPU].what, _each((BULKSUBMIT, AZURE_AIO), SMALL, RICH)),
}
