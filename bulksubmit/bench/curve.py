"""What the steps come to: the knee, what limits the speed, and the settings that follow.

The knee is the fewest requests in flight that bring 95 % of the most tasks a second that any fixed
number of them brought without being throttled much: with fewer it is slower, with more each only
waits longer, or is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ENOUGH = 0.95  # Of the most tasks a second.
RISES = 1.1  # Twice as many in flight that bring less than this are past the knee.
NEAR = 1.2  # A knee that is known to a fifth is known well enough.
CPU_SHARE = 0.85  # A core that is busy for so long has no time for more.
THROTTLED_SHARE, LOST_SHARE = 0.02, 0.05  # More replies of a kind are no accident.
TOO_MUCH_SHARE = 0.1  # So many throttled: what is more than the service takes brings nothing.
AUTO_ENOUGH = 0.85  # It has had to find its number in that time, too.


@dataclass(frozen=True, slots=True)
class Step:
    """A number of requests in flight, and what it brought.

    Attributes:
        in_flight: How many; of the adaptive limit, how many there were on the average.
        auto: The limit was adaptive.
        seconds: How long it was measured, once it had settled in.
        requests: Replies in that time.
        tasks: Tasks added in that time.
        tasks_per_s: A second.
        p50_ms: How long a good reply takes, in the median; None if there was none.
        p95_ms: All but 5 % of them take no longer.
        throttled_share: Of the replies, those that throttle; 0 to 1.
        lost_share: Of the replies, those that are none, or of no use.
        cpu_share: Of one core, what this process took.
    """

    in_flight: float
    auto: bool
    seconds: float
    requests: int
    tasks: int
    tasks_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    throttled_share: float
    lost_share: float
    cpu_share: float

    @property
    def is_throttled(self) -> bool:
        """Whether it was more than the service takes."""
        return self.throttled_share > THROTTLED_SHARE


class Limit(StrEnum):
    """What limits the speed."""

    THROTTLED = "throttled"  # The service refuses what is too much,
    SLOW = "slow"  # takes longer the more is sent,
    FAILING = "failing"  # or does not answer well.
    LATENCY = "latency"  # Each request more brought more, up to the most that was tried.
    CPU = "cpu"  # This machine's.


WORDS = {
    Limit.THROTTLED: "the service: it throttles what is more",
    Limit.SLOW: "the service: more at once only wait longer",
    Limit.FAILING: "the service: it does not answer well",
    Limit.LATENCY: "the latency: every request more in flight brought more",
    Limit.CPU: "this machine's CPU",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """All steps in the order in which they were taken, and what they come to."""

    steps: tuple[Step, ...] = ()

    @property
    def fixed(self) -> list[Step]:
        """Those of a fixed number in flight, by that number."""
        return sorted((s for s in self.steps if not s.auto), key=lambda step: step.in_flight)

    @property
    def auto(self) -> Step | None:
        """That of the adaptive limit."""
        return next((step for step in self.steps if step.auto), None)

    @property
    def usable(self) -> list[Step]:
        """The fixed ones that were not throttled much; if there is none, all of them."""
        fixed = self.fixed
        return [step for step in fixed if step.throttled_share <= TOO_MUCH_SHARE] or fixed

    @property
    def best(self) -> Step | None:
        """The most tasks a second at a fixed number in flight."""
        return max(self.usable, key=lambda step: step.tasks_per_s, default=None)

    @property
    def enough(self) -> Step | None:
        """The fewest in flight that bring nearly as much as the best."""
        best = self.best
        if best is None:
            return None
        least = ENOUGH * best.tasks_per_s
        return next(step for step in self.usable if step.tasks_per_s >= least)

    @property
    def knee(self) -> Step | None:
        """The same, if more in flight are known to bring no more."""
        enough = self.enough
        if enough is None or (enough is self.fixed[-1] and not enough.is_throttled):
            return None
        return enough

    @property
    def limited_by(self) -> Limit | None:
        """What limits the speed; None if nothing was measured."""
        enough = self.enough
        if enough is None or not enough.tasks:
            return None if enough is None else Limit.FAILING
        there = [step for step in self.fixed if step.in_flight >= enough.in_flight]
        if max(step.cpu_share for step in there) >= CPU_SHARE:
            return Limit.CPU
        if max(step.lost_share for step in there) > LOST_SHARE:
            return Limit.FAILING
        if any(step.is_throttled for step in there):
            return Limit.THROTTLED
        return Limit.SLOW if self.knee else Limit.LATENCY

    @property
    def auto_share(self) -> float | None:
        """What the adaptive limit brought, as a share of the best fixed number."""
        auto, best = self.auto, self.best
        if auto is None or best is None or not best.tasks_per_s:
            return None
        return auto.tasks_per_s / best.tasks_per_s

    @property
    def settings(self) -> dict[str, object]:
        """What to set for the speed that was seen, by names of flags; empty if nothing."""
        enough = self.enough
        if enough is None or not enough.tasks:
            return {}
        if (self.auto_share or 0.0) >= AUTO_ENOUGH:
            return {"concurrency": "auto"}
        return {"concurrency": round(enough.in_flight)}

    def advice(self, *, tried_max: int) -> str | None:
        """What to do, in words.

        Args:
            tried_max: The most in flight that were to be tried.
        """
        enough, share = self.enough, self.auto_share
        match self.limited_by:
            case None:
                return None
            case Limit.FAILING:
                return "see why its answers are of no use (--log-file has each), and try again"
            case Limit.CPU:
                return "take a faster machine, or several processes with a part of the tasks each"
            case Limit.LATENCY if enough and enough.in_flight >= tried_max:
                more = f"--concurrency-max {2 * tried_max} tries more"
                return f"{more}; the service's documentation advises fewer than 100 at once"
            case Limit.LATENCY:
                return "a longer look tries more in flight: --duration, --tasks"
        assert enough is not None, "or nothing limits"
        number = round(enough.in_flight)
        if share is None:
            return f"--concurrency {number} is enough; more at once bring no more"
        reached = f"auto, which is the default, reached {100 * share:.0f} % of the best by itself"
        if share >= AUTO_ENOUGH:
            return f"{reached}: leave it at that; --concurrency {number} is there from the start"
        return f"--concurrency {number}; {reached} in the time that it had"


def next_in_flight(steps: Sequence[Step], most: int) -> int | None:
    """How many requests in flight to try next.

    Args:
        steps: What was measured so far, with fixed numbers.
        most: The most to try.

    Returns:
        The number; None if no other would tell more.
    """
    curve = Curve(tuple(steps))
    fixed, enough = curve.fixed, curve.enough
    if enough is None:
        return 1
    numbers = [round(step.in_flight) for step in fixed]
    if _rises(fixed):
        return min(2 * numbers[-1], most) if numbers[-1] < most else None
    here = round(enough.in_flight)
    best = max(step.tasks_per_s for step in curve.usable)
    above = next((step for step in fixed if step.in_flight > here), None)
    # Where the next one is too much, there may be more to be had just before that.
    if above and (above.tasks_per_s < ENOUGH * best or above.throttled_share > TOO_MUCH_SHARE):
        middle = _between(here, round(above.in_flight))
        if middle:
            return middle
    return _between(max((number for number in numbers if number < here), default=here), here)


def _between(low: int, high: int) -> int | None:
    """A number between two; None if these are near enough to each other to know the knee."""
    middle = round((low * high) ** 0.5)
    return middle if high > NEAR * low and low < middle < high else None


def _rises(fixed: Sequence[Step]) -> bool:
    """Whether the last step up has brought more, and was not refused for it."""
    *before, last = fixed
    most_before = max((step.tasks_per_s for step in before), default=0.0)
    return (
        last.tasks_per_s >= RISES * most_before
        and last.tasks > 0
        and last.throttled_share <= TOO_MUCH_SHARE
    )
