"""Whole runs on a pure clock: how many requests they need, and what a service that is down sees."""

from collections.abc import Callable
from random import Random

import pytest

from bulksubmit.core.model import Answered, Attempt, Converged, Lost, Reply, Throttled, Verdict
from tests.core.helpers import Service, answered, make_reconciler, make_tasks, results, simulate


def failing(random: Random, *, share: float) -> Service:
    """A service that answers servererror for a share of the tasks, within 25 to 75 ms."""

    def serve(attempt: Attempt, _: float) -> tuple[float, Reply]:
        bad = [task for task in attempt.tasks if random.random() < share]
        good = [task for task in attempt.tasks if task not in bad]
        reply = Answered([*results(bad, "ServerError"), *results(good)])
        return 0.025 + 0.05 * random.random(), reply

    return serve


@pytest.mark.parametrize("seed", [1, 2])
def test_one_percent_of_servererrors_costs_three_percent_of_requests(seed: int) -> None:
    """
    100,000 tasks of which 1 % meet a servererror need at most 1.03 times the 1,000 requests
    that they would need without; and each is settled.
    """
    random = Random(seed)
    tasks = make_tasks(100_000)
    reconciler = make_reconciler(sealed=False, random=random)
    blocks = [(first / 50_000, tasks[first : first + 1_000]) for first in range(0, 100_000, 1_000)]

    run = simulate(reconciler, failing(random, share=0.01), in_flight_max=16, source=blocks)

    assert isinstance(run.ended, Converged)
    assert len(run.sent_s) <= 1_030
    assert {outcome.verdict for outcome in run.outcomes} == {Verdict.ADDED}
    assert sorted(outcome.ordinal for outcome in run.outcomes) == list(range(100_000))


@pytest.mark.parametrize("seed", range(5))
def test_the_last_tasks_of_many_servererrors_do_not_lag(seed: int) -> None:
    """
    At 30 % servererror the last tasks fail several times over; they follow within seconds of
    the last fresh one, as no backoff of theirs has grown to that of a service that is down.
    """
    random = Random(seed)
    reconciler = make_reconciler(make_tasks(20_000), random=random)
    service = failing(random, share=0.3)
    fresh_s = 0.0

    def serve(attempt: Attempt, now_s: float) -> tuple[float, Reply]:
        nonlocal fresh_s
        fresh_s = now_s if reconciler.fresh else fresh_s
        return service(attempt, now_s)

    run = simulate(reconciler, serve, in_flight_max=16)

    assert isinstance(run.ended, Converged)
    assert run.now_s - fresh_s < 10.0


DOWN: dict[str, Callable[[Attempt], Reply]] = {
    "502": lambda _: Lost("502 Bad Gateway", sent=True),
    "no connection": lambda _: Lost("connection refused", sent=False),
    "429 without Retry-After": lambda _: Throttled(None, "429"),
    "servererror for every task": lambda attempt: answered(attempt.tasks, "ServerError"),
}


@pytest.mark.parametrize("reply", DOWN.values(), ids=DOWN.keys())
@pytest.mark.parametrize("senders", [1, 16, 100])
def test_a_service_that_is_down_is_left_in_peace(
    reply: Callable[[Attempt], Reply], senders: int
) -> None:
    """
    A service that is down for 25 s sees fewer than 60 requests after the first second, however
    fast it fails and however many senders there are; once it works again, the run converges.
    """
    random = Random(senders)
    reconciler = make_reconciler(make_tasks(50_000), random=random)

    def serve(attempt: Attempt, now_s: float) -> tuple[float, Reply]:
        if now_s < 25.0:
            return 0.01 * random.random(), reply(attempt)
        return 0.05, answered(attempt.tasks)

    run = simulate(reconciler, serve, in_flight_max=senders)

    assert len([at_s for at_s in run.sent_s if 1.0 < at_s <= 25.0]) < 60
    assert isinstance(run.ended, Converged)
    assert len(run.outcomes) == 50_000


def test_a_service_that_goes_down_in_mid_run_is_left_in_peace() -> None:
    """
    The same holds for a service that has worked well for a while: what it earned before buys
    no storm.
    """
    random = Random(1)
    reconciler = make_reconciler(make_tasks(400_000), random=random)

    def serve(attempt: Attempt, now_s: float) -> tuple[float, Reply]:
        if 2.0 <= now_s < 27.0:
            return 0.01 * random.random(), Lost("502 Bad Gateway", sent=True)
        return 0.05, answered(attempt.tasks)

    run = simulate(reconciler, serve, in_flight_max=64)

    assert len([at_s for at_s in run.sent_s if 3.0 < at_s <= 27.0]) < 60
    assert isinstance(run.ended, Converged)


def test_a_short_outage_is_soon_forgotten() -> None:
    """
    One second without service costs a run about one second, not a backoff of thirty.
    """
    random = Random(1)
    reconciler = make_reconciler(make_tasks(100_000), random=random)

    def serve(attempt: Attempt, now_s: float) -> tuple[float, Reply]:
        if 1.0 <= now_s < 2.0:
            return 0.01, Lost("connection reset", sent=True)
        return 0.05, answered(attempt.tasks)

    run = simulate(reconciler, serve, in_flight_max=16)

    needed_s = 1_000 / 16 * 0.05
    assert run.now_s < needed_s + 1.0 + 3.0
    assert len(run.sent_s) < 1_000 + 3 * 16
