"""Refused collections: halving, and the byte bound that a 413 lowers."""

from bulksubmit.core.model import Attempt, Lost, Outcome, ReadBack, Refused, Verdict
from bulksubmit.core.partitioner import request_bytes
from bulksubmit.core.reconciler import Reconciler
from tests.core.helpers import (
    absent,
    answered,
    make_reconciler,
    make_task,
    make_tasks,
    next_request,
    sent,
    sent_next,
)

TOO_LARGE = Refused("RequestBodyTooLarge", "The request body is too large.")
INVALID = Refused("InvalidRequestBody", "Something in it is wrong.")


def test_one_bad_task_of_a_hundred_takes_15_requests() -> None:
    """
    Wherever the bad task stands, it is found in at most 15 requests and its 99 neighbours go
    through: 1 + 2 for each of 7 halvings, as 2^7 > 100.
    """
    for bad in range(100):
        reconciler = make_reconciler(make_tasks(100))
        requests, outcomes = 0, list[Outcome]()

        while reconciler.unsettled:
            attempt = sent(reconciler, 0.0)
            requests += 1
            holds_bad = any(task.ordinal == bad for task in attempt.tasks)
            reply = INVALID if holds_bad else answered(attempt.tasks)
            outcomes += reconciler.settle(attempt, reply, now_s=0.0)
            reconciler.check()

        assert requests <= 15
        assert [o.ordinal for o in outcomes if o.verdict is Verdict.REJECTED] == [bad]
        assert sorted(outcome.ordinal for outcome in outcomes) == list(range(100))


def test_one_huge_task_among_20_000_costs_15_requests() -> None:
    """
    With the local bound off, one task of 1.2 MB that the service refuses costs at most 15
    requests more than the 200 that are needed without it.
    """
    tasks = [*make_tasks(9_950), make_task(9_950, body_bytes=1_200_000)]
    tasks += make_tasks(10_049, first=9_951)
    reconciler = make_reconciler(tasks, bytes_max=16_000_000)
    requests, rejected = 0, []

    while reconciler.unsettled:
        attempt = sent(reconciler, 0.0)
        requests += 1
        refused = request_bytes(attempt.tasks) > 1_048_576
        reply = TOO_LARGE if refused else answered(attempt.tasks)
        outcomes = reconciler.settle(attempt, reply, now_s=0.0)
        rejected += [o.task_id for o in outcomes if o.verdict is Verdict.REJECTED]

    assert rejected == ["t9950"]
    assert requests <= 215


def refused_once(reply: Refused) -> tuple[Reconciler, Attempt]:
    """A reconciler that met this refusal, and its first attempt after the halves."""
    reconciler = make_reconciler(make_tasks(10_000, body_bytes=5_000))
    reconciler.settle(sent(reconciler, 0.0), reply, now_s=0.0)
    for _ in range(2):
        half = sent(reconciler, 0.0)
        reconciler.settle(half, answered(half.tasks), now_s=0.0)
    return reconciler, sent(reconciler, 0.0)


def test_413_lowers_the_byte_bound_and_it_recovers() -> None:
    """
    After a 413 for 100 tasks of 5,000 bytes, collections stay below 95 % of that until clean
    replies have raised the bound again.
    """
    reconciler, attempt = refused_once(TOO_LARGE)
    assert len(attempt.tasks) == 94

    requests = 0
    while len(attempt.tasks) < 100:
        reconciler.settle(attempt, answered(attempt.tasks), now_s=0.0)
        attempt, requests = sent(reconciler, 0.0), requests + 1

    assert 90 < requests < 100  # Two rises of 5 %, one after each 50 clean replies.


def test_no_other_refusal_lowers_the_byte_bound() -> None:
    """
    A refusal for what a task says is no word on the size of requests.
    """
    _, attempt = refused_once(INVALID)

    assert len(attempt.tasks) == 100


def test_a_task_alone_over_the_lowered_bound_is_still_sent() -> None:
    """
    The bound is lowered by guesses; a task that no longer fits it goes alone, and the service
    decides.
    """
    large = make_task(2, body_bytes=100_000)
    reconciler = make_reconciler([*make_tasks(2, body_bytes=1_000), large], tasks_max=2)
    reconciler.settle(sent(reconciler, 0.0), TOO_LARGE, now_s=0.0)
    sent(reconciler, 0.0)
    sent(reconciler, 0.0)

    assert sent(reconciler, 0.0).tasks == (large,)


def test_a_refused_attempt_counts() -> None:
    """
    Attempts are counted over all that became of a task: refused, servererror, added. A
    refusal itself leaves no doubt.
    """
    reconciler = make_reconciler(make_tasks(2))
    reconciler.settle(sent(reconciler, 0.0), INVALID, now_s=0.0)
    left, right = sent(reconciler, 0.0), sent(reconciler, 0.0)
    reconciler.settle(left, answered(left.tasks, "ServerError"), now_s=0.0)
    (outcome,) = reconciler.settle(right, answered(right.tasks), now_s=0.0)
    assert (outcome.task_id, outcome.attempts, outcome.in_doubt) == ("t1", 2, False)

    again, now_s = sent_next(reconciler, 0.0)
    (outcome,) = reconciler.settle(again, answered(again.tasks), now_s=now_s)

    assert (outcome.task_id, outcome.attempts, outcome.in_doubt) == ("t0", 3, True)


def test_a_lost_half_is_still_halved() -> None:
    """
    A half whose reply was lost goes on as other tasks do, and the bad task in it is found.
    """
    reconciler = make_reconciler(make_tasks(100))
    reconciler.settle(sent(reconciler, 0.0), INVALID, now_s=0.0)
    half = sent(reconciler, 0.0)
    reconciler.settle(half, Lost("reset", sent=True), now_s=0.0)
    now_s, outcomes = 0.0, list[Outcome]()

    while reconciler.unsettled:
        request, now_s = next_request(reconciler, now_s)
        if isinstance(request, ReadBack):
            outcomes += reconciler.settle_read_back(request, absent(request.tasks), now_s=now_s)
            continue
        bad = any(task.ordinal == 0 for task in request.tasks)
        reply = INVALID if bad else answered(request.tasks)
        outcomes += reconciler.settle(request, reply, now_s=now_s)

    assert [o.ordinal for o in outcomes if o.verdict is Verdict.REJECTED] == [0]
    assert len(outcomes) == 100


def test_abandoned_halves_are_not_forgotten() -> None:
    """
    Halves of a refused collection that still wait to go are abandoned with the rest.
    """
    reconciler = make_reconciler(make_tasks(10))
    reconciler.settle(sent(reconciler, 0.0), INVALID, now_s=0.0)

    outcomes = reconciler.abandon("stopped")

    assert sorted(outcome.ordinal for outcome in outcomes) == list(range(10))
    assert {outcome.in_doubt for outcome in outcomes} == {False}
    assert reconciler.unsettled == 0
