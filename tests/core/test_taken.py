"""Tasks whose IDs are taken, or may be: the table at the top of suspects.py, a test a row."""

import pytest

from bulksubmit.core.model import (
    Answered,
    Attempt,
    BatchError,
    ErrorDetail,
    ErrorMessage,
    GiveUp,
    Lost,
    OnExists,
    Outcome,
    ReadBack,
    Reading,
    Refused,
    Reply,
    Send,
    TaskResult,
    Throttled,
    Verdict,
    Wait,
)
from bulksubmit.core.reconciler import Reconciler
from tests.core.helpers import (
    absent,
    answered,
    make_reconciler,
    make_task,
    make_tasks,
    next_request,
    read_back,
    sent,
    sent_next,
    shown,
    waits,
)

DOUBTFUL: dict[str, Reply] = {
    "lost": Lost("read timeout", sent=True),
    "throttled": Throttled(None, "429"),
    "servererror": Answered([TaskResult("t0", "ServerError")]),
    "missing": Answered([]),
    "unknown status": Answered([TaskResult("t0", "Perhaps")]),
    "contradiction": Answered([TaskResult("t0", "Success"), TaskResult("t0", "ClientError")]),
}
MODES: list[OnExists] = ["verify", "accept", "reject"]
INVALID = Refused("InvalidPropertyValue", "Odd.", (ErrorDetail("PropertyName", "x"),), "r-2")


def told_exists(reconciler: Reconciler, attempt: Attempt, now_s: float) -> list[Outcome]:
    """The answer to an attempt: each of its IDs is taken."""
    exists = answered(attempt.tasks, "ClientError", "TaskExists")
    return reconciler.settle(attempt, exists, now_s=now_s)


def doubted(reconciler: Reconciler) -> tuple[Attempt, float]:
    """The second attempt of all tasks, the first having been sent at 0 s and lost at 1 s."""
    first = sent(reconciler, 0.0)
    reconciler.settle(first, Lost("read timeout", sent=True), now_s=1.0)
    return sent_next(reconciler, 1.0)


# --- Said to exist ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["clienterror", "ClientError", "CLIENTERROR"])
@pytest.mark.parametrize("code", ["TaskExists", "taskexists", "TASKEXISTS"])
def test_exists_is_read_back(status: str, code: str) -> None:
    """
    A task whose ID is taken is not settled by that: it is read back, however it is spelled.
    """
    reconciler = make_reconciler(make_tasks(1))
    attempt = sent(reconciler, 0.0)

    assert reconciler.settle(attempt, answered(attempt.tasks, status, code), now_s=1.0) == []

    assert read_back(reconciler, 1.0) == ReadBack(2, attempt.tasks, one_by_one=False)
    assert (reconciler.unsettled, reconciler.in_doubt, reconciler.retrying) == (1, 1, 1)
    reconciler.check()


