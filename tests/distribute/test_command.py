"""``--workers``: real processes, as a user runs them."""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import orjson
import pytest

from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Faults
from bulksubmit.emulator.service import Service
from tests.end_to_end.account import (
    JOB_ID,
    listening,
    make_service,
    make_tasks,
    read_rows,
    write_lines,
)
from tests.end_to_end.commands import as_user_of, bulksubmit, bulksubmit_here, running, submit


async def test_two_processes_share_a_file_and_their_run_is_seen_like_any_other(
    tmp_path: Path,
) -> None:
    """
    What was rejected has its line, is shown and exported, and verify knows of it.
    """
    lines = make_tasks(4000, padding=800)  # 3 MB: four shards.
    lines[3333] = b'{"id": "t-03333"}'
    path = write_lines(tmp_path / "tasks.jsonl", lines)
    async with listening(make_service()) as account:
        ended = await submit(
            account, path, "--workers", "2", "--shard-size", "1", "--invalid", "reject"
        )
        env = as_user_of(account)
        shown = await asyncio.to_thread(
            bulksubmit_here, "runs", "show", "last", "--output", "json", env=env
        )
        task = await asyncio.to_thread(
            bulksubmit_here,
            *("runs", "show", "last", "--task", "t-03999", "--output", "json"),
            env=env,
        )
        exported = tmp_path / "mend.ndjson"
        await asyncio.to_thread(
            bulksubmit_here,
            *("runs", "export", "last", "--what", "rejected", "--to", exported),
            env=env,
        )
        verified = await bulksubmit("verify", "--run", "last", "--output", "json", env=env)
        page = tmp_path / "report.html"
        await asyncio.to_thread(bulksubmit_here, "runs", "report", "last", "-o", page, env=env)

    report = ended.report
    assert (ended.exit_code, report["total"], report["added"]) == (6, 4000, 3999)
    (row,) = read_rows(report["rejects_path"])
    assert (row["line"], row["where"]) == (3334, f"{path}:3334")
    values = orjson.loads(shown.stdout)
    assert values["exceptions"][0]["first_line"] == 3334
    assert orjson.loads(task.stdout)["verdict"] == "added"
    assert orjson.loads(task.stdout)["line"] == 4000
    assert exported.read_bytes() == lines[3333] + b"\n"
    assert verified.exit_code == 0
    assert "3,999" in page.read_text("utf-8")


async def test_ctrl_c_drains_all_workers_and_the_run_goes_on(tmp_path: Path) -> None:
    tasks = make_tasks(3000, padding=800)
    path = write_lines(tmp_path / "tasks.jsonl", tasks)
    service, reached = watched(5, 0.05)
    async with listening(service) as account:
        env = as_user_of(account)
        command = (
            "submit",
            path,
            "--job-id",
            JOB_ID,
            "--output",
            "json",
            "--workers",
            "2",
            "--shard-size",
            "1",
        )
        async with running(*command, "--max-rate", "2000", env=env) as process:
            await reached.wait()
            process.send_signal(signal.SIGINT)
            stopped = await process.end()
        report = stopped.report
        assert stopped.exit_code == 130
        assert report["added"] == len(list(account.job.bodies()))
        assert report["in_doubt"] == 0

        ended = await bulksubmit("runs", "resume", "last", "--output", "json", env=env)
        account.assert_holds(tasks)
    assert ended.exit_code == 0
    assert ended.report["added"] == 3000


async def test_a_killed_worker_costs_nothing(tmp_path: Path) -> None:
    tasks = make_tasks(4000, padding=800)
    path = write_lines(tmp_path / "tasks.jsonl", tasks)
    service, reached = watched(8, 0.02)
    async with listening(service) as account:
        command = (
            "submit",
            path,
            "--job-id",
            JOB_ID,
            "--output",
            "json",
            "--workers",
            "2",
            "--shard-size",
            "1",
        )
        async with running(*command, env=as_user_of(account)) as process:
            await reached.wait()
            os.kill(children_of(process.pid)[0], signal.SIGKILL)
            ended = await process.end()
        account.assert_holds(tasks)
    report = ended.report
    assert ended.exit_code == 0
    assert report["added"] + report["existed_own"] == 4000


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, in whichever thread."""
    lists = [path.read_text("ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for text in lists for child in text.split()]


def watched(number: int, latency_s: float) -> tuple[Service, asyncio.Event]:
    """A service, and an event: it has got so many requests to add tasks."""
    reached = asyncio.Event()

    def look(call: Call) -> None:
        if call.operation is Operation.ADD_TASK_COLLECTION and call.number == number:
            reached.set()

    return make_service(Faults(latency_s=latency_s), script=look), reached


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--executor", "dask"], "--scheduler tcp://HOST:8786"),
        (["--scheduler", "tcp://x:1", "--executor", "local"], "--scheduler"),
        (["--listen", "10.0.0.1", "--workers", "2"], "--executor dask"),
        (["--workers", "0"], "workers is 0; it must be from 1"),
        (["--shard-size", "8"], "--workers N"),
    ],
)
async def test_flags_that_do_not_go_together(tmp_path: Path, flags: list[str], says: str) -> None:
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(1))
    command = ("submit", path, "--job-id", JOB_ID, "--output", "json")
    async with listening(make_service()) as account:
        ended = await asyncio.to_thread(
            partial(bulksubmit_here, *command, *flags, env=as_user_of(account))
        )

    assert ended.exit_code == 2
    assert says in ended.report["error"]
