"""Dask as an executor; the only file that knows ``distributed``, and imports it when needed.

What is relied on, each seen in Dask 2024.8 and 2026.8:

- A call whose worker dies is run again by Dask itself on another worker. At the fourth death
  (``distributed.scheduler.allowed-failures`` is 3) its future fails with KilledWorker.
- A result stays on the worker that made it, and if that dies the call is run again, as long as
  anybody holds its Dask future. So these are let go as soon as the result is here; a worker that
  dies in the moment before has its finished call run again.
- When the connection to the scheduler breaks, all futures are cancelled at once. The client then
  tries for its timeout to connect again, and closes. A call submitted to a closed client stays
  pending for ever.
- Cancelling a future keeps a call from starting, unless it is about to, and does not stop one
  that runs.
- A scheduler unpickles what it is given; one that cannot fails the call. A worker that cannot, of
  a package that it does not have, leaves the call pending for ever. So the graph holds nothing
  but the standard library and bytes.
- SystemExit or KeyboardInterrupt raised by a call stops the worker.
"""

import asyncio
import pickle
import socket
import sys
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from bulksubmit.distribute.lost import ClusterLost, WorkerLost
from bulksubmit.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client

_P = ParamSpec("_P")
_T = TypeVar("_T")

ANSWER_S = 10.0  # A scheduler under load may take a second; one that is gone never answers.
_LOOK_S = 0.5  # Between two looks at a connection while waiting for what depends on it.
_SAME = ("dask", "distributed")  # Dask's own protocol changes from version to version.


def is_dask_client(value: object) -> bool:
    """Whether it is a Dask client; without importing Dask, which whoever has one has done."""
    client = getattr(sys.modules.get("distributed"), "Client", None)
    return client is not None and isinstance(value, client)


# --- Clients ---------------------------------------------------------------------------------


def connect(scheduler: "str | Client") -> "Client":
    """Connect to a scheduler; blocks for 10 s at most, so call it in a thread if a loop runs.

    Certificates of a TLS cluster are taken from Dask's own configuration.

    Args:
        scheduler: Its address, such as ``tcp://10.0.0.4:8786``; or a client of somebody else,
            asynchronous or not, whose scheduler is connected to once more.

    Returns:
        A synchronous client of our own, with an event loop in a thread of its own; to be closed
        by close().

    Raises:
        SettingsError: if Dask is not installed, the address is none, or the cluster has another
            version of Dask, Python or bulksubmit.
        ClusterLost: if nothing answers.
    """
    _need_dask()
    from distributed import Client  # noqa: PLC0415 - 0.7 s, and an extra

    address, security = _address_of(scheduler)
    _look(address, security)
    try:
        client = Client(  # type: ignore[no-untyped-call] # Dask's constructor has no types.
            address, security=security, timeout=ANSWER_S, set_as_default=False, name="bulksubmit"
        )
    except Exception as error:
        raise ClusterLost(f"no Dask scheduler answers at {address}: {error}") from error
    try:
        check_versions(client)
    except BaseException:
        close(client)
        raise
    return client


def local_cluster(workers: int) -> "Client":
    """Start a Dask cluster on this machine; takes some seconds, and blocks as connect().

    Its processes import the main module again, as those of multiprocessing do: a script needs
    its ``if __name__ == "__main__"``.

    Returns:
        A client of it; close() ends the cluster, too.

    Raises:
        SettingsError: if Dask is not installed.
        ClusterLost: if it does not start.
    """
    _need_dask()
    from distributed import Client, LocalCluster  # noqa: PLC0415 - as above

    try:
        cluster = LocalCluster(  # type: ignore[no-untyped-call] # As above.
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # Any: it serves there in any case.
            preload=["bulksubmit.distribute.preload"],
        )
    except (OSError, RuntimeError) as error:
        raise ClusterLost(f"the local Dask cluster does not start: {error}") from error
    return Client(  # type: ignore[no-untyped-call] # As above.
        cluster, timeout=ANSWER_S, set_as_default=False, name="bulksubmit"
    )


def close(client: "Client") -> None:
    """Close a client of connect() or local_cluster(), and a cluster that it started.

    Does not hang, and raises nothing, if the scheduler is gone.
    """
    cluster = client.cluster
    for part in (client, cluster):
        if part is None:
            continue
        with suppress(Exception):  # What is gone need not be closed.
            part.close(timeout=ANSWER_S)


