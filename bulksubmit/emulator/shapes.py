"""Jobs and tasks as the service shows them: what was sent, and what it fills in."""

from collections.abc import Mapping
from enum import Enum
from functools import cache

import orjson

from bulksubmit.core.taskfields import Field, fields_of
from bulksubmit.core.taskspec import ContainerRegistry, TaskAddParameter
from bulksubmit.core.taskterms import (
    Definition,
    FieldKind,
    OutputFileUploadCondition,
    duration_ticks,
)
from bulksubmit.core.wire import TICKS_PER_S, etag, timestamp
from bulksubmit.emulator.answers import ServiceError
from bulksubmit.emulator.store import Job, JobState, StoredTask, TaskEnd

_NO_LIMIT = "P10675199DT2H48M5.4775807S"  # The largest .NET TimeSpan, as recorded.
_NO_CONSTRAINTS = {"maxWallClockTime": _NO_LIMIT, "maxTaskRetryCount": 0}

_AUTO_USER = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}

# "Batch Status and Error Codes", task scheduling errors; the message as clients have seen it.
_ENDED = {
    "category": "UserError",
    "code": "TaskEnded",
    "message": "Task Was Ended by User Request",
}

# The service's own spelling, where it is not the reference's. TaskSuccess is recorded, the other
# two are inferred from it.
_SPELLING: dict[Enum, str] = {
    OutputFileUploadCondition.TASK_SUCCESS: "TaskSuccess",
    OutputFileUploadCondition.TASK_FAILURE: "TaskFailure",
    OutputFileUploadCondition.TASK_COMPLETION: "TaskCompletion",
}


def show_job(origin: str, job: Job) -> dict[str, object]:
    """A CloudJob, its members in the recorded order."""
    created, modified = timestamp(job.created_ticks), timestamp(job.modified_ticks)
    changed = timestamp(job.state_ticks or job.created_ticks)
    sent = dict(job.properties)
    pool_info = sent.pop("poolInfo", {})
    pool_id = pool_info.get("poolId") if isinstance(pool_info, dict) else None
    head: dict[str, object] = {
        "id": job.id,
        "url": f"{origin}/jobs/{job.id}",
        "eTag": etag(job.modified_ticks),
        "lastModified": modified,
        "creationTime": created,
        "state": job.state.value,
        "stateTransitionTime": changed,
        **_before(job.previous_state, job.previous_ticks or job.created_ticks),
        "priority": sent.pop("priority", 0),
        "maxParallelTasks": sent.pop("maxParallelTasks", -1),
        "usesTaskDependencies": sent.pop("usesTaskDependencies", False),
        "allowTaskPreemption": sent.pop("allowTaskPreemption", False),
        "constraints": _job_constraints(sent.pop("constraints", None)),
    }
    execution = {"startTime": created, "poolId": pool_id}
    if job.state is JobState.COMPLETED:
        execution |= {"endTime": changed, "terminateReason": job.end_reason}
    if isinstance(manager := sent.get("jobManagerTask"), dict):
        sent["jobManagerTask"] = _show_manager(manager, head["constraints"])
    sent.pop("onAllTasksComplete", None)
    sent.pop("onTaskFailure", None)
    tail = {
        "poolInfo": pool_info,
        "executionInfo": execution,
        "onAllTasksComplete": job.on_all_tasks_complete,
        "onTaskFailure": job.on_task_failure,
    }
    return head | sent | tail


def show_task(
    origin: str, job: Job, task: StoredTask, *, hide_secrets: bool = False
) -> dict[str, object]:
    """A CloudTask, its members in the recorded order, words in the service's own spelling.

    Args:
        origin: The service's own URL, without a slash at its end.
        job: Where it is.
        task: It.
        hide_secrets: Leave out registry.password, and the query of URLs with a signature.

    Raises:
        ServiceError: InternalError if what was sent cannot be shown, such as 1e999: the bytes of
            a body are kept as they came.
    """
    try:
        sent: dict[str, object] = orjson.loads(task.body)
    except orjson.JSONDecodeError as error:
        raise ServiceError("InternalError") from error
    _respell(sent, TaskAddParameter, hide_secrets=hide_secrets)
    if task.change is not None and task.change.constraints:
        sent["constraints"] = orjson.loads(task.change.constraints)
    task_id = sent.pop("id")
    head: dict[str, object] = {"id": task_id}
    if "displayName" in sent:
        head["displayName"] = sent.pop("displayName")
    head |= {
        "url": f"{origin}/jobs/{job.id}/tasks/{task_id}",
        "eTag": etag(task.modified_ticks),
        "creationTime": timestamp(task.ticks),
        "lastModified": timestamp(task.modified_ticks),
        "state": task.state,
        "stateTransitionTime": timestamp(task.state_ticks),
        **(_before(task.change.previous_state, task.change.previous_ticks) if task.change else {}),
        "commandLine": sent.pop("commandLine"),
    }
    tail = {
        "userIdentity": sent.pop("userIdentity", None) or _AUTO_USER,
        "constraints": _filled(_task_limits(0), sent.pop("constraints", None)),
        "requiredSlots": sent.pop("requiredSlots", None) or 1,
        "executionInfo": _execution(task),
    }
    members = head | sent | tail
    return {name: value for name, value in members.items() if value is not None}


