"""What may be said of a job when it is created, and what may be changed afterwards."""

import json
from collections.abc import Callable, Mapping

import orjson

from bulksubmit.core.taskspec import explain_id
from bulksubmit.core.taskterms import FieldKind
from bulksubmit.emulator.answers import ServiceError
from bulksubmit.emulator.store import TERMINATE, Job, JobState
from bulksubmit.emulator.texts import plain

_INT32_MAX = 2**31 - 1
_PRIORITY_MAX = 1000  # REST reference, JobAddParameter.priority: -1000 to 1000.

# A value's check says what would be right; None if the value is.
_Check = Callable[[object], str | None]


def _of(kind: type, name: str) -> _Check:
    # A boolean is no number, though Python says so.
    return lambda value: None if type(value) is kind else f"The value must be {name}"


def _number(least: int, most: int) -> _Check:
    def check(value: object) -> str | None:
        if type(value) is int and least <= value <= most:
            return None
        return f"The value must be a whole number from {least} to {most}"

    return check


def _word(*words: str) -> _Check:
    def check(value: object) -> str | None:
        if isinstance(value, str) and value.lower() in words:
            return None
        return f"The value must be {' or '.join(words)}"

    return check


_BOOLEAN = _of(bool, "true or false")
_LIST = _of(list, "an array")
_OBJECT = _of(dict, "an object")
_TEXT = _of(str, "a string")

# REST reference, JobPatchParameter. Of what stands in the objects nothing is looked at.
_CHANGEABLE: dict[str, _Check] = {
    "allowTaskPreemption": _BOOLEAN,
    "constraints": _OBJECT,
    "maxParallelTasks": _number(-1, _INT32_MAX),
    "metadata": _LIST,
    "networkConfiguration": _OBJECT,
    "onAllTasksComplete": _word("noaction", TERMINATE),
    "poolInfo": _OBJECT,
    "priority": _number(-_PRIORITY_MAX, _PRIORITY_MAX),
}
# REST reference, JobUpdateParameter.
_REPLACEABLE = {name: each for name, each in _CHANGEABLE.items() if name != "networkConfiguration"}
# REST reference, JobAddParameter; the ID is checked apart.
CREATABLE = _CHANGEABLE | {
    "commonEnvironmentSettings": _LIST,
    "displayName": _TEXT,
    "jobManagerTask": _OBJECT,
    "jobPreparationTask": _OBJECT,
    "jobReleaseTask": _OBJECT,
    "onTaskFailure": _word("noaction", "performexitoptionsjobaction"),
    "usesTaskDependencies": _BOOLEAN,
}

UNCHANGEABLE_CODES = {  # What a job that takes no changes answers.
    JobState.TERMINATING: "JobBeingTerminated",
    JobState.COMPLETED: "JobCompleted",
    JobState.DELETING: "JobBeingDeleted",
}


def read_object(body: bytes) -> dict[str, object]:
    """The JSON object in a request's body.

    Raises:
        ServiceError: InvalidRequestBody.
    """
    if not body:
        raise ServiceError("InvalidRequestBody", {"Reason": "There is no body"})
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServiceError("InvalidRequestBody", {"Reason": str(error)}) from error
    if not isinstance(sent, dict):
        raise ServiceError("InvalidRequestBody", {"Reason": "The body must be a JSON object"})
    # OData JSON: annotations are no properties. azure-batch 15 gives back odata.metadata when it
    # replaces a job that it has got.
    return {name: value for name, value in sent.items() if not name.startswith("odata.")}


