"""The limits on what is in flight, without an event loop: a sender and a service of numbers."""

import heapq
import itertools
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.events import Event, LimitChanged
from bulksubmit.core.model import Attempt, Lost, Reply, Throttled
from bulksubmit.core.pacing import WINDOW_MIN, AdaptiveLimit, FixedLimit, MaxRate
from tests.core.helpers import GUID, answered, make_tasks

REFUSAL_S = 0.02
MANY = make_tasks(100)

Serve = Callable[[int, float], tuple[float, Reply]]
"""With so many in flight, at this time: how long the reply takes, and what it is."""

CLEAN = answered(MANY[:10])
THROTTLED = Throttled(None, "429")


class Sender:
    """Keeps as many attempts in flight as the limit lets it, and knows what came of it.

    Attributes:
        now_s: The time.
        ended: When each reply came, and what it was.
        changes: Of the limit.
    """

    def __init__(self, most: int = 100, *, rate: MaxRate | None = None) -> None:
        self.now_s = 1000.0
        self.ended: list[tuple[float, Reply]] = []
        self.changes: list[tuple[float, LimitChanged]] = []
        self.limit = AdaptiveLimit(most, rate=rate, observer=self._changed)
        self._in_flight: list[tuple[float, int, Attempt, Reply]] = []
        self._numbers = itertools.count(1)

    def _changed(self, event: Event, /) -> None:
        assert isinstance(event, LimitChanged)
        self.changes.append((self.now_s, event))

    def attempt(self, tasks: int = 10) -> Attempt:
        """One that goes now."""
        return Attempt(next(self._numbers), GUID, tuple(MANY[:tasks]), 0, self.now_s)

    def run(self, for_s: float, serve: Serve, *, at_most: int = 1000, tasks: int = 10) -> None:
        """For so long; at most so many in flight, whatever the limit says."""
        ends_s = self.now_s + for_s
        while self.now_s < ends_s:
            opens_s = self.limit.opens_s(self.now_s)
            has_place = len(self._in_flight) < min(self.limit.value, at_most)
            if has_place and opens_s <= self.now_s:
                self._send(serve, tasks)
                continue
            next_s = [ends_s, *([opens_s] if has_place else [])]
            self.now_s = min([*next_s, *[each[0] for each in self._in_flight[:1]]])
            if self._in_flight and self._in_flight[0][0] <= self.now_s:
                _, _, attempt, reply = heapq.heappop(self._in_flight)
                self.ended.append((self.now_s, reply))
                self.limit.ended(attempt, reply, now_s=self.now_s)

    def _send(self, serve: Serve, tasks: int) -> None:
        attempt = self.attempt(tasks)
        took_s, reply = serve(len(self._in_flight), self.now_s)
        entry = (self.now_s + took_s, attempt.number, attempt, reply)
        heapq.heappush(self._in_flight, entry)
        self.limit.sent(attempt, in_flight=len(self._in_flight), now_s=self.now_s)

    def replies(self, *replies: Reply) -> None:
        """These, each 0.3 s after its attempt went."""
        for reply in replies:
            attempt = self.attempt()
            self.limit.sent(attempt, in_flight=self.limit.value, now_s=self.now_s)
            self.now_s += 0.3
            self.limit.ended(attempt, reply, now_s=self.now_s)

    def share(self, reply: Reply, *, last_s: float) -> float:
        """Of the replies of the last seconds, those that are this one."""
        replies = [each for at_s, each in self.ended if at_s > self.now_s - last_s]
        return replies.count(reply) / len(replies)

    @property
    def reasons(self) -> list[str]:
        """Why the limit was changed, each time."""
        return [event.reason for _, event in self.changes]


def refusing(parallel: int, latency_s: float = 0.3) -> Serve:
    """A service that works on so many at once, and refuses what is more."""

    def serve(in_flight: int, _now_s: float) -> tuple[float, Reply]:
        return (latency_s, CLEAN) if in_flight < parallel else (REFUSAL_S, THROTTLED)

    return serve


