"""One seed from its first life to its last: the production engine, killed again and again."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import anyio
from anyio.abc import TaskGroup

from bulksubmit import journal, runs
from bulksubmit.consumer import Outcomes, running
from bulksubmit.core import bitmap
from bulksubmit.core.backlog import LINGER_S
from bulksubmit.core.model import Attempt, Outcome, ReadBack, Reading, Reply
from bulksubmit.emulator.faults import Faults, TaskFault
from bulksubmit.emulator.service import Service
from bulksubmit.emulator.store import JobState
from bulksubmit.emulator.switches import Switches
from bulksubmit.errors import BulkSubmitError, JournalError, NotConverged
from bulksubmit.observe.report import Report, Tally
from bulksubmit.producer import open_source, opening, survey
from bulksubmit.producer.source import Source
from bulksubmit.service.operations import CLIENT_MARGIN_S
from bulksubmit.submission import Submission
from tests.simulation.auditor import Auditor, Figures
from tests.simulation.disk import Disk, Image
from tests.simulation.network import EPOCH_S, JOB_ID, Wire
from tests.simulation.scenario import Ending, Life, Scenario, draw, in_flight_max, kind
from tests.virtual import run_virtual

RUN_ID = "20250101-000000-0000"
_REQUESTS_MAX = 50_000
# After the service got well: its last slow answer, the longest hold and backoff, and time to
# send everything twice.
_HEAL_S, _HEAL_PER_REQUEST_S = 150.0, 3.0


def simulate(seed: int) -> tuple[Figures, str]:
    """Run a seed.

    Returns:
        What it came to, and a hash of all that happened.

    Raises:
        AssertionError: if a promise was broken.
    """
    scenario = draw(seed)
    memory = Path("/dev/shm")  # noqa: S108 - only where, not what; files there cost no disk.
    with (
        TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        _circumstances(scenario, Path(folder)),
    ):
        world = World(scenario, Path(folder))
        shuffling = Random(f"{seed} ready")
        try:
            _, world.auditor.figures.virtual_s = run_virtual(world.run, shuffled_by=shuffling)
        except Exception as error:
            raise world.auditor.failure or error from error
    return world.auditor.figures, world.auditor.trace


@contextmanager
def _circumstances(scenario: Scenario, folder: Path) -> Iterator[None]:
    """Constants made small, so that few tasks cross many borders; and no threads.

    A thread's end would come at no set point of the loop's rounds: the same seed would not run
    the same way twice. Reading takes its time by the virtual clock instead.
    """
    random = Random(f"{scenario.seed} reading")

    async def run_sync(function: Any, *args: object, **_: object) -> Any:
        await anyio.sleep(scenario.read_s * random.random())
        return function(*args)

    with ExitStack() as patched:
        patch = mock.patch.object
        patched.enter_context(mock.patch.dict(os.environ, BULKSUBMIT_STATE_DIR=str(folder)))
        patched.enter_context(patch(opening, "BLOCK_BYTES", scenario.block_bytes))
        for module in (opening, survey):
            patched.enter_context(patch(module, "to_thread", mock.Mock(run_sync=run_sync)))
        patched.enter_context(patch(bitmap, "BLOCK", 8 * scenario.bitmap_bytes))
        patched.enter_context(patch(bitmap, "_BLOCK_BYTES", scenario.bitmap_bytes))
        patched.enter_context(patch(journal, "STRIDE_MIN", scenario.stride_min))
        patched.enter_context(patch(journal, "LOG_PAGES", scenario.checkpoint_pages))
        yield


def _goes_on() -> bool:
    """Whether submitting the same source again goes on with the run."""
    run = runs.find(RUN_ID)
    return run.state != "converged" and run.values["doubt_below"] > 0


class _Left(Exception):
    """The consumer leaves."""


class World:
    """The service, the disk, and the processes that come and go.

    Attributes:
        auditor: Looks on.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self.folder = folder / "runs" / RUN_ID
        self.source = folder / "tasks.jsonl"
        self.source.write_bytes(scenario.source)
        self.results, self.rejects = folder / "results.jsonl", self.folder / "rejects.ndjson"
        self.service = Service(
            random=Random(f"{scenario.seed} service"),
            task_script=lambda task_id: (
                TaskFault("ClientError", "InvalidPropertyValue") if kind(task_id) == "bad" else None
            ),
        )
        self.job = self.service.create_job(JOB_ID, now_s=EPOCH_S)
        for task_id, body in scenario.planted.items():
            self.job.add(task_id, body, ticks=self.job.created_ticks)
        self.auditor = Auditor(scenario, self.job, folder, self.results)

    async def run(self) -> None:
        """All lives."""
        scenario = self._scenario
        self.disk = Disk(self.folder, anyio.current_time)
        with self.disk.watching():
            async with anyio.create_task_group() as service_side:
                for number, life in enumerate(scenario.lives):
                    await Process(self, scenario, number, life, service_side).run()
                report = await self._converge(service_side)
        self.auditor.converged(report, self.rejects)
        async with anyio.create_task_group() as nobody:
            # Once more: a converged run has nothing left to do.
            with self.disk.watching():
                last = await self._process(len(scenario.lives) + 1, nobody).run()
        assert last is not None
        assert self.auditor.requests_now() == 0
        self.auditor.converged(last, self.rejects)

    async def _converge(self, service_side: TaskGroup) -> Report:
        scenario = self._scenario
        process = self._process(len(scenario.lives), service_side)
        began_s = anyio.current_time()
        requests = len(scenario.tasks) / scenario.healthy.tasks_per_request_max
        requests += len(scenario.source) / (scenario.healthy.request_bytes_max / 2)
        reading_s = scenario.read_s * (2 + len(scenario.source) / scenario.block_bytes)
        budget_s = _HEAL_S + (1 + requests) * _HEAL_PER_REQUEST_S + reading_s
        report = await process.run()
        took_s = anyio.current_time() - began_s - scenario.heal_s
        assert report is not None
        assert report.converged, f"healed, and not converged: {report}"
        assert took_s <= budget_s, f"healed for {took_s:.0f} s before it converged"
        if not scenario.heal_s:
            most = 2 * requests + 5 + reading_s / LINGER_S  # A slow source: part-filled ones.
            made = self.auditor.requests_now()
            assert made <= most, f"{made} requests to a healthy service, more than {most:.0f}"
        return report

    def _process(self, number: int, service_side: TaskGroup) -> "Process":
        """The one that converges: its service gets well."""
        scenario = self._scenario
        weather = scenario.lives[-1].faults if scenario.heal_s else Faults()
        never = (float("inf"), float("inf"))
        life = Life(
            ending=Ending.NATURAL,
            at_s=float("inf"),
            at_step=-1,
            full_for=0,
            faults=weather,
            switches=scenario.lives[-1].switches if scenario.heal_s else Switches(),
            unsent=0.0,
            refused=0.0,
            lag=0.0,
            disabled_s=never,
            settings=scenario.healthy,
        )
        return Process(self, scenario, number, life, service_side, heal_s=scenario.heal_s)


