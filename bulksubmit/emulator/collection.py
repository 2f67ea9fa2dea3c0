"""Add collection: what becomes of each task, and what the answer says of it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import orjson

from bulksubmit.core.limits import BYTES_MAX, TASKS_MAX
from bulksubmit.core.model import ErrorDetail, Kind, Problem
from bulksubmit.core.taskcheck import Checker, Finding, JobFacts
from bulksubmit.core.wire import Added, Failed, SentResult, WireError, decode_collection
from bulksubmit.emulator.answers import ServiceError, Stamp
from bulksubmit.emulator.faults import THROTTLING, Fault, Faults, TaskFault, TaskScript
from bulksubmit.emulator.store import Job, JobState
from bulksubmit.emulator.switches import Switches
from bulksubmit.emulator.texts import plain_task

_CLOSED_CODES = {  # What a job that takes no tasks answers.
    JobState.DISABLING: "JobNotActive",
    JobState.DISABLED: "JobDisabled",
    JobState.ENABLING: "JobNotActive",
    JobState.TERMINATING: "JobBeingTerminated",
    JobState.COMPLETED: "JobCompleted",
    JobState.DELETING: "JobBeingDeleted",
}

_DISABLED = {JobState.DISABLING, JobState.DISABLED, JobState.ENABLING}

# The service adds the tasks of a request in parallel: several have one moment in common.
_TASKS_A_MOMENT = 2
_MOMENT_TICKS = 97  # About 10 µs: 100 tasks take half a millisecond.


# What is wrong with the request as a whole: its JSON cannot be read as a collection of tasks.
_WHOLE = frozenset({Kind.NOT_JSON, Kind.NOT_A_TASK})

# Of a path such as resourceFiles[2].httpUrl the last name.
_LAST_NAME = re.compile(r"([^.\[\]]*)(?:\[\d+\])*$")


def parse_collection(body: bytes, switches: Switches) -> list[bytes]:
    """The tasks of a request's body, if the request as a whole is well.

    Raises:
        ServiceError: RequestBodyTooLarge, InvalidRequestBody, UnsupportedProperty, or what the
            switches say for more than TASKS_MAX tasks and for none.
    """
    check_size(body)
    try:
        tasks, unknown = decode_collection(body)
    except WireError as error:
        raise ServiceError("InvalidRequestBody", {"Reason": str(error)}) from error
    if unknown and switches.unknown_properties != "accept":
        raise ServiceError("UnsupportedProperty", {"PropertyName": unknown[0]})
    if len(tasks) > TASKS_MAX:
        reason = f"The collection has {len(tasks)} tasks, more than {TASKS_MAX}"
        raise ServiceError(switches.too_many_tasks_code, {"Reason": reason})
    if not tasks and switches.empty_collection == "refuse":
        raise ServiceError("InvalidRequestBody", {"Reason": "The collection has no task"})
    return tasks


def check_size(body: bytes) -> None:
    """Whether a request's body is one that the service reads.

    Raises:
        ServiceError: RequestBodyTooLarge.
    """
    if len(body) > BYTES_MAX:
        raise ServiceError("RequestBodyTooLarge", {"MaxLimit": str(BYTES_MAX)})


def count_tasks(body: bytes, switches: Switches) -> int:
    """How many tasks a request holds; none if the request as a whole is not well."""
    try:
        return len(parse_collection(body, switches))
    except ServiceError:
        return 0


def check_open(job: Job, switches: Switches) -> None:
    """Whether a job takes tasks.

    Raises:
        ServiceError: says why it does not.
    """
    if job.state is JobState.ACTIVE:
        return
    if switches.disabled_job == "accept" and job.state in _DISABLED:
        return
    raise ServiceError(_CLOSED_CODES[job.state])


@dataclass(frozen=True, slots=True)
class Looked:
    """The tasks of one request, looked at by the service's rules.

    Attributes:
        bodies: Their bytes.
        ids: Their IDs, empty for one that has none.
        errors: By index, what the service says of a task that it does not take.
    """

    bodies: Sequence[bytes]
    ids: Sequence[str]
    errors: dict[int, ServiceError]


def look_at(bodies: Sequence[bytes], checker: Checker, job: Job, switches: Switches) -> Looked:
    """Look at tasks that are to be added to a job.

    Raises:
        ServiceError: InvalidRequestBody, if one of them cannot even be read; whatever the
            switches say is the whole request's fault.
    """
    checker.job = JobFacts(job.uses_task_dependencies, job.on_task_failure)
    ids, findings = checker.check(bodies)
    retold = {index: plain_task(bodies[index]) for index in findings}
    if any(plain is not bodies[index] for index, plain in retold.items()):
        bodies = [retold.get(index, body) for index, body in enumerate(bodies)]
        ids, findings = checker.check(bodies)
    errors = {index: error_of(each) for index, each in findings.items() if each.invalid}
    if switches.unknown_properties == "request":
        # Not dependsOn in a job without dependencies, say: that has the code, but is known.
        unknown = (p for each in findings.values() for p in each.problems if p.kind is Kind.UNKNOWN)
        for problem in unknown:
            raise error_of(Finding("", (problem,)))
    if switches.task_bytes_max is not None:
        for index, body in enumerate(bodies):
            if len(body) > switches.task_bytes_max:
                limit = {"MaxLimit": str(switches.task_bytes_max)}
                errors.setdefault(index, ServiceError("RequestBodyTooLarge", limit))
    if switches.duplicate_ids != "first":
        errors |= _duplicates(ids, errors, whole=switches.duplicate_ids == "request")
    return Looked(bodies, ids, errors)


def _duplicates(
    ids: Sequence[str], errors: Mapping[int, ServiceError], *, whole: bool
) -> dict[int, ServiceError]:
    """An error for each task whose ID another one has as well, ignoring case."""
    folded = [each.lower() for each in ids]
    times = Counter(each for index, each in enumerate(folded) if index not in errors)
    found = {}
    for index, each in enumerate(folded):
        if times[each] > 1 and index not in errors:
            values = {"PropertyName": "id", "PropertyValue": ids[index]}
            found[index] = ServiceError(
                "InvalidPropertyValue", {**values, "Reason": "The ID is there more than once"}
            )
    if found and whole:
        raise next(iter(found.values()))
    return found


@dataclass(slots=True)
class Adder:
    """Adds the tasks of one request to a job.

    Attributes:
        job: Where to.
        stamp: What marks the answer.
        faults: How often tasks go wrong.
        fault: What goes wrong with the request.
        switches: How the service behaves where nobody knows.
        task_script: What goes wrong with which task; None for nothing.
        random: Where chance comes from.
        struck: Counts the tasks that something went wrong with, by ``TaskFault.kind``.
    """

    job: Job
    stamp: Stamp
    faults: Faults
    fault: Fault | None
    switches: Switches
    task_script: TaskScript | None
    random: Random
    struck: Counter[str]
    _troubled: bool = field(init=False)  # Asked once, not of each task: most services are well.

    def __post_init__(self) -> None:
        rates = self.faults.server_error, self.faults.server_error_added
        self._troubled = self.task_script is not None or any(rates)

    def add(self, tasks: Looked) -> list[SentResult]:
        """Add what can be added.

        Returns:
            What the answer says, in its order.
        """
        start_ticks = self.stamp.ticks
        share_added = share_added_by(self.fault, self.faults, self.switches)
        results = []
        for place in range(len(tasks.bodies)):
            if share_added < 1.0 and not self._by_chance(share_added):
                continue
            ticks = start_ticks + place // _TASKS_A_MOMENT * _MOMENT_TICKS
            if self.fault is Fault.MISSING and self._by_chance(self.faults.missing_share):
                if self._by_chance(0.5):
                    self._add_one(tasks, place, ticks)  # It exists, and nobody is told.
                continue
            results.append(self._add_one(tasks, place, ticks))
        if self.faults.run_tasks:
            self.job.complete_tasks(ticks=start_ticks)
        self.random.shuffle(results)
        self._falsify(results)
        return results

    def _add_one(self, tasks: Looked, place: int, ticks: int) -> SentResult:
        task_id, error = tasks.ids[place], tasks.errors.get(place)
        if error is not None:
            return self._failed(task_id, "ClientError", error.code, error.values)
        trouble = self._trouble(task_id) if self._troubled else None
        if trouble is not None:
            self.struck[trouble.kind] += 1
            if trouble.added:
                self._store(tasks, place, ticks)
            return self._failed(task_id, trouble.status, trouble.code, trouble.values)
        if not self._store(tasks, place, ticks):
            return self._failed(task_id, "ClientError", "TaskExists")
        return Added(task_id, ticks)

    def _store(self, tasks: Looked, place: int, ticks: int) -> bool:
        task_id, body = tasks.ids[place], tasks.bodies[place]
        return self.job.add(task_id, body, ticks=ticks, completed=self.faults.run_tasks)

    def _trouble(self, task_id: str) -> TaskFault | None:
        scripted = self.task_script(task_id) if self.task_script is not None else None
        return scripted or TaskFault.draw(self.faults, self.switches.server_error_code, self.random)

    def _falsify(self, results: list[SentResult]) -> None:
        if self.fault is Fault.EXTRA:
            results.append(Added(f"nobody-sent-{self.random.randrange(10**6)}", self.stamp.ticks))
        if self.fault in {Fault.REPEATED, Fault.CONTRADICTED} and results:
            one = self.random.choice(results)
            if self.fault is Fault.CONTRADICTED:
                if isinstance(one, Failed) and one.status == "ServerError":
                    one = Added(one.task_id, self.stamp.ticks)
                else:
                    one = self._failed(one.task_id, "ServerError", "InternalError")
            results.insert(self.random.randrange(len(results) + 1), one)

    def _failed(
        self, task_id: str, status: str, code: str, values: tuple[ErrorDetail, ...] = ()
    ) -> Failed:
        return Failed(task_id, status, self.stamp.error(code, values))

    def _by_chance(self, probability: float) -> bool:
        return self.random.random() < probability


def share_added_by(fault: Fault | None, faults: Faults, switches: Switches) -> float:
    """How many of a collection's tasks are looked at, in a request with that fault."""
    if fault in THROTTLING and switches.throttled_adds == "none":
        return 0.0
    if fault in THROTTLING or fault in {Fault.TIMED_OUT, Fault.BAD_GATEWAY}:
        return faults.partial_share
    return 1.0


