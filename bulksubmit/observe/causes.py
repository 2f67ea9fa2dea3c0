"""What can limit the speed, in words, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Asked:
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
    Cause.THROTTLED: "it takes {rate}; a higher quota, or more accounts, would let more through",
    Cause.SLOW: "it takes {rate}; more requests at once would only wait longer",
    Cause.FAILING: "it did not answer well for so long; --log-file has each of its answers",
    Cause.FINDING: "a longer run gets faster; --concurrency N begins with N requests at once",
    Cause.CONCURRENCY: "raise {flag} (now {concurrency:,})",
    Cause.MAX_RATE: "raise --max-rate (now {max_rate:,g})",
    Cause.BUFFER: "raise --max-buffer (now {buffer_mib:,g} MiB)",
    Cause.CPU: "take a faster one, or several processes with a part of the source each",
    Cause.DISK: "put the run's folder (BULKSUBMIT_STATE_DIR) and its files on a faster one",
    Cause.SOURCE: "it delivered {rate}, and more could have been sent",
    Cause.CONSUMER: "take them in faster",
    Cause.RETRIES: "nothing else was left to do",
    Cause.REPLIES: "all was in flight; nothing here would have made it faster",
}


def advice(cause: Cause, asked: Asked, *, tasks_per_s: float) -> str:
    """The one thing to do about it.

    Args:
        cause: What limited the run.
        asked: By the user.
        tasks_per_s: How fast it was.
    """
    if cause is Cause.THROTTLED and not asked.auto:
        return "leave out --concurrency: without it, fewer requests are sent to be refused"
    return _ADVICE[cause].format(
        rate=f"{tasks_per_s:,.0f} tasks/s",
        flag="--concurrency-max" if asked.auto else "--concurrency",
        concurrency=asked.concurrency,
        max_rate=asked.max_rate or 0.0,
        buffer_mib=asked.buffer_bytes_max / MIB,
    )
