"""Numbers and booleans that come as texts; where the rule is from, ``texts`` says."""

import json

import pytest

from bulksubmit.core.taskterms import FieldKind
from bulksubmit.emulator.texts import plain, plain_task
from tests.core.whole_task import WHOLE, encode
from tests.emulator.calls import VERSION, add, answer_of, error_of, make_service, statuses

JOB = {"id": "j2", "poolInfo": {"poolId": "p"}}


def as_texts(value: object) -> object:
    """With each number and boolean as a text."""
    match value:
        case dict():
            return {name: as_texts(each) for name, each in value.items()}
        case list():
            return [as_texts(each) for each in value]
        case int():
            return json.dumps(value)
        case _:
            return value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", FieldKind.INT, 5),
        (" -1 ", FieldKind.INT, -1),
        ("+7", FieldKind.INT, 7),
        ("5.0", FieldKind.INT, "5.0"),
        ("0x5", FieldKind.INT, "0x5"),
        ("\u0665", FieldKind.INT, "\u0665"),
        ("", FieldKind.INT, ""),
        ("True", FieldKind.BOOL, True),
        ("1", FieldKind.BOOL, "1"),
        ("5", FieldKind.TEXT, "5"),
    ],
)
def test_a_text(text: str, kind: FieldKind, value: object) -> None:
    """What .NET parses as a number or boolean becomes one, where one belongs."""
    found = plain(text, kind)

    assert (found, type(found)) == (value, type(value))


def test_every_number_of_a_task() -> None:
    """All of a task's numbers and booleans are found, and nothing else is touched."""
    body = encode(as_texts(WHOLE))

    assert json.loads(plain_task(body)) == WHOLE
    assert plain_task(encode(WHOLE)) == encode(WHOLE)


def test_tasks() -> None:
    """A task's numbers are stored as numbers, whichever way it is added."""
    service = make_service()
    task = b'{"id":"t1","commandLine":"c","requiredSlots":"2"}'
    other = b'{"id": "t2", "commandLine": "c", "requiredSlots": "two"}'

    results = add(service, b'{"value":[%s,%s]}' % (task, other))
    answer = answer_of(service, "POST", f"/jobs/j1/tasks?{VERSION}", task.replace(b"t1", b"t3"))

    assert statuses(results) == {"t1": "Success", "t2": "InvalidPropertyValue"}
    assert answer.status == 201
    assert [json.loads(each)["requiredSlots"] for each in service.job("j1").bodies()] == [2, 2]


def test_constraints_of_a_task() -> None:
    """The same when they are changed afterwards."""
    service = make_service()
    add(service, b'{"value":[{"id":"t1","commandLine":"c"}]}')
    target = f"/jobs/j1/tasks/t1?{VERSION}"

    body = b'{"constraints":{"maxTaskRetryCount":"4"}}'
    length = {"content-length": str(len(body))}
    changed = answer_of(service, "PUT", target, body, headers=length)
    shown = json.loads(answer_of(service, "GET", target).body)

    assert changed.status == 200
    assert shown["constraints"]["maxTaskRetryCount"] == 4


def test_a_job() -> None:
    """A job's numbers as well, and its texts stay texts."""
    service = make_service()
    sent = JOB | {
        "displayName": "7",
        "priority": "7",
        "usesTaskDependencies": "true",
        "constraints": {"maxTaskRetryCount": "5"},
        "commonEnvironmentSettings": [{"name": "N", "value": "5"}],
    }

    answer = answer_of(service, "POST", f"/jobs?{VERSION}", json.dumps(sent).encode())

    numbers = {"priority": 7, "usesTaskDependencies": True, "constraints": {"maxTaskRetryCount": 5}}
    assert answer.status == 201
    assert {"id": "j2", **service.job("j2").properties} == sent | numbers


@pytest.mark.parametrize("priority", ["7.5", "seven", "1001"])
def test_a_text_that_is_no_number(priority: str) -> None:
    """What is none, or one too great, is refused as it was sent."""
    body = json.dumps(JOB | {"priority": priority}).encode()

    status, code, values = error_of(answer_of(make_service(), "POST", f"/jobs?{VERSION}", body))

    assert (status, code) == (400, "InvalidPropertyValue")
    assert (values["PropertyName"], values["PropertyValue"]) == ("priority", priority)
