"""Shards to the executor, and what becomes of its futures."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from bulksubmit.distribute.crew import Crew
from bulksubmit.distribute.hall import Hall
from bulksubmit.distribute.roster import Roster
from bulksubmit.distribute.worker import run_shard
from bulksubmit.errors import NotConverged
from bulksubmit.pool import Signal

if TYPE_CHECKING:
    from concurrent.futures import Future

WINDOW_PER_WORKER = 2  # So that no worker waits for its next shard.
LAST_REASON_S = 2.0  # For the executor to say what became of the last workers.


class Dispatch:
    """Hands out shards.

    Attributes:
        changed: Set it when the roster, or who is in the hall, has changed.
    """

    def __init__(
        self,
        crew: Crew,
        roster: Roster,
        hall: Hall,
        *,
        running_max: int,
        before: Callable[[int], Awaitable[object]] | None,
    ) -> None:
        """Hand out nothing yet.

        Args:
            crew: The workers.
            roster: Decides.
            hall: Where they are expected.
            running_max: How many may run: each has a request in flight, at least.
            before: Called before a shard is handed out.
        """
        self._crew, self._roster, self._hall = crew, roster, hall
        self._window = min(WINDOW_PER_WORKER * crew.workers, running_max)
        self._before = before
        self._futures: dict[Future[None], int] = {}
        self._returned: deque[tuple[int, str]] = deque()
        self._stopped = False
        self.changed = Signal()

    async def run(self) -> None:
        """Until every shard has ended, or is given up; when stopped, until no worker is left.

        Raises:
            NotConverged: if the executor takes no calls any more.
        """
        loop = asyncio.get_running_loop()

        def done(future: "Future[None]") -> None:
            loop.call_soon_threadsafe(self._done, future)

        while True:
            self._take_back()
            if self._roster.over:  # Maybe by what was just taken back: nothing more will come.
                break
            while not self._stopped and (number := self._roster.hand_out(self._window)) is not None:
                if self._before:
                    await self._before(number)
                call = self._hall.call(number)
                try:
                    future = self._crew.executor.submit(run_shard, call, self._crew.make_credential)
                except Exception as error:
                    raise NotConverged(f"the executor takes no work: {error}") from error
                self._futures[future] = number
                future.add_done_callback(done)
            if self._stopped and not self._hall.seats:
                return
            await self.changed.wait()
        # All have said their last word, but may still be on their way out of the call: a Dask
        # cluster that is closed now would complain of each. Of poisoned ones the reason is wanted.
        with anyio.move_on_after(LAST_REASON_S):
            while self._futures:
                await self.changed.wait()
        self._take_back()

    def stop(self) -> None:
        """Hand out nothing more, and take back what no worker has begun.

        A call that runs is not cancelled: some executors say that it was, and let it run.
        """
        self._stopped = True
        for future, number in [*self._futures.items()]:
            if number not in self._hall.seats:
                future.cancel()
        self.changed.set()

    def forget(self, number: int, why: str) -> None:
        """Wait no longer for what the executor says of a shard, whose worker hangs."""
        for future in [each for each, its in self._futures.items() if its == number]:
            del self._futures[future]
            self._crew.give_up(future)  # Or it would keep a place that others need.
        self._returned.append((number, why))
        self.changed.set()

    def _take_back(self) -> None:
        while self._returned:
            self._roster.returned(*self._returned.popleft())

    def _done(self, future: "Future[None]") -> None:
        """The executor has done with a call."""
        number = self._futures.pop(future, None)
        if number is None:
            return
        error = None if future.cancelled() else future.exception()
        why = f"{type(error).__name__}: {error}" if error else "it returned without a last word"
        self._returned.append((number, why))
        self.changed.set()
