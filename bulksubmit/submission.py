"""The straight line: source ─▶ reconciler ⇄ pool ─▶ service, and outcomes on their way out."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Protocol

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from bulksubmit.core.events import Observer, SourceRead
from bulksubmit.core.history import Life
from bulksubmit.core.matching import AllAdded
from bulksubmit.core.model import Attempt, Outcome, Reply, Verdict
from bulksubmit.core.pacing import AdaptiveLimit, FixedLimit, MaxRate
from bulksubmit.core.suspects import TASK_EXISTS
from bulksubmit.core.taskcheck import JobFacts
from bulksubmit.core.tasks import bytes_of
from bulksubmit.delivery import Delivery
from bulksubmit.errors import (
    BulkSubmitError,
    JournalError,
    NotConverged,
    OutputError,
    SettingsError,
    SourceError,
)
from bulksubmit.intake import Intake, ways_on
from bulksubmit.nothing import is_nothing
from bulksubmit.observe.files import Files, Rows
from bulksubmit.observe.milestones import Milestones
from bulksubmit.observe.progress import Progress, progressed
from bulksubmit.observe.report import Report, Tally
from bulksubmit.observe.sampler import Sampler
from bulksubmit.observe.speed import Speed
from bulksubmit.parts import asked, limit_for, reconciler_for
from bulksubmit.pool import Limit, Pool
from bulksubmit.producer.source import Block, Done, Source
from bulksubmit.readback import Lister, TaskReader
from bulksubmit.runs import Run, now_utc, versions
from bulksubmit.service.autoterminate import AutoTerminate, Patcher
from bulksubmit.service.jobs import Jobs, preflight
from bulksubmit.settings import Settings

# Lists of outcomes, one a reply, that wait for the consumer before senders wait for it too.
LISTS_AHEAD = 64

# A commit that no answer brings along: at the end of a volley, or while all is held back.
IDLE_COMMIT_S = 0.5

_ADDED = Verdict.ADDED  # An Enum's attribute is asked for in 60 ns, and of each outcome.

PROGRESS_S = 1.0  # From one Progressed to the next, at least.

# How long the job is tried to be changed before and after the run.
JOB_PATIENCE_S = 60.0


class Service(Jobs, Patcher, Lister, Protocol):
    """The service as a submission needs it: a Transport, or a double in process."""

    async def add(self, attempt: Attempt) -> Reply:
        """Post the attempt's collection, once."""


