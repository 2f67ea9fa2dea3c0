"""bulksubmit on a terminal, and what a person sees there."""

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pyte

PATIENCE_S = 20.0
_CHUNK = 65536
_DRAWN = b"\x1b[?7h"  # Wrapping is on again.


class Terminal:
    """A terminal of some size with a process on it.

    Attributes:
        written: All that was written to it, with its control characters.
        frames: What it showed each time that something was drawn in place, to its end.
        exit_code: The process's, once it has ended.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, file: int, screen: pyte.HistoryScreen
    ) -> None:
        self._process, self._file, self._screen = process, file, screen
        self._stream = pyte.ByteStream(screen)
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self.written = b""
        self.frames: list[str] = []
        self.exit_code: int | None = None
        os.set_blocking(file, False)
        asyncio.get_running_loop().add_reader(file, self._read)

    @property
    def seen(self) -> str:
        """What it shows, with what has scrolled off, without empty lines at the end."""
        columns = range(self._screen.columns)
        above = ["".join(line[x].data for x in columns) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self._screen.display]).rstrip("\n")

    def _read(self) -> None:
        data = b""
        with suppress(BlockingIOError, OSError):  # EIO: the last process on it has ended.
            data = os.read(self._file, _CHUNK)
        if not data:
            asyncio.get_running_loop().remove_reader(self._file)
            self._ended.set()
        else:
            self.written += data
            self._stream.feed(data)
            if data.endswith(_DRAWN):
                self.frames.append(self.seen)
        self._changed.set()

    async def shows(self, what: str | Callable[[str], bool]) -> str:
        """Wait until it shows a text, or what a function says yes to."""
        sees = what if callable(what) else lambda seen: what in seen
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not sees(self.seen):
                    assert not self._ended.is_set()
                    self._changed.clear()
                    await self._changed.wait()
        except (TimeoutError, AssertionError):
            raise AssertionError(f"it never showed {what!r}, but:\n{self.seen}") from None
        return self.seen

    def resize(self, columns: int, rows: int) -> None:
        """Make the window another size; what does not fit is cut off, as xterm does."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    async def end(self) -> str:
        """Wait for the process's end; what is seen then."""
        async with asyncio.timeout(PATIENCE_S):
            self.exit_code = await self._process.wait()
            await self._ended.wait()
        return self.seen


@asynccontextmanager
async def on_terminal(
    *args: str | Path,
    env: Mapping[str, str],
    columns: int = 80,
    rows: int = 24,
) -> AsyncIterator[Terminal]:
    """``bulksubmit`` with these arguments on a terminal.

    Args:
        args: The command and its arguments.
        env: Variables beside our own.
        columns: The terminal's.
        rows: The terminal's.
    """
    ours, theirs = pty.openpty()
    screen = pyte.HistoryScreen(columns, rows, history=1000, ratio=1)
    screen.set_mode(pyte.modes.LNM)  # The line discipline has made CR LF of it already.
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bulksubmit", *args),
        env={**plain, "TERM": "xterm-256color", "PYTHONUTF8": "1", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    terminal = Terminal(process, ours, screen)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
