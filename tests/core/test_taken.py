"""Tasks that are said to exist: the first row of the table at the top of suspects.py."""

import pytest

from bulksubmit.core.model import (
    Answered,
    Lost,
    OnExists,
    ReadBack,
    Reply,
    TaskResult,
    Throttled,
    Verdict,
)
from tests.core.helpers import (
    absent,
    answered,
    doubted,
    make_reconciler,
    make_task,
    make_tasks,
    read_back,
    sent,
    sent_next,
    shown,
    told_exists,
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


# --- What is found ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["clienterror", "ClientError", "CLIENTERROR"])
@pytest.mark.parametrize("code", ["TaskExists", "taskexists", "TASKEXISTS"])
def test_exists_is_read_back(status: str, code: str) -> None:
    """
    A task whose ID is taken is not settled by that: it is read back, however it is spelled.
    """
    reconciler = make_reconciler(make_tasks(1))
    attempt = sent(reconciler, 0.0)

    assert reconciler.settle(attempt, answered(attempt.tasks, status, code), now_s=1.0) == []

    assert read_back(reconciler, 1.0) == ReadBack(-1, tuple(attempt.tasks), one_by_one=False)
    assert (reconciler.unsettled, reconciler.in_doubt) == (1, 1)
    assert reconciler.sent_before == (0, 1)
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
