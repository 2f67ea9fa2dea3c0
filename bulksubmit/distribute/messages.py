"""What a coordinator and a worker tell each other, as msgpack: see ``link`` for how.

A worker asks for orders (Hello), gets them (Orders, or Nothing), reports about twice a second, and
at its end for the last time (Report.ended). Meanwhile it may be told its new Share, that others go
on (Settled), to stop in order, or to stop at once. What it has said last is confirmed (Heard).

Ordinals are those of the shard: its first item has 0. The coordinator alone knows what is before.
"""

from typing import Any, TypeAlias

import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.history import Sample
from bulksubmit.core.model import Learnt, Outcome
from bulksubmit.core.shard import Shard
from bulksubmit.distribute.budget import Share
from bulksubmit.producer.spec import Fingerprint

# Numbers and bits of a bitmap's blocks.
Blocks: TypeAlias = list[tuple[int, bytes]]


class Hello(msgspec.Struct, tag="hello"):
    """A worker asks for orders.

    Attributes:
        ticket: That it was handed out a shard of this run.
        shard: Its number.
        version: Of bulksubmit there.
    """

    ticket: str
    shard: int
    version: str


class Orders(msgspec.Struct, tag="orders", kw_only=True):
    """What a worker is to do.

    Attributes:
        run_id: The run.
        job_id: The Batch job.
        endpoint: The account's.
        account: Whose key signs; None for Microsoft Entra ID.
        spec: The source, as SourceSpec.to_json() has it.
        shard: The slice of it.
        expected: What its file must be; None for a sweep.
        settings: Names and values of the settings that are not the defaults.
        share: What it may do at first.
        learnt: What another worker, whose place it takes, has found out about the pace.
        counts: What was counted of the shard before.
        settled: The items of it that are settled.
        places: Where some of its items begin.
        doubt_below: Unsettled items below may have been sent.
        resumed: Whether anybody has worked on it before.
        count_lines: Whether to count its lines first.
        results: Whether each outcome is to be reported in full.
        events: Whether what observers are told is to be reported.
    """

    run_id: str
    job_id: str
    endpoint: str
    account: str | None
    spec: str
    shard: Shard
    expected: Fingerprint | None
    settings: dict[str, Any]
    share: Share
    learnt: Learnt | None
    counts: dict[str, Any]
    settled: Blocks
    places: list[Place]
    doubt_below: int
    resumed: bool
    count_lines: bool
    results: bool
    events: bool


class Nothing(msgspec.Struct, tag="nothing"):
    """There is nothing to do: somebody else has done it, or the run stops.

    Attributes:
        why: Why the worker cannot do it; None if nobody has to.
    """

    why: str | None = None


class Budget(msgspec.Struct, tag="budget"):
    """A worker's share has changed."""

    share: Share


class Settled(msgspec.Struct, tag="settled"):
    """Tasks are settled elsewhere: the service is not at an end."""


class Stop(msgspec.Struct, tag="stop"):
    """Send nothing more, take in the answers in flight, and end.

    Attributes:
        at_once: Do not wait for the answers, either.
    """

    at_once: bool = False


class Heard(msgspec.Struct, tag="heard"):
    """The last report has come."""


class Failure(msgspec.Struct):
    """Why a worker ended before its shard was settled.

    Attributes:
        kind: The error's class.
        text: What it says.
        values: What else it is made of.
    """

    kind: str
    text: str
    values: dict[str, Any]


class Ended(msgspec.Struct):
    """A worker's last word.

    Attributes:
        sent_below: No item from there on was sent, by anybody.
        failure: Why it ended early; None if every item is settled, or it was told to stop.
    """

    sent_below: int
    failure: Failure | None


class Gauges(msgspec.Struct):
    """How it goes with a worker at present. As in Report and Progress, or since it began.

    Attributes:
        causes: Seconds for which each Cause has limited the speed.
        recently: What did so in the last seconds, if that is known.
        troubles: As in Life.
        learnt: What was found out about the service's pace, if it is looked for.
    """

    in_flight: int = 0
    limit: float | None = None
    limit_reason: str | None = None
    limit_raised: int = 0
    limit_cut: dict[str, int] = {}
    retrying: int = 0
    in_doubt: int = 0
    holding_s: float | None = None
    bytes_read: int = 0
    bytes_settled: int | None = None
    causes: dict[str, float] = {}
    recently: str | None = None
    troubles: dict[str, int] = {}
    learnt: Learnt | None = None


class Report(msgspec.Struct, tag="report", kw_only=True):
    """What has happened since the last one.

    Attributes:
        counts: Of the shard, up to now.
        attempts: As in Counts, of this worker up to now.
        settled: The blocks that have changed, whole.
        existed: Likewise.
        exceptions: Tasks that were rejected or abandoned, and where each is, for a person.
        results: All outcomes, if that is asked for.
        places: Where blocks of the shard begin.
        lines: How many lines it holds, once that is known.
        gauges: How it goes.
        samples: How it went, in spans of time.
        events: What observers are told, by name.
        ended: If it is the last one.
    """

    counts: dict[str, Any]
    attempts: dict[int, int]
    settled: Blocks
    existed: Blocks
    exceptions: list[tuple[Outcome, str]]
    results: list[Outcome]
    places: list[Place]
    lines: int | None
    gauges: Gauges
    samples: list[Sample]
    events: list[tuple[str, dict[str, Any]]]
    ended: Ended | None = None


FromWorker: TypeAlias = Hello | Report
ToWorker: TypeAlias = Orders | Nothing | Budget | Settled | Stop | Heard
