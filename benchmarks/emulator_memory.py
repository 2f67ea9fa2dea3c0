"""The emulator's memory: tasks of 100 bytes are added without any network, and one page is listed.

Run it from the project's folder: ``python -m benchmarks.emulator_memory --help``.
"""

import argparse
import resource
from http import HTTPStatus
from random import Random

from benchmarks.flood import bar
from benchmarks.measure import MAXRSS_UNIT
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
    """Fill it, list once (for which the IDs are sorted), and say what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emulator_memory")
    parser.add_argument("--tasks", type=int, default=10_000_000, help="default: %(default)s")
    tasks = parser.parse_args().tasks
    service = Service(random=Random(0))  # noqa: S311 - repeatable on purpose
    service.create_job("bench")
    fill(service, tasks)
    _call(service, "GET", "/tasks")
    assert len(service.job("bench")) == tasks  # noqa: S101 - of another number it says nothing
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT / 2**30
    print(bar(f"peak RSS with {tasks:,} tasks of {TASK_BYTES} bytes, GiB", peak_gib, 4))


if __name__ == "__main__":
    main()
