"""Files one after the other, or a pipe: from their bytes to blocks of checked tasks."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import IO

import msgspec

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.shard import Shard, Unit
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.compressed import begin
from bulksubmit.producer.forms import parser_for, tells
from bulksubmit.producer.lines import LineParser
from bulksubmit.producer.opening import Bytes, Stretch
from bulksubmit.producer.parquet import PARQUET, ParquetRows
from bulksubmit.producer.parser import Parser
from bulksubmit.producer.source import Admit, Block, Done, no_task
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.producer.template import Template


class NamedFile(msgspec.Struct, frozen=True):
    """A file of the source.

    Attributes:
        name: As the user named it.
        open: Opens it; called when its turn has come.
        size: Of what is read, if it is known beforehand.
        shard: Which part of it is read; None for all of it.
    """

    name: str
    open: Callable[[], Bytes]
    size: int | None = None
    shard: Shard | None = None

    @property
    def unit(self) -> Unit:
        """What the bounds of the part that is read count."""
        return self.shard.unit if self.shard else Unit.WHOLE

    def opened(self) -> Bytes:
        """The file; or the bytes that are read, if it is read by bytes."""
        file = self.open()
        if self.shard and self.shard.unit is Unit.BYTES:
            return Stretch(file, begin=self.shard.begin, end=self.shard.end, name=self.name)
        return file

    def begin(self) -> Place:
        """Where reading begins if the file stands alone: its ordinals count what is read of it."""
        match self.shard:
            case None:
                return BEGINNING
            case Shard(unit=Unit.BYTES, begin=offset, line=line, file=file):
                return Place(0, offset, line or 1, file)
            case Shard(unit=Unit.GROUPS, line=line, file=file):
                assert line
                return Place(0, line - 1, line, file)
            case Shard(file=file):
                return Place(0, 0, 1, file)


class _Begun(msgspec.Struct, frozen=True):
    """A file whose turn has come: where its items begin, and how they are found.

    Attributes:
        first: The ordinal of its first item, read or not.
        name: As for messages.
        form: See Parser.
    """

    first: int
    name: str
    form: str = "line"


class FileSource:
    """One or more files, read in order."""

    def __init__(
        self,
        files: Sequence[NamedFile],
        *,
        checker: Checker,
        spec: SourceSpec | None,
        template: Template | None = None,
    ) -> None:
        """Read files.

        Args:
            files: At least one; only one if it is a shard.
            checker: Says what is a task.
            spec: How they are opened again, if they can be.
            template: What their rows fill; None for files of tasks.
        """
        self.checker, self.spec = checker, spec
        self._template = template
        self.name = files[0].name if len(files) == 1 else f"{len(files)} files"
        sizes = [file.size for file in files]
        self.bytes_total = None if None in sizes else sum(size or 0 for size in sizes)
        self._files = files
        self._begun: list[_Begun] = []
        self._read_before = 0  # Bytes of the files that are done.
        self._open: Bytes | None = None

    @property
    def bytes_read(self) -> int:
        """See Source."""
        return self._read_before + (self._open.position if self._open else 0)

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """See Source."""
        try:
            await self._read(_guarded(admit), done)
        except _NotOurs as error:
            raise error.args[0] from None

    async def _read(self, admit: Admit, done: Done | None) -> None:
        place = self._files[0].begin()
        for number, file in enumerate(self._files):
            if number:  # Where the file begins is known to a resume even if nothing of it was read.
                place = Place(place.ordinal, 0, 1, number)
                await admit(Block([], place))
            if done and (end := _wholly_done(place, done)):
                self._begun.append(_Begun(place.ordinal, file.name))
                place = end
            else:
                place = await self._read_file(file, place, admit, done)
            self._read_before += file.size or 0
        # A shard may well hold none: others do.
        if not place.ordinal and not self._files[0].shard:
            raise no_task(self.name, rows=self._template is not None)

    async def _read_file(
        self, file: NamedFile, at: Place, admit: Admit, done: Done | None
    ) -> Place:
        with closing(file.opened()) as opened:
            self._open = opened
            try:
                match file.unit:
                    case Unit.BYTES:
                        end = await self._read_lines(opened, file.name, at, admit, done)
                    case Unit.GROUPS:
                        end = await self._read_rows(opened, file, at, admit, done)
                    case _:
                        end = await self._read_whole(opened, file, at, admit, done)
                await opened.check_unchanged()
            except SourceError as error:
                if error.of_item:  # Perhaps only because it was cut off meanwhile.
                    await opened.check_unchanged()
                raise
            except OSError as error:
                reason = f"cannot be read: {error.strerror or error}"
                raise SourceError(file.name, None, reason) from error
            finally:
                self._open = None
        return end

    async def _read_lines(
        self, opened: Bytes, name: str, at: Place, admit: Admit, done: Done | None
    ) -> Place:
        """Read what is known to be lines: the first one in the middle of a file tells nothing."""

        def parser_at(place: Place) -> Parser:
            settled = done.settled if done else None
            return LineParser(name, at=place, checker=self.checker, settled=settled)

        head = await opened.read()
        return await self._parse(opened, head, parser_at, name=name, at=at, admit=admit, done=done)

    async def _read_rows(
        self, opened: Bytes, file: NamedFile, at: Place, admit: Admit, done: Done | None
    ) -> Place:
        assert self._template
        self._begun.append(_Begun(at.ordinal - at.offset, file.name, "row"))
        rows = ParquetRows(opened, file.name, self._template, self.checker)
        if file.shard and file.unit is Unit.GROUPS:
            groups = slice(file.shard.begin, file.shard.end)
            return await rows.read(at, admit, done, groups=groups)
        return await rows.read(at, admit, done)

    async def _read_whole(
        self, raw: Bytes, file: NamedFile, at: Place, admit: Admit, done: Done | None
    ) -> Place:
        """Read a file from its beginning on: that tells its form."""
        opened, head = await begin(raw, file.name)
        while not tells(head, rows=self._template is not None):
            if not (more := await opened.read()):
                break
            head += more
        if self._template and head.startswith(PARQUET):
            return await self._read_rows(opened, file, at, admit, done)

        def parser_at(place: Place) -> Parser:
            return parser_for(
                file.name,
                head,
                first=at.ordinal,
                at=place,
                checker=self.checker,
                settled=done.settled if done else None,
                template=self._template,
            )

        return await self._parse(
            opened, head, parser_at, name=file.name, at=at, admit=admit, done=done
        )

    async def _parse(
        self,
        opened: Bytes,
        head: bytes,
        parser_at: Callable[[Place], Parser],
        *,
        name: str,
        at: Place,
        admit: Admit,
        done: Done | None,
    ) -> Place:
        parser = parser_at(at)
        self._begun.append(_Begun(at.ordinal, name, parser.form))
        data = head
        if done and opened.seeks and parser.seeks:
            parser = await _read_again(opened, at, parser_at, admit, done)
            data = await opened.read()
        while data:
            await admit(parser.feed(data))
            while parser.more:
                await admit(parser.feed(b""))
            data = await opened.read()
        await admit(parser.finish())
        return parser.place

    async def copy(self, to: IO[bytes]) -> None:
        """See Source."""
        for file in self._files:
            if file.unit is Unit.GROUPS:  # No file by themselves; a task a line.
                await self.read(partial(_write, to))
                continue
            with closing(file.opened()) as opened:
                while data := await opened.read():
                    to.write(data)

    def file_of(self, ordinal: int) -> str:
        """See Source."""
        return self._begun_with(ordinal).name

    def where(self, ordinal: int, line: int) -> str:
        """See Source."""
        begun = self._begun_with(ordinal)
        number = ordinal - begun.first + 1
        match begun.form:
            case "line":
                shard = self._files[0].shard
                if shard and shard.line is None:
                    return f"{begun.name}, line {line} from byte {shard.begin:,}"
                return f"{begun.name}:{line}"
            case form:
                at_line = f" (line {line})" if line != number else ""
                return f"{begun.name}: {form} {number}{at_line}"

    def _begun_with(self, ordinal: int) -> _Begun:
        """The file of an item: the last one that begins at or before it."""
        return self._begun[bisect_right(self._begun, ordinal, key=lambda one: one.first) - 1]

    def close(self) -> None:
        """See Source: each file is closed when it was read."""


class _NotOurs(Exception):
    """Carries an OSError of whoever takes the blocks in past those who read files."""


def _guarded(admit: Admit) -> Admit:
    async def guarded(block: Block) -> None:
        try:
            await admit(block)
        except OSError as error:
            raise _NotOurs(error) from error

    return guarded


async def _write(to: IO[bytes], block: Block) -> None:
    to.writelines(item.body + b"\n" for item in block.items)


def _wholly_done(begin: Place, done: Done) -> Place | None:
    """The place at which a file ends whose every item is settled, if that is known."""
    end = done.first_after(begin.file)
    if end is None or done.settled.missing(begin.ordinal, end.ordinal):
        return None
    return end


async def _read_again(
    opened: Bytes, begin: Place, parser_at: Callable[[Place], Parser], admit: Admit, done: Done
) -> Parser:
    """Read what is not settled up to the last known place, and go on from there."""
    known = [place for place in done.places_in(begin.file) if place.offset]
    places = [begin, *known]
    for place, end in pairwise(places):
        if done.settled.missing(place.ordinal, end.ordinal):
            data = await opened.read_part(place.offset, end.offset - place.offset)
            await admit(parser_at(place).part(data))
    await opened.read_part(places[-1].offset, 0)
    return parser_at(places[-1])
