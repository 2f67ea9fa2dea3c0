"""Limits that the package's own was chosen against: what others do, as far as it is published.

Each is a ``Limit`` as the pool takes it. They live here and not in the package, because over the
scenarios they do worse; ``benchmarks/pace.py`` measures by how much. Where a published algorithm
leaves something open, or does not know our service, it has what served it best over the scenarios.
"""

import math

from bulksubmit.core.model import Answered, Attempt, Lost, Reply, Throttled


def _clean(reply: Reply) -> bool:
    return isinstance(reply, Answered) and any(
        result.status.lower() != "servererror" for result in reply.results
    )


def _overloaded(reply: Reply) -> bool:
    match reply:
        case Throttled(by_load=True) | Lost(by_load=True):
            return True
        case _:
            return False


class Aimd:
    """Additive increase, multiplicative decrease, with a guard on latency.

    Doubles each round until the first evidence, then one more a round; 0.9 of it at a 429, a
    time-out, or if the round's mean latency is twice the least that a round ever had. One
    change a round trip. The ratio is that of Netflix's AIMDLimit and of vector's adaptive request
    concurrency; with TCP's 0.5 it has a tenth less of the throughput here.
    """

    bound = "finding"
    CUT, SLOW = 0.9, 2.0

    def __init__(self, most: int) -> None:
        self.window = 1.0
        self._most = most
        self._evidence = False
        self._least_s = math.inf
        self._begin(-math.inf)

    def _begin(self, now_s: float) -> None:
        self._round_s, self._replies, self._sum_s, self._used = now_s, 0, 0.0, False

    @property
    def value(self) -> int:
        """How many may be in flight."""
        return max(1, int(self.window))

    def opens_s(self, now_s: float) -> float:
        """At once."""
        return now_s

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:  # noqa: ARG002
        """An attempt goes."""
        self._used = self._used or in_flight >= self.value

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:
        """A reply has come."""
        if attempt.sent_s < self._round_s:
            return
        if _overloaded(reply):
            self._cut(now_s)
        elif _clean(reply):
            self._replies += 1
            self._sum_s += now_s - attempt.sent_s
            if self._replies >= self.value:
                self._end_round(now_s)

    def _cut(self, now_s: float) -> None:
        self._evidence = True
        self.window = max(1.0, self.CUT * self.window)
        self._begin(now_s)

    def _end_round(self, now_s: float) -> None:
        mean_s = self._sum_s / self._replies
        self._least_s = min(self._least_s, mean_s)
        if mean_s > self.SLOW * self._least_s:
            self._cut(now_s)
            return
        if self._used:
            grown = self.window + 1.0 if self._evidence else 2.0 * self.window
            self.window = min(grown, float(self._most))
        self._begin(now_s)


class Gradient2:
    """The ratio of long-term to short-term latency, as in Netflix's concurrency-limits.

    Source: https://github.com/Netflix/concurrency-limits, Gradient2Limit in a WindowedLimit, with
    their defaults: starts at 20, tolerance 1.5, room for 4 in line, smoothing 0.2, a long-term
    average over 600 samples, a sample a second of at least ten replies. Without the WindowedLimit
    each reply is a sample, the limit rises by 0.8 with every one, and a third of the requests is
    throttled. Two things differ: the least limit is 1, not 20; and a 429 or a time-out, which it
    does not look at, cuts the limit by 0.9 as their AIMDLimit does, once a round trip.
    """

    bound = "finding"
    START, TOLERANCE, QUEUE, SMOOTHING, CUT = 20.0, 1.5, 4.0, 0.2, 0.9
    LONG, WARM_UP, DRIFT = 600, 10, 0.95
    SAMPLE_S, SAMPLE_REPLIES = 1.0, 10

    def __init__(self, most: int) -> None:
        self.window = min(self.START, float(most))
        self._most = most
        self._long_s, self._samples = 0.0, 0
        self._cut_s = self._ends_s = -math.inf
        self._in_flight: dict[int, int] = {}
        self._begin()

    def _begin(self) -> None:
        self._replies, self._sum_s, self._in_flight_max = 0, 0.0, 0

    @property
    def value(self) -> int:
        """How many may be in flight."""
        return max(1, int(self.window))

    def opens_s(self, now_s: float) -> float:
        """At once."""
        return now_s

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:  # noqa: ARG002
        """An attempt goes."""
        self._in_flight[attempt.number] = in_flight

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:
        """A reply has come."""
        in_flight = self._in_flight.pop(attempt.number)
        if _overloaded(reply) and attempt.sent_s >= self._cut_s:
            self.window, self._cut_s = max(1.0, self.CUT * self.window), now_s
        if not _clean(reply):
            return
        self._replies += 1
        self._sum_s += now_s - attempt.sent_s
        self._in_flight_max = max(self._in_flight_max, in_flight)
        if now_s > self._ends_s:
            if self._replies >= self.SAMPLE_REPLIES:
                self._sample(self._sum_s / self._replies)
            self._ends_s = now_s + self.SAMPLE_S
            self._begin()

    def _sample(self, short_s: float) -> None:
        self._samples += 1
        weight = 1 / self._samples if self._samples <= self.WARM_UP else 2 / (self.LONG + 1)
        self._long_s += (short_s - self._long_s) * weight
        long_s = self._long_s
        if long_s > 2.0 * short_s:
            self._long_s *= self.DRIFT
        if self._in_flight_max < self.window / 2:
            return
        gradient = max(0.5, min(1.0, self.TOLERANCE * long_s / short_s))
        wanted = self.window * gradient + self.QUEUE
        wanted = self.window * (1 - self.SMOOTHING) + wanted * self.SMOOTHING
        self.window = max(1.0, min(wanted, float(self._most)))


