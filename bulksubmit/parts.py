"""The parts of a submission that are as the settings say."""

import uuid
from random import Random

from bulksubmit.core.events import Observer
from bulksubmit.core.model import Bounds
from bulksubmit.core.pacing import AdaptiveLimit, FixedLimit, MaxRate
from bulksubmit.core.reconciler import Reconciler
from bulksubmit.observe.causes import Asked
from bulksubmit.pool import Limit
from bulksubmit.settings import NO_BOUND, Settings


def reconciler_for(
    settings: Settings, *, rate: MaxRate, random: Random, observer: Observer, doubt_below: int
) -> Reconciler:
    """What decides.

    Args:
        settings: How the run should go.
        rate: Bounds the tasks a second.
        random: For jitter, and for the run's GUID.
        observer: Told of each event.
        doubt_below: Every unsettled task before this ordinal may have been sent already.
    """
    bounds = Bounds(
        tasks_max=settings.tasks_per_request_max,
        bytes_max=settings.request_bytes_max or NO_BOUND,
        retry_timeout_s=settings.retry_timeout_s,
        server_timeout_s=settings.server_timeout_s,
    )
    return Reconciler(
        bounds,
        guid=str(uuid.UUID(int=random.getrandbits(128), version=4)),
        random=random,
        observer=observer,
        doubt_below=doubt_below,
        on_exists=settings.on_exists,
        tasks_at=rate.tasks_max,
    )


def limit_for(settings: Settings, rate: MaxRate, observer: Observer) -> Limit:
    """How many requests may be in flight: found out, or fixed."""
    if settings.concurrency == "auto":
        return AdaptiveLimit(settings.concurrency_max, rate=rate, observer=observer)
    return FixedLimit(settings.concurrency, rate=rate)


def asked(settings: Settings) -> Asked:
    """What the user asked for, which may be what limits the speed."""
    auto = settings.concurrency == "auto"
    return Asked(
        concurrency=settings.concurrency_max if auto else int(settings.concurrency),
        auto=auto,
        max_rate=settings.max_rate,
        buffer_bytes_max=settings.buffer_bytes_max,
    )
