"""One worker process of this machine: takes a call, runs it, sends back what came of it.

The parent (``local.py``) runs this file as a script, not as a module, and without the current
folder on the path: so nothing that lies there is imported by mistake. Messages are pickles behind
their length, 8 bytes with the highest first: to the process its ``sys.path`` and then a call
after the other, ``(function, arguments)``; back for each call ``(True, value)`` or
``(False, exception)``.

The process ends when its parent closes the pipe, or dies: at once, if it is in a call. Before the
first call it imports a handful of modules of the standard library and nothing else.
"""

import os
import pickle
import signal
import sys
import threading
from queue import SimpleQueue

_LENGTH_BYTES = 8
_READ_BYTES_MAX = 1 << 20  # At once; a pipe holds 64 KiB anyway.


def write_message(pipe: int, message: bytes) -> None:
    """Write a message whole.

    Raises:
        OSError: if the other side is gone (BrokenPipeError).
    """
    rest = memoryview(len(message).to_bytes(_LENGTH_BYTES, "big") + message)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def read_message(pipe: int) -> bytes | None:
    """Wait for the next message; None if the other side is gone, be it in the middle of one."""
    head = _read_exactly(pipe, _LENGTH_BYTES)
    return None if head is None else _read_exactly(pipe, int.from_bytes(head, "big"))


def _read_exactly(pipe: int, size: int) -> bytes | None:
    read = bytearray()
    while len(read) < size:
        block = os.read(pipe, min(size - len(read), _READ_BYTES_MAX))
        if not block:
            return None
        read += block
    return bytes(read)


def main() -> None:
    """Run calls until the parent closes the pipe."""
    # A parent may ignore SIGTERM, and what is ignored stays so in a new program. Ctrl-C is for
    # the coordinator, which stops its workers as it sees fit.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calls, results = _own_the_pipes()
    path = read_message(calls)
    if path is None:
        return
    sys.path[:] = pickle.loads(path)  # noqa: S301 - from the parent
    waiting = _Waiting(calls)
    while (call := waiting.next()) is not None:
        result = _result_of(call)
        waiting.done()
        try:
            write_message(results, result)
        except BrokenPipeError:
            return


def _own_the_pipes() -> tuple[int, int]:
    """Put the pipes to the parent where no library finds them.

    What is printed goes to stderr instead, line by line, and reading from stdin ends at once. No
    program started by a call inherits the pipes.

    Returns:
        The descriptors to read calls from and to write results to.
    """
    calls, results = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # A TextIOWrapper.
    return calls, results


class _Waiting:
    """Calls as they come, read by a thread, so that the end of the parent is noticed in a call."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._calls: SimpleQueue[bytes | None] = SimpleQueue()
        self._unanswered = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name="calls", daemon=True).start()

    def next(self) -> bytes | None:
        """Wait for the next call; None if there will be none."""
        return self._calls.get()

    def done(self) -> None:
        """A call has ended, and its result is about to be sent."""
        with self._lock:
            self._unanswered -= 1

    def _read(self) -> None:
        while (call := read_message(self._pipe)) is not None:
            with self._lock:
                self._unanswered += 1
            self._calls.put(call)
        with self._lock:
            if self._unanswered:
                # Nobody is left to take the result. Not sys.exit(): it would end this thread.
                os._exit(1)
        self._calls.put(None)


def _result_of(call: bytes) -> bytes:
    """Run a call; what came of it, as a message.

    SystemExit ends the process, as anywhere.
    """
    try:
        function, arguments = pickle.loads(call)  # noqa: S301 - from the parent
        value = function(*arguments)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - all are the caller's, a cancellation too
        return _as_message(error)
    try:
        return pickle.dumps((True, value), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - objects raise what they like when pickled
        return _as_message(error)


def _as_message(error: BaseException) -> bytes:
    """An exception with where it came from; as a RuntimeError, if it does not survive the way."""
    import traceback  # noqa: PLC0415 - not needed where all goes well

    text = "".join(traceback.format_exception(error))
    note = f"In worker process {os.getpid()}:\n\n{text}"
    try:
        error.add_note(note)
        message = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        # Many exceptions can be pickled but not read back: their constructors take something
        # else than what they tell Exception.
        _, again = pickle.loads(message)  # noqa: S301 - our own
        if isinstance(error, Exception) and str(again) == str(error):
            return message
    except Exception:  # noqa: BLE001, S110 - as above; the text is told below
        pass
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note(note)
    return pickle.dumps((False, told), pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
