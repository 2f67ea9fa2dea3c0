"""A sharded run against an emulator, by threads of this process or by processes."""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from bulksubmit import BulkSubmitError, Settings, SharedKey, stream
from bulksubmit.distribute.crew import Crew
from bulksubmit.producer.source import AnySource
from tests.end_to_end.account import JOB_ID, KEY, NAME, Account, Flood


def make_credential() -> SharedKey:
    """In the worker."""
    return SharedKey(NAME, KEY)


@asynccontextmanager
async def threads(workers: int, *, shard_bytes: int | None = None) -> AsyncIterator[Crew]:
    """Workers that need no process each."""
    with ThreadPoolExecutor(workers) as pool:
        yield Crew(pool, workers, shard_bytes=shard_bytes, make_credential=make_credential)


async def flood(
    account: Account,
    source: AnySource,
    crew: Crew,
    settings: Settings | None = None,
    *,
    job_id: str = JOB_ID,
) -> Flood:
    """Submit a source by a crew, whatever end it has."""
    ended = Flood()

    outcomes = None
    try:
        async with stream(
            source,
            job_id=job_id,
            endpoint=account.endpoint,
            credential=make_credential(),
            settings=settings,
            observer=ended.events.append,
            executor=crew,
        ) as outcomes:
            async for outcome in outcomes:
                ended.outcomes.append(outcome)
    except BulkSubmitError as error:
        ended.error = error
    if outcomes:
        ended.ended = outcomes.report
    return ended


class Unlucky(Executor):
    """Runs calls in threads, but for those that it is told to lose.

    Attributes:
        lost: How many it has lost.
    """

    def __init__(self, workers: int, *, loses: Callable[[Any], bool]) -> None:
        self._pool = ThreadPoolExecutor(workers)
        self._loses = loses
        self.lost = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if self._loses(args[0]):
            self.lost += 1
            future: Future[Any] = Future()
            future.set_exception(RuntimeError("the worker was killed by SIGKILL"))
            return future
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Executor has it
        with suppress(RuntimeError):
            self._pool.shutdown(wait, cancel_futures=cancel_futures)
