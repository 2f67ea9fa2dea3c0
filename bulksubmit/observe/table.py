"""The report for a person: what was asked, what happened, and what to do next."""

from bulksubmit.observe.causes import WORDS, Cause
from bulksubmit.observe.report import ExitCode, Report, shown_limit

_WAYS_ON = ("bulksubmit runs resume", "submit again")


def report_table(report: Report) -> str:
    """The report as lines of a label and a value, ending with a line end."""
    rows = report_rows(report)
    width = max(len(label) for label, _ in rows)
    return "".join(f"{label:<{width}}  {value}\n" for label, value in rows)


def report_rows(report: Report) -> list[tuple[str, str]]:
    """The labels and values of the report."""
    rows = [
        ("job", report.job_id),
        ("run", report.run_id or "none"),
        ("converged", "yes: every task is settled" if report.converged else "no"),
        (
            "tasks read",
            f"{report.total:,}{'' if report.source_complete else ', not to the end'}",
        ),
        ("  added", f"{report.added:,}"),
        ("  existed", _existed(report)),
        ("  rejected", f"{report.rejected:,}"),
        ("  abandoned", f"{report.abandoned:,}"),
        ("  unsettled", _unsettled(report)),
        ("requests", _requests(report)),
        ("sent", f"{report.bytes_sent / 1e6:,.1f} MB"),
        ("took", _took(report)),
    ]
    if report.limit is not None and report.requests and not _was_done(report):
        rows.append(("limit", f"{_limit(report)}{_whose(report)}"))
    if report.limited_by:
        rows.append(("speed", f"{_speed(report)}{_whose(report)}"))
    if report.rejects_path:
        rows.append(("rejects", report.rejects_path))
    if report.journal_path:
        rows.append(("journal", report.journal_path))
    if report.error:
        rows.append(("ended by", report.error))
    if advice := _advice(report):
        rows.append(("next", advice))
    return rows


def _took(report: Report) -> str:
    if _was_done(report):
        return f"{report.elapsed_s:,.1f} s: nothing was left to do"
    return f"{report.elapsed_s:,.1f} s, {report.tasks_per_s:,.0f} tasks/s{_whose(report)}"


def _whose(report: Report) -> str:
    """What is not of the whole run, like the counts, does not add up with them."""
    return " (this process)" if report.resumed else ""


def _was_done(report: Report) -> bool:
    """An earlier process had settled it all."""
    return report.resumed and report.converged and not report.tasks_per_s


def _existed(report: Report) -> str:
    own = f", {report.existed_own:,} by earlier attempts of this run" if report.existed_own else ""
    return f"{report.existed:,}{own}"


def _unsettled(report: Report) -> str:
    doubt = f", {report.in_doubt:,} of them may have been added" if report.in_doubt else ""
    return f"{report.unsettled:,}{doubt}"


def _requests(report: Report) -> str:
    parts = [f"{report.requests:,}"]
    if report.retried_requests:
        parts.append(f"{report.retried_requests:,} with tasks sent before")
    if report.throttled_requests:
        parts.append(f"{report.throttled_requests:,} throttled")
    return ", ".join(parts)


def _limit(report: Report) -> str:
    reason = f" ({report.limit_reason})" if report.limit_reason else ""
    parts = [f"{shown_limit(report)} in flight{reason}"]
    if report.limit_raised:
        parts.append(f"raised {_times(report.limit_raised)}")
    if report.limit_cut:
        reasons = [f"{reason} {_times(count)}" for reason, count in report.limit_cut.items()]
        parts.append(f"cut: {', '.join(reasons)}")
    return "; ".join(parts)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _speed(report: Report) -> str:
    words, share = WORDS[Cause(report.limited_by or "")], report.limited_share or 0.0
    return f"limited by {words} for {100 * share:.0f} % of the time: {report.advice}"


def _advice(report: Report) -> str | None:
    match ExitCode(report.exit_code):
        case _ if any(words in (report.error or "") for words in _WAYS_ON):
            return None  # The error says how.
        case ExitCode.USAGE:
            return "mend that and submit again; nothing was sent"
        case ExitCode.REJECTED:
            return "mend what the rejects file shows, each task with the reason, and submit it"
        case _ if report.converged or not report.total:
            return None
        case _ if report.journal_path:
            return f"bulksubmit runs resume {report.run_id}"
        case _:
            return "submit the tasks again: none is added twice, those that exist are told"
