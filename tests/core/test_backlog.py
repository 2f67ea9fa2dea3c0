"""The backlog: what waits, what is due, what goes out as it is, and at what cost."""

import math
from collections.abc import Iterable

from bulksubmit.core.backlog import Backlog
from bulksubmit.core.model import Task
from tests.core.helpers import make_tasks


def ready_s(backlog: Backlog, now_s: float, *, sealed: bool = True) -> float:
    backlog.check()
    return backlog.ready_s(now_s, tasks_max=100, bytes_max=1_000_000, sealed=sealed)


def taken(backlog: Backlog, now_s: float, *, sealed: bool = True) -> list[int]:
    assert ready_s(backlog, now_s, sealed=sealed) == now_s
    return ordinals(backlog.next(now_s, tasks_max=100, bytes_max=1_000_000))


def ordinals(tasks: Iterable[Task]) -> list[int]:
    return [task.ordinal for task in tasks]


def test_nothing_is_never_ready() -> None:
    """
    An empty backlog waits for something to happen, sealed or not.
    """
    assert ready_s(Backlog(), 5.0, sealed=True) == math.inf
    assert ready_s(Backlog(), 5.0, sealed=False) == math.inf


def test_halves_then_pressed_then_due_then_fresh() -> None:
    """
    Halves go first and as they are; then one request takes from the rest, in this order.
    """
    backlog = Backlog()
    backlog.fresh.extend(make_tasks(2))
    backlog.wait(make_tasks(2, first=10), 1.0, pressed=False)
    backlog.wait(make_tasks(2, first=20), 1.0, pressed=True)
    left, right = make_tasks(2, first=30), make_tasks(1, first=40)
    backlog.add_halves((tuple(left), tuple(right)))

    assert taken(backlog, 1.0) == [30, 31]
    assert taken(backlog, 1.0) == [40]
    assert taken(backlog, 1.0) == [20, 21, 10, 11, 0, 1]
    assert ready_s(backlog, 1.0) == math.inf


def test_what_waits_is_due_at_its_point_of_the_grid() -> None:
    """
    Tasks wait until the first point of the grid after their time, earliest first.
    """
    backlog = Backlog()
    backlog.wait(make_tasks(1, first=1), 3.1, pressed=False)
    backlog.wait(make_tasks(1, first=2), 1.1, pressed=False)
    backlog.wait(make_tasks(1, first=3), 1.2, pressed=False)

    assert ready_s(backlog, 0.0) == 1.25
    assert taken(backlog, 1.25) == [2, 3]
    assert ready_s(backlog, 1.25) == 3.25
    assert taken(backlog, 99.0) == [1]


def test_a_partial_collection_lingers_before_the_seal() -> None:
    """
    It waits 0.25 s from when it was first seen, or until what comes due may fill it.
    """
    backlog = Backlog()
    backlog.fresh.extend(make_tasks(1))
    assert ready_s(backlog, 1.1, sealed=False) == 1.35
    assert ready_s(backlog, 1.2, sealed=False) == 1.35

    backlog.wait(make_tasks(99, first=1), 1.2, pressed=False)

    assert ready_s(backlog, 1.2, sealed=False) == 1.25
    assert len(taken(backlog, 1.25, sealed=False)) == 100
    backlog.fresh.extend(make_tasks(1))
    assert ready_s(backlog, 2.0, sealed=False) == 2.25


def test_pressed_tasks_wait_for_the_budget() -> None:
    """
    Without a token pressed tasks stay behind, fresh ones go, and the token's time is named.
    """
    backlog = Backlog()
    for _ in range(10):
        backlog.budget.spend(0.0)
    backlog.wait(make_tasks(5, first=10), 0.0, pressed=True)
    backlog.fresh.extend(make_tasks(5))

    assert taken(backlog, 0.0) == [0, 1, 2, 3, 4]
    assert ready_s(backlog, 0.0) == 1.0
    assert taken(backlog, 1.0) == [10, 11, 12, 13, 14]


def test_halves_cost_no_budget() -> None:
    """
    A refused collection's halves are no resend under pressure.
    """
    backlog = Backlog()
    backlog.wait(make_tasks(1), 0.0, pressed=True)
    backlog.add_halves([tuple(make_tasks(2, first=2))] * 20)
    for _ in range(10):
        backlog.budget.spend(0.0)

    for _ in range(20):
        assert taken(backlog, 0.0) == [2, 3]

    assert ready_s(backlog, 0.0) == 1.0


def test_again_names_every_task_to_be_sent_again() -> None:
    """
    Waiting, due, pressed and halved tasks are to be sent again; fresh ones are not.
    """
    backlog = Backlog()
    backlog.fresh.extend(make_tasks(1))
    backlog.wait(make_tasks(1, first=1), 0.0, pressed=False)
    backlog.wait(make_tasks(1, first=2), 0.0, pressed=True)
    ready_s(backlog, 0.0)
    backlog.wait(make_tasks(1, first=3), 9.0, pressed=False)
    backlog.add_halves([tuple(make_tasks(1, first=4)), tuple(make_tasks(1, first=5))])

    assert sorted(ordinals(backlog.again())) == [1, 2, 3, 4, 5]
