"""Jobs and their tasks, kept lean: ten million tasks of 100 bytes are to fit into 4 GiB.

A task is two objects: its folded ID and one bytes object, the time of its creation followed by
its body as received. Both hang in one dict, and the ID once more in the sorted runs of the list.
What happens to a task afterwards is kept apart, for the few to which something does. No task ever
runs: it is active until someone says that it is complete.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import merge
from typing import TypeAlias

import msgspec

from bulksubmit.core.wire import TICKS_PER_S
from bulksubmit.emulator.switches import COUNTS_KEPT_S

_TICKS_BYTES = 8
_COMPLETED = 1 << 63  # Ticks stay far below it, so it is free to say that the task is complete.
_COMPLETED_BYTE = _COMPLETED >> 56  # The same in the first byte of what is stored.
_COUNTS_APART_TICKS = TICKS_PER_S // 20

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


class TaskEnd(StrEnum):
    """How a task came to its end."""

    SUCCEEDED = "succeeded"  # It ran, in no time, with exit code 0.
    TERMINATED = "terminated"  # Someone ended it before it ran.


class Change(msgspec.Struct, frozen=True, gc=False):
    """What happened to a task after it was added.

    Attributes:
        ticks: When, the last time, in .NET ticks.
        end: How it came to its end; None while it is active.
        state_ticks: When its state changed.
        previous_state: What its state was before; empty if it never changed.
        previous_ticks: Since when it had been that.
        constraints: A JSON object that took the place of those it was sent with; empty if none
            did.
    """

    ticks: int
    end: TaskEnd | None
    state_ticks: int
    previous_state: str = ""
    previous_ticks: int = 0
    constraints: bytes = b""


class StoredTask(msgspec.Struct, frozen=True, gc=False):
    """A task that exists.

    Attributes:
        ticks: When it was added, in .NET ticks.
        body: Its JSON, as it was sent.
        change: What happened to it since; None for nothing.
    """

    ticks: int
    body: bytes
    change: Change | None = None

    @property
    def end(self) -> TaskEnd | None:
        """How it came to its end; None while it is active."""
        return None if self.change is None else self.change.end

    @property
    def state(self) -> str:
        """TaskState, as the REST reference spells it."""
        return "active" if self.end is None else "completed"

    @property
    def modified_ticks(self) -> int:
        """When it was last changed, or added."""
        return self.ticks if self.change is None else self.change.ticks

    @property
    def state_ticks(self) -> int:
        """Since when it has its state."""
        return self.ticks if self.change is None else self.change.state_ticks


class Counts(msgspec.Struct, frozen=True, gc=False):
    """How many tasks, or slots of nodes that tasks need, are in which state."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0


# What happened to a task, by its folded ID: it was added as those bytes, changed, or removed.
Event: TypeAlias = tuple[str, bytes | Change | None]

# When counts were noted, in .NET ticks: those of tasks, and of the slots they need.
Noted: TypeAlias = tuple[int, Counts, Counts]


