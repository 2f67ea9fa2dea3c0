"""Reads back the tasks that exist under given IDs: by pages of lists, hardly ever one by one.

A list is restricted to the IDs from the first one wanted to the last. Where foreign tasks lie in
between, the next list begins at the next ID wanted: a page serves at least one ID, and millions of
foreign tasks are jumped over instead of walked through. So 1,000 neighbours take a page or a few,
and any 1,000 IDs that exist at most 1,000 lists.

Lists were ascending by ID whenever they were recorded, but nobody promises that, nor how the
service orders letters and underscores. So the order only makes it quick: an ID that should have
been on a page and was not is absent only if a list restricted to it alone does not show it.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from bulksubmit.core.model import Lost, ReadBack, Reading, Task
from bulksubmit.core.taskfields import fields_of
from bulksubmit.core.taskspec import TaskAddParameter
from bulksubmit.core.wire import ListedTask, TaskPage, TaskRange
from bulksubmit.service.replies import Unavailable

PAGE_MAX = 1000  # REST reference, maxresults.
_PAGE_MIN = 50  # Where foreign tasks lie between, few are read in vain.
# Half of what the transport takes in one answer.
_PAGE_BYTES = 8 * 2**20
_SHOWN_BYTES = 1000  # What the service adds to a task, if everything is shown: about 900.
_EMPTY_PAGES_MAX = 100  # In a row. A page may be empty and have a next one; not for ever.

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Lister(Protocol):
    """Where tasks can be looked up."""

    async def list_tasks(
        self, link: str | None = None, *, within: TaskRange | None = None
    ) -> TaskPage | Unavailable:
        """Get a page: of the tasks in a range, or the one that the page before links to.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
        """

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        """Get one task; None if there is none of this ID.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
        """


class TaskReader:
    """Reads tasks back, and remembers how large a page may be."""

    def __init__(self, lister: Lister) -> None:
        self._lister = lister
        self._page_max = PAGE_MAX  # Halved when a page cannot be had: it may be too large.

    async def read(self, read: ReadBack) -> Reading:
        """What exists under the IDs of these tasks.

        The first answer that is of no use ends it: when to go on, the caller knows.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
        """
        found: dict[str, bytes | None] = {}
        if read.one_by_one:
            lost = await self._get_each(read.tasks, found)
        else:
            lost = await self._list_all(read.tasks, found)
        return Reading(found, lost)

    async def _get_each(self, tasks: Iterable[Task], found: dict[str, bytes | None]) -> Lost | None:
        for task_id in {task.id.lower(): task.id for task in tasks}.values():
            task = await self._lister.get_task(task_id)
            if isinstance(task, Unavailable):
                return _lost(task)
            found[task_id.lower()] = task.body if task else None
        return None

    async def _list_all(self, tasks: Sequence[Task], found: dict[str, bytes | None]) -> Lost | None:
        wanted = sorted({task.id.lower() for task in tasks})
        fields = fields_sent(tasks)
        page_max = min(PAGE_MAX, max(1, _PAGE_BYTES // _shown_bytes(tasks)))
        # Where both orders agree, the IDs from the first to the last are the same in both.
        ordered = wanted == sorted(wanted, key=str.upper)
        size = page_max
        spans = [wanted]
        while spans:
            ids = spans.pop()
            size = max(1, min(size, page_max, self._page_max))
            page = await self._page(TaskRange(ids[0], ids[-1], fields, size))
            if isinstance(page, Unavailable):
                return _lost(page)
            served = _take(page, set(ids), found)
            unseen = [task_id for task_id in ids if task_id not in found]
            ended = page.next_link is None
            if unseen and len(ids) == 1 and not ended:
                return Lost("a list that is restricted to one ID shows others", sent=True)
            if ended and (ordered or len(ids) == 1):
                found |= dict.fromkeys(unseen)
                continue
            last = max((task.id.lower() for task in page.value), default=ids[-1])
            passed = [i for i in unseen if ended or i <= last or i == ids[0]]
            ahead = unseen[len(passed) :]
            spans += [[task_id] for task_id in reversed(passed)]
            spans += [ahead] if ahead else []
            size = 2 * size if served > 1 else max(_PAGE_MIN, size // 2)
        return None

    async def _page(self, within: TaskRange) -> TaskPage | Unavailable:
        """A page of a range that holds something, or the last one."""
        page = await self._lister.list_tasks(within=within)
        for _ in range(_EMPTY_PAGES_MAX):
            if isinstance(page, Unavailable):
                if page.sent and page.retry_after_s is None:
                    self._page_max = max(1, self._page_max // 2)
                return page
            if page.value or page.next_link is None:
                self._page_max = min(PAGE_MAX, 2 * self._page_max)
                return page
            page = await self._lister.list_tasks(page.next_link)
        return Unavailable("a list goes on for ever without a task", sent=True, answered=True)


def fields_sent(tasks: Iterable[Task]) -> tuple[str, ...] | None:
    """What to ask of a list, so that tasks can be compared with what it shows.

    Returns:
        The top-level fields that any of them has, and ``id``; None, for everything, if there is
        one that the model does not know: who knows whether a list does.
    """
    sent = {"id"}
    for task in tasks:
        sent |= _members.decode(task.body).keys()
    known = fields_of(TaskAddParameter)
    return tuple(sorted(sent)) if sent <= known.keys() else None


def _shown_bytes(tasks: Sequence[Task]) -> int:
    """What a task takes on a page, by the tasks that were sent; foreign ones may take more."""
    return 2 * sum(len(task.body) for task in tasks) // len(tasks) + _SHOWN_BYTES


def _take(page: TaskPage, wanted: set[str], found: dict[str, bytes | None]) -> int:
    """Keep what is wanted of a page; how many that were."""
    served = {task.id.lower(): task.body for task in page.value}
    served = {task_id: served[task_id] for task_id in wanted & served.keys()}
    found |= served
    return len(served)


def _lost(unavailable: Unavailable) -> Lost:
    return Lost(unavailable.reason, unavailable.sent, unavailable.retry_after_s)
