"""What passes between the service and its shells: a call comes in, a plan and an answer go out.

A shell (the HTTP server, a virtual clock, a plain call) does with each request, in this order:

1. ``plan = service.plan(...)`` as soon as the head of the request is there;
2. read the body, or only ``plan.read_bytes`` of it and then cut the connection, which ends it;
3. ``plan = service.schedule(plan, body, ...)``: when the service comes to it, or refuses it;
4. cut the connection if ``plan.hang_up``, and go on all the same: nobody will see the answer;
5. wait ``plan.process_after_s``;
6. ``answer = service.answer(plan, body, ...)``: here, and only here, jobs and tasks change;
7. wait ``plan.answer_after_s``;
8. send the answer, or cut the connection if it is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, TypeAlias
from urllib.parse import parse_qsl, unquote

from bulksubmit.emulator.faults import Fault


class Operation(StrEnum):
    """What can be asked of the service."""

    ADD_TASK = "add_task"
    ADD_TASK_COLLECTION = "add_task_collection"
    COUNT_TASKS = "count_tasks"
    CREATE_JOB = "create_job"
    DELETE_JOB = "delete_job"
    DELETE_TASK = "delete_task"
    DISABLE_JOB = "disable_job"
    ENABLE_JOB = "enable_job"
    GET_JOB = "get_job"
    GET_TASK = "get_task"
    LIST_JOBS = "list_jobs"
    LIST_TASKS = "list_tasks"
    PATCH_JOB = "patch_job"
    REACTIVATE_TASK = "reactivate_task"
    TERMINATE_JOB = "terminate_job"
    TERMINATE_TASK = "terminate_task"
    UPDATE_JOB = "update_job"
    UPDATE_TASK = "update_task"
    UNKNOWN_VERB = "unknown_verb"
    UNKNOWN_PATH = "unknown_path"


@dataclass(frozen=True, slots=True)
class Target:
    """The request line, taken apart.

    Attributes:
        operation: Which operation it names.
        path: As encoded in the URL, without the query: that is what is signed.
        query: Names as sent, and values, both decoded.
        job_id: As in the path, decoded; empty if the path names no job.
        task_id: The same for a task.
    """

    operation: Operation
    path: str
    query: tuple[tuple[str, str], ...]
    job_id: str = ""
    task_id: str = ""

    def parameter(self, name: str) -> str | None:
        """A query parameter's value; names are matched without regard to case."""
        for each, value in self.query:
            if each.lower() == name.lower():
                return value
        return None


@dataclass(frozen=True, slots=True)
class Call:
    """The head of a request.

    Attributes:
        number: 0 for the first call of its operation, then upwards.
        method: In upper case.
        target: The request line's other part.
        headers: Names in lower case.
    """

    number: int
    method: str
    target: Target
    headers: Mapping[str, str]

    @property
    def operation(self) -> Operation:
        """Which operation is called."""
        return self.target.operation


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: In the order in which they are sent; ``Transfer-Encoding: chunked`` among them
            says how the body travels.
        body: The whole body.
        cut_at: Cut the connection after so many bytes of the body; None to send all of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    cut_at: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a shell is to do with a request; the module's docstring has the order.

    Attributes:
        call: The request's head.
        fault: What goes wrong with it.
        scripted: The answer, if a script or a lack of capacity gave one: nothing is processed
            then.
        read_bytes: Read so many bytes of the body, cut the connection and forget the request;
            None to read all of it.
        hang_up: Cut the connection once the body is read; process it all the same.
        process_after_s: How long the request waits to be processed.
        answer_after_s: How long its answer waits to be sent.
        server_error: The share of its tasks that are answered with ServerError by the capacity,
            beside those by chance.
    """

    call: Call
    fault: Fault | None = None
    scripted: Answer | None = None
    read_bytes: int | None = None
    hang_up: bool = False
    process_after_s: float = 0.0
    answer_after_s: float = 0.0
    server_error: float = 0.0


class Door(Protocol):
    """What stands beside the service at the same address and is no part of Batch."""

    def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, now_s: float
    ) -> Answer:
        """Answer a request; arguments as of ``Service.plan`` and ``Service.answer``."""


_Verbs: TypeAlias = Mapping[str, Operation]

# REST reference: what each verb does, by path.
_JOBS_VERBS: _Verbs = {"GET": Operation.LIST_JOBS, "POST": Operation.CREATE_JOB}
_JOB_VERBS: _Verbs = {
    "DELETE": Operation.DELETE_JOB,
    "GET": Operation.GET_JOB,
    "PATCH": Operation.PATCH_JOB,
    "PUT": Operation.UPDATE_JOB,
}
_JOB_ACTIONS: Mapping[str, _Verbs] = {
    "addtaskcollection": {"POST": Operation.ADD_TASK_COLLECTION},
    "disable": {"POST": Operation.DISABLE_JOB},
    "enable": {"POST": Operation.ENABLE_JOB},
    "taskcounts": {"GET": Operation.COUNT_TASKS},
    "tasks": {"GET": Operation.LIST_TASKS, "POST": Operation.ADD_TASK},
    "terminate": {"POST": Operation.TERMINATE_JOB},
}
_TASK_VERBS: _Verbs = {
    "DELETE": Operation.DELETE_TASK,
    "GET": Operation.GET_TASK,
    "PUT": Operation.UPDATE_TASK,
}
_TASK_ACTIONS: Mapping[str, _Verbs] = {
    "reactivate": {"POST": Operation.REACTIVATE_TASK},
    "terminate": {"POST": Operation.TERMINATE_TASK},
}


@lru_cache(maxsize=1024)  # A client floods one URL.
def parse_target(method: str, raw: str) -> Target:
    """Find the operation that a request line names. Path words are matched ignoring case."""
    path, _, query = raw.partition("?")
    parsed = tuple(parse_qsl(query, keep_blank_values=True))
    words = [unquote(word) for word in path.split("/")[1:]]
    job_id, task_id = (*words[1:4:2], "", "")[:2]
    verbs: _Verbs | None = None
    match [word.lower() for word in words]:
        case ["jobs"]:
            verbs = _JOBS_VERBS
        case ["jobs", _]:
            verbs = _JOB_VERBS
        case ["jobs", _, action]:
            verbs = _JOB_ACTIONS.get(action)
        case ["jobs", _, "tasks", _]:
            verbs = _TASK_VERBS
        case ["jobs", _, "tasks", _, action]:
            verbs = _TASK_ACTIONS.get(action)
    if verbs is None:
        return Target(Operation.UNKNOWN_PATH, path, parsed)
    operation = verbs.get(method, Operation.UNKNOWN_VERB)
    return Target(operation, path, parsed, job_id, task_id)
