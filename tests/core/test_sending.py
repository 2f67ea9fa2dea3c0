"""What next_step says: what goes next, what waits, and when the run gives up."""

import math
import uuid

from bulksubmit.core.events import Event, Held, Resumed
from bulksubmit.core.model import (
    Answered,
    Converged,
    GiveUp,
    Lost,
    Send,
    Throttled,
    Verdict,
    Wait,
    Why,
)
from bulksubmit.core.reconciler import Reconciler
from bulksubmit.core.wire import encode_collection
from tests.core.helpers import (
    GUID,
    FixedRandom,
    answered,
    make_reconciler,
    make_task,
    make_tasks,
    results,
    sent,
    sent_next,
    waits,
)

LOST = Lost("502 Bad Gateway", sent=True)


def gives_up(reconciler: Reconciler, now_s: float) -> GiveUp:
    step = reconciler.next_step(now_s=now_s, in_flight_max=1000)
    assert isinstance(step, GiveUp), step
    return step


# --- The beginning and the end ---------------------------------------------------------------


def test_an_empty_source_converges() -> None:
    """
    Without tasks there is nothing to do until the source is sealed, and then all is done.
    """
    reconciler = make_reconciler(sealed=False)
    assert reconciler.next_step(now_s=0.0, in_flight_max=1) == Wait(math.inf, Why.SOURCE)

    reconciler.seal()

    assert reconciler.next_step(now_s=0.0, in_flight_max=1) == Converged()


def test_a_task_too_large_alone_is_rejected_before_anything_is_sent() -> None:
    """
    A task that no request can hold is rejected as it is admitted, with no attempt; one byte
    less and it is sent. The bound counts the exact bytes of the request.
    """
    fits, too_large = make_task(0, body_bytes=988), make_task(1, body_bytes=989)
    reconciler = make_reconciler(sealed=False, bytes_max=1_000)

    (outcome,) = reconciler.admit([fits, too_large])

    assert (outcome.verdict, outcome.attempts) == (Verdict.REJECTED, 0)
    assert (outcome.task_id, outcome.line) == ("t1", 2)
    assert outcome.code == "RequestBodyTooLarge"
    assert outcome.message is not None
    assert "1,001 bytes" in outcome.message
    assert outcome.body == too_large.body
    assert reconciler.unsettled == 1
    assert reconciler.unsettled_bytes == 988
    reconciler.seal()
    assert len(encode_collection(sent(reconciler, 0.0).tasks)) == 1_000


def test_a_task_too_large_now_may_have_been_sent() -> None:
    """Below the mark of an earlier process, whose bound may have been another: it may exist."""
    large = [make_task(n, body_bytes=2_000) for n in range(4)]
    reconciler = make_reconciler(sealed=False, bytes_max=1_000, doubt_below=2)

    outcomes = reconciler.admit(large)

    assert [outcome.in_doubt for outcome in outcomes] == [True, True, False, False]


def test_each_attempt_has_its_own_guid() -> None:
    """
    client_request_ids are GUIDs, distinct, and alike but for the attempt's number.
    """
    reconciler = make_reconciler(make_tasks(300), tasks_max=1)

    attempts = [sent(reconciler, 0.0) for _ in range(300)]

    guids = [uuid.UUID(attempt.client_request_id) for attempt in attempts]
    assert len(set(guids)) == 300
    assert [attempt.number for attempt in attempts] == list(range(1, 301))
    assert guids[255] == uuid.UUID(GUID[:24] + "000000000100")


def test_the_limit_in_flight_is_kept() -> None:
    """
    No more attempts go than may be in flight; each reply frees a place.
    """
    reconciler = make_reconciler(make_tasks(10), tasks_max=1)
    attempts = [sent(reconciler, 0.0, in_flight_max=3) for _ in range(3)]

    assert waits(reconciler, 0.0, in_flight_max=3) == 1800.0
    assert reconciler.in_flight == 3
    reconciler.settle(attempts[1], answered(attempts[1].tasks), now_s=1.0)

    assert sent(reconciler, 1.0, in_flight_max=3).tasks[0].id == "t3"
    waits(reconciler, 1.0, in_flight_max=3)


def test_counts() -> None:
    """
    The counts say how many tasks are fresh, unsettled, in doubt, and how many bytes they hold.
    """
    tasks = make_tasks(250)
    reconciler = make_reconciler(tasks)
    first, second = sent(reconciler, 0.0), sent(reconciler, 0.0)
    reconciler.settle(second, Lost("no connection", sent=False), now_s=1.0)
    reconciler.settle(first, answered(tasks[:90]), now_s=1.0)

    assert reconciler.fresh == 50
    assert reconciler.unsettled == 160
    assert reconciler.unsettled_bytes == sum(len(task.body) for task in tasks[90:])
    assert reconciler.in_doubt == 10
    assert reconciler.sent_before == (110, 0)
    third = sent(reconciler, 1.0)
    assert len(third.tasks) == 50
    assert reconciler.in_doubt == 60
    assert reconciler.in_flight == 1
    reconciler.check()


