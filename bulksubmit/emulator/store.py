"""Jobs and their tasks, kept lean: ten million tasks of 100 bytes are to fit into 4 GiB.

A task is two objects: its folded ID and one bytes object, the time of its creation followed by
its body as received. Both hang in one dict, and the ID once more in the sorted runs of the list.
No task ever runs: it is active until someone says that it is complete.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import merge

import msgspec

_TICKS_BYTES = 8
_COMPLETED = 1 << 63  # Ticks stay far below it, so it is free to say that the task is complete.


TERMINATE = "terminatejob"  # REST reference, OnAllTasksComplete.


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
        completed: Whether it has run, in no time and with success.
    """

    ticks: int
    body: bytes
    completed: bool = False


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
        properties: What else was sent when it was created, such as ``poolInfo``, or afterwards.
        state: May be set at any time, also while requests are in flight.
        modified_ticks: When it was last changed; adding tasks does not count. 0 for never.
    """

    id: str
    created_ticks: int
    properties: Mapping[str, object] = field(default_factory=dict)
    state: JobState = JobState.ACTIVE
    modified_ticks: int = 0
    _tasks: dict[str, bytes] = field(default_factory=dict, repr=False)
    _ids: SortedIds = field(default_factory=SortedIds, repr=False)
    _active: int = 0  # Tasks that are not complete.
    _manager_active: bool = False

    def __post_init__(self) -> None:
        # Nobody adds a job's manager: it is there from the start.
        self._manager_active = self.properties.get("jobManagerTask") is not None

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id.lower() in self._tasks

    @property
    def uses_task_dependencies(self) -> bool:
        """Whether its tasks may depend on others."""
        return self.properties.get("usesTaskDependencies") is True

    @property
    def on_task_failure(self) -> str:
        """``noaction`` or ``performexitoptionsjobaction``."""
        return str(self.properties.get("onTaskFailure") or "noaction").lower()

    @property
    def on_all_tasks_complete(self) -> str:
        """``noaction`` or ``terminatejob``."""
        return str(self.properties.get("onAllTasksComplete") or "noaction").lower()

    def add(self, task_id: str, body: bytes, *, ticks: int, completed: bool = False) -> bool:
        """Add a task, unless its ID is taken, ignoring case; say whether it was added.

        Args:
            task_id: Its ID.
            body: Its JSON.
            ticks: The time, in .NET ticks.
            completed: It runs at once, in no time and with success.
        """
        folded = task_id.lower()
        if folded in self._tasks:
            return False
        mark = ticks | _COMPLETED if completed else ticks
        self._tasks[folded] = mark.to_bytes(_TICKS_BYTES, "big") + body
        self._ids.append(folded)
        self._active += not completed
        return True

    def task(self, task_id: str) -> StoredTask | None:
        """The task of that ID, ignoring case, or None."""
        stored = self._tasks.get(task_id.lower())
        if stored is None:
            return None
        mark = int.from_bytes(stored[:_TICKS_BYTES], "big")
        return StoredTask(mark & ~_COMPLETED, stored[_TICKS_BYTES:], mark >= _COMPLETED)

    def change(self, properties: Mapping[str, object], *, ticks: int) -> None:
        """Replace some properties, and complete if they ask for it."""
        self.properties = {**self.properties, **properties}
        self.modified_ticks = ticks
        self.complete_if_done(ticks=ticks)

    def complete_tasks(self, *, ticks: int) -> None:
        """Let all tasks there are run to their end; a job that waits for that completes."""
        if self._active:
            for task_id, stored in self._tasks.items():
                self._tasks[task_id] = bytes([stored[0] | _COMPLETED >> 56]) + stored[1:]
        self._active, self._manager_active = 0, False
        self.complete_if_done(ticks=ticks)

    def complete_if_done(self, *, ticks: int) -> None:
        """Complete if no task is left and ``onAllTasksComplete`` says so.

        REST reference: a job without tasks counts as one whose tasks are all complete. That the
        service takes no time to notice is the emulator's choice.
        """
        left = self._active or self._manager_active
        if self.state is JobState.ACTIVE and self.on_all_tasks_complete == TERMINATE and not left:
            self.state = JobState.COMPLETED
            self.modified_ticks = ticks

    def task_ids(self, low: str = "", high: str | None = None) -> Iterator[str]:
        """The tasks' IDs in lower case, from ``low`` up to but without ``high``, ascending."""
        return self._ids.between(low, high)

    def bodies(self) -> Iterator[bytes]:
        """The tasks' JSON as it was sent, in the order in which they were added."""
        for stored in self._tasks.values():
            yield stored[_TICKS_BYTES:]