def _look(address: str, security: Any) -> None:
    """See whether a scheduler answers, and say why not.

    A client that fails to connect cannot tell what is wrong, waits without end for the first word
    of something that is no scheduler, and takes 20 s to be disposed of.

    Raises:
        SettingsError: if the address is none.
        ClusterLost: if nothing answers.
    """
    from distributed.comm.core import connect as open_comm  # noqa: PLC0415 - as in connect()
    from distributed.security import Security  # noqa: PLC0415 - likewise

    async def look() -> None:
        given = security or Security()  # type: ignore[no-untyped-call] # Dask's.
        arguments = given.get_connection_args("client")
        opening = open_comm(address, timeout=ANSWER_S, **arguments)  # type: ignore[no-untyped-call] # Dask's.
        comm = await asyncio.wait_for(opening, ANSWER_S + _LOOK_S)
        await comm.close()

    # A loop may run in this thread, so that asyncio.run() may not.
    with futures.ThreadPoolExecutor(1, "looking") as thread:
        looking = thread.submit(asyncio.run, look())
    try:
        looking.result()
    except ValueError as error:
        raise SettingsError(
            f"{address!r} is no address of a Dask scheduler, which is like tcp://10.0.0.4:8786: "
            f"{error}"
        ) from error
    except TypeError as error:  # Dask's word for certificates that are not configured.
        raise SettingsError(f"cannot connect to {address}: {error}") from error
    except TimeoutError as error:
        raise ClusterLost(f"what listens at {address} is no Dask scheduler, or is stuck") from error
    except Exception as error:
        reason = str(error.__cause__ or "") or error  # Its cause is the last of several attempts.
        raise ClusterLost(f"no Dask scheduler answers at {address}: {reason}") from error


def _need_dask() -> None:
    try:
        import distributed  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise SettingsError("Dask is not installed: install bulksubmit[dask]") from error


def _address_of(scheduler: "str | Client") -> tuple[str, Any]:
    """Where a scheduler is, and the security to talk to it; None is Dask's own configuration."""
    if isinstance(scheduler, str):
        return scheduler, None
    return rpc_of(scheduler).address, scheduler.security


def check_versions(client: "Client") -> None:
    """See to it that a cluster can run our calls; blocks for a round trip.

    Scheduler and workers need the same version of Dask and the same minor version of Python; the
    workers need this version of bulksubmit, too. Workers that come later are not looked at.

    Raises:
        SettingsError: with what differs where.
        ClusterLost: if the scheduler does not answer.
    """
    rpc_of(client)
    # Private, but coroutines whatever the client, which can be waited for with an end.
    found = _ask(client, client._get_versions)  # noqa: SLF001
    bulksubmits = _ask(client, client._run, version, "bulksubmit", on_error="return")  # noqa: SLF001
    ours = found["client"]["packages"]
    wrong = _differing("the scheduler", ours, found["scheduler"]["packages"])
    for address, told in found["workers"].items():
        wrong += _differing(f"the worker {address}", ours, told["packages"])
    needs = version("bulksubmit")
    for address, has in bulksubmits.items():
        if isinstance(has, PackageNotFoundError):
            wrong.append(f"the worker {address} has no bulksubmit; it needs {needs}")
        elif has != needs:
            wrong.append(f"the worker {address} has bulksubmit {has}, not {needs}")
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise SettingsError(f"{wrong[0]}{more}: a cluster needs the same versions as this machine")


