"""What can limit the speed, in words, and what to do about it."""

from enum import StrEnum

import msgspec

MIB = 2**20


class Cause(StrEnum):
    """What limits the speed."""

    THROTTLED = "throttled"  # The service refuses what is too much,
    SLOW = "slow"  # takes longer the more is sent,
    FAILING = "failing"  # or does not answer well.
    FINDING = "finding"  # The limit still rises.
    CONCURRENCY = "concurrency"  # The user's bounds: requests in flight,
    MAX_RATE = "max_rate"  # tasks a second,
    BUFFER = "buffer"  # bytes in memory.
    CPU = "cpu"
    DISK = "disk"  # The journal, and the rejects and results files.
    SOURCE = "source"
    CONSUMER = "consumer"  # Of the outcomes.
    RETRIES = "retries"  # Nothing but pauses before tasks are sent again.
    REPLIES = "replies"  # All that is left is in flight.


WORDS = {
    Cause.THROTTLED: "the service (throttled)",
    Cause.SLOW: "the service (slow)",
    Cause.FAILING: "the service (failing)",
    Cause.FINDING: "the service's pace, still being found",
    Cause.CONCURRENCY: "your limit on requests in flight",
    Cause.MAX_RATE: "your limit on the rate",
    Cause.BUFFER: "your limit on memory",
    Cause.CPU: "this machine's CPU",
    Cause.DISK: "this machine's disk",
    Cause.SOURCE: "the source",
    Cause.CONSUMER: "whoever takes the outcomes in",
    Cause.RETRIES: "pauses before tasks were sent again",
    Cause.REPLIES: "the last replies",
}


# For progress, where there is little room.
SHORT = {
    Cause.THROTTLED: "service (throttled)",
    Cause.SLOW: "service (slow)",
    Cause.FAILING: "service (failing)",
    Cause.FINDING: "pace (still rising)",
    Cause.CONCURRENCY: "your concurrency",
    Cause.MAX_RATE: "your --max-rate",
    Cause.BUFFER: "your --max-buffer",
    Cause.CPU: "CPU",
    Cause.DISK: "disk",
    Cause.SOURCE: "source",
    Cause.CONSUMER: "consumer",
    Cause.RETRIES: "pauses (retries)",
    Cause.REPLIES: "last replies",
}


class Asked(msgspec.Struct, frozen=True):
    """The bounds that the user has set, or left as they are.

    Attributes:
        concurrency: Requests in flight, at most.
        auto: Whether fewer are in flight if the service answers fewer best.
        max_rate: Tasks a second; None for no bound.
        buffer_bytes_max: Of unsettled tasks.
    """

    concurrency: int
    auto: bool
    max_rate: float | None
    buffer_bytes_max: int


_ADVICE = {
    Cause.THROTTLED: "{takes}a higher quota, or more accounts, would let more through",
    Cause.SLOW: "{takes}more requests at once would only wait longer",
    Cause.FAILING: "its answers in that time settled nothing; --log-file has each of them",
    Cause.FINDING: "a longer run gets faster; --concurrency N begins with N requests at once",
    Cause.CONCURRENCY: "raise {flag} (now {concurrency:,})",
    Cause.MAX_RATE: "raise --max-rate (now {max_rate:,g})",
    Cause.BUFFER: "raise --max-buffer (now {buffer_mib:,g} MiB)",
    Cause.CPU: "several processes share the work by --workers auto; or take a faster one",
    Cause.DISK: "put the run's folder (BULKSUBMIT_STATE_DIR) and its files on a faster one",
    Cause.SOURCE: "{delivered}more could have been sent",
    Cause.CONSUMER: "take them in faster",
    Cause.RETRIES: "nothing else was left to do",
    Cause.REPLIES: "all was in flight; nothing here would have made it faster",
}


def advice(
    cause: Cause, asked: Asked, *, tasks_per_s: float | None, retry_after_s: float | None = None
) -> str:
    """The one thing to do about it.

    Args:
        cause: What limited the run.
        asked: By the user.
        tasks_per_s: How fast it was while that limited it; None if that is not known well.
        retry_after_s: How long the run waited for as long as the service asked, if that is most
            of it: then nobody knows how much the service takes.
    """
    if cause is Cause.THROTTLED and retry_after_s is not None:
        return f"it asked to wait (Retry-After), {retry_after_s:,.0f} s in all; the run did"
    if cause is Cause.THROTTLED and not asked.auto:
        return "leave out --concurrency: without it, fewer requests are sent to be refused"
    rate = "" if tasks_per_s is None else f"{tasks_per_s:,.0f} tasks/s"
    return _ADVICE[cause].format(
        takes=f"it takes {rate}; " if rate else "",
        delivered=f"it delivered {rate}, and " if rate else "",
        flag="--concurrency-max" if asked.auto else "--concurrency",
        concurrency=asked.concurrency,
        max_rate=asked.max_rate or 0.0,
        buffer_mib=asked.buffer_bytes_max / MIB,
    )


def server_errors_advice(resent: int, sent: int) -> str:
    """The one thing to know if the service fails on so many that this is what costs the time.

    Args:
        resent: Of the tasks sent, those sent again after a servererror; a task counts each time.
        sent: Tasks sent, each time they were.
    """
    return (
        f"{100 * resent / sent:.0f} % of what was sent was sent again after servererror "
        f"({resent:,} of {sent:,}, by task); the service fails on so many, and no setting helps"
    )
