"""What goes wrong in each case of ``benchmarks/clients.py``, and with which tasks."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bulksubmit.emulator import Emulator
from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Fault, Faults, TaskFault

JOB_ID = "night-1"

_LATENCY_S = 0.02  # Of each request, so that several are in flight where a client sends several.
_STRUCK = 4  # The add request that is struck, counted from 0; some are answered well before it.
_PROXY_BYTES_MAX = 200_000
_BULKY_BYTES = 3_000  # 100 of them are over the proxy's limit, 50 are under it.
_OVERSIZE_BYTES = 1_200_000
_FAULTLESS = Faults(latency_s=_LATENCY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that goes wrong.

    Attributes:
        what: For the head of a table.
        tasks: How many a client is given.
        task_bytes: About the size of each; 0 for an ID and a short command.
        oversize: The number of the one task that the service never takes; None for none.
        faults: Of every request.
        struck: What strikes one add request; None for nothing.
        outage: From that request on, every request of any kind is answered 502.
        server_error: The number of the task that is answered with ServerError once.
    """

    what: str
    tasks: int = 2_000
    task_bytes: int = 0
    oversize: int | None = None
    faults: Faults = _FAULTLESS
    struck: Fault | None = None
    outage: bool = False
    server_error: int | None = None

    def source(self) -> list[dict[str, Any]]:
        """The tasks, as they are given to every client."""
        padding = "x" * self.task_bytes
        tasks: list[dict[str, Any]] = [
            {"id": task_id(number), "commandLine": f"echo {number}{padding}"}
            for number in range(self.tasks)
        ]
        if self.oversize is not None:
            setting = {"name": "PADDING", "value": "x" * _OVERSIZE_BYTES}
            tasks[self.oversize]["environmentSettings"] = [setting]
        return tasks

    @property
    def impossible(self) -> frozenset[str]:
        """The IDs of the tasks that no service takes."""
        return frozenset() if self.oversize is None else frozenset({task_id(self.oversize)})

    def shrunk(self, tasks_max: int | None) -> "Case":
        """The same with fewer tasks, for a quick look."""
        if tasks_max is None or self.tasks <= tasks_max:
            return self
        oversize = None if self.oversize is None else tasks_max // 2
        server_error = None if self.server_error is None else tasks_max // 2
        return replace(self, tasks=tasks_max, oversize=oversize, server_error=server_error)


CASES: Mapping[str, Case] = {
    "nothing": Case(what="nothing goes wrong"),
    "dropped": Case(what="dropped once, after it was processed", struck=Fault.DROP_AFTER),
    "proxy": Case(
        what="HTML 413 by a proxy",
        task_bytes=_BULKY_BYTES,
        faults=Faults(latency_s=_LATENCY_S, proxy_bytes_max=_PROXY_BYTES_MAX),
    ),
    "oversize": Case(what="one of 1.2 MB in 20,000", tasks=20_000, oversize=10_000),
    "throttled": Case(what="one 429, Retry-After 1", struck=Fault.THROTTLED),
    "outage": Case(
        what="502 for good",
        outage=True,
        faults=Faults(latency_s=_LATENCY_S, partial_share=0.0),
    ),
    "server-error": Case(what="ServerError once for one task", server_error=1_000),
    "missing": Case(
        what="10 % of the results missing",
        faults=Faults(latency_s=_LATENCY_S, missing=1.0, missing_share=0.1),
    ),
}


def task_id(number: int) -> str:
    """The ID of a task, by its 0-based place."""
    return f"t{number:05}"


class Trouble:
    """Makes a case's trouble, once.

    Attributes:
        sent: How many requests there were since it began, the first one that it struck included.
        began_s: When that was, by ``time.monotonic``; None before.
    """

    def __init__(self, case: Case) -> None:
        self.sent = 0
        self.began_s: float | None = None
        self.outage = case.outage
        self._case = case
        self._failing = None if case.server_error is None else task_id(case.server_error)

    def strike(self, call: Call, /) -> Fault | None:
        """What goes wrong with a request."""
        adds = call.operation is Operation.ADD_TASK_COLLECTION
        began = self.began_s is None and adds and call.number == _STRUCK
        if began:
            self.began_s = time.monotonic()
        if self.began_s is not None:
            self.sent += 1
        if self._case.outage and self.began_s is not None:
            return Fault.BAD_GATEWAY
        return self._case.struck if began else None

    def strike_task(self, sent_id: str, /) -> TaskFault | None:
        """What goes wrong with a task: with the one of the case, the first time."""
        if sent_id != self._failing:
            return None
        self._failing = None
        return TaskFault("ServerError", "InternalError")


def emulator_of(case: Case, trouble: Trouble) -> Emulator:
    """An emulator with an empty job, in which the case's trouble is to come."""
    return Emulator(
        jobs=(JOB_ID,),
        faults=case.faults,
        script=trouble.strike,
        task_script=trouble.strike_task,
        seed=1,
    )
