"""The straight line: source ─▶ reconciler ⇄ pool ─▶ service, and outcomes on their way out."""

import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup

from bulksubmit.core.events import Event, Observer, SourceRead
from bulksubmit.core.model import Attempt, Outcome, Reply, Task, Verdict
from bulksubmit.core.pacing import FixedLimit
from bulksubmit.core.reconciler import Bounds, Reconciler
from bulksubmit.errors import BulkSubmitError, NotConverged, SettingsError
from bulksubmit.observe.files import Files
from bulksubmit.observe.progress import Progress
from bulksubmit.observe.report import Report, Tally
from bulksubmit.pool import Pool
from bulksubmit.producer import open_source
from bulksubmit.producer.source import AnySource, Source
from bulksubmit.runs import new_run_id, run_folder
from bulksubmit.service.auth import EntraToken, SharedKey, as_credential
from bulksubmit.service.jobs import Jobs, preflight
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential

AnyCredential: TypeAlias = "SharedKey | EntraToken | AsyncTokenCredential | AsyncSupportsTokenInfo"

# Lists of outcomes, one a reply, that wait for the consumer before senders wait for it too.
LISTS_AHEAD = 64

# For request_bytes_max=0: larger than anything in memory.
_NO_BOUND = 2**40

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # REST reference, JobAddParameter.id.


class Service(Jobs, Protocol):
    """The service as a submission needs it: a Transport, or a double in process."""

    async def add(self, attempt: Attempt) -> Reply:
        """Post the attempt's collection, once."""


class Outcomes:
    """The outcomes of a run, as they settle: iterate it to the end.

    Iteration ends when every task is settled, rejected tasks included; if the run ends in any
    other way, it raises the reason, a BulkSubmitError whose ``report`` is the final account.
    Tasks flow only while someone takes them in: a slow consumer slows the run.
    """

    def __init__(self, submission: "Submission") -> None:
        self._submission = submission
        self._ready: deque[Outcome] = deque()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        if not self._ready:
            self._ready.extend(await self._submission.next_outcomes())
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def drain(self) -> None:
        """Take all outcomes in and drop them, to the end; raises like iteration does."""
        while await self._submission.next_outcomes():
            pass

    @property
    def report(self) -> Report:
        """The account up to now; the final one once iteration has ended."""
        return self._submission.report

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self._submission.progress

    def stop(self, reason: str, *, exit_code: int = 5) -> None:
        """Send nothing more, take in the answers in flight, and end with NotConverged."""
        self._submission.stop(NotConverged(reason, exit_code=exit_code))


