"""Runs a scenario on virtual time: the production submission against the emulator."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import anyio
from anyio.abc import TaskGroup

from bulksubmit.consumer import running
from bulksubmit.core.account import Place
from bulksubmit.core.events import Event, LimitChanged
from bulksubmit.core.model import Answered, Attempt, Reply, Task
from bulksubmit.emulator.scenario import Load, Scenario, read_scenario
from bulksubmit.emulator.service import Service
from bulksubmit.errors import NotConverged
from bulksubmit.observe.report import Tally
from bulksubmit.pool import Limit
from bulksubmit.producer.source import Admit, Block, Done
from bulksubmit.service.operations import CLIENT_MARGIN_S
from bulksubmit.settings import Settings
from bulksubmit.submission import Submission
from tests.scenarios.timeline import Limited, Replied, Sent, Timeline
from tests.shell.doubles import Blocks, spec, without_journal
from tests.simulation.network import EPOCH_S, JOB_ID, Wire
from tests.virtual import run_virtual

FOLDER = Path(__file__).parents[2] / "configs" / "scenarios"
_REQUESTS_A_BLOCK = 5


def scenarios() -> Iterator[Scenario]:
    """All there are, by name."""
    for path in sorted(FOLDER.glob("*.toml")):
        yield read_scenario(path)


def run(scenario: Scenario, *, limit: Callable[[], Limit] | None = None, seed: int = 1) -> Timeline:
    """Run a scenario.

    Args:
        scenario: Which.
        limit: Makes each submitter's limit on what is in flight; None for the adaptive one.
        seed: Decides all chance.
    """
    world = _World(scenario, limit, seed)
    run_virtual(world.run)
    return world.timeline


class Made(Blocks):
    """A source that is made as it is read, so that nothing of it is kept."""

    def __init__(self, load: Load, submitter: int) -> None:
        super().__init__([])
        self._load, self._first = load, submitter * load.tasks

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        assert done is None
        load = self._load
        step = _REQUESTS_A_BLOCK * load.tasks_per_request
        for begin in range(0, load.tasks, step):
            ordinals = range(begin, min(begin + step, load.tasks))
            tasks = [self._task(ordinal) for ordinal in ordinals]
            await admit(Block(tasks, Place(ordinals.stop, 0, ordinals.stop + 1)))

    def _task(self, ordinal: int) -> Task:
        number = self._first + ordinal
        body = spec(number, body_bytes=self._load.task_bytes)
        return Task(ordinal, ordinal + 1, f"t{number}", body)


class _World:
    """The service and its one or two submitters."""

    def __init__(self, scenario: Scenario, limit: Callable[[], Limit] | None, seed: int) -> None:
        self.timeline = Timeline(scenario)
        self._load, self._limit, self._seed = scenario.load, limit, seed
        random = Random(f"{seed} service")
        self._service = Service(random=random, phases=scenario.phases)
        self._service.create_job(JOB_ID, now_s=EPOCH_S)
        self._began_s = 0.0

    async def run(self) -> None:
        """All of it."""
        self._began_s = anyio.current_time()
        async with anyio.create_task_group() as service_side:
            async with anyio.create_task_group() as submitters:
                for number in range(self._load.submitters):
                    submitters.start_soon(self._submit, number, service_side)
            self.timeline.seconds = self._now_s()
            service_side.cancel_scope.cancel()

    async def _submit(self, number: int, service_side: TaskGroup) -> None:
        load = self._load
        await anyio.sleep(number * load.second_at_s)
        wire = self._wire(number, service_side)
        tally = Tally(anyio.current_time)

        def tell(event: Event, /) -> None:
            tally(event)
            if isinstance(event, LimitChanged):
                limited = Limited(self._now_s(), number, event.new, event.reason)
                self.timeline.limits.append(limited)

        wire.observer = tell
        limit = self._limit() if self._limit else None
        with closing(Made(load, number)) as source:
            submission = Submission(
                source,
                wire,
                work=without_journal(),
                job_id=JOB_ID,
                settings=_settings(load),
                observer=tell,
                tally=tally,
                random=Random(f"{self._seed} submitter {number}"),
                limit=limit,
            )
            self._watch(number, limit or submission.limit)
            try:
                async with running(submission) as outcomes:
                    await outcomes.drain()
            except NotConverged as error:
                self.timeline.error = str(error)

    def _watch(self, number: int, limit: Limit) -> None:
        """Take down the limit as it is at first, and after each reply."""
        limits, ended = self.timeline.limits, limit.ended
        last = _window(limit)
        limits.append(Limited(self._now_s(), number, last))

        def watched(attempt: Attempt, reply: Reply, *, now_s: float) -> None:
            nonlocal last
            told = len(limits)
            ended(attempt, reply, now_s=now_s)
            window = _window(limit)
            if window != last and len(limits) == told:
                limits.append(Limited(self._now_s(), number, window))
            last = window

        limit.ended = watched  # type: ignore[method-assign]

    def _wire(self, number: int, service_side: TaskGroup) -> Wire:
        return Wire(
            service=self._service,
            world=service_side,
            random=Random(f"{self._seed} wire {number}"),
            latency_s=0.0,
            timeout_s=self._load.server_timeout_s + CLIENT_MARGIN_S,
            unsent=0.0,
            refused=0.0,
            lag=0.0,
            sending=partial(self._sending, number),
            replied=partial(self._replied, number),
            looking=lambda: None,
            looked=lambda _: None,
            dead=lambda: False,
        )

    def _sending(self, number: int, attempt: Attempt, _body: bytes) -> None:
        self.timeline.sent.append(Sent(self._now_s(), number, len(attempt.tasks)))

    def _replied(self, number: int, attempt: Attempt, reply: Reply) -> None:
        kind, added = type(reply).__name__.lower(), 0
        if isinstance(reply, Answered):
            words = [result.status.lower() for result in reply.results]
            added = words.count("success")
            kind = "servererror" if set(words) == {"servererror"} else "clean"
        tasks, took_s = len(attempt.tasks), anyio.current_time() - attempt.sent_s
        self.timeline.replied.append(Replied(self._now_s(), number, kind, tasks, added, took_s))

    def _now_s(self) -> float:
        return anyio.current_time() - self._began_s


def _window(limit: Limit) -> float:
    """The limit as a real number, if it has one."""
    return float(getattr(limit, "window", limit.value))


def _settings(load: Load) -> Settings:
    return Settings(
        concurrency="auto",
        concurrency_max=load.concurrency_max,
        tasks_per_request_max=load.tasks_per_request,
        server_timeout_s=load.server_timeout_s,
        max_rate=None if load.max_rate == float("inf") else load.max_rate,
        max_duration_s=load.seconds_max,
    )
