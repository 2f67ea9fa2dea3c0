"""Tasks by columns: of millions of tasks nearly none is looked at by itself."""

from collections.abc import Iterator, Sequence
from typing import overload

from bulksubmit.core.model import Task


class Columns(Sequence[Task]):
    """Tasks in a row, each made when it is looked at.

    Making them all, only to take them apart again, takes a tenth of what a small task takes from
    the file to its outcome.

    Attributes:
        ordinals: Of each task; ascending.
        lines: Of each.
        ids: Of each.
        bodies: Of each.
    """

    __slots__ = ("_bodies_bytes", "_folded", "bodies", "ids", "lines", "ordinals")

    def __init__(
        self,
        ordinals: Sequence[int],
        lines: Sequence[int],
        ids: list[str],
        bodies: list[bytes],
        folded: list[bytes] | None = None,
    ) -> None:
        """Take columns of one length, which nobody changes any more.

        Args:
            ordinals: See Task, as the others.
            lines: See there.
            ids: Valid ones: of ASCII, without a line end.
            bodies: See there.
            folded: The IDs as ``folded`` has them, if they are known.
        """
        self.ordinals, self.lines, self.ids, self.bodies = ordinals, lines, ids, bodies
        self._folded = folded
        self._bodies_bytes: int | None = None

    @property
    def bodies_bytes(self) -> int:
        """Of all bodies together."""
        if self._bodies_bytes is None:
            self._bodies_bytes = sum(map(len, self.bodies))
        return self._bodies_bytes

    @property
    def folded(self) -> list[bytes]:
        """The IDs without regard to case."""
        if self._folded is None:
            # All at once: a tenth of the time that one by one takes.
            self._folded = "\n".join(self.ids).lower().encode().split(b"\n") if self.ids else []
        return self._folded

    def moved(self, by: int) -> "Columns":
        """The same tasks, each ordinal greater by this."""
        ordinals = [ordinal + by for ordinal in self.ordinals]
        return Columns(ordinals, self.lines, self.ids, self.bodies, self._folded)

    def joined(self, others: "Columns") -> "Columns":
        """These, and then others."""
        return Columns(
            [*self.ordinals, *others.ordinals],
            [*self.lines, *others.lines],
            self.ids + others.ids,
            self.bodies + others.bodies,
            self.folded + others.folded,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> "Columns": ...

    def __getitem__(self, index: int | slice) -> "Task | Columns":
        ordinals, lines, ids, bodies = self.ordinals, self.lines, self.ids, self.bodies
        if isinstance(index, slice):
            folded = self.folded[index]
            return Columns(ordinals[index], lines[index], ids[index], bodies[index], folded)
        return Task(ordinals[index], lines[index], ids[index], bodies[index])

    def __iter__(self) -> Iterator[Task]:
        return map(Task, self.ordinals, self.lines, self.ids, self.bodies)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # As of a list.

    def __repr__(self) -> str:
        return f"Columns({[*self]!r})"


def bodies_of(tasks: Sequence[Task]) -> list[bytes]:
    """The tasks' bodies, in order."""
    return tasks.bodies if isinstance(tasks, Columns) else [task.body for task in tasks]


def ids_of(tasks: Sequence[Task]) -> list[str]:
    """The tasks' IDs, in order."""
    return tasks.ids if isinstance(tasks, Columns) else [task.id for task in tasks]


def first_ordinal(tasks: Sequence[Task]) -> int:
    """The first task's ordinal."""
    return tasks.ordinals[0] if isinstance(tasks, Columns) else tasks[0].ordinal


def last_ordinal(tasks: Sequence[Task]) -> int:
    """The last task's ordinal."""
    return tasks.ordinals[-1] if isinstance(tasks, Columns) else tasks[-1].ordinal


def bytes_of(tasks: Sequence[Task]) -> int:
    """The bytes of the tasks' bodies."""
    if isinstance(tasks, Columns):
        return tasks.bodies_bytes
    return sum([len(task.body) for task in tasks])
