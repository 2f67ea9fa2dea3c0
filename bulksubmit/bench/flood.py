"""Takes the steps, one after the other, within what they may cost."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import anyio

from bulksubmit.bench.curve import Curve, next_in_flight
from bulksubmit.bench.meter import Meter, measured
from bulksubmit.consumer import Outcomes, running
from bulksubmit.core.events import Event, Observer
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.errors import NotConverged
from bulksubmit.journal import NoJournal
from bulksubmit.observe.report import Tally
from bulksubmit.producer import open_source
from bulksubmit.runs import Run, new_run_id
from bulksubmit.settings import Settings
from bulksubmit.submission import Service, Submission

# Of the time: 8 steps up to 100, 4 to close in on the knee, and 3 for the adaptive limit.
STEPS, AUTO_STEPS = 15, 3
PAUSE_S = 0.5  # From one step to the next: what waits in line at the service is done.
STEP_S_MIN = 0.5
DRAIN_S = 5.0
# Tasks are shared out by requests in flight, so that each step has about as many rounds; but few
# requests have no mean, and the adaptive limit needs to find its number.
WEIGHT_MIN, WEIGHT_AUTO = 16, 64
ROUNDS_MIN = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What it may cost.

    Attributes:
        tasks_max: Tasks added, in all, those included whose reply was lost.
        duration_s: How long it takes, but for the last replies.
        task_bytes: The size of a task; about 100 at least.
    """

    tasks_max: int
    duration_s: float
    task_bytes: int


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How far it is.

    Attributes:
        in_flight: Of this step; None for the adaptive limit.
        elapsed_s: Since the start.
        added: Tasks added since then.
    """

    in_flight: int | None
    elapsed_s: float
    added: int


class Flood:
    """Steps up to the knee, and what they brought.

    Attributes:
        curve: Up to now.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        *,
        job_id: str,
        observer: Observer,
        random: Random,
        stepped: Callable[[Curve], None] = lambda _: None,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """Prepare.

        Args:
            plan: What it may cost.
            settings: Of each run; ``concurrency_max`` is the most in flight that is tried.
            job_id: The job's.
            observer: Told of each event.
            random: For jitter.
            stepped: Told of the curve after each step.
            cpu_s: How long this process has kept a core busy.
        """
        self._plan, self._job_id, self._random = plan, job_id, random
        self._settings = replace(settings, drain_s=DRAIN_S, retry_timeout_s=plan.duration_s)
        self._most = settings.concurrency_max
        self._observer, self._stepped, self._cpu_s = observer, stepped, cpu_s
        self._tally: Tally | None = None
        self._began_s = 0.0
        self._step = 0
        self._meter: Meter | None = None
        self._in_flight: int | None = 1
        self.curve = Curve()

    def tell(self, event: Event, /) -> None:
        """See Observer: for the service's requests, which are those of whatever run it is now."""
        if self._tally:
            self._tally(event)
        self._observer(event)

    @property
    def under_way(self) -> UnderWay:
        """How far it is."""
        if self._meter is None:
            return UnderWay(None, 0.0, 0)
        elapsed_s = anyio.current_time() - self._began_s
        return UnderWay(self._in_flight, elapsed_s, self._meter.added)

    @property
    def added(self) -> int:
        """Tasks that were added, up to now."""
        return self._meter.added if self._meter else 0

    async def run(self, service: Service) -> None:
        """Take all steps. When it is cut off, ``curve`` has what was seen so far.

        Raises:
            BulkSubmitError: if the service takes no tasks, or nothing can be said.
        """
        await self._run(service)
        if not (self.added and self.curve.fixed):
            assert self._meter is not None, "set by then"
            trouble = self._meter.trouble
            reason = "too few tasks, or too little time, to see anything"
            raise NotConverged(f"nothing got through: {trouble}" if trouble else reason)

    async def _run(self, service: Service) -> None:
        self._began_s = anyio.current_time()
        step_s = self._plan.duration_s / STEPS
        auto_s = AUTO_STEPS * step_s
        ends_s = self._began_s + self._plan.duration_s
        meter = self._meter = Meter(service, self._cpu_s)
        with TemporaryDirectory(prefix="bulksubmit-bench-") as name:
            folder = Path(name)
            while (number := next_in_flight(self.curve.fixed, self._most)) is not None:
                if not await self._rest(meter, ends_s - auto_s - step_s):
                    break
                if not await self._take(
                    meter, number, step_s, self._share_of(meter, number), folder
                ):
                    break  # Too little came of it to go on from.
            if meter.added and await self._rest(meter, ends_s - STEP_S_MIN):
                left_s = min(auto_s, ends_s - anyio.current_time())
                left = self._plan.tasks_max - meter.spent
                await self._take(meter, None, left_s, left, folder)

    async def _rest(self, meter: Meter, until_s: float) -> bool:
        """Leave the service alone for a moment, and as long as it asked to; False if too long."""
        now_s = anyio.current_time()
        if self.curve.steps:
            now_s = max(now_s + PAUSE_S, meter.quiet_until_s)
        if now_s > max(until_s, self._began_s):
            return False
        await anyio.sleep_until(now_s)
        return True

    def _share_of(self, meter: Meter, number: int) -> int:
        """How many of the tasks that are left a step may add."""
        later, higher = [], number
        while higher < self._most:
            higher = min(2 * higher, self._most)
            later.append(higher)
        weights = [max(each, WEIGHT_MIN) for each in (*later, number)]  # And one to close in.
        weight = max(number, WEIGHT_MIN)
        left = self._plan.tasks_max - meter.spent
        share = left * weight // (weight + sum(weights) + WEIGHT_AUTO)
        return min(left, max(share, ROUNDS_MIN * number * self._settings.tasks_per_request_max))

    async def _take(
        self, meter: Meter, number: int | None, step_s: float, tasks_max: int, folder: Path
    ) -> bool:
        """One step: a run of its own, on connections that stay.

        Returns:
            Whether anything can be said of it.
        """
        # What is in flight when enough were added may add as much again.
        volley_max = tasks_max // 2
        most = number or min(self._most, volley_max // self._settings.tasks_per_request_max)
        volley = most * self._settings.tasks_per_request_max
        if not 0 < volley <= volley_max:
            return False
        meter.begin(meter.spent + tasks_max - volley)
        self._in_flight = number
        self._step += 1
        settings = replace(
            self._settings,
            concurrency="auto" if number is None else number,
            concurrency_max=most,
            max_duration_s=step_s,
        )
        began_s = anyio.current_time()
        try:
            await self._submit(meter, settings, folder)
        finally:
            until_s = min(began_s + step_s, meter.enough_s, anyio.current_time())
            step = measured(meter.exchanges, number, until_s=until_s)
            if step is not None:
                self.curve = Curve((*self.curve.steps, step))
                self._stepped(self.curve)
        return step is not None

    async def _submit(self, meter: Meter, settings: Settings, folder: Path) -> None:
        """Send tasks until enough were added, or the time is over."""
        tally = self._tally = Tally(anyio.current_time)
        with closing(open_source(self._tasks())) as source:
            submission = Submission(
                source,
                meter,
                work=Run(new_run_id(), folder, NoJournal()),
                job_id=self._job_id,
                settings=settings,
                observer=self.tell,
                tally=tally,
                random=self._random,
                cpu_s=self._cpu_s,
            )
            async with running(submission) as outcomes:
                meter.stop = partial(outcomes.stop, "enough were added")
                rejected: Outcome | None = None
                # It is stopped, as it should be; or nothing gets through, as the step will say.
                with suppress(NotConverged):
                    rejected = await _first_rejected(outcomes)
            if rejected:
                reason = f"{rejected.code}: {rejected.message}"
                raise NotConverged(f"the service does not take the tasks: {reason}")

    def _tasks(self) -> Iterator[bytes]:
        """Tasks without end, that no other step has."""
        for number in count():
            yield make_task(f"b{self._step:02d}-{number:07d}", self._plan.task_bytes)


async def _first_rejected(outcomes: Outcomes) -> Outcome | None:
    """Take all outcomes in, up to the first that no such task should have."""
    async for outcome in outcomes:
        if outcome.verdict is Verdict.REJECTED:
            return outcome
    return None


def make_task(task_id: str, size: int) -> bytes:
    """A task that does nothing, of that size in bytes if it is not too small for one."""
    head = b'{"id":"%b","commandLine":"true","environmentSettings":[{"name":"PADDING","value":"'
    body, tail = head % task_id.encode(), b'"}]}'
    return body + b"x" * max(0, size - len(body) - len(tail)) + tail
