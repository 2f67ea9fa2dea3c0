"""NDJSON: one task a line, from a file or a pipe, in flat memory."""

import os
import stat
from pathlib import Path
from typing import IO

import anyio
from anyio import to_thread

from bulksubmit.core.model import Task
from bulksubmit.core.partitioner import BYTES_MAX
from bulksubmit.core.taskspec import TaskSpecError, explain_id, ids_are_valid, read_id
from bulksubmit.errors import SourceError
from bulksubmit.producer.source import Admit

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
        tasks_read: How many tasks there were so far.
    """

    def __init__(self, name: str) -> None:
        self.tasks_read = 0
        self._name = name
        self._lines = 0  # Parsed so far.
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
                raise SourceError(self._name, self._lines + 1, reason)
            return []
        block, self._rest = self._rest + data[:end], data[end + 1 :]
        return self._parse(block)

    def finish(self) -> list[Task]:
        """The task of the last line, if it has no line end.

        Raises:
            SourceError: if it is not a task, or if there was no task at all.
        """
        tasks = self._parse(self._rest)
        if not self.tasks_read:
            reason = "holds no task; one JSON object a line is read, with an id and a commandLine"
            raise SourceError(self._name, None, reason)
        return tasks

    def _parse(self, block: bytes) -> list[Task]:
        if self._lines == 0:
            block = block.removeprefix(_BOM)
        ordinal = self.tasks_read
        tasks: list[Task] = []
        try:
            for line, raw in enumerate(block.split(b"\n"), self._lines + 1):
                body = raw.strip(_WHITE)
                if body:
                    tasks.append(Task(ordinal, line, read_id(body), body))
                    ordinal += 1
        except TaskSpecError as error:
            raise self._first_error(block) from error
        # What holds for nearly every task is looked at for all of a block at once.
        if not (block.isascii() or _is_utf8(block)) or not ids_are_valid([t.id for t in tasks]):
            raise self._first_error(block)
        self._lines += block.count(b"\n") + 1
        self.tasks_read = ordinal
        return tasks

    def _first_error(self, block: bytes) -> SourceError:
        for line, raw in enumerate(block.split(b"\n"), self._lines + 1):
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
        self._pipe, self.bytes_total = _look_at(file)

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

    async def read(self, admit: Admit) -> None:
        """See Source."""
        parser = LineParser(self.name)
        try:
            while data := await self._next_bytes():
                tasks = parser.feed(data)
                await admit(tasks, len(data))
            await admit(parser.finish(), 0)
        except OSError as error:
            raise SourceError(self.name, None, f"cannot be read: {error.strerror}") from error

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


def _look_at(file: IO[bytes]) -> tuple[int | None, int | None]:
    """The descriptor if it is a pipe's, socket's or terminal's, and the size of a file."""
    try:
        descriptor = file.fileno()
        status = os.fstat(descriptor)
    except (OSError, AttributeError):
        return None, None
    if stat.S_ISREG(status.st_mode):
        return None, status.st_size
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode) or os.isatty(descriptor):
        return descriptor, None
    return None, None  # A device that is always ready, such as /dev/null.
