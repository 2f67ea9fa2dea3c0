"""Collections: full, within their bounds, without an ID twice, in order."""

import math
from collections.abc import Callable, Sequence
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.model import Task
from bulksubmit.core.partitioner import (
    PASSED_OVER_MAX,
    Queue,
    cut,
    fills,
    halve,
    request_bytes,
)
from bulksubmit.core.wire import encode_collection
from tests.core.helpers import make_task, make_tasks

BYTES_MAX = 1_000_000


def make_queue(tasks: list[Task]) -> Queue:
    queue = Queue()
    queue.extend(tasks)
    return queue


def cut_all(
    queues: list[Queue], *, tasks_max: int = 100, bytes_max: int = BYTES_MAX
) -> list[Sequence[Task]]:
    collections: list[Sequence[Task]] = []
    while any(queues):
        collections.append(cut(queues, tasks_max=tasks_max, bytes_max=bytes_max))
        for queue in queues:
            assert queue.bytes == sum(len(task.body) + 1 for task in queue)
    return collections


Size = Callable[[Random], int]


def uniform(random: Random) -> int:
    return random.randint(100, 100_000)


def log_uniform(random: Random) -> int:
    return int(math.exp(random.uniform(math.log(100), math.log(100_000))))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [uniform, log_uniform])
def test_collections_are_full_and_within_their_bounds(size: Size, seed: int) -> None:
    """
    Tasks of 100 B to 100 kB: no request is larger than its bound, on the exact bytes sent,
    and on average each fills 95 % of the bound that it meets, tasks or bytes.
    """
    random = Random(seed)
    tasks = [make_task(n, body_bytes=size(random)) for n in range(2_000)]

    collections = cut_all([make_queue(tasks)])

    sizes = [len(encode_collection(collection)) for collection in collections]
    assert sizes == [request_bytes(collection) for collection in collections]
    assert max(sizes) <= BYTES_MAX
    assert max(len(collection) for collection in collections) <= 100
    fill = [
        max(len(collection) / 100, size / BYTES_MAX)
        for collection, size in zip(collections, sizes, strict=True)
    ]
    assert mean(fill[:-1]) >= 0.95


@settings(deadline=None)
@given(
    names=st.lists(st.sampled_from(["a", "A", "b", "B", "c", "dd", "Dd", "e"]), max_size=60),
    sizes=st.lists(st.integers(30, 400), min_size=1, max_size=60),
    split=st.integers(0, 60),
    tasks_max=st.integers(1, 9),
    bytes_max=st.integers(100, 1_000),
)
def test_nothing_is_lost_or_doubled_and_no_id_is_twice_in_a_request(
    names: list[str], sizes: list[int], split: int, tasks_max: int, bytes_max: int
) -> None:
    """
    Whatever the sizes and IDs, two queues are cut to the last task, each task once; no
    request exceeds its bounds, unless one task alone does, or holds an ID twice.
    """
    tasks = [
        make_task(n, task_id=name, body_bytes=sizes[n % len(sizes)]) for n, name in enumerate(names)
    ]
    queues = [make_queue(tasks[:split]), make_queue(tasks[split:])]

    collections = cut_all(queues, tasks_max=tasks_max, bytes_max=bytes_max)

    flat = [task.ordinal for collection in collections for task in collection]
    assert sorted(flat) == list(range(len(tasks)))
    for collection in collections:
        assert 1 <= len(collection) <= tasks_max
        assert len({task.id.lower() for task in collection}) == len(collection)
        assert len(encode_collection(collection)) <= bytes_max or len(collection) == 1


def test_a_request_may_reach_its_byte_bound() -> None:
    """
    The bound is inclusive, and counts the frame and the commas.
    """
    tasks = make_tasks(3, body_bytes=100)
    exact = len(encode_collection(tasks))

    assert len(cut([make_queue(tasks)], tasks_max=100, bytes_max=exact)) == 3
    assert len(cut([make_queue(tasks)], tasks_max=100, bytes_max=exact - 1)) == 2


def test_tasks_of_one_size_keep_their_order() -> None:
    """
    Collections follow the source's order exactly when nothing needs to be passed over.
    """
    collections = cut_all([make_queue(make_tasks(1_050))])

    flat = [task.ordinal for collection in collections for task in collection]
    assert flat == list(range(1_050))
    assert [len(collection) for collection in collections] == [100] * 10 + [50]


@pytest.mark.parametrize("size", [uniform, log_uniform])
def test_order_is_kept_within_a_few_tasks(size: Size) -> None:
    """
    Passing over tasks that do not fit moves no task by more than a few places.
    """
    random = Random(1)
    tasks = [make_task(n, body_bytes=size(random)) for n in range(2_000)]

    flat = [task.ordinal for collection in cut_all([make_queue(tasks)]) for task in collection]

    assert max(abs(ordinal - place) for place, ordinal in enumerate(flat)) < 3 * PASSED_OVER_MAX


def test_a_task_passed_over_comes_first_next_time() -> None:
    """
    A large task that does not fit any more opens the next collection; smaller ones behind it
    fill this one.
    """
    sizes = [500, 450, 800, 300, 40, 40]
    tasks = [make_task(n, body_bytes=size) for n, size in enumerate(sizes)]

    first, second, third = cut_all([make_queue(tasks)], bytes_max=1_000)

    assert [task.ordinal for task in first] == [0, 1]
    assert [task.ordinal for task in second] == [2, 4, 5]
    assert [task.ordinal for task in third] == [3]


def test_a_task_over_the_bound_goes_alone() -> None:
    """
    The bound may have fallen since a task was admitted: it is not stuck, and takes no
    neighbour down with it.
    """
    tasks = [make_task(0), make_task(1, body_bytes=5_000), make_task(2)]

    collections = cut_all([make_queue(tasks)], bytes_max=1_000)

    assert [[task.ordinal for task in collection] for collection in collections] == [[0, 2], [1]]


def test_the_first_queue_goes_first() -> None:
    """
    Earlier queues are emptied first, later ones fill the collection up.
    """
    due, fresh = make_queue(make_tasks(3, first=50)), make_queue(make_tasks(10))

    collection = cut([due, fresh], tasks_max=5, bytes_max=BYTES_MAX)

    assert [task.ordinal for task in collection] == [50, 51, 52, 0, 1]
    assert (len(due), len(fresh)) == (0, 8)


def test_fills_means_that_a_bound_is_reached() -> None:
    """
    Two queues fill a collection when their tasks, or their bytes, suffice together.
    """
    queues = [make_queue(make_tasks(40)), make_queue(make_tasks(59))]
    assert not fills(queues, tasks_max=100, bytes_max=BYTES_MAX)

    queues[0].extend(make_tasks(1))
    assert fills(queues, tasks_max=100, bytes_max=BYTES_MAX)

    large = [make_queue(make_tasks(1, body_bytes=BYTES_MAX)), Queue()]
    assert fills(large, tasks_max=100, bytes_max=BYTES_MAX)


@settings(deadline=None)
@given(count=st.integers(2, 100))
def test_halves_are_the_whole(count: int) -> None:
    """
    Halving keeps every task and the order, and the halves differ by one task at most.
    """
    tasks = make_tasks(count)

    left, right = halve(tasks)

    assert [*left, *right] == tasks
    assert 0 <= len(right) - len(left) <= 1
