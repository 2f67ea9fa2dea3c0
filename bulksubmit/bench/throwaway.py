"""The job that throw-away tasks go to: made here, harmless, and deleted if so told.

Its pool does not exist. The service's reference (PoolInformation.poolId) says that such a job is
not refused, and that none of its tasks run until somebody makes that pool. Its ID is drawn, as the
job's is, so that nobody does by accident. Should the job be forgotten, it ends by itself after
LASTS, and counts no more among the account's active jobs.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol, TypeVar

import anyio

from bulksubmit.core.backoff import PRESSURE_BACKOFF
from bulksubmit.core.wire import encode_new_job
from bulksubmit.errors import ServiceRefused, ServiceUnreachable
from bulksubmit.service.replies import Unavailable

PREFIX, POOL_PREFIX = "bulksubmit-bench-", "no-such-pool-"
LASTS = "P1D"
PATIENCE_S = 20.0

_T = TypeVar("_T")


class Jobs(Protocol):
    """Where the job is made and deleted; a Transport of its ID."""

    async def create_job(self, job: bytes) -> bool | Unavailable:
        """Create the job; False if there is one of its ID.

        Raises:
            ServiceRefused: if it cannot be.
        """

    async def delete_job(self) -> Unavailable | None:
        """Delete the job and its tasks; None also if there is none.

        Raises:
            ServiceRefused: if it cannot be.
        """


class ThrowAwayJob:
    """A job of our own.

    Attributes:
        id: Its ID.
        perhaps_there: It is there, or may be: it was asked for.
        deleted: It was deleted.
    """

    def __init__(self, random: Random) -> None:
        """Draw its ID.

        Args:
            random: A good one, such as SystemRandom: no other job has the ID.
        """
        self._suffix, self._random = f"{random.getrandbits(64):016x}", random
        self.id = PREFIX + self._suffix
        self.perhaps_there = self.deleted = False

    async def create(self, jobs: Jobs) -> None:
        """Make it. Since its ID is drawn, one that is there was made by an earlier try.

        Raises:
            ServiceRefused: if the service does not make it.
            ServiceUnreachable: if it does not answer.
        """
        body = encode_new_job(
            self.id,
            pool_id=POOL_PREFIX + self._suffix,
            display_name="Throw-away tasks of bulksubmit bench: none of them runs; delete at will",
            lasts=LASTS,
        )

        async def create() -> bool | Unavailable:
            before, self.perhaps_there = self.perhaps_there, True
            try:
                answer = await jobs.create_job(body)
            except ServiceRefused:
                self.perhaps_there = before
                raise
            if isinstance(answer, Unavailable) and not answer.sent:
                self.perhaps_there = before
            return answer

        await self._patiently("the job cannot be created", create)

    async def delete(self, jobs: Jobs) -> None:
        """Delete it, and its tasks with it.

        Raises:
            ServiceRefused: if the service does not.
            ServiceUnreachable: if it does not answer.
        """
        await self._patiently(f"the job {self.id} cannot be deleted", jobs.delete_job)
        self.perhaps_there, self.deleted = False, True

    async def _patiently(self, what: str, ask: Callable[[], Awaitable[_T | Unavailable]]) -> _T:
        ends_s = anyio.current_time() + PATIENCE_S
        failures = 0
        while isinstance(answer := await ask(), Unavailable):
            failures += 1
            delay_s = PRESSURE_BACKOFF.delay_s(failures, self._random)
            delay_s = max(delay_s, answer.retry_after_s or 0.0)
            if answer.name_unknown or anyio.current_time() + delay_s > ends_s:
                reason = f"{what}: {answer.reason}"
                raise ServiceUnreachable(reason, name_unknown=answer.name_unknown)
            await anyio.sleep(delay_s)
        return answer
