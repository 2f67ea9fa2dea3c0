"""The published examples of the reference: each request is taken, each answer has its members."""

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from bulksubmit.emulator import Service
from tests.emulator.calls import NOW_S, VERSION, answer_of, error_of

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))
JOB, TASK = "/jobs/jobId", "/jobs/jobId/tasks/taskId"

# By the name's first part. Which headers say what was changed is in the reference as well.
REQUESTS = {
    "JobAdd": ("POST", "/jobs"),
    "JobDelete": ("DELETE", JOB),
    "JobDisable": ("POST", f"{JOB}/disable"),
    "JobEnable": ("POST", f"{JOB}/enable"),
    "JobGet": ("GET", JOB),
    "JobGetTaskCounts": ("GET", f"{JOB}/taskcounts"),
    "JobList": ("GET", "/jobs"),
    "JobPatch": ("PATCH", JOB),
    "JobTerminate": ("POST", f"{JOB}/terminate"),
    "TaskAdd": ("POST", f"{JOB}/tasks"),
    "TaskAddCollection": ("POST", f"{JOB}/addtaskcollection"),
    "TaskDelete": ("DELETE", TASK),
    "TaskGet": ("GET", TASK),
    "TaskList": ("GET", f"{JOB}/tasks"),
    "TaskReactivate": ("POST", f"{TASK}/reactivate"),
    "TaskTerminate": ("POST", f"{TASK}/terminate"),
    "TaskUpdate": ("PUT", TASK),
}
SILENT = {"JobDelete", "JobGetTaskCounts", "JobList", "TaskAddCollection", "TaskDelete", "TaskList"}
LOOKED_AT = {"JobGet", "TaskGet"}  # They have no DataServiceId, as recorded.
CHANGED = {"ETag", "Last-Modified", "DataServiceId"}
# What the example's job or task went through, beside being created.
BEFORE = {
    "JobEnable": ("/disable",),
    "JobGet": ("/terminate",),
    "JobList": ("/disable", "/enable"),
    "JobPatch": ("/disable",),  # It changes the pool: of a disabled job only.
    "TaskReactivate": ("/tasks/taskId/terminate",),
}


@cache
def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return found


def service_for(name: str) -> Service:
    """Where an example's request makes sense: the job allows what the task asks for."""
    service = Service(random=Random(1))
    kind = name.partition("_")[0]
    if kind != "JobAdd":
        allows = {"onTaskFailure": "performexitoptionsjobaction"}
        service.create_job("jobId", now_s=NOW_S, properties=allows)
    if kind not in {"JobAdd", "TaskAdd", "TaskAddCollection"}:
        instances = {"numberOfInstances": 3, "coordinationCommandLine": "x"}
        task = {"id": "taskId", "commandLine": "x", "multiInstanceSettings": instances}
        service.job("jobId").add("taskId", orjson.dumps(task), ticks=0)
    for step, path in enumerate(BEFORE.get(kind, ())):
        body = b'{"disableTasks":"wait"}' if path == "/disable" else b""
        done = answer_of(service, "POST", f"{JOB}{path}?{VERSION}", body, now_s=NOW_S + step)
        assert done.status in {202, 204}
    return service


def missing(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where the answer lacks what the example has, or has it in another form."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        lacking = [f"{path}.{name}" for name in expected if name not in actual]
        shared = expected.keys() & actual.keys()
        inner = [missing(expected[name], actual[name], f"{path}.{name}") for name in shared]
        return lacking + [each for some in inner for each in some]
    if isinstance(expected, list) and isinstance(actual, list) and actual:
        return [each for one in actual for each in missing(expected[0], one, f"{path}[]")]
    return [] if type(expected) is type(actual) else [path]


@pytest.mark.parametrize("name", NAMES)
def test_example(name: str) -> None:
    """
    The status is the example's, the headers are the reference's, and of the body each member is
    there that the example has, in the same form.
    """
    parameters = example(name)["parameters"]
    kind = name.partition("_")[0]
    method, path = REQUESTS[kind]
    bodies = [orjson.dumps(each) for each in parameters.values() if isinstance(each, dict)]
    target = f"{path}?api-version={parameters['api-version']}"
    headers = {"client-request-id": parameters["client-request-id"]}
    headers |= {"ocp-date": parameters["ocp-date"], "return-client-request-id": "true"}

    body = bodies[0] if bodies else b""
    service = service_for(name)
    answer = answer_of(service, method, target, body, headers=headers, now_s=NOW_S + 9)

    ((status, response),) = example(name)["responses"].items()
    assert answer.status == int(status), answer
    assert answer.headers["client-request-id"] == parameters["client-request-id"]
    assert "request-id" in answer.headers
    if answer.status >= 400:
        assert error_of(answer)[1] == "InvalidPropertyValue"
        return
    expected = set() if kind in SILENT else CHANGED
    if kind in LOOKED_AT:
        expected = CHANGED - {"DataServiceId"}
    assert CHANGED & answer.headers.keys() == expected
    if "body" not in response:
        assert answer.body == b""
    else:
        assert missing(response["body"], orjson.loads(answer.body)) == []


def test_each_operation_has_an_example() -> None:
    """
    None is left out.
    """
    assert {name.partition("_")[0] for name in NAMES} == REQUESTS.keys()
