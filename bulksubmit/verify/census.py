"""Lists a whole job, in parts at the same time, and asks for single tasks: patiently."""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Protocol, Self, TypeVar

import anyio
from anyio import CapacityLimiter

from bulksubmit.core.backoff import PRESSURE_BACKOFF
from bulksubmit.core.events import Observer
from bulksubmit.core.patience import Patience
from bulksubmit.core.spans import Span, split
from bulksubmit.core.wire import ListedTask, TaskPage, TaskSpan
from bulksubmit.errors import ServiceUnreachable
from bulksubmit.service.replies import Unavailable

PAGE_MAX = 1000  # REST reference, maxresults.

# A part of 10,000 IDs has ten pages. One of 16 holds what nobody expected, and is split; or later,
# at each doubling, once there are too few parts. So at most as many pages are listed twice as once.
SPLIT_PAGES_MIN = 16
PARTS_A_PLACE = 4  # No more are made while there are so many for each list that may go on.

_LOOK_S_MAX = 0.25  # Between two looks whether a hold is over, which an answer may end early.
_FAILURES_A_LINK_MAX = 4  # Then the part is listed again, with smaller pages.
_EMPTY_PAGES_MAX = 1000  # In a row. A page may be empty and have a next one; not for ever.

_T = TypeVar("_T")


class Lister(Protocol):
    """Where tasks can be looked up."""

    async def list_tasks(
        self, link: str | None = None, *, within: TaskSpan | None = None
    ) -> TaskPage | Unavailable:
        """Get a page: of the tasks in a stretch of IDs, or the one that the page before links to.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
        """

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        """Get one task; None if there is none of this ID.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
        """


