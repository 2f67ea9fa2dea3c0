"""The service: requests in, answers out. It knows no clock, no network and no sleep.

See ``exchange`` for the order in which a shell goes through a request.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Literal, Protocol

from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.wire import API_VERSION, encode_entity, encode_results, to_ticks
from bulksubmit.emulator import answers
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.answers import ServiceError, Stamp
from bulksubmit.emulator.capacity import Bottleneck, Phase
from bulksubmit.emulator.collection import (
    Adder,
    check_open,
    count_tasks,
    look_at,
    parse_collection,
)
from bulksubmit.emulator.exchange import Answer, Call, Operation, Plan, parse_target
from bulksubmit.emulator.faults import THROTTLING, Fault, Faults, TaskScript
from bulksubmit.emulator.jobs import change_job, check_job_id, properties_of, read_object
from bulksubmit.emulator.listing import bad_parameter, list_tasks
from bulksubmit.emulator.record import Record, Seen
from bulksubmit.emulator.shapes import select, show_job, show_task
from bulksubmit.emulator.store import Job, StoredTask

API_VERSIONS = frozenset({API_VERSION, "2025-06-01"})

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
        unknown_properties: Literal["task", "accept"] = "task",
        auto_terminate_final: bool = True,
        hide_secrets: bool = False,
        scheme: str = "http",
    ) -> None:
        """Open an account without jobs.

        Args:
            random: Where all chance comes from: faults, request-ids, the order of results.
            access: Who may call; None for everybody, without any credential.
            faults: How often things go wrong; never, if None.
            script: What goes wrong with which request; a list is gone through by the add
                collection requests, one each.
            task_script: What goes wrong with which task.
            phases: How much it can do, and when; none for as much as there is.
            unknown_properties: What a task's unknown property leads to: an error of that
                ``task``, or nothing. What the service does is not documented.
            auto_terminate_final: A job whose onAllTasksComplete is terminatejob cannot be
                patched to noaction, as the REST reference says.
            hide_secrets: Tasks are shown without registry.password, and URLs without their
                signatures. Whether the service gives these back is not documented.
            scheme: Of the URLs in the answers.
        """
        self.record = Record()
        self.faults = faults or Faults()
        self._random = random
        self._access = access
        self._script = None if script is None else _as_script(script)
        self._task_script = task_script
        self._bottleneck = Bottleneck(phases) if phases else None
        self._checker = Checker(allow_unknown=unknown_properties == "accept")
        self._auto_terminate_final = auto_terminate_final
        self._hide_secrets = hide_secrets
        self._scheme = scheme
        self._jobs: dict[str, Job] = {}
        self._calls: Counter[Operation] = Counter()

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
        """
        checked = properties_of({"poolInfo": {"poolId": "pool"}} | dict(properties or {}))
        if check_job_id(job_id).lower() in self._jobs:
            raise ServiceError("JobExists")
        ticks = to_ticks(now_s)
        job = Job(job_id, ticks, checked, modified_ticks=ticks)
        job.complete_if_done(ticks=ticks)
        self._jobs[job_id.lower()] = job
        return job

    def job(self, job_id: str) -> Job:
        """The job of that ID, ignoring case: to set its state, to look at its tasks.

        Raises:
            ServiceError: JobNotFound.
        """
        try:
            return self._jobs[job_id.lower()]
        except KeyError:
            raise ServiceError("JobNotFound") from None

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
        turn = self._bottleneck.take(count_tasks(body), len(body), now_s=now_s, random=self._random)
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
        if plan.hang_up or plan.fault is Fault.DROP_AFTER:
            self._note(plan, None, now_s, len(body), tasks)
            return None
        self._note(plan, answer.status, now_s, len(body), tasks)
        return answer

    def _perform(self, plan: Plan, body: bytes, stamp: Stamp) -> tuple[Answer, int]:
        failure = answers.failure(stamp, plan.fault, self.faults)
        if failure is not None and self.faults.share_added(plan.fault) == 0.0:
            return failure, 0
        proxy_bytes_max = self.faults.proxy_bytes_max
        if proxy_bytes_max is not None and len(body) > proxy_bytes_max:
            return answers.page(stamp, 413, "413 Request Entity Too Large"), 0
        if self._access is not None:
            self._access.check(plan.call, now_s=stamp.now_s)
        _check_head(plan.call)
        if plan.call.operation is Operation.ADD_TASK_COLLECTION:
            answer, tasks = self._add_collection(plan, body, stamp)
        else:
            answer, tasks = self._other(plan.call, body, stamp), 0
        return failure or answer, tasks

    def _other(self, call: Call, body: bytes, stamp: Stamp) -> Answer:
        match call.operation:
            case Operation.CREATE_JOB:
                return self._create_job(body, stamp)
            case Operation.GET_JOB:
                return self._get_job(call, stamp)
            case Operation.PATCH_JOB:
                return self._patch_job(call, body, stamp)
            case Operation.GET_TASK:
                return self._get_task(call, stamp)
            case Operation.LIST_TASKS:
                return self._list_tasks(call, stamp)
            case Operation.UNKNOWN_VERB:
                raise ServiceError("UnsupportedHttpVerb")
            case _:
                raise ServiceError("ResourceNotFound")

    def _add_collection(self, plan: Plan, body: bytes, stamp: Stamp) -> tuple[Answer, int]:
        tasks = parse_collection(body)
        job = self.job(plan.call.target.job_id)
        faults = self.faults
        if plan.server_error:
            share = min(1.0 - faults.server_error_added, faults.server_error + plan.server_error)
            faults = replace(faults, server_error=share)
        adder = Adder(job, stamp, faults, plan.fault, self._task_script, self._random)
        check_open(job)
        results = adder.add(look_at(tasks, self._checker, job))
        return answers.entity(stamp, encode_results(stamp.origin, job.id, results)), len(tasks)

    def _create_job(self, body: bytes, stamp: Stamp) -> Answer:
        sent = read_object(body)
        job_id = check_job_id(sent.get("id"))
        job = self.create_job(job_id, now_s=stamp.now_s, properties=properties_of(sent))
        return answers.job_created(stamp, job.modified_ticks)

    def _get_job(self, call: Call, stamp: Stamp) -> Answer:
        job = self.job(call.target.job_id)
        members = select(show_job(stamp.origin, job), call.target.parameter("$select"))
        body = encode_entity(stamp.origin, "jobs/@Element", members)
        return answers.entity(stamp, body, modified_ticks=job.modified_ticks)

    def _patch_job(self, call: Call, body: bytes, stamp: Stamp) -> Answer:
        job = self.job(call.target.job_id)
        final = self._auto_terminate_final
        change_job(job, read_object(body), auto_terminate_final=final, ticks=stamp.ticks)
        return answers.job_changed(stamp, job.id, job.modified_ticks)

    def _get_task(self, call: Call, stamp: Stamp) -> Answer:
        job = self.job(call.target.job_id)
        task = job.task(call.target.task_id)
        if task is None:
            raise ServiceError("TaskNotFound")
        members = self._show(job, call, stamp)(task)
        body = encode_entity(stamp.origin, "tasks/@Element", members)
        return answers.entity(stamp, body, modified_ticks=task.ticks)

    def _list_tasks(self, call: Call, stamp: Stamp) -> Answer:
        job = self.job(call.target.job_id)
        members = list_tasks(stamp.origin, job, call.target, self._show(job, call, stamp))
        return answers.entity(stamp, encode_entity(stamp.origin, "tasks", members))

    def _show(
        self, job: Job, call: Call, stamp: Stamp
    ) -> Callable[[StoredTask], Mapping[str, object]]:
        """How a call wants to see a job's tasks."""
        names = call.target.parameter("$select")

        def show(task: StoredTask) -> Mapping[str, object]:
            members = show_task(stamp.origin, job, task, hide_secrets=self._hide_secrets)
            return select(members, names)

        return show

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
        operation = plan.call.operation
        self.record.add(Seen(now_s, operation, status, plan.fault, body_bytes, tasks, name))


def _check_head(call: Call) -> None:
    version = call.target.parameter("api-version")
    if version is None:
        values = {"QueryParameterName": "api-version"}
        raise ServiceError("MissingRequiredQueryParameter", values)
    if version not in API_VERSIONS:
        raise ServiceError("UnsupportedRequestVersion", {"Reason": f"api-version={version}"})
    timeout = call.target.parameter("timeout")
    # Whether zero and less are refused is not documented.
    if timeout is not None and not (timeout.isascii() and timeout.isdigit() and int(timeout) > 0):
        raise bad_parameter("timeout", timeout, "Timeout must be a positive number of seconds")
    if call.method in {"PATCH", "POST"} and "content-length" not in call.headers:
        raise ServiceError("MissingContentLengthHeader")


def _as_script(given: "Script | Iterable[Fault | Answer | None]") -> Script:
    if callable(given):
        return given
    left = iter(given)

    def next_of_list(call: Call, /) -> Fault | Answer | None:
        return next(left, None) if call.operation is Operation.ADD_TASK_COLLECTION else None

    return next_of_list
