"""Jobs and their tasks, kept lean: ten million tasks of 100 bytes are to fit into 4 GiB.

A task is two objects: its folded ID and one bytes object, the time of its creation followed by
its body as received. Both hang in one dict, and the ID once more in the sorted runs of the list.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import merge

import msgspec

_TICKS_BYTES = 8


class JobState(StrEnum):
    """JobState, as the REST reference spells it."""

    ACTIVE = "active"
    DISABLING = "disabling"
    DISABLED = "disabled"
    ENABLING = "enabling"
    TERMINATING = "terminating"
    COMPLETED = "completed"
    DELETING = "deleting"


class StoredTask(msgspec.Struct, frozen=True, gc=False):
    """A task that exists.

    Attributes:
        ticks: When it was added, in .NET ticks.
        body: Its JSON, as it was sent.
    """

    ticks: int
    body: bytes


class SortedIds:
    """IDs in ascending order, for a list that is read page by page while others are added.

    Nothing is sorted until someone asks. Then what is new becomes a sorted run, and a run is
    merged with its neighbour unless that is more than twice its length: an ID takes part in at
    most about log2(n) merges, and there are never more than log2(n) runs.
    """

    def __init__(self) -> None:
        self._fresh: list[str] = []
        self._runs: list[list[str]] = []

    @property
    def runs(self) -> int:
        """How many sorted runs there are."""
        return len(self._runs)

    def append(self, task_id: str) -> None:
        """Take in an ID that is not there yet."""
        self._fresh.append(task_id)

    def between(self, low: str, high: str | None) -> Iterator[str]:
        """The IDs from ``low`` on, up to but without ``high``, ascending; None for no end.

        To be used up before the next append: what is added meanwhile may be left out.
        """
        self._sort()
        parts = []
        for run in self._runs:
            start = bisect_left(run, low)
            stop = len(run) if high is None else bisect_left(run, high, start)
            if start < stop:
                # By index: a slice would copy ten million references for a page of a thousand.
                parts.append(map(run.__getitem__, range(start, stop)))
        return parts[0] if len(parts) == 1 else merge(*parts)

    def _sort(self) -> None:
        if not self._fresh:
            return
        self._runs.append(sorted(self._fresh))
        self._fresh = []
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] += last
            self._runs[-1].sort()  # Two ascending runs: Python merges them in linear time.


@dataclass(slots=True)
class Job:
    """A job and its tasks.

    Attributes:
        id: As it was created; matched ignoring case.
        created_ticks: When it was created, in .NET ticks.
        properties: What else was sent when it was created, such as ``poolInfo``.
        state: May be set at any time, also while requests are in flight.
    """

    id: str
    created_ticks: int
    properties: Mapping[str, object] = field(default_factory=dict)
    state: JobState = JobState.ACTIVE
    _tasks: dict[str, bytes] = field(default_factory=dict, repr=False)
    _ids: SortedIds = field(default_factory=SortedIds, repr=False)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id.lower() in self._tasks

    def add(self, task_id: str, body: bytes, *, ticks: int) -> bool:
        """Add a task, unless its ID is taken, ignoring case; say whether it was added."""
        folded = task_id.lower()
        if folded in self._tasks:
            return False
        self._tasks[folded] = ticks.to_bytes(_TICKS_BYTES, "big") + body
        self._ids.append(folded)
        return True

    def task(self, task_id: str) -> StoredTask | None:
        """The task of that ID, ignoring case, or None."""
        stored = self._tasks.get(task_id.lower())
        if stored is None:
            return None
        ticks = int.from_bytes(stored[:_TICKS_BYTES], "big")
        return StoredTask(ticks, stored[_TICKS_BYTES:])

    def task_ids(self, low: str = "", high: str | None = None) -> Iterator[str]:
        """The tasks' IDs in lower case, from ``low`` up to but without ``high``, ascending."""
        return self._ids.between(low, high)

    def bodies(self) -> Iterator[bytes]:
        """The tasks' JSON as it was sent, in the order in which they were added."""
        for stored in self._tasks.values():
            yield stored[_TICKS_BYTES:]
