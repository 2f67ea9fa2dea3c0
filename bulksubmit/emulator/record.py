"""What the service has seen, for tests and demonstrations to look at."""

from collections import Counter, deque
from dataclasses import dataclass, field

from bulksubmit.emulator.exchange import Operation
from bulksubmit.emulator.faults import Fault

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
    """

    time_s: float
    operation: Operation
    status: int | None
    fault: Fault | None
    body_bytes: int
    tasks: int
    client_request_id: str | None


@dataclass(slots=True)
class Record:
    """Counts since the start, and the newest requests one by one.

    Attributes:
        requests: How many requests came to their end, whichever.
        by_operation: The same by operation.
        by_status: By the answer's status; None stands for no answer.
        by_fault: By fault, for those that had one.
        tasks: How many tasks came in, each as often as it was sent.
        body_bytes: The bytes of all bodies.
        connections: How many connections were opened. The shell counts.
        in_flight: How many requests are being answered. The shell counts.
        in_flight_peak: The most there ever were at once.
        log: The newest requests, oldest first.
    """

    requests: int = 0
    by_operation: Counter[Operation] = field(default_factory=Counter)
    by_status: Counter[int | None] = field(default_factory=Counter)
    by_fault: Counter[Fault] = field(default_factory=Counter)
    tasks: int = 0
    body_bytes: int = 0
    connections: int = 0
    in_flight: int = 0
    in_flight_peak: int = 0
    log: deque[Seen] = field(default_factory=lambda: deque(maxlen=_LOG_MAX))

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

    def enter(self) -> None:
        """A request's head has arrived."""
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)

    def leave(self) -> None:
        """A request's answer has been sent, or never will be."""
        self.in_flight -= 1