def error_of(finding: Finding) -> ServiceError:
    """What the service says of a task: of all that is wrong with it, the first.

    Raises:
        ServiceError: InvalidRequestBody, of the whole request.
    """
    problem = next(each for each in finding.problems if not each.warning)
    if problem.kind in _WHOLE:
        # Behind the semicolon is what to do about a line of a file.
        raise ServiceError("InvalidRequestBody", {"Reason": problem.text.partition(";")[0]})
    name = _property_name(problem.path) or ("commandLine" if finding.id else "id")
    # A null is as good as nothing, except that what is required must be there.
    if problem.kind is Kind.MISSING or problem.text.startswith(f"{problem.path} is null;"):
        return ServiceError("MissingRequiredProperty", {"PropertyName": name})
    # Documented is TaskDependenciesNotSpecifiedOnJob; this is what users report.
    unsupported = problem.kind is Kind.JOB and name == "dependsOn"
    if problem.kind is Kind.UNKNOWN or unsupported:
        return ServiceError("UnsupportedProperty", {"PropertyName": name})
    if problem.kind is Kind.LENGTH and name == "taskIds":
        return ServiceError("TaskDependencyListTooLong")
    values = {"PropertyName": name, "PropertyValue": _shown(problem), "Reason": problem.text}
    return ServiceError("InvalidPropertyValue", {key: each for key, each in values.items() if each})


def _property_name(path: str) -> str:
    """The property's own name, without the path to it: recorded for httpUrl of a resource file."""
    match = _LAST_NAME.search(path)
    return match[1] if match else ""


def _shown(problem: Problem) -> str:
    """The value: a text as it is (recorded), all else as JSON; a long one is cut."""
    if problem.value is None:
        return ""
    try:
        value = orjson.loads(problem.value)
    except orjson.JSONDecodeError:
        return problem.value.removeprefix('"')
    return value if isinstance(value, str) else problem.value
