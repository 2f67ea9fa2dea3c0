"""The table from HTTP to a Reply, row by row, and anything else as a Lost."""

import json
from email.utils import formatdate

import pytest

from bulksubmit.core.model import Answered, Lost, Refused, Throttled
from bulksubmit.core.wire import Job
from bulksubmit.errors import Refusal, ServiceRefused
from bulksubmit.service.replies import Answer, Unavailable, job_in, reply_to
from tests.service.helpers import NOW_S, error_body, make_answer, results_body

HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"
SIGNATURE = "U61am2GVGoGLORPuEkPLxHsYGMDYak/2Z6rKhwPUZQM="


def refusal_of(answer: Answer) -> ServiceRefused:
    with pytest.raises(ServiceRefused) as raised:
        reply_to(answer)
    return raised.value


# --- The table ----------------------------------------------------------------------------------


def test_200_with_results_is_answered() -> None:
    """
    A 200 holds the service's word on each task, and its ID of the request.
    """
    reply = reply_to(make_answer(200, results_body("t1", "T0"), {"request-id": "r-1"}))

    assert isinstance(reply, Answered)
    assert [result.task_id for result in reply.results] == ["t1", "T0"]
    assert reply.request_id == "r-1"


@pytest.mark.parametrize("body", [b"", HTML, b"[]", b"null", results_body("t0")[:-1], b"\xff"])
def test_200_that_cannot_be_read_is_lost(body: bytes) -> None:
    """
    A 200 that is cut off, or is a page, says nothing of the tasks: they may have been added.
    """
    reply = reply_to(make_answer(200, body))

    assert isinstance(reply, Lost)
    assert reply.sent


@pytest.mark.parametrize("body", [HTML, b"", error_body("RequestBodyTooLarge", MaxLimit="1048576")])
def test_413_is_refused_whatever_its_body(body: bytes) -> None:
    """
    A collection that is too large for a gateway is as too large as one for the service.
    """
    reply = reply_to(make_answer(413, body, {"request-id": "r-1"}))

    assert isinstance(reply, Refused)
    assert reply.code == "RequestBodyTooLarge"
    assert reply.message
    assert reply.request_id == "r-1"


def test_413_as_recorded() -> None:
    """
    The 413 that the service gave in July 2025: message and values are handed on as they are.
    """
    body = json.dumps(
        {
            "odata.metadata": "https://a.eastus.batch.azure.com/$metadata#Microsoft.Azure.Batch."
            "Protocol.Entities.Container.errors/@Element",
            "code": "RequestBodyTooLarge",
            "message": {
                "lang": "en-US",
                "value": "The request body is too large and exceeds the maximum permissible limit."
                "\nRequestId:eabbc5c2-a9fc-48e2-abd5-1de07ea85e99"
                "\nTime:2025-07-13T22:37:08.4522098Z",
            },
            "values": [{"key": "MaxLimit", "value": "1048576"}],
        }
    ).encode()

    reply = reply_to(make_answer(413, body))

    assert isinstance(reply, Refused)
    assert reply.message.startswith("The request body is too large")
    assert [(detail.key, detail.value) for detail in reply.values] == [("MaxLimit", "1048576")]


@pytest.mark.parametrize("body", [error_body("TooManyRequests"), HTML, b""])
@pytest.mark.parametrize(("retry_after", "retry_after_s"), [("30", 30.0), (None, None)])
def test_429_is_throttled(body: bytes, retry_after: str | None, retry_after_s: float) -> None:
    """
    A 429 is a request to slow down, whoever says it, with or without a time.
    """
    headers = {"Retry-After": retry_after} if retry_after else {}

    reply = reply_to(make_answer(429, body, headers))

    assert isinstance(reply, Throttled)
    assert reply.retry_after_s == retry_after_s
    assert "429" in reply.reason


