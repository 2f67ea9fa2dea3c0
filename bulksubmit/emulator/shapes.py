"""Jobs and tasks as the service shows them: what was sent, and what it fills in."""

from collections.abc import Mapping

import orjson

from bulksubmit.core.wire import etag, timestamp
from bulksubmit.emulator.answers import ServiceError
from bulksubmit.emulator.store import Job, StoredTask

_NO_LIMIT = "P10675199DT2H48M5.4775807S"  # The largest .NET TimeSpan, as recorded.
_NO_CONSTRAINTS = {"maxWallClockTime": _NO_LIMIT, "maxTaskRetryCount": 0}


def show_job(origin: str, job: Job) -> dict[str, object]:
    """A CloudJob, its members in the recorded order."""
    created = timestamp(job.created_ticks)
    sent = {name: value for name, value in job.properties.items() if name != "id"}
    pool_info = sent.pop("poolInfo", {})
    pool_id = pool_info.get("poolId") if isinstance(pool_info, dict) else None
    head: dict[str, object] = {
        "id": job.id,
        "url": f"{origin}/jobs/{job.id}",
        "eTag": etag(job.created_ticks),
        "lastModified": created,
        "creationTime": created,
        "state": job.state.value,
        "stateTransitionTime": created,
        "priority": sent.pop("priority", 0),
        "maxParallelTasks": sent.pop("maxParallelTasks", -1),
        "usesTaskDependencies": sent.pop("usesTaskDependencies", False),
        "allowTaskPreemption": sent.pop("allowTaskPreemption", False),
        "constraints": _filled(_NO_CONSTRAINTS, sent.pop("constraints", None)),
    }
    tail = {
        "poolInfo": pool_info,
        "executionInfo": {"startTime": created, "poolId": pool_id},
        "onAllTasksComplete": sent.pop("onAllTasksComplete", "noaction"),
        "onTaskFailure": sent.pop("onTaskFailure", "noaction"),
    }
    return head | sent | tail


def show_task(origin: str, job: Job, task: StoredTask) -> dict[str, object]:
    """A CloudTask, its members in the recorded order.

    Raises:
        ServiceError: InternalError if what was sent cannot be shown, such as 1e999: the bytes of
            a body are kept as they came.
    """
    try:
        sent: dict[str, object] = orjson.loads(task.body)
    except orjson.JSONDecodeError as error:
        raise ServiceError("InternalError") from error
    created = timestamp(task.ticks)
    task_id = sent.pop("id")
    head: dict[str, object] = {"id": task_id}
    if "displayName" in sent:
        head["displayName"] = sent.pop("displayName")
    head |= {
        "url": f"{origin}/jobs/{job.id}/tasks/{task_id}",
        "eTag": etag(task.ticks),
        "creationTime": created,
        "lastModified": created,
        "state": "active",
        "stateTransitionTime": created,
        "commandLine": sent.pop("commandLine"),
    }
    auto_user = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
    limits = {"maxWallClockTime": _NO_LIMIT, "retentionTime": "P7D", "maxTaskRetryCount": 0}
    tail = {
        "userIdentity": sent.pop("userIdentity", None) or auto_user,
        "constraints": _filled(limits, sent.pop("constraints", None)),
        "requiredSlots": sent.pop("requiredSlots", 1),
        "executionInfo": {"retryCount": 0, "requeueCount": 0},
    }
    return head | {name: value for name, value in sent.items() if value is not None} | tail


def select(members: Mapping[str, object], names: str | None) -> Mapping[str, object]:
    """The members that ``$select`` names, separated by commas; None for all. Their order stays."""
    if names is None:
        return members
    wanted = {name.strip() for name in names.split(",")}
    return {name: value for name, value in members.items() if name in wanted}


def _filled(defaults: Mapping[str, object], sent: object) -> dict[str, object]:
    given = sent if isinstance(sent, dict) else {}
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}
