"""What a source is."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from os import PathLike
from typing import IO, Protocol, TypeAlias, runtime_checkable

from bulksubmit.core.model import Task

# Takes in the next tasks, and how many bytes of the source they came from; waits for room.
Admit: TypeAlias = Callable[[list[Task], int], Awaitable[None]]


class Source(Protocol):
    """Streams tasks.

    Attributes:
        name: As the user named it, for messages.
        bytes_total: The size of the input, if it is known beforehand.
    """

    name: str
    bytes_total: int | None

    async def read(self, admit: Admit) -> None:
        """Hand every task to ``admit``, in order.

        Raises:
            SourceError: at the first item that is not a task. What was admitted before it
                stands; nothing after it is read.
        """

    def close(self) -> None:
        """Let go of what was opened here; a source that was handed over open stays open."""


@runtime_checkable
class TaskModel(Protocol):
    """A task as an object of the official SDK (azure-batch), or anything of that form."""

    def as_dict(self) -> Mapping[str, object]:
        """The task as the REST API spells it."""


TaskSpec: TypeAlias = bytes | str | Mapping[str, object] | TaskModel
AnySource: TypeAlias = (
    str | PathLike[str] | IO[bytes] | Iterable[TaskSpec] | AsyncIterable[TaskSpec]
)