class Submission:
    """One run: its parts, wired."""

    def __init__(
        self,
        source: Source,
        service: Service,
        *,
        job_id: str,
        settings: Settings,
        observer: Observer,
        tally: Tally,
        random: Random,
    ) -> None:
        self._source, self._service, self._settings = source, service, settings
        self._job_id, self._observer, self._tally = job_id, observer, tally
        self._random = random
        self._run_id = new_run_id()
        self._files = Files(
            source.name,
            rejects=settings.rejects_path,
            rejects_default=run_folder(self._run_id) / "rejects.ndjson",
            results=settings.results_path,
        )
        bounds = Bounds(
            tasks_max=settings.tasks_per_request_max,
            bytes_max=settings.request_bytes_max or _NO_BOUND,
            retry_timeout_s=settings.retry_timeout_s,
        )
        self._reconciler = Reconciler(
            bounds,
            guid=str(uuid.UUID(int=random.getrandbits(128), version=4)),
            random=random,
            observer=observer,
        )
        self._pool = Pool(
            self._reconciler,
            service,
            FixedLimit(settings.concurrency),
            record=self._record,
            deliver=self._deliver,
            drain_s=settings.drain_s,
        )
        self._beginning = anyio.CancelScope()
        self._error: Exception | None = None
        self._ended: Report | None = None
        self._to_consumer, self._lists = anyio.create_memory_object_stream[list[Outcome]](
            LISTS_AHEAD
        )

    async def run(self) -> None:
        """From the first look at the job to the last outcome."""
        try:
            await self._submit()
        except Exception as error:  # noqa: BLE001 - the consumer gets it, after the outcomes
            self._error = error
        finally:
            self._ended = self.report
            if isinstance(self._error, BulkSubmitError):
                self._error.report = self._ended
            self._to_consumer.close()

    async def _submit(self) -> None:
        with self._beginning:
            await preflight(
                self._service, retry_timeout_s=self._settings.retry_timeout_s, random=self._random
            )
        async with anyio.create_task_group() as deliveries, anyio.create_task_group() as producer:
            if not self._beginning.cancelled_caught:  # Stopped by then: nothing is read.
                producer.start_soon(self._produce, deliveries)
            await self._pool.run()
            producer.cancel_scope.cancel()
        error, gave_up = self._pool.error, self._pool.gave_up
        # Stopped or not: the answers that were in flight may have settled the last tasks.
        converged = self._reconciler.sealed and not self._reconciler.unsettled
        if gave_up and not error:
            error = NotConverged(gave_up)
            abandoned = self._reconciler.abandon(gave_up)
            self._record(abandoned)
            await self._deliver(abandoned)
        if error and not (converged and isinstance(error, NotConverged)):
            raise error

    async def _produce(self, deliveries: TaskGroup) -> None:
        """From the source to the reconciler, to the source's end."""
        try:
            await self._source.read(partial(self._admit, deliveries))
        except Exception as error:  # noqa: BLE001 - the pool ends the run with it
            self._pool.stop(error)
            return
        self._reconciler.seal()
        self._observer(SourceRead(self._tally.total))
        self._pool.work.set()

    async def _admit(self, deliveries: TaskGroup, tasks: list[Task], source_bytes: int) -> None:
        """Hand tasks to the reconciler as soon as there is room for them."""
        while not self._has_room(sum([len(task.body) for task in tasks])):
            await self._pool.room.wait()
        self._tally.total += len(tasks)
        self._tally.bytes_read += source_bytes
        rejected = self._reconciler.admit(tasks)
        self._pool.work.set()
        self._record(rejected)
        if rejected:
            # Beside the producer, which is cut off at the end: they would be lost on their way.
            handed_over = anyio.Event()
            deliveries.start_soon(self._hand_over, rejected, handed_over)
            await handed_over.wait()

    def _has_room(self, bodies_bytes: int) -> bool:
        # One more volley than is in flight keeps every sender busy; more would only be memory.
        volley = self._settings.concurrency * self._settings.tasks_per_request_max
        waiting_bytes = self._reconciler.unsettled_bytes
        fits = waiting_bytes + bodies_bytes <= self._settings.buffer_bytes_max
        return self._reconciler.fresh < volley and (fits or not waiting_bytes)

    async def _hand_over(self, outcomes: list[Outcome], handed_over: anyio.Event) -> None:
        await self._deliver(outcomes)
        handed_over.set()

    def _record(self, outcomes: list[Outcome]) -> None:
        self._tally.record(outcomes)
        self._files.record(outcomes)
        self._bound_rejects([o for o in outcomes if o.verdict is Verdict.REJECTED])

    def _bound_rejects(self, newly: list[Outcome]) -> None:
        rejected, settled = self._tally.verdicts[Verdict.REJECTED], self._tally.settled
        if newly and self._settings.rejects_bound.exceeded(rejected=rejected, settled=settled):
            what = f"{rejected:,} of {settled:,} settled tasks were rejected"
            reason = f"{what}, more than max-rejects allows; the last one: {newly[-1].code}"
            self.stop(NotConverged(reason))

    async def _deliver(self, outcomes: list[Outcome]) -> None:
        if outcomes:  # An empty list tells the consumer that it was the last.
            await self._to_consumer.send(outcomes)

    # --- The consumer's side -----------------------------------------------------------------

    async def next_outcomes(self) -> list[Outcome]:
        """The next outcomes, one or more; none at the end, if every task is settled.

        Raises:
            Exception: at the end otherwise.
        """
        try:
            return await self._lists.receive()
        except anyio.EndOfStream:
            pass
        if self._error:  # Raised out here, so that its own cause and context stay with it.
            raise self._error
        return []

    def close(self) -> None:
        """Nobody takes outcomes in any more; run() has ended, or was never begun."""
        self._files.close()
        self._to_consumer.close()
        self._lists.close()

    def stop(self, error: Exception) -> None:
        """Send nothing more, take in the answers in flight, and end with this error."""
        self._beginning.cancel()
        self._pool.stop(error)

    @property
    def report(self) -> Report:
        """The account up to now, or the final one."""
        if self._ended:
            return self._ended
        return self._tally.report(
            run_id=self._run_id,
            job_id=self._job_id,
            unsettled=self._reconciler.unsettled,
            in_doubt=self._reconciler.in_doubt,
            rejects_path=self._files.rejects_path,
            error=self._error,
        )

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return Progress(
            report=self.report,
            in_flight=self._reconciler.in_flight,
            retrying=self._reconciler.retrying,
            bytes_read=self._tally.bytes_read,
            bytes_total=self._source.bytes_total,
        )


