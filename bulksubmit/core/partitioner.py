"""Cuts tasks into collections: at most 100, within the byte bound, no ID twice.

A task that does not fit any more, or whose ID is in the collection already, is passed over and
comes first in the next collection, so the order of the source is kept within a few tasks.
Passing over at most a few fills requests of large tasks to 98 % and more of the bound; taking
the next one only fills them to 96 %.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from bulksubmit.core.limits import FRAME_BYTES
from bulksubmit.core.model import Task
from bulksubmit.core.tasks import Columns, bytes_of

PASSED_OVER_MAX = 16


class Queue:
    """Tasks waiting to be cut, oldest first.

    Attributes:
        bytes: The sum of their bodies, each with its comma.
    """

    def __init__(self) -> None:
        self._first: deque[Task] = deque()  # Those that were looked at,
        self._then: deque[Columns] = deque()  # and behind them those that were not,
        self._begin = 0  # of the first of which so many are gone.
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Task]:
        yield from self._first
        begin = self._begin
        for columns in self._then:
            yield from columns[begin:]
            begin = 0

    def extend(self, tasks: Sequence[Task]) -> None:
        """Add tasks at the end."""
        if isinstance(tasks, Columns) and tasks:
            self._then.append(tasks)
        elif tasks:
            self.look_at(self._count)
            self._first.extend(tasks)
        self._count += len(tasks)
        self.bytes += len(tasks) + bytes_of(tasks)

    def cut_plainly(self, *, tasks_max: int, bytes_max: int) -> Columns | None:
        """Take the first tasks, if they make a collection as they are; otherwise none."""
        count = min(self._count, tasks_max)
        # Large ones, going by the mean, would be cut in vain.
        if self._first or bytes_max * self._count < self.bytes * count:
            return None
        begin, end = self._begin, self._begin + count
        tasks = self._then[0][begin:end]
        whole = 0  # How many columns are used up before the last one.
        while len(tasks) < count:
            whole += 1
            begin, end = 0, count - len(tasks)
            tasks = tasks.joined(self._then[whole][:end])
        size = bytes_of(tasks) + count
        if size > bytes_max - FRAME_BYTES + 1 or len(set(tasks.folded)) < count:
            return None
        for _ in range(whole):
            self._then.popleft()
        self._go_to(end)
        self._count -= count
        self.bytes -= size
        return tasks

    def take(self) -> Task:
        """Take the first task, of which there must be one."""
        self.look_at(1)
        task = self._first.popleft()
        self._count -= 1
        self.bytes -= len(task.body) + 1
        return task

    def put_back(self, tasks: Sequence[Task]) -> None:
        """Put tasks in front again, in their order."""
        self._first.extendleft(reversed(tasks))
        self._count += len(tasks)
        self.bytes += bytes_of(tasks) + len(tasks)

    def look_at(self, count: int) -> None:
        """Make the first so many tasks, if there are as many, ready to be taken one by one."""
        while (missing := min(count, self._count) - len(self._first)) > 0:
            end = self._begin + missing
            self._first.extend(self._then[0][self._begin : end])
            self._go_to(end)

    def _go_to(self, end: int) -> None:
        """The first columns are used up to there, or wholly."""
        self._begin = end
        if end >= len(self._then[0]):
            self._then.popleft()
            self._begin = 0


def request_bytes(tasks: Sequence[Task]) -> int:
    """The exact size of the request's body that these tasks make."""
    return FRAME_BYTES + bytes_of(tasks) + len(tasks) - 1


def fills(queues: Sequence[Queue], *, tasks_max: int, bytes_max: int) -> bool:
    """Whether these queues hold enough for a collection that reaches one of its bounds."""
    return (
        sum(len(queue) for queue in queues) >= tasks_max
        or sum(queue.bytes for queue in queues) >= bytes_max
    )


def cut(queues: Sequence[Queue], *, tasks_max: int, bytes_max: int) -> Sequence[Task]:
    """Take the next collection out of the queues, the first queue's tasks first.

    Args:
        queues: At least one task between them.
        tasks_max: The bound on the collection's tasks.
        bytes_max: The bound on the request's body. A task that alone exceeds it goes alone:
            the bound may have fallen since it was admitted.

    Returns:
        At least one task.
    """
    first, last = next(filter(None, queues)), queues[-1]
    if len(first) >= tasks_max or first is last:
        plain = first.cut_plainly(tasks_max=tasks_max, bytes_max=bytes_max)
        if plain is not None:
            return plain
    collection: list[Task] = []
    ids: set[str] = set()
    room = bytes_max - FRAME_BYTES + 1  # One comma fewer than tasks.
    for queue in queues:
        passed_over: list[Task] = []
        queue.look_at(tasks_max - len(collection))
        while queue and len(collection) < tasks_max and len(passed_over) < PASSED_OVER_MAX:
            task = queue.take()
            size, folded = len(task.body) + 1, task.id.lower()
            if (size > room and collection) or folded in ids:
                passed_over.append(task)
                continue
            collection.append(task)
            ids.add(folded)
            room -= size
        queue.put_back(passed_over)
    return tuple(collection)


def halve(tasks: Sequence[Task]) -> tuple[Sequence[Task], Sequence[Task]]:
    """Both halves of a collection of at least two.

    One bad or oversized task sinks the whole collection. Halving finds it in at most 15
    requests out of 100 tasks, and lets its 99 neighbours through.
    """
    middle = len(tasks) // 2
    return tasks[:middle], tasks[middle:]
