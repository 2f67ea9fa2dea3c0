"""The job's own list of its tasks: the authority on which IDs exist."""

from collections.abc import AsyncIterator
from random import Random
from typing import Protocol

import anyio

from bulksubmit.core.backoff import PRESSURE_BACKOFF
from bulksubmit.core.wire import TaskPage
from bulksubmit.errors import ServiceUnreachable
from bulksubmit.service.replies import Unavailable

TRIES_MAX = 8  # A minute or so, with full jitter.


class Lister(Protocol):
    """Where tasks can be listed."""

    async def list_tasks(self, link: str | None = None) -> TaskPage | Unavailable:
        """Get a page: the first, or the one that the page before links to."""


async def task_ids(lister: Lister, random: Random) -> AsyncIterator[list[str]]:
    """The IDs of the job's tasks, a page at a time, in the service's order.

    Raises:
        ServiceRefused: if the job does not exist, or we may not ask.
        ServiceUnreachable: if a page cannot be had, patiently asked for.
    """
    page = await _page(lister, None, random)
    while True:
        yield [task.id for task in page.value]
        if page.next_link is None:
            return
        page = await _page(lister, page.next_link, random)


async def _page(lister: Lister, link: str | None, random: Random) -> TaskPage:
    reason = ""
    for failures in range(1, TRIES_MAX + 1):
        page = await lister.list_tasks(link)
        if isinstance(page, TaskPage):
            return page
        reason = page.reason
        delay_s = PRESSURE_BACKOFF.delay_s(failures, random)
        await anyio.sleep(max(delay_s, page.retry_after_s or 0.0))
    raise ServiceUnreachable(f"the tasks cannot be listed: {reason}", name_unknown=False)
