"""Tasks as they are shown: what was sent, in the service's own words."""

from typing import Any

import orjson
import pytest

from bulksubmit.core.taskcompare import differences
from bulksubmit.core.taskterms import duration_ticks
from bulksubmit.emulator import Switches
from tests.emulator.calls import VERSION, add, answer_of, make_service

SAS = "https://account.blob.core.windows.net/c?sv=2024&sig=secret%3D"
PLAIN = "https://account.blob.core.windows.net/c/file?version=7"

TASK: dict[str, Any] = {
    "id": "A",
    "commandLine": "x",
    "displayName": None,
    "requiredSlots": None,
    "userIdentity": {"autoUser": {"scope": "TASK", "elevationLevel": "nonAdmin"}},
    "constraints": {"maxWallClockTime": "PT60M", "retentionTime": None},
    "resourceFiles": [{"storageContainerUrl": SAS}, {"httpUrl": PLAIN, "filePath": "f"}],
    "outputFiles": [
        {
            "filePattern": "*",
            "destination": {"container": {"containerUrl": SAS}},
            "uploadOptions": {"uploadCondition": condition},
        }
        for condition in ("tasksuccess", "TaskFailure", "TASKCOMPLETION")
    ],
    "exitConditions": {
        "exitCodes": [{"code": 1, "exitOptions": {"dependencyAction": "Block"}}],
        "default": {"jobAction": "Disable"},
    },
    "containerSettings": {
        "imageName": "image",
        "workingDirectory": "CONTAINERIMAGEDEFAULT",
        "registry": {"username": "me", "password": "secret"},
        "containerHostBatchBindMounts": [{"source": "vfsmounts"}, {"source": "Task"}],
    },
    "authenticationTokenSettings": {"access": ["JOB"]},
}


def shown(task: dict[str, Any], **options: Any) -> dict[str, Any]:
    """A task that was added, as the list shows it."""
    service = make_service(**options)
    service.job("j1").properties = {
        "usesTaskDependencies": True,
        "onTaskFailure": "performexitoptionsjobaction",
    }
    (result,) = add(service, orjson.dumps({"value": [task]}))
    assert result["status"] == "Success", result
    one = orjson.loads(answer_of(service, "GET", f"/jobs/j1/tasks/{task['id']}?{VERSION}").body)
    (listed,) = orjson.loads(answer_of(service, "GET", f"/jobs/j1/tasks?{VERSION}").body)["value"]
    del one["odata.metadata"]
    assert one == listed
    found: dict[str, Any] = listed
    return found


def test_words_come_in_the_service_s_own_case() -> None:
    """Whatever their case when they were sent; uploadCondition is other than documented."""
    task = shown(TASK)

    assert task["userIdentity"] == {"autoUser": {"scope": "task", "elevationLevel": "nonadmin"}}
    assert [each["uploadOptions"]["uploadCondition"] for each in task["outputFiles"]] == [
        "TaskSuccess",
        "TaskFailure",
        "TaskCompletion",
    ]
    assert task["exitConditions"] == {
        "exitCodes": [{"code": 1, "exitOptions": {"dependencyAction": "block"}}],
        "default": {"jobAction": "disable"},
    }
    settings = task["containerSettings"]
    assert settings["workingDirectory"] == "containerImageDefault"
    mounts = [{"source": "VfsMounts"}, {"source": "Task"}]
    assert settings["containerHostBatchBindMounts"] == mounts
    assert task["authenticationTokenSettings"] == {"access": ["job"]}


def test_all_else_comes_as_it_was_sent() -> None:
    """Nulls and what is missing are filled in, and secrets are shown."""
    task = shown(TASK)

    assert task["constraints"] == {
        "maxWallClockTime": "PT1H",
        "retentionTime": "P7D",
        "maxTaskRetryCount": 0,
    }
    assert task["requiredSlots"] == 1
    assert task["resourceFiles"] == TASK["resourceFiles"]
    assert task["containerSettings"]["registry"] == TASK["containerSettings"]["registry"]
    assert "displayName" not in task


def test_secrets_are_hidden_on_demand() -> None:
    """Then the password is left out and signed URLs lose their query; other URLs keep it."""
    task = shown(TASK, switches=Switches(secrets="hidden"))

    bare = SAS.partition("?")[0]
    assert task["resourceFiles"] == [
        {"storageContainerUrl": bare},
        {"httpUrl": PLAIN, "filePath": "f"},
    ]
    assert task["outputFiles"][0]["destination"] == {"container": {"containerUrl": bare}}
    assert task["containerSettings"]["registry"] == {"username": "me"}
    assert "secret" not in str(task)


@pytest.mark.parametrize("secrets", ["shown", "hidden"])
def test_a_task_is_found_to_be_the_one_that_was_sent(secrets: Any) -> None:
    """What is shown differs in no field from what was sent, and from another task it does."""
    found = orjson.dumps(shown(TASK, switches=Switches(secrets=secrets)))

    assert differences(orjson.dumps(TASK), found) == ()
    other = TASK | {"constraints": {"maxWallClockTime": "PT61M"}}
    assert differences(orjson.dumps(other), found) == ("constraints.maxWallClockTime",)


def test_unknown_properties_are_shown_untouched() -> None:
    """Also if they bear the name of one that is respelled elsewhere."""
    task = {"id": "a", "commandLine": "x", "scope": "TASK", "new": {"uploadCondition": "NONE"}}

    found = shown(task, switches=Switches(unknown_properties="accept"))

    assert task.items() <= found.items()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("P3Y6M4DT12H30M5S", "P1279DT12H30M5S"),
        ("P10675199DT2H48M5.4775807S", "P10675199DT2H48M5.4775807S"),
        ("PT36H", "P1DT12H"),
        ("PT90.5S", "PT1M30.5S"),
        ("P7D", "P7D"),
        ("PT0S", "PT0S"),
    ],
)
def test_durations_are_shown_in_days_and_less(sent: str, expected: str) -> None:
    """The first is recorded, as is the largest; whatever the form, it is the same duration."""
    task = {"id": "a", "commandLine": "x", "constraints": {"maxWallClockTime": sent}}

    assert shown(task)["constraints"]["maxWallClockTime"] == expected
    service = make_service()
    service.create_job("j2", properties={"constraints": {"maxWallClockTime": sent}})
    job = orjson.loads(answer_of(service, "GET", f"/jobs/j2?{VERSION}").body)
    assert job["constraints"]["maxWallClockTime"] == expected
    assert duration_ticks(sent) == duration_ticks(expected)
