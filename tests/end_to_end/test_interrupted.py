"""Signals: the first drains and reports, the second leaves at once."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Faults
from bulksubmit.emulator.service import Service
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import as_user_of, running

SUBMIT = ("submit", "--job-id", JOB_ID, "--output", "json", "--concurrency", "4")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "tasks.jsonl", make_tasks(20_000))


def watched(latency_s: float, operation: Operation, number: int) -> tuple[Service, asyncio.Event]:
    """A service slow at one operation, and an event: it has got the call of that number."""
    reached = asyncio.Event()

    def look(call: Call) -> None:
        if call.operation is operation:
            service.faults = Faults(latency_s=latency_s)
            if call.number == number:
                reached.set()

    service = make_service(script=look)
    return service, reached


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_first_signal_drains(
    source: Path, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    """
    The first signal stops the sending; what is in flight is waited for and counted, so that
    nothing is in doubt: the job holds exactly what the report and the results say was added.
    """
    results = tmp_path / "results.ndjson"
    service, reached = watched(0.2, Operation.ADD_TASK_COLLECTION, 9)
    async with listening(service) as account:
        async with running(
            *SUBMIT, source, "--results", results, env=as_user_of(account)
        ) as process:
            await reached.wait()
            process.send_signal(number)
            ended = await process.end()

        report = ended.report
        assert report["added"] == len(account.job) == 100 * report["requests"]
        assert report["requests"] == account.adds >= 10
    assert ended.exit_code == exit_code
    assert report["error"] == f"interrupted by {number.name}"
    assert report["unsettled"] > 0
    assert report["in_doubt"] == 0
    assert not report["converged"]
    assert len(results.read_bytes().splitlines()) == report["added"]
    assert "stopping once the answers in flight are in" in ended.stderr


async def test_second_signal_leaves_at_once(source: Path) -> None:
    """
    The second signal waits for nothing: what was in flight is in doubt.
    """
    service, reached = watched(3600, Operation.ADD_TASK_COLLECTION, 3)
    async with (
        listening(service) as account,
        running(*SUBMIT, source, env=as_user_of(account)) as process,
    ):
        await reached.wait()
        process.send_signal(signal.SIGINT)
        await process.says("stopping once")
        process.send_signal(signal.SIGTERM)
        ended = await process.end()

    report = ended.report
    assert ended.exit_code == 130
    assert report["error"] == "interrupted by SIGINT"
    assert (report["added"], report["in_doubt"], report["requests"]) == (0, 400, 4)


async def test_signal_before_the_first_task(source: Path) -> None:
    """
    While the service has not said yet whether there is such a job, a signal ends the run, too.
    """
    service, reached = watched(3600, Operation.GET_JOB, 0)
    async with listening(service) as account:
        async with running(*SUBMIT, source, env=as_user_of(account)) as process:
            await reached.wait()
            process.send_signal(signal.SIGINT)
            ended = await process.end()

        assert account.adds == 0
    assert (ended.exit_code, ended.report["total"]) == (130, 0)


async def test_signal_while_the_pipe_is_silent() -> None:
    """
    A pipe that stays open and says nothing does not keep a signal waiting; what came through it
    before was sent, without waiting for a full collection.
    """
    tasks = make_tasks(3)
    service, reached = watched(0.0, Operation.ADD_TASK_COLLECTION, 0)
    async with listening(service) as account:
        async with running(*SUBMIT, "-", env=as_user_of(account)) as process:
            process.write(b"\n".join([*tasks, b""]))
            await reached.wait()
            process.send_signal(signal.SIGINT)
            ended = await process.end()
        account.assert_holds(tasks)

    report = ended.report
    assert ended.exit_code == 130
    assert (report["total"], report["added"], report["unsettled"]) == (3, 3, 0)
    assert (report["source_complete"], report["converged"]) == (False, False)


async def test_signal_while_a_pipe_is_copied(tmp_path: Path) -> None:
    """
    Before the run has begun a signal ends it at once: one report, and no half of a copy stays.
    """
    async with listening(make_service()) as account:
        env = as_user_of(account) | {"BULKSUBMIT_STATE_DIR": str(tmp_path)}
        async with running(*SUBMIT, "-", "--spool", env=env) as process:
            await process.says("a copy is made first")
            process.send_signal(signal.SIGINT)
            ended = await process.end()

    assert ended.exit_code == 130
    assert "interrupted by SIGINT" in ended.report["error"]
    assert list((tmp_path / "runs").iterdir()) == []


async def test_signal_during_a_dry_run(source: Path) -> None:
    """A dry run says that it was interrupted, too."""
    service, reached = watched(3600, Operation.GET_JOB, 0)
    async with (
        listening(service) as account,
        running(*SUBMIT, source, "--dry-run", env=as_user_of(account)) as process,
    ):
        await reached.wait()
        process.send_signal(signal.SIGTERM)
        ended = await process.end()

    assert ended.exit_code == 143
    assert orjson.loads(ended.stdout)["error"] == "interrupted by SIGTERM"


async def test_signal_while_held_back(source: Path) -> None:
    """
    Nor does a service that asked for an hour's patience.
    """
    service = make_service(Faults(throttled=1.0, retry_after_s=1000))
    async with listening(service) as account:
        async with running(*SUBMIT, source, env=as_user_of(account)) as process:
            await process.says("holding back for")
            process.send_signal(signal.SIGTERM)
            ended = await process.end()

        assert len(account.job) == 0
    report = ended.report
    assert ended.exit_code == 143
    assert report["unsettled"] == report["total"] > 0
    assert report["in_doubt"] == 100 * report["requests"]


async def test_table_of_an_interrupted_run(source: Path) -> None:
    """
    The table says what ended the run, and how to go on.
    """
    service, reached = watched(0.2, Operation.ADD_TASK_COLLECTION, 5)
    async with listening(service) as account:
        command = ("submit", source, "--job-id", JOB_ID, "--quiet")
        async with running(*command, env=as_user_of(account)) as process:
            await reached.wait()
            process.send_signal(signal.SIGINT)
            ended = await process.end()

    rows = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    assert "ended by interrupted by SIGINT" in rows
    assert rows[-1].startswith("next bulksubmit runs resume ")
    assert ended.stderr == "error: interrupted by SIGINT\n"


# What is done before a command is loaded, and signals that come just then.
_EARLY = """if True:
    import os, sys
    from bulksubmit import early
    from bulksubmit.__main__ import main
    sys.argv = ["bulksubmit", *{words!r}]
    begin = early.begin
    def begin_and_be_told():
        begin()
        for number in {numbers!r}:
            os.kill(os.getpid(), number)
    early.begin = begin_and_be_told
    main()
