"""The service: requests in, answers out. It knows no clock, no network and no sleep.

See ``exchange`` for the order in which a shell goes through a request.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from random import Random
from typing import Protocol

from bulksubmit.core.limits import BYTES_MAX
from bulksubmit.emulator import answers
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.account import Account
from bulksubmit.emulator.answers import ServiceError, Stamp, bad_parameter
from bulksubmit.emulator.capacity import Bottleneck, Phase
from bulksubmit.emulator.collection import count_tasks, share_added_by
from bulksubmit.emulator.exchange import Answer, Call, Operation, Plan, parse_target
from bulksubmit.emulator.faults import THROTTLING, Fault, Faults, TaskScript
from bulksubmit.emulator.operations import Operations
from bulksubmit.emulator.record import Record, Seen
from bulksubmit.emulator.state import State, StateError
from bulksubmit.emulator.store import Job
from bulksubmit.emulator.switches import Switches

# All that came before differ in what taskcounts answers. What later versions brought to tasks is
# taken from clients of any version.
API_VERSIONS = (
    "2020-09-01.12.0",
    "2021-06-01.14.0",
    "2022-01-01.15.0",
    "2022-10-01.16.0",
    "2023-05-01.17.0",
    "2023-11-01.18.0",
    "2024-02-01.19.0",
    "2024-07-01.20.0",
    "2025-06-01",
)

# REST reference: the OData options of each operation; those not among them are inferred to be
# refused, as there is a code for it.
_OPTIONS: Mapping[Operation, frozenset[str]] = {
    Operation.GET_JOB: frozenset({"$select", "$expand"}),
    Operation.GET_TASK: frozenset({"$select", "$expand"}),
    Operation.LIST_JOBS: frozenset({"$filter", "$select", "$expand", "$skiptoken"}),
    Operation.LIST_TASKS: frozenset({"$filter", "$select", "$expand", "$skiptoken"}),
}

_EPOCH_S = 1_735_689_600.0  # The first moment of 2025, for jobs whose age is of no interest.


class Script(Protocol):
    """Says what goes wrong with a request, before its body is read; None to let chance decide.

    An Answer is sent as it is, and nothing is processed.
    """

    def __call__(self, call: Call, /) -> Fault | Answer | None:
        """Look at a request's head."""


