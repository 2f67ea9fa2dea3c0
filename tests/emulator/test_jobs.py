"""Jobs, single tasks, and requests that name neither."""

import json
from pathlib import Path

import orjson
import pytest

from tests.emulator.calls import ADD, VERSION, add, answer_of, error_of, make_body, make_service

POOL = {"poolId": "pool"}
RECORDINGS = Path(__file__).parents[1] / "recordings"


def test_a_job_is_created_and_shown() -> None:
    """POST /jobs makes a job that takes tasks; GET fills in what was not sent."""
    service = make_service()
    sent = {"id": "Job-2", "poolInfo": POOL, "usesTaskDependencies": True, "displayName": "two"}

    created = answer_of(service, "POST", f"/jobs?{VERSION}", orjson.dumps(sent))
    shown = answer_of(service, "GET", f"/jobs/job-2?{VERSION}")

    assert (created.status, created.body) == (201, b"")
    job = orjson.loads(shown.body)
    assert sent.items() <= job.items()
    assert job["onAllTasksComplete"] == "noaction"
    assert shown.headers["ETag"] == job["eTag"] == created.headers["ETag"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"id":"J1","poolInfo":{}}', 409, "JobExists"),
        (b'{"poolInfo":{}}', 400, "MissingRequiredProperty"),
        (b'{"id":"j2"}', 400, "MissingRequiredProperty"),
        (b'{"id":"a b","poolInfo":{}}', 400, "InvalidPropertyValue"),
        (b"[]", 400, "InvalidRequestBody"),
        (b"{", 400, "InvalidRequestBody"),
    ],
)
def test_a_bad_job_is_refused(body: bytes, status: int, code: str) -> None:
    """IDs are taken ignoring case; id and poolInfo are required."""
    answer = answer_of(make_service(), "POST", f"/jobs?{VERSION}", body)

    assert error_of(answer)[:2] == (status, code)


def test_a_job_without_tasks_is_listed() -> None:
    """Jobs are listed whether they have tasks or not."""
    service = make_service()
    service.create_job("j2")
    add(service, make_body("a"))

    listed = orjson.loads(answer_of(service, "GET", f"/jobs?{VERSION}").body)["value"]

    assert [job["id"] for job in listed] == ["j1", "j2"]


def test_a_job_that_could_not_be_shown_is_refused() -> None:
    """Nested so deeply that it could be read, but not written again, it never exists."""
    service = make_service()
    deep = b'{"id":"j2","poolInfo":{},"metadata":%s}' % (b"[" * 800 + b"]" * 800)

    answer = answer_of(service, "POST", f"/jobs?{VERSION}", deep)

    assert error_of(answer)[:2] == (400, "InvalidRequestBody")
    assert answer_of(service, "GET", f"/jobs/j2?{VERSION}").status == 404


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("POST", f"/jobs/j2/addtaskcollection?{VERSION}", 404, "JobNotFound"),
        ("GET", f"/jobs/j2?{VERSION}", 404, "JobNotFound"),
        ("GET", f"/jobs/j2/tasks?{VERSION}", 404, "JobNotFound"),
        ("GET", f"/jobs/j1/tasks/a?{VERSION}", 404, "TaskNotFound"),
        ("GET", f"/pools?{VERSION}", 404, "ResourceNotFound"),
        ("GET", f"/?{VERSION}", 404, "ResourceNotFound"),
        ("GET", f"/jobs/j1/addtaskcollection?{VERSION}", 405, "UnsupportedHttpVerb"),
        ("PATCH", f"/jobs/j1/tasks/a?{VERSION}", 405, "UnsupportedHttpVerb"),
        ("GET", f"/jobs/j1/files?{VERSION}", 404, "ResourceNotFound"),
        ("POST", "/jobs/j1/addtaskcollection", 400, "MissingRequiredQueryParameter"),
        ("GET", "/jobs/j1?api-version=2016-07-01.3.1", 400, "UnsupportedRequestVersion"),
        ("GET", f"/jobs/j1?{VERSION}&timeout=soon", 400, "InvalidQueryParameterValue"),
        ("GET", f"/jobs/j1?{VERSION}&timeout=0", 400, "InvalidQueryParameterValue"),
    ],
)
def test_refusals(method: str, target: str, status: int, code: str) -> None:
    """What is not there, not known or not said has its own code."""
    answer = answer_of(make_service(), method, target, make_body("a"))

    assert error_of(answer)[:2] == (status, code)


@pytest.mark.parametrize("version", ["2024-07-01.20.0", "2025-06-01"])
def test_two_versions_are_spoken(version: str) -> None:
    """Both answer alike; names in the query and words in the path are matched ignoring case."""
    service = make_service()
    target = f"/Jobs/J1/AddTaskCollection?API-Version={version}&timeOut=30"

    assert answer_of(service, "POST", target, make_body("a")).status == 200