"""


def early(words: Sequence[str], *numbers: int) -> subprocess.CompletedProcess[str]:
    """``bulksubmit`` with these arguments, and what it says if it gets signals at once."""
    program = _EARLY.format(words=[*words], numbers=[int(number) for number in numbers])
    account = {"AZURE_BATCH_ACCOUNT": NAME, "AZURE_BATCH_ENDPOINT": "http://127.0.0.1:9"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **account, "AZURE_BATCH_ACCESS_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_anything(source: Path, number: signal.Signals, exit_code: int) -> None:
    """
    Whoever is interrupted while it is still being loaded has its report all the same, and begins
    nothing; to be asked how far it is harms nobody.
    """
    done = early([*SUBMIT, str(source)], signal.SIGUSR1, number)

    assert done.returncode == exit_code
    assert done.stderr == f"error: interrupted by {number.name}\n"
    report = orjson.loads(done.stdout)
    assert (report["run_id"], report["exit_code"]) == (None, exit_code)


def test_two_signals_before_anything() -> None:
    """
    The second one waits for nothing, then, too.
    """
    done = early(["runs", "resume", "last"], signal.SIGTERM, signal.SIGINT)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_signal_before_a_command_without_a_report() -> None:
    """
    It just ends the process: the shell says 130, and there is no traceback.
    """
    done = early(["validate", "x"], signal.SIGINT)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
