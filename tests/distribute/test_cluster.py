"""Dask as an executor: a local cluster, and schedulers that answer wrongly or die."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from distributed import Client
from distributed import Future as DaskFuture

from bulksubmit.distribute import cluster
from bulksubmit.distribute.cluster import ClusterExecutor, connect, executor_of, is_dask_client
from bulksubmit.distribute.lost import ClusterLost, WorkerLost
from bulksubmit.errors import SettingsError
from tests.distribute import calls
from tests.distribute.waiting import Waiting, wait_in

pytestmark = pytest.mark.thorough  # Dask is imported in a second, and starts in three.

SEVERAL_S = 15.0  # Far more than it takes.


@pytest.fixture(scope="module")
def local() -> Iterator[Client]:
    """Two workers of this machine; takes 2 to 3 s."""
    client = cluster.local_cluster(2)
    yield client
    cluster.close(client)


@pytest.fixture
def workers(local: Client) -> ClusterExecutor:
    return executor_of(local)


def test_calls_are_run_by_workers(local: Client, workers: ClusterExecutor) -> None:
    """
    Calls return what they return, each to its own future, also where they are alike; keyword
    arguments arrive; there are as many slots as threads.
    """
    sums = [workers.submit(calls.add, number, other=number) for number in range(10)]
    pids = {workers.submit(calls.pid).result() for _ in range(3)}

    assert [each.result() for each in sums] == [2 * number for number in range(10)]
    assert os.getpid() not in pids
    assert cluster.slots(local) == 2
    assert cluster.listen_host(local) == "127.0.0.1"
    assert is_dask_client(local)
    assert not is_dask_client(workers)


def test_a_call_of_an_unknown_package_fails(local: Client) -> None:
    """
    A function that a worker cannot import is an exception of its call alone, not a call that
    never ends; and the worker's own word for a package that it does not have is understood.
    """
    workers = executor_of(local)
    module = ModuleType("only_here")
    exec("def function(): return 1", module.__dict__)  # noqa: S102 - a module of this process
    sys.modules[module.__name__] = module
    try:
        future = workers.submit(module.function)
    finally:
        del sys.modules[module.__name__]

    assert isinstance(future.exception(SEVERAL_S), ModuleNotFoundError)
    assert workers.submit(calls.add, 1, 1).result() == 2
    found = local.run(version, "only_here", on_error="return")
    assert {type(each) for each in found.values()} == {PackageNotFoundError}


def test_no_result_is_left_in_the_cluster(local: Client, workers: ClusterExecutor) -> None:
    """
    Dask runs a finished call again if its result is lost with a worker: so nothing keeps it
    there, not even until the next collection of garbage.
    """
    gc.disable()
    try:
        done = [workers.submit(calls.add, number, 1) for number in range(5)]
        wait(done)
        for _ in range(2):  # Round trips through the client's loop, which lets them go.
            cluster.slots(local)

        assert [key for key in local.futures if key.startswith("add-")] == []
    finally:
        gc.enable()


def test_an_exception_is_the_callers(workers: ClusterExecutor) -> None:
    """
    What a call raises is raised here; a call that cannot be pickled is refused.
    """
    error = workers.submit(calls.fail, "told").exception()

    assert isinstance(error, ValueError)
    assert str(error) == "told"
    with pytest.raises(Exception, match="pickle"):
        workers.submit(lambda: 1)


def test_a_workers_death_is_made_up_for(workers: ClusterExecutor, tmp_path: Path) -> None:
    """
    The call of a worker that is killed is run again by another one, and nobody hears of it;
    Ctrl-C at the terminal is no death.
    """
    call = wait_in(workers, tmp_path)
    os.kill(call.pid, signal.SIGINT)
    os.kill(call.pid, signal.SIGKILL)

    again = Waiting(tmp_path, call.future)

    assert again.pid != call.pid
    os.kill(again.pid, signal.SIGINT)
    assert again.release() == again.pid


def test_a_call_that_kills_is_given_up(workers: ClusterExecutor, tmp_path: Path) -> None:
    """
    A call that is killed four times fails with WorkerLost.
    """
    call = wait_in(workers, tmp_path)
    os.kill(call.pid, signal.SIGKILL)
    for _ in range(3):
        os.kill(Waiting(tmp_path, call.future).pid, signal.SIGKILL)

    error = call.future.exception()
    assert isinstance(error, WorkerLost)
    assert "after the 4 workers that ran it died" in error.what


def test_calls_may_be_cancelled(workers: ClusterExecutor, tmp_path: Path) -> None:
    """
    Cancelling succeeds for running and waiting calls, and whoever waits for them hears of it; a
    running one runs on, and others follow it.
    """
    running = [wait_in(workers, tmp_path / str(number)) for number in range(2)]
    waiting = workers.submit(calls.pid)
    cancelled = [waiting, running[0].future]

    assert all(each.cancel() for each in cancelled)

    assert wait(cancelled).not_done == set()
    with pytest.raises(CancelledError):
        waiting.result()
    (tmp_path / "0" / "released").write_bytes(b"")
    running[1].release()
    assert workers.submit(calls.add, 1, 1).result() == 2


def test_a_dropped_call_is_a_lost_worker(
    local: Client, workers: ClusterExecutor, tmp_path: Path
) -> None:
    """
    A call that the cluster drops, as when somebody restarts it, fails: it may be tried again.
    """
    call = wait_in(workers, tmp_path)
    (key,) = (key for key, future in local.futures.items() if future.status == "pending")
    local.cancel([DaskFuture(key, local)])  # type: ignore[no-untyped-call] # Dask's.

    error = call.future.exception()
    assert isinstance(error, WorkerLost)
    assert "the cluster dropped the call" in error.what
    (tmp_path / "released").write_bytes(b"")


async def test_anybodys_client_will_do(local: Client) -> None:
    """
    From a client of somebody else, an asynchronous one too, a client of our own is made; beside
    a running loop.
    """
    address = cluster.rpc_of(local).address
    async with Client(address, asynchronous=True, set_as_default=False) as theirs:  # type: ignore[no-untyped-call] # Dask's.
        assert is_dask_client(theirs)
        ours = await asyncio.to_thread(connect, theirs)
        try:
            future = executor_of(ours).submit(calls.add, 1, 2)
            assert await asyncio.wrap_future(future) == 3
            assert await asyncio.to_thread(cluster.slots, ours) == 2
        finally:
            await asyncio.to_thread(cluster.close, ours)
        assert theirs.status == "running"


def test_shutdown_waits(local: Client, tmp_path: Path) -> None:
    """
    shutdown() waits for what runs, cancels what waits if told to, and takes no call after it; the
    client stays open.
    """
    workers = executor_of(local)
    running = wait_in(workers, tmp_path)
    workers.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="takes no call any more"):
        workers.submit(calls.pid)

    running.release()
    workers.shutdown()

    assert running.future.done()
    others = executor_of(local)
    dropped = wait_in(others, tmp_path / "dropped")
    others.shutdown(cancel_futures=True)
    assert dropped.future.cancelled()
    (tmp_path / "dropped" / "released").write_bytes(b"")
    assert local.status == "running"


# --- Versions --------------------------------------------------------------------------------


def test_other_versions_are_refused(local: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A cluster that has other versions than this machine is refused, with what differs where.
    """
    cluster.check_versions(local)
    found: Any = local.get_versions()
    first, second = found["workers"]
    installed: dict[str, object] = {first: version("bulksubmit"), second: version("bulksubmit")}
    found["scheduler"]["packages"]["dask"] = "1999.1.0"
    found["workers"][first]["packages"]["python"] = "3.9.1.final.0"

    async def get_versions() -> object:
        return found

    async def run(*_: object, **__: object) -> object:
        return installed

    monkeypatch.setattr(local, "_get_versions", get_versions)
    monkeypatch.setattr(local, "_run", run)
    with pytest.raises(SettingsError, match=r"the scheduler has 1999\.1\.0 of dask, not 2") as both:
        cluster.check_versions(local)
    assert "(and 1 more)" in str(both.value)

    found["scheduler"] = found["client"]
    with pytest.raises(SettingsError, match=rf"{first} runs Python 3\.9, not 3\."):
        cluster.check_versions(local)

    found["workers"] = {}
    installed[first] = PackageNotFoundError("bulksubmit")
    with pytest.raises(SettingsError, match=f"{first} has no bulksubmit; it needs"):
        cluster.check_versions(local)

    installed[first], installed[second] = installed[second], "0.0.1"
    with pytest.raises(SettingsError, match=rf"{second} has bulksubmit 0\.0\.1, not"):
        cluster.check_versions(local)


