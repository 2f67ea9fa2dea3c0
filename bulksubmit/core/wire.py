"""Bytes to model and back, in all four directions: the client and the emulator share it.

    client    encode_collection ─▶ request ─▶ decode_collection    emulator
    client    decode_results    ◀─  reply  ◀─ encode_results       emulator
              decode_error                    encode_error

A task's body is checked once, when it is read, and never parsed or serialised again: a request
is its tasks' bytes, joined.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeAlias, TypeVar

import msgspec
import orjson

from bulksubmit.core.limits import CLOSE, OPEN
from bulksubmit.core.model import BatchError, Task, TaskResult
from bulksubmit.core.tasks import bodies_of

_T = TypeVar("_T")

CONTENT_TYPE = "application/json; odata=minimalmetadata"

_COMMA = b","


class WireError(ValueError):
    """The bytes are not what the protocol says they are."""


class _Results(msgspec.Struct, gc=False):
    """TaskAddCollectionResult."""

    value: list[TaskResult] = []


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """CloudJob, as far as we use it. Its words are as on the wire: fold their case."""

    id: str = ""
    state: str = ""
    uses_task_dependencies: bool = False
    on_all_tasks_complete: str = "noaction"
    on_task_failure: str = "noaction"


class ListedTask(msgspec.Struct, frozen=True, gc=False):
    """CloudTask in a list.

    Attributes:
        id: As the service spells it.
        body: All that the service shows of it, a JSON object.
    """

    id: str
    body: bytes


class TaskPage(msgspec.Struct, frozen=True):
    """One page of a list of tasks.

    Attributes:
        value: The tasks; may be none though there are more pages.
        next_link: The next page's URL, to be followed as it is; None on the last page.
    """

    value: list[ListedTask]
    next_link: str | None


class TaskRange(msgspec.Struct, frozen=True):
    """Which tasks a list is to show.

    Attributes:
        first: The least ID, itself included. The service compares without regard to case.
        last: The greatest ID, itself included.
        fields: What to show of each, by the names on the wire; None for everything.
        page_max: How many tasks a page may have, 1 to 1000.
    """

    first: str
    last: str
    fields: tuple[str, ...] | None
    page_max: int

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The range as a query's names and values, not encoded."""
        query = [
            ("$filter", f"id ge {_odata(self.first)} and id le {_odata(self.last)}"),
            ("maxresults", str(self.page_max)),
        ]
        if self.fields is not None:
            query.insert(1, ("$select", ",".join(self.fields)))
        return tuple(query)


class TaskSpan(msgspec.Struct, frozen=True):
    """A stretch of the whole list: see core.spans. IDs are compared without regard to case.

    Attributes:
        low: The least ID, itself included; None for no bound.
        high: What all IDs are less than; None for no bound.
        fields: As in TaskRange.
        page_max: As in TaskRange.
    """

    low: str | None
    high: str | None
    fields: tuple[str, ...] | None
    page_max: int

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The stretch as a query's names and values, not encoded."""
        bounds = [
            f"id {word} {_odata(bound)}"
            for word, bound in (("ge", self.low), ("lt", self.high))
            if bound is not None
        ]
        query = [("$filter", " and ".join(bounds))] if bounds else []
        if self.fields is not None:
            query.append(("$select", ",".join(self.fields)))
        return (*query, ("maxresults", str(self.page_max)))


def _odata(text: str) -> str:
    """A string in a ``$filter``."""
    return "'" + text.replace("'", "''") + "'"


class _ListedHead(msgspec.Struct, gc=False):
    id: str = ""


class _PageHeads(msgspec.Struct):
    value: list[_ListedHead]
    next_link: str | None = msgspec.field(name="odata.nextLink", default=None)


class _PageBodies(msgspec.Struct):
    value: list[msgspec.Raw]


_results_decoder = msgspec.json.Decoder(_Results)
_error_decoder = msgspec.json.Decoder(BatchError)
_job_decoder = msgspec.json.Decoder(Job)
_page_heads_decoder = msgspec.json.Decoder(_PageHeads)
_page_bodies_decoder = msgspec.json.Decoder(_PageBodies)
_listed_head_decoder = msgspec.json.Decoder(_ListedHead)


