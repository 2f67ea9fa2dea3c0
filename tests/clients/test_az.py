"""``az batch``, as its users type it."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bulksubmit.emulator import Service
from bulksubmit.emulator.exchange import Operation
from tests.clients.client import clean_environment
from tests.clients.conftest import Clock
from tests.clients.published import ROOT, az

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(1800),  # To make its environment may take minutes.
]

Az = Callable[..., Awaitable[Any]]


class AzFailedError(Exception):
    """A command ended with another code than 0; the text is what it said."""


@pytest.fixture
def run_az(account: dict[str, str], trust: dict[str, str], tmp_path: Path) -> Az:
    """Runs a command such as ``job show``, and gives back what it prints."""
    program = az()
    variables = (
        clean_environment()
        | trust
        | {
            "HOME": str(tmp_path),
            "AZURE_CONFIG_DIR": str(tmp_path / "azure"),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_NO_COLOR": "true",
            "AZURE_BATCH_ACCOUNT": account["account_name"],
            "AZURE_BATCH_ACCESS_KEY": account["key"],
            "AZURE_BATCH_ENDPOINT": account["endpoint"],
        }
    )

    async def run(command: str, *arguments: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            *program,
            "batch",
            *command.split(),
            *arguments,
            "--output",
            "json",
            cwd=ROOT,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if process.returncode:
            raise AzFailedError(errors.decode())
        return json.loads(output) if output.strip() else None

    return run


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_tasks_from_a_file(
    run_az: Az, service: Service, tmp_path: Path, clock: Clock
) -> None:
    """
    A file of some hundred tasks is added, a hundred a request; of one that exists the command
    says so, and adds the others. They are listed and counted.
    """
    path = tmp_path / "tasks.json"
    path.write_text(
        json.dumps([{"id": f"t{n:03}", "commandLine": f"echo {n}"} for n in range(250)])
    )
    await run_az("job create", "--id", "night-1", "--pool-id", "pool-1")
    job = service.job("night-1")
    job.add("t007", b'{"id":"t007","commandLine":"mine"}', ticks=1)

    results = await run_az("task create", "--job-id", "night-1", "--json-file", str(path))
    clock.pass_by(60)
    filters = ("--filter", "startswith(id,'t0') and state eq 'active'", "--select", "id,state")
    listed = await run_az("task list", "--job-id", "night-1", *filters)
    counts = await run_az("job task-counts show", "--job-id", "night-1")

    assert Counter(each["status"] for each in results) == {"Success": 249, "ClientError": 1}
    (exists,) = (each for each in results if each["status"] == "ClientError")
    assert (exists["taskId"], exists["error"]["code"]) == ("t007", "TaskExists")
    assert service.record.by_operation[Operation.ADD_TASK_COLLECTION] == 3
    assert [each["id"] for each in listed] == [f"t{n:03}" for n in range(100)]
    assert counts["taskCounts"]["active"] == len(job) == 250


async def test_a_job(run_az: Az, service: Service, clock: Clock) -> None:
    """
    The life of a job: changed, replaced, disabled, enabled, ended and deleted.
    """
    named = ("--job-id", "night-1")
    await run_az("job create", "--id", "night-1", "--pool-id", "pool-1", "--priority", "5")
    job = service.job("night-1")
    jobs = await run_az("job list", "--filter", "state eq 'active'")
    await run_az("job set", *named, "--priority", "7", "--max-parallel-tasks", "3")
    changed = dict(job.properties)
    await run_az("job reset", *named, "--pool-id", "pool-1", "--priority", "9")
    shown = await run_az("job show", *named)
    await run_az("job disable", *named, "--disable-tasks", "requeue")
    clock.pass_by(1)
    disabled = await run_az("job show", *named, "--select", "id,state")
    await run_az("job enable", *named)
    clock.pass_by(1)
    await run_az("job stop", *named, "--terminate-reason", "enough")
    clock.pass_by(1)
    stopped = await run_az("job show", *named)
    await run_az("job delete", *named, "--yes")
    clock.pass_by(1)
    with pytest.raises(AzFailedError, match="JobNotFound"):
        await run_az("job show", *named)

    assert [each["id"] for each in jobs] == ["night-1"]
    assert (changed["priority"], changed["maxParallelTasks"]) == (7, 3)
    assert (shown["priority"], shown["maxParallelTasks"]) == (9, -1)
    assert disabled["state"] == "disabled"
    assert (stopped["state"], stopped["executionInfo"]["terminateReason"]) == (
        "completed",
        "enough",
    )


async def test_a_task(run_az: Az, service: Service) -> None:
    """
    The life of a task: added by its flags, given other constraints, ended, made active again, and
    deleted.
    """
    service.create_job("night-1")
    job_id = ("--job-id", "night-1")
    named = (*job_id, "--task-id", "t1")

    added = await run_az("task create", *named, "--command-line", "true")
    with pytest.raises(AzFailedError, match="TaskExists"):
        await run_az("task create", *named, "--command-line", "true")
    await run_az("task reset", *named, "--max-task-retry-count", "4")
    shown = await run_az("task show", *named)
    await run_az("task stop", *named)
    stopped = await run_az("task show", *named)
    await run_az("task reactivate", *named)
    active = await run_az("task show", *named)
    await run_az("task delete", *named, "--yes")
    left = await run_az("task list", *job_id)

    assert (added["id"], added["state"], added["commandLine"]) == ("t1", "active", "true")
    assert shown["constraints"]["maxTaskRetryCount"] == 4
    assert (stopped["state"], active["state"]) == ("completed", "active")
    assert left == []