def queueing(parallel: int, latency_s: float = 0.3) -> Serve:
    """A service that works on so many at once, and lets what is more wait."""

    def serve(in_flight: int, _now_s: float) -> tuple[float, Reply]:
        return latency_s * max(1.0, (in_flight + 1) / parallel), CLEAN

    return serve


# --- At first ----------------------------------------------------------------------------------


def test_doubles_until_the_users_bound() -> None:
    """Without evidence it doubles each round trip, from one, up to the most allowed."""
    sender = Sender(most=50)
    sender.run(10, refusing(1000))

    assert [event.new for _, event in sender.changes] == [2, 4, 8, 16, 32, 50]
    assert set(sender.reasons) == {"doubling"}
    assert (sender.limit.value, sender.limit.bound) == (50, "user")
    assert sender.now_s - 1000 >= 10
    assert sender.changes[-1][0] - 1000 < 10 * 0.3


def test_what_is_not_used_is_not_raised() -> None:
    """A slow source says nothing about the service."""
    sender = Sender()
    sender.run(20, refusing(1000), at_most=3)

    assert sender.limit.window == 4


# --- Throttled ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 2, 3, 8, 16, 50, 64])
def test_finds_what_is_refused_beyond(parallel: int) -> None:
    """Within 20 % of the hidden limit in 30 s, and fewer than 2 % throttled after that."""
    sender = Sender()
    sender.run(30, refusing(parallel))
    windows = []
    for _ in range(120):
        sender.run(0.5, refusing(parallel))
        windows.append(sender.limit.window)

    assert 0.8 * parallel <= sum(windows) / len(windows) <= 1.2 * parallel
    assert sender.share(THROTTLED, last_s=60) < 0.02
    assert sender.limit.bound == "throttled"


def test_one_cut_a_round_trip() -> None:
    """A volley of refusals is one piece of evidence."""
    sender = Sender()
    sender.run(3, refusing(1000))
    volley = [sender.attempt() for _ in range(20)]
    before = len(sender.changes)
    sender.replies(THROTTLED, THROTTLED, THROTTLED)
    for attempt in volley:
        sender.limit.ended(attempt, THROTTLED, now_s=sender.now_s)

    assert sender.reasons[before:] == ["throttled"]


def test_few_refusals_do_not_end_the_doubling() -> None:
    """Who comes late is refused because of others, and gets off the ground all the same."""
    sender = Sender()
    sender.replies(CLEAN, CLEAN, THROTTLED, CLEAN, CLEAN, CLEAN, THROTTLED, CLEAN, CLEAN, CLEAN)

    assert set(sender.reasons) == {"doubling"}


def test_a_refusal_out_of_the_blue_makes_room_for_others() -> None:
    """If nothing was tried, somebody else came: half of the cut is not taken back at once."""
    sender = Sender()
    sender.run(40, refusing(16))
    before = sender.limit.window
    sender.run(1.5, lambda n, _: (0.3, CLEAN) if n < 10 else (REFUSAL_S, THROTTLED))
    sender.run(1.5, refusing(1000))

    assert sender.limit.window < 0.97 * before


def test_less_than_one() -> None:
    """A service that takes one request in two seconds gets one in about two, and not two."""
    tokens = [1.0, 1000.0]

    def serve(_in_flight: int, now_s: float) -> tuple[float, Reply]:
        tokens[:] = [min(1.0, tokens[0] + (now_s - tokens[1]) / 2), now_s]
        if tokens[0] < 1.0:
            return REFUSAL_S, THROTTLED
        tokens[0] -= 1.0
        return 0.4, CLEAN

    sender = Sender()
    sender.run(600, serve)

    assert 0.1 < sender.limit.window < 0.3
    assert sender.limit.value == 1
    clean = [at_s for at_s, reply in sender.ended if reply is CLEAN and at_s > 1100]
    assert 0.8 < 2 * len(clean) / 500 <= 1.01
    assert sender.share(THROTTLED, last_s=500) < 0.1


