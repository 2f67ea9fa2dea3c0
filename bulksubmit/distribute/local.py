"""Processes of this machine, as an executor.

Each process is a fresh interpreter that is told what to do over pipes. Nothing is forked or shared
with the parent: a script needs no ``if __name__ == "__main__"``, a notebook works, and a process
that is killed leaves no lock behind that another waits for.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from bulksubmit.distribute import process
from bulksubmit.distribute.lost import WorkerLost
from bulksubmit.distribute.process import read_message, write_message

_P = ParamSpec("_P")
_T = TypeVar("_T")

_GRACE_S = 2.0  # Between asking a process to end and ending it.
# -P: neither the folder of the script nor the current one is on the path at the start.
_COMMAND = ("-P", str(Path(process.__file__)))


def cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalWorkers(Executor):
    """A number of processes, each of which runs one call at a time.

    A process starts when a call finds no idle one, and stays until the end. If it dies, only the
    call that it ran fails, with WorkerLost; the next call gets a new process. Functions and
    arguments are pickled, so functions must have a name in a module that can be imported, which
    ``__main__`` cannot.

    Without shutdown() the processes end with this one, in the middle of their calls.

    Attributes:
        workers: The most processes at a time.
    """

    def __init__(self, workers: int, environment: Mapping[str, str] | None = None) -> None:
        """Start nothing yet.

        Args:
            workers: The most processes at a time, at least 1.
            environment: Variables for the processes, beside those of this one. The place for
                secrets: they are in no argument list, no message and no log.

        Raises:
            ValueError: if workers is not positive.
        """
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        self.workers = workers
        self._environment = dict(environment or {})
        self._calls: deque[_Call] = deque()
        self._threads: list[threading.Thread] = []
        self._running: dict[int, subprocess.Popen[bytes]] = {}  # By the number of its thread.
        self._at: dict[Future[Any], subprocess.Popen[bytes]] = {}  # By what they work at.
        self._idle = 0  # Threads that wait for a call, or are about to.
        self._closed = False  # No call is taken any more.
        self._terminated = False  # No process is started any more.
        # Guards all of the above; notified when a call comes, or none will.
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        names = ", ".join(sorted(self._environment))
        return f"LocalWorkers(workers={self.workers}, environment=[{names}])"

    @property
    def pids(self) -> list[int]:
        """The processes that live now, as far as it is known."""
        with self._changed:
            return [child.pid for child in self._running.values() if child.poll() is None]

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Have a process run a call, after those that wait already.

        Returns:
            Its future. Fails with WorkerLost if the process dies; with what the call raises, or
            a RuntimeError of that text if it cannot be pickled; with what pickling the call
            raises. OSError if no process can be started.

        Raises:
            RuntimeError: after shutdown() or terminate().
        """
        call = _Call(partial(fn, *args, **kwargs))
        with self._changed:
            if self._closed:
                raise RuntimeError("the workers take no call any more: they have been shut down")
            self._calls.append(call)
            if self._idle < len(self._calls) and len(self._threads) < self.workers:
                # A daemon: a caller that forgot shutdown() does not hang at its end, and the
                # processes end when their pipes are closed with it.
                thread = threading.Thread(
                    target=self._run,
                    args=(len(self._threads),),
                    name=f"worker-{len(self._threads)}",
                    daemon=True,
                )
                self._threads.append(thread)
                self._idle += 1
                thread.start()
            self._changed.notify()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Executor has it
        """Take no more calls; the processes end when all are done.

        Args:
            wait: Return only after that.
            cancel_futures: Cancel the calls that wait for a process.
        """
        with self._changed:
            self._closed = True
            dropped = self._drop_calls() if cancel_futures else []
            self._changed.notify_all()
        for call in dropped:
            call.future.cancel()
        if wait:
            for thread in self._threads:
                thread.join()

    def kill(self, future: "Future[Any]") -> None:
        """End the process that runs a call, because it hangs: the call fails with WorkerLost.

        A call that no process runs is left alone.
        """
        with self._changed:
            child = self._at.get(future)
        if child:
            child.kill()  # Of one that is stopped, SIGTERM would have to wait.

    def terminate(self) -> None:
        """End all processes now, and wait for their end, for 2 s at the most and then some.

        Calls that wait are cancelled; those that run fail with WorkerLost. May be called at any
        time, also in the middle of shutdown() by another thread.
        """
        with self._changed:
            self._closed = self._terminated = True
            dropped = self._drop_calls()
            children = list(self._running.values())
            self._changed.notify_all()
        for call in dropped:
            call.future.cancel()
        for child in children:
            child.terminate()
        until_s = time.monotonic() + _GRACE_S
        for child in children:
            try:
                child.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for thread in self._threads:
            thread.join()

    def _drop_calls(self) -> "list[_Call]":
        dropped = list(self._calls)
        self._calls.clear()
        return dropped

    # --- A thread a process ------------------------------------------------------------------

    def _run(self, number: int) -> None:
        """Hand calls to one process after the other, as they die, until there will be none."""
        child: subprocess.Popen[bytes] | None = None
        try:
            while (call := self._next_call()) is not None:
                if call.future.set_running_or_notify_cancel():
                    child, settle = self._run_call(number, child, call)
                else:
                    settle = _nothing
                # First this: who has a result and submits the next call finds a process idle.
                with self._changed:
                    self._idle += 1
                settle()
        finally:
            self._end(number, child)

    def _next_call(self) -> "_Call | None":
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._closed)
            self._idle -= 1
            return self._calls.popleft() if self._calls else None

    def _run_call(
        self, number: int, child: "subprocess.Popen[bytes] | None", call: "_Call"
    ) -> "tuple[subprocess.Popen[bytes] | None, Callable[[], None]]":
        """Run a call in a process, a new one if need be.

        Returns:
            The process, if it lives; and what settles the call's future.
        """
        try:
            message = call.message()
            if child is None or child.poll() is not None:
                self._end(number, child)
                child = None
                child = self._start(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the call's
            return child, partial(call.future.set_exception, error)
        with self._changed:
            self._at[call.future] = child
        result = _exchange(child, message)
        with self._changed:
            del self._at[call.future]
        if result is None:
            self._end(number, child)
            lost = WorkerLost(_how_it_ended(child), child.pid)
            return None, partial(call.future.set_exception, lost)
        return child, _settling(call.future, result)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        with self._changed:
            if self._terminated:
                raise WorkerLost("ended before it began")
            child = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, *_COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=os.environ | self._environment,
                # Not in our group: Ctrl-C at the terminal is for this process alone.
                process_group=0,
            )
            self._running[number] = child
        # The process knows its own standard library; the rest is found where we find it.
        _send(child, pickle.dumps(sys.path))
        return child

    def _end(self, number: int, child: "subprocess.Popen[bytes] | None") -> None:
        """Close the pipes, so that the process ends, and wait for that."""
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        with self._changed:
            if self._running.get(number) is child:
                del self._running[number]


