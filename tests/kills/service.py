"""The emulator in a process of its own, with faults; it writes down what it was sent.

``python -m tests.kills.service SEED RECORD`` prints its endpoint, and runs until terminated.
RECORD gets two kinds of JSON lines: an add collection request's arrival, and what became of it.
The tasks in it are found without the product's own code.
"""

import asyncio
import base64
import json
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import IO

from bulksubmit.emulator import Access, Faults, Service, Switches
from bulksubmit.emulator.exchange import Answer, Operation, Plan
from bulksubmit.emulator.server import serve

NAME = "dev"
KEY = base64.b64encode(b"a key for what is killed").decode()

FAULTS = Faults(
    server_error=0.01,
    server_error_added=0.01,
    drop_before=0.01,
    drop_body=0.01,
    drop_after=0.02,
    drop_answer=0.02,
    truncated=0.01,
    throttled=0.002,
    throttled_bare=0.01,
    timed_out=0.01,
    bad_gateway=0.01,
    late=0.02,
    late_s=0.4,
    latency_s=0.02,
)

_TASK_ID = re.compile(rb'"id":"(t-\d+)"')


class RecordingService(Service):
    """A service that writes down what it was sent, and what it answered."""

    def __init__(self, file: IO[str], seed: int) -> None:
        super().__init__(
            random=Random(seed),
            access=Access(NAME, base64.b64decode(KEY)),
            faults=FAULTS,
            switches=Switches(throttled_adds="some"),
        )
        self._file = file

    def plan(self, method: str, target: str, headers: Mapping[str, str], *, now_s: float) -> Plan:
        plan = super().plan(method, target, headers, now_s=now_s)
        if plan.call.operation is Operation.ADD_TASK_COLLECTION:
            self._write(plan, now_s)
        return plan

    def answer(self, plan: Plan, body: bytes, *, now_s: float) -> Answer | None:
        answer = super().answer(plan, body, now_s=now_s)
        if plan.call.operation is Operation.ADD_TASK_COLLECTION:
            sent = [task_id.decode() for task_id in _TASK_ID.findall(body)]
            self._write(plan, now_s, sent=sent, settled=_settled_by(answer))
        return answer

    def _write(self, plan: Plan, now_s: float, **more: list[str]) -> None:
        name, job = plan.call.headers["client-request-id"], plan.call.target.job_id
        row = {"time_s": now_s, "attempt": name, "job": job, **more}
        self._file.write(f"{json.dumps(row)}\n")


def _settled_by(answer: Answer | None) -> list[str]:
    """The tasks that an answer settles, if it comes through whole."""
    if answer is None or answer.status != 200 or answer.cut_at is not None:
        return []
    try:
        results = json.loads(answer.body)["value"]
    except json.JSONDecodeError:
        return []
    # What exists is looked at before it is settled.
    return [
        result["taskId"]
        for result in results
        if result["status"].lower() != "servererror"
        and result.get("error", {}).get("code") != "TaskExists"
    ]


async def _serve(seed: int, path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with path.open("w", buffering=1) as file:
        async with serve(RecordingService(file, seed)) as server:
            print(server.endpoint, flush=True)  # noqa: T201 - for who started us
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
