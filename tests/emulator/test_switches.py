"""What nobody knows of the service: each setting of each switch does what its text says."""

import gzip
from random import Random
from typing import Any, get_args, get_type_hints

import orjson
import pytest

from bulksubmit.emulator import Access, Capacity, Fault, Faults, JobState, Phase, Service, Switches
from tests.emulator.calls import (
    ADD,
    NOW_S,
    VERSION,
    add,
    answer_of,
    call,
    error_of,
    make_body,
    make_service,
    statuses,
)

SETTINGS = Switches.settings()


def with_switch(name: str, setting: object, **options: Any) -> Service:
    settings: dict[str, Any] = {name: setting}
    return make_service(switches=Switches(**settings), **options)


def collection(*tasks: dict[str, Any]) -> bytes:
    return orjson.dumps({"value": [{"commandLine": "x"} | task for task in tasks]})


# --- Each of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS["server_error_code"])
def test_server_error_code(setting: str) -> None:
    """
    Each task's ServerError has this code, or any of the three.
    """
    service = with_switch("server_error_code", setting, faults=Faults(server_error=1.0))

    found = {each["error"]["code"] for each in add(service, make_body(*"abcdefghijklmnopqrst"))}

    three = {"InternalError", "OperationTimedOut", "ServerBusy"}
    assert found == (three if setting == "any" else {setting})


@pytest.mark.parametrize("setting", SETTINGS["too_many_tasks_code"])
def test_too_many_tasks_code(setting: str) -> None:
    """
    101 tasks are refused whole, with this code and a reason that says how many.
    """
    service = with_switch("too_many_tasks_code", setting)

    answer = answer_of(service, "POST", ADD, make_body(*[f"t{n}" for n in range(101)]))

    status, code, values = error_of(answer)
    assert (status, code) == (400, setting)
    assert "101" in values["Reason"]
    assert len(service.job("j1")) == 0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("first", ["a Success", "A TaskExists", "b Success", "c UnsupportedProperty"]),
        ("none", ["a InvalidPropertyValue", "A InvalidPropertyValue", "b Success"]),
        ("request", None),
    ],
)
def test_duplicate_ids(setting: str, expected: list[str] | None) -> None:
    """
    IDs that differ in case alone are one. A task that is refused otherwise takes no ID.
    """
    service = with_switch("duplicate_ids", setting)
    bad: dict[str, Any] = {"id": "c", "priority": 1}
    tasks: list[dict[str, Any]] = [{"id": "a"}, {"id": "b"}, {"id": "A"}, bad, {"id": "d"}]

    answer = answer_of(service, "POST", ADD, collection(*tasks))

    if expected is None:
        assert error_of(answer)[:2] == (400, "InvalidPropertyValue")
        assert error_of(answer)[2]["PropertyValue"] in {"a", "A"}
        assert len(service.job("j1")) == 0
    else:
        found = [
            f"{task_id} {status}"
            for task_id, status in statuses(orjson.loads(answer.body)["value"]).items()
        ]
        assert {*expected, "d Success"} <= {*found}
        assert len(found) == 5
        again = add(with_switch("duplicate_ids", setting), collection(bad, {"id": "c"}))
        assert sorted(each["status"] for each in again) == ["ClientError", "Success"]


@pytest.mark.parametrize("setting", SETTINGS["empty_collection"])
def test_empty_collection(setting: str) -> None:
    """
    No task, no result; or a 400.
    """
    answer = answer_of(with_switch("empty_collection", setting), "POST", ADD, b'{"value":[]}')

    if setting == "accept":
        assert (answer.status, orjson.loads(answer.body)["value"]) == (200, [])
    else:
        assert error_of(answer)[:2] == (400, "InvalidRequestBody")


@pytest.mark.parametrize("setting", SETTINGS["unknown_properties"])
@pytest.mark.parametrize("depth", ["task", "inside", "beside"])
def test_unknown_properties(setting: str, depth: str) -> None:
    """
    Wherever in a task it stands, it fails the task, the request, or nothing; beside the tasks it
    fails the request, or nothing. What is accepted is kept and shown.
    """
    service = with_switch("unknown_properties", setting)
    unknown: dict[str, Any] = {}
    if depth != "beside":
        unknown = {"new": 1} if depth == "task" else {"constraints": {"new": 1}}
    sent = orjson.loads(collection({"id": "a"} | unknown, {"id": "b"}))
    body = orjson.dumps(sent | ({"new": 1} if depth == "beside" else {}))

    answer = answer_of(service, "POST", ADD, body)

    if setting == "request" or (setting == "task" and depth == "beside"):
        assert error_of(answer) == (400, "UnsupportedProperty", {"PropertyName": "new"})
        assert len(service.job("j1")) == 0
    else:
        failed = setting == "task"
        assert statuses(orjson.loads(answer.body)["value"]) == {
            "a": "UnsupportedProperty" if failed else "Success",
            "b": "Success",
        }
        if not failed:
            task = orjson.loads(answer_of(service, "GET", f"/jobs/j1/tasks/a?{VERSION}").body)
            assert unknown.get("new") == task.get("new")


