"""How far the run is, in one line."""

from dataclasses import dataclass

from bulksubmit.core.account import Place
from bulksubmit.observe.causes import WORDS
from bulksubmit.observe.report import Report, shown_limit
from bulksubmit.observe.speed import Limited


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
    """

    report: Report
    in_flight: int
    limited_by: Limited | None
    retrying: int
    read: Place
    bytes_read: int
    bytes_total: int | None

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


def progress_line(progress: Progress) -> str:
    """The line for a person.

    For example: ``42% · 42,000 of ~100,000 settled · 9,800/s · 12 in flight, limit 12.4 (throttled)
    · 6 s left · limited by the service (throttled)``.
    """
    report, expected = progress.report, progress.expected
    about = "" if report.source_complete else "~"
    if expected is None:
        parts = [f"{progress.settled:,} of {report.total:,} and more settled"]
    else:
        # 100 % only when nothing is unsettled: rounded down.
        percent = 100 * progress.settled // expected if expected else 100
        percent = percent if report.converged else min(percent, 99)
        parts = [f"{percent:3d}%", f"{progress.settled:,} of {about}{expected:,} settled"]
    for count, word in ((report.rejected, "rejected"), (progress.retrying, "retrying")):
        if count:
            parts.append(f"{count:,} {word}")
    parts += [f"{report.tasks_per_s:,.0f}/s", f"{progress.in_flight} in flight{_limit(report)}"]
    if report.throttled_requests:
        parts.append(f"{100 * report.throttled_requests / report.requests:.1f}% throttled")
    if expected and report.tasks_per_s and progress.settled < expected:
        parts.append(f"{_duration((expected - progress.settled) / report.tasks_per_s)} left")
    if progress.limited_by:  # Last, because a narrow terminal cuts it off.
        parts.append(f"limited by {WORDS[progress.limited_by.cause]}")
    return " · ".join(parts)


def _limit(report: Report) -> str:
    if report.limit is None:
        return ""
    reason = f" ({report.limit_reason})" if report.limit_reason else ""
    return f", limit {shown_limit(report)}{reason}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
