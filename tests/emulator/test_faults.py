"""What goes wrong on purpose."""

from collections import Counter
from email.utils import formatdate
from random import Random
from typing import Any

import orjson
import pytest

from bulksubmit.core.wire import WireError, decode_error, decode_results
from bulksubmit.emulator import Answer, Call, Fault, Faults, Operation, Service, Switches, TaskFault
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

IDS = [f"t{place:02}" for place in range(100)]
BODY = make_body(*IDS)


def faulty(fault: Fault, **options: Any) -> Service:
    """A service in which one fault strikes every collection."""
    options[fault.value] = 1.0
    return make_service(faults=Faults(**options))


def added(service: Service) -> int:
    return len(service.job("j1"))


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.DROP_BODY])
def test_dropped_before_its_end_adds_nothing(fault: Fault) -> None:
    """The plan says how much of the body is read; nothing is processed."""
    service = faulty(fault)

    plan = service.plan("POST", ADD, {"content-length": str(len(BODY))}, now_s=NOW_S)

    assert plan.read_bytes is not None
    assert (plan.read_bytes == 0) == (fault is Fault.DROP_BEFORE)
    assert plan.read_bytes < len(BODY)
    assert added(service) == 0
    assert service.record.by_status == {None: 1}


def test_dropped_after_processing_adds_all() -> None:
    """All tasks exist, and there is no answer."""
    service = faulty(Fault.DROP_AFTER)

    assert call(service, "POST", ADD, BODY) is None
    assert added(service) == 100


def test_dropped_in_the_answer() -> None:
    """The answer is a good one, and the connection is cut before its end."""
    service = faulty(Fault.DROP_ANSWER)

    answer = answer_of(service, "POST", ADD, BODY)

    assert len(decode_results(answer.body)) == 100
    assert answer.cut_at is not None
    assert 0 < answer.cut_at < len(answer.body)
    assert added(service) == 100


def test_truncated_ends_early() -> None:
    """The body is whole as HTTP, and no JSON."""
    service = faulty(Fault.TRUNCATED)

    answer = answer_of(service, "POST", ADD, BODY)

    assert (answer.status, answer.cut_at) == (200, None)
    with pytest.raises(WireError):
        decode_results(answer.body)
    assert added(service) == 100


def test_missing_leaves_out_a_tenth() -> None:
    """About a tenth of the results is missing; some of those tasks were added, some were not."""
    service = faulty(Fault.MISSING)
    said = 0
    for block in range(20):
        said += len(add(service, make_body(*[f"{block}-{task_id}" for task_id in IDS])))

    assert 1700 < said < 1900
    assert said < added(service) < 2000


def test_extra_names_a_stranger() -> None:
    """One result is of a task that was not sent; it does not exist."""
    service = faulty(Fault.EXTRA)

    (stranger,) = statuses(add(service, BODY)).keys() - set(IDS)

    assert stranger not in service.job("j1")
    assert added(service) == 100


def test_repeated_says_it_twice_alike() -> None:
    """One task has two results that are the same."""
    results = add(faulty(Fault.REPEATED), BODY)

    (twice,) = [each for each, count in Counter(map(orjson.dumps, results)).items() if count > 1]
    assert len(results) == 101
    assert b"Success" in twice


def test_contradicted_says_one_thing_and_another() -> None:
    """One task has two results, of which one says ServerError."""
    results = add(faulty(Fault.CONTRADICTED), BODY)

    (twice,) = [
        each for each, count in Counter(one["taskId"] for one in results).items() if count > 1
    ]
    assert {each["status"] for each in results if each["taskId"] == twice} == {
        "Success",
        "ServerError",
    }


@pytest.mark.parametrize(
    ("fault", "status", "code", "retry_after"),
    [
        (Fault.THROTTLED, 429, "TooManyRequests", "7"),
        (Fault.THROTTLED_DATE, 429, "TooManyRequests", formatdate(NOW_S + 7, usegmt=True)),
        (Fault.THROTTLED_BARE, 429, "TooManyRequests", None),
        (Fault.BUSY, 503, "ServerBusy", None),
        (Fault.BUSY_RETRY_AFTER, 503, "ServerBusy", "7"),
    ],
)
@pytest.mark.parametrize("throttled_adds", ["none", "some"])
def test_throttling(
    *, fault: Fault, status: int, code: str, retry_after: str | None, throttled_adds: Any
) -> None:
    """Each says when to come back, or does not; whether it adds something is a switch."""
    service = faulty(fault, retry_after_s=7)
    service.switches = Switches(throttled_adds=throttled_adds)

    answer = answer_of(service, "POST", ADD, BODY)

    assert error_of(answer) == (status, code, {})
    assert answer.headers.get("Retry-After") == retry_after
    assert (0 < added(service) < 100) == (throttled_adds == "some")


@pytest.mark.parametrize(("fault", "status"), [(Fault.TIMED_OUT, 500), (Fault.BAD_GATEWAY, 502)])
def test_failures_process_a_part(fault: Fault, status: int) -> None:
    """Some of the tasks were added, and the answer does not say which."""
    service = faulty(fault)

    answer = answer_of(service, "POST", ADD, BODY)

    assert answer.status == status
    assert (decode_error(answer.body) is None) == (fault is Fault.BAD_GATEWAY)
    assert 0 < added(service) < 100


def test_a_proxy_has_a_limit_of_its_own() -> None:
    """It refuses by a page of HTML, and the service never sees the request."""
    service = make_service(faults=Faults(proxy_bytes_max=len(BODY) - 1))

    answer = answer_of(service, "POST", ADD, BODY)

    assert (answer.status, answer.headers["Content-Type"]) == (413, "text/html")
    assert decode_error(answer.body) is None
    assert added(service) == 0


