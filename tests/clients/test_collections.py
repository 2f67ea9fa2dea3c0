"""Tasks by the hundred, by each client's own bulk call."""

from collections import Counter

import orjson
import pytest

from bulksubmit.core.taskcompare import differences
from bulksubmit.emulator import Service
from bulksubmit.emulator.exchange import Operation
from bulksubmit.emulator.faults import TaskFault
from tests.clients.calls import Client, Raised
from tests.core.whole_task import WHOLE

TASKS = [{"id": f"t{n:04}", "commandLine": f"echo {n}"} for n in range(1250)]
LEFT_TO_USER = {"azure-batch-10-for-node"}  # What the service says of each task.


@pytest.mark.parametrize("parallel", [0, 4])
async def test_thousands_of_tasks(client: Client, service: Service, parallel: int) -> None:
    """
    All tasks arrive as they were given, a hundred a request, and one that exists is as good as
    added.
    """
    job = service.create_job("night-1")
    job.add("T0007", b'{"id":"T0007","commandLine":"mine"}', ticks=1)

    results = await client("add_tasks", job_id="night-1", tasks=TASKS, parallel=parallel)

    statuses = {each["taskId"].lower(): each["status"].lower() for each in results}
    assert statuses.pop("t0007") == "clienterror"
    assert set(statuses.values()) == {"success"}
    assert len(job) == len(results) == 1250
    ours = sorted(body for body in job.bodies() if b"mine" not in body)
    assert [*map(orjson.loads, ours)] == TASKS[:7] + TASKS[8:]
    assert service.record.by_operation[Operation.ADD_TASK_COLLECTION] == 13
