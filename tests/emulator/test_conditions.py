"""Conditional headers: of jobs and tasks, for those who look and those who change."""

import time
from collections.abc import Iterator
from email.utils import formatdate

import orjson
import pytest

from bulksubmit.core.wire import etag, to_ticks
from bulksubmit.emulator import JobState, Service
from tests.emulator.calls import NOW_S, VERSION, add, answer_of, error_of, make_body, make_service

JOB = f"/jobs/j1?{VERSION}"
NOW_TAG = etag(to_ticks(NOW_S))
OTHER_TAG = etag(to_ticks(NOW_S - 1))
SECOND = formatdate(NOW_S, usegmt=True)  # Half a second before: dates have no fractions.
BEFORE = formatdate(NOW_S - 1, usegmt=True)
AFTER = formatdate(NOW_S + 1, usegmt=True)
BARE = SECOND.removesuffix(" GMT")

MATCH, NONE_MATCH = "if-match", "if-none-match"
SINCE, UNMODIFIED = "if-modified-since", "if-unmodified-since"

GOES_ON = [
    {},
    {MATCH: NOW_TAG},
    {MATCH: f'"{NOW_TAG}"'},
    {MATCH: f'W/"{NOW_TAG}"'},
    {MATCH: f'"{OTHER_TAG}" , "{NOW_TAG}"'},
    {MATCH: "*"},
    {NONE_MATCH: OTHER_TAG},
    {NONE_MATCH: f'"{OTHER_TAG}"'},
    {SINCE: BEFORE},
    {UNMODIFIED: SECOND},
    {UNMODIFIED: BARE},
    {UNMODIFIED: AFTER},
    # An ETag goes before a date that says the same less exactly.
    {MATCH: NOW_TAG, UNMODIFIED: BEFORE},
    {NONE_MATCH: OTHER_TAG, SINCE: AFTER},
    {NONE_MATCH: OTHER_TAG, UNMODIFIED: AFTER},
    {MATCH: NOW_TAG, SINCE: BEFORE},
]
UNCHANGED = [  # 304 for those who look.
    {NONE_MATCH: NOW_TAG},
    {NONE_MATCH: f'"{NOW_TAG}"'},
    {NONE_MATCH: f'W/"{NOW_TAG}"'},
    {NONE_MATCH: f"{OTHER_TAG},{NOW_TAG}"},
    {NONE_MATCH: "*"},
    {SINCE: SECOND},
    {SINCE: BARE},
    {SINCE: AFTER},
    {NONE_MATCH: NOW_TAG, SINCE: BEFORE},
    {NONE_MATCH: NOW_TAG, UNMODIFIED: AFTER},
    {MATCH: NOW_TAG, SINCE: AFTER},
]
NOT_MET = [
    {MATCH: OTHER_TAG},
    {MATCH: f'"{OTHER_TAG}"'},
    {MATCH: "anything"},
    {MATCH: OTHER_TAG, SINCE: BEFORE},
    {MATCH: OTHER_TAG, UNMODIFIED: AFTER},
    {UNMODIFIED: BEFORE},
    {NONE_MATCH: NOW_TAG, UNMODIFIED: BEFORE},
    {NONE_MATCH: OTHER_TAG, UNMODIFIED: BEFORE},
]

READS = [("GET", "", b""), ("GET", "/tasks/a", b"")]
WRITES = [
    ("PATCH", "", b'{"priority":1}'),
    ("PUT", "", b'{"poolInfo":{"poolId":"pool"}}'),
    ("DELETE", "", b""),
    ("POST", "/disable", b'{"disableTasks":"wait"}'),
    ("POST", "/enable", b""),
    ("POST", "/terminate", b""),
    ("PUT", "/tasks/a", b"{}"),
    ("DELETE", "/tasks/a", b""),
    ("POST", "/tasks/a/terminate", b""),
    ("POST", "/tasks/ended/reactivate", b""),
]


def service_for(path: str) -> Service:
    """A job, an active and a completed task, each last modified NOW_S."""
    service = make_service()
    add(service, make_body("a"))
    add(service, make_body("ended"))
    answer_of(service, "POST", f"/jobs/j1/tasks/ended/terminate?{VERSION}")
    if path == "/enable":
        service.job("j1").state = JobState.DISABLED
    return service


def everything(service: Service) -> list[bytes]:
    targets = (JOB, f"/jobs/j1/tasks?{VERSION}")
    return [answer_of(service, "GET", target).body for target in targets]


