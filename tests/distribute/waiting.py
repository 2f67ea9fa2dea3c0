"""Calls that wait until a test releases them, on any executor of this machine."""

import os
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path

from tests.distribute import calls


@dataclass
class Waiting:
    """A call that waits until it is released; making this waits until it has begun.

    Attributes:
        folder: Where its FIFOs lie.
        pid: The process that runs it.
    """

    folder: Path
    future: Future[int]
    pid: int = field(init=False)

    def __post_init__(self) -> None:
        self.pid = int((self.folder / "told").read_text("ascii"))

    def release(self) -> int:
        """Let it end; what it returns."""
        (self.folder / "released").write_bytes(b"")
        return self.future.result()


def wait_in(workers: Executor, folder: Path, *, deaf: bool = False) -> Waiting:
    """Have a worker run a call that waits, and see it begin."""
    folder.mkdir(exist_ok=True)
    fifos = folder / "told", folder / "released"
    for fifo in fifos:
        os.mkfifo(fifo)
    function = calls.be_deaf if deaf else calls.tell_pid_and_wait
    return Waiting(folder, workers.submit(function, *fifos))