class Census:
    """Looks at the tasks of a job.

    Attributes:
        requests: How many were sent.
        listed: How many tasks were on the pages of the list that is made, those that come again
            counted once.
        fields: What to show of each task, by the names on the wire; None for everything.
    """

    def __init__(
        self,
        lister: Lister,
        *,
        places: int,
        retry_timeout_s: float,
        random: Random,
        observer: Observer,
    ) -> None:
        """Look at nothing yet.

        Args:
            lister: The service.
            places: Requests in flight at most.
            retry_timeout_s: It gives up after so long without any good answer.
            random: For jitter.
            observer: Told when asking is held back, and when it goes on.
        """
        self._lister, self._places, self._random = lister, places, random
        self._patience = Patience(retry_timeout_s, random, observer)
        self._retry_timeout_s = retry_timeout_s
        self.requests = self.listed = 0
        self.fields: tuple[str, ...] | None = ("id",)
        self.page_max = PAGE_MAX
        self._in_flight = self._unfinished = 0
        self._again = 0  # Tasks that were listed, and are going to be once more.
        self._good_s = -math.inf  # When the last good answer came.

    async def list_all(
        self, spans: Iterable[Span], take: Callable[[Sequence[ListedTask]], None]
    ) -> None:
        """Every task of the job, a page at a time, in no order; some more than once.

        Args:
            spans: The whole list, in parts.
            take: Given each page.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
            ServiceUnreachable: if a page cannot be had, patiently asked for.
            Exception: what ``take`` raises.
        """
        self.listed, self._unfinished, self._again = 0, 0, 0
        places = CapacityLimiter(self._places)
        async with _Beside() as beside:

            async def list_part(span: Span, *, splits: bool) -> None:
                async with places:
                    parts = await self._list(span, take, splits=splits)
                # What was seen of it is all in the first part, as a rule: never that one again.
                for number, part in enumerate(parts):
                    begin(part, splits=number > 0)
                self._unfinished -= 1

            def begin(span: Span, *, splits: bool) -> None:
                self._unfinished += 1
                beside.start(partial(list_part, span, splits=splits))

            for span in spans:
                begin(span, splits=True)

    async def get_each(
        self, ids: Iterable[str], take: Callable[[Sequence[ListedTask]], None]
    ) -> None:
        """Those tasks that there are of these IDs.

        Raises:
            Exception: as list_all().
        """
        places = CapacityLimiter(self._places)
        async with _Beside() as beside:

            async def get(task_id: str) -> None:
                async with places:
                    task = await self._patiently(lambda: self._lister.get_task(task_id))
                if task is not None:
                    take([task])

            for task_id in ids:
                beside.start(partial(get, task_id))

    async def _list(
        self, span: Span, take: Callable[[Sequence[ListedTask]], None], *, splits: bool
    ) -> Sequence[Span]:
        """List a part to its end; or, if it is long, to where it is split, and in what."""
        link: str | None = None
        pages = empty = seen = 0
        while True:
            page = await self._page(span, link)
            if page is None:  # Not to be had by this link: from the beginning.
                self._again += seen
                link, seen = None, 0
                continue
            take(page.value)
            seen += len(page.value)
            self._count(len(page.value))
            link, pages = page.next_link, pages + 1
            if link is None:
                return ()
            empty = 0 if page.value else empty + 1
            if empty > _EMPTY_PAGES_MAX:
                reason = "the tasks cannot be listed: a list goes on for ever without a task"
                raise ServiceUnreachable(reason, name_unknown=False)
            if splits and page.value and self._is_long(pages):
                parts = split(span, [task.id.lower() for task in page.value])
                if parts:
                    self._again += seen
                    return parts

    def _count(self, tasks: int) -> None:
        repeated = min(self._again, tasks)
        self._again -= repeated
        self.listed += tasks - repeated

    def _is_long(self, pages: int) -> bool:
        doubled = pages >= SPLIT_PAGES_MIN and not pages & (pages - 1)
        return doubled and self._unfinished < PARTS_A_PLACE * self._places

    async def _page(self, span: Span, link: str | None) -> TaskPage | None:
        """A page; None if its link is of no use any more."""

        async def ask() -> TaskPage | Unavailable:
            if link is not None:
                return await self._lister.list_tasks(link)
            within = TaskSpan(span.low, span.high, self.fields, self.page_max)
            return await self._lister.list_tasks(within=within)

        def fails(answer: Unavailable) -> None:
            # It may be too large to be sent in time, or to be taken.
            if answer.sent and answer.retry_after_s is None and self.fields != ("id",):
                self.page_max = max(1, self.page_max // 2)

        tries_max = _FAILURES_A_LINK_MAX if link is not None else None
        return await self._patiently(ask, fails, tries_max)

    async def _patiently(
        self,
        ask: Callable[[], Awaitable[_T | Unavailable]],
        fails: Callable[[Unavailable], None] = lambda _: None,
        tries_max: int | None = None,
    ) -> _T | None:
        """Ask until there is a good answer; None after so many tries.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
            ServiceUnreachable: after the retry timeout without a good answer to anybody.
        """
        failures = 0
        began_s = anyio.current_time()
        while True:
            answer = await self._ask(ask)
            now_s = anyio.current_time()
            if not isinstance(answer, Unavailable):
                self._good_s = now_s
                return answer
            failures += 1
            fails(answer)
            asked_s = answer.retry_after_s or 0.0
            waited_s = now_s - max(began_s, self._good_s)
            if max(waited_s, asked_s) >= self._retry_timeout_s:
                back = f"; it asks to come back in {asked_s:g} s" if asked_s else ""
                raise ServiceUnreachable(
                    f"no usable answer for {waited_s:.0f} s: {answer.reason}{back}",
                    name_unknown=answer.name_unknown and self._good_s == -math.inf,
                )
            if failures == tries_max:
                return None
            await anyio.sleep(PRESSURE_BACKOFF.delay_s(failures, self._random))

    async def _ask(self, ask: Callable[[], Awaitable[_T | Unavailable]]) -> _T | Unavailable:
        """Ask once, as soon as nothing holds it back."""
        hold = self._patience.hold
        while (wait_s := self._held_s()) > 0:  # noqa: ASYNC110 - mostly for a time, no event
            await anyio.sleep(min(_LOOK_S_MAX, wait_s))
        self.requests += 1
        number = self.requests
        self._patience.sent(number)
        self._in_flight += 1
        try:
            answer = await ask()
            now_s = anyio.current_time()
            if isinstance(answer, Unavailable):
                hold.pressure(number, answer.reason, in_flight=self._in_flight, now_s=now_s)
                self._patience.keep_off(answer.reason, answer.retry_after_s, now_s)
            else:
                hold.clean()
        finally:
            self._in_flight -= 1
        return answer

    def _held_s(self) -> float:
        now_s = anyio.current_time()
        return self._patience.opens_s(now_s) - now_s


class _Beside:
    """Coroutines that run beside each other until all have ended, or one has failed."""

    def __init__(self) -> None:
        self._group = anyio.create_task_group()
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._group.__aexit__(None, None, None)
        if self._error:  # Out of the group, which would wrap it.
            raise self._error

    def start(self, coroutine: Callable[[], Awaitable[None]]) -> None:
        """Begin one."""
        self._group.start_soon(self._run, coroutine)

    async def _run(self, coroutine: Callable[[], Awaitable[None]]) -> None:
        try:
            await coroutine()
        except Exception as error:  # noqa: BLE001 - raised at the end
            self._error = self._error or error
            self._group.cancel_scope.cancel()