# --- Schedulers that do not answer -----------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nonsense", "'nonsense' is no address of a Dask scheduler"),
        ("foo://127.0.0.1:8786", "unknown address scheme 'foo'"),
        ("tls://127.0.0.1:9", "TLS configuration"),
    ],
)
def test_what_is_no_address_is_told(address: str, reason: str) -> None:
    """
    An address that is none, or whose certificates are not configured, is told at once.
    """
    with pytest.raises(SettingsError, match=reason):
        connect(address)


@contextmanager
def listening() -> Iterator[str]:
    """Something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_what_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nothing listens, or something that is no scheduler, connecting ends in time.
    """
    monkeypatch.setattr(cluster, "ANSWER_S", 0.2)
    with pytest.raises(ClusterLost, match="no Dask scheduler answers at tcp://127"):
        connect("tcp://127.0.0.1:9")
    with listening() as address, pytest.raises(ClusterLost, match="is no Dask scheduler"):
        connect(address)


# --- The death of a scheduler ----------------------------------------------------------------


@contextmanager
def scheduled(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler in a process of its own, with a worker; and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "distributed.cli"]
    quiet = ["--no-dashboard"]
    schedules = [*dask[:2], "distributed.cli.dask_scheduler", "--host", address, *quiet]
    works = [*dask[:2], "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    with (folder / "log").open("wb") as log:
        processes = [
            subprocess.Popen(command, stderr=log, stdout=log, start_new_session=True)
            for command in (schedules, [*works, *quiet])
        ]
        try:
            yield processes[0], address
        finally:
            for process in processes:
                process.kill()
                process.wait()


def test_the_death_of_the_scheduler_is_noticed(tmp_path: Path) -> None:
    """
    When the scheduler is killed, futures fail with ClusterLost, running and waiting ones; no call
    is taken; neither shutdown() nor close() waits for what will not come.
    """
    with scheduled(tmp_path) as (scheduler, address):
        client = connect(address)
        workers = executor_of(client)
        running = wait_in(workers, tmp_path)
        waiting: Future[int] = workers.submit(calls.pid)

        scheduler.kill()

        for future in (running.future, waiting):
            assert isinstance(future.exception(SEVERAL_S), ClusterLost)
        with pytest.raises(ClusterLost):
            workers.submit(calls.pid)
        with pytest.raises(ClusterLost):
            cluster.slots(client)
        workers.shutdown()
        cluster.close(client)
