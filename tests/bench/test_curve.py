"""What steps come to, and which one is next."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.bench.curve import Curve, Limit, Step, next_in_flight
from bulksubmit.bench.meter import Exchange, measured


def step(in_flight: float, tasks_per_s: float, **values: float) -> Step:
    """A step of ten seconds."""
    throttled, lost, cpu = (values.pop(name, 0.0) for name in ("throttled", "lost", "cpu"))
    assert not values
    return Step(
        in_flight=in_flight,
        auto=False,
        seconds=10.0,
        requests=100,
        tasks=round(10 * tasks_per_s),
        tasks_per_s=tasks_per_s,
        p50_ms=100.0,
        p95_ms=120.0,
        throttled_share=throttled,
        lost_share=lost,
        cpu_share=cpu,
    )


def auto(tasks_per_s: float) -> Step:
    """The adaptive limit's."""
    one = step(5.5, tasks_per_s)
    return Step(**{name: getattr(one, name) for name in Step.__slots__} | {"auto": True})


def climbed(service: Callable[[int], Step], most: int) -> Curve:
    """All that is tried of a service."""
    steps: list[Step] = []
    while (number := next_in_flight(steps, most)) is not None:
        assert 1 <= number <= most
        assert number not in {each.in_flight for each in steps}, "tried before"
        steps.append(service(number))
    return Curve(tuple(steps))


@given(knee=st.integers(1, 1000), most=st.integers(1, 1000), worse=st.floats(0.0, 1.0))
def test_any_knee_is_found(knee: int, most: int, worse: float) -> None:
    """
    Wherever a service's knee is, and however much it takes beyond it, it is found to a fifth, in
    few steps; if it is beyond the most that may be tried, that is told.
    """

    def service(number: int) -> Step:
        beyond = number > knee
        return step(number, 100.0 * (worse * knee if beyond else number), throttled=0.5 * beyond)

    curve = climbed(service, most)

    assert len(curve.steps) <= 20
    assert curve.enough is not None
    assert curve.enough.in_flight == pytest.approx(min(knee, most), rel=0.2)
    if most > knee:
        assert curve.knee is curve.enough
        assert curve.limited_by is Limit.THROTTLED


@pytest.mark.parametrize(
    ("last", "limit", "said"),
    [
        (step(16, 810.0), Limit.SLOW, "--concurrency 8 is enough"),
        (step(16, 810.0, throttled=0.1), Limit.THROTTLED, "--concurrency 8 is enough"),
        (step(16, 810.0, lost=0.1), Limit.FAILING, "--log-file"),
        (step(16, 810.0, cpu=0.95), Limit.CPU, "several processes"),
        (step(16, 1600.0), Limit.LATENCY, "--concurrency-max 32 tries more"),
    ],
)
def test_what_limits(last: Step, limit: Limit, said: str) -> None:
    """
    What the steps from the knee on show, in words and with what to do.
    """
    curve = Curve((step(4, 400.0), step(8, 800.0), last))

    assert curve.limited_by is limit
    assert said in (curve.advice(tried_max=16) or "")
    assert curve.settings == {"concurrency": 16 if limit is Limit.LATENCY else 8}


@pytest.mark.parametrize(
    ("rate", "settings", "said"),
    [
        (780.0, {"concurrency": "auto"}, "reached 98 % of the best by itself: leave it at that"),
        (400.0, {"concurrency": 8}, "--concurrency 8; auto, which is the default, reached 50 %"),
    ],
)
def test_what_auto_makes_of_it(rate: float, settings: dict[str, object], said: str) -> None:
    """
    Nothing is to be set where the default does as well.
    """
    curve = Curve((step(8, 800.0), step(16, 790.0), auto(rate)))

    assert curve.settings == settings
    assert said in (curve.advice(tried_max=100) or "")


def test_what_is_throttled_is_no_example() -> None:
    """
    A number in flight of which much is refused is never what to set, though it brings a bit more;
    unless all were.
    """
    refused = step(16, 900.0, throttled=0.4)
    curve = Curve((step(4, 400.0), step(8, 800.0), refused))

    assert curve.best == curve.knee == step(8, 800.0)
    assert next_in_flight(curve.steps, 100) == 11
    assert Curve((refused,)).best is refused


def test_nothing_was_seen() -> None:
    """
    Without a step there is nothing to be said.
    """
    curve = Curve()

    assert (curve.knee, curve.best, curve.limited_by, curve.settings) == (None, None, None, {})
    assert curve.advice(tried_max=100) is None
    assert next_in_flight((), 100) == 1


# --- The meter -------------------------------------------------------------------------------


@given(
    in_flight=st.integers(1, 20),
    took_s=st.floats(0.05, 3.0),
    until_s=st.floats(10.0, 20.0),
)
def test_a_step_is_measured_wherever_its_rounds_fall(
    in_flight: int, took_s: float, until_s: float
) -> None:
    """
    Rounds of equal length bring what they bring, wherever in one the time begins and ends.
    """
    rounds = math.ceil(until_s / took_s)
    exchanges = [
        Exchange(n * took_s, (n + 1) * took_s, "good", 100, 0.3 * (n + 1) * took_s)
        for n in range(rounds)
        for _ in range(in_flight)
    ]

    step = measured(exchanges, in_flight, until_s=until_s)

    assert step is not None
    assert step.tasks_per_s == pytest.approx(100 * in_flight / took_s)
    assert step.p50_ms == pytest.approx(1000 * took_s)
    if rounds > 8:
        assert step.cpu_share == pytest.approx(0.3)
    adaptive = measured(exchanges, None, until_s=until_s)
    assert adaptive is not None
    assert adaptive.in_flight == pytest.approx(in_flight, abs=0.1)


def test_shares_of_replies() -> None:
    """
    What is throttled or lost is counted, and is no measure of how long a reply takes.
    """
    kinds = ["good", "throttled", "lost", "good"] * 10
    exchanges = [
        Exchange(n, n + (0.5 if kind == "good" else 0.01), kind, 100 * (kind == "good"), 0.0)  # type: ignore[arg-type]
        for n, kind in enumerate(kinds)
    ]

    step = measured(exchanges, 1, until_s=40.0)

    assert step is not None
    assert (step.throttled_share, step.lost_share) == pytest.approx((0.25, 0.25), abs=0.02)
    assert step.p95_ms == 500.0


def test_too_little_is_nothing() -> None:
    """
    One reply has no pace.
    """
    one = Exchange(0.0, 1.0, "good", 100, 0.0)

    assert measured([], 1, until_s=1.0) is None
    assert measured([one], 1, until_s=5.0) is None