def test_attempts_are_spaced_once_throttled() -> None:
    """16 in flight that take 0.3 s each go one after the other, not in volleys."""
    sender = Sender()
    sender.run(60, refusing(16))
    now_s, limit = sender.now_s, sender.limit
    limit.sent(sender.attempt(), in_flight=1, now_s=now_s)
    limit.sent(sender.attempt(), in_flight=2, now_s=now_s)

    pause_s = 0.3 / limit.window
    assert 1.4 * pause_s < limit.opens_s(now_s) - now_s < 3.6 * pause_s


# --- Time-outs, and what is no evidence --------------------------------------------------------


def test_time_outs_cut() -> None:
    """An overloaded service may say nothing at all."""
    sender = Sender()
    timed_out = Lost("no answer in time", sent=True, by_load=True)
    sender.run(20, lambda n, _: (0.3, CLEAN) if n < 8 else (3.0, timed_out))

    assert "timed out" in sender.reasons
    assert 6 <= sender.limit.window < 10


@pytest.mark.parametrize(
    "reply", [Lost("connection reset", sent=True), Throttled(10.0, "JobDisabled", by_load=False)]
)
def test_no_evidence(reply: Reply) -> None:
    """A dropped connection, or a job that is disabled, says nothing about too many."""
    sender = Sender()
    numbers = itertools.count()
    sender.run(30, lambda _n, _t: (0.3, reply if next(numbers) % 50 == 49 else CLEAN))

    assert sender.limit.value == 100
    assert set(sender.reasons) == {"doubling"}


@pytest.mark.parametrize(
    "reply",
    [THROTTLED, Lost("502", sent=True), answered(MANY[:10], "ServerError", "InternalError")],
)
def test_nothing_gets_through(reply: Reply) -> None:
    """
    When every reply fails, how many are in flight is not the matter: down to one, and after the
    outage up to where it was within a few round trips.
    """
    sender = Sender()
    sender.run(30, refusing(16))
    before = sender.limit.window
    sender.run(30, lambda _n, _t: (0.3, reply))
    assert sender.limit.window == 1
    assert (sender.reasons[-1], sender.limit.bound) == ("nothing gets through", "failing")

    sender.run(5, refusing(16))

    assert sender.limit.window > 0.85 * before


def test_nothing_gets_through_from_the_first() -> None:
    """A service that is down at first has shown no limit: it doubles once it is there."""
    sender = Sender()
    sender.replies(*[Lost("502", sent=True)] * 50)
    sender.run(10, refusing(1000))

    assert sender.limit.value == 100


# --- Slow --------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 4, 16, 24, 64])
def test_finds_where_replies_slow_down(parallel: int) -> None:
    """A line of a few is wanted, and no more: it would only make replies later."""
    sender = Sender()
    sender.run(60, queueing(parallel))

    assert parallel <= sender.limit.window <= max(parallel + 4, 1.2 * parallel)
    assert sender.limit.bound == "slow" or parallel == 1
    assert sender.share(CLEAN, last_s=60) == 1


def test_a_slower_service_is_not_a_longer_line() -> None:
    """If fewer at once are not answered sooner, the window goes back to where it was."""
    sender = Sender()
    sender.run(30, queueing(16))
    before = sender.limit.window
    sender.run(60, queueing(16, latency_s=1.2))

    assert "replies slowed" in sender.reasons
    assert sender.limit.window > 0.8 * before


def test_small_requests_are_no_measure() -> None:
    """The rest of a source goes in requests that are not full, and are answered sooner."""
    sender = Sender()
    sender.run(30, queueing(16))
    sender.run(10, lambda _n, _t: (0.05, CLEAN), tasks=2)
    sender.run(30, queueing(16))

    assert 16 <= sender.limit.window <= 20


# --- When it changes ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [refusing, queueing])
@pytest.mark.parametrize(("first", "then"), [(16, 32), (32, 16), (4, 64), (64, 4)])
def test_follows_the_service(make: Callable[[int], Serve], first: int, then: int) -> None:
    """
    Within 30 s of a change it is at the new place, as long as replies take less than a second:
    64 in a line for four take five each at first.
    """
    sender = Sender()
    sender.run(40, make(first))
    sender.run(50 if make is queueing and then == 4 else 30, make(then))

    assert 0.75 * then <= sender.limit.window <= max(then + 4, 1.25 * then)