@asynccontextmanager
async def stream(
    source: AnySource,
    *,
    job_id: str,
    endpoint: str,
    credential: AnyCredential,
    settings: Settings | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[Outcomes]:
    """Submit every task of a source to a job, and hand out each outcome as it settles.

    Leaving the context before the iteration's end stops the run at once; what is in flight is
    in doubt then.

    Args:
        source: A path (NDJSON), a binary stream of it, or an iterable or async iterable of
            tasks, each as bytes, str, dict, or a model of the official SDK.
        job_id: The Batch job; it must exist.
        endpoint: The account's, such as ``https://myaccount.westeurope.batch.azure.com``.
        credential: SharedKey, EntraToken, or an async credential of azure-identity.
        settings: How it should go.
        observer: Told of each request and more, as it happens. What it raises, which it should
            not, ends the run.

    Raises:
        SettingsError: if the settings are out of their bounds.
        SourceError: if the source cannot be opened, or (while iterating) a task is not one.
        OutputError: if a rejects or results file cannot be made or written.
        ServiceRefused: (while iterating) if the service will take no task at all.
        ServiceUnreachable: (while iterating) if nothing answers at the start.
        NotConverged: (while iterating) if it ended with tasks unsettled for any other reason.
    """
    if not _JOB_ID.fullmatch(job_id):
        reason = "1 to 64 letters, digits, - and _ are one"
        raise SettingsError(f"the job's id {job_id!r} cannot be one: {reason}")
    settings = settings or Settings()
    tally = Tally(anyio.current_time)
    tell = _Telling(tally, observer)
    transport = Transport(
        endpoint,
        job_id,
        as_credential(credential),
        server_timeout_s=settings.server_timeout_s,
        observer=tell,
        api_version=settings.api_version,
    )
    with closing(open_source(source)) as opened:
        submission = Submission(
            opened,
            transport,
            job_id=job_id,
            settings=settings,
            observer=tell,
            tally=tally,
            random=Random(),  # noqa: S311 - jitter, no secrets
        )
        tell.stop = submission.stop
        async with transport, running(submission) as outcomes:
            yield outcomes


async def submit(
    source: AnySource,
    *,
    job_id: str,
    endpoint: str,
    credential: AnyCredential,
    settings: Settings | None = None,
    observer: Observer | None = None,
) -> Report:
    """Submit every task of a source to a job.

    Args and errors are those of stream().

    Returns:
        The account of all tasks, once each is settled. Look at ``rejected``: a rejected task is
        settled.

    Raises:
        BulkSubmitError: if the run ends in any other way; its ``report`` is the account.
    """
    async with stream(
        source,
        job_id=job_id,
        endpoint=endpoint,
        credential=credential,
        settings=settings,
        observer=observer,
    ) as outcomes:
        await outcomes.drain()
    return outcomes.report


@asynccontextmanager
async def running(submission: Submission) -> AsyncIterator[Outcomes]:
    """The outcomes of a submission that runs as long as the context lasts."""
    raised: BaseException | None = None
    with closing(submission):
        async with anyio.create_task_group() as background:
            background.start_soon(submission.run)
            try:
                yield Outcomes(submission)
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - out of the group, which would wrap it
                raised = error
            background.cancel_scope.cancel()
    if raised:
        raise raised


class _Telling:
    """Tells the tally, and then the user's observer.

    Attributes:
        stop: Given what the observer raised, which is told nothing afterwards.
    """

    def __init__(self, tally: Tally, observer: Observer | None) -> None:
        self._tally, self._observer = tally, observer
        self.stop: Callable[[Exception], None]

    def __call__(self, event: Event, /) -> None:
        self._tally(event)
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception as error:  # noqa: BLE001 - in here it would cost an answer
            self._observer = None
            self.stop(error)
