"""The decision table at the top of reconciler.py: one test a row, named after it.

What is read back is in test_taken.py.
"""

import pytest

from bulksubmit.core.events import Anomaly, Event
from bulksubmit.core.model import (
    Answered,
    BatchError,
    Converged,
    ErrorDetail,
    ErrorMessage,
    Lost,
    Refused,
    TaskResult,
    Throttled,
    Verdict,
)
from bulksubmit.core.reconciler import Reconciler
from tests.core.helpers import (
    answered,
    make_reconciler,
    make_task,
    make_tasks,
    results,
    sent,
    sent_next,
    waits,
)

INVALID = Refused("InvalidRequestBody", "Something in it is wrong.")

SERVER_ERRORS = ["servererror", "ServerError", "SERVERERROR"]
CLIENT_ERRORS = ["clienterror", "ClientError", "CLIENTERROR"]


def converged(reconciler: Reconciler) -> bool:
    reconciler.check()
    step = reconciler.next_step(now_s=1e6, in_flight_max=1)
    return isinstance(step, Converged) and not reconciler.unsettled_bytes


# --- Answered --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["success", "Success", "SUCCESS"])
def test_success_is_added(status: str) -> None:
    """
    A success settles the task, however the service spells it.
    """
    reconciler = make_reconciler(make_tasks(2))
    attempt = sent(reconciler, 0.0)

    outcomes = reconciler.settle(attempt, answered(attempt.tasks, status), now_s=1.0)

    assert [outcome.verdict for outcome in outcomes] == [Verdict.ADDED] * 2
    assert [outcome.task_id for outcome in outcomes] == ["t0", "t1"]
    assert [outcome.line for outcome in outcomes] == [1, 2]
    assert {outcome.client_request_id for outcome in outcomes} == {attempt.client_request_id}
    assert {outcome.request_id for outcome in outcomes} == {"r-1"}
    assert {outcome.body for outcome in outcomes} == {b""}
    assert converged(reconciler)


@pytest.mark.parametrize("status", SERVER_ERRORS)
def test_servererror_goes_again(status: str) -> None:
    """
    A task that met a servererror goes again within 0.75 s (0.5 s of backoff at most, and the
    grid), under the same ID and with the same bytes; its neighbours do not.
    """
    tasks = make_tasks(3)
    reconciler = make_reconciler(tasks)
    first = sent(reconciler, 0.0)

    outcomes = reconciler.settle(
        first,
        Answered([*results(tasks[:1], status, "OperationTimedOut"), *results(tasks[1:])]),
        now_s=1.0,
    )

    assert {outcome.task_id for outcome in outcomes} == {"t1", "t2"}
    assert reconciler.in_doubt == 1
    again, now_s = sent_next(reconciler, 1.0)
    assert again.tasks == (tasks[0],)
    assert now_s <= 1.75
    (outcome,) = reconciler.settle(again, answered(again.tasks), now_s=now_s)
    assert (outcome.verdict, outcome.attempts, outcome.in_doubt) == (Verdict.ADDED, 2, True)
    assert converged(reconciler)


@pytest.mark.parametrize("status", CLIENT_ERRORS)
def test_any_other_clienterror_is_rejected(status: str) -> None:
    """
    A clienterror settles the task, with all that the service said of it and all that is
    needed to mend it and feed it back.
    """
    reconciler = make_reconciler(make_tasks(2))
    attempt = sent(reconciler, 0.0)
    values = (ErrorDetail("PropertyName", "commandLine"),)
    error = BatchError("InvalidPropertyValue", ErrorMessage("en-us", "Too odd."), values)

    outcomes = reconciler.settle(
        attempt,
        Answered([TaskResult("t0", status, error), TaskResult("t1", "Success")], "r-9"),
        now_s=1.0,
    )

    rejected, added = outcomes
    assert (rejected.verdict, added.verdict) == (Verdict.REJECTED, Verdict.ADDED)
    assert (rejected.code, rejected.message) == ("InvalidPropertyValue", "Too odd.")
    assert rejected.values == values
    assert rejected.request_id == "r-9"
    assert rejected.client_request_id == attempt.client_request_id
    assert rejected.body == attempt.tasks[0].body
    assert (rejected.attempts, rejected.in_doubt) == (1, False)
    assert converged(reconciler)


def test_clienterror_without_an_error_is_rejected() -> None:
    """
    The reference requires no field of an error, so a clienterror may come without one.
    """
    reconciler = make_reconciler(make_tasks(1))
    attempt = sent(reconciler, 0.0)

    (outcome,) = reconciler.settle(attempt, answered(attempt.tasks, "ClientError"), now_s=1.0)

    assert (outcome.verdict, outcome.code, outcome.message) == (Verdict.REJECTED, "", "")


