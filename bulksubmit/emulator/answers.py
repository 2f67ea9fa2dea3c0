"""Answers as the service words them: header sets, error codes and their messages as recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from random import Random
from uuid import UUID

from bulksubmit.core.model import BatchError, ErrorDetail, ErrorMessage
from bulksubmit.core.wire import CONTENT_TYPE, TICKS_PER_S, encode_error, etag, timestamp, to_ticks
from bulksubmit.emulator.exchange import Answer
from bulksubmit.emulator.faults import Fault, Faults

# The statuses are those of the reference page "Batch Status and Error Codes". The messages are as
# recorded where a recording exists; the others are worded alike.
_ERRORS: dict[str, tuple[int, str]] = {
    "AuthenticationFailed": (
        403,
        (
            "Server failed to authenticate the request. Make sure the value of Authorization "
            "header is formed correctly including the signature."
        ),
    ),
    "ConditionNotMet": (
        412,
        "The condition specified in the conditional header(s) was not met for a write operation.",
    ),
    "InternalError": (
        500,
        "Server encountered an internal error. Please try again after some time.",
    ),
    "InvalidHeaderValue": (
        400,
        "The value provided for one of the HTTP headers was not in the correct format.",
    ),
    "InvalidPropertyValue": (
        400,
        "The value provided for one of the properties in the request body is invalid.",
    ),
    "InvalidQueryParameterValue": (
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    "InvalidRequestBody": (400, "The specified request body is not syntactically valid."),
    "JobBeingDeleted": (409, "The specified job is marked for deletion."),
    "JobBeingTerminated": (409, "The specified job is being terminated."),
    "JobCompleted": (409, "The specified job is already in a completed state."),
    "JobDisabled": (409, "The specified job is disabled."),
    "JobExists": (409, "The specified job already exists."),
    "JobNotActive": (409, "The specified job is not active."),
    "JobNotFound": (404, "The specified job does not exist."),
    "MissingContentLengthHeader": (411, "Content-Length header was not specified."),
    "MissingRequiredHeader": (400, "A required HTTP header was not specified."),
    "MissingRequiredProperty": (400, "A required property was not specified in the request body."),
    "MissingRequiredQueryParameter": (
        400,
        "A required query parameter was not specified in the request URI.",
    ),
    "MultipleConditionHeadersNotSupported": (400, "Multiple condition headers are not supported."),
    "OperationInvalidForCurrentState": (
        409,
        "The operation being performed is not valid in the current state.",
    ),
    "OperationTimedOut": (500, "Operation could not be completed within the specified time."),
    "RequestBodyTooLarge": (
        413,
        "The request body is too large and exceeds the maximum permissible limit.",
    ),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "ServerBusy": (503, "The server is busy."),
    "TaskCompleted": (409, "The specified task is already in a completed state."),
    "TaskDependencyListTooLong": (
        400,
        "The combined length of the task's dependencies is more than is permitted.",
    ),
    "TaskExists": (409, "The specified task already exists."),
    "TaskNotCompleted": (409, "The specified task is not in a completed state."),
    "TaskNotFound": (404, "The specified task does not exist."),
    "TaskSucceeded": (409, "The specified task has already completed successfully."),
    "TooManyRequests": (
        429,
        "Request failed as server encountered too many requests. Please try again.",
    ),
    "UnsupportedHeader": (
        400,
        "One of the HTTP headers specified in the request is not supported.",
    ),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "UnsupportedProperty": (
        400,
        "A property that is not supported was specified in the request body.",
    ),
    "UnsupportedQueryParameter": (
        400,
        "A query parameter that is not supported was specified in the request URI.",
    ),
    "UnsupportedRequestVersion": (400, "The specified API version is not supported."),
}


class ServiceError(Exception):
    """The service refuses a whole request.

    Attributes:
        code: The error's code.
        values: Its details: what, and the value in question.
        status: The HTTP status, where it is not the code's own.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        code: str,
        values: Mapping[str, str] | None = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.values = tuple(ErrorDetail(key, value) for key, value in (values or {}).items())
        self.status = status or _ERRORS[code][0]
        self.headers = headers or {}
        super().__init__(", ".join([code, *(f"{each.key}: {each.value}" for each in self.values)]))


