"""NDJSON: one task a line, from a file or a pipe, in flat memory."""

import os
import stat
from collections.abc import Container
from itertools import pairwise
from pathlib import Path
from typing import IO

import anyio
from anyio import to_thread

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.model import Task
from bulksubmit.core.partitioner import BYTES_MAX
from bulksubmit.core.taskspec import TaskSpecError, explain_id, ids_are_valid, read_id
from bulksubmit.errors import SourceError
from bulksubmit.producer.source import Admit, Done

# Some 800 tasks of 300 bytes: 0.1 µs a task for the hop to a thread and back, and less than a
# millisecond in which the event loop does nothing but parse.
BLOCK_BYTES = 256 * 1024
# What one line may take. No task of more than BYTES_MAX can be added; up to this bound it is
# rejected by its ID, and beyond it the file is no file of tasks.
LINE_BYTES_MAX = 4 * BYTES_MAX

_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\r"  # Of a line: blank lines are no tasks, and CR LF ends lines too.


class LineParser:
    """Bytes to tasks, whatever the bytes' cuts; no input or output of its own.

    Attributes:
        place: Where the next line begins.
    """

    def __init__(
        self, name: str, *, at: Place = BEGINNING, settled: Container[int] | None = None
    ) -> None:
        """Parse a source, or the rest of it.

        Args:
            name: For messages.
            at: Where the bytes begin.
            settled: The ordinals of tasks to leave out, unparsed; None for none.
        """
        self.place = at
        self._name, self._settled = name, settled
        self._rest = b""  # The beginning of a line whose end is still to come.

    def feed(self, data: bytes) -> list[Task]:
        """The tasks of all lines that these bytes complete.

        Raises:
            SourceError: at the first line that is not a task.
        """
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
            if len(self._rest) > LINE_BYTES_MAX:
                reason = (
                    f"the line has more than {LINE_BYTES_MAX:,} bytes; one task a line is read, "
                    f"and the service takes at most {BYTES_MAX:,} bytes a request"
                )
                raise SourceError(self._name, self.place.line, reason)
            return []
        block, self._rest = self._rest + data[: end + 1], data[end + 1 :]
        return self._parse(block)

    def finish(self) -> list[Task]:
        """The task of the last line, if it has no line end.

        Raises:
            SourceError: if it is not a task, or if there was no task at all.
        """
        tasks = self._parse(self._rest)
        if not self.place.ordinal:
            reason = "holds no task; one JSON object a line is read, with an id and a commandLine"
            raise SourceError(self._name, None, reason)
        return tasks

    def _parse(self, block: bytes) -> list[Task]:
        ordinal, settled = self.place.ordinal, self._settled
        tasks: list[Task] = []
        try:
            for line, raw in enumerate(self._lines(block), self.place.line):
                body = raw.strip(_WHITE)
                if body:
                    if settled is None or ordinal not in settled:
                        tasks.append(Task(ordinal, line, read_id(body), body))
                    ordinal += 1
        except TaskSpecError as error:
            raise self._first_error(block) from error
        # What holds for nearly every task is looked at for all of a block at once.
        if not (block.isascii() or _is_utf8(block)) or not ids_are_valid([t.id for t in tasks]):
            raise self._first_error(block)
        offset, line = self.place.offset + len(block), self.place.line + block.count(b"\n")
        self.place = Place(ordinal, offset, line)
        return tasks

    def _lines(self, block: bytes) -> list[bytes]:
        return (block.removeprefix(_BOM) if self.place.offset == 0 else block).split(b"\n")

    def _first_error(self, block: bytes) -> SourceError:
        for line, raw in enumerate(self._lines(block), self.place.line):
            if reason := _explain(raw.strip(_WHITE)):
                return SourceError(self._name, line, reason)
        raise AssertionError(f"{self._name}: refused a block in which every line is a task")


def _explain(body: bytes) -> str | None:
    if not body:
        return None
    try:
        body.decode()
        return explain_id(read_id(body))
    except TaskSpecError as error:
        return str(error)
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte 0x{body[error.start]:02x} at place {error.start + 1} of the task"


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


class LineSource:
    """An NDJSON file, or a pipe of it."""

    def __init__(self, file: IO[bytes], *, name: str, owned: bool = False) -> None:
        """Read a binary file or stream.

        Args:
            file: At its beginning.
            name: For messages.
            owned: Whether close() closes it.
        """
        self.name = name
        self._file, self._owned = file, owned
        self._pipe, self._status = _look_at(file)
        self.bytes_total = self._status.st_size if self._status else None
        self.path = os.path.realpath(name) if owned and self._status else None

    @classmethod
    def open(cls, path: str) -> "LineSource":
        """The file at a path.

        Raises:
            SourceError: if it cannot be opened.
        """
        try:
            return cls(Path(path).open("rb", buffering=0), name=path, owned=True)
        except IsADirectoryError as error:
            reason = "is a directory; name a file with one JSON object a line"
            raise SourceError(path, None, reason) from error
        except OSError as error:
            raise SourceError(path, None, f"cannot be opened: {error.strerror}") from error

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """See Source."""
        try:
            parser = LineParser(self.name)
            if done is not None:
                parser = await self._read_again(admit, done)
            while data := await self._next_bytes():
                tasks = parser.feed(data)
                await admit(tasks, parser.place)
            await admit(parser.finish(), parser.place)
            self._check_unchanged()
        except OSError as error:
            raise SourceError(self.name, None, f"cannot be read: {error.strerror}") from error

    async def _read_again(self, admit: Admit, done: Done) -> LineParser:
        """Read what is not settled up to the last known place, and parse on from there."""
        places = [BEGINNING, *done.places]
        for place, end in pairwise(places):
            if done.settled.missing(place.ordinal, end.ordinal):
                self._file.seek(place.offset)
                data = await to_thread.run_sync(self._file.read, end.offset - place.offset)
                parser = LineParser(self.name, at=place, settled=done.settled)
                # The file's last line may have no line end; each other place begins a line.
                await admit([*parser.feed(data), *parser.finish()], parser.place)
        self._file.seek(places[-1].offset)
        return LineParser(self.name, at=places[-1], settled=done.settled)

    def _check_unchanged(self) -> None:
        if self._status and _form(self._status) != _form(os.fstat(self._file.fileno())):
            reason = "was changed while it was read; tasks may be missing, so submit it again"
            raise SourceError(self.name, None, reason)

    def close(self) -> None:
        """See Source."""
        if self._owned:
            self._file.close()

    async def _next_bytes(self) -> bytes:
        if self._pipe is None:
            return await to_thread.run_sync(self._file.read, BLOCK_BYTES)
        # A thread that reads a silent pipe could not be cancelled.
        await anyio.wait_readable(self._pipe)
        return os.read(self._pipe, BLOCK_BYTES)


def _form(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _look_at(file: IO[bytes]) -> tuple[int | None, os.stat_result | None]:
    """The descriptor if it is a pipe's, socket's or terminal's, and the status of a file."""
    try:
        descriptor = file.fileno()
        status = os.fstat(descriptor)
    except (OSError, AttributeError):
        return None, None
    if stat.S_ISREG(status.st_mode):
        return None, status
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode) or os.isatty(descriptor):
        return descriptor, None
    return None, None  # A device that is always ready, such as /dev/null.
