"""The account of a run: what was read, and what became of it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from bulksubmit.core.account import Counts
from bulksubmit.core.events import (
    Event,
    Held,
    LimitChanged,
    RequestEnded,
    Resumed,
    SourceRead,
)
from bulksubmit.core.history import attempts_from
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.errors import (
    BulkSubmitError,
    NotConverged,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    SettingsError,
)

if TYPE_CHECKING:
    from bulksubmit.observe.sampler import Sampler
    from bulksubmit.observe.speed import Limited, Speed


class ExitCode(IntEnum):
    """What the process says when it ends."""

    CONVERGED = 0  # Every task of the input exists.
    UNEXPECTED = 1  # An error in the tool.
    USAGE = 2  # Usage, settings or validation; nothing was sent.
    NOT_FOUND = 3  # Account or job.
    AUTHENTICATION = 4  # Missing or refused.
    UNSETTLED = 5  # Stopped with tasks unsettled.
    REJECTED = 6  # Every task settled, some rejected.
    JOB_CLOSED = 7  # The job is completed, terminating or deleting.
    DIFFERENT = 8  # The job does not hold what the source does.
    INTERRUPTED = 130
    TERMINATED = 143


_REFUSALS = {
    Refusal.NOT_FOUND: ExitCode.NOT_FOUND,
    Refusal.AUTHENTICATION: ExitCode.AUTHENTICATION,
    Refusal.JOB_CLOSED: ExitCode.JOB_CLOSED,
}


def exit_code(error: BaseException | None, *, requests: int, rejected: int) -> ExitCode:
    """The exit code of a run.

    Args:
        error: What ended it; None if it converged.
        requests: How many attempts were sent.
        rejected: How many tasks were rejected.
    """
    match error:
        case None:
            return ExitCode.REJECTED if rejected else ExitCode.CONVERGED
        case NotConverged():
            return ExitCode(error.exit_code)
        case ServiceRefused(refusal=refusal) if refusal in _REFUSALS:
            return _REFUSALS[refusal]
        case ServiceUnreachable():
            return ExitCode.NOT_FOUND if error.name_unknown else ExitCode.UNSETTLED
        case SettingsError():
            return ExitCode.USAGE
        case BulkSubmitError():
            return ExitCode.UNSETTLED if requests else ExitCode.USAGE
        case _:
            return ExitCode.UNEXPECTED


@dataclass(frozen=True, slots=True)
class Report:
    """The account of a run.

    Attributes:
        run_id: Names the run; None if none was begun.
        job_id: The Batch job.
        converged: The source was read to its end, and every task is settled.
        total: Tasks read so far: the sum of added, existed, rejected, abandoned, unsettled.
        added: The service said that it added them.
        existed: They exist with our content, whoever added them (or were taken for ours unread,
            if so told).
        rejected: The service (or the byte bound) refused them for good, or another task has
            their ID.
        existed_own: Of existed: an earlier attempt of this run took, whose answer was lost.
        abandoned: Tried, and unsettled when the run gave up.
        unsettled: Everything else that was read.
        in_doubt: Of unsettled: may have been added.
        source_complete: The source was read to its end.
        requests: Attempts sent.
        retried_requests: Attempts that held at least one task which was sent before.
        throttled_requests: Attempts answered with throttling.
        bytes_sent: Of the attempts' bodies.
        elapsed_s: Since the start of the run.
        tasks_per_s: Settled tasks over elapsed_s.
        limit: How many attempts may be in flight; below 1, with pauses between them. None if
            nothing was to be sent.
        limit_reason: Why it is that many; None if it has never changed.
        limit_raised: How often the limit was raised.
        limit_cut: How often it was cut, by reason.
        limited_by: What limited the speed most, a Cause; None if the run was too short to say.
        limited_share: For so much of the time, 0 to 1.
        advice: The one thing to do about it.
        rejects_path: Where the rejected tasks are, if there are any.
        journal_path: Where the run's journal is, if it has one.
        exit_code: What the process should say.
        error: What ended the run, if it did not converge.
        resumed: An earlier process began the run: times, rates and the limit are this one's. Not
            among the JSON values.
    """

    run_id: str | None
    job_id: str
    converged: bool
    total: int
    added: int
    existed: int
    rejected: int
    existed_own: int
    abandoned: int
    unsettled: int
    in_doubt: int
    source_complete: bool
    requests: int
    retried_requests: int
    throttled_requests: int
    bytes_sent: int
    elapsed_s: float
    tasks_per_s: float
    limit: float | None
    limit_reason: str | None
    limit_raised: int
    limit_cut: Mapping[str, int]
    limited_by: str | None
    limited_share: float | None
    advice: str | None
    rejects_path: str | None
    journal_path: str | None
    exit_code: int
    error: str | None = None
    resumed: bool = False

    def as_dict(self) -> dict[str, object]:
        """The report as JSON types; ``error`` is there only if there was one."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["resumed"]
        if self.error is None:
            del values["error"]
        return values


def shown_limit(report: Report) -> str:
    """The limit for a person: ``0.25``, ``15.4``, ``100``."""
    limit = report.limit or 0.0
    return f"{round(limit, 1 if limit >= 1 else 2):,g}"


def _attempts(outcome: Outcome) -> int | None:
    return None if outcome.verdict is Verdict.ABANDONED else attempts_from(outcome.attempts)


