"""Recorded exchanges of the real service, replayed against the emulator.

IDs, times and hosts differ; status, header names, and the text of the body with its order and
layout do not.
"""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from bulksubmit.core.wire import decode_error, decode_job, decode_results, encode_entity
from bulksubmit.emulator import Answer, JobState, Service
from tests.emulator.calls import NOW_S, VERSION, answer_of

RECORDINGS = Path(__file__).parents[1] / "recordings"
OVERSIZED = b" " * 1_048_577  # The bodies of the recorded 413s were not recorded.
FIXED_HEADERS = {
    "content-type",
    "dataserviceversion",
    "server",
    "strict-transport-security",
    "transfer-encoding",
}

ADDS = [
    "01-add-1-success",
    "02-add-3-reordered",
    "04-add-19-reordered-shared-etags",
    "11-add-413-single-task",
    "52-add-413-2024-07",
    "53-add-404-jobnotfound",
    "56-add-10-success-2024-07",
    "62-documented-add-taskexists",
]


@cache
def recording(name: str) -> dict[str, Any]:
    exchange: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return exchange


def replay(service: Service, name: str, body: bytes | None = None) -> Answer:
    """The answer to the recorded request; versions and hosts are today's and the test's."""
    request = recording(name)["request"]
    if body is None:
        recorded = request["body"] or b""
        body = recorded.encode() if isinstance(recorded, str) else recorded
        body = body if isinstance(body, bytes) else orjson.dumps(body)
    path = urlsplit(request["url"]).path
    headers = {"host": urlsplit(request["url"]).netloc}
    if "client-request-id" in recorded_headers(name):
        headers |= {"client-request-id": "mine", "return-client-request-id": "true"}
    return answer_of(service, request["method"], f"{path}?{VERSION}", body, headers=headers)


def recorded_headers(name: str) -> dict[str, str]:
    headers = recording(name)["response"]["headers"]
    folded = {header.lower(): value for header, value in headers.items()}
    if "was inserted by the recorder" in recording(name).get("notes", ""):
        del folded["retry-after"]
    return folded


def recorded_text(name: str) -> str:
    """The recorded body; one that the recorder had parsed is laid out as all others are."""
    body = recording(name)["response"]["body"]
    if not isinstance(body, dict):
        return body or ""
    origin, _, kind = body.pop("odata.metadata").partition("/$metadata#")
    text = encode_entity(origin, kind, body).decode()
    body["odata.metadata"] = f"{origin}/$metadata#{kind}"
    return text


def anonymous(text: str) -> str:
    text = re.sub(r"https?://[^/\"]+", "https://HOST", text)
    text = re.sub(r"0x[0-9A-F]{15}", "ETAG", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "GUID", text)


def assert_alike(answer: Answer, name: str) -> None:
    """Same status, same header names and fixed values, same lines of the body in any order."""
    expected = recorded_headers(name)
    actual = {header.lower(): value for header, value in answer.headers.items()}
    assert answer.status == recording(name)["response"]["status"]
    # The recordings of 2016 lack X-Content-Type-Options, later ones have it; the documentation's
    # example shows one header alone.
    if name != "62-documented-add-taskexists":
        assert actual.keys() | {"x-content-type-options"} == expected.keys() | {
            "x-content-type-options"
        }
    for header in FIXED_HEADERS & expected.keys():
        assert "".join(actual[header].split()) == "".join(expected[header].split())
    lines = anonymous(answer.body.decode()).split("\r\n")
    assert sorted(lines) == sorted(anonymous(recorded_text(name)).split("\r\n"))


def service_for(name: str) -> Service:
    service = Service(random=Random(5), scheme="https")
    words = urlsplit(recording(name)["request"]["url"]).path.split("/")
    if len(words) > 2 and "jobnotfound" not in name:
        depends = {"usesTaskDependencies": "dependsOn" in str(recording(name)["request"]["body"])}
        service.create_job(words[2], now_s=NOW_S, properties=depends)
    return service


@pytest.mark.parametrize("name", ADDS)
def test_add_collection(name: str) -> None:
    """Each recorded collection is answered alike, with a result for each task."""
    service = service_for(name)
    if "taskexists" in name:
        service.job("testjob").add("mytask3", b"{}", ticks=0)

    answer = replay(service, name, OVERSIZED if "413" in name else None)

    assert_alike(answer, name)


def test_a_bad_value() -> None:
    """A value that is none is an error of its task; the Reason is in our own words."""
    name = "03-add-invalid-property-value"
    answer = replay(service_for(name), name)

    in_its_words = re.sub(
        rb'"resourceFiles\[0\]\.httpUrl is .*, such as [^"]*"',
        b'"The specified HttpUrl is not a valid URI"',
        answer.body.replace(b'\\"', b"'"),
    )
    assert_alike(replace(answer, body=in_its_words), name)


