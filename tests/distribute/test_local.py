"""Processes of this machine as an executor: real ones, killed for good."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from bulksubmit.distribute.local import LocalWorkers, cores
from bulksubmit.distribute.lost import WorkerLost
from tests.distribute import calls
from tests.distribute.waiting import wait_in


@pytest.fixture
def workers() -> Iterator[LocalWorkers]:
    """Three processes at the most."""
    with LocalWorkers(3) as three:
        yield three


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_hangs_is_ended_and_replaced(tmp_path: Path) -> None:
    """
    Stopped, it heeds nothing but SIGKILL; its place is another's.
    """
    with LocalWorkers(1) as one:
        hung = wait_in(one, tmp_path)
        later = one.submit(calls.add, 1, 2)
        os.kill(hung.pid, signal.SIGSTOP)
        one.kill(later)  # Nobody runs it yet.
        one.kill(hung.future)

        with pytest.raises(WorkerLost, match="killed by SIGKILL"):
            hung.future.result(10)
        assert later.result(10) == 3
        one.kill(hung.future)  # Nobody runs it any more.
        assert one.submit(calls.add, 3, 4).result(10) == 7


def test_calls_are_run_elsewhere(workers: LocalWorkers) -> None:
    """
    A hundred calls return what they return, each to its own future, from three processes that
    are not this one.
    """
    sums = [workers.submit(calls.add, number, number) for number in range(100)]
    pids = [workers.submit(calls.pid) for _ in range(100)]

    assert [each.result() for each in sums] == [2 * number for number in range(100)]
    assert {each.result() for each in pids} <= set(workers.pids)
    assert len(workers.pids) == 3
    assert os.getpid() not in workers.pids


def test_no_process_starts_before_it_is_needed(workers: LocalWorkers) -> None:
    """
    Without calls there is no process, and calls one after the other need only one.
    """
    assert workers.pids == []

    assert len({workers.submit(calls.pid).result() for _ in range(5)}) == 1
    assert len(workers.pids) == 1


def test_calls_wait_for_a_free_process(workers: LocalWorkers, tmp_path: Path) -> None:
    """
    Three calls run at the same time in three processes, and a fourth when one is free; one that
    is cancelled meanwhile never runs.
    """
    three = [wait_in(workers, tmp_path / str(number)) for number in range(3)]
    fourth, fifth = workers.submit(calls.pid), workers.submit(calls.pid)

    assert sorted(workers.pids) == sorted(each.pid for each in three)
    assert not fourth.running()
    assert fifth.cancel()

    assert three[1].release() == three[1].pid == fourth.result()
    assert not three[0].future.cancel()
    assert [three[0].release(), three[2].release()] == [three[0].pid, three[2].pid]
    with pytest.raises(CancelledError):
        fifth.result()


def test_a_worker_imports_nothing_before_its_first_call(workers: LocalWorkers) -> None:
    """
    A process that has run one call of these tests has not imported what a submission needs.
    """
    modules = workers.submit(calls.modules).result()

    assert "bulksubmit.distribute" not in modules
    assert not modules & {"anyio", "aiohttp", "asyncio", "msgspec", "distributed"}


def test_a_worker_ignores_what_lies_in_the_current_folder(
    workers: LocalWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file there with the name of a module of the standard library is not imported in its place.
    """
    (tmp_path / "pickle.py").write_text("raise SystemExit(9)", "utf-8")
    monkeypatch.chdir(tmp_path)

    assert workers.submit(calls.add, 1, 2).result() == 3


# --- What calls raise ------------------------------------------------------------------------


