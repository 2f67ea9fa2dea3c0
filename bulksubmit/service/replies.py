"""From HTTP to our own words: the only file that knows a status code.

The codes are those of the reference page "Batch Status and Error Codes"; the service's own
spelling varies, so their case is folded.
"""

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

import msgspec

from bulksubmit.core.model import Answered, BatchError, ErrorDetail, Lost, Refused, Reply, Throttled
from bulksubmit.core.wire import (
    Job,
    ListedTask,
    TaskPage,
    WireError,
    decode_error,
    decode_job,
    decode_results,
    decode_task,
    decode_task_page,
)
from bulksubmit.errors import Refusal, ServiceRefused

_T = TypeVar("_T")

ANSWER_BYTES_MAX = 16 * 2**20  # 100 results are about 24 kB; 64,000 details would still fit.

_PLAIN_ID = re.compile(r"[A-Za-z0-9-]{1,100}")

# How long a job that is disabled is left alone: someone has to enable it, so there is no hurry.
_DISABLED_RETRY_AFTER_S = 10.0
_REASON_CHARS_MAX = 2000  # A reason is for a log line; a gateway may send a novel.
_CLOCK_SKEW_MAX_S = 15 * 60  # Reference page "Authenticate requests to Azure Batch".

# 400s that are about how we ask, not about the tasks: halving would not help.
_REQUEST_CODES = frozenset(
    {
        "hostinformationnotpresent",
        "invalidheadervalue",
        "invalidhttpverb",
        "invalidqueryparametervalue",
        "invaliduri",
        "missingrequiredheader",
        "missingrequiredqueryparameter",
        "outofrangequeryparametervalue",
        "requesturlfailedtoparse",
        "unsupportedheader",
        "unsupportedqueryparameter",
        "unsupportedrequestversion",
    }
)

# What a service says that has too much to do at once. A 502 says that nothing is behind it.
_OVERLOADED = frozenset({408, 503, 504})
_OVERLOADED_CODES = frozenset({"operationtimedout", "serverbusy"})


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One HTTP answer, read to its end.

    Attributes:
        status: The HTTP status.
        headers: By name, in any case (a case-insensitive mapping).
        body: After decompression.
        received_s: When it was received, in Unix time.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_s: float

    @property
    def request_id(self) -> str | None:
        """The service's ID of the request."""
        request_id = self.headers.get("request-id")
        if not request_id or _PLAIN_ID.fullmatch(request_id):  # A GUID, as a rule.
            return request_id or None
        return one_line(request_id)

    @property
    def retry_after_s(self) -> float | None:
        """What the answer asks us to wait; None if it does not say, or says it badly."""
        return _retry_after_s(self.headers, self.received_s)


class Unavailable(msgspec.Struct, frozen=True, gc=False):
    """No usable answer to a request.

    Attributes:
        reason: For the operator.
        sent: False if no byte of the request left this machine.
        answered: True if there was an HTTP answer, though not a usable one.
        name_unknown: True if the host's name does not resolve.
        retry_after_s: The least time to wait; None if not said.
        timed_out: True if no answer came in time.
    """

    reason: str
    sent: bool
    answered: bool = False
    name_unknown: bool = False
    retry_after_s: float | None = None
    timed_out: bool = False


def nameless(host: str) -> Unavailable:
    """There is no such host."""
    return Unavailable(
        f"the name {host} does not resolve: check the account's name and region",
        sent=False,
        name_unknown=True,
    )


def insecure(error: Exception) -> Unavailable:
    """The host is not who it should be, or does not speak TLS."""
    return Unavailable(
        f"no secure connection: {_named(error)}; if a proxy here breaks TLS open, "
        "let SSL_CERT_FILE name its certificate",
        sent=False,
    )


def failed(error: Exception, *, sent: bool, what: str = "") -> Unavailable:
    """What an exception says, after what went wrong."""
    return Unavailable(what + _named(error), sent=sent)


