"""Whether a task found under our ID is ours, by what we sent of it."""

import json
from typing import Any

import pytest

from bulksubmit.core.model import Kind
from bulksubmit.core.taskcompare import differences
from tests.core.whole_task import (
    WHOLE,
    Mutation,
    Spot,
    a_task,
    encode,
    mutations,
    replaced,
    respelt,
    spots,
)

URL = "https://account.blob.core.windows.net/c/f"

# What GET showed of a task that was sent as id and commandLine only (recorded in 2025).
SHOWN = {
    "url": "https://account.westus2.batch.azure.com/jobs/job/tasks/a",
    "eTag": "0x8DDC23F7EC75F00",
    "creationTime": "2025-07-13T19:00:12.2201856Z",
    "lastModified": "2025-07-13T19:00:12.2201856Z",
    "state": "active",
    "stateTransitionTime": "2025-07-13T19:00:12.2201856Z",
    "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
    "constraints": {
        "maxWallClockTime": "P10675199DT2H48M5.4775807S",
        "retentionTime": "P7D",
        "maxTaskRetryCount": 0,
    },
    "requiredSlots": 1,
    "executionInfo": {"retryCount": 0, "requeueCount": 0},
}


def compare(sent: dict[str, Any], found: dict[str, Any]) -> tuple[str, ...]:
    """What differs between fields that we sent and fields that were found, beside the usual."""
    return differences(encode(a_task(**sent)), encode({**SHOWN, **a_task(**found)}))


def file(**fields: Any) -> dict[str, Any]:
    return {"resourceFiles": [{"httpUrl": URL, "filePath": "f", **fields}]}


def lasting(value: object) -> dict[str, Any]:
    return {"constraints": {"retentionTime": value}}


def container(**fields: Any) -> dict[str, Any]:
    return {"containerSettings": {"imageName": "ubuntu", **fields}}


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({}, {}),
        ({"id": "Task-A"}, {"id": "tASK-a"}),
        ({"displayName": None, "dependsOn": None}, {}),
        ({"displayName": None}, {"displayName": "theirs"}),
        ({"requiredSlots": 1}, {}),
        ({"constraints": {}}, {}),
        ({"constraints": {"maxTaskRetryCount": None}}, {}),
        (lasting("PT168H"), {}),
        (lasting("P1D"), lasting("PT24H00M")),
        ({"userIdentity": {"autoUser": {"scope": "Pool"}}}, {}),
        ({"resourceFiles": []}, {}),
        ({"resourceFiles": []}, {"resourceFiles": []}),
        ({"exitConditions": {"default": {}}}, {}),
        ({"dependsOn": {"taskIds": []}}, {}),
        ({"dependsOn": {"taskIds": ["A", "b"]}}, {"dependsOn": {"taskIds": ["a", "B"]}}),
        (file(httpUrl=f"{URL}?sv=1&sig=x"), file(httpUrl=f"{URL}?sv=2")),
        (file(httpUrl=f"{URL}?sv=1&sig=x"), file(httpUrl=URL)),
        (container(registry={"password": "p"}), container(registry={})),
        (container(registry={"password": "p"}), container(registry={"password": "***"})),
        (container(registry={"password": "p"}), container()),
        (container(containerHostBatchBindMounts=None), container()),
        (
            container(containerHostBatchBindMounts=[]),
            container(containerHostBatchBindMounts=[]),
        ),
        ({"brandNew": 1}, {}),
        ({"brandNew": {"a": [1]}}, {"brandNew": {"a": [1]}}),
    ],
)
def test_ours(sent: dict[str, Any], found: dict[str, Any]) -> None:
    """
    What the service adds, spells otherwise, or keeps to itself makes no difference.
    """
    assert compare(sent, found) == ()