def _differing(who: str, ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    wrong = [
        f"{who} has {theirs[name]} of {name}, not {ours[name]}"
        for name in _SAME
        if theirs[name] != ours[name]
    ]
    minor, their_minor = (".".join(each["python"].split(".")[:2]) for each in (ours, theirs))
    if minor != their_minor:
        wrong.append(f"{who} runs Python {their_minor}, not {minor}")
    return wrong


# --- What a cluster is -----------------------------------------------------------------------


def slots(client: "Client") -> int:
    """How many calls run at a time on the workers that are there now: one a thread.

    Raises:
        ClusterLost: if the scheduler does not answer.
    """
    return sum(_ask(client, rpc_of(client).ncores).values())


def listen_host(client: "Client") -> str:
    """The address of this machine at which the workers of a cluster most likely reach it.

    It is the one that leads to the scheduler: loopback, if that runs on this machine's loopback.

    Raises:
        ClusterLost: if the client is not connected, or the scheduler's name does not resolve.
    """
    scheduler_address: str = rpc_of(client).address
    address = urlsplit(scheduler_address)
    if address.scheme == "inproc":
        return "127.0.0.1"
    try:
        found = socket.getaddrinfo(address.hostname, address.port or 1, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, place = found[0]
        # Connecting a datagram socket sends nothing: it looks up the way.
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ClusterLost(f"no way leads to {scheduler_address}: {error}") from error


def _ask(client: "Client", question: Callable[..., Any], *about: object, **more: object) -> Any:
    """Have the client's loop ask the scheduler something; wait for the answer.

    Raises:
        ClusterLost: if there is none in time.
    """
    try:
        return client.sync(question, *about, asynchronous=False, callback_timeout=ANSWER_S, **more)  # type: ignore[no-untyped-call] # Dask's.
    except (OSError, RuntimeError) as error:  # Its loop may have ended meanwhile.
        raise ClusterLost(f"the Dask scheduler does not answer: {error!r}") from error


def rpc_of(client: "Client") -> Any:
    """The client's view of the scheduler.

    Raises:
        ClusterLost: if it is not connected to one.
    """
    if client.status != "running" or client.scheduler is None:
        raise _lost(client)
    return client.scheduler


def _lost(client: "Client") -> ClusterLost:
    return ClusterLost(
        f"the connection to the Dask scheduler is lost: the client is {client.status}"
    )


# --- The executor ----------------------------------------------------------------------------


def executor_of(client: "Client") -> "ClusterExecutor":
    """The workers of a cluster as an executor.

    Args:
        client: A synchronous one; stays the caller's.
    """
    return ClusterExecutor(client)


class ClusterExecutor(Executor):
    """Dask's own executor, whose futures always end.

    They fail with ClusterLost when the connection to the scheduler breaks, and with WorkerLost
    when Dask gives a call up, or drops it because the cluster is restarted. A call may be run
    more than once: see the module. Cancelling succeeds until the result is there, and does not
    stop a call that runs.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._inner = client.get_executor(pure=False)  # type: ignore[no-untyped-call] # Dask's.
        self._pending: dict[Future[Any], Future[Any]] = {}  # Ours, and Dask's of the same call.
        self._closed = False
        self._lock = Lock()  # Guards the two above. Whoever takes a future out, ends it.

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Have a worker run a call.

        Returns:
            Its future; fails as the class says, or with what the call raises: ModuleNotFoundError
            where a worker does not have the function's package.

        Raises:
            ClusterLost: if the connection to the scheduler is lost.
            RuntimeError: after shutdown().
            Exception: whatever pickling the call raises.
        """
        message = pickle.dumps(_CalledWhenRead(fn, args, kwargs), pickle.HIGHEST_PROTOCOL)
        rpc_of(self._client)
        future: Future[_T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the cluster takes no call any more: it has been shut down")
            key = f"{getattr(fn, '__name__', 'call')}-{uuid4().hex}"
            inner = self._inner.submit(pickle.loads, message, key=key)
            self._pending[future] = inner
        future.add_done_callback(self._cancel)
        # Not by a closure over inner: a cycle would keep Dask's result, see the module.
        inner.add_done_callback(partial(self._settle, future))
        if self._client.status != "running":  # Lost in between: Dask may never say so.
            self._fail(future, _lost(self._client))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Executor has it
        """Take no more calls; the client stays open.

        Args:
            wait: Return only when all futures have ended: soon, if the scheduler is lost.
            cancel_futures: Cancel all that have not.
        """
        with self._lock:
            self._closed = True
            waiting = set(self._pending)
        if cancel_futures:
            for future in waiting:
                future.cancel()
        while wait and waiting:
            waiting = futures.wait(waiting, timeout=_LOOK_S).not_done
            if self._client.status != "running":
                for future in waiting:
                    self._fail(future, _lost(self._client))

    def _settle(self, future: "Future[Any]", inner: "Future[Any]") -> None:
        """Dask is done with a call."""
        if inner.cancelled():
            dropped = WorkerLost("the cluster dropped the call, as it does when it is restarted")
            is_lost = self._client.status != "running"
            self._fail(future, _lost(self._client) if is_lost else dropped)
        elif (error := inner.exception()) is not None:
            self._fail(future, _as_ours(error))
        elif self._take(future):
            future.set_result(inner.result())

    def _fail(self, future: "Future[Any]", error: BaseException) -> None:
        if self._take(future):
            future.set_exception(error)

    def _take(self, future: "Future[Any]") -> bool:
        """Whether the future is the caller's to end."""
        with self._lock:
            inner = self._pending.pop(future, None)
        return inner is not None and future.set_running_or_notify_cancel()

    def _cancel(self, future: "Future[Any]") -> None:
        """A future has ended: if nobody but its holder ended it, Dask need not run it."""
        with self._lock:
            inner = self._pending.pop(future, None)
        if inner is None:
            return
        future.set_running_or_notify_cancel()  # For those who wait for it.
        if self._client.status == "running":
            inner.cancel()


class _CalledWhenRead:
    """A call that is made by unpickling it, which gives what it returns.

    So a scheduler need not have the function's package, which it would have to import otherwise,
    and where a worker does not have it, that is an exception of the call.
    """

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._called, self._args = partial(function, **kwargs), args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._called, self._args


def _as_ours(error: BaseException) -> BaseException:
    from distributed import KilledWorker  # noqa: PLC0415 - imported already, if one is here

    if isinstance(error, KilledWorker):
        return WorkerLost(
            f"Dask gave the call up after the {error.allowed_failures + 1} workers that ran it "
            f"died, the last one {error.last_worker.address}"
        )
    return error