def _named(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def reply_to(answer: Answer) -> Reply:  # noqa: C901, PLR0912 - a table
    """What an answer says of the collection that was posted.

    | status | body | reply |
    |---|---|---|
    | 200 | results | Answered |
    | 413 | any | Refused: too large |
    | 429; 503 with Retry-After | any | Throttled |
    | any other | not a Batch error (a proxy's page, nothing, half a body) | Lost |
    | 401, 403 | any Batch error | the run ends: authentication |
    | 400 | about the Authorization header | the run ends: authentication |
    | 400, 409 | AccountIsDisabled, InvalidAuthenticationInfo | the run ends: authentication |
    | 404 | JobNotFound, ResourceNotFound | the run ends: not found |
    | 409 | JobCompleted, JobBeingTerminated, JobBeingDeleted | the run ends: job closed |
    | 409 | JobDisabled, JobNotActive, OperationInvalidForCurrentState | Throttled |
    | 400 | about header, query, URI, verb, version | the run ends: request |
    | 405, 411, 501, 505 | any Batch error | the run ends: request |
    | 400 | any other Batch error | Refused |
    | any other 2xx, 3xx, 4xx (408 ...), 5xx | any | Lost |

    Raises:
        ServiceRefused: if the service will take no task at all.
    """
    error = decode_error(answer.body) if answer.status != HTTPStatus.OK else None
    match answer.status, error and (error.code or "").lower():
        case 200, _:
            try:
                return Answered(decode_results(answer.body), answer.request_id)
            except WireError as unreadable:
                return Lost(f"HTTP 200, unreadable: {unreadable}", sent=True)
        case 413, _:
            return _refused(answer, "RequestBodyTooLarge", error)
        case 429, _:
            return Throttled(answer.retry_after_s, _summary(answer, error))
        case 503, _ if answer.retry_after_s is not None:
            return Throttled(answer.retry_after_s, _summary(answer, error))
        case _, None:
            return _lost(answer, None)
        case (401 | 403, _) | (400 | 409, "accountisdisabled" | "invalidauthenticationinfo"):
            raise _ends_run(Refusal.AUTHENTICATION, answer, error)
        case 400, "missingrequiredheader" if "authorization" in _details(error).lower():
            raise _ends_run(Refusal.AUTHENTICATION, answer, error)
        case 404, "jobnotfound" | "resourcenotfound":
            raise _ends_run(Refusal.NOT_FOUND, answer, error)
        case 409, "jobcompleted" | "jobbeingterminated" | "jobbeingdeleted":
            raise _ends_run(Refusal.JOB_CLOSED, answer, error)
        case 409, "jobdisabled" | "jobnotactive" | "operationinvalidforcurrentstate":
            floor_s = max(_DISABLED_RETRY_AFTER_S, answer.retry_after_s or 0.0)
            return Throttled(floor_s, _summary(answer, error), by_load=False)
        case (400, code) if code in _REQUEST_CODES:
            raise _ends_run(Refusal.REQUEST, answer, error)
        case 405 | 411 | 501 | 505, _:
            raise _ends_run(Refusal.REQUEST, answer, error)
        case 400, _:
            return _refused(answer, error.code if error else None, error)
        case _:
            return _lost(answer, error)


def job_in(answer: Answer) -> Job | Unavailable:
    """The job in an answer to a GET of it.

    Raises:
        ServiceRefused: as reply_to().
    """
    job = _read(answer, decode_job)
    if isinstance(job, Unavailable) or job.id:
        return job
    return Unavailable("HTTP 200, but no job in it", sent=True, answered=True)


def done_in(answer: Answer) -> Unavailable | None:
    """None if an answer says that what was asked is done.

    Raises:
        ServiceRefused: as reply_to(), and if what was asked is refused.
    """
    if answer.status == HTTPStatus.OK:
        return None
    if isinstance(reply_to(answer), Refused):
        raise _ends_run(Refusal.REQUEST, answer, decode_error(answer.body) or BatchError())
    return _read(answer, _nothing)


def created_in(answer: Answer) -> bool | Unavailable:
    """True if an answer says that a job was created, False if there is one of its ID.

    Raises:
        ServiceRefused: as reply_to(), and if the service does not create it.
    """
    code = _code(answer)
    if answer.status == HTTPStatus.CREATED or code == "jobexists":
        return answer.status == HTTPStatus.CREATED
    return _not_done(answer)


def deleted_in(answer: Answer) -> Unavailable | None:
    """None if an answer says that a job is deleted or will be, or that there is none.

    Raises:
        ServiceRefused: as reply_to(), and if the service does not delete it.
    """
    if answer.status == HTTPStatus.ACCEPTED or _code(answer) in {"jobnotfound", "jobbeingdeleted"}:
        return None
    return _not_done(answer)


def _code(answer: Answer) -> str:
    error = decode_error(answer.body)
    return (error.code or "").lower() if error else ""


def _not_done(answer: Answer) -> Unavailable:
    """What an answer says of a change that it did not make.

    Raises:
        ServiceRefused: unless asking again may help.
    """
    unavailable = _read(answer, _nothing)
    error = decode_error(answer.body)
    # A quota that is reached, for one; of these answers none changes by itself.
    if error and answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}:
        said = f"{_first_line(error.text)} {_details(error)}"
        raise ServiceRefused(Refusal.REQUEST, error.code or "", one_line(said))
    return unavailable or Unavailable(f"HTTP {answer.status}", sent=True, answered=True)


def _nothing(_: bytes) -> None:
    """What is read in an answer that holds nothing."""


def task_page_in(answer: Answer) -> TaskPage | Unavailable:
    """The page of tasks in an answer to a list.

    Raises:
        ServiceRefused: as reply_to().
    """
    return _read(answer, decode_task_page)


def task_in(answer: Answer) -> ListedTask | Unavailable | None:
    """The task in an answer to a GET of it; None if there is no such task.

    Raises:
        ServiceRefused: as reply_to().
    """
    if answer.status == HTTPStatus.NOT_FOUND:
        error = decode_error(answer.body)
        if error and (error.code or "").lower() == "tasknotfound":
            return None
    task = _read(answer, decode_task)
    if isinstance(task, Unavailable) or task.id:
        return task
    return Unavailable("HTTP 200, but no task in it", sent=True, answered=True)