@pytest.mark.parametrize(("method", "path", "body"), READS, ids=["job", "task"])
def test_those_who_look(method: str, path: str, body: bytes) -> None:
    """
    200, 304 without anything but the headers that say so, or 412.
    """
    service = service_for(path)
    target = f"/jobs/j1{path}?{VERSION}"

    for headers in GOES_ON:
        answer = answer_of(service, method, target, body, headers=headers)
        assert answer.status == 200, headers
        assert orjson.loads(answer.body)["eTag"] == answer.headers["ETag"] == NOW_TAG
    for headers in UNCHANGED:
        answer = answer_of(service, method, target, body, headers=headers)
        assert (answer.status, answer.body) == (304, b""), headers
        assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == (NOW_TAG, SECOND)
        assert not {"Content-Type", "Content-Length", "Transfer-Encoding"} & answer.headers.keys()
    for headers in NOT_MET:
        answer = answer_of(service, method, target, body, headers=headers)
        assert error_of(answer) == (412, "ConditionNotMet", {}), headers


@pytest.mark.parametrize(
    ("method", "path", "body"), WRITES, ids=[f"{each[0]} {each[1]}" for each in WRITES]
)
def test_those_who_change(method: str, path: str, body: bytes) -> None:
    """
    It is done, or 412 and nothing is changed: also where one who looks would have had a 304.
    """
    target = f"/jobs/j1{path}?{VERSION}"

    for headers in GOES_ON:
        service = service_for(path)
        before = everything(service)
        answer = answer_of(service, method, target, body, headers=headers, now_s=NOW_S + 1)
        assert answer.status < 300, headers
        assert everything(service) != before, headers
    service = service_for(path)
    before = everything(service)
    for headers in [*UNCHANGED, *NOT_MET]:
        answer = answer_of(service, method, target, body, headers=headers, now_s=NOW_S + 1)
        assert error_of(answer) == (412, "ConditionNotMet", {}), headers
    assert everything(service) == before


@pytest.mark.parametrize("headers", [{MATCH: "*", NONE_MATCH: "x"}, {SINCE: "", UNMODIFIED: ""}])
def test_two_that_contradict(headers: dict[str, str]) -> None:
    """
    Two ETags or two dates are more than the service takes.
    """
    for method, path, body in [*READS, *WRITES]:
        answer = answer_of(
            service_for(path), method, f"/jobs/j1{path}?{VERSION}", body, headers=headers
        )
        assert error_of(answer) == (400, "MultipleConditionHeadersNotSupported", {})


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "2024-01-31T08:49:37Z",
        "Mon, 99 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999999",
    ],
)
@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since"])
def test_a_date_that_is_none(name: str, date: str) -> None:
    """
    The header is named, and what it said.
    """
    answer = answer_of(make_service(), "GET", JOB, headers={name.lower(): date})

    values = {"HeaderName": name, "HeaderValue": date}
    assert error_of(answer) == (400, "InvalidHeaderValue", values)


@pytest.fixture
def _far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "EAST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_east")
def test_a_date_without_a_zone_is_in_utc() -> None:
    """
    Wherever the machine is.
    """
    service = make_service()

    assert answer_of(service, "GET", JOB, headers={SINCE: BARE}).status == 304
    assert answer_of(service, "GET", JOB, headers={SINCE: BEFORE[:-4]}).status == 200


def test_what_does_not_exist_is_not_found() -> None:
    """
    A condition on what is not there is no matter: it is not there.
    """
    service = make_service()
    for path, code in (("/jobs/j2", "JobNotFound"), ("/jobs/j1/tasks/a", "TaskNotFound")):
        answer = answer_of(service, "GET", f"{path}?{VERSION}", headers={MATCH: OTHER_TAG})
        assert error_of(answer)[:2] == (404, code)


def test_adding_tasks_is_no_change_of_the_job() -> None:
    """
    REST reference: lastModified does not factor in that tasks are added. Changing its state does.
    """
    service = make_service()
    add(service, make_body("a"))
    headers = {NONE_MATCH: NOW_TAG}

    assert answer_of(service, "GET", JOB, headers=headers).status == 304
    answer_of(service, "POST", f"/jobs/j1/terminate?{VERSION}", now_s=NOW_S + 1)
    assert answer_of(service, "GET", JOB, headers=headers).status == 200
