"""One run over many workers: hands out shards, keeps the one journal, and ends them all together.

    shards ─▶ roster ─▶ executor ─▶ workers ─▶ service
                 ▲                     │ reports
                 └──── books ◀─────────┘
                         └─▶ journal, files, report

It looks to its consumer as a Submission does.
"""

import math
from collections.abc import Sequence
from functools import partial
from random import Random

import anyio
from anyio import to_thread

from bulksubmit.core.account import Place
from bulksubmit.core.events import Noted, Observer, SourceRead
from bulksubmit.core.history import Life
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.core.suspects import TASK_EXISTS
from bulksubmit.delivery import Delivery
from bulksubmit.distribute.books import Books, RowPlaces
from bulksubmit.distribute.brief import Brief
from bulksubmit.distribute.budget import Share, shares
from bulksubmit.distribute.crew import Crew
from bulksubmit.distribute.dispatch import Dispatch
from bulksubmit.distribute.failures import error_of
from bulksubmit.distribute.fleet import Fleet
from bulksubmit.distribute.hall import Hall
from bulksubmit.distribute.messages import Failure, Orders, Report, Settled, Stop
from bulksubmit.distribute.numbering import counted_up_to, further
from bulksubmit.distribute.roster import Roster
from bulksubmit.distribute.standing import in_doubt, left_alone, sizes
from bulksubmit.distribute.telling import told
from bulksubmit.errors import (
    BulkSubmitError,
    JournalError,
    NotConverged,
    SourceError,
)
from bulksubmit.intake import Intake, ways_on
from bulksubmit.journal import Journal
from bulksubmit.nothing import is_nothing
from bulksubmit.observe.files import Files
from bulksubmit.observe.progress import Progress, progressed
from bulksubmit.observe.report import Report as Account
from bulksubmit.observe.report import Tally
from bulksubmit.parts import asked
from bulksubmit.pool import Signal
from bulksubmit.producer.source import Source, no_task
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.runs import Run, now_utc, versions
from bulksubmit.service.autoterminate import AutoTerminate
from bulksubmit.service.jobs import preflight
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings
from bulksubmit.submission import JOB_PATIENCE_S, PROGRESS_S

COMMIT_S = 0.2
ALONE_S = 10.0  # Without a worker, before that is told.
CUT_ENDS_S = 1.0
ENDS_S = 5.0  # For the workers' last words, beyond the time for their answers in flight.