def test_what_is_known_is_not_unknown() -> None:
    """
    A dependency in a job without any has the same code, and is that task's own matter, whatever
    is said of unknown properties; and one unknown property is enough, whatever else is wrong.
    """
    depends = {"id": "a", "dependsOn": {"taskIds": ["b"]}}
    for setting in SETTINGS["unknown_properties"]:
        results = add(with_switch("unknown_properties", setting), collection(depends, {"id": "b"}))
        assert statuses(results) == {"a": "UnsupportedProperty", "b": "Success"}

    service = with_switch("unknown_properties", "request")
    body = collection({"id": "a", "requiredSlots": 0, "new": 1}, {"id": "b"})
    assert error_of(answer_of(service, "POST", ADD, body))[:2] == (400, "UnsupportedProperty")


@pytest.mark.parametrize("setting", SETTINGS["disabled_job"])
@pytest.mark.parametrize("state", JobState)
def test_disabled_job(setting: str, state: JobState) -> None:
    """
    Disabled, or on the way there or back, it takes tasks or does not; in other states as ever.
    """
    service = with_switch("disabled_job", setting)
    service.job("j1").state = state

    status = answer_of(service, "POST", ADD, make_body("a")).status

    disabled = {JobState.DISABLING, JobState.DISABLED, JobState.ENABLING}
    takes = state is JobState.ACTIVE or (setting == "accept" and state in disabled)
    assert status == (200 if takes else 409)
    assert len(service.job("j1")) == takes


@pytest.mark.parametrize("lag_s", [*SETTINGS["list_lag_s"], 0.25])
def test_list_lag(lag_s: float) -> None:
    """
    A list has a task list_lag_s after it was added; GET at once; an ID that is taken is at once,
    too; and one that is deleted is gone from lists at once.
    """
    service = with_switch("list_lag_s", lag_s)
    target = f"/jobs/j1/tasks?{VERSION}"
    answer_of(service, "POST", target, b'{"id":"a","commandLine":"x"}')

    def listed(now_s: float) -> list[str]:
        page = orjson.loads(answer_of(service, "GET", target, now_s=now_s).body)
        return [each["id"] for each in page["value"]]

    assert answer_of(service, "GET", target.replace("tasks", "tasks/a")).status == 200
    assert statuses(add(service, make_body("a"))) == {"a": "TaskExists"}
    assert listed(NOW_S + lag_s) == ["a"]
    assert listed(NOW_S + lag_s - 0.001) == ([] if lag_s else ["a"])
    answer_of(service, "DELETE", target.replace("tasks", "tasks/a"), now_s=NOW_S + lag_s)
    assert listed(NOW_S + lag_s) == []


def test_pages_under_a_list_lag() -> None:
    """
    What is not to be seen yet makes a page shorter, and no link is lost with it.
    """
    service = with_switch("list_lag_s", 5.0)
    job = service.job("j1")
    for place, task_id in enumerate("abcdef"):
        ticks = job.created_ticks + (0 if place % 2 else 10**9)
        job.add(task_id, b'{"id":"%s","commandLine":"x"}' % task_id.encode(), ticks=ticks)

    target, ids = f"/jobs/j1/tasks?{VERSION}&maxresults=1", []
    while target:
        page = orjson.loads(answer_of(service, "GET", target, now_s=NOW_S + 50).body)
        ids.append("".join(each["id"] for each in page["value"]))
        target = page.get("odata.nextLink", "").removeprefix("http://batch.test")

    assert "".join(ids) == "bdf"


@pytest.mark.parametrize("lag_s", SETTINGS["counts_lag_s"])
def test_counts_lag(lag_s: float) -> None:
    """
    taskcounts is as things were counts_lag_s ago.
    """
    service = with_switch("counts_lag_s", lag_s)
    add(service, make_body("a", "b"))

    for after_s, active in ((lag_s, 2), (lag_s - 0.001, 0)) if lag_s else ((0.0, 2),):
        target = f"/jobs/j1/taskcounts?{VERSION}"
        answer = answer_of(service, "GET", target, now_s=NOW_S + after_s)
        assert orjson.loads(answer.body)["taskCounts"]["active"] == active


