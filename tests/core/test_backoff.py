"""Backoff, budget, hold and byte bound: numbers in, numbers out."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.backoff import (
    GRID_S,
    PRESSURE_BACKOFF,
    SERVER_ERROR_BACKOFF,
    Backoff,
    BytesBound,
    Hold,
    RetryBudget,
    on_grid,
)
from bulksubmit.core.partitioner import request_bytes
from tests.core.helpers import FixedRandom, make_task


@settings(deadline=None)
@given(at_s=st.floats(0.0, 1e9))
def test_the_grid_is_common_and_never_early(at_s: float) -> None:
    """
    The next point of the grid is a multiple of 0.25 s, at most that much later, never earlier.
    """
    point_s = on_grid(at_s)

    assert point_s % GRID_S == 0.0
    assert 0.0 <= point_s - at_s <= GRID_S
    assert on_grid(point_s) == point_s


def test_backoff_doubles_up_to_its_cap() -> None:
    """
    The bound of the delay doubles with each failure, to the cap and no further, however many.
    """
    longest, middle = FixedRandom(1.0), FixedRandom(0.5)
    bounds = [PRESSURE_BACKOFF.delay_s(failures, longest) for failures in range(1, 10)]
    assert bounds == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    assert PRESSURE_BACKOFF.delay_s(1_000_000, longest) == 30.0
    assert [SERVER_ERROR_BACKOFF.delay_s(n, longest) for n in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.5]
    assert PRESSURE_BACKOFF.delay_s(3, middle) == 1.0


def test_jitter_is_full() -> None:
    """
    Delays spread evenly from nothing to the bound, so that clients part.
    """
    random, backoff = Random(1), Backoff(base_s=1.0, cap_s=1.0)

    delays = sorted(backoff.delay_s(5, random) for _ in range(1_000))

    assert all(abs(delay_s - place / 1_000) < 0.05 for place, delay_s in enumerate(delays))


def test_the_budget_starts_with_ten_and_earns_one_a_second() -> None:
    """
    Ten resends at once, then one a second.
    """
    budget = RetryBudget()
    for _ in range(10):
        assert budget.ready_s(5.0) == 5.0
        budget.spend(5.0)

    assert budget.ready_s(5.0) == 6.0
    assert budget.ready_s(5.5) == 6.0
    assert budget.ready_s(6.0) == 6.0


def test_five_clean_replies_earn_one_resend() -> None:
    """
    A fifth of a resend for each clean reply.
    """
    budget = RetryBudget()
    for _ in range(10):
        budget.spend(0.0)
    for _ in range(5):
        budget.earn(resent=False)

    assert budget.ready_s(0.0) == pytest.approx(0.0, abs=1e-9)
    budget.spend(0.0)
    assert budget.ready_s(0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("earns", ["replies", "seconds"])
def test_the_budget_is_bounded(earns: str) -> None:
    """
    However long all went well, what was saved buys a hundred resends at most.
    """
    budget, now_s = RetryBudget(), 0.0
    budget.ready_s(now_s)
    if earns == "replies":
        for _ in range(100_000):
            budget.earn(resent=False)
    else:
        now_s = 100_000.0

    resent = 0
    while budget.ready_s(now_s) <= now_s:
        budget.spend(now_s)
        resent += 1

    assert resent == 100


@settings(deadline=None)
@given(
    start_s=st.floats(0.0, 1e9),
    gaps_s=st.lists(st.floats(0.0, 3.0), max_size=60),
    clean=st.lists(st.integers(0, 4), min_size=1, max_size=7),
)
def test_the_budget_can_be_spent_when_it_says(
    start_s: float, gaps_s: list[float], clean: list[int]
) -> None:
    """
    At the time that ready_s named a token is there, whatever the clock shows and however
    floating point rounds; or a later time is named, never the same again.
    """
    budget, now_s = RetryBudget(), start_s
    for place, gap_s in enumerate(gaps_s):
        now_s += gap_s
        for _ in range(clean[place % len(clean)]):
            budget.earn(resent=False)
        for _ in range(5):
            ready_s = budget.ready_s(now_s)
            assert now_s <= ready_s <= now_s + 1.0
            if ready_s <= now_s:
                break
            now_s = ready_s
        budget.spend(now_s)


def test_a_hold_needs_as_much_pressure_as_was_in_flight() -> None:
    """
    A streak counts against the attempts in flight when it began; a clean reply ends it.
    """
    hold = Hold(FixedRandom(1.0))
    for attempt in (1, 2):
        hold.pressure(attempt, "429", in_flight=3, now_s=0.0)
    hold.clean()
    for attempt in (3, 4):
        hold.pressure(attempt, "429", in_flight=3, now_s=0.0)
    assert not hold.probing

    hold.pressure(5, "502", in_flight=50, now_s=0.0)

    assert hold.probing
    assert hold.opens_s(0.0) == 0.5
    assert hold.reason == "502"


def test_the_jitter_of_a_probe_takes_half_at_most() -> None:
    """
    A probe goes after half of its delay at the earliest.
    """
    hold = Hold(FixedRandom(0.0))

    hold.pressure(1, "502", in_flight=1, now_s=10.0)

    assert hold.opens_s(10.0) == 10.25


def test_nothing_goes_until_the_probe_has_its_reply() -> None:
    """
    While a probe is in flight, time alone opens nothing.
    """
    hold = Hold(FixedRandom(1.0))
    hold.pressure(1, "502", in_flight=1, now_s=0.0)
    hold.sent(2)
    assert hold.opens_s(1e9) == math.inf

    hold.clean()

    assert hold.opens_s(1e9) == 1e9


def test_a_new_hold_starts_over() -> None:
    """
    After a clean reply the next hold probes after 0.5 s again.
    """
    hold = Hold(FixedRandom(1.0))
    for attempt in range(1, 6):
        hold.sent(attempt)
        hold.pressure(attempt, "502", in_flight=1, now_s=0.0)
    assert hold.opens_s(0.0) == 8.0
    hold.clean()

    hold.pressure(6, "502", in_flight=1, now_s=0.0)

    assert hold.opens_s(0.0) == 0.5


def test_a_floor_holds_beside_a_streak() -> None:
    """
    The service's own word is kept even when a probe would be due, or replies are clean; an
    earlier time does not shorten it.
    """
    hold = Hold(FixedRandom(1.0))
    hold.floor(9.0, "429")
    hold.floor(4.0, "503")
    hold.pressure(1, "429", in_flight=1, now_s=0.0)
    assert hold.opens_s(1.0) == 9.0

    hold.clean()

    assert hold.opens_s(1.0) == 9.0
    assert hold.opens_s(9.5) == 9.5


def test_the_byte_bound_falls_to_95_percent_of_what_was_refused() -> None:
    """
    The smallest refused body counts; a larger one afterwards changes nothing.
    """
    bound = BytesBound(1_000_000)

    bound.refused(900_000)
    bound.refused(1_000_000)

    assert bound.value == 855_000


def take(bound: BytesBound, body_bytes: int, times: int = 1) -> None:
    """So many clean replies to collections of this size."""
    frame = request_bytes([make_task(0, body_bytes=100)]) - 100
    tasks = [make_task(0, body_bytes=body_bytes - frame)]
    assert request_bytes(tasks) == body_bytes
    for _ in range(times):
        bound.clean(tasks)


def test_the_byte_bound_recovers() -> None:
    """
    It rises by 5 % each 50 clean replies, to where it was and no further.
    """
    bound = BytesBound(1_000_000)
    bound.refused(900_000)

    take(bound, 400_000, 49)
    assert bound.value == 855_000
    take(bound, 400_000)
    assert bound.value == 897_750
    take(bound, 400_000, 1_000)
    assert bound.value == 1_000_000


def test_refused_again_it_halves_the_distance_to_what_was_taken() -> None:
    """
    95 % is for one odd task; a smaller limit somewhere in between is searched for.
    """
    bound = BytesBound(1_000_000)
    bound.refused(300_000)
    take(bound, 150_000)

    bound.refused(285_000)
    assert bound.value == 217_500
    bound.refused(285_000)  # One that was in flight meanwhile.
    bound.refused(217_000)

    assert bound.value == 183_500


def test_a_refusal_starts_the_recovery_anew() -> None:
    """
    Fifty clean replies are counted from the last refusal.
    """
    bound = BytesBound(1_000_000)
    bound.refused(900_000)
    take(bound, 800_000, 49)

    bound.refused(855_000)
    take(bound, 800_000)

    assert bound.value == 812_250


def test_a_rise_that_was_refused_makes_it_patient() -> None:
    """
    The next rise takes twice as many replies, and again, so that a gateway's limit is met ever
    more seldom.
    """
    bound = BytesBound(1_000_000)
    bound.refused(1_000_000)
    rises = []
    for _ in range(4):
        before, replies = bound.value, 0
        while bound.value == before:
            take(bound, 500_000)
            replies += 1
        rises.append(replies)
        bound.refused(bound.value)

    assert rises == [50, 100, 200, 400]


@settings(max_examples=40)
@given(limit=st.integers(1_000, 999_999), in_flight=st.integers(1, 20))
def test_the_limit_of_a_gateway_is_found(limit: int, in_flight: int) -> None:
    """
    Whatever it is, and however many requests are in flight: after some rounds nearly all of what
    passes is sent, and what is refused are a few rounds of what is in flight.
    """
    bound = BytesBound(1_000_000)
    refused = 0
    for _ in range(60):
        size = bound.value
        for _ in range(in_flight):
            if size > limit:
                bound.refused(size)
                refused += 1
                take(bound, max(200, min(size // 2, limit)), 2)
            else:
                take(bound, size)

    assert 0.75 * limit <= min(bound.value, limit)
    assert refused <= in_flight * (12 + 2 * math.log2(1_000_000 / limit))
