"""How far the run is, in one line; panel.py has more room for it.

Before the source's end is known, nobody knows how many tasks it holds: then the total is what was
read, and the percentage is of the input's bytes. As many tasks as are settled, counted from the
source's beginning, end at so many of its bytes: that share only grows. From its end on, it is the
share of the tasks. It is rounded down, and 100 only when every task is settled.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bulksubmit.core.account import Place
from bulksubmit.core.events import Progressed
from bulksubmit.observe.causes import SHORT
from bulksubmit.observe.report import Report, shown_limit
from bulksubmit.observe.speed import Limited

STEADY_S_MIN = 3.0  # Before that, a run has only begun, and what is left would seem to take hours.


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        report: The account up to now.
        in_flight: Attempts that await their reply.
        limited_by: What limits the speed at present; None if it is too early to say.
        retrying: Tasks sent before that wait to be sent again.
        read: How far the source was read.
        bytes_read: How much of it that is, in bytes; of a compressed file, compressed.
        bytes_total: The source's size, if it is known.
        holding_s: How long all sending is still held back; 0 while a probe may end that, None if
            it is not.
        bytes_settled: Where as many tasks end as are settled, if that is known.
        settled_before: Of the settled tasks, those that earlier processes of the run settled.
        stopping: Nothing more is sent; the replies in flight are awaited.
        looked_up: Tasks whose ID is taken, or may be, that are compared with what the job holds.
    """

    report: Report
    in_flight: int
    limited_by: Limited | None
    retrying: int
    read: Place
    bytes_read: int
    bytes_total: int | None
    holding_s: float | None = None
    bytes_settled: int | None = None
    settled_before: int = 0
    stopping: bool = False
    looked_up: int = 0

    @property
    def settled(self) -> int:
        """Tasks whose outcome is final."""
        return self.report.added + self.report.existed + self.report.rejected

    @property
    def expected(self) -> int | None:
        """How many tasks the source holds: known at its end, estimated by its size before."""
        if self.report.source_complete:
            return self.report.total
        if self.bytes_total and self.bytes_read:
            estimated = self.read.ordinal * self.bytes_total // self.bytes_read
            return max(self.report.total, estimated)
        return None

    @property
    def share(self) -> float | None:
        """Of the source, what is settled: 0 to 1, and 1 only of a converged run. None: unknown."""
        if self.report.source_complete:
            share = self.settled / self.report.total if self.report.total else 1.0
        elif self.bytes_total and self.bytes_settled is not None:
            share = self.bytes_settled / self.bytes_total
        else:
            return None
        return 1.0 if self.report.converged else min(share, _NEARLY)

    @property
    def percent(self) -> int | None:
        """The share in percent, rounded down."""
        # 29 of 100 are 28.999999999999996 %.
        return None if self.share is None else math.floor(100 * self.share + 1e-9)

    @property
    def left(self) -> int | None:
        """How many tasks are not settled: estimated until the source's end is known."""
        if self.report.source_complete:
            return self.report.total - self.settled
        # By the share, so that the time left and the percentage go together.
        return round(self.settled / self.share) - self.settled if self.share else None


