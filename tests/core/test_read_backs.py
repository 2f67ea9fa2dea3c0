"""When tasks are read back, read-backs that fail, and what becomes of them at the end."""

from bulksubmit.core.model import (
    Attempt,
    Lost,
    ReadBack,
    Reading,
    Send,
    Throttled,
    Verdict,
)
from bulksubmit.core.reconciler import Reconciler
from tests.core.helpers import (
    answered,
    make_reconciler,
    make_tasks,
    next_request,
    read_back,
    rejected_alone,
    sent,
    shown,
    told_exists,
    waits,
)

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
