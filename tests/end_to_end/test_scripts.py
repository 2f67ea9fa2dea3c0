"""``submit_sync`` in scripts, as processes of their own: what it returns, and what Ctrl-C does."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulksubmit import SharedKey, SourceError, submit_sync
from bulksubmit.emulator import Emulator
from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Faults
from bulksubmit.runs import kept
from tests.end_to_end.account import (
    Account,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import as_user_of, bulksubmit

SCRIPT = """
import os, sys
from bulksubmit import Settings, SharedKey, submit_sync

submit_sync(
    sys.argv[1],
    job_id="night-1",
    endpoint=os.environ["AZURE_BATCH_ENDPOINT"],
    credential=SharedKey("dev", os.environ["AZURE_BATCH_ACCESS_KEY"]),
    settings=Settings(concurrency=4, drain_s=3600),
)
"""
TASKS = make_tasks(5000)


class Slow:
    """A service whose answers to collections take a while from the second one on.

    Attributes:
        under_way: That one has come in.
        latency_s: How long they take.
    """

    def __init__(self, latency_s: float) -> None:
        self.under_way = anyio.Event()
        self.service = make_service(script=self._look)
        self.latency_s = latency_s

    def _look(self, call: Call) -> None:
        if call.operation is Operation.ADD_TASK_COLLECTION:
            self.service.faults = Faults(latency_s=self.latency_s)
            if call.number > 1:
                self.under_way.set()


@asynccontextmanager
async def script(account: Account, source: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The script, in a process that does not outlive the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT, source),
        env={**os.environ, **as_user_of(account)},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def test_the_report() -> None:
    """
    Without a loop, from a script's main line: the report, as submit() returns it; twice.
    """
    with Emulator(jobs=["night-1"]) as emulator:
        to: dict[str, Any] = {
            "job_id": "night-1",
            "endpoint": emulator.endpoint,
            "credential": SharedKey(emulator.account_name, emulator.account_key),
        }
        report = submit_sync(TASKS, **to)
        again = submit_sync(iter(TASKS), **to)
        with pytest.raises(SourceError, match="item:2"):
            submit_sync([TASKS[0], b"{"], **to)

    assert (report.added, report.converged) == (5000, True)
    assert (again.existed, again.converged) == (5000, True)


async def test_ctrl_c(tmp_path: Path) -> None:
    """
    The answers in flight are taken in, then KeyboardInterrupt is raised, with a note that says how
    to go on; and so it can be.
    """
    source = write_lines(tmp_path / "tasks.jsonl", TASKS)
    slow = Slow(latency_s=0.5)
    async with listening(slow.service) as account, script(account, source) as process:
        await slow.under_way.wait()
        process.send_signal(signal.SIGINT)
        said = (await process.communicate())[1].decode()
        held = len(account.job)
        (run,) = kept()
        slow.latency_s = 0.0
        resumed = await bulksubmit("runs", "resume", "last", env=as_user_of(account))
        account.assert_holds(TASKS)

    assert run.counts.added == held < 5000
    assert process.returncode == -signal.SIGINT
    assert said.splitlines()[-2:] == [
        "KeyboardInterrupt",
        f"to go on: bulksubmit runs resume {run.run_id}",
    ]
    assert resumed.exit_code == 0


async def test_ctrl_c_twice(tmp_path: Path) -> None:
    """
    The second one does not wait for answers that do not come.
    """
    source = write_lines(tmp_path / "tasks.jsonl", TASKS)
    slow = Slow(latency_s=3600)
    async with listening(slow.service) as account, script(account, source) as process:
        await slow.under_way.wait()
        process.send_signal(signal.SIGINT)
        await anyio.sleep(0.3)  # Two at once are one; if it is too early, this test passes as well.
        process.send_signal(signal.SIGINT)
        said = (await process.communicate())[1].decode()
    (run,) = kept()

    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said
    assert f"bulksubmit runs resume {run.run_id}" in said
    assert run.state == "unfinished"