def test_503_with_retry_after_is_throttled_and_without_is_lost() -> None:
    """
    A 503 slows us down if it says how long; otherwise it is one more lost answer.
    """
    body = error_body("ServerBusy", "The server is busy.")

    assert reply_to(make_answer(503, body, {"Retry-After": "7"})) == Throttled(
        7.0, "HTTP 503 ServerBusy: The server is busy."
    )
    assert reply_to(make_answer(503, body)) == Lost(
        "HTTP 503 ServerBusy: The server is busy.", sent=True, by_load=True
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 409, 411, 501, 505])
@pytest.mark.parametrize("body", [HTML, b"", b'{"code": "Forbidden"', b'{"message": "no"}'])
def test_no_batch_error_is_lost_whatever_the_status(status: int, body: bytes) -> None:
    """
    What a proxy says is not what the service says: it ends no run and rejects no task.
    """
    reply = reply_to(make_answer(status, body, {"Content-Type": "text/html"}))

    assert isinstance(reply, Lost)
    assert reply.sent
    assert f"HTTP {status} without a Batch error (text/html" in reply.reason


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "AuthenticationFailed"),
        (401, "WhateverElse"),
        (403, "AuthenticationFailed"),
        (403, "InsufficientAccountPermissions"),
        (403, "AccountIsDisabled"),
        (409, "AccountIsDisabled"),
        (403, "Forbidden"),
        (400, "InvalidAuthenticationInfo"),
    ],
)
def test_authentication_ends_the_run(status: int, code: str) -> None:
    """
    The service's own no to our credential ends the run, and says what to check.
    """
    refused = refusal_of(make_answer(status, error_body(code)))

    assert refused.refusal is Refusal.AUTHENTICATION
    assert refused.code == code
    assert "check the account name and the key" in str(refused)
    assert "15 minutes" in str(refused)


def test_missing_authorization_header_is_authentication_others_are_the_request() -> None:
    """
    A 400 for a missing header is about us if the header is Authorization.
    """
    ours = refusal_of(
        make_answer(400, error_body("MissingRequiredHeader", HeaderName="Authorization"))
    )
    other = refusal_of(make_answer(400, error_body("MissingRequiredHeader", HeaderName="ocp-date")))

    assert ours.refusal is Refusal.AUTHENTICATION
    assert other.refusal is Refusal.REQUEST
    assert "(HeaderName=ocp-date)" in str(other)


def test_clock_that_is_wrong_is_named() -> None:
    """
    If the service's Date shows that our clock is what is wrong, the message says so.
    """
    date = formatdate(NOW_S - 20 * 60, usegmt=True)
    refused = refusal_of(make_answer(403, error_body("AuthenticationFailed"), {"Date": date}))

    assert "set this machine's clock, which is 20 minutes off" in str(refused)


@pytest.mark.parametrize("code", ["JobNotFound", "ResourceNotFound", "jobnotfound"])
def test_job_not_found_ends_the_run(code: str) -> None:
    """
    A job that is not there takes no task; codes are compared without regard to case.
    """
    refused = refusal_of(make_answer(404, error_body(code, "The specified job does not exist.")))

    assert refused.refusal is Refusal.NOT_FOUND
    assert "The specified job does not exist. ; check" not in str(refused)
    assert "The specified job does not exist.; check the job's ID" in str(refused)


@pytest.mark.parametrize("code", ["JobCompleted", "JobBeingTerminated", "JobBeingDeleted"])
def test_closed_job_ends_the_run(code: str) -> None:
    """
    A job that is completed, terminating or deleting takes no more tasks.
    """
    assert refusal_of(make_answer(409, error_body(code))).refusal is Refusal.JOB_CLOSED


