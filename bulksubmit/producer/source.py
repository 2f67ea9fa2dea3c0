"""What a source is."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import IO, Protocol, TypeAlias, runtime_checkable

from bulksubmit.core.account import Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Task


@dataclass(frozen=True, slots=True)
class Done:
    """What earlier processes of a run have done with the source.

    Attributes:
        settled: The tasks to leave out.
        places: Where some of the tasks begin, in order.
    """

    settled: Bitmap
    places: Sequence[Place]


# Takes in the next tasks, and the place where the one after them begins; waits for room.
Admit: TypeAlias = Callable[[list[Task], Place], Awaitable[None]]


class Source(Protocol):
    """Streams tasks.

    Attributes:
        name: As the user named it, for messages.
        bytes_total: The size of the input, if it is known beforehand.
        path: The absolute path of the file; None for what cannot be opened a second time.
    """

    name: str
    bytes_total: int | None
    path: str | None

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """Hand every task to ``admit``, in order.

        Args:
            admit: Takes them in.
            done: What is to be left out; its tasks are not parsed, and whole blocks of them
                not read.

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