@given(most=st.integers(1, 100), seed=st.integers(0, 2**32))
def test_whatever_comes(most: int, seed: int) -> None:
    """It stays within its bounds, and is told of no change that is none."""
    sender, random = Sender(most), Random(seed)
    replies: list[Reply] = [
        CLEAN,
        CLEAN,
        THROTTLED,
        Lost("x", sent=True),
        Lost("x", sent=False, by_load=True),
    ]

    def serve(_in_flight: int, _now_s: float) -> tuple[float, Reply]:
        return random.choice((0.0, 0.001, 0.3, 5.0)), random.choice(replies)

    sender.run(20, serve)

    assert WINDOW_MIN <= sender.limit.window <= most
    assert 1 <= sender.limit.value <= most
    assert all(WINDOW_MIN <= event.new <= most for _, event in sender.changes)
    assert all(event.old != event.new for _, event in sender.changes)


# --- By the user's will ------------------------------------------------------------------------


def test_a_fixed_limit_is_fixed() -> None:
    """Whatever the service says."""
    limit = FixedLimit(7)
    attempt = Sender().attempt()
    limit.sent(attempt, in_flight=1, now_s=0.0)
    limit.ended(attempt, THROTTLED, now_s=1.0)

    assert (limit.value, limit.bound, limit.opens_s(1.0)) == (7, "user", 1.0)


@given(
    rate=st.floats(1.0, 1e5),
    tasks=st.integers(1, 100),
    lates_s=st.lists(st.floats(0.0, 0.05), min_size=1, max_size=20),
)
def test_the_rate_is_kept_however_late_timers_are(
    rate: float, tasks: int, lates_s: list[float]
) -> None:
    """Over ten seconds never more than 1 % above the rate, and one request."""
    limit, now_s, sent = MaxRate(rate), 1000.0, 0
    for late_s in itertools.islice(itertools.cycle(lates_s), 2000):
        now_s = limit.opens_s(now_s) + late_s
        if now_s > 1010.0:
            break
        limit.sent(tasks, now_s)
        sent += tasks

    assert sent <= 1.01 * rate * 10 + tasks


@given(rate=st.floats(1.0, 1e4), pauses_s=st.lists(st.floats(0.0, 20.0), max_size=30))
def test_requests_grow_where_the_rate_was_not_reached(rate: float, pauses_s: list[float]) -> None:
    """Whatever holds a run up: what it sends in ten seconds from then on is within the rate."""
    limit, now_s = MaxRate(rate), 1000.0
    sent: list[tuple[float, int]] = []
    for pause_s in [*pauses_s, *[0.0] * 50]:
        now_s = limit.opens_s(now_s + pause_s)
        tasks = limit.tasks_max(now_s)
        assert 1 <= tasks <= 100
        limit.sent(tasks, now_s)
        sent.append((now_s, tasks))

    for from_s, _ in sent:
        within = sum(tasks for at_s, tasks in sent if from_s <= at_s < from_s + 10.0)
        assert within <= 10.0 * rate * 1.01 + max(tasks for _, tasks in sent)


def test_few_in_flight_reach_the_rate_by_larger_requests() -> None:
    """25 tasks a second by one request at a time, which takes 0.9 s: 5 in each would be 5.5."""
    limit, now_s, sent = MaxRate(25.0), 1000.0, 0
    while now_s < 1100.0:
        now_s = limit.opens_s(now_s)
        tasks = limit.tasks_max(now_s)
        limit.sent(tasks, now_s)
        sent += tasks
        now_s += 0.9

    assert 0.85 * 2500 < sent < 1.01 * 2500 + 30


def test_a_rate_is_reached() -> None:
    """Also by timers that are always late: within 2 % over ten seconds, whatever the limit."""
    sender = Sender(rate=MaxRate(500))
    sender.run(5, refusing(1000), tasks=10)
    before = len(sender.ended)
    sender.run(10, refusing(1000), tasks=10)

    assert 0.98 * 5000 <= 10 * (len(sender.ended) - before) <= 1.02 * 5000
