"""Shards as sources: one alone, as its worker reads it, or all of a run's, one after the other."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import IO

from msgspec.structs import replace

from bulksubmit.core.account import Place
from bulksubmit.core.model import Task
from bulksubmit.core.shard import SHARD_BITS, Shard, Unit, number_of, place_of
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.tasks import Columns
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.files import FileSource, NamedFile
from bulksubmit.producer.opening import Bytes, open_file
from bulksubmit.producer.remote import RemoteFile, size_of
from bulksubmit.producer.source import Admit, Block, Done, Source, Warned, no_task
from bulksubmit.producer.spec import Fingerprint, SourceSpec, fingerprint, is_url
from bulksubmit.producer.sweeps import SweepSource
from bulksubmit.producer.template import template_of

_COUNTED_BYTES = 1024 * 1024  # At a time, where only line ends are counted.


def open_shard(
    spec: SourceSpec, shard: Shard, checker: Checker, *, expected: Fingerprint | None = None
) -> Source:
    """A source of one shard.

    Its ordinals are the items' places in the shard, from 0. Its lines are those of the file if
    ``shard.line`` is known, else from 1. Its places have the file's number and its own offsets
    (bytes, or rows, or tasks), so that no two of a source are alike. It may hold no item.

    With ``expected`` it waits for the file, so on a thread of its own.

    Args:
        spec: The whole source, as it was planned.
        shard: One of its shards.
        checker: Says what is a task.
        expected: What its file was then; None for whatever it is.

    Raises:
        SourceError: if the file is not what it was, or cannot be looked at.
    """
    if shard.unit is Unit.TASKS:
        tasks = range(shard.begin, shard.end)
        return SweepSource(spec, name=_name_of(spec, shard), checker=checker, tasks=tasks)
    path = spec.files[shard.file]
    if expected and (change := expected.change_to(fingerprint(path))):
        raise SourceError(path, None, change)
    opening = partial(_opened, path, expected.bytes if expected else None)
    file = NamedFile(path, opening, shard.bytes, shard)
    return FileSource([file], checker=checker, spec=spec, template=template_of(spec))


def count_lines(spec: SourceSpec, shard: Shard) -> int:
    """How many lines end in a shard of bytes; waits for the file, so on a thread of its own.

    Raises:
        SourceError: if it cannot be read.
    """
    assert shard.unit is Unit.BYTES
    path, at, lines = spec.files[shard.file], shard.begin, 0
    try:
        with closing(_opened(path)) as file:
            while at < shard.end:
                data = file.read_at(at, min(_COUNTED_BYTES, shard.end - at))
                if not data:
                    reason = f"ends at byte {at:,}, and had {shard.end:,} when it was cut"
                    raise SourceError(path, None, reason)
                lines += data.count(b"\n")
                at += len(data)
    except OSError as error:
        raise SourceError(path, None, f"cannot be read: {error.strerror or error}") from error
    return lines


class ShardedSource:
    """A whole source, read shard by shard: with the ordinals of a journal, and the true lines."""

    def __init__(
        self,
        spec: SourceSpec,
        shards: Sequence[Shard],
        checker: Checker,
        *,
        lines: Mapping[int, int] | None = None,
    ) -> None:
        """Read a source.

        Args:
            spec: The source, as it was planned.
            shards: All of it, in order.
            checker: Says what is a task.
            lines: By the number of a shard, the line that it begins at, as far as that is known;
                the others are counted.
        """
        self.checker = checker
        self.spec: SourceSpec | None = spec
        self.name = f"{len(spec.files)} files" if len(spec.files) > 1 else _name_of(spec)
        # Of a sweep nobody knows.
        self.bytes_total = sum(shard.bytes for shard in shards) if spec.files else None
        self._spec, self._shards, self._lines = spec, shards, lines or {}
        self._read_before = 0  # Bytes of the shards that are done.
        self._open: Source | None = None
        self._begun: dict[int, Source] = {}  # By the number of the shard.

    @property
    def bytes_read(self) -> int:
        """See Source."""
        return self._read_before + (self._open.bytes_read if self._open else 0)

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """See Source; places that are done have ordinals and lines as this source gives them."""
        items, before = 0, None
        for shard in self._shards:
            line = shard.line or self._lines.get(shard.number)
            if line is None:
                assert before
                assert before.file == shard.file
                line = before.line
            self._open = source = open_shard(self._spec, replace(shard, line=line), self.checker)
            self._begun[shard.number] = source
            end = Place(0, 0, 0)

            async def shifted(block: Block, base: int = shard.base) -> None:
                nonlocal end
                end = block.after
                await admit(_shifted(block, base))

            await source.read(shifted, done and _part_of(done, shard))
            items, before = items + end.ordinal, end
            self._open = None
            self._read_before += shard.bytes
        if not items:
            raise no_task(self.name, rows=self._spec.template is not None)

    async def copy(self, to: IO[bytes]) -> None:
        """See Source."""
        with closing(open_source(self._spec, self.checker)) as source:
            await source.copy(to)

    def file_of(self, ordinal: int) -> str:
        """See Source."""
        return _name_of(self._spec, self._shards[number_of(ordinal)])

    def where(self, ordinal: int, line: int) -> str:
        """See Source."""
        return self._begun[number_of(ordinal)].where(place_of(ordinal), line)

    def close(self) -> None:
        """See Source: each file is closed when it was read."""


def _name_of(spec: SourceSpec, shard: Shard | None = None) -> str:
    if spec.files:
        return spec.files[shard.file if shard else 0]
    return spec.name or "sweep"


def _opened(path: str, size: int | None = None) -> Bytes:
    if is_url(path):
        return RemoteFile(path, size_of(path) if size is None else size)
    return open_file(path)


def _part_of(done: Done, shard: Shard) -> Done:
    """What is done of a shard, by its own ordinals."""
    base, end = shard.base, shard.base + (1 << SHARD_BITS)
    first = bisect_left(done.places, base, key=_ordinal_of)
    places = done.places[first : bisect_left(done.places, end, first, key=_ordinal_of)]
    return Done(
        done.settled.part(base, end),
        [replace(place, ordinal=place.ordinal - base) for place in places],
    )


def _ordinal_of(place: Place) -> int:
    return place.ordinal


def _shifted(block: Block, base: int) -> Block:
    """A block of a shard, by the ordinals of the whole."""
    return Block(
        _moved(block.tasks, base),
        replace(block.after, ordinal=block.after.ordinal + base),
        [replace(invalid, ordinal=invalid.ordinal + base) for invalid in block.invalid],
        [Warned(odd.ordinal + base, odd.line, odd.problems) for odd in block.warned],
    )


def _moved(tasks: Sequence[Task], by: int) -> Sequence[Task]:
    if isinstance(tasks, Columns):
        return tasks.moved(by)
    return [Task(task.ordinal + by, task.line, task.id, task.body) for task in tasks]