class Process:
    """One life of the run."""

    def __init__(
        self,
        world: World,
        scenario: Scenario,
        number: int,
        life: Life,
        service_side: TaskGroup,
        *,
        heal_s: float | None = None,
    ) -> None:
        self._world, self._scenario, self._number, self._life = world, scenario, number, life
        self._heal_s = heal_s
        self._random = Random(f"{scenario.seed} life {number}")
        self._submission: Submission | None = None
        self._steps = 0
        self._ending = Ending.NATURAL  # How it really ends.
        self._leaving = False
        self._call = anyio.CancelScope()
        self._report: Report | None = None
        self._image: Image | None = None
        self._sizes: dict[Path, int] = {}
        self._wire = Wire(
            service=world.service,
            world=service_side,
            random=Random(f"{scenario.seed} wire {number}"),
            latency_s=scenario.latency_s,
            timeout_s=life.settings.server_timeout_s + CLIENT_MARGIN_S,
            unsent=life.unsent,
            refused=life.refused,
            lag=life.lag,
            sending=self._sending,
            replied=self._replied,
            looking=self._looking,
            looked=self._looked,
            dead=lambda: self._dead,
        )

    async def run(self) -> Report | None:
        """Live, and die.

        Returns:
            The final account, unless it crashed.
        """
        world, life = self._world, self._life
        world.service.faults, world.service.switches = life.faults, life.switches
        world.job.state = JobState.ACTIVE
        world.disk.opened()
        world.auditor.begin(
            in_flight_max(life.settings),
            life.settings.tasks_per_request_max,
            life.settings.request_bytes_max,
        )
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._strike_at, life.at_s)
            beside.start_soon(self._change_weather)
            error: Exception | None = None
            try:
                with self._call:
                    await self._live()
            except (BulkSubmitError, _Left) as raised:
                error = raised
            world.auditor.note("error", type(error).__name__)
            if isinstance(error, JournalError):
                assert self._dead or self._ending is Ending.DISK_FULL, f"{error!r}"
            beside.cancel_scope.cancel()
        world.disk.step = lambda: None
        if world.auditor.failure:
            raise world.auditor.failure
        self._bury()
        return None if self._dead else self._report

    async def _live(self) -> None:
        world, settings = self._world, self._life.settings
        with ExitStack() as opened:
            source = opened.enter_context(closing(open_source(str(world.source))))
            work = self._begin(source)
            opened.enter_context(closing(work.journal))
            tally = Tally(anyio.current_time)
            self._wire.observer = tally
            self._submission = submission = Submission(
                source,
                self._wire,
                work=work,
                job_id=JOB_ID,
                settings=replace(settings, results_path=world.results),
                observer=tally,
                tally=tally,
                random=self._random,
            )
            self._check_each_step(submission)
            if self._dead:  # As it was about to begin.
                submission.close()
                return
            await self._consume(submission)

    def _begin(self, source: Source) -> runs.Run:
        disk, clock = self._world.disk, anyio.current_time
        resumes = self._number > 0
        if resumes:
            disk.step = self._step
        if resumes and (self._life.settings.on_unfinished == "new" or not _goes_on()):
            return runs.resume(RUN_ID, source, clock=clock)
        work = runs.begin(
            source,
            run_id=RUN_ID,
            job_id=JOB_ID,
            endpoint="https://account.region.batch.azure.com",
            on_unfinished="resume",
            clock=clock,
        )
        disk.step = self._step
        return work

    async def _consume(self, submission: Submission) -> None:
        auditor, pause_s = self._world.auditor, self._scenario.pause_s
        try:
            async with running(submission) as outcomes:
                async for outcome in outcomes:
                    if self._dead:
                        continue
                    self._take(outcome, outcomes)
                    if pause_s:
                        await anyio.sleep(pause_s)
        finally:
            if not self._dead:
                self._report = submission.report
                auditor.look_at(self._report)

    def _take(self, outcome: Outcome, outcomes: Outcomes) -> None:
        auditor = self._world.auditor
        auditor.poll()
        auditor.handed_over(outcome)
        if outcome.ordinal % 16 == 0:
            auditor.look_at(outcomes.report)
        if self._leaving:
            self._ending = Ending.LEAVE
            auditor.stopped()
            raise _Left

    def _check_each_step(self, submission: Submission) -> None:
        reconciler = submission._reconciler  # noqa: SLF001 - its invariants are looked at
        settle, settle_read_back = reconciler.settle, reconciler.settle_read_back

        def checked(attempt: Attempt, reply: Reply, *, now_s: float) -> Sequence[Outcome]:
            outcomes = settle(attempt, reply, now_s=now_s)
            reconciler.check()
            return outcomes

        def checked_too(read: ReadBack, reading: Reading, *, now_s: float) -> list[Outcome]:
            outcomes = settle_read_back(read, reading, now_s=now_s)
            reconciler.check()
            return outcomes

        reconciler.settle = checked  # type: ignore[method-assign]  # On this one only.
        reconciler.settle_read_back = checked_too  # type: ignore[method-assign]

    # --- What happens to it ------------------------------------------------------------------

    @property
    def _dead(self) -> bool:
        return self._image is not None

    def _sending(self, attempt: Attempt, body: bytes) -> None:
        self._step()
        if not self._dead:
            self._world.auditor.sending(attempt, body)
            assert self._world.auditor.figures.requests < _REQUESTS_MAX
            if self._random.random() < 0.5:  # Else the next step is before this one's answer.
                self._step()

    def _replied(self, attempt: Attempt, reply: Reply) -> None:
        if not self._dead:
            self._world.auditor.replied(attempt, reply)

    def _looking(self) -> None:
        self._step()
        if not self._dead:
            self._world.auditor.looking()

    def _looked(self, useful: bool) -> None:  # noqa: FBT001 - the one thing to say of it
        if not self._dead:
            self._world.auditor.looked(useful=useful)

    def _step(self) -> None:
        self._steps += 1
        if self._steps == self._life.at_step:
            self._strike()

    async def _strike_at(self, at_s: float) -> None:
        await anyio.sleep(at_s)
        self._strike()

    def _strike(self) -> None:
        ending, submission = self._life.ending, self._submission
        if self._dead or self._ending is not Ending.NATURAL:
            return
        match ending:
            case Ending.KILL | Ending.POWER_CUT:
                self._die()
            case Ending.DISK_FULL:
                self._ending, self._world.disk.full_for = ending, self._life.full_for
            case Ending.CANCEL if submission:
                self._ending = ending
                self._world.auditor.stopped()
                self._call.cancel()
            case Ending.LEAVE:
                self._leaving = True
            case Ending.STOP | Ending.CUT if submission:
                self._ending = ending
                self._world.auditor.stopped()
                submission.stop(NotConverged("told to"))
                if ending is Ending.CUT:
                    submission.cut()

    def _die(self) -> None:
        """From now on, nothing that it does is ever seen."""
        world, ending = self._world, self._life.ending
        world.auditor.poll()
        self._ending = ending
        for path in (world.results, world.rejects):
            self._sizes[path] = path.stat().st_size if path.exists() else 0
        self._image = world.disk.image(self._random if ending is Ending.POWER_CUT else None)
        world.auditor.end(self._image, ending, None, synced_s=world.disk.synced_s, left=True)
        if self._submission:
            self._submission.stop(NotConverged("dead"))
            self._submission.cut()

    def _bury(self) -> None:
        world = self._world
        if self._image is not None:
            for path, size in self._sizes.items():
                if path.exists():
                    os.truncate(path, size)
            world.disk.restore(self._image)
            return
        left = self._ending in {Ending.LEAVE, Ending.CANCEL, Ending.DISK_FULL}
        world.auditor.end(
            world.disk.image(None),
            self._ending,
            self._report,
            synced_s=world.disk.synced_s,
            left=left,
        )

    async def _change_weather(self) -> None:
        """The job is disabled for a while; the service gets well."""
        service, job = self._world.service, self._world.job
        since_s, until_s = self._life.disabled_s
        if self._heal_s is not None:
            await anyio.sleep(self._heal_s)
            service.faults = Faults(latency_s=0.01)
            return
        await anyio.sleep(since_s)
        job.state = JobState.DISABLED
        await anyio.sleep(until_s - since_s)
        job.state = JobState.ACTIVE
