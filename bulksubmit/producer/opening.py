"""A file's bytes, wherever they are: on disk, in a pipe, or in the caller's hands."""

import os
import stat
from pathlib import Path
from typing import IO, Protocol

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

from bulksubmit.errors import SourceError

# Some 800 tasks of 300 bytes: 0.1 µs a task for the hop to a thread and back, and less than a
# millisecond in which the event loop does nothing but parse.
BLOCK_BYTES = 256 * 1024

_TELLS_CACHED = hasattr(os, "RWF_NOWAIT")  # Linux.
_ON_FROM_HERE = -1  # In place of an offset; preadv2(2).


class Bytes(Protocol):
    """An open file.

    Attributes:
        size: Of what is read from it; None if that is not known.
        position: How much of ``size`` was read.
        seeks: Whether it can be read from anywhere.
    """

    size: int | None
    position: int
    seeks: bool

    async def read(self) -> bytes:
        """The next bytes, BLOCK_BYTES or so; none at the end."""

    async def read_part(self, offset: int, length: int) -> bytes:
        """Some bytes from anywhere, and stand behind them; only if ``seeks``."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Some bytes from anywhere, less at the end; waits for them, so on a thread of its own.

        Only if ``seeks``, and not while one of the others is under way.
        """

    async def check_unchanged(self) -> None:
        """At the end: it is what it was at the beginning.

        Raises:
            SourceError: if it was changed meanwhile.
        """

    def close(self) -> None:
        """Close it, if it was opened here."""


class OpenFile:
    """A binary file or stream."""

    def __init__(self, file: IO[bytes], *, name: str, owned: bool = False) -> None:
        """Read a file.

        Args:
            file: At its beginning.
            name: For messages.
            owned: Whether close() closes it.
        """
        self.name = name
        self._file, self._owned = file, owned
        self._pipe, self._status = _look_at(file)
        self.size = self._status.st_size if self._status else None
        self.position = 0
        self.seeks = self._status is not None

    @property
    def on_disk(self) -> bool:
        """Whether it can be opened again."""
        return self._status is not None

    async def read(self) -> bytes:
        """See Bytes."""
        if self._pipe is None:
            data = await to_thread.run_sync(self._file.read, BLOCK_BYTES)
        else:
            # A thread that reads a silent pipe could not be cancelled.
            await anyio.wait_readable(self._pipe)
            data = os.read(self._pipe, BLOCK_BYTES)
        self.position += len(data)
        return data

    async def read_part(self, offset: int, length: int) -> bytes:
        """See Bytes."""
        data = await to_thread.run_sync(self.read_at, offset, length)
        self.position = offset + len(data)
        return data

    def read_at(self, offset: int, length: int) -> bytes:
        """See Bytes."""
        self._file.seek(offset)
        return self._file.read(length) if length else b""

    async def check_unchanged(self) -> None:
        """See Bytes."""
        if self._status and _form(self._status) != _form(os.fstat(self._file.fileno())):
            reason = "was changed while it was read; tasks may be missing, so submit it again"
            raise SourceError(self.name, None, reason)

    def close(self) -> None:
        """See Bytes."""
        if self._owned:
            self._file.close()


class _CachedFile(OpenFile):
    """A file of which the system often has the next bytes in memory, where it can tell.

    Those are read at once. A thread would read them in the same time, but then it has to wait for
    the interpreter until the event loop is idle, or 5 ms; and as long there is nothing to send.
    """

    def __init__(self, file: IO[bytes], *, name: str, owned: bool = False) -> None:
        """See OpenFile; the file must have no buffer of its own."""
        super().__init__(file, name=name, owned=owned)
        self._descriptor = file.fileno()
        self._buffer = bytearray(BLOCK_BYTES)

    async def read(self) -> bytes:
        """See Bytes."""
        try:
            count = os.preadv(self._descriptor, [self._buffer], _ON_FROM_HERE, os.RWF_NOWAIT)
        except OSError:  # BlockingIOError, as a rule; some file systems cannot tell.
            count = 0
        if not count:
            return await super().read()
        self.position += count
        await checkpoint()
        return bytes(memoryview(self._buffer)[:count])


class Stretch:
    """See Bytes: a part of an open file. Offsets are the file's; size and position are its own."""

    seeks = True

    def __init__(self, file: Bytes, *, begin: int, end: int, name: str) -> None:
        """Read a part of a file.

        Args:
            file: Must seek.
            begin: The offset of its first byte.
            end: The offset behind its last one.
            name: Of the file, for messages.
        """
        assert file.seeks
        self.name = name
        self.size: int | None = end - begin
        self.position = 0
        self._file, self._begin, self._end = file, begin, end

    async def read(self) -> bytes:
        """See Bytes.

        Raises:
            SourceError: if the file ends before the part does.
        """
        offset = self._begin + self.position
        data = await self.read_part(offset, min(BLOCK_BYTES, self._end - offset))
        if not data and offset < self._end:
            reason = f"ends at byte {offset:,}, and went on to byte {self._end:,} when it was cut"
            raise SourceError(self.name, None, reason)
        return data

    async def read_part(self, offset: int, length: int) -> bytes:
        """See Bytes."""
        data = await self._file.read_part(offset, length) if length else b""
        self.position = offset + len(data) - self._begin
        return data

    def read_at(self, offset: int, length: int) -> bytes:
        """See Bytes."""
        return self._file.read_at(offset, min(length, self._end - offset))

    async def check_unchanged(self) -> None:
        """See Bytes."""
        await self._file.check_unchanged()

    def close(self) -> None:
        """See Bytes."""
        self._file.close()


def open_file(path: str) -> OpenFile:
    """The file at a path.

    Raises:
        SourceError: if it cannot be opened.
    """
    try:
        kind = _CachedFile if _TELLS_CACHED and Path(path).is_file() else OpenFile
        return kind(Path(path).open("rb", buffering=0), name=path, owned=True)
    except IsADirectoryError as error:
        reason = "is a directory; name a file, or files by a pattern such as 'tasks/*.jsonl'"
        raise SourceError(path, None, reason) from error
    except OSError as error:
        raise SourceError(path, None, f"cannot be opened: {error.strerror}") from error


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