@pytest.mark.parametrize("doubtful", DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_equal_in_doubt_is_existed_as_our_own(doubtful: Reply) -> None:
    """
    Found equal after a reply that left it in doubt, a task was added by the attempt that got
    that reply.
    """
    reconciler = make_reconciler(make_tasks(1))
    assert reconciler.settle(sent(reconciler, 0.0), doubtful, now_s=1.0) == []
    again, now_s = sent_next(reconciler, 1.0)
    assert told_exists(reconciler, again, now_s) == []

    read = read_back(reconciler, now_s)
    (outcome,) = reconciler.settle_read_back(read, shown(read.tasks), now_s=now_s)

    assert (outcome.verdict, outcome.attempts, outcome.in_doubt) == (Verdict.EXISTED, 2, True)
    assert (outcome.code, outcome.body) == (None, b"")
    assert (reconciler.unsettled, reconciler.unsettled_bytes) == (0, 0)
    reconciler.check()


def test_equal_never_in_doubt_is_existed_before_us() -> None:
    """
    Found equal though no attempt of ours can have added it, a task existed before, say by an
    earlier run.
    """
    reconciler = make_reconciler(make_tasks(1))
    told_exists(reconciler, sent(reconciler, 0.0), 1.0)

    read = read_back(reconciler, 1.0)
    (outcome,) = reconciler.settle_read_back(read, shown(read.tasks), now_s=2.0)

    assert (outcome.verdict, outcome.attempts, outcome.in_doubt) == (Verdict.EXISTED, 1, False)


def test_different_is_rejected_with_its_fields() -> None:
    """
    A task under whose ID another was found is rejected, in doubt or not, naming the fields;
    as another is there, ours is not.
    """
    for in_doubt in (False, True):
        reconciler = make_reconciler(make_tasks(1))
        attempt, now_s = doubted(reconciler) if in_doubt else (sent(reconciler, 0.0), 0.0)
        told_exists(reconciler, attempt, now_s)

        read = read_back(reconciler, now_s)
        other = shown(read.tasks, command=b"other")
        (outcome,) = reconciler.settle_read_back(read, other, now_s=now_s)

        assert (outcome.verdict, outcome.code) == (Verdict.REJECTED, "TaskExists")
        assert outcome.message is not None
        assert "other content" in outcome.message
        assert [detail.key for detail in outcome.values] == ["commandLine"]
        assert not outcome.in_doubt
        assert outcome.body == read.tasks[0].body
        assert (outcome.request_id, outcome.client_request_id) == ("r-1", attempt.client_request_id)
        reconciler.check()


def test_absent_goes_again_and_then_is_asked_for_by_its_id() -> None:
    """
    Said to exist and not found, a task is in doubt and goes again: a list may lag. When it is
    said to exist again, it is asked for by itself.
    """
    reconciler = make_reconciler(make_tasks(1))
    told_exists(reconciler, sent(reconciler, 0.0), 1.0)
    read = read_back(reconciler, 1.0)

    assert reconciler.settle_read_back(read, absent(read.tasks), now_s=2.0) == []

    assert reconciler.in_doubt == 1
    reconciler.check()
    again, now_s = sent_next(reconciler, 2.0)
    assert 2.0 < now_s <= 2.75
    told_exists(reconciler, again, now_s)
    read = read_back(reconciler, now_s)
    assert read.one_by_one
    (outcome,) = reconciler.settle_read_back(read, shown(read.tasks), now_s=now_s)
    assert (outcome.verdict, outcome.attempts, outcome.in_doubt) == (Verdict.EXISTED, 2, True)


def test_absent_and_then_added() -> None:
    """
    A task that was said to exist, was not found and went again may be added then.
    """
    reconciler = make_reconciler(make_tasks(1))
    told_exists(reconciler, sent(reconciler, 0.0), 0.0)
    read = read_back(reconciler, 0.0)
    reconciler.settle_read_back(read, absent(read.tasks), now_s=0.0)
    again, now_s = sent_next(reconciler, 0.0)

    (outcome,) = reconciler.settle(again, answered(again.tasks), now_s=now_s)

    assert (outcome.verdict, outcome.attempts) == (Verdict.ADDED, 2)


def test_the_same_id_twice_in_the_source() -> None:
    """
    Two tasks of the source with one ID, in whatever case, never travel together. The second one
    existed if its content is the first one's, and is rejected otherwise.
    """
    twins = [make_task(0, task_id="a"), make_task(1, task_id="A"), make_task(2, task_id="a")]
    twins[2] = twins[2].__class__(2, 3, "a", twins[0].body)
    reconciler = make_reconciler(twins)
    first, second, third = (sent(reconciler, 0.0) for _ in range(3))
    (added,) = reconciler.settle(first, answered(first.tasks), now_s=1.0)
    told_exists(reconciler, second, 1.0)
    told_exists(reconciler, third, 1.0)

    read = read_back(reconciler, 1.0)
    other, same = reconciler.settle_read_back(read, shown(first.tasks), now_s=1.0)

    assert added.verdict is Verdict.ADDED
    assert (other.task_id, other.verdict) == ("A", Verdict.REJECTED)
    assert (same.task_id, same.verdict, same.in_doubt) == ("a", Verdict.EXISTED, False)


# --- By --on-exists --------------------------------------------------------------------------


def test_accept_is_existed_unread() -> None:
    """
    To accept is to take whatever exists for ours.
    """
    reconciler = make_reconciler(make_tasks(2), on_exists="accept")

    outcomes = told_exists(reconciler, sent(reconciler, 0.0), 1.0)

    assert {(o.verdict, o.in_doubt) for o in outcomes} == {(Verdict.EXISTED, False)}
    assert not reconciler.unsettled


@pytest.mark.parametrize("certain", [None, Lost("no connection", sent=False)])
def test_reject_never_in_doubt_is_rejected_unread(certain: Reply | None) -> None:
    """
    To reject is to reject at once what none of our attempts can have added.
    """
    reconciler = make_reconciler(make_tasks(2), on_exists="reject")
    attempt, now_s = sent(reconciler, 0.0), 0.0
    if certain:
        reconciler.settle(attempt, certain, now_s=0.0)
        attempt, now_s = sent_next(reconciler, 0.0)

    outcomes = told_exists(reconciler, attempt, now_s)

    assert {(o.verdict, o.code) for o in outcomes} == {(Verdict.REJECTED, "TaskExists")}
    assert {o.in_doubt for o in outcomes} == {False}
    assert not reconciler.unsettled


def test_reject_in_doubt_is_read_back() -> None:
    """
    Even where taken IDs are rejected, what an attempt of ours may have added is looked at.
    """
    reconciler = make_reconciler(make_tasks(1), on_exists="reject")
    attempt, now_s = doubted(reconciler)
    told_exists(reconciler, attempt, now_s)

    read = read_back(reconciler, now_s)
    (outcome,) = reconciler.settle_read_back(read, shown(read.tasks), now_s=now_s)

    assert (outcome.verdict, outcome.in_doubt) == (Verdict.EXISTED, True)


@pytest.mark.parametrize("on_exists", MODES)
def test_an_earlier_process_is_an_attempt_of_ours(on_exists: OnExists) -> None:
    """
    What an earlier process may have sent is in doubt from the start.
    """
    reconciler = make_reconciler(make_tasks(1), on_exists=on_exists, doubt_below=1)
    outcomes = told_exists(reconciler, sent(reconciler, 5.0), 6.0)

    if on_exists != "accept":
        read = read_back(reconciler, 6.0)
        outcomes = reconciler.settle_read_back(read, shown(read.tasks), now_s=6.0)

    assert [(o.verdict, o.in_doubt) for o in outcomes] == [(Verdict.EXISTED, True)]


# --- Held ------------------------------------------------------------------------------------


def rejected_alone(reconciler: Reconciler, attempt: Attempt, now_s: float, how: str) -> None:
    """The one task of an attempt is refused: by its result, or as the only one of a request."""
    error = BatchError(INVALID.code, ErrorMessage("en", INVALID.message), INVALID.values)
    result = Answered([TaskResult(attempt.tasks[0].id, "ClientError", error)], INVALID.request_id)
    reply = INVALID if how == "refused" else result
    assert reconciler.settle(attempt, reply, now_s=now_s) == []


@pytest.mark.parametrize("how", ["refused", "clienterror"])
@pytest.mark.parametrize(
    ("found", "verdict", "in_doubt"),
    [
        ("equal", Verdict.EXISTED, True),
        ("different", Verdict.REJECTED, False),
        ("absent", Verdict.REJECTED, True),
    ],
)
def test_refused_in_doubt_is_held(
    how: str,
    found: str,
    verdict: Verdict,
    in_doubt: bool,  # noqa: FBT001 (a parameter set)
) -> None:
    """
    A task that is refused after a lost reply may still land: it is read back, once, when the
    service's time-out has passed since the lost attempt was sent. If it is there, it existed;
    otherwise it is rejected, with what the service said.
    """
    reconciler = make_reconciler(make_tasks(1), server_timeout_s=30.0)
    attempt, now_s = doubted(reconciler)
    rejected_alone(reconciler, attempt, now_s, how)
    reconciler.check()
    assert (reconciler.unsettled, reconciler.in_doubt) == (1, 1)

    assert waits(reconciler, now_s) == 30.0
    read = read_back(reconciler, 30.0)
    readings = {
        "equal": shown(read.tasks),
        "different": shown(read.tasks, command=b"other"),
        "absent": absent(read.tasks),
    }
    (outcome,) = reconciler.settle_read_back(read, readings[found], now_s=31.0)

    assert (outcome.verdict, outcome.in_doubt, outcome.attempts) == (verdict, in_doubt, 2)
    rejected = verdict is Verdict.REJECTED
    assert outcome.code == (INVALID.code if rejected else None)
    assert outcome.values == (INVALID.values if rejected else ())
    assert not reconciler.unsettled


def test_the_last_doubtful_attempt_counts() -> None:
    """
    The time-out runs from when the last attempt was sent that may have added the task; one
    that was not sent is none.
    """
    reconciler = make_reconciler(make_tasks(1), server_timeout_s=30.0)
    again, second_s = doubted(reconciler)
    reconciler.settle(again, Lost("reset", sent=True), now_s=second_s + 5.0)
    third, third_s = sent_next(reconciler, second_s + 5.0)
    reconciler.settle(third, Lost("no connection", sent=False), now_s=third_s)
    fourth, fourth_s = sent_next(reconciler, third_s)
    rejected_alone(reconciler, fourth, fourth_s, "refused")

    assert waits(reconciler, fourth_s) == second_s + 30.0


def test_once_the_time_out_has_passed_it_is_read_at_once() -> None:
    """
    If the doubtful attempt was sent long ago, there is nothing to wait for.
    """
    reconciler = make_reconciler(make_tasks(1), server_timeout_s=1.0)
    attempt, now_s = doubted(reconciler)
    rejected_alone(reconciler, attempt, now_s, "refused")

    assert read_back(reconciler, now_s).tasks == attempt.tasks


def test_an_earlier_process_may_have_sent_until_this_one_began() -> None:
    """
    When an earlier process sent a task is not known, but that it was before this one began.
    """
    reconciler = make_reconciler(make_tasks(1), server_timeout_s=30.0, doubt_below=1)
    attempt = sent(reconciler, 100.0)
    rejected_alone(reconciler, attempt, 101.0, "refused")

    assert waits(reconciler, 101.0) == 130.0


@pytest.mark.parametrize("on_exists", MODES)
def test_refused_never_in_doubt_is_rejected_at_once(on_exists: OnExists) -> None:
    """
    What no attempt of ours can have added is rejected as it is refused.
    """
    reconciler = make_reconciler(make_tasks(2), tasks_max=1, on_exists=on_exists)
    first, second = sent(reconciler, 0.0), sent(reconciler, 0.0)

    outcomes = reconciler.settle(first, INVALID, now_s=1.0)
    refused = answered(second.tasks, "ClientError", "OutOfRangeInput")
    outcomes += reconciler.settle(second, refused, now_s=1.0)

    assert [(o.verdict, o.in_doubt) for o in outcomes] == [(Verdict.REJECTED, False)] * 2
    assert not reconciler.unsettled


def test_waiting_for_the_service_s_time_out_is_no_reason_to_give_up() -> None:
    """
    While all that is left may still land, nothing is being tried: a retry timeout that is
    shorter than the service's ends nothing. What is read back then is tried.
    """
    reconciler = make_reconciler(make_tasks(1), server_timeout_s=30.0, retry_timeout_s=5.0)
    attempt, now_s = doubted(reconciler)
    rejected_alone(reconciler, attempt, now_s, "refused")

    read, now_s = next_request(reconciler, now_s)

    assert isinstance(read, ReadBack)
    assert now_s == 30.0
    for _ in range(100):
        step = reconciler.next_step(now_s=now_s, in_flight_max=1)
        if isinstance(step, GiveUp):
            break
        assert isinstance(step, Wait)
        now_s = step.until_s
    assert now_s == 35.0


# --- When ------------------------------------------------------------------------------------


def test_sends_go_first() -> None:
    """
    A few tasks wait to be read back as long as anything can be sent; with nothing to send they
    are read at once.
    """
    reconciler = make_reconciler(make_tasks(300))
    told_exists(reconciler, sent(reconciler, 0.0), 1.0)

    sends = [reconciler.next_step(now_s=1.0, in_flight_max=9) for _ in range(2)]

    assert all(isinstance(step, Send) for step in sends)
    assert len(read_back(reconciler, 1.0).tasks) == 100


def test_a_thousand_go_before_sends() -> None:
    """
    With a thousand waiting, they are read back next; never more at once.
    """
    reconciler = make_reconciler(make_tasks(2_000))
    attempts = [sent(reconciler, 0.0) for _ in range(11)]
    for attempt in attempts:
        told_exists(reconciler, attempt, 1.0)

    assert len(read_back(reconciler, 1.0).tasks) == 1000
    assert len(sent(reconciler, 1.0).tasks) == 100
    reconciler.check()


def test_it_takes_a_place_in_flight() -> None:
    """
    A read-back is one request in flight: it waits for a place, and takes one.
    """
    reconciler = make_reconciler(make_tasks(200), tasks_max=100)
    first, _second = sent(reconciler, 0.0), sent(reconciler, 0.0)
    told_exists(reconciler, first, 1.0)

    assert waits(reconciler, 1.0, in_flight_max=1) > 1.0
    read_back(reconciler, 1.0, in_flight_max=2)

    assert reconciler.in_flight == 2
    assert waits(reconciler, 1.0, in_flight_max=2) > 1.0


def test_it_waits_while_all_is_held() -> None:
    """
    While the service asks everybody to wait, nothing is read back either.
    """
    reconciler = make_reconciler(make_tasks(200), tasks_max=100)
    first, second = sent(reconciler, 0.0), sent(reconciler, 0.0)
    told_exists(reconciler, first, 1.0)
    reconciler.settle(second, Throttled(20.0, "429"), now_s=1.0)

    request, now_s = next_request(reconciler, 1.0)

    assert isinstance(request, Attempt | ReadBack)
    assert now_s >= 21.0


# --- Read-backs that fail --------------------------------------------------------------------


def test_a_lost_read_back_is_made_again_later() -> None:
    """
    A read-back that cannot be done is pressure: it is made again after a backoff, and holds the
    run back like any other; nothing is settled meanwhile.
    """
    reconciler = make_reconciler(make_tasks(1))
    told_exists(reconciler, sent(reconciler, 0.0), 0.0)
    now_s = 0.0
    gaps = []
    for _ in range(6):
        read, at_s = next_request(reconciler, now_s)
        assert isinstance(read, ReadBack)
        gaps.append(at_s - now_s)
        now_s = at_s + 0.1
        lost = Reading({}, Lost("502", sent=True))
        assert reconciler.settle_read_back(read, lost, now_s=now_s) == []
        reconciler.check()

    assert gaps == sorted(gaps)
    assert gaps[-1] >= 8.0
    read, now_s = next_request(reconciler, now_s)
    assert isinstance(read, ReadBack)
    (outcome,) = reconciler.settle_read_back(read, shown(read.tasks), now_s=now_s)
    assert outcome.verdict is Verdict.EXISTED


def test_what_was_read_counts() -> None:
    """
    A read-back that broke off settles what it has found; the rest is read back later, and no
    pressure is felt.
    """
    tasks = make_tasks(10)
    reconciler = make_reconciler(tasks)
    told_exists(reconciler, sent(reconciler, 0.0), 0.0)
    read = read_back(reconciler, 0.0)
    found = shown(tasks[:6]).found

    outcomes = reconciler.settle_read_back(read, Reading(found, Lost("502", sent=True)), now_s=0.0)

    assert [outcome.ordinal for outcome in outcomes] == list(range(6))
    rest, now_s = next_request(reconciler, 0.0)
    assert isinstance(rest, ReadBack)
    assert rest.tasks == tuple(tasks[6:])
    assert 0.0 < now_s <= 0.5


def test_retry_after_of_a_read_back_holds_all() -> None:
    """
    A Retry-After that a read-back meets holds every sender, fresh tasks too.
    """
    reconciler = make_reconciler(make_tasks(100), sealed=False)
    told_exists(reconciler, sent(reconciler, 0.0), 0.0)
    read = read_back(reconciler, 0.0)
    throttled = Lost("429", sent=True, retry_after_s=9.0)
    reconciler.settle_read_back(read, Reading({}, throttled), now_s=1.0)
    reconciler.admit(make_tasks(100, first=100))

    _, now_s = next_request(reconciler, 1.0)

    assert now_s >= 10.0


def test_a_probe_may_be_a_read_back() -> None:
    """
    While the run is held, a single read-back goes to see whether the service is well; if it
    is, all goes on.
    """
    reconciler = make_reconciler(make_tasks(1), sealed=False, tasks_max=1)
    told_exists(reconciler, sent(reconciler, 0.0), 0.0)
    read = read_back(reconciler, 0.0)
    reconciler.settle_read_back(read, Reading({}, Lost("502", sent=True)), now_s=0.0)
    probe, now_s = next_request(reconciler, 0.0)
    reconciler.admit(make_tasks(1, first=1))
    assert isinstance(probe, ReadBack)
    assert waits(reconciler, now_s) > now_s + 100.0

    reconciler.settle_read_back(probe, shown(probe.tasks), now_s=now_s)

    assert sent(reconciler, now_s).tasks[0].ordinal == 1


# --- The end ---------------------------------------------------------------------------------


def test_what_waits_to_be_read_back_is_abandoned() -> None:
    """
    When the run gives up, tasks that wait to be read back, are being read, or are held are
    ABANDONED: one of their ID exists, or may, and whose it is is not known.
    """
    reconciler = make_reconciler(make_tasks(4), tasks_max=1)
    attempts = [sent(reconciler, 0.0) for _ in range(4)]
    told_exists(reconciler, attempts[0], 0.0)
    read_back(reconciler, 0.0)
    told_exists(reconciler, attempts[1], 0.0)
    reconciler.settle(attempts[2], Lost("reset", sent=True), now_s=0.0)
    reconciler.settle(attempts[3], answered(attempts[3].tasks), now_s=0.0)
    again, now_s = next_attempt(reconciler)
    rejected_alone(reconciler, again, now_s, "refused")
    reconciler.check()

    outcomes = reconciler.abandon("out of patience")

    assert {(o.task_id, o.verdict, o.attempts, o.in_doubt) for o in outcomes} == {
        ("t0", Verdict.ABANDONED, 1, True),
        ("t1", Verdict.ABANDONED, 1, True),
        ("t2", Verdict.ABANDONED, 2, True),
    }
    assert (reconciler.unsettled, reconciler.unsettled_bytes) == (0, 0)
    assert (reconciler.in_flight, reconciler.in_doubt) == (0, 0)


def next_attempt(reconciler: Reconciler) -> tuple[Attempt, float]:
    """The next attempt; read-backs on the way find nothing and are lost."""
    now_s = 0.0
    while True:
        request, now_s = next_request(reconciler, now_s)
        if isinstance(request, Attempt):
            return request, now_s


def test_taken_ids_alone_are_no_pressure() -> None:
    """
    An answer that says of every task that it exists comes from a service that is well.
    """
    reconciler = make_reconciler(make_tasks(1_000))
    for _ in range(9):
        told_exists(reconciler, sent(reconciler, 0.0, in_flight_max=1), 0.0)

    assert len(sent(reconciler, 0.0, in_flight_max=1).tasks) == 100
