"""Processes of this machine: which others has one started; and a Dask cluster of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kills.service import KEY

_READY_S = 40.0  # For a cluster; a worker takes 2 s, unless the machine is busy.
_LOOK_S = 0.05


@dataclass(frozen=True)
class Running:
    """A process that runs.

    Attributes:
        pid: Its number.
        parent: That of who has started it.
        command: Its command line.
    """

    pid: int
    parent: int
    command: str


def running() -> dict[int, Running]:
    """All that run now, by their numbers; those that have ended and wait for a parent do not."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="],  # Whole lines, however wide.
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = {}
    for line in listed.stdout.splitlines():
        pid, parent, state, *command = line.split(maxsplit=3)
        if not state.startswith("Z"):
            found[int(pid)] = Running(int(pid), int(parent), "".join(command))
    return found


def children(pid: int) -> list[Running]:
    """What a process has started, and what those have."""
    everybody, found, parents = running(), [], [pid]
    while parents:
        parent = parents.pop()
        below = [each for each in everybody.values() if each.parent == parent]
        found += below
        parents += [each.pid for each in below]
    return found


def workers_of(pid: int) -> list[int]:
    """The workers that a coordinator, or a nanny of Dask, has started."""
    return [
        each.pid
        for each in children(pid)
        if "distribute/process.py" in each.command or "spawn_main" in each.command
    ]


def kill(pid: int) -> float:
    """Kill a process that we, or one that we started, have started; returns the POSIX time."""
    with contextlib.suppress(ProcessLookupError):  # It has ended by itself.
        os.kill(pid, signal.SIGKILL)
    return time.time()


def wait_gone(pids: Iterable[int], *, patience_s: float) -> float:
    """Wait until none of these runs; returns how long that took, in seconds."""
    begun_s, left = time.monotonic(), set(pids)
    while left := left & running().keys():
        assert time.monotonic() - begun_s < patience_s, f"{left} still run after {patience_s:g} s"
        time.sleep(_LOOK_S)
    return time.monotonic() - begun_s


class Cluster:
    """A Dask scheduler and its workers, each under a nanny, on loopback.

    Attributes:
        address: The scheduler's.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        """Start nothing yet.

        Args:
            folder: An empty one.
            workers: How many there are to be.
        """
        self._folder, self._workers = folder, workers
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._nannies: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def mend(self) -> None:
        """Start what does not run, as whoever keeps a cluster does, and wait for the workers."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            self.close()
            told = self._folder / "address"
            told.unlink(missing_ok=True)
            self._scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(told))
            self.address = self._address(told)
        self._mend_nannies()
        while not self._have_workers():
            # A nanny whose worker was killed while it started may wait for it without end.
            self._end(self._nannies)
            self._nannies = []
            self._mend_nannies()

    def _mend_nannies(self) -> None:
        self._nannies = [each for each in self._nannies if each.poll() is None]
        while len(self._nannies) < self._workers:
            nanny = self._start(
                *("worker", self.address, "--nanny", "--nthreads", "1", "--memory-limit", "0"),
                *("--death-timeout", "60", "--local-directory", str(self._folder)),
            )
            self._nannies.append(nanny)

    @property
    def scheduler(self) -> int:
        """The process."""
        assert self._scheduler
        return self._scheduler.pid

    @property
    def nannies(self) -> list[int]:
        """Those that live."""
        return [each.pid for each in self._nannies if each.poll() is None]

    @property
    def workers(self) -> list[int]:
        """Those that live."""
        return [pid for nanny in self.nannies for pid in workers_of(nanny)]

    def close(self) -> None:
        """End all of it."""
        self._end([*self._nannies, *([self._scheduler] if self._scheduler else [])])
        self._nannies, self._scheduler = [], None

    def _end(self, parts: "list[subprocess.Popen[bytes]]") -> None:
        below = [each.pid for part in parts for each in children(part.pid)]
        for part in parts:
            part.kill()
            part.wait()
        wait_gone(below, patience_s=_READY_S)

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        what, *rest = arguments
        with (self._folder / "said").open("ab") as said:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "dask",
                    what,
                    "--host",
                    "127.0.0.1",
                    "--no-dashboard",
                    *rest,
                ],
                env=os.environ | {"AZURE_BATCH_ACCESS_KEY": KEY},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def _address(self, told: Path) -> str:
        until_s = time.monotonic() + _READY_S
        while True:
            with contextlib.suppress(OSError, ValueError):  # It is not there, or half of it is.
                return str(json.loads(told.read_text("utf-8"))["address"])
            assert time.monotonic() < until_s, "the scheduler does not start"
            time.sleep(_LOOK_S)

    def _have_workers(self) -> bool:
        """Whether all have come, within a while."""
        from distributed import Client  # noqa: PLC0415 - 0.7 s, and only some runs need it

        with Client(self.address, timeout=_READY_S, set_as_default=False) as client:  # type: ignore[no-untyped-call] # Dask's.
            try:
                client.wait_for_workers(self._workers, timeout=_READY_S / 2)
            except TimeoutError:
                return False
        return True


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster, as long as the context lasts; it starts when it is mended."""
    folder.mkdir()
    made = Cluster(folder, workers)
    try:
        yield made
    finally:
        made.close()
