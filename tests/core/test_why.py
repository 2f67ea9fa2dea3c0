"""Why there is nothing to send: each Wait says it."""

import math

from bulksubmit.core.model import Answered, Attempt, Lost, Throttled, Wait, Why
from bulksubmit.core.reconciler import Reconciler
from tests.core.helpers import answered, make_reconciler, make_tasks, read_back, results, sent


def why(
    reconciler: Reconciler, now_s: float, *, in_flight_max: int = 1000, opens_s: float = -math.inf
) -> Why:
    step = reconciler.next_step(now_s=now_s, in_flight_max=in_flight_max, opens_s=opens_s)
    assert isinstance(step, Wait), type(step)
    return step.why


def in_flight(count: int, *, tasks: int = 1000) -> tuple[Reconciler, list[Attempt]]:
    """A reconciler of which so many attempts are in flight."""
    reconciler = make_reconciler(make_tasks(tasks))
    return reconciler, [sent(reconciler, 0.0) for _ in range(count)]


def test_as_many_are_in_flight_as_may_be() -> None:
    """Whatever else there is to wait for, a place comes first."""
    reconciler, _ = in_flight(3)

    assert why(reconciler, 0.0, in_flight_max=3) is Why.PLACES
    assert why(reconciler, 0.0, in_flight_max=3, opens_s=9.0) is Why.PLACES


def test_it_is_too_soon() -> None:
    """There is a place and something to send, and the pace wants a pause."""
    reconciler, _ = in_flight(3)

    assert why(reconciler, 1.0, opens_s=1.5) is Why.PACE


def test_the_service_asks_for_a_pause() -> None:
    """A Retry-After holds all; a pace that opens later binds before it."""
    reconciler, (attempt, *_) = in_flight(3)
    reconciler.settle(attempt, Throttled(10.0, "429"), now_s=1.0)

    assert why(reconciler, 2.0) is Why.ASKED
    assert why(reconciler, 2.0, opens_s=10.0) is Why.ASKED
    assert why(reconciler, 2.0, opens_s=12.0) is Why.PACE


def test_nothing_gets_through() -> None:
    """After pressure alone, nothing goes before the probe, nor beside it."""
    reconciler, (attempt,) = in_flight(1)
    reconciler.settle(attempt, Lost("502", sent=True), now_s=1.0)
    assert why(reconciler, 1.0) is Why.HELD

    sent(reconciler, 3.0)

    assert why(reconciler, 3.0) is Why.HELD


def test_the_source_is_slow() -> None:
    """Nothing was read yet; all that was is in flight; a part waits for company."""
    reconciler = make_reconciler(sealed=False)
    assert why(reconciler, 0.0) is Why.SOURCE

    reconciler.admit(make_tasks(100))
    sent(reconciler, 0.0)
    assert why(reconciler, 0.0) is Why.SOURCE

    reconciler.admit(make_tasks(7, first=100))
    assert why(reconciler, 0.0) is Why.SOURCE


def test_only_replies_are_left() -> None:
    """The source is at its end, and all that is unsettled is in flight."""
    reconciler, attempts = in_flight(2, tasks=200)

    assert why(reconciler, 0.0) is Why.REPLIES

    reconciler.settle(attempts[0], answered(attempts[0].tasks), now_s=1.0)
    assert why(reconciler, 1.0) is Why.REPLIES


def test_only_retries_are_left() -> None:
    """What is not in flight is not due."""
    reconciler, (attempt,) = in_flight(1, tasks=2)
    added, failed = attempt.tasks
    each = [*results([added]), *results([failed], "ServerError", "InternalError")]
    reconciler.settle(attempt, Answered(each), now_s=1.0)

    assert why(reconciler, 1.0) is Why.RETRIES


def test_retries_beside_replies() -> None:
    """As long as something is not in flight that is to be, it is not only the replies."""
    reconciler, (attempt, _) = in_flight(2, tasks=200)
    reconciler.settle(attempt, Lost("reset", sent=True), now_s=1.0)

    assert why(reconciler, 1.0) is Why.RETRIES


def test_only_read_backs_are_left() -> None:
    """What is read back is a reply to wait for, like any other."""
    reconciler, (attempt,) = in_flight(1, tasks=2)
    reconciler.settle(attempt, answered(attempt.tasks, "ClientError", "TaskExists"), now_s=1.0)
    read_back(reconciler, 1.0)

    assert why(reconciler, 1.0) is Why.REPLIES