class _Call:
    """A function to be called, and the future that waits for what comes of it."""

    def __init__(self, called: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._called = called

    def message(self) -> bytes:
        """See process.py.

        Raises:
            Exception: whatever pickling raises.
        """
        return pickle.dumps((self._called, ()), pickle.HIGHEST_PROTOCOL)


def _exchange(child: "subprocess.Popen[bytes]", message: bytes) -> bytes | None:
    """Send a call and wait for what comes of it; None if the process dies."""
    assert child.stdout is not None
    if not _send(child, message):
        return None
    return read_message(child.stdout.fileno())


def _send(child: "subprocess.Popen[bytes]", message: bytes) -> bool:
    assert child.stdin is not None
    try:
        write_message(child.stdin.fileno(), message)
    except BrokenPipeError:
        return False
    return True


def _settling(future: "Future[Any]", result: bytes) -> Callable[[], None]:
    """What settles a future by a message of process.py."""
    try:
        succeeded, value = pickle.loads(result)  # noqa: S301 - from our own process
    except Exception as error:  # noqa: BLE001 - objects raise what they like when unpickled
        succeeded, value = False, error
    return partial(future.set_result if succeeded else future.set_exception, value)


def _nothing() -> None:
    """Settles what is cancelled."""


def _how_it_ended(child: "subprocess.Popen[bytes]") -> str:
    code = child.returncode
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # A real-time signal has no name.
        return f"killed by signal {-code}"