# --- Filling collections ---------------------------------------------------------------------


def test_a_partial_collection_waits_for_the_seal() -> None:
    """
    While the source may bring more, only full collections go; the rest goes at the seal.
    """
    reconciler = make_reconciler(make_tasks(150), sealed=False)
    assert len(sent(reconciler, 0.0).tasks) == 100
    waits(reconciler, 0.0)

    reconciler.seal()

    assert len(sent(reconciler, 0.0).tasks) == 50


def test_a_partial_collection_goes_after_a_linger() -> None:
    """
    When the source is slow, a partial collection waits 0.25 s for company, then goes.
    """
    reconciler = make_reconciler(make_tasks(10), sealed=False)
    assert waits(reconciler, 5.0) == 5.25
    reconciler.admit(make_tasks(5, first=10))
    assert waits(reconciler, 5.2) == 5.25

    assert len(sent(reconciler, 5.25).tasks) == 15

    reconciler.admit(make_tasks(1, first=15))
    assert waits(reconciler, 6.0) == 6.25


def test_a_collection_full_in_bytes_is_full() -> None:
    """
    A collection that reaches the byte bound goes at once, however few its tasks.
    """
    reconciler = make_reconciler(make_tasks(11, body_bytes=99_990), sealed=False)

    attempt = sent(reconciler, 0.0)

    assert len(attempt.tasks) == 10
    assert len(encode_collection(attempt.tasks)) <= 1_000_000


def test_retries_are_filled_up_with_fresh_tasks() -> None:
    """
    Tasks due again go first, in one request with fresh ones that follow the source's order.
    """
    tasks = make_tasks(300)
    reconciler = make_reconciler(tasks, sealed=False)
    first, second = sent(reconciler, 0.0), sent(reconciler, 0.0)
    for attempt in (first, second):
        bad, good = attempt.tasks[:3], attempt.tasks[3:]
        reply = Answered([*results(bad, "ServerError"), *results(good)])
        reconciler.settle(attempt, reply, now_s=0.0)

    again = sent(reconciler, 0.5)

    assert again.tasks == (*first.tasks[:3], *second.tasks[:3], *tasks[200:294])
    assert again.resent == 6


def test_due_times_fall_on_a_common_grid() -> None:
    """
    Tasks that failed at different times travel together: due times are multiples of 0.25 s.
    """
    reconciler = make_reconciler(make_tasks(200), random=FixedRandom(0.5))
    attempts = [sent(reconciler, 0.0), sent(reconciler, 0.0)]
    for attempt, now_s in zip(attempts, (1.01, 1.07), strict=True):
        reconciler.settle(attempt, answered(attempt.tasks[1:]), now_s=now_s)

    assert waits(reconciler, 1.07) == 1.25
    assert sent(reconciler, 1.25).tasks == (attempts[0].tasks[0], attempts[1].tasks[0])


def test_asking_twice_gives_the_same_wait() -> None:
    """
    Asking changes nothing while there is nothing to send, and each wait ends in the future.
    """
    reconciler = make_reconciler(make_tasks(250), sealed=False, retry_timeout_s=100.0)
    attempts = [sent(reconciler, 0.0) for _ in range(2)]
    reconciler.settle(attempts[0], answered(attempts[0].tasks[1:]), now_s=0.01)
    reconciler.settle(attempts[1], Throttled(3.0, "429"), now_s=0.02)

    now_s, ends = 0.02, []
    while not isinstance(step := reconciler.next_step(now_s=now_s, in_flight_max=9), Send):
        assert isinstance(step, Wait)
        assert reconciler.next_step(now_s=now_s, in_flight_max=9) == step
        assert step.until_s > now_s
        ends.append(now_s := step.until_s)

    assert ends == [3.02, 3.25]  # Retry-After is over; the tasks are due.


# --- Retry-After and the retry timeout -------------------------------------------------------


def test_retry_after_holds_all_senders() -> None:
    """
    When the service asks for time, fresh tasks wait as well, for the longest time asked.
    """
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(1_000), events=events)
    attempts = [sent(reconciler, 0.0) for _ in range(4)]
    reconciler.settle(attempts[0], Throttled(5.0, "429 TooManyRequests"), now_s=1.0)
    reconciler.settle(attempts[1], Throttled(2.0, "429 TooManyRequests"), now_s=1.5)

    assert waits(reconciler, 1.5) == 6.0
    assert events == [Held("429 TooManyRequests", for_s=4.5)]
    reconciler.settle(attempts[2], answered(attempts[2].tasks), now_s=2.0)
    assert waits(reconciler, 2.0) == 6.0

    sent(reconciler, 6.0)
    assert events[1:] == [Resumed()]


