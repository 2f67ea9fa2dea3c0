"""Tasks that are refused in doubt: the second row of the table at the top of suspects.py."""

import pytest

from bulksubmit.core.model import (
    GiveUp,
    Lost,
    OnExists,
    ReadBack,
    Verdict,
    Wait,
)
from tests.core.helpers import (
    INVALID,
    absent,
    answered,
    doubted,
    make_reconciler,
    make_tasks,
    next_request,
    read_back,
    rejected_alone,
    sent,
    sent_next,
    shown,
    waits,
)

MODES: list[OnExists] = ["verify", "accept", "reject"]


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

    outcomes = [*reconciler.settle(first, INVALID, now_s=1.0)]
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
