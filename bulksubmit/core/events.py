"""What observers are told: plain values, in the order in which they happened.

An event is named by its type, and its fields are the type's; a log has the name in snake case
(``request_ended``). Both stay as they are: programs read them.
"""

from typing import Protocol, TypeAlias

import msgspec


class RequestEnded(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request has been answered, or will never be.

    Attributes:
        operation: ``add_task_collection``, ``get_job``, ``list_tasks``, ``get_task``, ...
        method: The HTTP method.
        url: Where it went, without the query.
        attempt: The attempt's number; 0 if the request is not an attempt.
        client_request_id: Ours.
        request_id: The service's, if it answered with one.
        status: The HTTP status, or None if there was no answer.
        reply: ``answered``, ``throttled``, ``refused``, ``lost``, or ``ended`` if the answer
            ends the run.
        reason: More, for the operator; None if all is well.
        tasks: How many tasks the request held.
        resent: How many of them had been sent before.
        bytes_sent: The size of the request's body.
        latency_s: From the start of the attempt to the end of its answer.
    """

    operation: str
    method: str
    url: str
    attempt: int
    client_request_id: str
    request_id: str | None
    status: int | None
    reply: str
    reason: str | None
    tasks: int
    resent: int
    bytes_sent: int
    latency_s: float


class Held(msgspec.Struct, frozen=True, gc=False):
    """All sending is held back for a while.

    Attributes:
        reason: Why, for the operator.
        for_s: How long at least.
    """

    reason: str
    for_s: float


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """Sending goes on after a Held."""


class LimitChanged(msgspec.Struct, frozen=True, gc=False):
    """The limit on attempts in flight has moved.

    Attributes:
        old: What it was. Below 1 it means pauses between one attempt and the next.
        new: What it is.
        reason: Why, for the operator: ``throttled``, ``replies slowed``, ``headroom``, ...
    """

    old: float
    new: float
    reason: str


class Progressed(msgspec.Struct, frozen=True, gc=False):
    """How far the run is: told at its start, about once a second, and at its end.

    Attributes:
        run_id: The run's.
        job_id: The Batch job's.
        total: Tasks read so far: the sum of added, existed, rejected, abandoned, unsettled.
        expected: How many tasks the source holds: known at its end, estimated by its size
            before; None if nothing can be said.
        source_complete: The source was read to its end.
        added: As in Report, and so are the next four. Those of a run that was resumed count what
            earlier processes did, too.
        existed: See Report.
        rejected: See Report.
        abandoned: See Report.
        unsettled: See Report.
        in_flight: Attempts that await their reply.
        limit: How many may be in flight; below 1, with pauses between them. None if nothing was
            to be sent.
        elapsed_s: Since the start of this process's part of the run.
        tasks_per_s: Tasks settled in it, over elapsed_s.
        ended: True for the last one.
    """

    run_id: str
    job_id: str
    total: int
    expected: int | None
    source_complete: bool
    added: int
    existed: int
    rejected: int
    abandoned: int
    unsettled: int
    in_flight: int
    limit: float | None
    elapsed_s: float
    tasks_per_s: float
    ended: bool

    @property
    def settled(self) -> int:
        """Tasks whose outcome is final."""
        return self.added + self.existed + self.rejected


class SourceRead(msgspec.Struct, frozen=True, gc=False):
    """The source has been read to its end.

    Attributes:
        tasks: How many tasks it holds.
    """

    tasks: int


class Anomaly(msgspec.Struct, frozen=True, gc=False):
    """The service said something it should not have; it is dealt with, and worth a line.

    Attributes:
        what: ``unknown_id``, ``repeated_id``, ``missing_id``, ``unknown_status``.
        attempt: The attempt's number.
        task_id: The ID in question.
    """

    what: str
    attempt: int
    task_id: str


class Noted(msgspec.Struct, frozen=True, gc=False):
    """Something about the input or the job that the user should know; the run goes on.

    Attributes:
        what: ``warning``: a task is odd, but sent; ``duplicate``: an ID is there twice;
            ``duplicates``: how many are; ``unchecked``: why duplicates were not looked for;
            ``errors``: what a first look at the whole source has found; ``spool``: where a copy
            of it goes; ``job``: something about the job; ``workers``: about who shares the work.
        text: What, where, and what would be right.
    """

    what: str
    text: str


Event: TypeAlias = (
    RequestEnded | Held | Resumed | LimitChanged | Progressed | SourceRead | Anomaly | Noted
)


class Observer(Protocol):
    """Told of each event, in order. Must not raise, await or block."""

    def __call__(self, event: Event, /) -> None:
        """Take note of the event."""