def encode_collection(tasks: Sequence[Task]) -> bytes:
    """The body of an attempt: FRAME_BYTES + the tasks' bytes + a comma between each two."""
    return OPEN + _COMMA.join(bodies_of(tasks)) + CLOSE


def encode_job_patch(on_all_tasks_complete: str) -> bytes:
    """The body that changes what a job does when all its tasks are complete."""
    return orjson.dumps({"onAllTasksComplete": on_all_tasks_complete})


def encode_new_job(job_id: str, *, pool_id: str, display_name: str, lasts: str) -> bytes:
    """The body that creates a job of the lowest priority.

    Args:
        job_id: Its ID.
        pool_id: Where its tasks are to run.
        display_name: What people see.
        lasts: How long until the service ends it, as an ISO 8601 duration.
    """
    job = {
        "id": job_id,
        "displayName": display_name,
        "priority": -1000,  # REST reference, JobAddParameter.priority.
        "constraints": {"maxWallClockTime": lasts, "maxTaskRetryCount": 0},
        "poolInfo": {"poolId": pool_id},
    }
    return orjson.dumps(job)


def decode_results(body: bytes) -> list[TaskResult]:
    """The results in a 200's body, in its order, unverified.

    Raises:
        WireError: if the body is not a whole TaskAddCollectionResult.
    """
    return _decode(_results_decoder, body).value


def decode_error(body: bytes) -> BatchError | None:
    """The Batch error in an answer's body, or None if it holds none (a proxy's page)."""
    try:
        error = _decode(_error_decoder, body)
    except WireError:
        return None
    return error if error.code else None


def decode_job(body: bytes) -> Job:
    """The job in an answer's body.

    Raises:
        WireError: if the body is not a job.
    """
    return _decode(_job_decoder, body)


def decode_task_page(body: bytes) -> TaskPage:
    """A page of a list of tasks.

    Raises:
        WireError: if the body is not one.
    """
    heads = _decode(_page_heads_decoder, body)
    bodies = _decode(_page_bodies_decoder, body).value
    listed = [
        ListedTask(head.id, bytes(raw)) for head, raw in zip(heads.value, bodies, strict=True)
    ]
    return TaskPage(listed, heads.next_link)


def decode_task(body: bytes) -> ListedTask:
    """The task in an answer's body.

    Raises:
        WireError: if the body is not a task.
    """
    return ListedTask(_decode(_listed_head_decoder, body).id, body)


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(str(error)) from error


# --- The emulator's directions ---------------------------------------------------------------

TICKS_PER_S = 10_000_000  # A .NET tick is 100 ns ...
_TICKS_1970 = 621_355_968_000_000_000  # ... counted from the year 1.


class Added(msgspec.Struct, frozen=True, gc=False):
    """A result that says Success. The ID is a valid one: it is not escaped."""

    task_id: str
    ticks: int


class Failed(msgspec.Struct, frozen=True, gc=False):
    """A result that says anything but Success; ``status`` is spelled as on the wire."""

    task_id: str
    status: str
    error: BatchError


SentResult: TypeAlias = Added | Failed


class _SentBodies(msgspec.Struct, forbid_unknown_fields=True):
    value: list[msgspec.Raw]


class _SentAnything(msgspec.Struct):
    value: list[msgspec.Raw]


_bodies_decoder = msgspec.json.Decoder(_SentBodies)
_anything_decoder = msgspec.json.Decoder(_SentAnything)
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_collection(body: bytes) -> tuple[list[bytes], Sequence[str]]:
    """Take a received collection apart.

    Returns:
        The tasks in its order, each without the white space around it; and the names of what else
        is there beside ``value``.

    Raises:
        WireError: if the body is not ``{"value": [object, ...]}`` in UTF-8. What the objects
            hold is not looked at.
    """
    try:
        body.decode()  # msgspec does not look into what it skips.
    except UnicodeDecodeError as error:
        raise WireError(str(error)) from error
    unknown: Sequence[str] = ()
    try:
        found = _bodies_decoder.decode(body).value
    except (msgspec.MsgspecError, RecursionError):
        found = _decode(_anything_decoder, body).value
        unknown = [name for name in _decode(_members_decoder, body) if name != "value"]
    bodies = [bytes(raw) for raw in found]
    for place, each in enumerate(bodies):
        if not each.startswith(b"{"):
            raise WireError(f"Expected `object` - at `$.value[{place}]`")
    return bodies, unknown


