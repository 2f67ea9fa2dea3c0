"""How far the run is, in one line."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bulksubmit.core.account import Place
from bulksubmit.core.events import Progressed
from bulksubmit.observe.causes import SHORT
from bulksubmit.observe.report import Report, shown_limit
from bulksubmit.observe.speed import Limited

BRIEFEST = 3  # 0: whole; 1: without "settled"; 2: nor "limited by"; 3: nor how many there are.


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        report: The account up to now.
        in_flight: Attempts that await their reply.
        limited_by: What limits the speed at present; None if it is too early to say.
        retrying: Tasks sent before that wait to be sent again.
        read: How far the source was read.
        bytes_read: How much of it, in bytes; of a compressed file, compressed.
        bytes_total: The source's size, if it is known.
        holding_s: How long all sending is still held back; 0 while a probe may end that, None if
            it is not.
    """

    report: Report
    in_flight: int
    limited_by: Limited | None
    retrying: int
    read: Place
    bytes_read: int
    bytes_total: int | None
    holding_s: float | None = None

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


def progress_line(progress: Progress, width: int | None = None) -> str:
    """The line for a person.

    For example: ``42% · 42,000 of ~100,000 settled · 9,800/s · limited by: service (throttled)
    · 6 s left · 2.1% throttled · 12 in flight · limit 12.4 (throttled)``. How far, how fast, what
    limits it and the time left come first, in fewer words if need be; of the rest, as much as fits.

    Args:
        progress: How far the run is.
        width: Of the line, at most, if those first parts can be so short; None for any.
    """
    for brief in range(BRIEFEST + 1):
        line = " · ".join(_first_parts(progress, brief))
        if width is None or len(line) <= width:
            break
    for part in _other_parts(progress):
        if width is not None and len(line) + len(f" · {part}") > width:
            break
        line += f" · {part}"
    return line


def _first_parts(progress: Progress, brief: int) -> Iterator[str]:
    report, expected = progress.report, progress.expected
    settled = "" if brief else " settled"
    about = "" if report.source_complete else "~"
    if expected is None:
        of = "" if brief == BRIEFEST else f" of {report.total:,} and more"
    else:
        # 100 % only when nothing is unsettled: rounded down.
        percent = 100 * progress.settled // expected if expected else 100
        yield f"{percent if report.converged else min(percent, 99):3d}%"
        of = "" if brief == BRIEFEST else f" of {about}{expected:,}"
    yield f"{progress.settled:,}{of}{settled}"
    yield f"{report.tasks_per_s:,.0f}/s" if progress.holding_s is None else _holding(progress)
    if progress.limited_by:
        label = "" if brief >= BRIEFEST - 1 else "limited by: "
        yield f"{label}{SHORT[progress.limited_by.cause]}"
    left = (expected or 0) - progress.settled
    if left > 0 and report.tasks_per_s and progress.holding_s is None:
        yield f"{_duration(left / report.tasks_per_s)} left"


def _other_parts(progress: Progress) -> Iterator[str]:
    report = progress.report
    for count, word in ((report.rejected, "rejected"), (progress.retrying, "retrying")):
        if count:
            yield f"{count:,} {word}"
    if report.throttled_requests:
        yield f"{100 * report.throttled_requests / report.requests:.1f}% throttled"
    yield f"{progress.in_flight} in flight"
    if report.limit is not None:
        reason = f" ({report.limit_reason})" if report.limit_reason else ""
        yield f"limit {shown_limit(report)}{reason}"


def _holding(progress: Progress) -> str:
    """The mean rate says nothing now; at 0 s, a probe's reply is awaited."""
    seconds_s = math.ceil(progress.holding_s or 0.0)
    return f"holding, {_duration(seconds_s)}" if seconds_s else "holding, probing"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
