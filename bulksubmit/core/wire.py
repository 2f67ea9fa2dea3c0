"""Bytes to model and back, in all four directions: the client and the emulator share it.

    client    encode_collection ─▶ request ─▶ decode_collection    emulator
    client    decode_results    ◀─  reply  ◀─ encode_results       emulator
              decode_error                    encode_error

A task's body is checked once, when it is read, and never parsed or serialised again: a request
is its tasks' bytes, joined.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeAlias, TypeVar

import msgspec
import orjson

from bulksubmit.core.model import BatchError, Task, TaskResult

_T = TypeVar("_T")

API_VERSION = "2024-07-01.20.0"
CONTENT_TYPE = "application/json; odata=minimalmetadata"

_OPEN, _COMMA, _CLOSE = b'{"value":[', b",", b"]}"
FRAME_BYTES = len(_OPEN) + len(_CLOSE)  # A collection's bytes beside its tasks and commas.


class WireError(ValueError):
    """The bytes are not what the protocol says they are."""


class _Results(msgspec.Struct, gc=False):
    value: list[TaskResult] = []


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """CloudJob, as far as we use it. ``state`` as on the wire: fold case."""

    id: str = ""
    state: str = ""


class ListedTask(msgspec.Struct, frozen=True, gc=False):
    """CloudTask in a list, as far as we use it."""

    id: str = ""


class TaskPage(msgspec.Struct, frozen=True):
    """One page of a list of tasks.

    Attributes:
        value: The tasks; may be none though there are more pages.
        next_link: The next page's URL, to be followed as it is; None on the last page.
    """

    value: list[ListedTask]
    next_link: str | None = msgspec.field(name="odata.nextLink", default=None)


_results_decoder = msgspec.json.Decoder(_Results)
_error_decoder = msgspec.json.Decoder(BatchError)
_job_decoder = msgspec.json.Decoder(Job)
_task_page_decoder = msgspec.json.Decoder(TaskPage)


def encode_collection(tasks: Iterable[Task]) -> bytes:
    """The body of an attempt: FRAME_BYTES + the tasks' bytes + a comma between each two."""
    return _OPEN + _COMMA.join([task.body for task in tasks]) + _CLOSE


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
    return _decode(_task_page_decoder, body)


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(str(error)) from error


# --- The emulator's directions ---------------------------------------------------------------

TICKS_PER_S = 10_000_000  # A .NET tick is 100 ns ...
_TICKS_1970 = 621_355_968_000_000_000  # ... counted from the year 1.


class SentTask(msgspec.Struct, frozen=True, gc=False):
    """One task of a received collection, unverified.

    Attributes:
        id: Whatever JSON value was sent as ``id``; None if none was.
        command_line: The same for ``commandLine``.
        body: The task's bytes, exactly as received, without the white space around them.
    """

    id: object
    command_line: object
    body: bytes


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


class _SentHead(msgspec.Struct, gc=False):
    id: object = None
    command_line: object = msgspec.field(name="commandLine", default=None)


class _SentHeads(msgspec.Struct):
    value: list[_SentHead]


class _SentBodies(msgspec.Struct):
    value: list[msgspec.Raw]


_heads_decoder = msgspec.json.Decoder(_SentHeads)
_bodies_decoder = msgspec.json.Decoder(_SentBodies)


def decode_collection(body: bytes) -> list[SentTask]:
    """The tasks of a received collection, in its order.

    Raises:
        WireError: if the body is not ``{"value": [object, ...]}`` in UTF-8.
    """
    try:
        body.decode()  # msgspec does not look into the strings that it skips.
    except UnicodeDecodeError as error:
        raise WireError(str(error)) from error
    heads = _decode(_heads_decoder, body).value
    bodies = _decode(_bodies_decoder, body).value
    return [
        SentTask(head.id, head.command_line, bytes(raw))
        for head, raw in zip(heads, bodies, strict=True)
    ]


def to_ticks(now_s: float) -> int:
    """POSIX seconds as .NET ticks."""
    return int(now_s * TICKS_PER_S) + _TICKS_1970


def etag(ticks: int) -> str:
    """The eTag of what was last modified then: every recorded one is made like this."""
    return f"0x{ticks:X}"


def timestamp(ticks: int) -> str:
    """ISO 8601 in UTC, up to seven fractional digits, without trailing zeros, as recorded."""
    seconds, fraction = divmod(ticks, TICKS_PER_S)
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
    items = []
    for result in results:
        task_id = result.task_id
        if isinstance(result, Added):
            ticks = result.ticks
            items.append(
                f'{{\r\n      "status":"Success","taskId":"{task_id}","eTag":"0x{ticks:X}",'
                f'"lastModified":"{timestamp(ticks)}","location":{location}{task_id}"\r\n    }}'
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
