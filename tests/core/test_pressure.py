"""Pressure: replies that settle nothing hold the run, and resending them costs a budget."""

from collections.abc import Callable

import pytest

from bulksubmit.core.events import Event, Held, Resumed
from bulksubmit.core.model import Answered, Attempt, Lost, Refused, Reply
from bulksubmit.core.reconciler import Reconciler
from tests.core.helpers import (
    FixedRandom,
    answered,
    make_reconciler,
    make_tasks,
    results,
    sent,
    sent_next,
    waits,
)

LOST = Lost("502 Bad Gateway", sent=True)


def held(reconciler: Reconciler, *, in_flight: int) -> None:
    """Press until the run is held: all attempts in flight are lost at 0.0."""
    for attempt in [sent(reconciler, 0.0) for _ in range(in_flight)]:
        reconciler.settle(attempt, LOST, now_s=0.0)


def test_the_run_holds_after_as_much_pressure_as_was_in_flight() -> None:
    """
    Seven lost replies of eight in flight hold nothing back; the eighth holds fresh tasks too.
    """
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(10_000), events=events)
    attempts = [sent(reconciler, 0.0) for _ in range(8)]
    for attempt in attempts[:7]:
        reconciler.settle(attempt, LOST, now_s=0.0)
        attempts.append(sent(reconciler, 0.0))
    assert events == []

    reconciler.settle(attempts[7], LOST, now_s=0.0)

    assert waits(reconciler, 0.0) == 0.5
    assert events == [Held("502 Bad Gateway", for_s=0.5)]


def test_one_probe_at_a_time_doubling_to_15_s() -> None:
    """
    While the run is held one attempt at a time probes: after 0.5 s, 1, 2, … 15 s.
    """
    reconciler = make_reconciler(make_tasks(10_000), retry_timeout_s=1e6)
    held(reconciler, in_flight=4)

    delays, now_s = [], 0.0
    for _ in range(9):
        probe, probe_s = sent_next(reconciler, now_s)
        delays.append(probe_s - now_s)
        assert waits(reconciler, probe_s) == 1e6
        now_s = probe_s
        reconciler.settle(probe, LOST, now_s=now_s)

    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]


CLEAN: dict[str, Callable[[Attempt], Reply]] = {
    "added": lambda probe: answered(probe.tasks),
    "rejected": lambda probe: answered(probe.tasks, "ClientError", "Odd"),
    "one added": lambda probe: Answered(
        [*results(probe.tasks[:1]), *results(probe.tasks[1:], "ServerError")]
    ),
    "refused": lambda _: Refused("InvalidRequestBody", "odd"),
}


@pytest.mark.parametrize("clean", CLEAN.values(), ids=CLEAN.keys())
def test_a_clean_reply_opens_the_hold(clean: Callable[[Attempt], Reply]) -> None:
    """
    Any reply that settles a task or refuses a collection shows that the service works.
    """
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(10_000), events=events)
    held(reconciler, in_flight=4)
    probe, now_s = sent_next(reconciler, 0.0)
    assert len(events) == 1

    reconciler.settle(probe, clean(probe), now_s=now_s)

    for _ in range(10):
        sent(reconciler, now_s)
    assert events[1:] == [Resumed()]


def test_a_probe_refused_alone_opens_the_hold() -> None:
    """
    A service that refuses a task is well: the others need not wait behind it.
    """
    reconciler = make_reconciler(make_tasks(10), tasks_max=1)
    held(reconciler, in_flight=4)
    probe, now_s = sent_next(reconciler, 0.0)

    reconciler.settle(probe, Refused("InvalidRequestBody", "odd"), now_s=now_s)

    for _ in range(9):
        sent(reconciler, now_s)


def test_a_clean_reply_from_before_the_hold_opens_it() -> None:
    """
    An attempt that was in flight when the hold began proves as much as a probe.
    """
    reconciler = make_reconciler(make_tasks(10_000))
    late = sent(reconciler, 0.0)
    for attempt in [sent(reconciler, 0.0) for _ in range(9)]:
        reconciler.settle(attempt, LOST, now_s=0.0)
    other = sent(reconciler, 0.0)
    reconciler.settle(other, LOST, now_s=0.0)
    waits(reconciler, 0.0)

    reconciler.settle(late, answered(late.tasks), now_s=0.1)

    sent(reconciler, 0.1)
    sent(reconciler, 0.1)


