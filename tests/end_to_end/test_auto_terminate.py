"""onAllTasksComplete over HTTP: a service that keeps to its reference, and one that does not."""

from pathlib import Path
from typing import Literal

import pytest

from bulksubmit.emulator.service import Service
from bulksubmit.emulator.switches import Switches
from tests.end_to_end.account import JOB_ID, listening, make_service, make_tasks, write_lines
from tests.end_to_end.commands import submit


def completing(auto_terminate: Literal["final", "revocable"]) -> Service:
    """An account whose job completes by itself; a task is in it, or it were complete now."""
    service = make_service(switches=Switches(auto_terminate=auto_terminate))
    job = service.job(JOB_ID)
    assert job.add("other", b'{"id":"other","commandLine":"c"}', ticks=1)
    job.change({"onAllTasksComplete": "terminatejob"}, ticks=1)
    return service


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """300 tasks."""
    return write_lines(tmp_path / "tasks.jsonl", make_tasks(300))


async def test_the_reference_forbids_it(source: Path) -> None:
    """Nothing is sent, and what to do instead is said."""
    async with listening(completing("final")) as account:
        ended = await submit(account, source, "--hold-auto-terminate")

        assert ended.exit_code == 2
        assert "InvalidPropertyValue" in ended.report["error"]
        assert "--then-terminate" in ended.report["error"]
        assert account.adds == 0
        assert account.job.on_all_tasks_complete == "terminatejob"


async def test_held_and_put_back(source: Path) -> None:
    """Where the service allows it, it is noaction while tasks are added."""
    async with listening(completing("revocable")) as account:
        ended = await submit(account, source, "--hold-auto-terminate")

        assert ended.exit_code == 0
        assert "onAllTasksComplete is noaction" in ended.stderr
        assert account.job.on_all_tasks_complete == "terminatejob"


async def test_then_terminate(source: Path) -> None:
    """Once every task exists, the job may complete; resuming the run still sees to that."""
    async with listening(make_service()) as account:
        first = await submit(account, source)
        assert account.job.on_all_tasks_complete == "noaction"
        ended = await submit(account, source, "--resume", "--then-terminate")

        assert (first.exit_code, ended.exit_code) == (0, 0)
        assert account.job.on_all_tasks_complete == "terminatejob"
