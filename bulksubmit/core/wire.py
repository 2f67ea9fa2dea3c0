"""Bytes to model and back, in all four directions: the client and the emulator share it.

    client    encode_collection ─▶ request ─▶ decode_collection    emulator
    client    decode_results    ◀─  reply  ◀─ encode_results       emulator
              decode_error                    encode_error

A task's body is checked once, when it is read, and never parsed or serialised again: a request
is its tasks' bytes, joined.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

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


_results_decoder = msgspec.json.Decoder(_Results)
_error_decoder = msgspec.json.Decoder(BatchError)
_job_decoder = msgspec.json.Decoder(Job)


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


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(str(error)) from error
