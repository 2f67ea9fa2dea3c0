"""``bulksubmit verify`` over HTTP: what differs is told, what is missing is submitted."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulksubmit import Settings, SettingsError, SharedKey
from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Faults, TaskFault
from bulksubmit.emulator.switches import Switches
from bulksubmit.verify import Verification, verify
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    Account,
    converges,
    flood,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import Ended, as_user_of, bulksubmit, bulksubmit_here, running

TASKS = make_tasks(3000)
FAULTS = Faults(
    bad_gateway=0.04,
    throttled_bare=0.04,
    drop_before=0.03,
    drop_after=0.03,
    truncated=0.03,
    busy=0.03,
    everywhere=True,
)


async def looked(account: Account, source: Sequence[bytes], **given: Any) -> Verification:
    """A verification by the library."""
    return await verify(
        source,
        job_id=JOB_ID,
        endpoint=account.endpoint,
        credential=SharedKey(NAME, KEY),
        settings=Settings(concurrency=4),
        **given,
    )


async def verified(account: Account, *args: str | Path, stdin: bytes = b"") -> Ended:
    """``bulksubmit verify``, to its end; the result as JSON."""
    return await bulksubmit(
        *("verify", *args, "--output", "json"), env=as_user_of(account), stdin=stdin
    )


def result_of(ended: Ended) -> dict[str, Any]:
    """The one JSON object that standard output holds."""
    (line,) = ended.stdout.splitlines()
    result: dict[str, Any] = orjson.loads(line)
    assert result["exit_code"] == ended.exit_code
    return result


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.thorough) for n in (1, 2))]
)
@pytest.mark.usefixtures("hurried")
async def test_it_is_exact_through_every_fault(seed: int) -> None:
    """
    Lists that are throttled, cut off, dropped or answered by a gateway are made all the same:
    what is missing, extra and changed is exactly that.
    """
    service = make_service(seed=seed)
    async with listening(service) as account:
        await converges(account, TASKS)
        service.faults = FAULTS
        other = [task.replace(b"/bin/echo 10", b"/bin/true 10") for task in TASKS]

        found = await looked(account, [*other[500:], *make_tasks(200, first=3000)], content=True)

    assert (found.expected, found.found) == (2700, 3000)
    assert (found.missing, found.extra) == (200, 500)
    assert found.changed == sum(a != b for a, b in zip(TASKS[500:], other[500:], strict=True)) > 0
    assert found.examples["changed"][0]["fields"] == ["commandLine"]
    assert (found.same, found.exit_code) == (False, 8)


async def test_a_list_that_lags() -> None:
    """
    Tasks that no list shows yet are not called missing: each is asked for.
    """
    service = make_service(switches=Switches(list_lag_s=3600.0))
    async with listening(service) as account:
        await converges(account, TASKS[:300])

        found = await looked(account, TASKS[:310])

    assert (found.missing, found.asked, found.found) == (10, 310, 300)


async def test_what_is_missing_is_submitted(tmp_path: Path) -> None:
    """
    --fix submits what is missing, from a pipe too, by a run with a journal, and looks again; the
    extra ones are told, and stay.
    """
    service = make_service()
    async with listening(service) as account:
        await converges(account, TASKS[:600])
        source = b"\n".join(TASKS[300:900])

        fixed = await verified(
            account, "-", "--job-id", JOB_ID, "--fix", "--content", "--allow-extra", stdin=source
        )
        account.assert_holds(TASKS[:900])

        result = result_of(fixed)
        assert fixed.exit_code == 0, fixed.stderr
        assert (result["fixed"], result["missing"], result["extra"]) == (300, 0, 300)
        run = await bulksubmit("runs", "show", "last", "--output", "json")
        assert orjson.loads(run.stdout)["run_id"] == result["fix_run"]
        path = write_lines(tmp_path / "tasks.jsonl", TASKS[300:900])
        table = await bulksubmit("verify", path, "--job-id", JOB_ID, env=as_user_of(account))
    assert table.exit_code == 8
    assert "extra: in the job, and not in the source\n  t-00000\n  t-00001\n" in table.stdout
    assert "\n  and 290 more\n" in table.stdout


async def test_a_fix_is_not_the_last_run(tmp_path: Path) -> None:
    """
    After --fix, ``last`` is what it was; the run that fixed says what it is a fix of.
    """
    service = make_service()
    path = write_lines(tmp_path / "tasks.jsonl", TASKS[:300])
    async with listening(service) as account:
        run = await flood(account, path)
        account.job.remove_task("t-00042")

        fixed = await verified(account, "--run", "last", "--fix")
        again = await verified(account, "--run", "last")

    listed = bulksubmit_here("runs", "list", "--output", "json", env={})
    shown = bulksubmit_here("runs", "show", "last", "--output", "json", env={})
    assert (result_of(fixed)["fixed"], result_of(again)["expected"]) == (1, 300)
    assert [row["source"] for row in orjson.loads(listed.stdout)] == [f"fix of {path}", str(path)]
    assert orjson.loads(shown.stdout)["run_id"] == run.report.run_id


@pytest.mark.thorough
async def test_a_run_is_verified(tmp_path: Path) -> None:
    """
    --run brings source, job and endpoint; what it rejected need not be there. Each difference
    has a row in the report, with its place.
    """
    refused = TaskFault("ClientError", "InvalidPropertyValue")
    service = make_service(task_script=lambda task_id: refused if task_id[-1] == "7" else None)
    path = write_lines(tmp_path / "tasks.jsonl", TASKS)
    rows = tmp_path / "rows.ndjson"
    async with listening(service) as account:
        run = await flood(account, path)
        assert run.report.rejected == 300

        same = await verified(account, "--run", str(run.report.run_id))
        account.job.remove_task("t-00042")
        less = await verified(account, "--run", "last", "--report", rows)
        write_lines(path, TASKS[1:])
        changed = await verified(account, "--run", "last")
    async with listening(service) as elsewhere:
        other = await verified(elsewhere, "--run", "last")

    result = result_of(same)
    assert (same.exit_code, result["left_out"], result["expected"]) == (0, 300, 2700)
    assert less.exit_code == 8
    assert [orjson.loads(row) for row in rows.read_bytes().splitlines()] == [
        {"difference": "missing", "id": "t-00042", "where": f"{path}:43", "line": 43}
    ]
    assert (changed.exit_code, result_of(changed)["same"]) == (2, None)
    assert f"is of {account.endpoint}, not of" in result_of(other)["error"]
    assert "tasks.jsonl had" in result_of(changed)["error"]


@pytest.mark.parametrize(
    ("args", "exit_code", "error"),
    [
        (("-", "--job-id", "nowhere"), 3, "JobNotFound"),
        (("-",), 2, "which job? give --job-id"),
        (("--job-id", JOB_ID, "--run", "last"), 2, "give either --job-id or --run"),
        (("-", "--job-id", JOB_ID, "--concurrency", "0"), 2, "--concurrency is 0; it must be"),
    ],
)
async def test_what_cannot_be_looked_at(args: tuple[str, ...], exit_code: int, error: str) -> None:
    """
    Standard output holds one object, however it ends.
    """
    async with listening(make_service()) as account:
        ended = await verified(account, *args, stdin=TASKS[0])

    assert ended.exit_code == exit_code
    assert error in result_of(ended)["error"]
    assert result_of(ended)["same"] is None


async def test_the_source_is_not_written_over(tmp_path: Path) -> None:
    """
    A report by the name of the source, or a pattern's, is refused before anything is written.
    """
    path = write_lines(tmp_path / "tasks.jsonl", TASKS[:3])
    for source in (str(path), str(tmp_path / "*.jsonl")):
        with pytest.raises(SettingsError, match="are one file"):
            await verify(
                source,
                job_id=JOB_ID,
                endpoint="http://127.0.0.1:9",
                credential=SharedKey(NAME, KEY),
                report=path,
            )

    assert path.read_bytes().splitlines() == TASKS[:3]


async def test_interrupted(tmp_path: Path) -> None:
    """
    Ctrl-C ends it at once: nothing is kept and nothing left behind, which it says.
    """
    reached = asyncio.Event()

    def look(call: Call) -> None:
        if call.operation is Operation.LIST_TASKS:
            service.faults = Faults(latency_s=5.0)
            reached.set()

    service = make_service(script=look)
    path = write_lines(tmp_path / "tasks.jsonl", TASKS)
    folder = tmp_path / "temporary"
    folder.mkdir()
    async with listening(service) as account:
        args = ("verify", path, "--job-id", JOB_ID, "--output", "json", "--fix")
        async with running(*args, env={**as_user_of(account), "TMPDIR": str(folder)}) as process:
            await reached.wait()
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)  # As of somebody in a hurry.
            ended = await process.end()

    assert ended.exit_code == 130
    assert "interrupted by SIGINT: nothing is left behind" in result_of(ended)["error"]
    assert list(folder.iterdir()) == []
    assert account.adds == 0