class Service:
    """An account of the service, with its jobs.

    Attributes:
        record: What was seen so far.
        faults: How often things go wrong; may be replaced at any time.
        access: Who may call; None for everybody, without any credential.
    """

    def __init__(
        self,
        *,
        random: Random,
        access: Access | None = None,
        faults: Faults | None = None,
        script: "Script | Iterable[Fault | Answer | None] | None" = None,
        task_script: TaskScript | None = None,
        phases: Sequence[Phase] = (),
        switches: Switches | None = None,
        scheme: str = "http",
        state: State | None = None,
    ) -> None:
        """Open an account, without jobs unless it is one of a file.

        Args:
            random: Where all chance comes from: faults, request-ids, the order of results.
            access: Who may call; None for everybody, without any credential.
            faults: How often things go wrong; never, if None.
            script: What goes wrong with which request; a list is gone through by the add
                collection requests, one each.
            task_script: What goes wrong with which task.
            phases: How much it can do, and when; none for as much as there is.
            switches: How it behaves where nobody knows; by default as is likelier.
            scheme: Of the URLs in the answers.
            state: Where the account is kept on disk; the caller closes it at the end. None to
                have it in memory alone.
        """
        self.record = Record()
        self.faults = faults or Faults()
        self._random = random
        self.access = access
        self._script = None if script is None else _as_script(script)
        self._task_script = task_script
        self._bottleneck = Bottleneck(phases) if phases else None
        self._scheme = scheme
        self._state = state
        self._account = Account() if state is None else state.account
        self.switches = switches or Switches()
        self._calls: Counter[Operation] = Counter()

    @property
    def switches(self) -> Switches:
        """How it behaves where nobody knows; may be replaced at any time."""
        return self._switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self._switches = switches
        self._operations = Operations(self._account, switches, self._random)

    def create_job(
        self,
        job_id: str,
        *,
        now_s: float = _EPOCH_S,
        properties: Mapping[str, object] | None = None,
    ) -> Job:
        """Create a job.

        Args:
            job_id: Unique in the account, ignoring case.
            now_s: The time, as POSIX time.
            properties: What else a client would have sent, such as ``poolInfo``. With
                ``onAllTasksComplete`` terminatejob it completes at once, as it has no tasks,
                unless there is a ``jobManagerTask``.

        Raises:
            ServiceError: if the ID is taken or not a valid one, or a property is not.
            StateError: if it cannot be written.
        """
        given = {"poolInfo": {"poolId": "pool"}} | dict(properties or {})
        job = self._account.create(job_id, given, now_s=now_s)
        if self._state is not None:
            self._state.write()
        return job

    def job(self, job_id: str) -> Job:
        """The job of that ID, ignoring case: to set its state, to look at its tasks.

        Raises:
            ServiceError: JobNotFound.
        """
        return self._account.job(job_id)

    def jobs(self) -> Iterator[Job]:
        """All jobs, in the order in which they were created."""
        return iter(self._account)

    def plan(self, method: str, target: str, headers: Mapping[str, str], *, now_s: float) -> Plan:
        """Take in the head of a request and say what is to be done with it.

        Args:
            method: In upper case.
            target: Path and query, as in the request line.
            headers: Names in lower case.
            now_s: The time, as POSIX time.
        """
        parsed = parse_target(method, target)
        call = Call(self._calls[parsed.operation], method, parsed, headers)
        self._calls[parsed.operation] += 1
        decided = self._script(call) if self._script is not None else None
        latency_s = self.faults.latency_s
        if isinstance(decided, Answer):
            return Plan(call, scripted=decided, process_after_s=latency_s)
        fault = decided or self._draw_fault(call)
        match fault:
            case Fault.DROP_BEFORE:
                return self._cut(call, fault, 0, now_s)
            case Fault.DROP_BODY:
                length = int(headers.get("content-length", 0))
                read_bytes = self._random.randrange(1, length) if length > 1 else 0
                return self._cut(call, fault, read_bytes, now_s)
            case Fault.LATE:
                return Plan(call, fault, hang_up=True, process_after_s=self.faults.late_s)
        slow_s = self.faults.slow_s if fault is Fault.SLOW else 0.0
        return Plan(call, fault, process_after_s=latency_s, answer_after_s=slow_s)

    def schedule(self, plan: Plan, body: bytes, *, now_s: float) -> Plan:
        """Give a request its turn, now that its body is there.

        Only add collection needs any of the capacity; what a fault or a script throttles
        never comes that far.

        Args:
            plan: What was to be done with it; not one that leaves out part of the body.
            body: The whole body.
            now_s: The time, as POSIX time.
        """
        if (
            self._bottleneck is None
            or plan.call.operation is not Operation.ADD_TASK_COLLECTION
            or plan.scripted is not None
            or plan.fault in THROTTLING
        ):
            return plan
        tasks = self._count_tasks(plan.call, body)
        turn = self._bottleneck.take(tasks, len(body), now_s=now_s, random=self._random)
        after_s = plan.process_after_s + turn.after_s
        if turn.fault is None:
            share = turn.capacity.server_error
            return replace(plan, process_after_s=after_s, server_error=share)
        stamp = self._stamp(plan.call, now_s + after_s)
        faults = Faults(retry_after_s=turn.capacity.retry_after_s or 0)
        # Where the connection is cut, the answer stands for none, and for nothing processed.
        scripted = answers.failure(stamp, turn.fault, faults) or answers.page(stamp, 502, "")
        return replace(plan, fault=turn.fault, scripted=scripted, process_after_s=after_s)

    def answer(self, plan: Plan, body: bytes, *, now_s: float) -> Answer | None:
        """Process a request, whole; this is when it takes effect.

        Returns:
            What to send, or None to cut the connection instead.
        """
        stamp = self._stamp(plan.call, now_s)
        tasks = 0
        if plan.scripted is not None:
            answer = plan.scripted
        else:
            try:
                answer, tasks = self._perform(plan, body, stamp)
            except ServiceError as error:
                answer = answers.refusal(stamp, error)
            except RecursionError:  # Someone asks for a task that is nested a thousand deep.
                answer = answers.refusal(stamp, ServiceError("InternalError"))
            answer = self._spoil(plan.fault, answer)
            answer = self._written(answer, stamp)
        if plan.hang_up or plan.fault is Fault.DROP_AFTER:
            self._note(plan, None, now_s, len(body), tasks)
            return None
        self._note(plan, answer.status, now_s, len(body), tasks)
        return answer

    def _written(self, answer: Answer, stamp: Stamp) -> Answer:
        """The answer, once all that it tells of is on disk."""
        if self._state is not None:
            try:
                self._state.write()
            except StateError as error:
                # What was done stays done, as after any 500, and is written with the next.
                values = {"Reason": str(error)}
                return answers.refusal(stamp, ServiceError("InternalError", values))
        return answer

    def _perform(self, plan: Plan, body: bytes, stamp: Stamp) -> tuple[Answer, int]:
        failure = answers.failure(stamp, plan.fault, self.faults)
        if failure is not None and self._share_added(plan.fault) == 0.0:
            return failure, 0
        proxy_bytes_max = self.faults.proxy_bytes_max
        if proxy_bytes_max is not None and len(body) > proxy_bytes_max:
            return answers.page(stamp, 413, "413 Request Entity Too Large"), 0
        if self.access is not None:
            status = self._switches.expired_token_status
            self.access.check(plan.call, now_s=stamp.now_s, bad_token_status=status)
        _check_head(plan.call, self._switches)
        body = _unpacked(plan.call, body, self._switches)
        if plan.call.operation is Operation.ADD_TASK_COLLECTION:
            answer, tasks = self._add_collection(plan, body, stamp)
        else:
            run_tasks = self.faults.run_tasks
            answer = self._operations.perform(plan.call, body, stamp, run_tasks=run_tasks)
            tasks = 0
        return failure or answer, tasks

    def _add_collection(self, plan: Plan, body: bytes, stamp: Stamp) -> tuple[Answer, int]:
        faults = self.faults
        if plan.server_error:
            share = min(1.0 - faults.server_error_added, faults.server_error + plan.server_error)
            faults = replace(faults, server_error=share)
        return self._operations.add_collection(
            plan,
            body,
            stamp,
            faults=faults,
            task_script=self._task_script,
            struck=self.record.by_task_fault,
        )

    def _count_tasks(self, call: Call, body: bytes) -> int:
        try:
            return count_tasks(_unpacked(call, body, self._switches), self._switches)
        except ServiceError:
            return 0

    def _share_added(self, fault: Fault | None) -> float:
        return share_added_by(fault, self.faults, self._switches)

    def _draw_fault(self, call: Call) -> Fault | None:
        if call.operation is Operation.ADD_TASK_COLLECTION or self.faults.everywhere:
            return self.faults.draw(self._random)
        return None

    def _spoil(self, fault: Fault | None, answer: Answer) -> Answer:
        if "Content-Length" in answer.headers or not answer.body:
            return answer
        if fault is Fault.TRUNCATED:
            return replace(answer, body=answer.body[: self._random.randrange(len(answer.body))])
        if fault is Fault.DROP_ANSWER:
            return replace(answer, cut_at=self._random.randrange(1, len(answer.body)))
        return answer

    def _cut(self, call: Call, fault: Fault, read_bytes: int, now_s: float) -> Plan:
        plan = Plan(call, fault, read_bytes=read_bytes)
        self._note(plan, None, now_s)
        return plan

    def _stamp(self, call: Call, now_s: float) -> Stamp:
        headers = call.headers
        wanted = headers.get("return-client-request-id", "").lower() == "true"
        return Stamp(
            request_id=answers.make_guid(self._random),
            now_s=now_s,
            origin=f"{self._scheme}://{headers.get('host', 'localhost')}",
            client_request_id=headers.get("client-request-id") if wanted else None,
        )

    def _note(
        self, plan: Plan, status: int | None, now_s: float, body_bytes: int = 0, tasks: int = 0
    ) -> None:
        name = plan.call.headers.get("client-request-id")
        operation, job_id = plan.call.operation, plan.call.target.job_id
        seen = Seen(now_s, operation, status, plan.fault, body_bytes, tasks, name, job_id)
        self.record.add(seen)


