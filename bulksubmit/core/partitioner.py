"""Cuts tasks into collections: at most 100, within the byte bound, no ID twice.

A task that does not fit any more, or whose ID is in the collection already, is passed over and
comes first in the next collection, so the order of the source is kept within a few tasks.
Passing over at most a few fills requests of large tasks to 98 % and more of the bound; taking
the next one only fills them to 96 %.
"""

from collections import deque
from collections.abc import Sequence

from bulksubmit.core.limits import FRAME_BYTES
from bulksubmit.core.model import Task

PASSED_OVER_MAX = 16


class Queue:
    """Tasks waiting to be cut, oldest first.

    Attributes:
        tasks: In order.
        bytes: The sum of their bodies, each with its comma.
    """

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.tasks)

    def extend(self, tasks: Sequence[Task], bodies_bytes: int | None = None) -> None:
        """Add tasks at the end.

        Args:
            tasks: Any number.
            bodies_bytes: Of their bodies together, if that is known.
        """
        self.tasks.extend(tasks)
        self.bytes += len(tasks) + (bytes_of(tasks) if bodies_bytes is None else bodies_bytes)

    def cut_plainly(self, *, tasks_max: int, bytes_max: int) -> list[Task] | None:
        """Take the first tasks, if they make a collection as they are; otherwise none."""
        count = min(len(self.tasks), tasks_max)
        if bytes_max * len(self.tasks) < self.bytes * count:
            return None  # Large ones, going by the mean: they would be taken out in vain.
        take = self.tasks.popleft
        tasks = [take() for _ in range(count)]
        size = bytes_of(tasks) + count
        if size > bytes_max - FRAME_BYTES + 1 or len({task.id.lower() for task in tasks}) < count:
            self.tasks.extendleft(reversed(tasks))
            return None
        self.bytes -= size
        return tasks


def bytes_of(tasks: Sequence[Task]) -> int:
    """The bytes of these tasks' bodies."""
    return sum([len(task.body) for task in tasks])


def request_bytes(tasks: Sequence[Task]) -> int:
    """The exact size of the request's body that these tasks make."""
    return FRAME_BYTES + bytes_of(tasks) + len(tasks) - 1


def fills(queues: Sequence[Queue], *, tasks_max: int, bytes_max: int) -> bool:
    """Whether these queues hold enough for a collection that reaches one of its bounds."""
    return (
        sum(len(queue) for queue in queues) >= tasks_max
        or sum(queue.bytes for queue in queues) >= bytes_max
    )


def cut(queues: Sequence[Queue], *, tasks_max: int, bytes_max: int) -> list[Task]:
    """Take the next collection out of the queues, the first queue's tasks first.

    Args:
        queues: At least one task between them.
        tasks_max: The bound on the collection's tasks.
        bytes_max: The bound on the request's body. A task that alone exceeds it goes alone:
            the bound may have fallen since it was admitted.

    Returns:
        At least one task.
    """
    first = next(queue for queue in queues if queue)
    if len(first) >= tasks_max or first is queues[-1]:
        plain = first.cut_plainly(tasks_max=tasks_max, bytes_max=bytes_max)
        if plain is not None:
            return plain
    collection: list[Task] = []
    ids: set[str] = set()
    room = bytes_max - FRAME_BYTES + 1  # One comma fewer than tasks.
    for queue in queues:
        passed_over: list[Task] = []
        tasks, before = queue.tasks, room
        while tasks and len(collection) < tasks_max and len(passed_over) < PASSED_OVER_MAX:
            task = tasks.popleft()
            size, folded = len(task.body) + 1, task.id.lower()
            if (size > room and collection) or folded in ids:
                passed_over.append(task)
                continue
            collection.append(task)
            ids.add(folded)
            room -= size
        tasks.extendleft(reversed(passed_over))
        queue.bytes -= before - room
    return collection


def halve(tasks: Sequence[Task]) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """Both halves of a collection of at least two.

    One bad or oversized task sinks the whole collection. Halving finds it in at most 15
    requests out of 100 tasks, and lets its 99 neighbours through.
    """
    middle = len(tasks) // 2
    return tuple(tasks[:middle]), tuple(tasks[middle:])
