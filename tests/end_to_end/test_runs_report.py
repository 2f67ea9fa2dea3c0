"""``runs report``: of a run under way, killed, gone on with, and of an older version."""

import asyncio
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Faults
from bulksubmit.emulator.service import Service
from tests.end_to_end.account import (
    JOB_ID,
    Account,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import (
    Ended,
    as_user_of,
    assert_no_secret,
    bulksubmit,
    bulksubmit_here,
    running,
    submit,
)

RUN = re.compile(r"^run (\S+):", re.MULTILINE)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """6,000 tasks, of which two are none that the service accepts."""
    tasks = make_tasks(5_998)
    bad = [
        b'{"id":"bad-%d","commandLine":"true","constraints":{"maxTaskRetryCount":-9}}' % n
        for n in (1, 2)
    ]
    return write_lines(tmp_path / "tasks.jsonl", [*tasks[:50], *bad, *tasks[50:]])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def report(*args: str | Path) -> Ended:
    return bulksubmit_here("runs", "report", *args, env={})


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read(path: Path) -> bytes:
    return path.read_bytes()


def told() -> dict[str, Any]:
    """The last run's report as JSON; its numbers add up."""
    ended = report("last", "--output", "json")
    assert ended.exit_code == 0, ended.stderr
    as_json: dict[str, Any] = orjson.loads(ended.stdout)
    parts = ("added", "existed", "rejected", "abandoned", "unsettled")
    assert as_json["total"] == sum(as_json[part] for part in parts)
    settled = sum(as_json[part] for part in parts[:3])
    assert sum(as_json["attempts"].values()) == settled
    samples = [sample for life in as_json["lives"] for sample in life["samples"]]
    assert sum(sample["settled"] for sample in samples) <= settled
    assert sum(sample["requests"] for sample in samples) <= as_json["requests"]
    return as_json


def settled_by(as_json: dict[str, Any]) -> list[int]:
    """How many tasks each process has settled, by its samples."""
    return [sum(s["settled"] for s in life["samples"]) for life in as_json["lives"]]


def slow_from(number: int) -> tuple[Service, asyncio.Event]:
    """A service with faults that is slow from a call on, and an event: that call has come."""
    reached = asyncio.Event()

    def look(call: Call) -> None:
        if call.operation is Operation.ADD_TASK_COLLECTION and call.number == number:
            service.faults = Faults(latency_s=3600)
            reached.set()

    service = make_service(Faults(latency_s=0.1, server_error=0.1), script=look)
    return service, reached


@pytest.mark.thorough
async def test_killed_and_gone_on_with(source: Path, here: Path) -> None:
    """
    While a process works on it, after that was killed, and after the next one has finished: the
    report adds up, and tells of both processes, of what each settled, and of what was rejected.
    """
    service, reached = slow_from(20)
    flags = ("--invalid", "reject", "--concurrency", "4")
    async with listening(service) as account:
        env = as_user_of(account)
        async with running("submit", source, "--job-id", JOB_ID, *flags, env=env) as process:
            run = RUN.search(await process.says("run "))
            await reached.wait()
            # Until what was answered before is on record, by a process that tells nobody of it.
            while settled_by(under_way := told()) != [under_way["added"] + 2]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            await process.end()
        killed = told()
        service.faults = Faults(server_error=0.1)
        resumed = await bulksubmit("runs", "resume", "last", *flags, env=env)

    assert resumed.exit_code == 6
    assert run is not None
    assert (under_way["state"], killed["state"]) == ("running", "unfinished")
    assert [life["ended"] for life in under_way["lives"]] == ["at work"]
    assert [life["ended"] for life in killed["lives"]] == ["killed"]
    assert killed["in_doubt"] >= 400
    assert 0 < killed["added"] < 5_998
    whole = told()
    assert (whole["state"], whole["added"] + whole["existed"], whole["rejected"]) == (
        *("converged", 5_998, 2),
    )
    assert [life["ended"] for life in whole["lives"]] == ["killed", "converged"]
    assert settled_by(whole) == [killed["added"] + 2, 5_998 - killed["added"]]
    assert whole["attempts"]["0"] == 2
    assert whole["attempts"]["2"] > 0
    assert whole["lives"][0]["settings"]["concurrency"] == {"value": "4", "origin": "flag"}
    (group,) = whole["exceptions"]
    assert (group["verdict"], group["tasks"], group["examples"][0]["task_id"]) == (
        *("rejected", 2, "bad-1"),
    )

    ended = report(run[1])
    page = (here / f"{run[1]}.html").read_text("utf-8")
    assert (ended.exit_code, ended.stdout) == (0, f"{run[1]}.html\n")
    assert_no_secret(page)
    assert "All 6,000 tasks of the source are settled; 2 were rejected." in page
    assert ">killed</td>" in page
    assert ">converged</td>" in page
    assert "<code>--max-rejects</code>" in page
    assert "rejects_bound" not in page


async def converged(account: Account, source: Path) -> None:
    ended = await submit(account, source, "--invalid", "reject")
    assert ended.exit_code == 6


async def test_where_it_is_written(source: Path, here: Path) -> None:
    """
    To a file of that name, to standard output, or by default to one of the run's name here. An
    earlier report of the run is replaced, any other file only if so told.
    """
    async with listening(make_service()) as account:
        await converged(account, source)
    (here / "mine.html").write_text("mine")

    assert report("last", "-o", "-").stdout.startswith("<!doctype html>")
    assert names_in(here) == {"mine.html"}
    refused = report("last", "-o", "mine.html")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert (
        "error: mine.html is there already; name another, or replace it by --force"
        in refused.stderr
    )
    assert (here / "mine.html").read_text() == "mine"
    for args in (("-o", "mine.html", "--force"), ("-o", "mine.html"), ("--to", "its.html")):
        assert report("last", *args).stdout == f"{args[1]}\n"
    assert report("last", "-o", "run.json", "--output", "json").exit_code == 0
    assert orjson.loads((here / "run.json").read_bytes())["rejected"] == 2
    missing = report("last", "-o", "no/such/folder.html")
    assert "no/such/folder.html cannot be written: No such file or directory" in missing.stderr
    assert names_in(here) == {"mine.html", "its.html", "run.json"}


async def test_of_a_run_of_the_version_before(source: Path, here: Path) -> None:
    """
    Its account is there, and that nothing more is known; a look does not change its journal.
    """
    async with listening(make_service()) as account:
        ended = await submit(account, source, "--invalid", "reject")
    journal = Path(ended.report["journal_path"])
    with closing(sqlite3.connect(journal)) as db:
        for table in ("life", "sample", "attempts"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version = 2")
        db.commit()
    before = read(journal)

    assert report("last").exit_code == 0

    (name,) = names_in(here)
    assert b"there are no curves" in read(here / name)
    assert read(journal) == before


def test_of_a_run_that_is_not_there(here: Path) -> None:
    """
    It is an error in the call, and leaves no file.
    """
    ended = report("20200101")

    assert ended.exit_code != 0
    assert "20200101: there is no such run; bulksubmit runs list shows them" in ended.stderr
    assert list(here.iterdir()) == []