class Coordinator:
    """A sharded run."""

    def __init__(
        self,
        source: Source,
        service: Transport,
        crew: Crew,
        *,
        work: Run,
        journal: Journal,
        account: str | None,
        settings: Settings,
        observer: Observer,
        relay: Observer | None,
        tally: Tally,
        random: Random,
    ) -> None:
        """Wire the parts.

        Args:
            source: All of it, for its name and size; it is read by the workers.
            service: For the job; tasks are sent by the workers.
            crew: The workers.
            work: The run.
            journal: Its journal.
            account: Whose key signs; None for Microsoft Entra ID.
            settings: How it should go.
            observer: Told of each event.
            relay: Told of what happens in the workers, which is counted there; None if nobody
                wants to know.
            tally: Counts.
            random: For jitter.
        """
        assert journal.ledger
        self._ledger = journal.ledger
        self._source, self._service, self._crew = source, service, crew
        self.work, self._journal, self._settings = work, journal, settings
        self._brief = Brief(journal.identity, account, settings, events=relay is not None)
        self._observer, self._relay, self._tally, self._random = observer, relay, tally, random
        self._spec = spec = SourceSpec.from_json(journal.identity.source_spec)
        places = RowPlaces(spec.files or (source.name,))
        self._files = Files(
            places,
            rejects=settings.rejects_path,
            rejects_default=work.folder / "rejects.ndjson",
            results=settings.results_path,
            go_on=work.resumed,
        )
        tally.go_on(journal.counts)
        self._books = Books(journal, tally.counts, self._files, places)
        left = [s.shard.number for s in self._ledger.states if not s.counts.converged]
        self._roster = Roster(left)
        life = Life(begun_at=now_utc(), settings=settings.given, versions=versions())
        self._fleet = Fleet(life, journal.history, tally, anyio.current_time, asked=asked(settings))
        tally.judge = self._fleet
        self._hall = Hall(crew.host, crew.port, self)
        self._auto_terminate = AutoTerminate(
            service,
            journal,
            hold=settings.hold_auto_terminate,
            then_terminate=settings.then_terminate,
            patience_s=min(JOB_PATIENCE_S, settings.retry_timeout_s),
            random=random,
            observer=observer,
        )
        self._taken = journal.counts.rejected  # As in Submission.
        bound = settings.concurrency
        if not isinstance(bound, int):
            bound = settings.concurrency_max
        # A row of the results tells the line, and there are as many as tasks: none can wait.
        counted = partial(counted_up_to, self._ledger, self._spec)
        self._dispatch = Dispatch(
            crew,
            self._roster,
            self._hall,
            running_max=bound,
            before=counted if settings.results_path else None,
        )
        self._stopping = False
        self._news = Signal()  # For the workers.
        self._at_once = False
        self._alone_s = self._told_alone_s = anyio.current_time()
        self._settled = False  # By somebody, since the others were told.
        self._of_shard: int | None = None  # Whose worker has told the error, by a line of its own.
        self._beginning, self._closing = anyio.CancelScope(), anyio.CancelScope()
        self._under_way = anyio.CancelScope()
        self._error: Exception | None = None
        self._ended: Account | None = None
        self._delivery = Delivery()

    # --- The run -------------------------------------------------------------------------------

    async def run(self) -> None:
        """From the first look at the job to the last worker's last word."""
        try:
            self._observer(progressed(self.progress, ended=False))
            if not self._tally.counts.converged:
                self._fleet.begin()
                await self._submit()
        except Exception as error:  # noqa: BLE001 - the consumer gets it, after the outcomes
            self._error = self._error or error
        finally:
            self._dispatch.stop()
            await to_thread.run_sync(self._crew.end if self._error else self._crew.close)
            await self._number_lines()
            await self._close_job()
            self._save()
            self._ended = self.report
            if isinstance(self._error, BulkSubmitError):
                self._error.report = self._ended
            self._delivery.end()
            self._observer(progressed(self.progress, ended=True))

    async def _submit(self) -> None:
        with self._beginning:
            job = await preflight(
                self._service, retry_timeout_s=self._settings.retry_timeout_s, random=self._random
            )
            await self._auto_terminate.begin(job)
            if self._settings.check_first:
                await self._look_first()
        if self._beginning.cancelled_caught:
            return
        async with anyio.create_task_group() as beside:
            try:
                await self._hall.open(beside)
                beside.start_soon(self._keep_time)
                beside.start_soon(self._announce)
                with self._under_way:
                    await self._dispatch.run()
            except BulkSubmitError as error:  # Out of the group, which would wrap it.
                self._error = self._error or error
            await self._hall.close()
            beside.cancel_scope.cancel()
        if self._tally.counts.source_complete and not self._error:
            self._observer(SourceRead(self._tally.counts.total))
        if not self._error and self._roster.poisoned:
            name = None if self._spec.files else self._source.name
            self._error = left_alone(self._roster, self._ledger, self._spec, name, self.work)
        if not self._error and not self._tally.counts.total:
            self._error = no_task(self._source.name, rows=self._spec.template is not None)
        if self._error:
            raise self._error

    async def _look_first(self) -> None:
        intake = Intake(
            self._source,
            self._settings,
            self._observer,
            folder=self.work.folder,
            resumed=self.work.resumed,
        )
        try:
            await intake.look_first()
        finally:
            intake.close()

    # --- Workers -------------------------------------------------------------------------------

    def orders_for(self, number: int) -> tuple[int, Orders] | None:
        """See Desk."""
        generation = None if self._stopping else self._roster.begin(number)
        self._dispatch.changed.set()
        if generation is None:
            return None
        state = self._ledger.states[number]
        doubt_below = state.doubt_below
        try:
            self._journal.will_send_shard(number, self._tally.counts)
        except JournalError as error:
            self.stop(error)
            return None
        line = self._ledger.first_line(number)
        self._books.begin(number, line_known=line is not None)
        self._fleet.gone(number)
        self._news.set()
        return generation, self._brief.orders(
            state,
            self._divided()[number],
            learnt=self._fleet.take_place(),
            line=line,
            doubt_below=doubt_below,
            settled=self._books.blocks_of(number),
            places=self._books.places_of(number),
        )

    def _divided(self) -> dict[int, Share]:
        """What each of those that run may do."""
        settings = self._settings
        concurrency = settings.concurrency
        if not isinstance(concurrency, int):
            concurrency = settings.concurrency_max
        return shares(self._roster.running, concurrency=concurrency, max_rate=settings.max_rate)

    def take_in(self, number: int, generation: int, report: Report) -> bool:
        """See Desk."""
        if not self._roster.is_current(number, generation):
            return False
        counts = self._tally.counts
        settled = counts.settled
        try:
            outcomes = self._books.take_in(number, report)
        except BulkSubmitError as error:
            # What cannot be written down stays unsettled.
            self.stop(error)
            return False
        self._fleet.take_in(number, report)
        if counts.settled > settled:
            self._roster.settled(number)
            self._settled = True
        if self._relay:
            for event in told(report.events):
                self._relay(event)
        if outcomes:
            self._delivery.put(outcomes)
            self._bound_rejects([o for o in outcomes if o.verdict is Verdict.REJECTED])
        if report.ended:
            self._end(number, report.ended.failure)
        return True

    def _end(self, number: int, failure: Failure | None) -> None:
        """A worker has said its last word."""
        self._roster.end(number)
        self._fleet.gone(number)
        self._dispatch.changed.set()
        self._news.set()
        if failure:
            error = error_of(failure)
            if isinstance(error, SourceError) and error.line is not None:
                self._of_shard = None if number in self._books.knowing else number
            self.stop(error)

    def gone(self, number: int, generation: int, why: str, *, silent: bool) -> None:
        """See Desk."""
        if self._roster.is_current(number, generation):
            self._fleet.gone(number)
            self._roster.disconnected(number, generation, why)
            if not self._stopping:
                shard = self._ledger.states[number].shard
                reason = f"a worker is lost ({why}): what it had of {shard} is begun again"
                self._observer(Noted("workers", reason))
            if silent:  # It hangs, or its machine is gone: nobody may ever tell its executor.
                self._dispatch.forget(number, why)
        self._dispatch.changed.set()
        self._news.set()

    def _bound_rejects(self, newly: list[Outcome]) -> None:
        self._taken += sum((outcome.code or "").lower() == TASK_EXISTS for outcome in newly)
        rejected, settled = self._tally.counts.rejected, self._tally.counts.settled
        bound = self._settings.rejects_bound
        if newly and bound.exceeded(rejected=rejected, taken=self._taken, settled=settled):
            why = bound.why(rejected=rejected, settled=settled)
            self.stop(NotConverged(f"{why}; the last one: {newly[-1].code}"))

    # --- Beside the workers --------------------------------------------------------------------

    async def _announce(self) -> None:
        """Tell the workers what has changed for them."""
        while True:
            await self._news.wait()
            if self._stopping:
                await self._hall.tell(Stop(self._at_once))
                continue
            await self._hall.share_out(self._divided())

    async def _keep_time(self) -> None:
        """Commit, tell how far it is, stop when time is over."""
        now_s = anyio.current_time()
        ends_s = now_s + (self._settings.max_duration_s or math.inf)
        tells_s = now_s + PROGRESS_S
        while True:
            await anyio.sleep(COMMIT_S)
            now_s = anyio.current_time()
            if now_s >= ends_s and not self._stopping:
                length_s = self._settings.max_duration_s
                self.stop(NotConverged(f"max-duration of {length_s:g} s is over"))
            self._tell_if_alone(now_s)
            self._fleet.look()
            try:
                self._journal.commit_if_due(self._tally.counts)
            except JournalError as error:
                self.stop(error)
            if now_s >= tells_s:
                self._observer(progressed(self.progress, ended=False))
                tells_s = now_s + PROGRESS_S
                if self._settled:
                    self._settled = False
                    await self._hall.tell(Settled())

    def _tell_if_alone(self, now_s: float) -> None:
        """Nobody may ever come: a cluster without workers takes calls all the same."""
        patience_s = self._settings.retry_timeout_s
        if self._hall.seats or self._stopping:
            self._alone_s = self._told_alone_s = now_s
        elif now_s >= self._alone_s + patience_s:
            self.stop(NotConverged(f"no worker has come for {patience_s:g} s"))
        elif now_s >= self._told_alone_s + ALONE_S:
            self._told_alone_s = now_s
            reason = f"no worker for {now_s - self._alone_s:,.0f} s: are there any, and can they"
            self._observer(Noted("workers", f"{reason} reach {self._hall.where}?"))

    # --- The end -------------------------------------------------------------------------------

    async def _number_lines(self) -> None:
        """Count what nobody has counted, so that each rejected task has its line."""
        wanted = {*self._ledger.waiting, *([] if self._of_shard is None else [self._of_shard])}
        with self._closing:
            try:
                for number in sorted(wanted):
                    line = await counted_up_to(self._ledger, self._spec, number)
                    if number == self._of_shard and isinstance(self._error, SourceError):
                        self._error = further(self._error, line - 1)
                self._books.number_lines()
            except BulkSubmitError as error:
                self._error = self._error or error

    async def _close_job(self) -> None:
        counts = self._tally.counts
        with self._closing:
            try:
                await self._auto_terminate.end(
                    complete=counts.converged and not counts.rejected, failed=bool(self._error)
                )
            except BulkSubmitError as error:
                self._error = error

    def _save(self) -> None:
        """The journal's last words; the run may have ended because it cannot be written."""
        if isinstance(self._error, SourceError):
            self._error.hint = ways_on(self._error, self._tally.counts, self.work.run_id)
        self._fleet.look(last=True)
        try:
            self._journal.commit(self._tally.counts)
            self._journal.end(
                "converged" if self._tally.counts.converged else str(self._error or "cut off")
            )
        except JournalError as error:
            self._error = self._error or error

    # --- The consumer's side -------------------------------------------------------------------

    async def next_outcomes(self) -> list[Sequence[Outcome]]:
        """The next tasks that were rejected or abandoned; none at the end, if all is settled.

        The others are counted; who needs each asks for a results file.

        Raises:
            Exception: at the end otherwise.
        """
        lists = await self._delivery.take()
        if not lists and self._error:
            raise self._error
        return lists

    def drop(self) -> None:
        """See Work."""
        self._delivery.drop()

    def leave(self) -> None:
        """Nobody takes outcomes in any more: the run stops in order, unless it has ended."""
        if self._ended is None:
            self.stop(NotConverged("its consumer has left"))

    def close(self) -> None:
        """run() has ended, or was never begun."""
        self._files.close()
        self._journal.close()
        self._delivery.close()

    def stop(self, error: Exception) -> None:
        """Hand out nothing more, let the workers take in their answers, and end with this error."""
        self._error = self._error or error
        self._stopping = True
        self._beginning.cancel()
        self._dispatch.stop()
        ends_s = anyio.current_time() + self._settings.drain_s + ENDS_S
        self._under_way.deadline = min(self._under_way.deadline, ends_s)
        self._news.set()

    def cut(self) -> None:
        """After stop(): do not wait for the answers in flight, either."""
        self._at_once = True
        self._under_way.deadline = min(self._under_way.deadline, anyio.current_time() + CUT_ENDS_S)
        self._closing.cancel()
        self._news.set()

    @property
    def report(self) -> Account:
        """The account up to now, or the final one."""
        if self._ended:
            return self._ended
        counts = self._tally.counts
        forgotten = self._error is not None and is_nothing(self.work)
        return self._tally.report(
            run_id=self.work.run_id,
            job_id=self._journal.identity.job_id,
            unsettled=counts.total - counts.settled - counts.abandoned,
            in_doubt=in_doubt(self._ledger.states, self._fleet),
            rejects_path=self._files.rejects_path,
            journal_path=None if forgotten else str(self._journal.path),
            error=self._error,
        )

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        total, read, settled = sizes(self._ledger.states, self._fleet)
        return Progress(
            report=self.report,
            in_flight=self._fleet.in_flight,
            limited_by=self._fleet.recently,
            retrying=self._fleet.retrying,
            read=Place(self._tally.counts.total, 0, 1),
            bytes_read=read,
            bytes_total=total,
            holding_s=self._fleet.holding_s,
            bytes_settled=settled,
            settled_before=self._tally.settled_before,
            stopping=self._stopping,
        )
