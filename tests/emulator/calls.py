"""The plainest shell of the emulator: calls in, answers out, in no time."""

from collections.abc import Mapping
from random import Random
from typing import Any

import orjson

from bulksubmit.emulator import Answer, Service

NOW_S = 1_751_000_000.5
VERSION = "api-version=2024-07-01.20.0"
ADD = f"/jobs/j1/addtaskcollection?{VERSION}"


def make_service(**options: Any) -> Service:
    """A service with the empty job j1, open to everybody unless told otherwise."""
    service = Service(random=options.pop("random", Random(1)), **options)
    service.create_job("j1", now_s=NOW_S)
    return service


def call(
    service: Service,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    now_s: float = NOW_S,
) -> Answer | None:
    """What the service does with one request; None if it cuts the connection."""
    sent = {"host": "batch.test"}
    if method in {"PATCH", "POST", "PUT"}:
        sent["content-length"] = str(len(body))
    sent |= headers or {}
    plan = service.plan(method, target, sent, now_s=now_s)
    if plan.read_bytes is not None:
        return None
    plan = service.schedule(plan, body, now_s=now_s)
    return service.answer(plan, body, now_s=now_s + plan.process_after_s)


def answer_of(
    service: Service, method: str, target: str, body: bytes = b"", **options: Any
) -> Answer:
    """The same, for a request that is answered."""
    answer = call(service, method, target, body, **options)
    assert answer is not None
    return answer


def make_body(*task_ids: str) -> bytes:
    """A collection of small tasks."""
    tasks = [{"id": task_id, "commandLine": f"echo {task_id}"} for task_id in task_ids]
    return orjson.dumps({"value": tasks})


def add(service: Service, body: bytes) -> list[dict[str, Any]]:
    """The results of a collection that is answered with 200."""
    answer = answer_of(service, "POST", ADD, body)
    assert answer.status == 200, answer
    results: list[dict[str, Any]] = orjson.loads(answer.body)["value"]
    return results


def statuses(results: list[dict[str, Any]]) -> dict[str, str]:
    """Each task's status, or the code of its error."""
    return {
        each["taskId"]: each["error"]["code"] if "error" in each else each["status"]
        for each in results
    }


def error_of(answer: Answer) -> tuple[int, str, dict[str, str]]:
    """Status, code and values of a refusal."""
    error = orjson.loads(answer.body)
    values = {each["key"]: each["value"] for each in error.get("values", [])}
    return answer.status, error["code"], values