class Cubic:
    """A bucket of tokens, whose rate follows a cubic curve, as in the AWS SDKs' adaptive mode.

    Source: botocore's ``retries/adaptive.py``, ``throttling.py`` and ``bucket.py``: 0.7 of the
    measured rate of replies at each 429, then 0.4 (t - k)^3 above the rate at which it was
    throttled, at most twice the measured rate, at least 0.5 a second; no bound before the first
    429. What is in flight is bounded by the pool alone, and latency is not looked at. Three
    things differ: a time-out counts as a 429, what fails otherwise does not count as success, and
    the bucket is empty at first.
    """

    bound = "finding"
    BETA, SCALE, RATE_MIN, OVER_MEASURED = 0.7, 0.4, 0.5, 2.0
    MEASURE_S, SMOOTHING = 0.5, 0.8

    def __init__(self, most: int) -> None:
        self.value = most
        self._rate = math.inf
        self._rate_max = self._k = 0.0
        self._throttled_s = 0.0
        self._tokens, self._filled_s = 0.0, 0.0
        self._measured, self._replies = 0.0, 0
        self._bucket_s: float | None = None

    def opens_s(self, now_s: float) -> float:
        """As soon as there is a token."""
        if math.isinf(self._rate):
            return now_s
        self._fill(now_s)
        # A token that is ready at t may, in floating point, lack a hair at t.
        return now_s + max(0.0, 1.0 - self._tokens - 1e-9) / self._rate

    def _fill(self, now_s: float) -> None:
        earned = (now_s - self._filled_s) * self._rate
        self._tokens = min(max(1.0, self._rate), self._tokens + earned)
        self._filled_s = now_s

    def sent(self, attempt: Attempt, *, in_flight: int, now_s: float) -> None:  # noqa: ARG002
        """An attempt goes."""
        if self._bucket_s is None:
            self._bucket_s = math.floor(now_s)
        if math.isfinite(self._rate):
            self._fill(now_s)
            self._tokens -= 1.0

    def ended(self, attempt: Attempt, reply: Reply, *, now_s: float) -> None:  # noqa: ARG002
        """A reply has come."""
        self._measure(now_s)
        if _overloaded(reply):
            used = min(self._measured, self._rate)
            self._rate_max, self._throttled_s = used, now_s
            self._k = (used * (1 - self.BETA) / self.SCALE) ** (1 / 3)
            self._limit(self.BETA * used, now_s)
        elif _clean(reply) and math.isfinite(self._rate):
            since_s = now_s - self._throttled_s
            self._limit(self.SCALE * (since_s - self._k) ** 3 + self._rate_max, now_s)

    def _measure(self, now_s: float) -> None:
        bucket_s = math.floor(now_s / self.MEASURE_S) * self.MEASURE_S
        self._replies += 1
        if self._bucket_s is not None and bucket_s > self._bucket_s:
            rate = self._replies / (bucket_s - self._bucket_s)
            self._measured += self.SMOOTHING * (rate - self._measured)
            self._bucket_s, self._replies = bucket_s, 0

    def _limit(self, wanted: float, now_s: float) -> None:
        if math.isfinite(self._rate):
            self._fill(now_s)
        self._filled_s = now_s
        self._rate = max(self.RATE_MIN, min(wanted, self.OVER_MEASURED * self._measured))
        self._tokens = min(self._tokens, max(1.0, self._rate))