def _filled(defaults: Mapping[str, object], sent: object) -> dict[str, object]:
    given = sent if isinstance(sent, dict) else {}
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}


def _show_manager(sent: Mapping[str, object], job_constraints: object) -> dict[str, object]:
    """A job manager task, with what the service fills in, as recorded.

    That the number of retries is the job's where the task does not say is documented.
    """
    retries = job_constraints["maxTaskRetryCount"] if isinstance(job_constraints, dict) else 0
    limits = _task_limits(retries)
    filled = {
        "constraints": _filled(limits, sent.get("constraints")),
        "requiredSlots": 1,
        "userIdentity": _AUTO_USER,
        "runExclusive": True,
        "allowLowPriorityNode": True,
        "killJobOnCompletion": True,
    }
    given = {name: value for name, value in sent.items() if value is not None}
    head = {name: value for name, value in given.items() if name not in filled}
    return (
        head
        | filled
        | {name: given[name] for name in given.keys() & filled.keys() - {"constraints"}}
    )


def _task_limits(retries: object) -> dict[str, object]:
    return {"maxWallClockTime": _NO_LIMIT, "retentionTime": "P7D", "maxTaskRetryCount": retries}


def _job_constraints(sent: object) -> dict[str, object]:
    shown = _filled(_NO_CONSTRAINTS, sent)
    longest = shown["maxWallClockTime"]
    return shown | ({"maxWallClockTime": _duration(longest)} if isinstance(longest, str) else {})


def _duration(text: str) -> str:
    """A duration in the service's own form, in days and less.

    Recorded (azure-cli's test_batch_jobs_and_tasks, 2024): P3Y6M4DT12H30M5S comes back as
    P1279DT12H30M5S. What is no duration is left alone.
    """
    ticks = duration_ticks(text)
    if ticks is None:
        return text
    seconds, fraction = divmod(ticks, TICKS_PER_S)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    part = f".{fraction:07d}".rstrip("0") if fraction else ""
    second = f"{seconds}{part}"
    times = [f"{each}{unit}" for each, unit in ((hours, "H"), (minutes, "M")) if each]
    times += [f"{second}S"] if second != "0" else []
    day = f"{days}D" if days else ""
    return f"P{day}T{''.join(times)}" if times else f"P{day or 'T0S'}"


def _before(state: str | None, ticks: int) -> dict[str, object]:
    """What a job's or task's state was before, and since when; nothing if it never changed."""
    if not state:
        return {}
    return {"previousState": state, "previousStateTransitionTime": timestamp(ticks)}


def _execution(task: StoredTask) -> dict[str, object]:
    counts: dict[str, object] = {"retryCount": 0, "requeueCount": 0}
    ended = timestamp(task.state_ticks)
    match task.end:
        case None:
            return counts
        case TaskEnd.SUCCEEDED:
            times = {"startTime": ended, "endTime": ended}  # It runs in no time.
            return {**times, "exitCode": 0, **counts, "result": "success"}
        case TaskEnd.TERMINATED:
            return {"endTime": ended, "failureInfo": _ENDED, **counts, "result": "failure"}


def _respell(sent: object, definition: type[Definition], *, hide_secrets: bool) -> None:
    """Put what was sent into the service's own words, in place.

    What is not of the form that the reference gives is left alone.
    """
    if not isinstance(sent, dict):
        return
    for name, field in _respelled(definition, hide_secrets=hide_secrets).items():
        value = sent.get(name)
        if value is None:
            continue
        if definition is ContainerRegistry and name == "password":
            del sent[name]
            continue
        each = value if isinstance(value, list) else [value]
        if field.definition is not None:
            for item in each:
                _respell(item, field.definition, hide_secrets=hide_secrets)
        else:
            shown = [_reworded(item, field) for item in each]
            sent[name] = shown if isinstance(value, list) else shown[0]


@cache
def _respelled(definition: type[Definition], *, hide_secrets: bool) -> Mapping[str, Field]:
    """The fields of a definition of which something may be shown otherwise than it was sent."""
    kinds = {FieldKind.DURATION, FieldKind.ENUM} | ({FieldKind.URL} if hide_secrets else set())
    found = {}
    for name, field in fields_of(definition).items():
        inner = field.definition and _respelled(field.definition, hide_secrets=hide_secrets)
        secret = hide_secrets and definition is ContainerRegistry and name == "password"
        if field.kind in kinds or inner or secret:
            found[name] = field
    return found


def _reworded(value: object, field: Field) -> object:
    if not isinstance(value, str):
        return value
    if field.kind is FieldKind.DURATION:
        return _duration(value)
    if field.words is None:
        url, _, query = value.partition("?")
        return url if "sig=" in query else value
    try:
        word = field.words(value)
    except ValueError:
        return value
    return _SPELLING.get(word, word.value)
