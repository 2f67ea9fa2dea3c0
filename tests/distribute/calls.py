"""What the workers of these tests are asked to do; imports little, since each process does."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

from bulksubmit.errors import SourceError

Failing: TypeAlias = Callable[[], NoReturn]


def pid() -> int:
    return os.getpid()


def add(one: int, other: int) -> int:
    return one + other


def environment(name: str) -> str | None:
    return os.environ.get(name)


def modules() -> set[str]:
    return set(sys.modules)


def say(text: str) -> str:
    """Print wherever a library, or a program that it runs, may print."""
    print(text)  # noqa: T201
    os.write(1, f"{text} raw\n".encode())
    subprocess.run(["echo", f"{text} by a program"], check=True)
    return text


def read_stdin() -> str:
    return sys.stdin.read()


def tell_pid_and_wait(told: Path, released: Path) -> int:
    """Say in a FIFO who runs this, and go on when somebody opens another for writing."""
    told.write_text(str(os.getpid()), "ascii")
    released.read_bytes()
    return os.getpid()


def be_deaf(told: Path, released: Path) -> int:
    """The same, and SIGTERM does nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return tell_pid_and_wait(told, released)


def kill_oneself(number: int) -> NoReturn:
    os.kill(os.getpid(), number)
    raise AssertionError("still alive")


def leave(code: int) -> NoReturn:
    sys.exit(code)


def fail(text: str) -> NoReturn:
    raise ValueError(text)


def fail_in_source() -> NoReturn:
    """Raise what can be pickled but not read back: its constructor takes three arguments."""
    raise SourceError("tasks.jsonl", 7, "not a task")


def fail_unpicklably() -> NoReturn:
    class LocalError(Exception):
        pass

    raise LocalError("of a class that only this call knows")


def interrupt() -> NoReturn:
    raise KeyboardInterrupt("not by a signal")


def unpicklable() -> object:
    return lambda: None
