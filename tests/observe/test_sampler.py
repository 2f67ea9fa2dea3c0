"""What a run's history is told while it goes on."""

from msgspec.structs import replace

from bulksubmit.core.events import LimitChanged, RequestEnded
from bulksubmit.core.history import Life, Sample
from bulksubmit.core.model import Outcome, Verdict, Why
from bulksubmit.observe.causes import Asked, Cause
from bulksubmit.observe.report import Tally
from bulksubmit.observe.sampler import TROUBLES_MAX, Sampler
from bulksubmit.observe.speed import Speed

ENDED = RequestEnded(
    operation="add_task_collection",
    method="POST",
    url="http://batch.test/jobs/j1/addtaskcollection",
    attempt=1,
    client_request_id="c",
    request_id="r",
    status=200,
    reply="answered",
    reason=None,
    tasks=100,
    resent=0,
    bytes_sent=5000,
    latency_s=0.1,
)


class Kept:
    """A history that can be looked at."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.samples: list[Sample] = []
        self._keeps = keeps

    def begin(self, life: Life) -> None:
        life.number = int(self._keeps)

    def add(self, sample: Sample) -> None:
        self.samples.append(sample)


class World:
    """A tally whose sampler has begun, and a clock that is set by hand."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.now_s = 100.0
        self.kept, self.tally = Kept(keeps=keeps), Tally(self.clock)
        self.speed = self.tally.speed = Speed(
            Asked(100, auto=True, max_rate=None, buffer_bytes_max=1), self.clock, cpu_s=lambda: 0.0
        )
        self.life = Life("2026-01-31T23:59:59+00:00")
        self.sampler = Sampler(
            self.kept,
            self.life,
            self.clock,
            tally=self.tally,
            speed=self.speed,
            in_flight=lambda: 7,
        )
        self.sampler.begin()

    def clock(self) -> float:
        return self.now_s

    def settle(self, tasks: int) -> None:
        self.tally.record([Outcome(n, n + 1, f"t{n}", Verdict.ADDED) for n in range(tasks)], [])


def test_a_sample_is_what_happened_since_the_last_one() -> None:
    """
    Counts and latencies begin anew with each; the limit and what is in flight are as they are.
    """
    world = World()
    world.speed.wait(Why.PLACES, "throttled", opens_s=0.0, now_s=100.0)
    world.tally(LimitChanged(1.0, 12.5, "doubling"))
    for number in range(1, 21):
        world.tally(replace(ENDED, latency_s=number / 100))
    world.tally(replace(ENDED, reply="throttled", reason="HTTP 429", latency_s=0.001))
    world.settle(2000)
    world.now_s = 100.5
    world.sampler.look()
    world.tally(replace(ENDED, reply="lost", reason="timed out", latency_s=2.0))
    world.now_s = 101.0
    world.sampler.look()

    first, second = world.kept.samples
    assert first == Sample(0.0, 0.5, 2000, 21, 1, 0, 12.5, 7, 0.1, 0.19, "throttled")
    assert second == Sample(0.5, 0.5, 0, 1, 0, 1, 12.5, 7, 2.0, 2.0, "throttled")
    assert world.life.troubles == {"throttled: HTTP 429": 1, "lost: timed out": 1}
    assert world.life.causes == {Cause.THROTTLED: 1.0}
    assert (world.life.limit_raised, world.life.limit_cut) == (1, {})


def test_samples_are_not_shorter_than_they_should_be() -> None:
    """
    Looking more often makes no more of them; the last one may be short.
    """
    world = World()
    for _ in range(100):
        world.now_s += 0.0101
        world.sampler.look()
    world.now_s += 0.01
    world.sampler.look(last=True)

    assert [round(sample.span_s, 2) for sample in world.kept.samples] == [0.25] * 4 + [0.01]


def test_without_a_history_nothing_is_remembered() -> None:
    """
    Nothing grows with the requests of a run that has no journal.
    """
    world = World(keeps=False)
    world.tally(ENDED)
    world.now_s = 200.0
    world.sampler.look(last=True)

    assert world.kept.samples == []
    assert world.tally.sampler is None


def test_kinds_of_trouble_are_bounded() -> None:
    """
    However many different reasons there are, a few are told, and the rest by their number.
    """
    world = World()
    for number in range(100):
        world.tally(replace(ENDED, reply="lost", reason=f"reason {number}"))
    world.now_s = 101.0
    world.sampler.look()

    assert len(world.life.troubles) == TROUBLES_MAX + 1
    assert world.life.troubles["others"] == 100 - TROUBLES_MAX