def test_client_request_id_comes_back_if_asked_for() -> None:
    """It is echoed only with return-client-request-id: true, in answers good and bad."""
    service = make_service()
    named = {"client-request-id": "mine"}
    asking = named | {"return-client-request-id": "True"}

    for target in (ADD, f"/jobs/j2?{VERSION}"):
        with_it = answer_of(service, "POST", target, make_body("a"), headers=asking)
        without = answer_of(service, "POST", target, make_body("a"), headers=named)

        assert with_it.headers["client-request-id"] == "mine"
        assert "client-request-id" not in without.headers


def test_a_task_shows_what_was_sent() -> None:
    """GET task gives back each member that was sent, and fills in the rest."""
    service = make_service()
    sent = {
        "id": "a",
        "commandLine": "x",
        "displayName": "A",
        "environmentSettings": [{"name": "N", "value": "v"}],
        "constraints": {"maxTaskRetryCount": 3},
        "dependsOn": None,
    }
    add(service, orjson.dumps({"value": [sent]}))

    task = orjson.loads(answer_of(service, "GET", f"/jobs/j1/tasks/a?{VERSION}").body)

    assert task["environmentSettings"] == sent["environmentSettings"]
    assert task["displayName"] == "A"
    assert task["constraints"] == {
        "maxWallClockTime": "P10675199DT2H48M5.4775807S",
        "retentionTime": "P7D",
        "maxTaskRetryCount": 3,
    }
    assert task["userIdentity"]["autoUser"] == {"scope": "pool", "elevationLevel": "nonadmin"}
    assert "dependsOn" not in task


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/jobs?$top=3", "UnsupportedQueryParameter"),
        ("/jobs/j1/tasks?$orderby=id", "UnsupportedQueryParameter"),
        ("/jobs/j1?$filter=id%20eq%20'a'", "UnsupportedQueryParameter"),
        ("/jobs/j1?$select=id,nope", "InvalidQueryParameterValue"),
        ("/jobs/j1/tasks?$select=", "InvalidQueryParameterValue"),
        ("/jobs/j1/tasks?$filter=state%20eq%20'deleted'", "InvalidQueryParameterValue"),
    ],
)
def test_what_cannot_be_asked(target: str, code: str) -> None:
    """Options and names that the operation does not have; a state that there is none of."""
    service = make_service()
    add(service, make_body("a"))

    status, found, values = error_of(answer_of(service, "GET", f"{target}&{VERSION}"))

    assert (status, found) == (400, code)
    assert values["QueryParameterName"].startswith("$")


def test_a_body_is_json_or_says_nothing() -> None:
    """Another Content-Type is refused; without one the body is read all the same."""
    service = make_service()
    odd = {"content-type": "text/plain"}

    answer = answer_of(service, "POST", ADD, make_body("a"), headers=odd)

    assert error_of(answer)[:2] == (400, "InvalidHeaderValue")
    assert answer_of(service, "POST", ADD, make_body("a")).status == 200


@pytest.mark.parametrize("body", [b"", b"{nope", b'{"value":[{nope}]}'])
def test_reasons_are_of_requests(body: bytes) -> None:
    """What is wrong with a body is said of a body, and not of a line of a file."""
    for target in (ADD, f"/jobs?{VERSION}", f"/jobs/j1/tasks?{VERSION}"):
        status, code, values = error_of(answer_of(make_service(), "POST", target, body))

        assert (status, code) == (400, "InvalidRequestBody")
        assert "line is read" not in values["Reason"]


def test_annotations_are_no_properties() -> None:
    """azure-batch 15 sends odata.metadata back with a job that it has got and changed."""
    service = make_service()
    sent = {"odata.metadata": "https://x/$metadata#jobs/@Element", "poolInfo": POOL, "priority": 7}

    answer = answer_of(service, "PUT", f"/jobs/j1?{VERSION}", orjson.dumps(sent))

    assert answer.status == 200, answer
    assert service.job("j1").properties["priority"] == 7


def test_a_job_manager_is_filled_in() -> None:
    """As recorded of one with an ID, a command and a number of retries."""
    recording = json.loads((RECORDINGS / "20-job-get-200.json").read_text())
    expected = json.loads(recording["response"]["body"])["jobManagerTask"]
    sent = {name: expected[name] for name in ("id", "commandLine", "environmentSettings")}
    sent["constraints"] = {"maxTaskRetryCount": expected["constraints"]["maxTaskRetryCount"]}
    service = make_service()
    service.create_job("j2", properties={"jobManagerTask": sent})

    shown = orjson.loads(answer_of(service, "GET", f"/jobs/j2?{VERSION}").body)["jobManagerTask"]

    assert json.dumps(shown) == json.dumps(expected)
    service.create_job("j3", properties={"jobManagerTask": {**sent, "killJobOnCompletion": False}})
    shown = orjson.loads(answer_of(service, "GET", f"/jobs/j3?{VERSION}").body)["jobManagerTask"]
    assert shown["killJobOnCompletion"] is False
