"""Add collection applies the rules of the service's task model, task by task."""

from typing import Any

import orjson
import pytest

from bulksubmit.emulator import Switches
from tests.emulator.calls import ADD, add, answer_of, error_of, make_body, make_service, statuses

URL = "https://account.blob.core.windows.net/c/f"
DEPENDS = {"usesTaskDependencies": True}
ACTS = {"onTaskFailure": "performExitOptionsJobAction"}


def failure(
    task: dict[str, Any], job: dict[str, Any] | None = None, **options: Any
) -> tuple[str, dict[str, str]] | None:
    """What is said of a task, in a job of these properties; None if it is added."""
    service = make_service(**options)
    service.create_job("j2", properties=job)
    body = orjson.dumps({"value": [{"id": "t", "commandLine": "x"} | task]})
    answer = answer_of(service, "POST", ADD.replace("j1", "j2"), body)
    (result,) = orjson.loads(answer.body)["value"]
    assert (result["status"] == "Success") == (len(service.job("j2")) == 1)
    if result["status"] == "Success":
        return None
    assert result["status"] == "ClientError"
    values = {each["key"]: each["value"] for each in result["error"].get("values", [])}
    return result["error"]["code"], values


@pytest.mark.parametrize(
    ("task", "code", "name", "value"),
    [
        ({"displayName": "x" * 1025}, "InvalidPropertyValue", "displayName", "x" * 56 + "..."),
        ({"requiredSlots": 0}, "InvalidPropertyValue", "requiredSlots", "0"),
        ({"requiredSlots": "two"}, "InvalidPropertyValue", "requiredSlots", "two"),
        ({"resourceFiles": [{"httpUrl": URL}]}, "MissingRequiredProperty", "filePath", None),
        (
            {"resourceFiles": [{"filePath": "a"}]},
            "InvalidPropertyValue",
            "resourceFiles",
            None,
        ),
        (
            {"resourceFiles": [{"httpUrl": URL, "filePath": "../a"}]},
            "InvalidPropertyValue",
            "filePath",
            "../a",
        ),
        (
            {"constraints": {"maxWallClockTime": "1 h"}},
            "InvalidPropertyValue",
            "maxWallClockTime",
            "1 h",
        ),
        ({"environmentSettings": [{}]}, "MissingRequiredProperty", "name", None),
        (
            {"exitConditions": {"default": {"jobAction": "stop"}}},
            "InvalidPropertyValue",
            "jobAction",
            "stop",
        ),
        ({"commandline": "y"}, "UnsupportedProperty", "commandline", None),
        (
            {"constraints": {"maxRetries": 1}},
            "UnsupportedProperty",
            "maxRetries",
            None,
        ),
    ],
)
def test_a_rule_that_is_broken(
    task: dict[str, Any], code: str, name: str, value: str | None
) -> None:
    """The error has the property's own name without its path, the value and a reason."""
    found = failure(task, ACTS | DEPENDS)

    assert found is not None
    assert (found[0], found[1].get("PropertyName"), found[1].get("PropertyValue")) == (
        code,
        name,
        value,
    )
    assert ("Reason" in found[1]) == (code == "InvalidPropertyValue")


@pytest.mark.parametrize(
    ("task", "job", "code", "name"),
    [
        ({"dependsOn": {"taskIds": ["a"]}}, DEPENDS, "UnsupportedProperty", "dependsOn"),
        (
            {"exitConditions": {"default": {"dependencyAction": "satisfy"}}},
            DEPENDS,
            "InvalidPropertyValue",
            "dependencyAction",
        ),
        (
            {"exitConditions": {"default": {"jobAction": "none"}}},
            ACTS,
            "InvalidPropertyValue",
            "jobAction",
        ),
    ],
)
def test_what_the_job_must_allow(
    task: dict[str, Any], job: dict[str, Any], code: str, name: str
) -> None:
    """What a job does not allow by itself it allows if it was created so."""
    refused = failure(task)

    assert refused is not None
    assert (refused[0], refused[1]["PropertyName"]) == (code, name)
    assert failure(task, job) is None


def test_a_list_of_dependencies_may_be_too_long() -> None:
    """64,000 characters of IDs are taken, one more has a code of its own."""
    ids = ["a" * 64] * 1000

    assert failure({"dependsOn": {"taskIds": ids}}, DEPENDS) is None
    assert failure({"dependsOn": {"taskIds": [*ids, "a"]}}, DEPENDS) == (
        "TaskDependencyListTooLong",
        {},
    )


def test_a_warning_is_no_error() -> None:
    """What the published examples do is taken, though the reference says otherwise."""
    settings = {"coordinationCommandLine": "x", "numberOfInstances": 3}

    assert failure({"multiInstanceSettings": settings, "requiredSlots": 2}) is None


def test_unknown_properties_may_be_accepted() -> None:
    """With that switch they are kept, and all else is checked as ever."""
    task = {"newProperty": {"scope": "JOB"}}

    assert failure(task, switches=Switches(unknown_properties="accept")) is None
    found = failure(task | {"requiredSlots": 0}, switches=Switches(unknown_properties="accept"))
    assert found is not None
    assert found[0] == "InvalidPropertyValue"


def test_a_bad_task_leaves_its_neighbours_alone() -> None:
    """Two of a hundred tasks are wrong; the others are added, and so are these once mended."""
    service = make_service()
    tasks: list[dict[str, Any]] = orjson.loads(make_body(*[f"t{place}" for place in range(100)]))[
        "value"
    ]
    tasks[7]["priority"] = 1
    tasks[40]["constraints"] = {"maxTaskRetryCount": -2}

    found = statuses(add(service, orjson.dumps({"value": tasks})))

    assert {task_id for task_id, status in found.items() if status != "Success"} == {"t7", "t40"}
    assert (found["t7"], found["t40"]) == ("UnsupportedProperty", "InvalidPropertyValue")
    assert statuses(add(service, make_body("t7", "t40"))) == {"t7": "Success", "t40": "Success"}


@pytest.mark.parametrize("value", [b"nul", b"[" * 70 + b"]" * 70, b'"\\q"'])
def test_what_is_no_json_is_refused_whole(value: bytes) -> None:
    """Inside of a task as well: its neighbour is not added."""
    service = make_service()
    good = b'{"id":"good","commandLine":"x"}'
    body = b'{"value":[%s,{"id":"a","commandLine":"x","displayName":%s}]}' % (good, value)

    answer = answer_of(service, "POST", ADD, body)

    assert error_of(answer)[:2] == (400, "InvalidRequestBody")
    assert len(service.job("j1")) == 0