@pytest.mark.parametrize(
    ("odd", "anomaly"),
    [
        ([TaskResult("t0", "Perhaps")], Anomaly("unknown_status", 1, "t0")),
        ([TaskResult("t0", "")], Anomaly("unknown_status", 1, "t0")),
        (
            [TaskResult("t0", "Success"), TaskResult("T0", "ServerError")],
            Anomaly("repeated_id", 1, "T0"),
        ),
        ([], Anomaly("missing_id", 1, "t0")),
    ],
    ids=["unknown status", "no status", "one ID, two statuses", "missing"],
)
def test_a_task_without_a_clear_result_goes_again(odd: list[TaskResult], anomaly: Anomaly) -> None:
    """
    A task of whose result we can make nothing is in doubt, goes again and is reported; its
    neighbour is settled.
    """
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(2), events=events)
    attempt = sent(reconciler, 0.0)

    outcomes = reconciler.settle(attempt, Answered([*odd, TaskResult("t1", "Success")]), now_s=1.0)

    assert [outcome.task_id for outcome in outcomes] == ["t1"]
    assert anomaly in events
    assert reconciler.in_doubt == 1
    again, now_s = sent_next(reconciler, 1.0)
    assert again.tasks == attempt.tasks[:1]
    assert now_s <= 1.75


def test_two_successes_and_an_error_stay_a_contradiction() -> None:
    """
    Once results contradict each other, a third does not decide between them.
    """
    reconciler = make_reconciler(make_tasks(1))
    attempt = sent(reconciler, 0.0)
    statuses = ["Success", "ClientError", "Success"]

    reply = Answered([TaskResult("t0", status) for status in statuses])

    assert reconciler.settle(attempt, reply, now_s=1.0) == []
    assert reconciler.unsettled == 1


def test_an_answer_that_stops_half_way_settles_its_half() -> None:
    """
    What an answer holds counts, though the rest of it is missing: only the rest goes again.
    """
    tasks = make_tasks(100)
    reconciler = make_reconciler(tasks)
    attempt = sent(reconciler, 0.0)

    outcomes = reconciler.settle(attempt, answered(tasks[:50]), now_s=1.0)

    assert [outcome.ordinal for outcome in outcomes] == list(range(50))
    again, _ = sent_next(reconciler, 1.0)
    assert again.tasks == tuple(tasks[50:])


def test_an_unknown_id_is_ignored() -> None:
    """
    A result for an ID that the attempt did not hold settles nothing, and is reported; not
    even if another attempt holds it.
    """
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(2), tasks_max=1, events=events)
    first, second = sent(reconciler, 0.0), sent(reconciler, 0.0)

    reply = answered([*first.tasks, *second.tasks, make_task(99)])
    outcomes = reconciler.settle(first, reply, now_s=1.0)

    assert [outcome.task_id for outcome in outcomes] == ["t0"]
    assert events == [Anomaly("unknown_id", 1, "t1"), Anomaly("unknown_id", 1, "t99")]
    assert reconciler.unsettled == 1


def test_one_id_twice_alike_is_ignored() -> None:
    """
    A result repeated with the same status, however spelled, counts once, and is reported.
    """
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(1), events=events)
    attempt = sent(reconciler, 0.0)

    reply = Answered([TaskResult("t0", "Success"), TaskResult("T0", "success")])
    (outcome,) = reconciler.settle(attempt, reply, now_s=1.0)

    assert outcome.verdict is Verdict.ADDED
    assert events == [Anomaly("repeated_id", 1, "T0")]


def test_results_come_in_any_order_and_case() -> None:
    """
    Results are matched by ID, which the service compares without regard to case.
    """
    tasks = [make_task(0, task_id="Alpha"), make_task(1, task_id="beta"), make_task(2)]
    reconciler = make_reconciler(tasks)
    attempt = sent(reconciler, 0.0)

    reply = Answered(
        [
            TaskResult("T2", "Success"),
            TaskResult("BETA", "ClientError", BatchError("OutOfRangeInput")),
            TaskResult("alpha", "Success"),
        ]
    )
    outcomes = reconciler.settle(attempt, reply, now_s=1.0)

    verdicts = {outcome.task_id: outcome.verdict for outcome in outcomes}
    assert verdicts == {"Alpha": Verdict.ADDED, "beta": Verdict.REJECTED, "t2": Verdict.ADDED}


# --- Throttled and Lost ----------------------------------------------------------------------


def test_throttled_goes_again_not_before_retry_after() -> None:
    """
    A throttled collection goes again no earlier than the service asked; nobody promises that
    a 429 added nothing, so it is in doubt.
    """
    reconciler = make_reconciler(make_tasks(100))
    attempt = sent(reconciler, 0.0)

    assert reconciler.settle(attempt, Throttled(7.0, "429"), now_s=1.0) == []

    assert reconciler.in_doubt == 100
    again, now_s = sent_next(reconciler, 1.0)
    assert again.tasks == attempt.tasks
    assert 8.0 <= now_s <= 8.25