def test_an_exception_is_the_callers(workers: LocalWorkers) -> None:
    """
    What a call raises is raised here, and tells where it came from; the process lives on.
    """
    error = workers.submit(calls.fail, "told").exception()

    assert isinstance(error, ValueError)
    assert str(error) == "told"
    assert "calls.py" in "".join(error.__notes__)
    assert workers.submit(calls.pid).result() in workers.pids
    assert len(workers.pids) == 1


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (calls.fail_in_source, "SourceError: tasks.jsonl:7: not a task"),
        (calls.fail_unpicklably, "LocalError: of a class that only this call knows"),
        (calls.interrupt, "KeyboardInterrupt: not by a signal"),
    ],
)
def test_an_exception_that_does_not_survive_the_way_is_told(
    workers: LocalWorkers, function: "calls.Failing", text: str
) -> None:
    """
    An exception that cannot be pickled, or not read back, or would end this thread, becomes a
    RuntimeError of its text.
    """
    error = workers.submit(function).exception()

    assert type(error) is RuntimeError
    assert str(error) == text


def test_what_cannot_be_pickled_fails_its_call_alone(workers: LocalWorkers) -> None:
    """
    Neither a call nor a result that cannot be pickled costs a process or another call.
    """
    pid = workers.submit(calls.pid).result()

    assert "pickle" in str(workers.submit(lambda: 1).exception())
    assert "pickle" in str(workers.submit(calls.unpicklable).exception())
    assert workers.submit(calls.pid).result() == pid


def test_prints_go_to_stderr(workers: LocalWorkers, capfd: pytest.CaptureFixture[str]) -> None:
    """
    What a call prints, in whatever way, is no part of the protocol and of no other's stdout.
    """
    assert workers.submit(calls.say, "hello").result() == "hello"

    told = capfd.readouterr()
    assert told.out == ""
    assert sorted(told.err.split("\n")) == ["", "hello", "hello by a program", "hello raw"]


def test_stdin_is_empty(workers: LocalWorkers) -> None:
    """
    A call that reads stdin reads nothing, and takes no byte of the next call.
    """
    assert workers.submit(calls.read_stdin).result() == ""
    assert workers.submit(calls.add, 1, 2).result() == 3


def test_the_environment_reaches_the_processes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Variables that are given are the processes', beside this one's; their values are not shown.
    """
    monkeypatch.setenv("INHERITED", "yes")
    with LocalWorkers(1, {"A_KEY": "hush"}) as workers:
        found = [
            workers.submit(calls.environment, name).result() for name in ("A_KEY", "INHERITED")
        ]

    assert found == ["hush", "yes"]
    assert "A_KEY" not in os.environ
    assert repr(workers) == "LocalWorkers(workers=1, environment=[A_KEY])"


# --- How processes die -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_process_fails_its_call_alone(
    workers: LocalWorkers, tmp_path: Path, number: signal.Signals
) -> None:
    """
    A call whose process is killed fails and says how; another call goes on, and a new process
    takes the next ones.
    """
    killed, other = wait_in(workers, tmp_path / "killed"), wait_in(workers, tmp_path / "other")

    os.kill(killed.pid, number)

    error = killed.future.exception()
    assert isinstance(error, WorkerLost)
    assert (error.what, error.pid) == (f"killed by {number.name}", killed.pid)
    after = [wait_in(workers, tmp_path / f"after-{count}") for count in range(2)]
    assert [each.release() for each in (other, *after)] == [each.pid for each in (other, *after)]
    assert killed.pid not in workers.pids


def test_a_call_that_leaves_is_a_lost_worker(workers: LocalWorkers) -> None:
    """
    sys.exit() in a call ends the process; the call fails with the exit code.
    """
    error = workers.submit(calls.leave, 3).exception()

    assert isinstance(error, WorkerLost)
    assert error.what == "exit code 3"
    assert str(error) == f"worker lost: exit code 3 (process {error.pid})"


def test_a_process_that_dies_idle_fails_no_call(workers: LocalWorkers) -> None:
    """
    A process that is killed between two calls is replaced, and nobody hears of it.
    """
    pid = workers.submit(calls.pid).result()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert workers.submit(calls.pid).result() != pid


def test_ctrl_c_is_ignored(workers: LocalWorkers, tmp_path: Path) -> None:
    """
    SIGINT does nothing to a process, which is in a process group of its own.
    """
    call = wait_in(workers, tmp_path)

    os.kill(call.pid, signal.SIGINT)

    assert os.getpgid(call.pid) == call.pid
    assert call.release() == call.pid


PARENT = """
import sys
from pathlib import Path
from bulksubmit.distribute.local import LocalWorkers
from tests.distribute import calls

