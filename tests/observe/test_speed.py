"""What limits the speed, from what the pool says, and how it is told."""

import math
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from bulksubmit.core.model import Why
from bulksubmit.observe.causes import WORDS, Asked, Cause, advice
from bulksubmit.observe.speed import Limited, Speed
from tests.observe.test_report import request_ended

ASKED = Asked(concurrency=16, auto=True, max_rate=1000.0, buffer_bytes_max=32 * 2**20)


@dataclass
class Machine:
    """Its clocks, each set by hand.

    Attributes:
        now_s: The time.
        cpu_s: How long a core was busy.
        disk_s: How long it was written.
        rate_opens_s: When the user's rate lets the next tasks go.
        consumer_is_slow: Whether outcomes wait for it.
        speed: What is told of it.
    """

    now_s: float = 1000.0
    cpu_s: float = 5.0
    disk_s: float = 3.0
    rate_opens_s: float = -math.inf
    consumer_is_slow: bool = True
    speed: Speed = field(init=False)

    def __post_init__(self) -> None:
        self.speed = Speed(
            ASKED,
            lambda: self.now_s,
            rate_opens_s=lambda now_s: max(now_s, self.rate_opens_s),
            consumer_is_slow=lambda: self.consumer_is_slow,
            disk_s=lambda: self.disk_s,
            cpu_s=lambda: self.cpu_s,
        )

    def waits(
        self,
        why: Why,
        for_s: float,
        *,
        bound: str = "user",
        opens_s: float = -math.inf,
        cpu: float = 0.0,
        disk: float = 0.0,
    ) -> None:
        """The pool waits; meanwhile these shares of the time go by on the other clocks."""
        self.speed.wait(why, bound, opens_s=opens_s, now_s=self.now_s)
        self.now_s += for_s
        self.cpu_s += cpu * for_s
        self.disk_s += disk * for_s
        self.speed.work(self.now_s)


# --- Causes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "bound", "cause"),
    [
        (Why.PLACES, "user", Cause.CONCURRENCY),
        (Why.PLACES, "finding", Cause.FINDING),
        (Why.PLACES, "throttled", Cause.THROTTLED),
        (Why.PLACES, "slow", Cause.SLOW),
        (Why.PLACES, "failing", Cause.FAILING),
        (Why.PLACES, "consumer", Cause.CONSUMER),
        (Why.PACE, "throttled", Cause.THROTTLED),
        (Why.HELD, "throttled", Cause.FAILING),
        (Why.ASKED, "user", Cause.THROTTLED),
        (Why.SOURCE, "throttled", Cause.SOURCE),
        (Why.RETRIES, "throttled", Cause.RETRIES),
        (Why.REPLIES, "throttled", Cause.REPLIES),
    ],
)
def test_what_the_pool_waits_for(why: Why, bound: str, cause: Cause) -> None:
    """Each reason has its cause; whose limit it is counts only for what the limit bounds."""
    machine = Machine()

    machine.waits(why, 5.0, bound=bound, opens_s=machine.now_s + 5.0)

    assert machine.speed.recently == machine.speed.altogether == Limited(cause, 1.0)


@pytest.mark.parametrize(("reply", "cause"), [("throttled", "throttled"), ("lost", "failing")])
def test_all_is_held(reply: str, cause: str) -> None:
    """By the last reply it is told whether the service throttles all, or is down."""
    machine = Machine()
    machine.speed.ended(request_ended(reply))

    machine.waits(Why.HELD, 5.0)

    assert machine.speed.recently == Limited(Cause(cause), 1.0)


@pytest.mark.parametrize(
    ("one_in", "cause"), [(1000, Cause.CONCURRENCY), (50, Cause.CONCURRENCY), (5, Cause.THROTTLED)]
)
def test_a_fixed_limit_that_is_too_high(one_in: int, cause: Cause) -> None:
    """A limit that the user has fixed is the bound as long as hardly any reply is bad."""
    machine = Machine()
    for number in range(200):
        machine.speed.ended(request_ended("answered" if number % one_in else "throttled"))
    machine.speed.ended(request_ended())

    machine.waits(Why.PLACES, 5.0, bound="user")

    assert machine.speed.recently == Limited(cause, 1.0)


@pytest.mark.parametrize(
    ("reason", "clean"),
    [(Why.PLACES, Cause.CONCURRENCY), (Why.SOURCE, Cause.BUFFER), (Why.RETRIES, Cause.RETRIES)],
)
def test_bad_replies_are_behind_what_is_full_or_has_to_wait(reason: Why, clean: Cause) -> None:
    """Places, memory and pauses are for the tasks that the service has refused."""
    told = []
    for reply in ("answered", "throttled", "lost"):
        machine = Machine()
        machine.speed.memory(full=True)
        for _ in range(10):
            machine.speed.ended(request_ended(reply))
        machine.waits(reason, 5.0)
        told.append(machine.speed.recently)

    causes = (clean, Cause.THROTTLED, Cause.FAILING)
    assert told == [Limited(cause, 1.0) for cause in causes]


