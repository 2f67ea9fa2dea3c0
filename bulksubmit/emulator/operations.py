"""What each operation does to the account, and answers."""

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.wire import TICKS_PER_S, encode_entity, encode_results
from bulksubmit.emulator import answers, lifecycle
from bulksubmit.emulator.account import Account
from bulksubmit.emulator.answers import ServiceError, Stamp
from bulksubmit.emulator.collection import (
    Adder,
    check_open,
    check_size,
    look_at,
    parse_collection,
)
from bulksubmit.emulator.conditions import is_unchanged
from bulksubmit.emulator.exchange import Answer, Call, Operation, Plan
from bulksubmit.emulator.faults import Faults, TaskScript
from bulksubmit.emulator.jobs import change_job, check_job_id, read_object, replace_job
from bulksubmit.emulator.listing import (
    JOB_MEMBERS,
    JOB_PROPERTIES,
    TASK_MEMBERS,
    TASK_PROPERTIES,
    Listed,
    list_page,
    select,
)
from bulksubmit.emulator.shapes import show_job, show_task
from bulksubmit.emulator.store import Counts, Job, StoredTask
from bulksubmit.emulator.switches import Switches


class Operations:
    """The operations of one account."""

    def __init__(self, account: Account, switches: Switches, random: Random) -> None:
        self._account = account
        self._switches = switches
        self._random = random
        self._checker = Checker(allow_unknown=switches.unknown_properties == "accept")
        self._change_ticks = int(switches.job_change_s * TICKS_PER_S)
        self._auto_terminate_final = switches.auto_terminate == "final"

    def perform(self, call: Call, body: bytes, stamp: Stamp, *, run_tasks: bool = False) -> Answer:
        """Do what a call asks for; add collection apart.

        Args:
            call: It.
            body: Its body, unpacked.
            stamp: What marks the answer.
            run_tasks: See ``Faults``.

        Raises:
            ServiceError: the service refuses it.
        """
        match call.operation:
            case Operation.CREATE_JOB:
                return self._create_job(body, stamp)
            case Operation.LIST_JOBS:
                return self._list_jobs(call, stamp)
            case Operation.UNKNOWN_VERB:
                raise ServiceError("UnsupportedHttpVerb")
            case Operation.UNKNOWN_PATH:
                raise ServiceError("ResourceNotFound")
        job = self._account.job(call.target.job_id, ticks=stamp.ticks)
        match call.operation:
            case Operation.LIST_TASKS:
                return self._list_tasks(job, call, stamp)
            case Operation.ADD_TASK:
                return self._add_task(job, body, stamp, run_tasks=run_tasks)
            case Operation.COUNT_TASKS:
                return self._count_tasks(job, stamp)
        if call.target.task_id:
            return self._perform_on_task(job, call, body, stamp)
        return self._perform_on_job(job, call, body, stamp)

    def add_collection(
        self,
        plan: Plan,
        body: bytes,
        stamp: Stamp,
        *,
        faults: Faults,
        task_script: TaskScript | None,
        struck: Counter[str],
    ) -> tuple[Answer, int]:
        """Add the tasks of a request; also say how many it held.

        Args:
            plan: The request, and what goes wrong with it.
            body: Its body, not packed.
            stamp: What marks the answer.
            faults: How often tasks go wrong.
            task_script: What goes wrong with which task.
            struck: Counts those that something went wrong with.

        Raises:
            ServiceError: the service refuses the request as a whole.
        """
        switches = self._switches
        tasks = parse_collection(body, switches)
        job = self._account.job(plan.call.target.job_id, ticks=stamp.ticks)
        check_open(job, switches)
        fault, random = plan.fault, self._random
        adder = Adder(job, stamp, faults, fault, switches, task_script, random, struck)
        results = adder.add(look_at(tasks, self._checker, job, switches))
        job.note_counts(ticks=stamp.ticks)
        return answers.entity(stamp, encode_results(stamp.origin, job.id, results)), len(tasks)

    # --- Jobs --------------------------------------------------------------------------------

    def _create_job(self, body: bytes, stamp: Stamp) -> Answer:
        sent = read_object(body)
        job_id = check_job_id(sent.pop("id", None))
        job = self._account.create(job_id, sent, now_s=stamp.now_s)
        return answers.created(stamp, "/jobs/job-1", job.modified_ticks)

    def _list_jobs(self, call: Call, stamp: Stamp) -> Answer:
        ids = self._account.job_ids(ticks=stamp.ticks)
        names = call.target.parameter("$select")
        listed = Listed(
            JOB_PROPERTIES,
            lambda low, high: (each for each in ids if low <= each and not (high and each >= high)),
            self._account.find,
            lambda job: select(show_job(stamp.origin, job), names, JOB_MEMBERS),
        )
        page = list_page(stamp.origin, call.target, listed)
        return answers.entity(stamp, encode_entity(stamp.origin, "jobs", page))

    def _perform_on_job(self, job: Job, call: Call, body: bytes, stamp: Stamp) -> Answer:
        read = call.operation is Operation.GET_JOB
        if is_unchanged(call.headers, job.modified_ticks, read=read):
            return answers.unchanged(stamp, job.modified_ticks)
        ticks, change_ticks = stamp.ticks, self._change_ticks
        final = self._auto_terminate_final
        status = 202
        match call.operation:
            case Operation.GET_JOB:
                members = select(
                    show_job(stamp.origin, job), call.target.parameter("$select"), JOB_MEMBERS
                )
                shown = encode_entity(stamp.origin, "jobs/@Element", members)
                return answers.entity(stamp, shown, modified_ticks=job.modified_ticks)
            case Operation.PATCH_JOB:
                change_job(job, read_object(body), auto_terminate_final=final, ticks=ticks)
                status = 200
            case Operation.UPDATE_JOB:
                replace_job(job, read_object(body), auto_terminate_final=final, ticks=ticks)
                status = 200
            case Operation.DISABLE_JOB:
                sent = read_object(body)
                lifecycle.disable_job(job, sent, ticks=ticks, change_ticks=change_ticks)
            case Operation.ENABLE_JOB:
                lifecycle.enable_job(job, ticks=ticks, change_ticks=change_ticks)
            case Operation.TERMINATE_JOB:
                sent = read_object(body) if body else {}
                lifecycle.terminate_job(job, sent, ticks=ticks, change_ticks=change_ticks)
            case Operation.DELETE_JOB:
                lifecycle.delete_job(job, ticks=ticks, change_ticks=change_ticks)
                return answers.removed(stamp, status)
            case _:
                raise AssertionError(call.operation)
        return answers.changed(stamp, status, f"/jobs/{job.id}", job.modified_ticks)

    # --- Tasks -------------------------------------------------------------------------------

    def _add_task(self, job: Job, body: bytes, stamp: Stamp, *, run_tasks: bool) -> Answer:
        check_size(body)
        check_open(job, self._switches)
        looked = look_at([body], self._checker, job, self._switches)
        if looked.errors:
            raise looked.errors[0]
        (task_id,) = looked.ids
        added = job.add(task_id, looked.bodies[0], ticks=stamp.ticks, completed=run_tasks)
        if not added:
            raise ServiceError("TaskExists")
        if run_tasks:
            job.complete_tasks(ticks=stamp.ticks)
        job.note_counts(ticks=stamp.ticks)
        return answers.created(stamp, f"/jobs/{job.id}/tasks/{task_id}", stamp.ticks)

    def _list_tasks(self, job: Job, call: Call, stamp: Stamp) -> Answer:
        lag_ticks = int(self._switches.list_lag_s * TICKS_PER_S)
        # Without a lag also those are seen that were added in this very moment, or just after.
        seen_ticks = stamp.ticks - lag_ticks if lag_ticks else None
        show = self._show(job, call, stamp)

        def get(task_id: str) -> tuple[str, StoredTask] | None:
            task = job.task(task_id)
            assert task is not None, "the list and the tasks are one"
            unseen = seen_ticks is not None and task.ticks > seen_ticks
            return None if unseen else (task_id, task)

        listed = Listed(TASK_PROPERTIES, job.task_ids, get, lambda item: show(item[1]))
        page = list_page(stamp.origin, call.target, listed)
        return answers.entity(stamp, encode_entity(stamp.origin, "tasks", page))

    def _count_tasks(self, job: Job, stamp: Stamp) -> Answer:
        lag_ticks = int(self._switches.counts_lag_s * TICKS_PER_S)
        tasks, slots = job.counts_at(stamp.ticks - lag_ticks)
        members = {"taskCounts": _show_counts(tasks), "taskSlotCounts": _show_counts(slots)}
        body = encode_entity(stamp.origin, "taskcountsresult/@Element", members)
        return answers.entity(stamp, body)

    def _perform_on_task(self, job: Job, call: Call, body: bytes, stamp: Stamp) -> Answer:
        task = job.task(call.target.task_id)
        if task is None:
            raise ServiceError("TaskNotFound")
        read = call.operation is Operation.GET_TASK
        if is_unchanged(call.headers, task.modified_ticks, read=read):
            return answers.unchanged(stamp, task.modified_ticks)
        task_id, ticks = call.target.task_id, stamp.ticks
        status = 204
        match call.operation:
            case Operation.GET_TASK:
                members = self._show(job, call, stamp)(task)
                shown = encode_entity(stamp.origin, "tasks/@Element", members)
                return answers.entity(stamp, shown, modified_ticks=task.modified_ticks)
            case Operation.DELETE_TASK:
                lifecycle.delete_task(job, task_id, ticks=ticks)
                job.note_counts(ticks=ticks)
                return answers.removed(stamp, 200)
            case Operation.UPDATE_TASK:
                lifecycle.update_task(job, task_id, task, body, ticks=ticks)
                status = 200
            case Operation.TERMINATE_TASK:
                lifecycle.terminate_task(job, task_id, task, ticks=ticks)
            case Operation.REACTIVATE_TASK:
                lifecycle.reactivate_task(job, task_id, task, ticks=ticks)
            case _:
                raise AssertionError(call.operation)
        job.note_counts(ticks=ticks)
        return answers.changed(stamp, status, f"/jobs/{job.id}/tasks/{task_id}", ticks)

    def _show(
        self, job: Job, call: Call, stamp: Stamp
    ) -> Callable[[StoredTask], Mapping[str, object]]:
        """How a call wants to see a job's tasks."""
        names = call.target.parameter("$select")
        hide_secrets = self._switches.secrets == "hidden"

        def show(task: StoredTask) -> Mapping[str, object]:
            return select(
                show_task(stamp.origin, job, task, hide_secrets=hide_secrets), names, TASK_MEMBERS
            )

        return show


def _show_counts(counts: Counts) -> dict[str, int]:
    return {
        "active": counts.active,
        "running": 0,
        "completed": counts.succeeded + counts.failed,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
    }