def test_pressure_from_before_the_hold_does_not_lengthen_it() -> None:
    """
    Only the probe's own reply moves the next probe.
    """
    reconciler = make_reconciler(make_tasks(10_000))
    early = [sent(reconciler, 0.0) for _ in range(4)]
    late: list[Attempt] = []
    for attempt in early:
        late.append(sent(reconciler, 0.0))
        reconciler.settle(attempt, LOST, now_s=0.0)
    reconciler.settle(late[0], LOST, now_s=0.1)
    held_until_s = waits(reconciler, 0.1)
    reconciler.settle(late[1], LOST, now_s=0.2)

    assert waits(reconciler, 0.2) == held_until_s
    probe = sent(reconciler, held_until_s)
    reconciler.settle(late[2], LOST, now_s=held_until_s + 0.1)
    assert waits(reconciler, held_until_s + 0.1) == 1800.0
    reconciler.settle(probe, LOST, now_s=held_until_s + 0.2)
    assert waits(reconciler, held_until_s + 0.2) == pytest.approx(held_until_s + 1.2)


def test_servererror_for_every_task_is_pressure() -> None:
    """
    An answer that settles nothing holds the run as a lost one does.
    """
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(1_000), events=events)
    attempt = sent(reconciler, 0.0)

    reply = answered(attempt.tasks, "ServerError", "OperationTimedOut")
    reconciler.settle(attempt, reply, now_s=0.0)

    assert waits(reconciler, 0.0) == 0.5
    assert events == [
        Held("no task was settled by an answer (OperationTimedOut)", for_s=0.5),
    ]


def pressed(*, tasks: int) -> Reconciler:
    """A reconciler that works again after 30 of 42 attempts were lost, at 0.0, all due again."""
    reconciler = make_reconciler(make_tasks(tasks), random=FixedRandom(0.0))
    attempts = [sent(reconciler, 0.0) for _ in range(42)]
    for attempt in attempts[:30]:
        reconciler.settle(attempt, LOST, now_s=0.0)
    for attempt in attempts[30:]:
        reconciler.settle(attempt, answered(attempt.tasks), now_s=0.0)
    return reconciler


def test_resending_under_pressure_costs_the_retry_budget() -> None:
    """
    Of 30 lost collections, 12 may go again at once (10, and a fifth of 12 clean replies); then
    one a second, the first when 0.4 has grown to 1.
    """
    reconciler = pressed(tasks=4_200)

    for _ in range(12):
        assert sent(reconciler, 0.0).resent == 100

    assert waits(reconciler, 0.0) == pytest.approx(0.6)
    _, now_s = sent_next(reconciler, 0.0)
    assert now_s == pytest.approx(0.6)
    _, now_s = sent_next(reconciler, now_s)
    assert now_s == pytest.approx(1.6)


def test_a_resend_that_comes_through_costs_nothing() -> None:
    """
    A service that is well again is not kept waiting: each clean reply to a resend brings its
    token back, so that the next one may go at once.
    """
    reconciler = pressed(tasks=4_200)
    for _ in range(30):
        attempt = sent(reconciler, 0.0)
        assert attempt.resent == 100
        reconciler.settle(attempt, answered(attempt.tasks), now_s=0.0)

    reconciler.check()


def test_fresh_tasks_cost_no_retry_budget() -> None:
    """
    When the budget is spent, fresh tasks go on.
    """
    reconciler = pressed(tasks=10_000)
    for _ in range(12):
        assert sent(reconciler, 0.0).resent == 100

    for _ in range(58):
        assert sent(reconciler, 0.0).resent == 0

    waits(reconciler, 0.0)


def test_servererrors_do_not_lengthen_the_backoff_from_pressure() -> None:
    """
    The two backoffs count apart: a task that met ten servererrors among others and is then
    lost once goes again within 0.5 s, not 30 s.
    """
    reconciler = make_reconciler(make_tasks(1_000))
    attempt, now_s = sent(reconciler, 0.0), 0.0
    for _ in range(10):
        reconciler.settle(attempt, answered(attempt.tasks[1:]), now_s=now_s)
        attempt, now_s = sent_next(reconciler, now_s + 0.5)
        assert attempt.tasks[0].id == "t0"

    reconciler.settle(attempt, LOST, now_s=now_s)

    _, again_s = sent_next(reconciler, now_s)
    assert again_s - now_s == 0.5


def test_an_unlucky_task_of_a_healthy_service_goes_again_soon() -> None:
    """
    Eight times lost, and each time another attempt was answered well before: the task waits
    0.5 s at most, not the 30 s of a service that is down.
    """
    reconciler = make_reconciler(make_tasks(2_000))
    unlucky, now_s = sent(reconciler, 0.0), 0.0
    sent(reconciler, 0.0)  # One more is in flight all the time: a single loss holds nothing.
    for _ in range(8):
        other = sent(reconciler, now_s)
        reconciler.settle(other, answered(other.tasks), now_s=now_s)
        reconciler.settle(unlucky, LOST, now_s=now_s)
        now_s += 0.5
        unlucky = sent(reconciler, now_s)

        assert unlucky.resent == 100