def test_patch_job() -> None:
    """200 with an empty body; DataServiceId names the job, other than when it is created."""
    name = "32-job-patch-200"
    service = service_for(name)

    answer = replay(service, name)

    assert_alike(answer, name)
    recorded = urlsplit(recorded_headers(name)["dataserviceid"]).path
    assert urlsplit(answer.headers["DataServiceId"]).path == recorded
    assert service.job("job123").on_all_tasks_complete == "terminatejob"


@pytest.mark.parametrize("collection", [False, True])
def test_job_completed(collection: bool) -> None:  # noqa: FBT001 - a case
    """Recorded for a single task; a collection is refused in the same words."""
    name = "14-task-add-409-jobcompleted"
    service = service_for(name)
    service.job("python_test_job_with_auto_complete").state = JobState.COMPLETED
    target = f"/jobs/python_test_job_with_auto_complete/addtaskcollection?{VERSION}"

    if collection:
        assert_alike(answer_of(service, "POST", target, b'{"value":[]}'), name)
    else:
        assert_alike(replay(service, name), name)


def test_task_exists() -> None:
    """Recorded for a single task; in a collection the task's error has the same words."""
    name = "13-task-add-409-taskexists"
    service = service_for(name)
    assert replay(service, name).status == 201

    assert_alike(replay(service, name), name)
    body = b'{"value":[%s]}' % recording(name)["request"]["body"].encode()
    target = f"/jobs/python_test_job/addtaskcollection?{VERSION}"
    (result,) = decode_results(answer_of(service, "POST", target, body).body)
    recorded = decode_error(recorded_text(name).encode())
    assert recorded is not None
    assert result.error is not None
    assert result.error.code == recorded.code
    assert anonymous(result.error.text) == anonymous(recorded.text)


def test_delete_job() -> None:
    """202 without a body, and without the headers that a change has."""
    name = "31-job-delete-202"

    assert_alike(replay(service_for(name), name), name)


def test_task_counts() -> None:
    """Both counts, each state by each, once they have caught up: seconds after the add."""
    name = "47-taskcounts-caught-up"
    service = service_for(name)
    target = f"/jobs/xplatJobForTaskTests/tasks?{VERSION}"
    task = b'{"id":"aaa","commandLine":"x"}'

    # Recorded: one second after the add still nothing, thirteen seconds after it one.
    assert answer_of(service, "POST", target, task, now_s=NOW_S - 1).status == 201
    assert b'"active":1' not in replay(service, name).body
    service = service_for(name)
    assert answer_of(service, "POST", target, task, now_s=NOW_S - 13).status == 201
    assert_alike(replay(service, name), name)


def test_create_job() -> None:
    """201 with an empty body; DataServiceId names job-1 whatever the ID."""
    name = "55-job-add-201-2024-07"

    answer = replay(service_for(name), name)

    assert_alike(answer, name)
    assert answer.headers["DataServiceId"].endswith("/jobs/job-1")


def test_job_exists() -> None:
    """Creating a job again is a 409."""
    name = "18-job-add-409-jobexists"
    service = service_for(name)
    service.create_job("python_test_job")

    assert_alike(replay(service, name), name)


def test_get_job() -> None:
    """A job shows what was sent, in its place, and what was filled in."""
    name = "20-job-get-200"
    shown = json.loads(recorded_text(name))
    sent = {each: shown[each] for each in ("jobManagerTask", "poolInfo", "onAllTasksComplete")}
    service = Service(random=Random(5), scheme="https")
    service.create_job("cli-test-job-1", now_s=NOW_S, properties=sent)

    assert_alike(replay(service, name), name)


def test_get_task() -> None:
    """A task shows what was sent and what was filled in; maxTaskRetryCount came from its job."""
    name = "40-task-get-200"
    service = service_for(name)
    body = (
        b'{"id":"aaa","commandLine":"ping 127.0.0.1 -n 30","constraints":{"maxTaskRetryCount":5}}'
    )
    service.job("xplatJobForTaskTests").add("aaa", body, ticks=638_490_645_629_852_847)

    answer = replay(service, name)

    assert_alike(answer, name)
    assert answer.headers["ETag"] == recorded_headers(name)["etag"]
    assert answer.headers["Last-Modified"] == recorded_headers(name)["last-modified"]


def test_task_not_found() -> None:
    """A task that does not exist."""
    name = "41-task-get-404"

    assert_alike(replay(service_for(name), name), name)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.json")))
def test_the_client_decodes_each(name: str) -> None:
    """The client's codec reads every recorded body: results, job or error."""
    response = recording(name)["response"]
    body = recorded_text(name).encode()

    if "addtaskcollection" in recording(name)["request"]["url"] and response["status"] == 200:
        results = decode_results(body)
        assert len(results) == len(re.findall(rb'"taskId"', body))
        for result in results:
            assert result.status.lower() in {"success", "clienterror"}
            assert (result.error is None) == (result.status == "Success")
    elif response["status"] >= 400:
        error = decode_error(body)
        assert error is not None
        assert error.code is not None
        assert error.text
    else:
        assert decode_error(body) is None
    if name == "20-job-get-200":
        assert (decode_job(body).id, decode_job(body).state) == ("cli-test-job-1", "active")