_NEARLY = 0.9999
_ASCII = str.maketrans({"·": "|", "≥": ">=", "…": "..."})


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast it goes at present; see Recent.

    Attributes:
        tasks_per_s: Settled in the last seconds; None if it is too early to say.
        steady_per_s: The same over a longer time, for the time left.
        p95_s: What 95 % of the last replies took at most; None if there were none.
    """

    tasks_per_s: float | None = None
    steady_per_s: float | None = None
    p95_s: float | None = None


UNKNOWN = Pace()


def progressed(progress: Progress, *, ended: bool) -> Progressed:
    """The same for observers."""
    report = progress.report
    return Progressed(
        run_id=report.run_id or "",
        job_id=report.job_id,
        total=report.total,
        expected=progress.expected,
        source_complete=report.source_complete,
        added=report.added,
        existed=report.existed,
        rejected=report.rejected,
        abandoned=report.abandoned,
        unsettled=report.unsettled,
        in_flight=progress.in_flight,
        limit=report.limit,
        elapsed_s=report.elapsed_s,
        tasks_per_s=report.tasks_per_s,
        ended=ended,
    )


def progress_line(progress: Progress, pace: Pace = UNKNOWN) -> str:
    """The line for a person.

    For example: ``42% · 42,000 of ≥ 50,000 settled · 9,800/s · limited by: service (throttled)
    · 6 s left · 2.1% throttled · 12 in flight · limit 12.4 (throttled)``. How far, how fast, what
    limits it and the time left come first.

    Args:
        progress: How far the run is.
        pace: How fast it goes; without it, the rate is the mean one.
    """
    return " · ".join([*_first_parts(progress, pace), *_other_parts(progress, pace)])


def _first_parts(progress: Progress, pace: Pace) -> Iterator[str]:
    report = progress.report
    if progress.percent is not None:
        yield f"{progress.percent:3d}%"
    yield f"{progress.settled:,} of {total(progress)} settled"
    rate = report.tasks_per_s if pace.tasks_per_s is None else pace.tasks_per_s
    if (halt := halted(progress)) or rate:
        yield halt or f"{rate:,.0f}/s"
    if progress.limited_by:
        yield f"limited by: {SHORT[progress.limited_by.cause]}"
    if left := time_left(progress, pace):
        yield left


def _other_parts(progress: Progress, pace: Pace) -> Iterator[str]:
    report = progress.report
    if not report.source_complete:
        # Before the first task, the job is asked for; or the source has nothing yet.
        yield "reading…" if report.total else "starting…"
    if progress.settled_before:
        yield f"{progress.settled_before:,} in earlier processes"
    yield from (f"{count:,} {word}" for count, word in counts(progress) if word != "added")
    if report.throttled_requests:
        yield throttled(report)
    yield f"{progress.in_flight} in flight"
    if report.limit is not None:
        yield f"limit {limit(report)}"
    if pace.p95_s is not None:
        yield p95(pace.p95_s)


# --- The parts, for the panel too ----------------------------------------------------------------


def total(progress: Progress) -> str:
    """How many tasks there are, as far as is known: ``≥ 50,000`` while the source is read."""
    return f"{'' if progress.report.source_complete else '≥ '}{progress.report.total:,}"


def counts(progress: Progress) -> Iterator[tuple[int, str]]:
    """What became of the tasks. ``added`` is always told, the others if there are any."""
    report = progress.report
    yield report.added, "added"
    others = (
        (report.existed, "existed"),
        (report.rejected, "rejected"),
        (report.abandoned, "abandoned"),
        (progress.retrying, "retrying"),
        (progress.looked_up, "being looked up"),
        (report.in_doubt, "in doubt"),
    )
    yield from ((count, word) for count, word in others if count)


def halted(progress: Progress) -> str | None:
    """Why nothing is sent, in place of a rate, which would say nothing; None if it is sent."""
    if progress.stopping:
        return "stopping"
    if progress.holding_s is None:
        return None
    seconds = math.ceil(progress.holding_s)  # At 0 s, a probe's reply is awaited.
    return f"holding, {duration(seconds)}" if seconds else "holding, probing"


def time_left(progress: Progress, pace: Pace) -> str | None:
    """How long it still takes at this pace, if it goes on at all."""
    report, left = progress.report, progress.left
    rate = pace.steady_per_s
    if rate is None and report.elapsed_s >= STEADY_S_MIN:
        rate = report.tasks_per_s
    if not left or not rate or halted(progress):
        return None
    return f"{duration(left / rate)} left"


def throttled(report: Report) -> str:
    """The share of the requests that were answered with throttling."""
    return f"{100 * report.throttled_requests / report.requests:.1f}% throttled"


def limit(report: Report) -> str:
    """How many attempts may be in flight, and why it is that many."""
    return f"{shown_limit(report)}{f' ({report.limit_reason})' if report.limit_reason else ''}"


def p95(seconds: float) -> str:
    """What 95 % of the replies took at most."""
    return f"p95 {seconds:,.1f} s" if seconds >= 1 else f"p95 {1000 * seconds:,.0f} ms"


def duration(seconds: float) -> str:
    """In the two units that matter: ``9 s``, ``1 min 39 s``, ``2 h 46 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def in_ascii(text: str) -> str:
    """The same where the encoding has no more; longer, perhaps."""
    return text.translate(_ASCII)