def test_a_hold_is_told_again_only_if_it_is_longer() -> None:
    """Each reply in flight adds a little to it; a second or more is news."""
    events: list[Event] = []
    reconciler = make_reconciler(make_tasks(1_000), events=events)
    attempts = [sent(reconciler, 0.0) for _ in range(5)]
    for attempt, now_s in zip(attempts, (1.0, 1.25, 1.5, 2.0), strict=False):
        reconciler.settle(attempt, Throttled(20.0, "429"), now_s=now_s)
        waits(reconciler, now_s)

    assert events == [Held("429", for_s=20.0), Held("429", for_s=20.0)]
    assert waits(reconciler, 2.0) == 22.0


def test_retry_after_beyond_the_retry_timeout_gives_up_at_once() -> None:
    """
    Who is told to come back later than the run would wait need not wait at all.
    """
    reconciler = make_reconciler(make_tasks(1_000), retry_timeout_s=60.0)
    attempt = sent(reconciler, 0.0)

    reconciler.settle(attempt, Throttled(61.0, "429"), now_s=1.0)

    assert "come back in 61 s" in gives_up(reconciler, 1.0).reason
    assert gives_up(reconciler, 500.0) == gives_up(reconciler, 1.0)


def test_retry_after_within_the_retry_timeout_waits() -> None:
    """
    A Retry-After as long as the retry timeout is still waited for, as far as it lasts.
    """
    reconciler = make_reconciler(make_tasks(1_000), retry_timeout_s=60.0)
    attempt = sent(reconciler, 0.0)

    reconciler.settle(attempt, Throttled(59.0, "429"), now_s=0.5)

    assert waits(reconciler, 0.5) == 59.5
    sent(reconciler, 59.5)


def test_the_run_gives_up_after_the_retry_timeout() -> None:
    """
    After so long without a single task settled, the run gives up and names the last failure.
    """
    reconciler = make_reconciler(make_tasks(100), retry_timeout_s=60.0)
    attempt, now_s = sent(reconciler, 0.0), 0.0
    while now_s < 60.0:
        reconciler.settle(attempt, LOST, now_s=now_s + 0.01)
        step = reconciler.next_step(now_s=now_s + 0.01, in_flight_max=1)
        while isinstance(step, Wait):
            now_s = step.until_s
            step = reconciler.next_step(now_s=now_s, in_flight_max=1)
        if isinstance(step, GiveUp):
            break
        assert isinstance(step, Send)
        attempt = step.attempt

    assert now_s == 60.0
    assert gives_up(reconciler, 60.0).reason == (
        "no task was settled for 60 s; last: 502 Bad Gateway"
    )


def test_one_settled_task_starts_the_retry_timeout_anew() -> None:
    """
    The run gives up only if nothing at all goes forward: one task of 200 is enough.
    """
    reconciler = make_reconciler(make_tasks(200), retry_timeout_s=60.0)
    first, _second = sent(reconciler, 0.0), sent(reconciler, 0.0)
    reconciler.settle(first, answered(first.tasks[:1]), now_s=59.0)
    again, _ = sent_next(reconciler, 59.0)
    assert len(again.tasks) == 99

    assert waits(reconciler, 118.9) == 119.0
    gives_up(reconciler, 119.0)


def test_a_slow_source_is_no_failure() -> None:
    """
    The retry timeout counts only while something is being tried: waiting for the source, or
    for company, is not failing.
    """
    reconciler = make_reconciler(sealed=False, retry_timeout_s=60.0)
    for now_s in (0.0, 1_000.0, 2_000.0):
        first = int(now_s)
        step = reconciler.next_step(now_s=now_s, in_flight_max=1)
        assert step == Wait(math.inf, Why.SOURCE)
        reconciler.admit(make_tasks(1, first=first))
        assert waits(reconciler, now_s + 500.0) == now_s + 500.25
        attempt = sent(reconciler, now_s + 600.0)
        assert waits(reconciler, now_s + 600.1) == now_s + 660.0
        reconciler.settle(attempt, answered(attempt.tasks), now_s=now_s + 601.0)


def test_a_reply_that_never_comes_is_given_up() -> None:
    """
    An attempt in flight is being tried: its silence counts.
    """
    reconciler = make_reconciler(make_tasks(1), retry_timeout_s=60.0)
    sent(reconciler, 10.0)

    assert waits(reconciler, 11.0) == 70.0
    assert gives_up(reconciler, 70.0).reason == "no task was settled for 60 s; last: no reply"