@pytest.mark.parametrize(
    ("sent", "found", "paths"),
    [
        ({"commandLine": "c"}, {"commandLine": "C"}, ["commandLine"]),
        ({"id": "a"}, {"id": "b"}, ["id"]),
        ({"displayName": "a"}, {}, ["displayName"]),
        ({"displayName": ""}, {}, ["displayName"]),
        ({"requiredSlots": 2}, {}, ["requiredSlots"]),
        ({"requiredSlots": 1}, {"requiredSlots": True}, ["requiredSlots"]),
        ({"requiredSlots": 1}, {"requiredSlots": "1"}, ["requiredSlots"]),
        (lasting("P1D"), {}, ["constraints.retentionTime"]),
        (lasting("P1D"), lasting("a day"), ["constraints.retentionTime"]),
        (lasting("P1D"), {"constraints": None}, ["constraints"]),
        (
            {"userIdentity": {"username": "u"}},
            {"userIdentity": {"autoUser": {}}},
            ["userIdentity.username"],
        ),
        (
            {"userIdentity": {"autoUser": {"scope": "task"}}},
            {},
            ["userIdentity.autoUser.scope"],
        ),
        ({"resourceFiles": []}, file(), ["resourceFiles"]),
        (file(), {}, ["resourceFiles"]),
        (file(), {"resourceFiles": [*file()["resourceFiles"] * 2]}, ["resourceFiles"]),
        (file(), file(filePath="g"), ["resourceFiles[0].filePath"]),
        (file(), {"resourceFiles": [None]}, ["resourceFiles[0]"]),
        (file(), {"resourceFiles": "f"}, ["resourceFiles"]),
        (file(), file(httpUrl=f"{URL}?x"), ["resourceFiles[0].httpUrl"]),
        (file(httpUrl=f"{URL}?sig=x"), file(httpUrl=f"{URL}2"), ["resourceFiles[0].httpUrl"]),
        ({"affinityInfo": {"affinityId": "n"}}, {}, ["affinityInfo"]),
        (
            {"environmentSettings": [{"name": "A"}, {"name": "B"}]},
            {"environmentSettings": [{"name": "B"}, {"name": "A"}]},
            ["environmentSettings[0].name", "environmentSettings[1].name"],
        ),
        (
            container(registry={"username": "u", "password": "p"}),
            container(registry={"username": "v"}),
            ["containerSettings.registry.username"],
        ),
        (
            container(containerHostBatchBindMounts=[]),
            container(),
            ["containerSettings.containerHostBatchBindMounts"],
        ),
        ({"brandNew": 1}, {"brandNew": 2}, ["brandNew"]),
        (
            {"commandLine": "x", **lasting("P1D")},
            {"commandLine": "y", **lasting("P2D")},
            ["commandLine", "constraints.retentionTime"],
        ),
    ],
)
def test_not_ours(sent: dict[str, Any], found: dict[str, Any], paths: list[str]) -> None:
    """
    Each field that we sent and that the task has otherwise is named.
    """
    assert compare(sent, found) == tuple(paths)


def test_the_whole_task_is_itself() -> None:
    """
    A task with every field is the same in any case of its words, and with all that was added.
    """
    found = {**SHOWN, **respelt(WHOLE, str.title)}

    assert differences(encode(WHOLE), encode(found)) == ()


@pytest.mark.parametrize(
    "mutation",
    [each for each in mutations(WHOLE) if each.kind in {Kind.VALUE, Kind.RANGE, Kind.MISSING}],
    ids=lambda mutation: mutation.name,
)
def test_any_other_field(mutation: Mutation) -> None:
    """
    Whichever field the task found has otherwise, or has not, it is the one that is named.
    """
    assert differences(encode(WHOLE), encode(mutation.task)) == (mutation.path,)


@pytest.mark.parametrize(
    "spot",
    [spot for spot in spots(WHOLE) if not spot.field.definition and not spot.field.listed],
    ids=lambda spot: spot.path,
)
def test_every_field_is_compared(spot: Spot) -> None:
    """
    No field but the password is passed over.
    """
    found = replaced(WHOLE, spot, 4711)
    named = () if spot.field.name == "password" else (spot.path,)

    assert differences(encode(WHOLE), encode(found)) == named


def test_numbers_that_do_not_fit() -> None:
    """
    A field that is passed on unread may hold what other parsers refuse.
    """
    body = b'{"id":"a","commandLine":"c","new":1e999}'

    assert differences(body, body) == ()


@pytest.mark.parametrize("found", [b"[]", b"", b"{"])
def test_no_task(found: bytes) -> None:
    """
    What is no object is not compared.
    """
    with pytest.raises(ValueError, match=r"."):
        differences(json.dumps(a_task()).encode(), found)