def _check_head(call: Call, switches: Switches) -> None:
    version = call.target.parameter("api-version")
    if version is None:
        values = {"QueryParameterName": "api-version"}
        raise ServiceError("MissingRequiredQueryParameter", values)
    if version not in API_VERSIONS:
        raise ServiceError("UnsupportedRequestVersion", {"Reason": f"api-version={version}"})
    timeout = call.target.parameter("timeout")
    if timeout is not None and not (timeout.isascii() and timeout.isdigit()):
        raise bad_parameter("timeout", timeout, "Timeout must be a number of seconds")
    zero = timeout is not None and not timeout.strip("0")
    if timeout is not None and zero and switches.zero_timeout == "refuse":
        raise bad_parameter("timeout", timeout, "Timeout must be a positive number of seconds")
    for name, value in call.target.query:
        if name.startswith("$") and name.lower() not in _OPTIONS.get(call.operation, ()):
            values = {"QueryParameterName": name, "QueryParameterValue": value}
            raise ServiceError("UnsupportedQueryParameter", values)
    if call.method in {"PATCH", "POST", "PUT"}:
        _check_body_headers(call.headers)


def _check_body_headers(headers: Mapping[str, str]) -> None:
    if "content-length" not in headers:
        raise ServiceError("MissingContentLengthHeader")
    kind = headers.get("content-type")
    if kind is not None and kind.partition(";")[0].strip().lower() != "application/json":
        values = {"HeaderName": "Content-Type", "HeaderValue": kind}
        raise ServiceError("InvalidHeaderValue", values)


def _unpacked(call: Call, body: bytes, switches: Switches) -> bytes:
    """The body as it was before the client packed it."""
    coding = call.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        return body
    values = {"HeaderName": "Content-Encoding", "HeaderValue": coding}
    if coding != "gzip" or switches.gzip_bodies == "refuse":
        raise ServiceError("UnsupportedHeader", values)
    try:
        with gzip.open(BytesIO(body)) as packed:
            return packed.read(BYTES_MAX + 1)  # Enough to see that it is too much.
    except (OSError, EOFError, zlib.error):
        raise ServiceError("InvalidRequestBody", values) from None


def _as_script(given: "Script | Iterable[Fault | Answer | None]") -> Script:
    if callable(given):
        return given
    left = iter(given)

    def next_of_list(call: Call, /) -> Fault | Answer | None:
        return next(left, None) if call.operation is Operation.ADD_TASK_COLLECTION else None

    return next_of_list