@pytest.mark.parametrize(
    ("headers", "retry_after_s"),
    [({}, 10.0), ({"Retry-After": "60"}, 60.0), ({"Retry-After": "1"}, 10.0)],
)
@pytest.mark.parametrize("code", ["JobDisabled", "JobNotActive", "OperationInvalidForCurrentState"])
def test_disabled_job_is_waited_for(
    code: str, headers: dict[str, str], retry_after_s: float
) -> None:
    """
    A disabled job may be enabled again: asked every 10 s, or as the service says.
    """
    reply = reply_to(make_answer(409, error_body(code), headers))

    assert reply == Throttled(retry_after_s, f"HTTP 409 {code}: It did not work.", by_load=False)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidHeaderValue"),
        (400, "UnsupportedHeader"),
        (400, "InvalidQueryParameterValue"),
        (400, "OutOfRangeQueryParameterValue"),
        (400, "MissingRequiredQueryParameter"),
        (400, "UnsupportedQueryParameter"),
        (400, "UnsupportedRequestVersion"),
        (400, "InvalidUri"),
        (400, "RequestUrlFailedToParse"),
        (400, "InvalidHttpVerb"),
        (400, "HostInformationNotPresent"),
        (405, "UnsupportedHttpVerb"),
        (411, "MissingContentLengthHeader"),
        (501, "NotImplemented"),
        (505, "UnsupportedHttpVersion"),
    ],
)
def test_form_of_request_ends_the_run(status: int, code: str) -> None:
    """
    What is wrong with how we ask is wrong with each request alike.
    """
    assert refusal_of(make_answer(status, error_body(code))).refusal is Refusal.REQUEST


@pytest.mark.parametrize(
    "code",
    [
        "InvalidRequestBody",
        "InvalidPropertyValue",
        "MissingRequiredProperty",
        "UnsupportedProperty",
        "OutOfRangeInput",
        "InvalidInput",
        "SomethingNew",
    ],
)
def test_other_400_is_refused(code: str) -> None:
    """
    A 400 about the body, or with a code that we do not know, is about the tasks in it.
    """
    reply = reply_to(make_answer(400, error_body(code, PropertyName="id")))

    assert isinstance(reply, Refused)
    assert reply.code == code
    assert reply.values[0].value == "id"


@pytest.mark.parametrize(
    "status", [100, 201, 202, 204, 206, 301, 302, 307, 408, 409, 412, 418, 500, 502, 504, 599]
)
@pytest.mark.parametrize("body", [HTML, b"", error_body("OperationTimedOut")])
def test_anything_else_is_lost(status: int, body: bytes) -> None:
    """
    Of what is not in the table we know nothing, so it may have added tasks; it may still tell
    us how long to wait.
    """
    reply = reply_to(make_answer(status, body, {"Retry-After": "3"}))

    assert isinstance(reply, Lost)
    assert reply.sent
    assert reply.retry_after_s == 3.0


def test_redirect_says_where_to_but_no_more() -> None:
    """
    A redirect is often a sign-in page in between: its address helps, its query may be secret.
    """
    reply = reply_to(make_answer(302, b"", {"Location": "https://login.example/page?sig=abc"}))

    assert isinstance(reply, Lost)
    assert reply.reason == "HTTP 302, a redirect to https://login.example/page"


# --- Retry-After --------------------------------------------------------------------------------

DATE = formatdate(NOW_S, usegmt=True)


@pytest.mark.parametrize(
    ("text", "retry_after_s"),
    [
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("9" * 400, None),
        ("٣", None),
        ("30, 60", None),
        ("Wed, 99 Foo 2025 00:00:00 GMT", None),
        (formatdate(NOW_S + 90, usegmt=True), 90.0),
        (formatdate(NOW_S - 90, usegmt=True), 0.0),
    ],
)
def test_retry_after(text: str, retry_after_s: float | None) -> None:
    """
    Seconds or an HTTP date; what is neither says nothing; the past is now.
    """
    assert make_answer(429, b"", {"Retry-After": text}).retry_after_s == retry_after_s


def test_retry_after_date_counts_from_the_answers_own_date() -> None:
    """
    A date is the service's, so it is compared with the service's clock, not with ours.
    """
    headers = {
        "Date": formatdate(NOW_S + 3600, usegmt=True),
        "Retry-After": formatdate(NOW_S + 3610, usegmt=True),
    }

    assert make_answer(503, b"", headers).retry_after_s == 10.0


