"""What is done with a collection as a whole comes to the same as task by task."""

from itertools import pairwise
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core import reconciler as module
from bulksubmit.core.events import Event
from bulksubmit.core.matching import AllAdded
from bulksubmit.core.model import Answered, Outcome, Send, TaskResult
from bulksubmit.core.partitioner import Queue, cut
from tests.core.helpers import columns, make_reconciler, make_task, make_tasks

RESULTS = st.lists(
    st.builds(
        TaskResult,
        st.sampled_from(["t0", "t1", "t2", "T2", "t3"]),
        st.sampled_from(["Success", "Success", "success", "SUCCESS", "ServerError", "ClientError"]),
    ),
    max_size=5,
)
ALL = [TaskResult(f"t{n}", "Success") for n in range(3)]


def settled(results: list[TaskResult]) -> tuple[list[Outcome], list[Event], int, int]:
    """What an answer to three tasks comes to: outcomes, events, tasks and bytes left."""
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(3), events=events)
    step = reconciler.next_step(now_s=0.0, in_flight_max=1)
    assert isinstance(step, Send)
    outcomes = reconciler.settle(step.attempt, Answered(results, "r-1"), now_s=1.0)
    reconciler.check()
    in_order = sorted(outcomes, key=lambda outcome: outcome.ordinal)
    return in_order, events, reconciler.unsettled, reconciler.unsettled_bytes


@given(st.one_of(RESULTS, st.permutations(ALL)))
def test_an_answer_is_settled_alike(results: list[TaskResult]) -> None:
    """
    Whatever the answer: where the look at the whole settles anything, the look at each task
    settles the same, and says the same.
    """
    as_a_whole = settled(results)
    with patch.object(module, "all_added", return_value=False):
        one_by_one = settled(results)

    assert as_a_whole == one_by_one


def test_the_usual_answer_is_settled_as_a_whole() -> None:
    """In any order, spelt as the wire does."""
    with patch.object(module, "by_folded_id", side_effect=AssertionError):
        outcomes, events, unsettled, _ = settled([ALL[2], ALL[0], ALL[1]])

    assert [outcome.task_id for outcome in outcomes] == ["t0", "t1", "t2"]
    assert not events
    assert not unsettled


def test_outcomes_of_all_are_a_sequence() -> None:
    """
    Made when looked at, they are as a list of them: by place, by slice, from the end; those of
    large tasks that are to be kept are a list, which keeps no body.
    """
    reconciler = make_reconciler(make_tasks(3))
    step = reconciler.next_step(now_s=0.0, in_flight_max=1)
    assert isinstance(step, Send)

    outcomes, listed = (
        AllAdded(step.attempt, "r-1", body_bytes).to_keep() for body_bytes in (65_536, 65_537)
    )

    assert isinstance(listed, list)
    assert outcomes == listed
    assert (outcomes[0], outcomes[-1], outcomes[1:]) == (listed[0], listed[-1], listed[1:])
    assert (len(outcomes), outcomes != listed[:2]) == (3, True)


SIZES = st.lists(st.integers(30, 400), min_size=1, max_size=12)
NAMES = st.sampled_from("aAbBcdefghijklmnop")


@given(SIZES, st.data(), st.integers(1, 8), st.integers(100, 1500))
def test_a_collection_is_cut_alike(
    sizes: list[int], data: st.DataObject, tasks_max: int, bytes_max: int
) -> None:
    """
    The first tasks of a queue are taken at once only if the careful way would take the same;
    otherwise the queue is as it was.
    """
    names = data.draw(st.lists(NAMES, min_size=len(sizes), max_size=len(sizes)))
    tasks = [
        make_task(n, body_bytes=size, task_id=name)
        for n, (size, name) in enumerate(zip(sizes, names, strict=True))
    ]

    bounds = sorted(data.draw(st.lists(st.integers(0, len(tasks)), max_size=3)))

    def cut_of(*, plainly: bool) -> tuple[list[int], list[int], int]:
        queue = Queue()
        for begin, end in pairwise([0, *bounds, len(tasks)]):
            queue.extend(columns(tasks[begin:end]) if end % 3 else tasks[begin:end])
        with patch.object(Queue, "cut_plainly", Queue.cut_plainly if plainly else _never):
            collection = cut([queue], tasks_max=tasks_max, bytes_max=bytes_max)
        return [t.ordinal for t in collection], [t.ordinal for t in queue], queue.bytes

    assert cut_of(plainly=True) == cut_of(plainly=False)


def _never(_queue: Queue, *, tasks_max: int, bytes_max: int) -> None:
    """Takes nothing."""
