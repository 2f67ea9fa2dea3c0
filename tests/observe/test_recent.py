"""How fast it goes at present."""

import pytest

from bulksubmit.observe.recent import Recent


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_rate_is_of_the_last_seconds() -> None:
    """A hundred a second for a minute, then ten: after five seconds the rate is ten."""
    clock, settled = Clock(), 0
    recent = Recent(clock)
    for second in range(67):
        pace = recent.look(settled)
        settled += 100 if second < 60 else 10
        clock.now_s += 1.0

    assert pace.tasks_per_s == 10
    assert pace.steady_per_s == pytest.approx((24 * 100 + 6 * 10) / 30)


def test_it_is_too_early_to_say() -> None:
    """Of less than a second there is no rate, of less than three none that lasts."""
    clock = Clock()
    recent = Recent(clock)

    paces = []
    for settled in (0, 90, 300, 400):
        paces.append(recent.look(settled))
        clock.now_s += 0.75 if settled < 300 else 2.0

    assert [pace.tasks_per_s for pace in paces] == [None, None, 200.0, pytest.approx(400 / 3.5)]
    assert [pace.steady_per_s for pace in paces] == [None, None, None, pytest.approx(400 / 3.5)]


def test_p95_is_of_the_last_replies() -> None:
    """Nineteen of twenty take that long at most; what is older than ten seconds does not count."""
    clock = Clock()
    recent = Recent(clock)
    assert recent.look(0).p95_s is None
    for latency_s in range(1, 21):
        recent.ended(float(latency_s))

    assert recent.look(0).p95_s == 19.0
    clock.now_s += 10.5
    recent.ended(0.5)
    assert recent.look(0).p95_s == 0.5