# --- Secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 409, 429, 500])
@pytest.mark.parametrize(
    "secret_text",
    [
        f"Authorization: SharedKey myaccount:{SIGNATURE} is wrong",
        f"The MAC signature found in the HTTP request '{SIGNATURE}' is not the same",
        "Authorization: Bearer eyJ0eXAiOiJKV1QiLCJhbGciOi.J9.x-y_z is wrong",
        "no such file https://x.blob.core.windows.net/c/f?sv=2022&sig=abc%2Fdef%3D&se=1",
    ],
)
def test_no_secret_is_repeated(status: int, secret_text: str) -> None:
    """
    The service quotes the headers and addresses that it was sent; we do not pass that on.
    """
    body = error_body("SomeCode", secret_text, AuthenticationErrorDetail=secret_text)
    try:
        text = repr(reply_to(make_answer(status, body)))
    except ServiceRefused as refused:
        text = str(refused)

    assert "***" in text
    for secret in (SIGNATURE, "eyJ0eXAi", "abc%2Fdef%3D"):
        assert secret not in text


def test_string_to_sign_is_left_out() -> None:
    """
    What the service says of a wrong signature is kept; the page of text after it is not.
    """
    detail = (
        f"The MAC signature found in the HTTP request '{SIGNATURE}' is not the same as any "
        "computed signature. Server used following string to sign: 'POST\n\n\n105\n'."
    )
    refused = refusal_of(
        make_answer(403, error_body("AuthenticationFailed", AuthenticationErrorDetail=detail))
    )

    assert "is not the same as any computed signature.)" in str(refused)
    assert "string to sign" not in str(refused)


def test_reason_is_one_short_line_that_any_log_takes() -> None:
    """
    A reason has no line breaks, no bytes that are no text, and no novel in it.
    """
    headers = {"Content-Type": "text/\udcff" + "x" * 10_000}
    reply = reply_to(make_answer(502, b"", headers))

    assert isinstance(reply, Lost)
    assert reply.reason.encode().isascii()
    assert len(reply.reason) < 3000


def test_request_id_is_one_that_any_log_takes() -> None:
    """
    A request-id that is no text does not make a report unwritable.
    """
    answer = make_answer(200, results_body("t0"), {"request-id": "r\udcff1"})

    assert answer.request_id == "r?1"


# --- The job ------------------------------------------------------------------------------------


def test_job_is_read() -> None:
    """
    A 200 to a GET of the job is the job.
    """
    answer = make_answer(200, b'{"id":"job-1","state":"active","priority":0}')

    assert job_in(answer) == Job("job-1", "active")


@pytest.mark.parametrize("body", [b"", HTML, b"{}", b'{"id":"job-1"', b"[]"])
def test_200_without_a_job_is_an_answer_of_no_use(body: bytes) -> None:
    """
    A sign-in page is often a 200: it is no job.
    """
    job = job_in(make_answer(200, body))

    assert isinstance(job, Unavailable)
    assert job.answered


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, HTML),
        (429, error_body("TooManyRequests")),
        (503, error_body("ServerBusy")),
        (400, error_body("InvalidInput")),
        (413, b""),
        (302, b""),
        (409, error_body("OperationInvalidForCurrentState")),
    ],
)
def test_other_answers_are_of_no_use(status: int, body: bytes) -> None:
    """
    Whatever else there is for an answer is one to ask again after, as late as it says.
    """
    job = job_in(make_answer(status, body, {"Retry-After": "9"}))

    assert isinstance(job, Unavailable)
    assert job.answered
    assert job.retry_after_s == 9.0
    assert job.reason.startswith(f"HTTP {status}")


def test_job_refusals_are_the_same() -> None:
    """
    A GET of the job is refused as a collection is.
    """
    with pytest.raises(ServiceRefused) as raised:
        job_in(make_answer(404, error_body("JobNotFound")))

    assert raised.value.refusal is Refusal.NOT_FOUND
