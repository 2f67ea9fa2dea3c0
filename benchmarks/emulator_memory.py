"""Fills the emulator's service with tasks of 100 bytes, without any network, and lists one page.

To be measured from outside: see ``flood --emulator-memory``.
"""

import sys
from http import HTTPStatus
from random import Random

from bulksubmit.core.limits import API_VERSION
from bulksubmit.emulator import Service

TASK_BYTES = 100
_TASKS_PER_REQUEST = 100
_JOB = "/jobs/bench"
_QUERY = f"?api-version={API_VERSION}"


def make_task(number: int) -> bytes:
    """A task of exactly TASK_BYTES bytes: an ID and a command line."""
    head = f'{{"id":"task-{number:08}","commandLine":"'
    return f'{head}{"x" * (TASK_BYTES - len(head) - 2)}"}}'.encode()


def fill(service: Service, tasks: int) -> None:
    """Add so many tasks, request by request, as a client would."""
    for first in range(0, tasks, _TASKS_PER_REQUEST):
        bodies = map(make_task, range(first, min(first + _TASKS_PER_REQUEST, tasks)))
        _call(service, "POST", "/addtaskcollection", b'{"value":[' + b",".join(bodies) + b"]}")


def _call(service: Service, method: str, operation: str, body: bytes = b"") -> None:
    headers = {"content-length": str(len(body))}
    plan = service.plan(method, f"{_JOB}{operation}{_QUERY}", headers, now_s=0.0)
    answer = service.answer(plan, body, now_s=0.0)
    if answer is None or answer.status != HTTPStatus.OK:
        raise RuntimeError(f"unexpected answer: {answer}")


def main() -> None:
    """Fill it, list once (for which the IDs are sorted), and say how many there are."""
    service = Service(random=Random(0))  # noqa: S311 - repeatable on purpose
    service.create_job("bench")
    fill(service, int(sys.argv[1]))
    _call(service, "GET", "/tasks")
    print(len(service.job("bench")))


if __name__ == "__main__":
    main()