class Submission:
    """One run: its parts, wired.

    Attributes:
        limit: On what is in flight.
    """

    def __init__(
        self,
        source: Source,
        service: Service,
        *,
        work: Run,
        job_id: str,
        settings: Settings,
        observer: Observer,
        tally: Tally,
        random: Random,
        limit: Limit | None = None,
        rows: Rows | None = None,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """Wire the parts.

        Args:
            source: What to submit.
            service: Where to.
            work: The run and its journal.
            job_id: The Batch job.
            settings: How it should go.
            observer: Told of each event.
            tally: Counts; told of each event by the observer.
            random: For jitter.
            limit: On what is in flight; None for what the settings say.
            rows: Where rejected tasks are written; None for the files that the settings name.
            cpu_s: How long this process has kept a core busy.
        """
        self._source, self._service, self._settings = source, service, settings
        self._job_id, self._observer, self._tally = job_id, observer, tally
        self._random = random
        self.work, self._journal = work, work.journal
        self._files: Rows = rows or Files(
            source,
            rejects=settings.rejects_path,
            rejects_default=work.folder / "rejects.ndjson",
            results=settings.results_path,
            go_on=work.resumed,
        )
        self._journal.file_of = source.file_of
        tally.go_on(self._journal.counts)
        self._read = Milestones()
        # Rejected tasks that are no sign of a wrong setting: an earlier process got past them,
        # or their ID was taken.
        self._taken = self._journal.counts.rejected
        self._delivery = Delivery(LISTS_AHEAD)
        self._rowless = 0  # Tasks answered, whose rows could not be written.
        self._rate = rate = MaxRate(settings.max_rate or math.inf)
        self._reconciler = reconciler_for(
            settings,
            rate=rate,
            random=random,
            observer=observer,
            doubt_below=self._journal.doubt_below,
        )
        self.limit = limit or limit_for(settings, rate, observer)
        self._speed = tally.speed = Speed(
            asked(settings),
            asyncio.get_running_loop().time,
            rate_opens_s=rate.opens_s,
            consumer_is_slow=lambda: self._delivery.late > 0,
            disk_s=lambda: self._journal.wrote_s + self._files.wrote_s,
            cpu_s=cpu_s,
        )
        tally.limit = self.limit.value
        self._sampler = Sampler(
            self._journal.history,
            Life(begun_at=now_utc(), settings=settings.given, versions=versions()),
            asyncio.get_running_loop().time,
            tally=tally,
            speed=self._speed,
            in_flight=lambda: self._reconciler.in_flight,
        )
        self._pool = Pool(
            self._reconciler,
            service,
            TaskReader(service),
            self.limit,
            stopwatch=self._speed,
            before=self._journal.will_send,
            record=self._record,
            deliver=self._delivery.wait,
            deliver_now=self._delivery.put,
            drain_s=settings.drain_s,
        )
        self._auto_terminate = AutoTerminate(
            service,
            self._journal,
            hold=settings.hold_auto_terminate,
            then_terminate=settings.then_terminate,
            patience_s=min(JOB_PATIENCE_S, settings.retry_timeout_s),
            random=random,
            observer=observer,
        )
        self._intake = Intake(
            source,
            settings,
            observer,
            folder=work.folder if self._journal.path else None,
            resumed=work.resumed,
            doubt_below=self._journal.doubt_below,
        )
        self._checked = anyio.Event()  # The source was read to its end, and its IDs looked at.
        self._beginning, self._closing = anyio.CancelScope(), anyio.CancelScope()
        self._error: Exception | None = None
        self._source_error: SourceError | None = None
        self._ended: Report | None = None

    async def run(self) -> None:
        """From the first look at the job to the last outcome."""
        try:
            self._observer(progressed(self.progress, ended=False))
            if not self._tally.counts.converged:
                self._sampler.begin()
                await self._submit()
        except Exception as error:  # noqa: BLE001 - the consumer gets it, after the outcomes
            self._error = error
        finally:
            if isinstance(self._error, SourceError):
                run_id = self.work.run_id if self._journal.path else None
                self._error.hint = ways_on(self._error, self._tally.counts, run_id)
            await self._close_job()
            self._save()
            self._ended = self.report
            if isinstance(self._error, BulkSubmitError):
                self._error.report = self._ended
            self._delivery.end()
            self._observer(progressed(self.progress, ended=True))

    async def _close_job(self) -> None:
        counts = self._tally.counts
        with self._closing:
            try:
                await self._auto_terminate.end(
                    complete=counts.converged and not counts.rejected, failed=bool(self._error)
                )
            except BulkSubmitError as error:
                self._error = error

    async def _submit(self) -> None:
        with self._beginning:
            job = await preflight(
                self._service, retry_timeout_s=self._settings.retry_timeout_s, random=self._random
            )
            if self._settings.hold_auto_terminate and self._journal.path is None:
                raise SettingsError("hold-auto-terminate needs a journal: give a file, or spool")
            await self._auto_terminate.begin(job)
            self._source.checker.job = JobFacts(job.uses_task_dependencies, job.on_task_failure)
            if self._settings.check_first:
                await self._intake.look_first()
        async with anyio.create_task_group() as deliveries, anyio.create_task_group() as beside:
            if not self._beginning.cancelled_caught:  # Stopped by then: nothing is read.
                beside.start_soon(self._produce, deliveries)
            beside.start_soon(self._keep_time)
            await self._pool.run()
            if self._reconciler.sealed and not (self._pool.error or self._source_error):
                await self._checked.wait()
            beside.cancel_scope.cancel()
        error, gave_up = self._pool.error or self._source_error, self._pool.gave_up
        if gave_up and not error:
            error = NotConverged(gave_up)
            abandoned = self._reconciler.abandon(gave_up)
            self._record(abandoned, in_order=False)
            await self._delivery.wait(abandoned)
        # Stopped or not: the answers that were in flight may have settled the last tasks.
        if error and not (self._tally.counts.converged and isinstance(error, NotConverged)):
            raise error

    async def _produce(self, deliveries: TaskGroup) -> None:
        """From the source to the reconciler, to the source's end."""
        done = Done(self._journal.settled, self._journal.places) if self.work.resumed else None
        try:
            await self._source.read(partial(self._admit, deliveries), done)
        except SourceError as error:
            await self._end_early(error)
            return
        except Exception as error:  # noqa: BLE001 - the pool ends the run with it
            self._pool.stop(error)
            return
        self._reconciler.seal()
        self._observer(SourceRead(self._tally.counts.total))
        self._pool.work.set()
        await self._intake.tell_duplicates()
        self._checked.set()

    async def _end_early(self, error: SourceError) -> None:
        """The source is wrong from here on: what was read of it before is sent, and no more."""
        self._source_error = error
        self._reconciler.seal()
        self._pool.work.set()
        await anyio.sleep(self._settings.drain_s)
        self._pool.stop(error)

    async def _admit(self, deliveries: TaskGroup, block: Block) -> None:
        """Hand tasks to the reconciler as soon as there is room for them."""
        tasks, after = block.tasks, block.after
        invalid = self._intake.look_at(block)
        bodies_bytes = bytes_of(tasks)
        enough = partial(self._has_room, bodies_bytes)
        if not enough():
            self._speed.memory(full=True)
            await self._pool.room.wait(enough)
        self._speed.memory(full=False)
        counts = self._tally.counts
        counts.total = max(counts.total, after.ordinal)
        # Not before: the source is ahead by what has waited here.
        self._read.add(after, self._source.bytes_read)
        self._journal.place(after)
        self._intake.take_in(block)
        rejected = self._reconciler.admit(tasks)
        self._pool.work.set()
        rejected += invalid
        self._record(rejected, in_order=False)
        if rejected:
            # Beside the producer, which is cut off at the end: they would be lost on their way.
            handed_over = anyio.Event()
            deliveries.start_soon(self._hand_over, rejected, handed_over)
            await handed_over.wait()

    def _has_room(self, bodies_bytes: int) -> bool:
        # One more volley than is in flight keeps every sender busy; more would only be memory.
        volley = self.limit.value * self._settings.tasks_per_request_max
        waiting_bytes = self._reconciler.unsettled_bytes
        fits = waiting_bytes + bodies_bytes <= self._settings.buffer_bytes_max
        return self._reconciler.fresh < volley and (fits or not waiting_bytes)

    async def _keep_time(self) -> None:
        """Commit what no later answer brings along, tell how far it is, stop when time is over."""
        now_s = anyio.current_time()
        ends_s = now_s + (self._settings.max_duration_s or math.inf)
        tells_s = now_s + PROGRESS_S
        while True:
            await anyio.sleep(max(0.0, min(IDLE_COMMIT_S, ends_s - now_s)))
            now_s = anyio.current_time()
            if now_s >= ends_s:
                self.stop(
                    NotConverged(f"max-duration of {self._settings.max_duration_s:g} s is over")
                )
                return
            self._commit_if_due()
            if now_s >= tells_s:
                self._observer(progressed(self.progress, ended=False))
                tells_s = now_s + PROGRESS_S

    async def _hand_over(self, outcomes: Sequence[Outcome], handed_over: anyio.Event) -> None:
        await self._delivery.wait(outcomes)
        handed_over.set()

    def _record(self, outcomes: Sequence[Outcome], *, in_order: bool) -> None:
        if not outcomes:
            return
        others: list[Outcome] = []
        if not isinstance(outcomes, AllAdded):
            others = [outcome for outcome in outcomes if outcome.verdict is not _ADDED]
        # Before the journal says that they are settled: after a crash a row may be there
        # twice, but none is missing.
        try:
            if others or self._settings.results_path:
                self._files.record(outcomes, others)
        except OutputError:
            # Without their rows they stay unsettled, for a resume to bring the rows after.
            self._rowless += sum(outcome.attempts > 0 for outcome in outcomes)
            raise
        # The tally and the journal together, or a journal would contradict itself.
        self._tally.record(outcomes, others, first=in_order)
        self._journal.record(outcomes, others, in_order=in_order)
        self._commit_if_due()
        self._bound_rejects([o for o in others if o.verdict is Verdict.REJECTED])

    def _commit_if_due(self) -> None:
        self._sampler.look()
        try:
            self._journal.commit_if_due(self._tally.counts)
        except JournalError as error:
            # Not raised: the answers in flight are still taken in, and what is settled is still
            # delivered. The group stays open, for a last try at the end.
            self._pool.stop(error)

    def _save(self) -> None:
        """The journal's last words; the run may have ended because it cannot be written."""
        self._sampler.look(last=True)
        try:
            self._journal.commit(self._tally.counts)
            self._journal.end(
                "converged" if self._tally.counts.converged else str(self._error or "cut off")
            )
        except JournalError as error:
            self._error = self._error or error

    def _bound_rejects(self, newly: list[Outcome]) -> None:
        if not newly:
            return
        self._taken += sum((outcome.code or "").lower() == TASK_EXISTS for outcome in newly)
        rejected, settled = self._tally.counts.rejected, self._tally.counts.settled
        bound = self._settings.rejects_bound
        if bound.exceeded(rejected=rejected, taken=self._taken, settled=settled):
            why = bound.why(rejected=rejected, settled=settled)
            self.stop(NotConverged(f"{why}; the last one: {newly[-1].code}"))

    # --- The consumer's side -----------------------------------------------------------------

    async def next_outcomes(self) -> list[Sequence[Outcome]]:
        """The next outcomes, one reply's or more; none at the end, if every task is settled.

        Raises:
            Exception: at the end otherwise.
        """
        lists = await self._delivery.take()
        if not lists and self._error:
            raise self._error
        return lists

    def drop(self) -> None:
        """Nobody looks at outcomes any more; the run goes on."""
        self._delivery.drop()

    def leave(self) -> None:
        """Nobody takes outcomes in any more: the run stops in order, unless it has ended."""
        self._delivery.leave()
        if self._ended is None:
            self.stop(NotConverged("its consumer has left"))

    def close(self) -> None:
        """run() has ended, or was never begun."""
        self._intake.close()
        self._files.close()
        self._journal.close()
        self._delivery.close()

    def stop(self, error: Exception) -> None:
        """Send nothing more, take in the answers in flight, and end with this error."""
        self._beginning.cancel()
        self._pool.stop(error)
        self._checked.set()  # Nor is the source's end waited for.

    def bound(self, *, concurrency: int, max_rate: float | None) -> None:
        """From now on no more may be in flight, and no more be sent a second."""
        assert isinstance(self.limit, FixedLimit | AdaptiveLimit), "any other is its owner's"
        self.limit.bound_to(concurrency)
        self._rate.bound_to(max_rate or math.inf, anyio.current_time())
        self._speed.asked = replace(self._speed.asked, concurrency=concurrency, max_rate=max_rate)
        self._tally.limit = self.limit.value
        self._pool.work.set()

    def others_settled(self) -> None:
        """Tasks were settled elsewhere: the service is not at an end."""
        self._reconciler.others_settled(anyio.current_time())

    def cut(self) -> None:
        """After stop(): do not wait for the answers in flight, either."""
        self._pool.cut()
        self._closing.cancel()

    @property
    def report(self) -> Report:
        """The account up to now, or the final one."""
        if self._ended:
            return self._ended
        counts = self._tally.counts
        path = None if self._error and is_nothing(self.work) else self._journal.path
        return self._tally.report(
            run_id=self.work.run_id,
            job_id=self._job_id,
            unsettled=counts.total - counts.settled - counts.abandoned,
            in_doubt=self._reconciler.in_doubt + self._rowless + self._doubted_by_others(),
            rejects_path=self._files.rejects_path,
            journal_path=str(path) if path else None,
            error=self._error,
        )

    def _doubted_by_others(self) -> int:
        """Tasks in doubt since an earlier process, which this one has not come to yet."""
        end = min(self._journal.doubt_below, self._tally.counts.total)
        if not self.work.resumed or self._tally.counts.source_complete:
            return 0
        return self._journal.settled.missing(self._read.place.ordinal, end)

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        retrying, looked_up = self._reconciler.sent_before
        return Progress(
            report=self.report,
            in_flight=self._reconciler.in_flight,
            limited_by=self._speed.recently,
            retrying=retrying,
            looked_up=looked_up,
            read=self._read.place,
            bytes_read=self._read.bytes_read,
            bytes_total=self._source.bytes_total,
            holding_s=self._tally.holding_s,
            bytes_settled=self._read.bytes_at(self._tally.counts.settled),
            settled_before=self._tally.settled_before,
            stopping=self._pool.stopped,
        )
