"""Lists: of a job's tasks and of the jobs, by ``$filter``, ``$select`` and pages."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from bulksubmit.core.taskfields import fields_of
from bulksubmit.core.taskspec import TaskAddParameter
from bulksubmit.emulator.answers import bad_parameter
from bulksubmit.emulator.exchange import Target
from bulksubmit.emulator.filters import Kind, Property, after, intersection, parse_filter
from bulksubmit.emulator.jobs import CREATABLE
from bulksubmit.emulator.store import Job, JobState, StoredTask, TaskEnd

T = TypeVar("T")

# REST reference, CloudJob and CloudTask: what can be sent, and what the service adds.
_ADDED = {
    "creationTime",
    "eTag",
    "executionInfo",
    "id",
    "lastModified",
    "previousState",
    "previousStateTransitionTime",
    "state",
    "stateTransitionTime",
    "stats",
    "url",
}
JOB_MEMBERS = frozenset({*CREATABLE, *_ADDED})
TASK_MEMBERS = frozenset({*fields_of(TaskAddParameter), *_ADDED, "nodeInfo"})

PAGE_MAX = 1000  # REST reference, maxresults: 1 to 1000, and 1000 if not given.
# A page that has looked at so many ends, however little passed; the next one goes on.
_LOOKED_AT_MAX = 20 * PAGE_MAX
_NUMBER = re.compile(r"-?[0-9]{1,9}")

# The recorded form. Clients are not to look inside; the odd characters, as recorded as well, see
# to it that they hand it back unharmed.
_SKIP_TOKEN_HEAD, _SKIP_TOKEN_TAIL = "WATV2:^/=", ":1$1"


# REST reference, TaskState and TaskExecutionResult.
_TASK_STATES = frozenset({"active", "preparing", "running", "completed"})
_RESULTS = frozenset({"success", "failure"})


def _result(task: StoredTask) -> str | None:
    words = {TaskEnd.SUCCEEDED: "success", TaskEnd.TERMINATED: "failure"}
    return None if task.end is None else words[task.end]


def _ran_ticks(task: StoredTask) -> int | None:
    return task.state_ticks if task.end is TaskEnd.SUCCEEDED else None


# Reference page "OData filters in Batch", List tasks: of a task with its folded ID. It has
# lastModifiedTime where the entity has lastModified; both are taken.
TASK_PROPERTIES: Mapping[str, Property[tuple[str, StoredTask]]] = {
    "id": Property(Kind.ID, lambda item: item[0]),
    "state": Property(Kind.WORD, lambda item: item[1].state, _TASK_STATES),
    "stateTransitionTime": Property(Kind.TIME, lambda item: item[1].state_ticks),
    "creationTime": Property(Kind.TIME, lambda item: item[1].ticks),
    "lastModified": Property(Kind.TIME, lambda item: item[1].modified_ticks),
    "lastModifiedTime": Property(Kind.TIME, lambda item: item[1].modified_ticks),
    "executionInfo/result": Property(Kind.WORD, lambda item: _result(item[1]), _RESULTS),
    "executionInfo/exitCode": Property(
        Kind.NUMBER, lambda item: 0 if item[1].end is TaskEnd.SUCCEEDED else None
    ),
    "executionInfo/startTime": Property(Kind.TIME, lambda item: _ran_ticks(item[1])),
    "executionInfo/endTime": Property(
        Kind.TIME, lambda item: None if item[1].end is None else item[1].state_ticks
    ),
}


def _pool_id(job: Job) -> str | None:
    pool_info = job.properties.get("poolInfo")
    pool_id = pool_info.get("poolId") if isinstance(pool_info, dict) else None
    return pool_id.lower() if isinstance(pool_id, str) else None


# The same page, List jobs.
JOB_PROPERTIES: Mapping[str, Property[Job]] = {
    "id": Property(Kind.ID, lambda job: job.id.lower()),
    "state": Property(Kind.WORD, lambda job: job.state.value, frozenset(JobState)),
    "stateTransitionTime": Property(Kind.TIME, lambda job: job.state_ticks),
    "creationTime": Property(Kind.TIME, lambda job: job.created_ticks),
    "lastModified": Property(Kind.TIME, lambda job: job.modified_ticks),
    "executionInfo/startTime": Property(Kind.TIME, lambda job: job.created_ticks),
    "executionInfo/endTime": Property(
        Kind.TIME, lambda job: job.state_ticks if job.state is JobState.COMPLETED else None
    ),
    "executionInfo/poolId": Property(Kind.TEXT, _pool_id),
}


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """What can be listed.

    Attributes:
        properties: What it can be filtered by.
        between: The folded IDs from one on, up to but without another (None: no end), ascending.
        get: What has that folded ID; None if it is not to be seen.
        show: It, as the page is to have it.
    """

    properties: Mapping[str, Property[T]]
    between: Callable[[str, str | None], Iterator[str]]
    get: Callable[[str], T | None]
    show: Callable[[T], Mapping[str, object]]


def list_page(origin: str, target: Target, listed: Listed[T]) -> dict[str, object]:
    """One page: ``value`` and, unless it is the last one, ``odata.nextLink``.

    Args:
        origin: The service's own URL, without a slash at its end.
        target: The request line.
        listed: What there is.

    Raises:
        ServiceError: InvalidQueryParameterValue.
    """
    size = _page_size(target.parameter("maxresults"))
    wanted = parse_filter(target.parameter("$filter"), listed.properties)
    ranges = wanted.ranges
    token = target.parameter("$skiptoken")
    if token is not None:
        ranges = intersection(ranges, [(after(_last_id(token)), None)])
    value: list[Mapping[str, object]] = []
    page: dict[str, object] = {"value": value}
    last_id, looked_at = "", 0
    for item_id in (each for low, high in ranges for each in listed.between(low, high)):
        if len(value) == size or looked_at == _LOOKED_AT_MAX:
            page["odata.nextLink"] = _next_link(origin, target, last_id)
            break
        last_id, looked_at = item_id, looked_at + 1
        item = listed.get(item_id)
        if item is not None and (wanted.exact or wanted.test(item)):
            value.append(listed.show(item))
    return page


def select(
    members: Mapping[str, object], names: str | None, known: frozenset[str]
) -> Mapping[str, object]:
    """The members that ``$select`` names, separated by commas; None for all. Their order stays.

    Raises:
        ServiceError: InvalidQueryParameterValue, for a name that none of its kind has.
    """
    if names is None:
        return members
    wanted = {name.strip() for name in names.split(",")}
    for name in wanted - known:
        raise bad_parameter("$select", names, f"there is no property {name!r}")
    return {name: value for name, value in members.items() if name in wanted}


def _page_size(text: str | None) -> int:
    if text is None:
        return PAGE_MAX
    if not _NUMBER.fullmatch(text):
        raise bad_parameter("maxresults", text, "MaxResults must be a number")
    size = int(text)
    if size < 1:
        raise bad_parameter("maxresults", text, "MaxResults cannot be less than 1")
    if size > PAGE_MAX:
        raise bad_parameter("maxresults", text, f"MaxResults cannot be more than {PAGE_MAX}")
    return size


def _last_id(token: str) -> str:
    if not (token.startswith(_SKIP_TOKEN_HEAD) and token.endswith(_SKIP_TOKEN_TAIL)):
        raise bad_parameter("$skiptoken", token, "the token is not one of ours")
    return token[len(_SKIP_TOKEN_HEAD) : -len(_SKIP_TOKEN_TAIL)]


def _next_link(origin: str, target: Target, last_id: str) -> str:
    kept = [(name, value) for name, value in target.query if name.lower() != "$skiptoken"]
    query = urlencode(kept, safe="$,()'", quote_via=quote)
    token = f"{_SKIP_TOKEN_HEAD}{last_id}{_SKIP_TOKEN_TAIL}"
    return f"{origin}{target.path}?{query}&$skiptoken={token}"
