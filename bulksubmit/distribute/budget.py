"""What all shards together may do, divided over those that run."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one shard may do.

    Attributes:
        concurrency: Requests in flight, at most.
        max_rate: Tasks a second; None for no bound.
    """

    concurrency: int
    max_rate: float | None


def shares(running: Sequence[int], *, concurrency: int, max_rate: float | None) -> dict[int, Share]:
    """Divide what all may do, evenly and without a rest; but none has no request in flight.

    Args:
        running: The shards that run.
        concurrency: Requests in flight, of all.
        max_rate: Tasks a second, of all; None for no bound.
    """
    if not running:
        return {}
    each, rest = divmod(concurrency, len(running))
    rate = None if max_rate is None else max_rate / len(running)
    return {number: Share(max(1, each + (at < rest)), rate) for at, number in enumerate(running)}
