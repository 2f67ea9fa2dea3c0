"""Sources read to their end, and files to read."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.model import Invalid, Task
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.arrays import ArrayParser
from bulksubmit.producer.parser import Parser
from bulksubmit.producer.source import AnySource, Block, Done, Source

BOM = b"\xef\xbb\xbf"


@dataclass
class Items:
    """What came of a source, or of a parser.

    Attributes:
        tasks: In order.
        invalid: In order.
        places: After each block.
        error: How the reading ended, if not with the source.
    """

    tasks: list[Task] = field(default_factory=list)
    invalid: list[Invalid] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    error: str | None = None

    def add(self, block: Block) -> None:
        self.tasks += block.tasks
        self.invalid += block.invalid
        self.places.append(block.after)

    @property
    def ids(self) -> list[str]:
        return [task.id for task in self.tasks]

    @property
    def problems(self) -> list[tuple[int, str]]:
        """The line of each item that is no task, and the first thing that is wrong with it."""
        return [(item.line, item.problems[0].text) for item in self.invalid]


async def read(source: AnySource | Source, done: Done | None = None) -> Items:
    """All of a source; an error of it is raised."""
    items = Items()
    await _read(source, done, items)
    return items


async def read_until_error(source: AnySource | Source, done: Done | None = None) -> Items:
    """All of a source, up to the error that it has to have."""
    items = Items()
    try:
        await _read(source, done, items)
    except SourceError as error:
        items.error = str(error)
    assert items.error
    return items


async def _read(source: AnySource | Source, done: Done | None, items: Items) -> None:
    async def admit(block: Block) -> None:
        items.add(block)

    if hasattr(source, "where"):
        opened = cast("Source", source)
    else:
        opened = open_source(source, Checker(allow_unknown=True))
    try:
        await opened.read(admit, done)
    finally:
        opened.close()


def parse(parser: Parser, *pieces: bytes) -> Items:
    """All that a parser makes of a file's pieces."""
    items = Items()
    try:
        for piece in pieces:
            items.add(parser.feed(piece))
        items.add(parser.finish())
    except SourceError as error:
        items.error = str(error)
    return items


def line(task_id: str, extra: str = "") -> bytes:
    """A task, as a line has it."""
    return f'{{"id":"{task_id}","commandLine":"true"{extra}}}'.encode()


def array_parser(
    begin: int = 1,
    *,
    wrapped: bool = False,
    at: Place = BEGINNING,
    first: int = 0,
    checker: Checker | None = None,
    settled: Iterable[int] = (),
) -> ArrayParser:
    """A parser for an array in a file of that name: it begins at ``begin``."""
    return ArrayParser(
        "a.json",
        begin=begin,
        wrapped=wrapped,
        first=first,
        at=at,
        checker=checker or Checker(allow_unknown=True),
        settled={*settled} or None,
    )


def in_pieces(data: bytes, size: int) -> list[bytes]:
    """Bytes, cut every so many."""
    return [data[at : at + size] for at in range(0, len(data), size)]