def bad_parameter(name: str, value: str, reason: str) -> ServiceError:
    """The error for a query parameter's value."""
    values = {"QueryParameterName": name, "QueryParameterValue": value, "Reason": reason}
    return ServiceError("InvalidQueryParameterValue", values)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What marks one answer.

    Attributes:
        request_id: The service's name for the request, a GUID.
        now_s: When it was processed, as POSIX time.
        origin: The service's own URL, as the client knows it, without a slash at its end.
        client_request_id: The client's name for it, if it asked to have it back.
    """

    request_id: str
    now_s: float
    origin: str
    client_request_id: str | None = None

    @property
    def ticks(self) -> int:
        """The moment as .NET ticks."""
        return to_ticks(self.now_s)

    def error(self, code: str, values: tuple[ErrorDetail, ...] = ()) -> BatchError:
        """An error as the service words it, of this request or of one task in it.

        Args:
            code: Any; one that the service is not known to use has its own name as its message.
            values: The details.
        """
        text = _ERRORS.get(code, (0, code))[1]
        # Here, other than in lastModified, trailing zeros stay.
        seconds, _, fraction = timestamp(self.ticks)[:-1].partition(".")
        time = f"{seconds}.{fraction:0<7}Z"
        message = f"{text}\nRequestId:{self.request_id}\nTime:{time}"
        return BatchError(code, ErrorMessage("en-US", message), values or None)


def make_guid(random: Random) -> str:
    """A request-id."""
    return str(UUID(int=random.getrandbits(128), version=4))


def created(stamp: Stamp, path: str, modified_ticks: int) -> Answer:
    """201 without a body.

    Args:
        stamp: What marks the answer.
        path: Of what was created. Of a job it is ``/jobs/job-1`` whatever its ID, as recorded.
        modified_ticks: When, in .NET ticks.
    """
    url = stamp.origin + path
    headers = {"DataServiceId": url, **_modified(modified_ticks), "Location": url}
    return _answer(stamp, 201, {**headers, "Transfer-Encoding": "chunked"})


def changed(stamp: Stamp, status: int, path: str, modified_ticks: int) -> Answer:
    """An answer without a body; DataServiceId names what was changed, as recorded of a job."""
    headers = {"DataServiceId": stamp.origin + path, **_modified(modified_ticks)}
    return _bodiless(stamp, status, headers)


def removed(stamp: Stamp, status: int) -> Answer:
    """An answer without a body to what deletes; recorded for a job."""
    return _bodiless(stamp, status, {})


def unchanged(stamp: Stamp, modified_ticks: int) -> Answer:
    """304: what is asked for is still what the client has."""
    return _bodiless(stamp, 304, _modified(modified_ticks))


def entity(stamp: Stamp, body: bytes, *, modified_ticks: int | None = None) -> Answer:
    """200, streamed. Only single jobs and tasks have an ETag and Last-Modified."""
    headers = {} if modified_ticks is None else _modified(modified_ticks)
    headers |= {"Content-Type": CONTENT_TYPE, "Transfer-Encoding": "chunked"}
    return _answer(stamp, 200, headers, body)


def refusal(stamp: Stamp, error: ServiceError) -> Answer:
    """What a refused request is answered: never chunked, as recorded."""
    body = encode_error(stamp.origin, stamp.error(error.code, error.values))
    headers = {"Content-Length": str(len(body)), "Content-Type": CONTENT_TYPE, **error.headers}
    return _answer(stamp, error.status, headers, body)


def page(stamp: Stamp, status: int, title: str) -> Answer:
    """What something between client and service answers, and knows nothing of Batch."""
    body = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\r\n"
    headers = {
        "Content-Length": str(len(body)),
        "Content-Type": "text/html",
        "Date": http_date(stamp.now_s),
        "Server": "gateway",
    }
    return Answer(status, headers, body.encode())


def failure(stamp: Stamp, fault: Fault | None, faults: Faults) -> Answer | None:
    """What the faults answer that leave nothing of the answer proper."""
    seconds = {"Retry-After": str(faults.retry_after_s)}
    match fault:
        case Fault.THROTTLED:
            error = ServiceError("TooManyRequests", headers=seconds)
        case Fault.THROTTLED_DATE:
            date = http_date(stamp.now_s + faults.retry_after_s)
            error = ServiceError("TooManyRequests", headers={"Retry-After": date})
        case Fault.THROTTLED_BARE:
            error = ServiceError("TooManyRequests")
        case Fault.BUSY:
            error = ServiceError("ServerBusy")
        case Fault.BUSY_RETRY_AFTER:
            error = ServiceError("ServerBusy", headers=seconds)
        case Fault.TIMED_OUT:
            error = ServiceError("OperationTimedOut")
        case Fault.BAD_GATEWAY:
            return page(stamp, 502, "502 Bad Gateway")
        case _:
            return None
    return refusal(stamp, error)


def http_date(now_s: float) -> str:
    """A date as HTTP headers have it."""
    return _http_date(int(now_s))


@lru_cache(maxsize=64)  # A flood names each second many times; parsing takes 3 µs.
def date_s(text: str) -> float:
    """The POSIX time of a date in an HTTP header; one without a zone is in UTC.

    Raises:
        ValueError: it is none.
    """
    try:
        date = parsedate_to_datetime(text)
    except OverflowError as error:  # A zone of a million hours.
        raise ValueError(str(error)) from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=64)
def _http_date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)


def _modified(ticks: int) -> dict[str, str]:
    last_modified_s = (ticks - to_ticks(0.0)) / TICKS_PER_S
    return {"ETag": etag(ticks), "Last-Modified": http_date(last_modified_s)}


def _bodiless(stamp: Stamp, status: int, headers: Mapping[str, str]) -> Answer:
    # RFC 9110: 204 and 304 have no body, and so say nothing of how it travels.
    framing = {} if status in {204, 304} else {"Transfer-Encoding": "chunked"}
    return _answer(stamp, status, {**headers, **framing})


def _answer(stamp: Stamp, status: int, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    common = {
        "DataServiceVersion": "3.0",
        "Date": http_date(stamp.now_s),
        "request-id": stamp.request_id,
        "Server": "Microsoft-HTTPAPI/2.0",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
    }
    if stamp.client_request_id is not None:
        common["client-request-id"] = stamp.client_request_id
    return Answer(status, {**headers, **common}, body)