@pytest.mark.parametrize("setting", SETTINGS["throttled_adds"])
@pytest.mark.parametrize(
    "fault", [Fault.THROTTLED, Fault.THROTTLED_DATE, Fault.THROTTLED_BARE, Fault.BUSY]
)
def test_throttled_adds(setting: str, fault: Fault) -> None:
    """
    429 or 503; none of the tasks is there afterwards, or about half of them.
    """
    service = with_switch("throttled_adds", setting, script=[fault])

    answer = answer_of(service, "POST", ADD, make_body(*[f"t{n}" for n in range(100)]))

    assert answer.status == (503 if fault is Fault.BUSY else 429)
    added = len(service.job("j1"))
    assert 25 < added < 75 if setting == "some" else added == 0


@pytest.mark.parametrize("setting", SETTINGS["gzip_bodies"])
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity", "br"])
def test_gzip_bodies(setting: str, coding: str) -> None:
    """
    A packed body is refused by the header's name, or read; no other coding is taken.
    """
    service = with_switch("gzip_bodies", setting)
    body = make_body("a") if coding == "identity" else gzip.compress(make_body("a"))

    answer = answer_of(service, "POST", ADD, body, headers={"content-encoding": coding})

    if coding == "identity" or (setting == "accept" and coding != "br"):
        assert (answer.status, len(service.job("j1"))) == (200, 1)
    else:
        status, code, values = error_of(answer)
        assert (status, code) == (400, "UnsupportedHeader")
        assert values["HeaderName"] == "Content-Encoding"


def test_a_packed_body_has_the_limits_of_any() -> None:
    """
    What counts is what is in it: bytes, tasks, and whether it can be read at all.
    """
    service = with_switch("gzip_bodies", "accept")
    packed = {"content-encoding": "gzip"}
    bomb = gzip.compress(b'{"value":[]}' + b" " * 3_000_000)
    torn = gzip.compress(make_body("a"))[:-9]

    assert error_of(answer_of(service, "POST", ADD, bomb, headers=packed))[0] == 413
    for body in (b"", b"{}", torn, torn + b"junk junk"):
        answer = answer_of(service, "POST", ADD, body, headers=packed)
        assert error_of(answer)[:2] == (400, "InvalidRequestBody")
    assert len(service.job("j1")) == 0


def test_a_packed_body_takes_as_much_capacity() -> None:
    """
    A service takes as long for each of a request's tasks, packed or not.
    """
    phases = [Phase(0.0, Capacity(latency_ms=100.0, per_task_ms=50.0))]
    service = with_switch("gzip_bodies", "accept", phases=phases)
    waits = []
    for coding, pack in (("identity", bytes), ("gzip", gzip.compress)):
        body = pack(make_body(*[f"{coding}{n}" for n in range(20)]))
        headers = {"content-encoding": coding, "content-length": str(len(body))}
        plan = service.plan("POST", ADD, headers, now_s=NOW_S)
        plan = service.schedule(plan, body, now_s=NOW_S)
        waits.append((plan.fault, plan.process_after_s))

    assert waits[0] == waits[1]
    assert waits[0][0] is None
    assert waits[0][1] == pytest.approx(1.1)


@pytest.mark.parametrize("setting", SETTINGS["zero_timeout"])
def test_zero_timeout(setting: str) -> None:
    """
    Zero, however many digits it has, is refused or as good as none; no other number is refused,
    however large, and what is no number always is.
    """
    service = with_switch("zero_timeout", setting)

    def status(timeout: str) -> int:
        return answer_of(service, "GET", f"/jobs/j1?{VERSION}&timeout={timeout}").status

    assert {status("0"), status("000")} == {200 if setting == "accept" else 400}
    assert {status("1"), status("120"), status("9" * 5000), status("030")} == {200}
    assert {status(""), status("-1"), status("1.5"), status("%D9%A3")} == {400}


@pytest.mark.parametrize("setting", [*SETTINGS["task_bytes_max"], 100])
def test_task_bytes_max(setting: int | None) -> None:
    """
    A task above the limit fails alone, and says which limit; one of just so many bytes does not.
    """
    service = with_switch("task_bytes_max", setting)
    limit = setting or 500_000
    frame = len(orjson.dumps({"commandLine": "", "id": "a"}))

    results = add(
        service,
        collection(
            {"id": "a", "commandLine": "x" * (limit - frame)},
            {"id": "b", "commandLine": "x" * (limit - frame + 1)},
        ),
    )

    assert statuses(results)["a"] == "Success"
    assert statuses(results)["b"] == ("RequestBodyTooLarge" if setting else "Success")
    if setting:
        (error,) = [each["error"] for each in results if "error" in each]
        assert error["values"] == [{"key": "MaxLimit", "value": str(setting)}]


