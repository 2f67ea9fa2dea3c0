"""The knee is found, by the production engine against the emulator, on virtual time."""

from functools import partial
from random import Random

import anyio
import pytest

from bulksubmit.bench.curve import Curve, Limit
from bulksubmit.bench.flood import Flood, Plan
from bulksubmit.emulator.capacity import Capacity, Phase
from bulksubmit.emulator.service import Service
from bulksubmit.service.transport import CLIENT_MARGIN_S
from bulksubmit.settings import Settings
from tests.simulation.network import EPOCH_S, JOB_ID, Wire
from tests.virtual import run_virtual

PLAN = Plan(tasks_max=60_000, duration_s=90.0, task_bytes=120)


def make_flood(capacity: Capacity, plan: Plan = PLAN, **settings: int) -> tuple[Flood, Service]:
    """A flood, and the service that it is to meet."""
    service = Service(random=Random("service"), phases=(Phase(0.0, capacity),))
    service.create_job(JOB_ID, now_s=EPOCH_S)
    flood = Flood(
        plan,
        Settings(tasks_per_request_max=10, **settings),
        job_id=JOB_ID,
        observer=lambda _: None,
        random=Random("flood"),
        cpu_s=lambda: 0.0,
    )
    return flood, service


async def meet(flood: Flood, service: Service) -> Curve:
    """Let it flood the service."""
    async with anyio.create_task_group() as world:
        wire = Wire(
            service=service,
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
            observer=flood.tell,
        )
        await flood.run(wire)
        world.cancel_scope.cancel()
    return flood.curve


def test_probe() -> None:
    for cap in (
        Capacity(outage="502"),
        Capacity(parallel=12, latency_ms=300, retry_after_s=5),
    ):
        flood, service = make_flood(cap)
        curve, s = run_virtual(partial(meet, flood, service))
        print()
        print(cap)
        for step in curve.steps:
            print(step)
        print(s, flood.sent, flood.added, "KNEE", curve.knee and curve.knee.in_flight, curve.limited_by, curve.settings, curve.auto_share, curve.advice(tried_max=100))
