"""The knee is found, by the production engine against the emulator, on virtual time."""

import math
from functools import partial
from random import Random

import anyio
import pytest

from bulksubmit.bench.curve import Curve, Limit
from bulksubmit.bench.flood import DRAIN_S, Flood, Plan, make_task
from bulksubmit.core.events import Event, RequestEnded
from bulksubmit.core.taskcheck import Checker
from bulksubmit.emulator.capacity import Capacity, Phase
from bulksubmit.emulator.service import Service
from bulksubmit.errors import NotConverged
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Block
from bulksubmit.service.operations import CLIENT_MARGIN_S
from bulksubmit.settings import Settings
from tests.simulation.network import EPOCH_S, JOB_ID, Wire
from tests.virtual import run_virtual

SPREAD = 0.2  # Of the latency, as services have it.


class Trial:
    """A flood, and the service that it meets."""

    def __init__(
        self,
        capacity: Capacity,
        *,
        tasks_max: int = 30_000,
        duration_s: float = 90.0,
        concurrency_max: int = 100,
    ) -> None:
        self.service = Service(random=Random("service"), phases=(Phase(0.0, capacity),))
        self.service.create_job(JOB_ID, now_s=EPOCH_S)
        self.events: list[Event] = []
        self.plan = Plan(tasks_max, duration_s, task_bytes=120)
        self.flood = Flood(
            self.plan,
            # Few tasks a request: it is the requests that are counted here.
            Settings(tasks_per_request_max=10, concurrency_max=concurrency_max),
            job_id=JOB_ID,
            observer=self.events.append,
            random=Random("flood"),
            cpu_s=lambda: 0.0,
        )
        self.took_s = 0.0

    def meet(self, *, cut_after_s: float = math.inf) -> Curve:
        """Let it flood the service, to its end or until it is cut off."""
        _, self.took_s = run_virtual(partial(self._meet, cut_after_s))
        return self.flood.curve

    async def _meet(self, cut_after_s: float) -> None:
        async with anyio.create_task_group() as world:
            wire = Wire(
                service=self.service,
                world=world,
                random=Random("wire"),
                latency_s=0.0,
                timeout_s=30.0 + CLIENT_MARGIN_S,
                unsent=0.0,
                refused=0.0,
                lag=0.0,
                sending=lambda *_: None,
                replied=lambda *_: None,
                looking=lambda: None,
                looked=lambda _: None,
                dead=lambda: False,
                observer=self.flood.tell,
            )
            error: Exception | None = None
            with anyio.move_on_after(cut_after_s):
                try:
                    await self.flood.run(wire)
                except NotConverged as raised:  # Out of the group, which would wrap it.
                    error = raised
            world.cancel_scope.cancel()
        if error:
            raise error

    def assert_bounded(self) -> None:
        """It kept to what it may cost, and counted what is there."""
        held = len(self.service.job(JOB_ID))
        assert self.flood.added == held <= self.plan.tasks_max
        assert self.took_s <= self.plan.duration_s + DRAIN_S


@pytest.mark.parametrize(
    ("capacity", "knee", "limit"),
    [
        (Capacity(parallel=2, latency_ms=300, latency_spread=SPREAD), 2, Limit.THROTTLED),
        pytest.param(
            Capacity(parallel=16, latency_ms=300, latency_spread=SPREAD),
            *(16, Limit.THROTTLED),
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            Capacity(parallel=64, latency_ms=100, latency_spread=SPREAD),
            *(64, Limit.THROTTLED),
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            Capacity(parallel=24, waits=math.inf, latency_ms=400, latency_spread=SPREAD),
            *(24, Limit.SLOW),
            marks=pytest.mark.thorough,
        ),
        (Capacity(parallel=8, waits=math.inf, latency_ms=400), 8, Limit.SLOW),
        # 50 requests of 10 tasks a second at 0.25 s each are 12.5 in flight.
        pytest.param(
            Capacity(tasks_per_s=500, burst_s=0.2, latency_ms=250, latency_spread=SPREAD),
            *(12.5, Limit.THROTTLED),
            marks=pytest.mark.thorough,
        ),
        # It asks to be left alone for 2 s, whenever there is one too many.
        (Capacity(parallel=6, latency_ms=200, retry_after_s=2), 6, Limit.THROTTLED),
    ],
)
def test_the_knee_is_found(capacity: Capacity, knee: float, limit: Limit) -> None:
    """
    Whatever the hidden limit is, the knee is within a fifth of it, and what limits is told.
    """
    trial = Trial(capacity)

    curve = trial.meet()

    assert curve.knee is not None
    assert curve.knee.in_flight == pytest.approx(knee, rel=0.2)
    assert curve.limited_by is limit
    assert curve.auto is not None
    trial.assert_bounded()


def test_without_a_knee() -> None:
    """
    Where each request more brings more there is none; the speed is that of the latency's bound.
    """
    trial = Trial(Capacity(latency_ms=100), tasks_max=6000, concurrency_max=20)

    curve = trial.meet()

    assert [step.in_flight for step in curve.fixed] == [1, 2, 4, 8, 16, 20]
    assert curve.knee is None
    assert curve.limited_by is Limit.LATENCY
    for step in curve.fixed:
        assert step.tasks_per_s == pytest.approx(step.in_flight * 10 / 0.1, rel=0.01)
        assert step.p95_ms == pytest.approx(100, rel=0.01)
    trial.assert_bounded()


def test_nothing_gets_through() -> None:
    """
    A service that is down is not hammered, and why nothing was seen is told.
    """
    trial = Trial(Capacity(outage="502"))

    with pytest.raises(NotConverged, match="nothing got through: HTTP 502"):
        trial.meet()

    requests = [event for event in trial.events if isinstance(event, RequestEnded)]
    assert len(requests) < 20
    assert trial.took_s < 90.0


def test_too_short_for_a_single_number() -> None:
    """
    Where not even one request at a time comes to an end within its step, nothing is known of the
    curve: that is said, whatever the adaptive limit has brought.
    """
    trial = Trial(Capacity(latency_ms=1_500), duration_s=12.0)

    with pytest.raises(NotConverged, match="too few tasks, or too little time"):
        trial.meet()

    assert trial.flood.curve.fixed == []


def test_cut_off() -> None:
    """
    Whoever cuts it off has what was seen so far, the step under way too.
    """
    trial = Trial(Capacity(latency_ms=100), duration_s=60.0)

    curve = trial.meet(cut_after_s=6.5)

    # 4 s and a pause each.
    assert [step.in_flight for step in curve.fixed] == [1, 2]
    assert curve.auto is None
    assert curve.fixed[-1].tasks_per_s == pytest.approx(200, rel=0.05)


async def test_tasks_are_tasks() -> None:
    """
    A throw-away task is one by every rule, and has the size that was asked for.
    """
    bodies = [make_task("b01-0000001", size) for size in (1, 100, 5000)]
    blocks: list[Block] = []

    async def admit(block: Block) -> None:
        blocks.append(block)

    await open_source(iter(bodies), Checker()).read(admit)

    assert [len(block.tasks) for block in blocks] == [3]
    assert [len(body) for body in bodies[1:]] == [100, 5000]
    assert not blocks[0].invalid
    assert not blocks[0].warned