@pytest.mark.parametrize(
    ("rate_opens_s", "cause"), [(1004.0, Cause.THROTTLED), (1005.0, Cause.MAX_RATE)]
)
def test_the_later_of_two_paces_binds(rate_opens_s: float, cause: Cause) -> None:
    """The user's rate is what limits it only if the service's pace would let tasks go before."""
    machine = Machine(rate_opens_s=rate_opens_s)

    machine.waits(Why.PACE, 5.0, bound="throttled", opens_s=1005.0)

    assert machine.speed.recently == Limited(cause, 1.0)


def test_outcomes_that_nobody_had_time_to_hand_over() -> None:
    """If none waits in line for the consumer, a place that outcomes have is for want of CPU."""
    machine = Machine()
    machine.consumer_is_slow = False

    machine.waits(Why.PLACES, 5.0, bound="consumer")

    assert machine.speed.recently == Limited(Cause.CPU, 1.0)


def test_memory_is_full() -> None:
    """A source that has more, for which there is no room, is not slow."""
    machine = Machine()
    machine.speed.memory(full=True)

    machine.waits(Why.SOURCE, 5.0)

    assert machine.speed.recently == Limited(Cause.BUFFER, 1.0)


def test_memory_fills_up_while_the_pool_waits() -> None:
    """From then on it is not the source that is waited for; but other waits stay what they are."""
    machine = Machine()
    machine.speed.wait(Why.SOURCE, "user", opens_s=0.0, now_s=machine.now_s)
    machine.now_s += 1.0
    machine.speed.memory(full=True)
    machine.now_s += 3.0

    assert machine.speed.altogether == Limited(Cause.BUFFER, 0.75)

    machine.waits(Why.PLACES, 8.0)
    machine.speed.memory(full=False)

    told = machine.speed.altogether
    assert told is not None
    assert told.cause is Cause.CONCURRENCY


# --- The machine -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu", "disk", "cause"),
    [
        (0.89, 0.3, Cause.THROTTLED),
        (0.91, 0.3, Cause.CPU),
        (1.6, 0.0, Cause.CPU),
        (0.2, 0.34, Cause.DISK),
        (0.95, 0.34, Cause.DISK),
    ],
)
def test_the_machine_comes_first(cpu: float, disk: float, cause: Cause) -> None:
    """
    Nine tenths of a core, or a third of the time spent on writing: then it does not matter what
    the pool waits for.
    """
    machine = Machine()
    for _ in range(50):
        machine.waits(Why.PLACES, 0.1, bound="throttled", cpu=cpu, disk=disk)

    assert machine.speed.recently == machine.speed.altogether == Limited(cause, 1.0)


def test_what_is_not_waited_is_worked() -> None:
    """A pool that does not wait is short of CPU, on however small a share of a core it runs."""
    machine = Machine()
    for _ in range(30):
        machine.waits(Why.PLACES, 0.03)
        machine.now_s += 0.07

    told = machine.speed.altogether
    assert told is not None
    assert told.cause is Cause.CPU
    assert told.share == pytest.approx(0.7, abs=0.01)


# --- Time --------------------------------------------------------------------------------------


def test_too_short_to_say() -> None:
    """Less than two seconds say nothing."""
    machine = Machine()
    assert machine.speed.recently is machine.speed.altogether is None

    machine.waits(Why.SOURCE, 1.9)
    assert machine.speed.recently is machine.speed.altogether is None

    machine.waits(Why.SOURCE, 0.2)
    assert machine.speed.recently == Limited(Cause.SOURCE, 1.0)


def test_the_present_and_the_whole() -> None:
    """At present the last ten seconds count; at the end, all."""
    machine = Machine()
    for _ in range(80):
        machine.waits(Why.SOURCE, 1.0)
    for _ in range(20):
        machine.waits(Why.PLACES, 1.0)

    assert machine.speed.recently == Limited(Cause.CONCURRENCY, 1.0)
    assert machine.speed.altogether == Limited(Cause.SOURCE, 0.8)


@pytest.mark.parametrize(
    ("reply", "cause"), [("lost", Cause.FAILING), ("throttled", Cause.THROTTLED)]
)
def test_nothing_got_through(reply: str, cause: Cause) -> None:
    """Whatever was waited for: a service that answers no task is what limits the speed."""
    machine = Machine()
    for _ in range(2):
        machine.waits(Why.PLACES, 40.0)
        machine.speed.ended(request_ended(reply))

    assert machine.speed.altogether == Limited(cause, 1.0)

    machine.speed.settled(1)
    assert machine.speed.altogether == Limited(Cause.CONCURRENCY, 1.0)


