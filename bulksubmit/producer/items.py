"""Iterables of tasks: bytes, str, dicts, or models of the official SDK."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import cast

import anyio.lowlevel
import msgspec
import orjson

from bulksubmit.core.account import Place
from bulksubmit.core.model import Task
from bulksubmit.core.taskspec import explain_id, read_id
from bulksubmit.errors import SourceError
from bulksubmit.producer.source import Admit, Done, TaskModel, TaskSpec

TASKS_PER_BLOCK = 500


class ItemSource:
    """An iterable or async iterable in the caller's hands.

    A plain iterable is iterated on the event loop: one that waits for something should be an
    async iterable.
    """

    name = "item"
    bytes_total: int | None = None
    path: str | None = None

    def __init__(self, items: object) -> None:
        if not isinstance(items, Iterable | AsyncIterable):
            reason = f"a {type(items).__name__} is neither a path nor an iterable of tasks"
            raise SourceError("source", None, reason)
        if isinstance(items, bytes | Mapping):
            reason = f"a {type(items).__name__} is no iterable of tasks; put one task in a list"
            raise SourceError("source", None, reason)
        self._items: Iterable[TaskSpec] | AsyncIterable[TaskSpec] = items

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """See Source; an iterable cannot be read again, so that nothing of it is ever done."""
        assert done is None
        if isinstance(self._items, AsyncIterable):
            await _read_async(aiter(self._items), admit)
        else:
            await _read(iter(self._items), admit)

    def close(self) -> None:
        """See Source: the iterable is the caller's."""


async def _read(items: Iterator[TaskSpec], admit: Admit) -> None:
    tasks: list[Task] = []
    count = 0
    for item in items:
        tasks.append(_to_task(count, item))
        count += 1
        if len(tasks) == TASKS_PER_BLOCK:
            await admit(tasks, _after(count))
            tasks = []
            await anyio.lowlevel.checkpoint()
    await admit(tasks, _after(count))


async def _read_async(items: AsyncIterator[TaskSpec], admit: Admit) -> None:
    # Each at once: the next one may be long in coming.
    ordinal = 0
    async for item in items:
        await admit([_to_task(ordinal, item)], _after(ordinal + 1))
        ordinal += 1


def _after(count: int) -> Place:
    return Place(count, 0, count + 1)


def _to_task(ordinal: int, item: TaskSpec) -> Task:
    try:
        body = _to_body(item)
        task_id = read_id(body)
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise SourceError(ItemSource.name, ordinal + 1, str(error)) from error
    if reason := explain_id(task_id):
        raise SourceError(ItemSource.name, ordinal + 1, reason)
    return Task(ordinal, ordinal + 1, task_id, body)


def _to_body(item: TaskSpec) -> bytes:
    if isinstance(item, str):
        item = item.encode()
    if isinstance(item, bytes):
        item.decode()  # The parser looks only at what it needs.
        # A task is one line wherever we write one; the tokens stay as they are.
        return msgspec.json.format(item, indent=-1) if b"\n" in item else item
    if hasattr(item, "serialize"):  # azure-batch 14 and earlier: as_dict() has Python's names.
        item = cast("TaskSpec", item.serialize())
    elif isinstance(item, TaskModel):
        item = item.as_dict()
    return orjson.dumps(item)