def to_ticks(now_s: float) -> int:
    """POSIX seconds as .NET ticks."""
    return int(now_s * TICKS_PER_S) + _TICKS_1970


def etag(ticks: int) -> str:
    """The eTag of what was last modified then: every recorded one is made like this."""
    return f"0x{ticks:X}"


def timestamp(ticks: int) -> str:
    """ISO 8601 in UTC, up to seven fractional digits, without trailing zeros, as recorded."""
    seconds, fraction = divmod(ticks, TICKS_PER_S)
    if fraction % 10:
        return f"{_date_and_time(seconds)}.{fraction:07d}Z"
    return f"{_date_and_time(seconds)}.{fraction:07d}".rstrip("0").rstrip(".") + "Z"


@lru_cache(maxsize=64)
def _date_and_time(seconds: int) -> str:
    return (datetime(1, 1, 1) + timedelta(seconds=seconds)).isoformat()  # noqa: DTZ001  It is UTC.


def encode_results(origin: str, job_id: str, results: Iterable[SentResult]) -> bytes:
    """The body of a 200, its results in the order given.

    Args:
        origin: The service's own URL, without a slash at its end.
        job_id: As the job was created.
        results: One for each task; nothing is checked, so that faults can be made.
    """
    tasks_url = f"{origin}/jobs/{job_id}/tasks/"
    location = _text(tasks_url)[:-1]  # An ID and the closing quote follow.
    marks: dict[int, str] = {}  # Tasks that were added at one moment differ by their IDs only.
    items = []
    for result in results:
        task_id = result.task_id
        if isinstance(result, Added):
            mark = marks.get(result.ticks)
            if mark is None:
                mark = marks[result.ticks] = _mark(result.ticks, location)
            items.append(
                f'{{\r\n      "status":"Success","taskId":"{task_id}{mark}{task_id}"\r\n    }}'
            )
        else:
            failed = {
                "error@odata.navigationLinkUrl": f"{tasks_url}{task_id}/error",
                "error": _error_members(result.error),
                "status": result.status,
                "taskId": task_id,
            }
            items.append(_layout(failed, depth=2))
    metadata = _text(f"{origin}/$metadata#taskaddresult")
    return (
        f'{{\r\n  "odata.metadata":{metadata},"value":[\r\n    {",".join(items)}\r\n  ]\r\n}}'
    ).encode()


def _mark(ticks: int, location: str) -> str:
    """What stands between a task's ID and its ID again, in a result that says Success."""
    modified = timestamp(ticks)
    return f'","eTag":"0x{ticks:X}","lastModified":"{modified}","location":{location}'


def encode_error(origin: str, error: BatchError) -> bytes:
    """The body of an answer that refuses a whole request."""
    kind = "Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"
    return encode_entity(origin, kind, _error_members(error))


def encode_entity(origin: str, kind: str, members: Mapping[str, object]) -> bytes:
    """The body of an answer that holds one entity, such as a job, or a list of them.

    Args:
        origin: The service's own URL, without a slash at its end.
        kind: What stands behind ``$metadata#``.
        members: JSON values, in the order in which they are to appear.
    """
    return _layout({"odata.metadata": f"{origin}/$metadata#{kind}", **members}).encode()


def _error_members(error: BatchError) -> dict[str, object]:
    members: dict[str, object] = {"code": error.code}
    if error.message is not None:
        members["message"] = {"lang": error.message.lang, "value": error.message.value}
    if error.values:
        members["values"] = [{"key": each.key, "value": each.value} for each in error.values]
    return members


def _layout(value: object, depth: int = 0) -> str:
    """JSON as the service lays it out: CR LF and indent around members, but none between them."""
    match value:
        case dict():
            items = [f"{_text(name)}:{_layout(item, depth + 1)}" for name, item in value.items()]
            opening, closing = "{}"
        case list():
            items = [_layout(item, depth + 1) for item in value]
            opening, closing = "[]"
        case _:
            return orjson.dumps(value).decode()
    indent = "\r\n" + "  " * depth
    return f"{opening}{indent}  {','.join(items)}{indent}{closing}"


def _text(value: str) -> str:
    return orjson.dumps(value).decode()
