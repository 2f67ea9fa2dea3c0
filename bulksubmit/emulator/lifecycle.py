"""How jobs and tasks change their states when someone asks for it.

REST reference, Job - Disable, Enable, Terminate, Delete and Task - Update, Terminate, Reactivate;
the codes are those of "Batch Status and Error Codes" whose texts fit. No task ever runs, so there
is none to be requeued, ended or waited for when a job is disabled.
"""

from collections.abc import Mapping

import orjson

from bulksubmit.core.taskcheck import Checker
from bulksubmit.emulator.answers import ServiceError
from bulksubmit.emulator.collection import error_of
from bulksubmit.emulator.jobs import (
    UNCHANGEABLE_CODES,
    check_disabling,
    object_of,
    read_object,
    text_of,
)
from bulksubmit.emulator.store import Change, Job, JobState, StoredTask, TaskEnd
from bulksubmit.emulator.texts import plain_task

_DISABLEABLE = {JobState.ACTIVE, JobState.DISABLING, JobState.DISABLED}
_USER_TERMINATE = "UserTerminate"  # REST reference, JobTerminateParameter: the default.


def disable_job(job: Job, sent: Mapping[str, object], *, ticks: int, change_ticks: int) -> None:
    """Disable a job: it is disabling at once, and disabled after ``change_ticks``.

    Raises:
        ServiceError: a body that does not say what to do with the tasks; a state that forbids it.
    """
    check_disabling(sent)
    _check_changeable(job)
    if job.state not in _DISABLEABLE:
        raise ServiceError("OperationInvalidForCurrentState")
    if job.state is JobState.ACTIVE:
        job.enter(JobState.DISABLING, ticks=ticks)
        job.pass_to(JobState.DISABLED, ticks=ticks + change_ticks)


def enable_job(job: Job, *, ticks: int, change_ticks: int) -> None:
    """Enable a disabled job: it is enabling at once, and active after ``change_ticks``.

    Raises:
        ServiceError: a state that forbids it. That an active job's does is inferred.
    """
    _check_changeable(job)
    if job.state is not JobState.DISABLED:
        raise ServiceError("OperationInvalidForCurrentState")
    job.enter(JobState.ENABLING, ticks=ticks)
    job.pass_to(JobState.ACTIVE, ticks=ticks + change_ticks)


def terminate_job(job: Job, sent: Mapping[str, object], *, ticks: int, change_ticks: int) -> None:
    """Terminate a job: its active tasks stay active, and no new ones are taken.

    Raises:
        ServiceError: a body that cannot be read; a state that forbids it.
    """
    reason = text_of(sent, "terminateReason") or _USER_TERMINATE
    _check_changeable(job)
    job.end_reason = reason
    job.enter(JobState.TERMINATING, ticks=ticks)
    job.pass_to(JobState.COMPLETED, ticks=ticks + change_ticks)


def delete_job(job: Job, *, ticks: int, change_ticks: int) -> None:
    """Delete a job: it is deleting at once, and gone after ``change_ticks``.

    Raises:
        ServiceError: JobBeingDeleted, as recorded.
    """
    if job.state is JobState.DELETING:
        raise ServiceError("JobBeingDeleted")
    job.enter(JobState.DELETING, ticks=ticks)
    job.gone_ticks = ticks + change_ticks


def update_task(job: Job, task_id: str, task: StoredTask, body: bytes, *, ticks: int) -> None:
    """Give a task other constraints; without any in the body, those of a task that has none.

    Raises:
        ServiceError: a body that is wrong; TaskCompleted; a job's state that forbids it.
    """
    constraints = _read_constraints(body)
    _check_task_changeable(job, task)
    before = task.change or Change(task.ticks, None, task.ticks)
    change = Change(
        ticks,
        before.end,
        before.state_ticks,
        before.previous_state,
        before.previous_ticks,
        constraints,
    )
    job.change_task(task_id, change)


def terminate_task(job: Job, task_id: str, task: StoredTask, *, ticks: int) -> None:
    """Complete a task, as a failure.

    Raises:
        ServiceError: TaskCompleted; a job's state that forbids it.
    """
    _check_task_changeable(job, task)
    _enter(job, task_id, task, TaskEnd.TERMINATED, ticks=ticks)
    job.complete_if_done(ticks=ticks)


def reactivate_task(job: Job, task_id: str, task: StoredTask, *, ticks: int) -> None:
    """Make a task that failed active again.

    Raises:
        ServiceError: TaskNotCompleted; TaskSucceeded; a job's state that forbids it.
    """
    _check_changeable(job)
    if task.end is None:
        raise ServiceError("TaskNotCompleted")
    if task.end is TaskEnd.SUCCEEDED:
        raise ServiceError("TaskSucceeded")
    _enter(job, task_id, task, None, ticks=ticks)


def delete_task(job: Job, task_id: str, *, ticks: int) -> None:
    """Delete a task, whatever its state; its ID is free again.

    Raises:
        ServiceError: JobBeingDeleted.
    """
    if job.state is JobState.DELETING:
        raise ServiceError("JobBeingDeleted")
    job.remove_task(task_id)
    if len(job):  # That the last one's deletion completes a job is nowhere said.
        job.complete_if_done(ticks=ticks)


def _enter(job: Job, task_id: str, task: StoredTask, end: TaskEnd | None, *, ticks: int) -> None:
    constraints = b"" if task.change is None else task.change.constraints
    change = Change(ticks, end, ticks, task.state, task.state_ticks, constraints)
    job.change_task(task_id, change)


def _read_constraints(body: bytes) -> bytes:
    """The constraints of a task's update, held against the rules of a task's own."""
    constraints = object_of(read_object(body), "constraints")
    probe = plain_task(orjson.dumps({"id": "a", "commandLine": "a", "constraints": constraints}))
    _, findings = Checker().check([probe])
    for finding in findings.values():
        if finding.invalid:
            raise error_of(finding)
    return orjson.dumps(orjson.loads(probe)["constraints"])


def _check_changeable(job: Job) -> None:
    if job.state in UNCHANGEABLE_CODES:
        raise ServiceError(UNCHANGEABLE_CODES[job.state])


def _check_task_changeable(job: Job, task: StoredTask) -> None:
    # The active tasks of a completed job can still be terminated: only what is being deleted
    # takes no updates (REST reference, Job - Delete).
    if job.state is JobState.DELETING:
        raise ServiceError("JobBeingDeleted")
    if task.end is not None:
        raise ServiceError("TaskCompleted")