def test_slow_and_late_are_data() -> None:
    """The service waits for nobody: its plan says when to process, and when to answer."""
    slow = faulty(Fault.SLOW, slow_s=3.0, latency_s=0.5).plan("POST", ADD, {}, now_s=NOW_S)
    late = faulty(Fault.LATE, late_s=9.0).plan("POST", ADD, {}, now_s=NOW_S)

    assert (slow.process_after_s, slow.answer_after_s, slow.hang_up) == (0.5, 3.0, False)
    assert (late.process_after_s, late.hang_up) == (9.0, True)


def test_late_takes_effect_in_the_end() -> None:
    """The connection is gone, and the tasks are added all the same."""
    service = faulty(Fault.LATE)

    assert call(service, "POST", ADD, BODY) is None
    assert added(service) == 100


def test_server_errors_strike_tasks() -> None:
    """A share of the tasks is answered with ServerError; of these a share was added."""
    service = make_service(faults=Faults(server_error=0.2, server_error_added=0.3))

    results = add(service, BODY)

    failed = [each["taskId"] for each in results if each["status"] == "ServerError"]
    assert len(results) == 100
    assert 30 < len(failed) < 70
    assert 0 < sum(task_id in service.job("j1") for task_id in failed) < len(failed)


def test_a_seed_repeats_everything() -> None:
    """The same seed and the same calls give the same answers, byte for byte."""
    faults = Faults(server_error=0.1, drop_after=0.2, missing=0.2, truncated=0.2)
    runs = []
    for _ in range(2):
        service = make_service(random=Random(42), faults=faults)
        runs.append([call(service, "POST", ADD, BODY) for _ in range(20)])

    assert runs[0] == runs[1]


def test_rates_strike_collections_only() -> None:
    """Other operations go wrong as well if told so."""
    service = faulty(Fault.BUSY)
    target = f"/jobs/j1?{VERSION}"

    assert answer_of(service, "GET", target).status == 200
    service.faults = Faults(busy=1.0, everywhere=True)
    assert answer_of(service, "GET", target).status == 503


@pytest.mark.parametrize(
    "rates", [{"busy": 1.5}, {"busy": -0.1}, {"busy": 0.6, "late": 0.6}, {"server_error": 2.0}]
)
def test_rates_are_probabilities(rates: dict[str, float]) -> None:
    """At most one fault strikes a request, so the rates add up to at most 1."""
    with pytest.raises(ValueError, match="rate"):
        Faults(**rates)  # type: ignore[arg-type]  # A dict of floats holds no flag.


def test_a_list_is_gone_through_by_collections() -> None:
    """Each add collection takes the next of the list; other operations pass it by."""
    page = Answer(403, {"Content-Length": "2"}, b"no")
    service = make_service(script=[Fault.DROP_AFTER, page, None])

    assert call(service, "POST", ADD, make_body("a")) is None
    assert answer_of(service, "GET", f"/jobs/j1?{VERSION}").status == 200
    assert answer_of(service, "POST", ADD, make_body("b")) == page
    assert statuses(add(service, make_body("a", "b"))) == {"a": "TaskExists", "b": "Success"}
    assert statuses(add(service, make_body("c"))) == {"c": "Success"}


def test_a_script_sees_each_call() -> None:
    """A function decides by operation and number."""

    def script(seen: Call) -> Fault | None:
        first = seen.operation is Operation.GET_JOB and seen.number == 0
        return Fault.BUSY if first else None

    service = make_service(script=script)
    target = f"/jobs/j1?{VERSION}"

    assert [answer_of(service, "GET", target).status for _ in range(2)] == [503, 200]


def test_a_task_script_decides_by_id() -> None:
    """What goes wrong with a task can hang on its ID; any status can be said."""
    faults = {
        "never": TaskFault("ServerError", "InternalError"),
        "secretly": TaskFault("ServerError", "OperationTimedOut", added=True),
        "odd": TaskFault("Pending", "Whatever"),
    }
    service = make_service(task_script=faults.get)

    for _ in range(2):
        said = {each["taskId"]: each for each in add(service, make_body("ok", *faults))}

        assert said["never"]["status"] == "ServerError"
        assert (said["odd"]["status"], said["odd"]["error"]["code"]) == ("Pending", "Whatever")
    assert set(service.job("j1").task_ids()) == {"ok", "secretly"}


def test_the_record_counts() -> None:
    """What was seen is counted by operation, status and fault, and logged one by one."""
    service = make_service(script=[Fault.DROP_AFTER, Fault.THROTTLED])
    headers = {"client-request-id": "mine"}
    for _ in range(3):
        call(service, "POST", ADD, BODY, headers=headers)

    record = service.record
    assert record.by_status == {None: 1, 429: 1, 200: 1}
    assert record.by_fault == {Fault.DROP_AFTER: 1, Fault.THROTTLED: 1}
    assert record.by_operation == {Operation.ADD_TASK_COLLECTION: record.requests}
    assert [seen.tasks for seen in record.log] == [100, 0, 100]
    assert {seen.client_request_id for seen in record.log} == {"mine"}
    assert record.body_bytes == 3 * len(BODY)


@pytest.mark.parametrize("name", ["latency_s", "slow_s", "late_s"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_times_are_finite(name: str, value: float) -> None:
    """No request waits for ever, or for no time that there is."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        Faults(**options)