@pytest.mark.parametrize(("was_sent", "in_doubt"), [(True, 100), (False, 0)])
def test_lost_goes_again(was_sent: bool, in_doubt: int) -> None:  # noqa: FBT001 (a parameter set)
    """
    A lost collection goes again after a backoff; it is in doubt only if it was sent.
    """
    reconciler = make_reconciler(make_tasks(100))
    attempt = sent(reconciler, 0.0)

    assert reconciler.settle(attempt, Lost("reset", sent=was_sent), now_s=1.0) == []

    assert reconciler.in_doubt == in_doubt
    again, now_s = sent_next(reconciler, 1.0)
    assert again.tasks == attempt.tasks
    assert 1.0 < now_s <= 1.75


def test_doubt_stays() -> None:
    """
    A task once in doubt stays so, though a later attempt surely did not add it.
    """
    reconciler = make_reconciler(make_tasks(1))
    reconciler.settle(sent(reconciler, 0.0), Lost("reset", sent=True), now_s=0.0)
    again, now_s = sent_next(reconciler, 0.0)

    reconciler.settle(again, Lost("no connection", sent=False), now_s=now_s)

    assert reconciler.in_doubt == 1


# --- Refused ---------------------------------------------------------------------------------


def test_refused_of_more_than_one_is_halved() -> None:
    """
    A refused collection is cut in two; both halves go at once, before anything else, and are
    not filled up, so that the bad task is found.
    """
    tasks = make_tasks(150)
    reconciler = make_reconciler(tasks)
    attempt = sent(reconciler, 0.0)

    assert reconciler.settle(attempt, INVALID, now_s=1.0) == []

    left, right, rest = (sent(reconciler, 1.0) for _ in range(3))
    assert left.tasks == tuple(tasks[:50])
    assert right.tasks == tuple(tasks[50:100])
    assert rest.tasks == tuple(tasks[100:])
    assert (left.resent, right.resent, rest.resent) == (50, 50, 0)


def test_refused_alone_is_rejected() -> None:
    """
    A task refused in a collection of its own is settled with what the service said.
    """
    reconciler = make_reconciler(make_tasks(1))
    attempt = sent(reconciler, 0.0)
    values = (ErrorDetail("Reason", "odd"),)

    (outcome,) = reconciler.settle(attempt, Refused("Odd", "So odd.", values, "r-7"), now_s=1.0)

    assert (outcome.verdict, outcome.in_doubt) == (Verdict.REJECTED, False)
    assert (outcome.code, outcome.message, outcome.values) == ("Odd", "So odd.", values)
    assert outcome.request_id == "r-7"
    assert outcome.body == attempt.tasks[0].body
    assert converged(reconciler)


# --- The run gives up ------------------------------------------------------------------------


def test_what_was_tried_is_abandoned() -> None:
    """
    When the run gives up, each task that was ever sent is ABANDONED, in doubt if an attempt
    with it was sent; what was never sent stays unsettled and unreported.
    """
    tasks = make_tasks(5)
    reconciler = make_reconciler(tasks, tasks_max=1)
    lost, unsent, added, _flying = (sent(reconciler, 0.0) for _ in range(4))
    reconciler.settle(lost, Lost("reset", sent=True), now_s=1.0)
    reconciler.settle(unsent, Lost("no connection", sent=False), now_s=1.0)
    reconciler.settle(added, answered(added.tasks), now_s=1.0)

    outcomes = reconciler.abandon("out of patience")

    assert {(o.task_id, o.attempts, o.in_doubt) for o in outcomes} == {
        ("t0", 1, True),
        ("t1", 1, False),
        ("t3", 1, True),
    }
    assert {outcome.verdict for outcome in outcomes} == {Verdict.ABANDONED}
    assert {outcome.message for outcome in outcomes} == {"out of patience"}
    assert {outcome.body for outcome in outcomes} == {tasks[n].body for n in (0, 1, 3)}
    assert (reconciler.unsettled, reconciler.fresh, reconciler.in_flight) == (1, 1, 0)
    assert reconciler.unsettled_bytes == len(tasks[4].body)
    assert reconciler.in_doubt == 0


def test_each_attempt_is_settled_once() -> None:
    """
    Settling an attempt twice is a programmer's error, caught before anything is counted.
    """
    reconciler = make_reconciler(make_tasks(1))
    attempt = sent(reconciler, 0.0)
    reconciler.settle(attempt, Lost("reset", sent=True), now_s=0.0)

    with pytest.raises(AssertionError):
        reconciler.settle(attempt, answered(attempt.tasks), now_s=0.0)

    reconciler.check()
    assert waits(reconciler, 0.0) <= 0.75