workers = LocalWorkers(1)
future = workers.submit(calls.tell_pid_and_wait, *map(Path, sys.argv[1:]))
{then}
"""


@pytest.mark.parametrize(
    "then", ["future.result()", "sys.stdin.read()"], ids=["killed", "forgot shutdown()"]
)
def test_no_process_outlives_its_parent(tmp_path: Path, then: str) -> None:
    """
    A parent that is killed, or ends without shutdown(), takes a process with it in mid-call; and
    it needs no `if __name__ == "__main__"` for it.
    """
    fifos = tmp_path / "told", tmp_path / "released"
    for fifo in fifos:
        os.mkfifo(fifo)
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(then=then), "utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # It ends when the process does, too: the process holds its stderr.
    with subprocess.Popen(
        [sys.executable, str(script), *map(str, fifos)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as parent:
        pid = int(fifos[0].read_text("ascii"))
        assert is_alive(pid)
        if then == "future.result()":
            parent.kill()
        _, told = parent.communicate()

    assert told == b""


# --- The end ---------------------------------------------------------------------------------


def test_shutdown_waits_for_all_calls(workers: LocalWorkers, tmp_path: Path) -> None:
    """
    Calls that run or wait are done before shutdown() returns; after it none is taken, and no
    process is left.
    """
    running = wait_in(workers, tmp_path)
    waiting = [workers.submit(calls.add, number, 1) for number in range(10)]
    workers.shutdown(wait=False)

    with pytest.raises(RuntimeError, match="take no call any more"):
        workers.submit(calls.pid)
    running.release()
    workers.shutdown()

    assert [each.result() for each in waiting] == list(range(1, 11))
    assert workers.pids == []
    assert not is_alive(running.pid)


def test_shutdown_may_cancel_what_waits(tmp_path: Path) -> None:
    """
    With cancel_futures the running call ends as usual, and those that wait are cancelled.
    """
    with LocalWorkers(1) as workers:
        running = wait_in(workers, tmp_path)
        waiting = [workers.submit(calls.pid) for _ in range(3)]
        workers.shutdown(wait=False, cancel_futures=True)

        assert [each.cancelled() for each in waiting] == [True] * 3
        assert running.release() == running.pid


def test_terminate_ends_all_at_once(workers: LocalWorkers, tmp_path: Path) -> None:
    """
    terminate() fails the running calls, cancels those that wait, and leaves no process.
    """
    running = [wait_in(workers, tmp_path / str(number)) for number in range(3)]
    waiting = workers.submit(calls.pid)

    workers.terminate()

    for each in running:
        error = each.future.exception()
        assert isinstance(error, WorkerLost)
        assert error.what == "killed by SIGTERM"
        assert not is_alive(each.pid)
    assert waiting.cancelled()
    assert workers.pids == []
    with pytest.raises(RuntimeError):
        workers.submit(calls.pid)


@pytest.mark.thorough
def test_terminate_ends_the_deaf_too(tmp_path: Path) -> None:
    """
    A process that ignores SIGTERM is killed after two seconds.
    """
    workers = LocalWorkers(2)
    running = wait_in(workers, tmp_path, deaf=True)
    started_s = time.monotonic()

    workers.terminate()

    assert time.monotonic() - started_s >= 2.0
    error = running.future.exception()
    assert isinstance(error, WorkerLost)
    assert error.what == "killed by SIGKILL"


def test_cores_are_those_that_may_be_used() -> None:
    """
    There is at least one, and no more than the machine has.
    """
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_no_workers_are_too_few() -> None:
    """
    At least one process is needed.
    """
    with pytest.raises(ValueError, match="workers is 0; it must be at least 1"):
        LocalWorkers(0)
