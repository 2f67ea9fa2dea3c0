"""Who does the work: an executor, and what has to be known of it."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from bulksubmit.core.shard import Shard
from bulksubmit.distribute.local import LocalWorkers, cores
from bulksubmit.distribute.worker import KEY_VARIABLE
from bulksubmit.errors import SettingsError
from bulksubmit.producer.plan import plan
from bulksubmit.producer.source import no_task
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.service.auth import EntraToken, SharedKey

if TYPE_CHECKING:
    from concurrent.futures import Future

    from distributed import Client

    from bulksubmit.api import AnyCredential

LOOPBACK = "127.0.0.1"
WORKERS_MAX = 10_000


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Crew:
    """An executor, and what has to be known of it.

    Attributes:
        executor: Runs calls, each in a worker. Shaped like concurrent.futures'.
        workers: How many calls it runs at a time.
        host: An address of this machine that the workers reach. On loopback their line is plain,
            otherwise TLS.
        port: Of the line; 0 for any.
        shard_bytes: How large a shard is to be; None for 4 to 256 MiB, as large as gives
            each worker several.
        make_credential: Makes the credential of a worker, in it; None for what its environment
            has.
        give_up: Ends the process of a call that hangs, as far as it can be reached.
        close: Ends what was started for this run only.
        end: Ends it at once.
    """

    executor: Executor
    workers: int
    host: str = LOOPBACK
    port: int = 0
    shard_bytes: int | None = None
    make_credential: "Callable[[], AnyCredential] | None" = field(default=None, repr=False)
    give_up: "Callable[[Future[None]], None]" = _nothing
    close: Callable[[], None] = _nothing
    end: Callable[[], None] = _nothing

    def plan(self, spec: SourceSpec) -> list[Shard]:
        """Cut a source, for so many workers.

        Raises:
            SourceError: if it cannot be read, or holds nothing.
        """
        shards = plan(spec, workers=self.workers, shard_bytes=self.shard_bytes)
        if not shards:
            raise no_task(spec.label, rows=spec.template is not None)
        return shards

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= WORKERS_MAX:
            raise SettingsError(f"workers is {self.workers}; it must be from 1 to {WORKERS_MAX:,}")


AnyExecutor: TypeAlias = "Crew | Executor | int | Any"


def crew_of(executor: AnyExecutor, credential: SharedKey | EntraToken) -> Crew:
    """What is known of an executor.

    Args:
        executor: A number of processes of this machine, a Dask client, any executor shaped like
            those of concurrent.futures that runs calls in other processes, or a Crew, which is
            taken as it is.
        credential: Of the run. Processes of this machine are given its key.

    Raises:
        SettingsError: if it is none of these, or nobody knows how many calls it runs at a time.
    """
    if isinstance(executor, Crew):
        return executor
    if isinstance(executor, int):
        return local_crew(executor, credential)
    from bulksubmit.distribute.cluster import (  # noqa: PLC0415 - an extra
        close,
        connect,
        is_dask_client,
    )

    if is_dask_client(executor):
        # Of our own, whatever loop that one is on.
        client = connect(cast("Client", executor))
        return dask_crew(client, close=partial(close, client))
    if not callable(getattr(executor, "submit", None)):
        raise SettingsError(
            f"the executor is {type(executor).__name__}; give a number of processes, a Dask "
            "client, or an executor of concurrent.futures' shape"
        )
    workers = getattr(executor, "workers", None) or getattr(executor, "_max_workers", None)
    if not isinstance(workers, int):
        reason = "say how many calls the executor runs at a time: Crew(executor, workers=...)"
        raise SettingsError(reason)
    return Crew(executor, workers)


def local_crew(
    workers: int, credential: SharedKey | EntraToken, *, shard_bytes: int | None = None
) -> Crew:
    """So many processes of this machine. A key is in their environment, and nowhere else."""
    if not 1 <= workers <= WORKERS_MAX:
        raise SettingsError(f"workers is {workers}; it must be from 1 to {WORKERS_MAX:,}")
    key = {KEY_VARIABLE: credential.key} if isinstance(credential, SharedKey) else {}
    pool = LocalWorkers(workers, environment=key)
    return Crew(
        pool,
        workers,
        shard_bytes=shard_bytes,
        give_up=pool.kill,
        close=pool.shutdown,
        end=pool.terminate,
    )


def dask_crew(
    client: Any,
    *,
    host: str | None = None,
    port: int = 0,
    shard_bytes: int | None = None,
    close: Callable[[], None] = _nothing,
) -> Crew:
    """The workers of a Dask cluster."""
    from bulksubmit.distribute.cluster import (  # noqa: PLC0415 - an extra
        executor_of,
        listen_host,
        slots,
    )

    return Crew(
        executor_of(client),
        max(1, slots(client)),
        host=host or listen_host(client),
        port=port,
        shard_bytes=shard_bytes,
        close=close,
        end=close,
    )


def cluster_crew(
    scheduler: str | None,
    *,
    workers: int,
    host: str | None = None,
    port: int = 0,
    shard_bytes: int | None = None,
) -> Crew:
    """The workers of the cluster of a scheduler; without one, of a cluster for this run.

    Raises:
        BulkSubmitError: if there is no answer, or Dask is not installed.
    """
    from bulksubmit.distribute.cluster import (  # noqa: PLC0415 - an extra
        close,
        connect,
        local_cluster,
    )

    client = connect(scheduler) if scheduler else local_cluster(workers)
    try:
        return dask_crew(
            client, host=host, port=port, shard_bytes=shard_bytes, close=partial(close, client)
        )
    except BaseException:
        close(client)
        raise


def default_crew(credential: SharedKey | EntraToken) -> Crew:
    """As many processes as this machine has cores for."""
    return local_crew(cores(), credential)