def parse_job(text: str) -> dict[str, object]:
    """A job in short: its ID, and what is said of it, as in ``night-1,priority=7``.

    A value is taken as JSON if it is that, and otherwise as a text.

    Raises:
        ServiceError: InvalidRequestBody.
    """
    job_id, *rest = text.split(",")
    sent: dict[str, object] = {"id": job_id}
    for each in rest:
        name, equals, value = each.partition("=")
        if not equals or name in sent:
            reason = f"{each!r} is no name=value, with a name that is given once"
            raise ServiceError("InvalidRequestBody", {"Reason": reason})
        try:
            sent[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            sent[name] = value
    return sent


def check_job_id(value: object) -> str:
    """A job's ID.

    Raises:
        ServiceError: MissingRequiredProperty or InvalidPropertyValue.
    """
    if value is None:
        raise _missing("id")
    if not isinstance(value, str) or explain_id(value):
        raise _invalid("id", value, "The value must be 1 to 64 letters, digits, hyphens and _")
    return value


def properties_of(sent: Mapping[str, object]) -> Mapping[str, object]:
    """What a new job is to have beside its ID; a null is as good as nothing.

    Raises:
        ServiceError: MissingRequiredProperty, UnsupportedProperty or InvalidPropertyValue.
    """
    properties = {name: value for name, value in sent.items() if name != "id"}
    properties = _checked(properties, CREATABLE)
    if "poolInfo" not in properties:
        raise _missing("poolInfo")
    return properties


def change_job(
    job: Job, sent: Mapping[str, object], *, auto_terminate_final: bool, ticks: int
) -> None:
    """Patch a job: what is not given stays, and so does what is null.

    Args:
        job: Which.
        sent: The patch.
        auto_terminate_final: Refuse to take ``terminatejob`` back.
        ticks: The time, in .NET ticks.

    Raises:
        ServiceError: UnsupportedProperty or InvalidPropertyValue; a code that says why the job
            takes no changes.
    """
    properties = _checked(sent, _CHANGEABLE)
    _check_change(job, properties, same_pool=False, auto_terminate_final=auto_terminate_final)
    job.change(properties, ticks=ticks)


def replace_job(
    job: Job, sent: Mapping[str, object], *, auto_terminate_final: bool, ticks: int
) -> None:
    """Put a job: what can be changed and is not given gets its default again.

    The pool has to be given. It must be the one it has, unless the job is disabled: that the
    same one may be given, other than in a patch, is inferred, as it is required.

    Args:
        job: Which.
        sent: The job as it is to be.
        auto_terminate_final: Refuse to take ``terminatejob`` back.
        ticks: The time, in .NET ticks.

    Raises:
        ServiceError: as of ``change_job``, and MissingRequiredProperty.
    """
    properties = _checked(sent, _REPLACEABLE)
    if "poolInfo" not in properties:
        raise _missing("poolInfo")
    same_pool = properties["poolInfo"] == job.properties.get("poolInfo")
    # What is left out stands for noaction, and that may be an error.
    properties.setdefault("onAllTasksComplete", "noaction")
    _check_change(job, properties, same_pool=same_pool, auto_terminate_final=auto_terminate_final)
    kept = {name: each for name, each in job.properties.items() if name not in _REPLACEABLE}
    job.properties = kept
    job.change(properties, ticks=ticks)


def check_disabling(sent: Mapping[str, object]) -> None:
    """Look at the body of Job - Disable.

    Raises:
        ServiceError: UnsupportedProperty, InvalidPropertyValue or MissingRequiredProperty.
    """
    known = {"disableTasks": _word("requeue", "terminate", "wait")}
    if "disableTasks" not in _checked(sent, known):
        raise _missing("disableTasks")


def text_of(sent: Mapping[str, object], name: str) -> str:
    """A text that a body may have, and nothing else; empty if it has none.

    Raises:
        ServiceError: UnsupportedProperty or InvalidPropertyValue.
    """
    return str(_checked(sent, {name: _TEXT}).get(name, ""))


def object_of(sent: Mapping[str, object], name: str) -> dict[str, object]:
    """An object that a body may have, and nothing else; an empty one if it has none.

    Raises:
        ServiceError: UnsupportedProperty or InvalidPropertyValue.
    """
    found = _checked(sent, {name: _OBJECT}).get(name)
    return found if isinstance(found, dict) else {}


def _check_change(
    job: Job, properties: Mapping[str, object], *, same_pool: bool, auto_terminate_final: bool
) -> None:
    if job.state in UNCHANGEABLE_CODES:
        raise ServiceError(UNCHANGEABLE_CODES[job.state])
    # REST reference: only the pool of a disabled job changes. The code is inferred.
    if "poolInfo" in properties and not same_pool and job.state is not JobState.DISABLED:
        raise ServiceError("OperationInvalidForCurrentState")
    wanted = str(properties.get("onAllTasksComplete", TERMINATE)).lower()
    if auto_terminate_final and job.on_all_tasks_complete == TERMINATE != wanted:
        reason = "The value may not be changed from terminatejob to noaction"
        raise _invalid("onAllTasksComplete", wanted, reason)


def _checked(sent: Mapping[str, object], known: Mapping[str, _Check]) -> dict[str, object]:
    properties = {name: value for name, value in sent.items() if value is not None}
    for name, value in properties.items():
        if name not in known:
            raise ServiceError("UnsupportedProperty", {"PropertyName": name})
        properties[name] = _plain(name, value, known[name])
        reason = known[name](properties[name])
        if reason is not None:
            raise _invalid(name, value, reason)
    try:
        orjson.dumps(properties)
    except orjson.JSONEncodeError as error:  # Nested so deeply that it could not be shown again.
        raise ServiceError("InvalidRequestBody", {"Reason": str(error)}) from error
    return properties


def _plain(name: str, value: object, check: _Check) -> object:
    """The value, with numbers and booleans in the place of texts that hold them."""
    match value:
        case str() if check(value) is not None:
            number = plain(value, FieldKind.INT)
            return plain(value, FieldKind.BOOL) if number is value else number
        case dict() if name == "constraints":
            count = value.get("maxTaskRetryCount")
            if isinstance(count, str):
                return value | {"maxTaskRetryCount": plain(count, FieldKind.INT)}
    return value


def _missing(name: str) -> ServiceError:
    return ServiceError("MissingRequiredProperty", {"PropertyName": name})


def _invalid(name: str, value: object, reason: str) -> ServiceError:
    shown = value if isinstance(value, str) else json.dumps(value)
    values = {"PropertyName": name, "PropertyValue": shown, "Reason": reason}
    return ServiceError("InvalidPropertyValue", values)