class SortedIds:
    """IDs in ascending order, for a list that is read page by page while others are added.

    Nothing is sorted until someone asks. Then what is new becomes a sorted run, and a run is
    merged with its neighbour unless that is more than twice its length: an ID takes part in at
    most about log2(n) merges, and there are never more than log2(n) runs.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._fresh = list(ids)
        self._runs: list[list[str]] = []
        self._gone: set[str] = set()  # They stay in the runs.

    @property
    def runs(self) -> int:
        """How many sorted runs there are."""
        return len(self._runs)

    def append(self, task_id: str) -> None:
        """Take in an ID that is not there yet."""
        if self._gone and task_id in self._gone:
            self._gone.remove(task_id)
        else:
            self._fresh.append(task_id)

    def discard(self, task_id: str) -> None:
        """Take an ID out that is there."""
        self._gone.add(task_id)

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
        ids = parts[0] if len(parts) == 1 else merge(*parts)
        return (each for each in ids if each not in self._gone) if self._gone else ids

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
        state_ticks: Since when it has its state; 0 for as long as it exists.
        previous_state: What its state was before; None if it never changed.
        previous_ticks: Since when it had been that.
        next_state: What its state becomes at ``next_ticks``; None if nothing is to come.
        next_ticks: See ``next_state``.
        gone_ticks: When a job that is being deleted will be gone; None if it is not.
        end_reason: Why it was completed; empty while it is not.
        unsaved: What happened to tasks, in order, since whoever keeps the job on disk last looked;
            None if nobody does.
        past: The counts as they were noted, in order; those long past are left out.
        manager_active: Whether its ``jobManagerTask`` is there and not complete.
    """

    id: str
    created_ticks: int
    properties: Mapping[str, object] = field(default_factory=dict)
    state: JobState = JobState.ACTIVE
    modified_ticks: int = 0
    state_ticks: int = 0
    previous_state: JobState | None = None
    previous_ticks: int = 0
    next_state: JobState | None = None
    next_ticks: int = 0
    gone_ticks: int | None = None
    end_reason: str = ""
    unsaved: list[Event] | None = field(default=None, repr=False)
    past: deque[Noted] = field(default_factory=deque, repr=False)
    manager_active: bool = False
    _tasks: dict[str, bytes] = field(default_factory=dict, repr=False)
    _changes: dict[str, Change] = field(default_factory=dict, repr=False)
    _ids: SortedIds = field(default_factory=SortedIds, repr=False)
    # Only what is not as usual is counted: the usual task is active, and needs one slot.
    _ended: Counter[TaskEnd] = field(default_factory=Counter, repr=False)
    _more_slots: Counter[TaskEnd | None] = field(default_factory=Counter, repr=False)

    def __post_init__(self) -> None:
        # Nobody adds a job's manager: it is there from the start.
        self.manager_active = self.properties.get("jobManagerTask") is not None

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
        stored = mark.to_bytes(_TICKS_BYTES, "big") + body
        self._tasks[folded] = stored
        self._ids.append(folded)
        # Bytes are slower at "in" than at find(): they try a number first.
        if completed or body.find(b"requiredSlots") >= 0:
            self._count(TaskEnd.SUCCEEDED if completed else None, body, 1)
        if self.unsaved is not None:
            self.unsaved.append((folded, stored))
        return True

    def task(self, task_id: str) -> StoredTask | None:
        """The task of that ID, ignoring case, or None."""
        folded = task_id.lower()
        stored = self._tasks.get(folded)
        if stored is None:
            return None
        mark = int.from_bytes(stored[:_TICKS_BYTES], "big")
        ticks, body = mark & ~_COMPLETED, stored[_TICKS_BYTES:]
        change = self._changes.get(folded)
        if change is None and mark >= _COMPLETED:
            change = Change(ticks, TaskEnd.SUCCEEDED, ticks, "running", ticks)
        return StoredTask(ticks, body, change)

    def change_task(self, task_id: str, change: Change) -> None:
        """Note what happened to a task that exists."""
        before = self.task(task_id)
        assert before is not None, "what is changed exists"
        folded = task_id.lower()
        self._changes[folded] = change
        self._count(before.end, before.body, -1)
        self._count(change.end, before.body, 1)
        if self.unsaved is not None:
            self.unsaved.append((folded, change))

    def remove_task(self, task_id: str) -> None:
        """Delete a task that exists; its ID is free again."""
        before = self.task(task_id)
        assert before is not None, "what is removed exists"
        folded = task_id.lower()
        del self._tasks[folded]
        self._changes.pop(folded, None)
        self._ids.discard(folded)
        self._count(before.end, before.body, -1)
        if self.unsaved is not None:
            self.unsaved.append((folded, None))

    def restore(self, tasks: Iterable[tuple[str, bytes]], changes: Mapping[str, Change]) -> None:
        """Take in the tasks of a job that was kept on disk, instead of any that it has.

        Args:
            tasks: By folded ID, in the order in which they were added, as ``unsaved`` had them.
            changes: By folded ID, what happened to them last.
        """
        self._tasks = dict(tasks)
        self._changes = dict(changes)
        self._ids = SortedIds(self._tasks)
        self._ended.clear()
        self._more_slots.clear()
        for folded, stored in self._tasks.items():
            change = changes.get(folded)
            if change is not None:
                end = change.end
            else:
                end = TaskEnd.SUCCEEDED if stored[0] & _COMPLETED_BYTE else None
            if end is not None or stored.find(b"requiredSlots") >= 0:
                self._count(end, stored[_TICKS_BYTES:], 1)

    def change(self, properties: Mapping[str, object], *, ticks: int) -> None:
        """Replace some properties, and complete if they ask for it."""
        self.properties = {**self.properties, **properties}
        self.modified_ticks = ticks
        self.complete_if_done(ticks=ticks)

    def enter(self, state: JobState, *, ticks: int) -> None:
        """Change the state; what was to come does not come any more."""
        self.previous_state, self.previous_ticks = self.state, self.state_ticks
        self.state, self.state_ticks, self.modified_ticks = state, ticks, ticks
        self.next_state = None

    def pass_to(self, state: JobState, *, ticks: int) -> None:
        """Have the state change at that time, or the next time that someone asks."""
        self.next_state, self.next_ticks = state, ticks

    def settle(self, *, ticks: int) -> None:
        """Let happen what was to happen by now."""
        if self.next_state is not None and ticks >= self.next_ticks:
            self.enter(self.next_state, ticks=self.next_ticks)
            self.complete_if_done(ticks=self.next_ticks)  # Its tasks may have ended meanwhile.

    def complete_tasks(self, *, ticks: int) -> None:
        """Let all tasks there are run to their end; a job that waits for that completes."""
        if self.counts.active:
            for task_id in self._tasks:
                task = self.task(task_id)
                if task is not None and task.end is None:
                    change = Change(ticks, TaskEnd.SUCCEEDED, ticks, "running", ticks)
                    self.change_task(task_id, change)
        self.manager_active = False
        self.complete_if_done(ticks=ticks)

    def complete_if_done(self, *, ticks: int) -> None:
        """Complete if no task is left and ``onAllTasksComplete`` says so.

        REST reference: a job without tasks counts as one whose tasks are all complete. That the
        service takes no time to notice is the emulator's choice.
        """
        left = self.counts.active or self.manager_active
        if self.state is JobState.ACTIVE and self.on_all_tasks_complete == TERMINATE and not left:
            self.end_reason = "AllTasksComplete"
            self.enter(JobState.COMPLETED, ticks=ticks)

    @property
    def counts(self) -> Counts:
        """How many tasks are in which state."""
        succeeded, terminated = self._ended[TaskEnd.SUCCEEDED], self._ended[TaskEnd.TERMINATED]
        return Counts(len(self._tasks) - succeeded - terminated, succeeded, terminated)

    def note_counts(self, *, ticks: int) -> None:
        """Keep the counts as of now, for those who are told them late."""
        past = self.past
        if len(past) > 1 and ticks < past[-2][0] + _COUNTS_APART_TICKS:
            past.pop()
        past.append((ticks, self.counts, self._slots))
        while len(past) > 1 and past[1][0] < ticks - COUNTS_KEPT_S * TICKS_PER_S:
            past.popleft()

    def counts_at(self, ticks: int) -> tuple[Counts, Counts]:
        """The counts of tasks, and of the slots they need, as they were at that time."""
        for noted, tasks, slots in reversed(self.past):
            if noted <= ticks:
                return tasks, slots
        return Counts(), Counts()

    def task_ids(self, low: str = "", high: str | None = None) -> Iterator[str]:
        """The tasks' IDs in lower case, from ``low`` up to but without ``high``, ascending."""
        return self._ids.between(low, high)

    def bodies(self) -> Iterator[bytes]:
        """The tasks' JSON as it was sent, in the order in which they were added."""
        for stored in self._tasks.values():
            yield stored[_TICKS_BYTES:]

    @property
    def _slots(self) -> Counts:
        tasks, more = self.counts, self._more_slots
        return Counts(
            tasks.active + more[None],
            tasks.succeeded + more[TaskEnd.SUCCEEDED],
            tasks.failed + more[TaskEnd.TERMINATED],
        )

    def _count(self, end: TaskEnd | None, body: bytes, number: int) -> None:
        if end is not None:
            self._ended[end] += number
        self._more_slots[end] += number * (slots_of(body) - 1)


def slots_of(body: bytes) -> int:
    """How many slots of a node a task needs; REST reference: 1 if it does not say."""
    if b"requiredSlots" not in body:
        return 1
    wanted = msgspec.json.decode(body, type=_Slots).requiredSlots
    return 1 if wanted is None else wanted


class _Slots(msgspec.Struct):
    requiredSlots: int | None = None  # noqa: N815  The wire's name.