def test_a_wait_that_is_not_over() -> None:
    """It counts while it lasts."""
    machine = Machine()
    for _ in range(10):
        machine.waits(Why.PLACES, 1.0)
    machine.speed.wait(Why.HELD, "user", opens_s=0.0, now_s=machine.now_s)
    machine.now_s += 30.0

    assert machine.speed.recently == Limited(Cause.FAILING, 1.0)
    assert machine.speed.altogether == Limited(Cause.FAILING, 0.75)


def test_a_long_wait_that_is_over() -> None:
    """Of a wait that was longer than what counts at present, only its end does."""
    machine = Machine()
    machine.waits(Why.HELD, 300.0)
    for _ in range(6):
        machine.waits(Why.PLACES, 1.0)

    assert machine.speed.recently == Limited(Cause.CONCURRENCY, 0.6)
    told = machine.speed.altogether
    assert told is not None
    assert told.cause is Cause.FAILING


def test_only_the_pools_own_time_counts() -> None:
    """Before it begins and after it has stopped, nothing is counted, and no CPU time either."""
    machine = Machine()
    machine.now_s += 50.0
    machine.cpu_s += 50.0
    for _ in range(4):
        machine.waits(Why.SOURCE, 1.0)
    machine.speed.stop(machine.now_s)
    machine.now_s += 5.0
    machine.cpu_s += 5.0

    assert machine.speed.recently == machine.speed.altogether == Limited(Cause.SOURCE, 1.0)


# --- Words -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", list(Cause))
def test_each_cause_has_words_and_one_piece_of_advice(cause: Cause) -> None:
    """In one line each."""
    told = advice(cause, ASKED, tasks_per_s=1234.0)

    assert WORDS[cause]
    assert told
    assert "\n" not in told
    assert "{" not in told


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (Cause.CONCURRENCY, "raise --concurrency-max (now 16)"),
        (Cause.MAX_RATE, "raise --max-rate (now 1,000)"),
        (Cause.BUFFER, "raise --max-buffer (now 32 MiB)"),
        (Cause.SOURCE, "it delivered 1,234 tasks/s, and more could have been sent"),
    ],
)
def test_advice_names_what_to_change(cause: Cause, told: str) -> None:
    """The flag and its value, or how fast it was."""
    assert advice(cause, ASKED, tasks_per_s=1234.0) == told


@pytest.mark.parametrize("cause", [Cause.THROTTLED, Cause.SLOW, Cause.SOURCE])
def test_a_rate_that_is_not_known_is_not_told(cause: Cause) -> None:
    """The rest of the advice holds all the same."""
    told = advice(cause, ASKED, tasks_per_s=None)

    assert "tasks/s" not in told
    assert told in advice(cause, ASKED, tasks_per_s=1234.0)


def test_the_rate_that_is_known() -> None:
    """Of ten seconds or more in which the same limited it, and nothing was held."""
    machine = Machine()
    told = []
    for _ in range(3):
        machine.waits(Why.PLACES, 1.0, bound="finding")
        machine.speed.settled(50)
    machine.waits(Why.HELD, 2.0)
    for _ in range(2):
        for _ in range(7):
            machine.speed.settled(780)
            machine.waits(Why.PLACES, 1.0, bound="slow")
        told.append(machine.speed.advice)

    words = "more requests at once would only wait longer"
    assert told == [words, f"it takes 780 tasks/s; {words}"]


def test_waiting_as_long_as_the_service_asked_is_no_missing_quota() -> None:
    """It says so, and for how long."""
    machine = Machine()
    for _ in range(12):
        machine.waits(Why.PLACES, 1.0, bound="throttled")
    machine.waits(Why.ASKED, 28.0)
    machine.speed.wait(Why.ASKED, "user", opens_s=0.0, now_s=machine.now_s)
    machine.now_s += 2.0

    assert machine.speed.advice == "it asked to wait (Retry-After), 30 s in all; the run did"


@pytest.mark.parametrize(("clean", "told"), [(1, True), (40, False)])
def test_many_server_errors_are_told(clean: int, *, told: bool) -> None:
    """
    If more than a fifth of what was sent was sent again, and not because a whole collection
    was throttled or lost.
    """
    machine = Machine()
    for _ in range(clean):
        machine.speed.ended(request_ended())
    for _ in range(10):
        machine.speed.ended(request_ended(resent=90))
    for _ in range(2):
        machine.speed.ended(request_ended("throttled"))
        machine.speed.ended(request_ended(resent=100))
    machine.waits(Why.PLACES, 5.0, bound="throttled")

    advised = machine.speed.advice
    assert advised is not None
    assert ("sent again after servererror (900 of 1,500, by task)" in advised) is told
    assert ("quota" in advised) is not told


def test_advice_on_a_fixed_limit() -> None:
    """Another flag bounds it."""
    asked = replace(ASKED, auto=False)

    assert advice(Cause.CONCURRENCY, asked, tasks_per_s=1.0) == "raise --concurrency (now 16)"
    assert advice(Cause.THROTTLED, asked, tasks_per_s=1.0).startswith("leave out --concurrency:")