@pytest.mark.parametrize("setting", SETTINGS["expired_token_status"])
def test_expired_token_status(setting: int) -> None:
    """
    A bad token is refused by this status, in the same words; a signature by 403 in any case.
    """
    service = Service(
        random=Random(1),
        access=Access("dev", b"key", bearer=only_good),
        switches=Switches(expired_token_status=403 if setting == 403 else 401),
    )
    service.create_job("j1", now_s=NOW_S)

    def ask(authorization: str) -> Any:
        headers = {"authorization": authorization}
        return answer_of(service, "GET", f"/jobs/j1?{VERSION}", headers=headers)

    assert ask("Bearer good").status == 200
    assert error_of(ask("Bearer old"))[:2] == (setting, "AuthenticationFailed")
    assert "WWW-Authenticate" in ask("Bearer old").headers
    assert error_of(ask("SharedKey dev:c2ln"))[:2] == (403, "AuthenticationFailed")


@pytest.mark.parametrize("setting", SETTINGS["auto_terminate"])
def test_auto_terminate(setting: str) -> None:
    """
    terminatejob can be taken back by a patch, or cannot.
    """
    service = with_switch("auto_terminate", setting)
    add(service, make_body("a"))
    target = f"/jobs/j1?{VERSION}"
    answer_of(service, "PATCH", target, b'{"onAllTasksComplete":"terminatejob"}')

    answer = answer_of(service, "PATCH", target, b'{"onAllTasksComplete":"noaction"}')

    assert answer.status == (200 if setting == "revocable" else 400)


@pytest.mark.parametrize("setting", SETTINGS["secrets"])
def test_secrets(setting: str) -> None:
    """
    A registry's password and the signature in a URL are shown as they were sent, or left out; in
    GET and in lists; all else is shown.
    """
    service = with_switch("secrets", setting)
    registry = {"username": "me", "password": "swordfish"}
    files = [
        {"httpUrl": "https://a.blob.core.windows.net/c/f?sv=1&sig=secret", "filePath": "f"},
        {"httpUrl": "https://a.example/f?page=2", "filePath": "g"},
    ]
    task = {"id": "a", "resourceFiles": files}
    add(service, collection(task | {"containerSettings": {"imageName": "i", "registry": registry}}))

    for target in (f"/jobs/j1/tasks/a?{VERSION}", f"/jobs/j1/tasks?{VERSION}"):
        body = answer_of(service, "GET", target).body
        for secret in (b"swordfish", b"sig=secret"):
            assert (secret in body) == (setting == "shown")
        for open_to_all in (b"me", b"https://a.blob.core.windows.net/c/f", b"page=2"):
            assert open_to_all in body


@pytest.mark.parametrize("seconds", SETTINGS["job_change_s"])
def test_job_change(seconds: float) -> None:
    """
    A job that is deleted is gone so long afterwards.
    """
    service = with_switch("job_change_s", seconds)
    answer_of(service, "DELETE", f"/jobs/j1?{VERSION}")

    found = {
        after_s: answer_of(service, "GET", f"/jobs/j1?{VERSION}", now_s=NOW_S + after_s).status
        for after_s in (seconds / 2, seconds)
    }

    assert found == ({0.0: 404} if seconds == 0 else {seconds / 2: 200, seconds: 404})


# --- All of them -----------------------------------------------------------------------------


def only_good(token: str, /, *, now_s: float) -> str | None:
    """A judge of bearer tokens that takes one, while it is today."""
    return None if (token, now_s) == ("good", NOW_S) else "The token has expired."


def test_each_switch_is_tested_here() -> None:
    """
    There is a test of its name, and a text; the defaults are the first of the settings, and the
    types say the words that are.
    """
    tests = [name for name in globals() if name.startswith("test_")]
    hints = get_type_hints(Switches)
    for name, settings in SETTINGS.items():
        assert any(f"test_{name.removesuffix('_s')}" in each for each in tests), name
        assert Switches.texts()[name].endswith(".")
        assert getattr(Switches(), name) == settings[0]
        if isinstance(settings[0], str):
            assert set(get_args(hints[name])) == set(settings)
    assert SETTINGS.keys() == Switches.texts().keys()


def test_switches_may_be_thrown_at_any_time() -> None:
    """
    What is set in mid-flight holds from the next request on; jobs and tasks stay.
    """
    service = make_service()
    unknown = collection({"id": "b", "new": 1})
    assert statuses(add(service, make_body("a"))) == {"a": "Success"}
    assert statuses(add(service, unknown)) == {"b": "UnsupportedProperty"}

    service.switches = Switches(unknown_properties="accept")

    assert statuses(add(service, unknown)) == {"b": "Success"}
    assert len(service.job("j1")) == 2


def test_a_cut_connection_cares_for_no_switch() -> None:
    """
    A fault that is no throttling does what it does under any setting.
    """
    for setting in SETTINGS["throttled_adds"]:
        service = with_switch("throttled_adds", setting, script=[Fault.DROP_AFTER])
        assert call(service, "POST", ADD, make_body("a")) is None
        assert len(service.job("j1")) == 1
