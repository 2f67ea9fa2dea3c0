"""What the service has seen, for tests and demonstrations to look at."""

from collections import Counter, deque
from dataclasses import dataclass, field

from bulksubmit.emulator.exchange import Operation
from bulksubmit.emulator.faults import Fault

SECONDS_KEPT = 60
_LOG_MAX = 10_000  # The newest requests: about 2 MB.


@dataclass(frozen=True, slots=True)
class Seen:
    """One request.

    Attributes:
        time_s: When it was processed or cut off, as POSIX time.
        operation: What was asked.
        status: Of its answer; None if it got none.
        fault: What went wrong with it.
        body_bytes: The size of its body as received; 0 if it was cut off before its end.
        tasks: How many tasks it held; 0 if they were not looked at.
        client_request_id: The client's name for it.
        job_id: Of the job that its path names, as the client spelled it; empty if it names none.
    """

    time_s: float
    operation: Operation
    status: int | None
    fault: Fault | None
    body_bytes: int
    tasks: int
    client_request_id: str | None
    job_id: str


@dataclass(slots=True)
class Recent:
    """What came in each of the last SECONDS_KEPT seconds, in a ring with a place a second."""

    _seconds: list[int] = field(default_factory=lambda: [0] * (SECONDS_KEPT + 1))
    _requests: list[int] = field(default_factory=lambda: [0] * (SECONDS_KEPT + 1))
    _tasks: list[int] = field(default_factory=lambda: [0] * (SECONDS_KEPT + 1))

    def add(self, time_s: float, tasks: int) -> None:
        """Count a request; one that is older than what its place holds by now is left out."""
        second = int(time_s)
        place = second % len(self._seconds)
        if second > self._seconds[place]:
            self._seconds[place] = second
            self._requests[place] = self._tasks[place] = 0
        if second == self._seconds[place]:
            self._requests[place] += 1
            self._tasks[place] += tasks

    def whole_seconds(self, now_s: float) -> list[tuple[int, int]]:
        """Requests and tasks of each of the last SECONDS_KEPT whole seconds, oldest first."""
        last = int(now_s)
        counts = []
        for second in range(last - SECONDS_KEPT, last):
            place = second % len(self._seconds)
            held = self._seconds[place] == second
            counts.append((self._requests[place], self._tasks[place]) if held else (0, 0))
        return counts


@dataclass(slots=True)
class Record:
    """Counts since the start, and the newest requests one by one.

    Attributes:
        requests: How many requests came to their end, whichever.
        by_operation: The same by operation.
        by_status: By the answer's status; None stands for no answer.
        by_fault: By fault, for those that had one.
        by_task_fault: How many tasks were answered with what is not so, by what struck them; see
            ``TaskFault.kind``.
        tasks: How many tasks came in, each as often as it was sent.
        body_bytes: The bytes of all bodies.
        connections: How many connections were opened. The shell counts.
        in_flight: How many requests are being answered. The shell counts.
        in_flight_peak: The most there ever were at once.
        log: The newest requests, oldest first.
        recent: How many came in each of the last seconds.
    """

    requests: int = 0
    by_operation: Counter[Operation] = field(default_factory=Counter)
    by_status: Counter[int | None] = field(default_factory=Counter)
    by_fault: Counter[Fault] = field(default_factory=Counter)
    by_task_fault: Counter[str] = field(default_factory=Counter)
    tasks: int = 0
    body_bytes: int = 0
    connections: int = 0
    in_flight: int = 0
    in_flight_peak: int = 0
    log: deque[Seen] = field(default_factory=lambda: deque(maxlen=_LOG_MAX))
    recent: Recent = field(default_factory=Recent)

    def add(self, seen: Seen) -> None:
        """Count a request."""
        self.requests += 1
        self.by_operation[seen.operation] += 1
        self.by_status[seen.status] += 1
        if seen.fault is not None:
            self.by_fault[seen.fault] += 1
        self.tasks += seen.tasks
        self.body_bytes += seen.body_bytes
        self.log.append(seen)
        self.recent.add(seen.time_s, seen.tasks)

    def enter(self) -> None:
        """A request's head has arrived."""
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)

    def leave(self) -> None:
        """A request's answer has been sent, or never will be."""
        self.in_flight -= 1
