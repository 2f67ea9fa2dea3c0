"""Outcomes, each from what is known of its task."""

from bulksubmit.core.model import Attempt, Outcome, Refused, Task, Trouble, Verdict
from bulksubmit.core.partitioner import request_bytes
from bulksubmit.core.suspects import Judged

TOO_LARGE = "RequestBodyTooLarge"


def too_large(task: Task, bytes_max: int, *, in_doubt: bool) -> Outcome:
    """REJECTED before it was ever sent, at least by us: no request can hold it.

    Args:
        task: The task.
        bytes_max: The bound.
        in_doubt: An earlier process, whose bound may have been another, may have sent it.
    """
    size = request_bytes((task,))
    return Outcome(
        ordinal=task.ordinal,
        line=task.line,
        task_id=task.id,
        verdict=Verdict.REJECTED,
        attempts=0,
        in_doubt=in_doubt,
        code=TOO_LARGE,
        message=f"the task makes a request of {size:,} bytes; at most {bytes_max:,} are sent",
        body=task.body,
    )


def replied(
    attempt: Attempt,
    task: Task,
    verdict: Verdict,
    trouble: Trouble,
    *,
    request_id: str | None,
    refused: Refused | None,
) -> Outcome:
    """A verdict on a task by the reply to an attempt.

    Args:
        attempt: It held the task.
        task: The task.
        verdict: Our word on it.
        trouble: What came of earlier attempts.
        request_id: The service's ID of this one.
        refused: What it said of a task that is not added; None for one that is.
    """
    return Outcome(
        ordinal=task.ordinal,
        line=task.line,
        task_id=task.id,
        verdict=verdict,
        attempts=trouble.attempts + 1,
        in_doubt=trouble.in_doubt,
        code=refused.code if refused else None,
        message=refused.message if refused else None,
        values=refused.values if refused else (),
        request_id=request_id,
        client_request_id=attempt.client_request_id,
        body=task.body if refused else b"",
    )


def read_back(judged: Judged, trouble: Trouble) -> Outcome:
    """EXISTED or REJECTED, by what was found under its ID."""
    task, refused, suspect = judged.suspect.task, judged.refused, judged.suspect
    return Outcome(
        ordinal=task.ordinal,
        line=task.line,
        task_id=task.id,
        verdict=judged.verdict,
        attempts=trouble.attempts,
        # Where a task of its ID is that is not ours, none of ours can be.
        in_doubt=trouble.in_doubt and not (refused and judged.present),
        code=refused.code if refused else None,
        message=refused.message if refused else None,
        values=refused.values if refused else (),
        request_id=suspect.refused.request_id,
        client_request_id=suspect.client_request_id,
        body=task.body if refused else b"",
    )


def abandoned(task: Task, trouble: Trouble, reason: str, *, in_flight: bool) -> Outcome:
    """ABANDONED: unsettled when the run stopped trying."""
    return Outcome(
        ordinal=task.ordinal,
        line=task.line,
        task_id=task.id,
        verdict=Verdict.ABANDONED,
        attempts=trouble.attempts + in_flight,
        in_doubt=trouble.in_doubt or in_flight,
        message=reason,
        body=task.body,
    )