class Judge(Protocol):
    """Says what limits the speed."""

    @property
    def altogether(self) -> "Limited | None":
        """What did so most; None if it is too early to say."""

    @property
    def advice(self) -> str | None:
        """The one thing to do about it, if there is one."""


class Tally:
    """Counts what happens: an observer of events, and a recorder of outcomes.

    Attributes:
        counts: Up to now.
        resumed: Earlier processes have begun to count.
        limit: How many attempts may be in flight.
        limit_reason: Why it is that many; None if it has never changed.
        limit_raised: How often it was raised.
        limit_cut: How often it was cut, by reason.
        settled_before: Tasks that earlier processes of the run settled.
        speed: What limits it; told of each attempt. Set, like the limit, by whoever has a pool.
        sampler: Likewise, how it goes over time.
        judge: Says what limits it, if ``speed`` does not.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start counting.

        Args:
            clock: The time in seconds, from any start.
        """
        self._clock, self._started_s = clock, clock()
        self.settled_before, self._requests_before = 0, 0
        self.counts, self.resumed = Counts(), False
        self.limit: float | None = None
        self.limit_reason: str | None = None
        self.limit_raised, self.limit_cut = 0, Counter[str]()
        self.speed: Speed | None = None
        self.judge: Judge | None = None
        self.sampler: Sampler | None = None
        self._held_until_s: float | None = None

    def go_on(self, counts: Counts) -> None:
        """Go on from what earlier processes of the run counted; the rate is this process's."""
        self.counts, self.resumed = counts, counts.total > 0
        self.settled_before, self._requests_before = counts.settled, counts.requests

    def __call__(self, event: Event, /) -> None:
        """See Observer."""
        match event:
            case RequestEnded(attempt=attempt) if attempt:
                self.counts.requests += 1
                self.counts.retried_requests += event.resent > 0
                self.counts.throttled_requests += event.reply == "throttled"
                self.counts.bytes_sent += event.bytes_sent
                if self.speed:
                    self.speed.ended(event)
                if self.sampler:
                    self.sampler.ended(event)
            case LimitChanged(old, new, reason):
                self.limit, self.limit_reason = new, reason
                if new < old:
                    self.limit_cut[reason] += 1
                else:
                    self.limit_raised += 1
            case SourceRead():
                self.counts.source_complete = True
            case Held(for_s=for_s):
                self._held_until_s = self._clock() + for_s
            case Resumed():
                self._held_until_s = None

    @property
    def holding_s(self) -> float | None:
        """How long all sending is still held back; 0 while a probe may end it, None if not."""
        if self._held_until_s is None:
            return None
        return max(0.0, self._held_until_s - self._clock())

    def record(
        self, outcomes: Sequence[Outcome], others: Sequence[Outcome], *, first: bool = False
    ) -> None:
        """Count outcomes.

        Args:
            outcomes: Any number.
            others: Those of them that are not ADDED, few as a rule.
            first: All of them are of each task's first attempt; so they need not be looked at.
        """
        counts, settled = self.counts, len(outcomes)
        counts.added += settled - len(others)
        for outcome in others:
            match outcome.verdict:
                case Verdict.EXISTED:
                    counts.existed += 1
                    counts.existed_own += outcome.in_doubt
                case Verdict.REJECTED:
                    counts.rejected += 1
                case Verdict.ABANDONED:
                    counts.abandoned += 1
                    settled -= 1
        if first:
            counts.attempts[1] = counts.attempts.get(1, 0) + len(outcomes)
        else:
            for needed, tasks in Counter(map(_attempts, outcomes)).items():
                if needed is not None:
                    counts.attempts[needed] = counts.attempts.get(needed, 0) + tasks
        if self.speed:
            self.speed.settled(settled)

    def report(
        self,
        *,
        run_id: str | None,
        job_id: str,
        unsettled: int = 0,
        in_doubt: int = 0,
        rejects_path: str | None = None,
        journal_path: str | None = None,
        error: BaseException | None = None,
    ) -> Report:
        """The account up to now."""
        elapsed_s = self._clock() - self._started_s
        counts = self.counts
        converged = counts.converged
        settled_here = counts.settled - self.settled_before
        code = ExitCode.UNSETTLED  # A run that is still under way, or was cut off.
        if error or converged:
            sent_here = counts.requests - self._requests_before
            code = exit_code(error, requests=sent_here, rejected=counts.rejected)
        rate = round(settled_here / elapsed_s, 1) if elapsed_s else 0.0
        judge = self.speed or self.judge
        limited = judge.altogether if judge else None
        return Report(
            run_id=run_id,
            job_id=job_id,
            converged=converged,
            unsettled=unsettled,
            in_doubt=in_doubt,
            **counts.numbers,
            elapsed_s=round(elapsed_s, 3),
            tasks_per_s=rate,
            limit=self.limit,
            limit_reason=self.limit_reason,
            limit_raised=self.limit_raised,
            limit_cut=dict(self.limit_cut),
            limited_by=limited.cause.value if limited else None,
            limited_share=round(limited.share, 2) if limited else None,
            advice=judge.advice if judge else None,
            rejects_path=rejects_path,
            journal_path=journal_path,
            exit_code=int(code),
            error=str(error) or type(error).__name__ if error else None,
            resumed=self.resumed,
        )
