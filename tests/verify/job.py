"""A job in process that lists as oddly as a service may."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio

from bulksubmit.core.wire import Job, ListedTask, TaskPage, TaskSpan
from bulksubmit.service.replies import Unavailable


@dataclass
class OddJob:
    """Tasks, and how they are shown.

    Attributes:
        tasks: Bodies by ID, as the service spells it.
        order: By what it compares IDs.
        shuffled: Whether pages are in no order at all.
        page_max: How many tasks a page has at most; each has from none to so many.
        failing: How many requests fail, 0 to 1.
        retry_after_s: What a failure asks to wait, now and then.
        unseen: IDs that lists do not show, folded, by how many lists of all that is so.
        random: For all this.
        queries: What was asked for first, by stretches.
        requests: How many came.
        in_flight_peak: How many there were at one time.
    """

    tasks: Mapping[str, bytes]
    order: Callable[[str], Any] = str
    shuffled: bool = False
    page_max: int = 1000
    failing: float = 0.0
    retry_after_s: float | None = None
    unseen: Mapping[str, int] = field(default_factory=dict)
    random: Random = field(default_factory=lambda: Random(1))
    queries: list[TaskSpan] = field(default_factory=list)
    requests: int = 0
    in_flight_peak: int = 0
    lists: int = 0
    _in_flight: int = 0
    _links: dict[str, tuple[list[str], int]] = field(default_factory=dict)

    async def get_job(self) -> Job | Unavailable:
        return Job("job-1", "completed")

    async def list_tasks(
        self, link: str | None = None, *, within: TaskSpan | None = None
    ) -> TaskPage | Unavailable:
        if failure := await self._fails():
            return failure
        if within is not None:
            self.queries.append(within)
            self.lists += within.low is None  # The first part of each list.
            ids, page_max = self._between(within), within.page_max
            if self.shuffled:
                self.random.shuffle(ids)
        else:
            ids, page_max = self._links[str(link)]
        # Now and then a page is shorter than it could be, or empty.
        size = min(page_max, self.page_max)
        if self.random.random() < 0.2:
            size = self.random.randrange(size + 1)
        page, rest = ids[:size], ids[size:]
        next_link = f"link {len(self._links)}" if rest or self.random.random() < 0.1 else None
        if next_link:
            self._links[next_link] = rest, page_max
        return TaskPage([ListedTask(each, self.tasks[each]) for each in page], next_link)

    def _between(self, span: TaskSpan) -> list[str]:
        def shown(task_id: str) -> bool:
            rank = self.order(task_id.lower())
            return (
                (span.low is None or rank >= self.order(span.low))
                and (span.high is None or not rank >= self.order(span.high))
                and (not (lists := self.unseen.get(task_id.lower())) or self.lists > lists)
            )

        return sorted(filter(shown, self.tasks), key=lambda one: self.order(one.lower()))

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        if failure := await self._fails():
            return failure
        for each, body in self.tasks.items():
            if each.lower() == task_id.lower():
                return ListedTask(each, body)
        return None

    async def _fails(self) -> Unavailable | None:
        self.requests += 1
        self._in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self._in_flight)
        await anyio.sleep(self.random.random())
        self._in_flight -= 1
        if self.random.random() >= self.failing:
            return None
        wait_s = self.retry_after_s if self.random.random() < 0.5 else None
        return Unavailable("503", sent=True, answered=True, retry_after_s=wait_s)


def numbered(numbers: Iterable[int]) -> dict[str, bytes]:
    """Tasks ``T-000000`` and upwards, spelled as the service likes to."""
    return {f"T-{n:06}": b'{"id":"T-%06d","commandLine":"%d"}' % (n, n) for n in numbers}
