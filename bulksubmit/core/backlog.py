"""The unsettled tasks that are not in flight, and which of them go next.

fresh     never sent
waiting   to be sent again, each at its due time (a heap)
due       to be sent again now
pressed   to be sent again now, at the retry budget's cost
halves    refused collections cut in two, which go out as they are

Retries travel in full requests, filled up with fresh tasks. That needs 1.35 times fewer requests
at 0.5 % servererror, and 2.6 times fewer at 30 %, than sending each collection's leftovers by
themselves.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator, Sequence

from bulksubmit.core.backoff import RetryBudget, on_grid
from bulksubmit.core.model import Task
from bulksubmit.core.partitioner import Queue, cut, fills

# How long a partial collection waits for company while the source is slow.
LINGER_S = 0.25


class Backlog:
    """Tasks on their way to the next collection.

    Attributes:
        fresh: Tasks never sent, in the order of the source.
        budget: What resending under pressure costs.
    """

    def __init__(self) -> None:
        self.fresh = Queue()
        self.budget = RetryBudget()
        self._due = Queue()
        self._pressed = Queue()
        self._halves: deque[Sequence[Task]] = deque()
        # By due time, which only few differ in; the heap orders the keys.
        self._waiting: dict[float, list[tuple[Queue, Sequence[Task]]]] = {}
        self._due_times: list[float] = []
        self._lingers_s: float | None = None  # When a partial collection has waited enough.

    def add_halves(self, halves: Sequence[Sequence[Task]]) -> None:
        """Let these collections go as they are, before anything else."""
        self._halves.extend(halves)

    def wait(self, tasks: Sequence[Task], until_s: float, *, pressed: bool) -> None:
        """Send tasks again, at the first point of the common grid after a time.

        Args:
            tasks: To be sent again.
            until_s: Not before.
            pressed: Whether their last reply was pressure, so that sending them again costs
                the retry budget.
        """
        due_s = on_grid(until_s)
        if due_s not in self._waiting:
            self._waiting[due_s] = []
            heapq.heappush(self._due_times, due_s)
        self._waiting[due_s].append((self._pressed if pressed else self._due, tasks))

    def ready_s(self, now_s: float, *, tasks_max: int, bytes_max: int, sealed: bool) -> float:
        """When next() can be called: now, later, or (infinity) not before something happens.

        A collection is filled to its bounds; a partial one goes only if no fresh tasks will
        come, or after a linger.
        """
        self._move_due(now_s)
        if len(self.fresh) >= tasks_max:
            return now_s
        queues = self._affordable(now_s)
        if self._halves or (sealed and any(queues)):
            return now_s
        if fills(queues, tasks_max=tasks_max, bytes_max=bytes_max):
            return now_s
        later_s = self._due_times[0] if self._due_times else math.inf
        if self._pressed and self._pressed not in queues:
            later_s = min(later_s, self.budget.ready_s(now_s))
        if not any(queues):
            return later_s
        if self._lingers_s is None:
            self._lingers_s = now_s + LINGER_S
        return max(now_s, min(self._lingers_s, later_s))

    def next(self, now_s: float, *, tasks_max: int, bytes_max: int) -> Sequence[Task]:
        """Take the next collection; ready_s() must have said now."""
        self._lingers_s = None
        if self._halves:
            return self._halves.popleft()
        queues = self._affordable(now_s)
        if self._pressed in queues:
            self.budget.spend(now_s)
        return cut(queues, tasks_max=tasks_max, bytes_max=bytes_max)

    def again(self) -> Iterator[Task]:
        """Every task that is to be sent again, in no set order."""
        yield from self._pressed
        yield from self._due
        for half in self._halves:
            yield from half
        for waiting in self._waiting.values():
            for _, tasks in waiting:
                yield from tasks

    def check(self) -> None:
        """Assert what always holds."""
        assert sorted(self._due_times) == sorted(self._waiting)
        for queue in (self.fresh, self._due, self._pressed):
            assert queue.bytes == sum(len(task.body) + 1 for task in queue)

    def _move_due(self, now_s: float) -> None:
        while self._due_times and self._due_times[0] <= now_s:
            for queue, tasks in self._waiting.pop(heapq.heappop(self._due_times)):
                queue.extend(tasks)

    def _affordable(self, now_s: float) -> tuple[Queue, ...]:
        """The queues to cut from now, in order."""
        if self._pressed and self.budget.ready_s(now_s) <= now_s:
            return (self._pressed, self._due, self.fresh)
        return (self._due, self.fresh)
