"""Add collection: what becomes of each task, and what the answer says of it."""

import json
from dataclasses import dataclass
from random import Random

from bulksubmit.core.model import ErrorDetail
from bulksubmit.core.partitioner import BYTES_MAX, TASKS_MAX
from bulksubmit.core.taskspec import explain_id
from bulksubmit.core.wire import (
    Added,
    Failed,
    SentResult,
    SentTask,
    WireError,
    decode_collection,
)
from bulksubmit.emulator.answers import ServiceError, Stamp
from bulksubmit.emulator.faults import Fault, Faults, TaskFault, TaskScript
from bulksubmit.emulator.store import Job, JobState

# Nobody documents these; the emulator has to choose.
TOO_MANY_TASKS_CODE = "InvalidRequestBody"  # For more than TASKS_MAX; that it is a 400 is known.
_CLOSED_CODES = {  # What a job that takes no tasks answers.
    JobState.DISABLING: "JobNotActive",
    JobState.DISABLED: "JobDisabled",
    JobState.ENABLING: "JobNotActive",
    JobState.TERMINATING: "JobBeingTerminated",
    JobState.COMPLETED: "JobCompleted",
    JobState.DELETING: "JobBeingDeleted",
}

_ID_REASON = "The value must be 1 to 64 letters, digits, hyphens and underscores"

# The service adds the tasks of a request in parallel: several have one moment in common.
_TASKS_A_MOMENT = 2
_MOMENT_TICKS = 97  # About 10 µs: 100 tasks take half a millisecond.


def check_id(name: str, value: object) -> str:
    """A job's or a task's ID.

    Raises:
        ServiceError: MissingRequiredProperty or InvalidPropertyValue.
    """
    if value is None:
        raise _missing(name)
    if not isinstance(value, str) or explain_id(value):
        raise _invalid(name, value, _ID_REASON)
    return value


def check_command_line(value: object) -> None:
    """A task's command line.

    Raises:
        ServiceError: MissingRequiredProperty or InvalidPropertyValue.
    """
    if value is None:
        raise _missing("commandLine")
    if not isinstance(value, str) or not value:
        raise _invalid("commandLine", value, "The value must be a string that is not empty")


def parse_collection(body: bytes) -> list[SentTask]:
    """The tasks of a request's body, if the request as a whole is well.

    Raises:
        ServiceError: RequestBodyTooLarge, InvalidRequestBody, or TOO_MANY_TASKS_CODE.
    """
    if len(body) > BYTES_MAX:
        raise ServiceError("RequestBodyTooLarge", {"MaxLimit": str(BYTES_MAX)})
    try:
        tasks = decode_collection(body)
    except WireError as error:
        raise ServiceError("InvalidRequestBody", {"Reason": str(error)}) from error
    if len(tasks) > TASKS_MAX:
        reason = f"The collection has {len(tasks)} tasks, more than {TASKS_MAX}"
        raise ServiceError(TOO_MANY_TASKS_CODE, {"Reason": reason})
    return tasks


@dataclass(slots=True)
class Adder:
    """Adds the tasks of one request to a job.

    Attributes:
        job: Where to.
        stamp: What marks the answer.
        faults: How often tasks go wrong.
        fault: What goes wrong with the request.
        task_script: What goes wrong with which task; None for nothing.
        random: Where chance comes from.
    """

    job: Job
    stamp: Stamp
    faults: Faults
    fault: Fault | None
    task_script: TaskScript | None
    random: Random

    def add(self, tasks: list[SentTask]) -> list[SentResult]:
        """Add what can be added.

        Returns:
            What the answer says, in its order. A task whose ID comes twice in one request gets
            two results, the second TaskExists; nobody documents that.

        Raises:
            ServiceError: if the job takes no tasks.
        """
        if self.job.state is not JobState.ACTIVE:
            raise ServiceError(_CLOSED_CODES[self.job.state])
        start_ticks = self.stamp.ticks
        share_added = self.faults.share_added(self.fault)
        results = []
        for place, task in enumerate(tasks):
            if share_added < 1.0 and not self._by_chance(share_added):
                continue
            ticks = start_ticks + place // _TASKS_A_MOMENT * _MOMENT_TICKS
            if self.fault is Fault.MISSING and self._by_chance(self.faults.missing_share):
                if self._by_chance(0.5):
                    self._add_one(task, ticks)  # It exists, and nobody is told.
                continue
            results.append(self._add_one(task, ticks))
        self.random.shuffle(results)
        self._falsify(results)
        return results

    def _add_one(self, task: SentTask, ticks: int) -> SentResult:
        try:
            task_id = check_id("id", task.id)
            check_command_line(task.command_line)
        except ServiceError as error:
            shown = task.id if isinstance(task.id, str) else ""
            return self._failed(shown, "ClientError", error.code, error.values)
        trouble = self._trouble(task_id)
        if trouble is not None:
            if trouble.added:
                self.job.add(task_id, task.body, ticks=ticks)
            return self._failed(task_id, trouble.status, trouble.code, trouble.values)
        if not self.job.add(task_id, task.body, ticks=ticks):
            return self._failed(task_id, "ClientError", "TaskExists")
        return Added(task_id, ticks)

    def _trouble(self, task_id: str) -> TaskFault | None:
        scripted = self.task_script(task_id) if self.task_script is not None else None
        return scripted or TaskFault.draw(self.faults, self.random)

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


def _missing(name: str) -> ServiceError:
    return ServiceError("MissingRequiredProperty", {"PropertyName": name})


def _invalid(name: str, value: object, reason: str) -> ServiceError:
    shown = value if isinstance(value, str) else json.dumps(value)
    values = {"PropertyName": name, "PropertyValue": shown, "Reason": reason}
    return ServiceError("InvalidPropertyValue", values)
