"""Files that a run writes to as it goes: regular ones, and pipes and the like that somebody reads.

A pipe has another end, which may never be opened, be slow, or go away. The event loop waits for
none of them for long: signals would have to wait, too.
"""

import errno
import io
import os
import select
import stat
from pathlib import Path

from bulksubmit.errors import OutputError

# A reader that takes nothing for so long holds up all else, so the run ends in order. It is as
# long as a run that is stopped waits for answers.
READER_S = 10.0

_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}


def open_to_append(path: Path, *, mode: int = 0o666, readable: bool = False) -> int:
    """Open a file to write at its end; it is made if it is not there.

    Args:
        path: The file, or a pipe, a terminal, ``/dev/null``.
        mode: Who may read and write a file that is made.
        readable: A regular file can be read, too.

    Returns:
        Its descriptor; of anything but a regular file it does not block.

    Raises:
        OutputError: if it is a pipe that nobody reads.
        OSError: if it cannot be opened otherwise.
    """
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        is_regular = True
    if is_regular and (ours := _STANDARD.get(str(path))):
        # Opened anew it would have a place of its own in the file, and write over the report.
        return os.dup(ours)
    if is_regular:
        flags = (os.O_RDWR if readable else os.O_WRONLY) | os.O_CREAT | os.O_APPEND
        return os.open(path, flags, mode=mode)
    try:
        # To write only: whoever opens a pipe to read, too, is his own reader for ever.
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO and path.is_fifo():
            raise OutputError(
                f"{path} is a pipe that nobody reads; start its reader first"
            ) from error
        raise


def write(file: int, data: bytes) -> int:
    """Write what there is room for; a reader that is slow is waited for, READER_S at most.

    Returns:
        How many bytes were written.

    Raises:
        OSError: if it cannot be written, also because the reader has gone, or takes nothing.
    """
    try:
        return os.write(file, data)
    except BlockingIOError:
        poll = select.poll()
        poll.register(file, select.POLLOUT)
        if not poll.poll(1000 * READER_S):
            reason = f"its reader has taken nothing for {READER_S:g} s"
            raise OSError(errno.ETIMEDOUT, reason) from None
        return os.write(file, data)


class Written(io.RawIOBase):
    """Such a file for whoever wants a stream: each write is a whole one."""

    def __init__(self, path: Path) -> None:
        """Open it; see open_to_append()."""
        self._file = open_to_append(path)

    def writable(self) -> bool:
        """See RawIOBase."""
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Write all of it, as the function does."""
        rest = bytes(data)
        while rest:
            rest = rest[write(self._file, rest) :]
        return len(data)

    def close(self) -> None:
        """See RawIOBase."""
        if not self.closed:
            os.close(self._file)
        super().close()
