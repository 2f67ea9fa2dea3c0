"""Reading back: what is found is the truth, in few requests, whatever the service's order."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random

import pytest

from bulksubmit.core.model import Lost, ReadBack, Reading, Task
from bulksubmit.core.wire import ListedTask, TaskPage, TaskRange
from bulksubmit.readback import TaskReader, fields_sent
from bulksubmit.service.replies import Unavailable
from tests.core.helpers import make_task


class Listing:
    """Lists tasks, in an order of its own.

    Attributes:
        ids: As they were created.
        requests: What was asked for: ranges, links and IDs.
        order: By what IDs are compared and sorted.
        shuffled: Whether the pages are in no order at all.
        short: How many tasks a page has, by how many it may have.
        too_large: A page of more tasks than this cannot be had.
        fails_at: Which request gets no answer, 0 for the first.
        unavailable: What it gets instead.
    """

    def __init__(self, ids: Iterable[str], *, order: Callable[[str], str] = str.lower) -> None:
        self.ids = sorted(ids, key=order)
        self.order = order
        self.requests: list[TaskRange | str] = []
        self.shuffled = False
        self.short: Callable[[int], int] = lambda page_max: page_max
        self.too_large = 1000
        self.fails_at: int | None = None
        self.unavailable = Unavailable("502", sent=True, answered=True)
        self._rest: dict[str, tuple[list[str], int]] = {}

    async def list_tasks(
        self, link: str | None = None, *, within: TaskRange | None = None
    ) -> TaskPage | Unavailable:
        what = link or within
        assert what is not None
        if self._fails(what):
            return self.unavailable
        if within is not None:
            ids, page_max = self._within(within), within.page_max
        else:
            ids, page_max = self._rest[str(link)]
        size = self.short(page_max)
        if min(size, len(ids)) > self.too_large:
            return Unavailable("the answer is too long", sent=True)
        page, rest = ids[:size], ids[size:]
        next_link = f"link {len(self.requests)}" if rest else None
        if next_link:
            self._rest[next_link] = rest, page_max
        return TaskPage([ListedTask(i, i.encode()) for i in page], next_link)

    def _within(self, within: TaskRange) -> list[str]:
        first, last = self.order(within.first), self.order(within.last)
        ids = [task_id for task_id in self.ids if first <= self.order(task_id) <= last]
        if self.shuffled:
            Random(len(self.requests)).shuffle(ids)
        return ids

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        if self._fails(task_id):
            return self.unavailable
        for each in self.ids:
            if each.lower() == task_id.lower():
                return ListedTask(each, each.encode())
        return None

    def _fails(self, what: TaskRange | str) -> bool:
        self.requests.append(what)
        return len(self.requests) - 1 == self.fails_at


class Numbered(Listing):
    """So many tasks, ``t-0000000`` and upwards, none of which takes memory."""

    def __init__(self, count: int) -> None:
        super().__init__(())
        self.count = count

    def _within(self, within: TaskRange) -> list[str]:
        first, last = (int(task_id[2:]) for task_id in (within.first, within.last))
        stop = min(self.count, last + 1, first + within.page_max + 1)
        return [f"t-{n:07}" for n in range(first, stop)]


def read(lister: Listing, ids: Iterable[str], *, one_by_one: bool = False) -> Reading:
    """Read tasks of these IDs back."""
    return again(TaskReader(lister), ids, one_by_one=one_by_one)


def again(reader: TaskReader, ids: Iterable[str], *, one_by_one: bool = False) -> Reading:
    tasks = tuple(make_task(n, task_id=task_id) for n, task_id in enumerate(ids))
    return asyncio.run(reader.read(ReadBack(1, tasks, one_by_one)))


def truth(lister: Listing, ids: Iterable[str]) -> dict[str, bytes | None]:
    held = {task_id.lower(): task_id.encode() for task_id in lister.ids}
    return {task_id.lower(): held.get(task_id.lower()) for task_id in ids}


def test_a_thousand_neighbours_take_one_page() -> None:
    """
    1,000 IDs next to each other, among a million, are one list of one page.
    """
    lister = Numbered(1_000_000)
    ids = [f"t-{n:07}" for n in range(500_000, 501_000)]

    reading = read(lister, ids)

    assert reading == Reading({task_id: task_id.encode() for task_id in ids})
    assert len(lister.requests) == 1


def test_gaps_of_a_hundred_take_a_list_for_each_ten() -> None:
    """
    Where every hundredth task is ours, pages are read through: 100,000 tasks are 100 pages.
    """
    lister = Numbered(1_000_000)
    ids = [f"t-{n:07}" for n in range(0, 100_000, 100)]

    reading = read(lister, ids)

    assert len(reading.found) == 1000
    assert len(lister.requests) <= 101


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_scattered_take_at_most_as_many_lists(seed: int) -> None:
    """
    1,000 IDs anywhere among a million foreign ones take no more than 1,000 lists, and where
    there is next to nothing of ours on a page the pages become small.
    """
    lister = Numbered(1_000_000)
    ids = [f"t-{n:07}" for n in Random(seed).sample(range(1_000_000), 1000)]

    reading = read(lister, ids)

    assert reading.lost is None
    assert reading.found == {task_id: task_id.encode() for task_id in ids}
    assert len(lister.requests) <= 1000
    asked = [within.page_max for within in lister.requests if isinstance(within, TaskRange)]
    assert sum(asked) < 500_000


def test_absent_ones_take_two_lists_at_most() -> None:
    """
    IDs that do not exist, each among many that do, are absent only after a list of their own.
    """
    lister = Listing(f"t-{n:07}" for n in range(20_000))
    lister.short = lambda page_max: min(page_max, 100)
    ids = [f"t-{n:07}x" for n in range(0, 20_000, 1000)]

    reading = read(lister, ids)

    assert reading == Reading(dict.fromkeys(ids))
    assert len(lister.requests) <= 2 * len(ids)


def test_where_there_is_nothing_one_list_says_so() -> None:
    """
    A list that was read to its end proves at once that all of its range are absent.
    """
    lister = Listing(["other"])
    ids = [f"t{n}" for n in range(1000)]

    assert read(lister, ids) == Reading(dict.fromkeys(ids))
    assert len(lister.requests) == 1


@pytest.mark.parametrize("order", [str.lower, str.upper], ids=["lower", "upper"])
@pytest.mark.parametrize("shuffled", [False, True], ids=["ordered", "in no order"])
@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_is_the_truth(
    order: Callable[[str], str],
    shuffled: bool,  # noqa: FBT001 - a parameter set
    seed: int,
) -> None:
    """
    Whether the service folds to lower or to upper case, which puts the underscore elsewhere;
    whether it lists in order or not; whether its pages are short or empty: what exists is
    found, and nothing else, in a few requests an ID.
    """
    random = Random(seed)
    everything = sorted({"".join(random.choices("abAB_-1", k=3)) for _ in range(300)}, key=str)
    everything = list({task_id.lower(): task_id for task_id in everything}.values())
    lister = Listing(random.sample(everything, len(everything) // 2), order=order)
    lister.shuffled = shuffled
    page_max = random.choice([1, 3, 20, 1000])
    empty = random.choice([0.0, 0.3])
    lister.short = lambda most: 0 if random.random() < empty else min(page_max, most)
    ids = random.sample(everything, random.randint(1, len(everything)))
    spelled = [random.choice([task_id.lower(), task_id.upper()]) for task_id in ids]

    reading = read(lister, spelled)

    assert reading == Reading(truth(lister, ids))
    assert len(lister.requests) <= 5 * len(ids)


def test_one_by_one_gets_each() -> None:
    """
    What lists have failed to show is got by its ID, each but once.
    """
    lister = Listing(["a", "B"])

    reading = read(lister, ["A", "b", "c", "a"], one_by_one=True)

    assert reading == Reading({"a": b"a", "b": b"B", "c": None})
    assert len(lister.requests) == 3


@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_was_read_before_a_failure_is_kept(
    one_by_one: bool,  # noqa: FBT001 - a parameter set
) -> None:
    """
    The first answer of no use ends a read-back, with what was found until then, the reason, and
    for how long to keep off.
    """
    lister = Listing(f"t{n}" for n in range(9))
    lister.short = lambda _: 3
    lister.fails_at = 1
    lister.unavailable = Unavailable("429", sent=True, answered=True, retry_after_s=7.0)

    reading = read(lister, [f"t{n}" for n in range(9)], one_by_one=one_by_one)

    assert reading.lost == Lost("429", sent=True, retry_after_s=7.0)
    assert reading.found == truth(lister, [f"t{n}" for n in range(1 if one_by_one else 3)])
    assert len(lister.requests) == 2


def test_pages_that_cannot_be_had_are_halved() -> None:
    """
    A page may be too large to be had, for the sake of foreign tasks: each next try asks for
    half, until it is had; then for more again.
    """
    lister = Listing(f"t{n:03}" for n in range(1000))
    lister.too_large = 99
    reader = TaskReader(lister)
    ids = [f"t{n:03}" for n in range(1000)]

    tries = 0
    while (reading := again(reader, ids)).lost:
        ids = [task_id for task_id in ids if task_id not in reading.found]
        tries += 1

    assert tries <= 30
    lister.too_large = 1000
    again(reader, ids)
    lister.requests.clear()
    assert not again(reader, lister.ids).lost
    assert len(lister.requests) <= 6


def test_pages_of_large_tasks_are_small() -> None:
    """
    How many tasks a page may have goes by how large ours are: 8 MiB, of the 16 MiB that an
    answer may have.
    """
    large = [make_task(n, body_bytes=200_000) for n in range(100)]
    lister = Listing(task.id for task in large)

    asyncio.run(TaskReader(lister).read(ReadBack(1, tuple(large), one_by_one=False)))

    asked = [within.page_max for within in lister.requests if isinstance(within, TaskRange)]
    assert max(asked) == 20


def test_a_list_without_an_end_is_given_up() -> None:
    """
    Pages may be empty and have a next one; not for ever.
    """
    lister = Listing(["a", "b"])
    lister.short = lambda _: 0

    reading = read(lister, ["a", "b"])

    assert reading.found == {}
    assert reading.lost is not None
    assert "for ever" in reading.lost.reason


def test_a_list_that_shows_others_is_given_up() -> None:
    """
    A service that does not understand the filter is not believed.
    """

    class Unfiltered(Listing):
        def _within(self, _within: TaskRange) -> list[str]:
            return self.ids

    lister = Unfiltered(["a", "b", "c"])
    lister.short = lambda _: 1

    reading = read(lister, ["b"])

    assert reading.found == {}
    assert reading.lost is not None
    assert "shows others" in reading.lost.reason


def bodies(*fields: bytes) -> Sequence[Task]:
    """A task for each of these: what it has beside its ID and command line."""
    start = b'{"id":"t","commandLine":"x"'
    return [Task(n, n + 1, "t", start + field + b"}") for n, field in enumerate(fields)]


def test_only_what_was_sent_is_asked_for() -> None:
    """
    Lists are to show the fields that any of the tasks has, and no other.
    """
    tasks = bodies(b"", b',"displayName":"d"', b',"constraints":{"maxTaskRetryCount":1}')

    assert fields_sent(tasks) == ("commandLine", "constraints", "displayName", "id")


def test_unknown_fields_ask_for_everything() -> None:
    """
    Who knows whether a list can be asked for a field that the model does not know.
    """
    assert fields_sent(bodies(b"", b',"newerThanUs":1')) is None
