"""Iterables of tasks: bytes, str, dicts, or models of the official SDK."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import IO, cast

import anyio.lowlevel
import orjson

from bulksubmit.core.account import Place
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.blocks import to_block
from bulksubmit.producer.rawjson import one_line
from bulksubmit.producer.source import Admit, Block, Done, TaskModel, TaskSpec
from bulksubmit.producer.spec import SourceSpec

TASKS_PER_BLOCK = 500


class ItemSource:
    """An iterable or async iterable in the caller's hands.

    A plain iterable is iterated on the event loop: one that waits for something should be an
    async iterable.
    """

    name = "item"
    bytes_total: int | None = None
    bytes_read = 0
    spec: SourceSpec | None = None

    def __init__(self, items: object, checker: Checker) -> None:
        if not isinstance(items, Iterable | AsyncIterable):
            reason = f"a {type(items).__name__} is neither a path nor an iterable of tasks"
            raise SourceError("source", None, reason)
        if isinstance(items, bytes | Mapping):
            reason = f"a {type(items).__name__} is no iterable of tasks; put one task in a list"
            raise SourceError("source", None, reason)
        self.checker = checker
        self._items: Iterable[TaskSpec] | AsyncIterable[TaskSpec] = items

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """See Source; an iterable cannot be read again, so that nothing of it is ever done."""
        assert done is None
        if isinstance(self._items, AsyncIterable):
            await self._read_async(aiter(self._items), admit)
        else:
            await self._read(iter(self._items), admit)

    async def copy(self, to: IO[bytes]) -> None:
        """See Source."""
        count = 0
        async for item in _each(self._items):
            to.write(_to_body(count, item) + b"\n")
            count += 1

    def file_of(self, ordinal: int) -> str:  # noqa: ARG002 - as Source has it
        """See Source."""
        return self.name

    def where(self, ordinal: int, line: int) -> str:  # noqa: ARG002 - as Source has it
        """See Source."""
        return f"{self.name}:{line}"

    def close(self) -> None:
        """See Source: the iterable is the caller's."""

    async def _read(self, items: Iterator[TaskSpec], admit: Admit) -> None:
        bodies: list[bytes] = []
        count = 0
        for item in items:
            bodies.append(_to_body(count, item))
            count += 1
            if len(bodies) == TASKS_PER_BLOCK:
                await admit(self._block(bodies, count))
                bodies = []
                await anyio.lowlevel.checkpoint()
        await admit(self._block(bodies, count))

    async def _read_async(self, items: AsyncIterator[TaskSpec], admit: Admit) -> None:
        # Each at once: the next one may be long in coming.
        count = 0
        async for item in items:
            count += 1
            await admit(self._block([_to_body(count - 1, item)], count))

    def _block(self, bodies: list[bytes], count: int) -> Block:
        numbers = range(count - len(bodies) + 1, count + 1)
        return to_block(bodies, numbers, checker=self.checker, after=Place(count, 0, count + 1))


async def _each(items: Iterable[TaskSpec] | AsyncIterable[TaskSpec]) -> AsyncIterator[TaskSpec]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item


def _to_body(ordinal: int, item: TaskSpec) -> bytes:
    """An item's JSON, as far as it can be written as such; whether it is a task is not looked at.

    Raises:
        SourceError: if it is nothing that JSON knows.
    """
    try:
        return _encoded(item)
    except (ValueError, TypeError) as error:
        raise SourceError(ItemSource.name, ordinal + 1, str(error)) from error


def _encoded(item: TaskSpec) -> bytes:
    if isinstance(item, str):
        item = item.encode("utf-8", "surrogatepass")
    if isinstance(item, bytes):
        return one_line(item) if b"\n" in item else item
    if hasattr(item, "serialize"):  # azure-batch 14 and earlier: as_dict() has Python's names.
        item = cast("TaskSpec", item.serialize())
    elif isinstance(item, TaskModel):
        item = item.as_dict()
    body = orjson.dumps(item)
    if b"null" in body:  # orjson writes it for what JSON cannot say: a NaN, an infinity.
        json.dumps(item, allow_nan=False)
    return body