def _read(answer: Answer, decode: Callable[[bytes], _T]) -> _T | Unavailable:
    if answer.status == HTTPStatus.OK:
        try:
            return decode(answer.body)
        except WireError as unreadable:
            return Unavailable(f"HTTP 200, unreadable: {unreadable}", sent=True, answered=True)
    match reply_to(answer):
        case Throttled(reason=reason) | Lost(reason=reason):
            pass
        case _:
            reason = _summary(answer, decode_error(answer.body))
    return Unavailable(reason, sent=True, answered=True, retry_after_s=answer.retry_after_s)


def one_line(text: str) -> str:
    """The text as one short printable line without secrets."""
    text = " ".join(_masked(text[:_REASON_CHARS_MAX]).split())
    # aiohttp keeps bytes of a header that are no UTF-8 as lone surrogates, which no log takes.
    return text.encode("utf-8", "replace").decode()


def _masked(text: str) -> str:
    """The text without signatures and tokens, some of which the service quotes back at us."""
    for secret in _SECRETS:
        text = secret.sub(r"\1***", text)
    return text


_SECRETS = (
    re.compile(r"(SharedKey(?:Lite)?\s+[^\s:'\"]+:)[^\s'\",;]+", re.IGNORECASE),
    re.compile(r"(Bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(MAC signature found in the HTTP request ')[^']*", re.IGNORECASE),
    re.compile(r"(\bsig=)[^\s&'\"]+", re.IGNORECASE),
)


def _lost(answer: Answer, error: BatchError | None) -> Lost:
    code = (error.code or "").lower() if error else ""
    by_load = answer.status in _OVERLOADED or code in _OVERLOADED_CODES
    return Lost(
        _summary(answer, error), sent=True, retry_after_s=answer.retry_after_s, by_load=by_load
    )


def _refused(answer: Answer, code: str | None, error: BatchError | None) -> Refused:
    text = _masked(error.text) if error else _summary(answer, None)
    values = tuple(
        ErrorDetail(detail.key, _masked(detail.value or ""))
        for detail in (error and error.values) or ()
    )
    return Refused(code or "", text, values, answer.request_id)


def _ends_run(refusal: Refusal, answer: Answer, error: BatchError | None) -> ServiceRefused:
    assert error is not None, "only the service itself ends a run"
    code = error.code or ""
    said = f"{_first_line(error.text)} {_details(error)}".strip()
    return ServiceRefused(refusal, code, f"{one_line(said)}; {_advice(refusal, answer)}")


def _advice(refusal: Refusal, answer: Answer) -> str:
    match refusal:
        case Refusal.AUTHENTICATION:
            skew_s = answer.received_s - (_date_s(answer.headers.get("Date")) or answer.received_s)
            if abs(skew_s) > _CLOCK_SKEW_MAX_S:
                return f"set this machine's clock, which is {abs(skew_s) / 60:.0f} minutes off"
            return (
                "check the account name and the key or, with Entra, the tenant and the role, "
                "which needs Microsoft.Batch/batchAccounts/jobs/write; "
                "the clock may be 15 minutes off at most"
            )
        case Refusal.NOT_FOUND:
            return "check the job's ID and the account's endpoint, or create the job first"
        case Refusal.JOB_CLOSED:
            return "it will take no more tasks: submit to another job"
        case Refusal.REQUEST:
            return "check the endpoint and the api-version"


def _summary(answer: Answer, error: BatchError | None) -> str:
    """An answer in one line, for the operator."""
    text = f"HTTP {answer.status}"
    if error:
        return one_line(f"{text} {error.code}: {_first_line(error.text)} {_details(error)}")
    if location := answer.headers.get("Location"):
        return one_line(f"{text}, a redirect to {location.partition('?')[0]}")
    content_type = answer.headers.get("Content-Type", "no type")
    return one_line(f"{text} without a Batch error ({content_type}, {len(answer.body)} bytes)")


def _first_line(text: str) -> str:
    """A message without its tail of RequestId and Time, which RequestEnded has apart."""
    return text.partition("\n")[0].strip()


def _details(error: BatchError | None) -> str:
    """A Batch error's values in one line, such as ``(HeaderName=Authorization)``."""
    if error is None or not error.values:
        return ""
    # AuthenticationErrorDetail goes on with the whole string to sign.
    pairs = [
        f"{detail.key}={_first_line(detail.value or '').partition(' Server used following')[0]}"
        for detail in error.values
    ]
    return f"({', '.join(pairs)})"


def _retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Retry-After in seconds, never negative; an HTTP date counts from the answer's own Date."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[+-]?[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return max(0.0, float(text))
    until_s = _date_s(text)
    if until_s is None:
        return None
    date_s = _date_s(headers.get("Date"))
    return max(0.0, until_s - (now_s if date_s is None else date_s))


def _date_s(text: str | None) -> float | None:
    """An HTTP date in Unix time, or None if it is none."""
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
