"""What a source is."""

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import IO, Protocol, TypeAlias, runtime_checkable

import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Invalid, Problem, Task
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.spec import SourceSpec


def _file_of(place: Place) -> int:
    return place.file


class Done(msgspec.Struct, frozen=True):
    """What earlier processes of a run have done with the source.

    Attributes:
        settled: The items to leave out.
        places: Where some of the items begin, in order of files and offsets.
    """

    settled: Bitmap
    places: Sequence[Place]

    def places_in(self, file: int) -> Sequence[Place]:
        """Those in a file."""
        begin = bisect_left(self.places, file, key=_file_of)
        return self.places[begin : bisect_right(self.places, file, begin, key=_file_of)]

    def first_after(self, file: int) -> Place | None:
        """The first one in any file behind a file."""
        index = bisect_right(self.places, file, key=_file_of)
        return self.places[index] if index < len(self.places) else None


class Warned(msgspec.Struct, frozen=True):
    """What is odd about a task that is sent all the same.

    Attributes:
        ordinal: The task's.
        line: The task's.
        problems: Warnings, one or more.
    """

    ordinal: int
    line: int
    problems: tuple[Problem, ...]


class Block(msgspec.Struct, frozen=True):
    """Some items of a source, one after the other.

    Attributes:
        tasks: Those that are tasks, and not done yet.
        after: Where the item after them begins.
        invalid: Those that are none, and not done yet; in order.
        warned: What is to be said of tasks.
    """

    tasks: Sequence[Task]
    after: Place
    invalid: Sequence[Invalid] = ()
    warned: Sequence[Warned] = ()

    @property
    def items(self) -> list[Task | Invalid]:
        """Tasks or not, in order."""
        if not self.invalid:
            return [*self.tasks]
        return sorted([*self.tasks, *self.invalid], key=lambda item: item.ordinal)


# Takes in the next block; waits for room.
Admit: TypeAlias = Callable[[Block], Awaitable[None]]


def no_task(name: str, *, rows: bool) -> SourceError:
    """The error for a source that holds nothing; of rows, if they fill a template."""
    reason = "holds no task; one JSON object a line is read, with an id and a commandLine"
    return SourceError(name, None, "holds no row" if rows else reason)


class Source(Protocol):
    """Streams tasks.

    Attributes:
        name: As the user named it, for messages.
        bytes_total: The size of the input, if it is known beforehand.
        spec: How it is opened again; None for what cannot be opened a second time.
        checker: Says what is a task.
    """

    name: str
    bytes_total: int | None
    spec: SourceSpec | None
    checker: Checker

    @property
    def bytes_read(self) -> int:
        """How much of the input was read."""

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """Hand every item to ``admit``, in order.

        Args:
            admit: Takes them in.
            done: What is to be left out; it is not parsed, and whole blocks of it not read.

        Raises:
            SourceError: if the input as a whole is not what it should be. What was admitted
                before stands; nothing more is read.
        """

    async def copy(self, to: IO[bytes]) -> None:
        """Write the whole source, unread, as it is or (an iterable) a task a line.

        Raises:
            SourceError: if it cannot be read.
        """

    def file_of(self, ordinal: int) -> str:
        """The name of the file that holds an item which was read."""

    def where(self, ordinal: int, line: int) -> str:
        """An item which was read, for a person: ``tasks.jsonl:42``."""

    def close(self) -> None:
        """Let go of what was opened here; a source that was handed over open stays open."""


@runtime_checkable
class TaskModel(Protocol):
    """A task as an object of the official SDK (azure-batch), or anything of that form."""

    def as_dict(self) -> Mapping[str, object]:
        """The task as the REST API spells it."""


TaskSpec: TypeAlias = bytes | str | Mapping[str, object] | TaskModel
AnySource: TypeAlias = (
    str | PathLike[str] | SourceSpec | IO[bytes] | Iterable[TaskSpec] | AsyncIterable[TaskSpec]
)
