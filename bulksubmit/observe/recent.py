"""How fast it goes at present: by the last seconds, and the last replies."""

import math
from collections import deque
from collections.abc import Callable

from bulksubmit.observe.progress import STEADY_S_MIN, Pace

RATE_S = 5.0  # A rate is of so long: steady enough to be read, quick enough to be believed.
STEADY_S = 30.0  # The time left is by so long.
RATE_S_MIN = 1.0  # Of less it is noise.
REPLIES_S, REPLIES_MAX = 10.0, 1000  # p95 is of the replies of so long, and so many at most.


class Recent:
    """Remembers the last replies, and what was settled when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with nothing.

        Args:
            clock: The time in seconds.
        """
        self._clock = clock
        self._replies: deque[tuple[float, float]] = deque(maxlen=REPLIES_MAX)
        self._settled: deque[tuple[float, int]] = deque()

    def ended(self, latency_s: float) -> None:
        """A reply has come."""
        self._replies.append((self._clock(), latency_s))

    def look(self, settled: int) -> Pace:
        """How fast it goes, now that so many tasks are settled."""
        now_s = self._clock()
        self._settled.append((now_s, settled))
        # One sample of at least that age stays, to count from.
        while len(self._settled) > 1 and self._settled[1][0] <= now_s - STEADY_S:
            self._settled.popleft()
        while self._replies and self._replies[0][0] < now_s - REPLIES_S:
            self._replies.popleft()
        return Pace(
            self._rate(now_s, RATE_S, RATE_S_MIN),
            self._rate(now_s, STEADY_S, STEADY_S_MIN),
            self._p95_s(),
        )

    def _rate(self, now_s: float, over_s: float, over_s_min: float) -> float | None:
        """Since the youngest sample that is so old, or the oldest one."""
        since_s, settled = self._settled[0]
        for at_s, count in self._settled:
            if at_s > now_s - over_s:
                break
            since_s, settled = at_s, count
        if now_s - since_s < over_s_min:
            return None
        return (self._settled[-1][1] - settled) / (now_s - since_s)

    def _p95_s(self) -> float | None:
        if not self._replies:
            return None
        latencies = sorted(latency_s for _, latency_s in self._replies)
        return latencies[math.ceil(0.95 * len(latencies)) - 1]
