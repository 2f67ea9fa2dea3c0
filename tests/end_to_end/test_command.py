"""``bulksubmit submit`` as a process: what goes in, what comes out, and where."""

import signal
from pathlib import Path

import pytest

from bulksubmit.emulator.faults import Fault, Faults, TaskFault
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    Account,
    listening,
    make_service,
    make_tasks,
    read_rows,
    write_lines,
)
from tests.end_to_end.commands import (
    as_user_of,
    assert_no_secret,
    bulksubmit,
    running,
    submit,
)

TASKS = make_tasks(1000)

REPORT = [
    *("run_id", "job_id", "converged", "total", "added", "existed", "rejected", "existed_own"),
    *("abandoned", "unsettled", "in_doubt", "source_complete", "requests", "retried_requests"),
    *("throttled_requests", "bytes_sent", "elapsed_s", "tasks_per_s", "limit", "limit_reason"),
    *("limit_raised", "limit_cut", "limited_by", "limited_share", "advice", "rejects_path"),
    *("journal_path", "exit_code"),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "tasks.jsonl", TASKS)


def refuse_three(task_id: str) -> TaskFault | None:
    bad = task_id in {"t-00003", "t-00500", "t-00999"}
    return TaskFault("ClientError", "InvalidPropertyValue") if bad else None


async def test_json(source: Path) -> None:
    """
    With ``--output json`` standard output holds the report and nothing else; 0 says that every
    task exists.
    """
    async with listening(make_service(Faults(drop_after=0.1))) as account:
        ended = await submit(account, source)
        account.assert_holds(TASKS)

    assert ended.exit_code == 0
    assert list(ended.report) == REPORT
    assert ended.report["converged"]
    assert ended.report["total"] == 1000
    assert ended.report["requests"] == account.adds
    assert "error" not in ended.stderr


async def test_table(source: Path) -> None:
    """
    Otherwise it holds the report as a table.
    """
    async with listening(make_service()) as account:
        command = ("submit", source, "--job-id", JOB_ID)
        ended = await bulksubmit(*command, env=as_user_of(account))

    assert ended.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines())
    assert (rows["job"], rows["added"], rows["existed"], rows["unsettled"]) == (
        JOB_ID,
        "1,000",
        "0",
        "0",
    )
    assert rows["converged"].startswith("yes")


async def test_standard_input() -> None:
    """
    The source may be a pipe.
    """
    async with listening(make_service()) as account:
        ended = await submit(account, "-", stdin=b"\n".join(TASKS))
        account.assert_holds(TASKS)

    assert (ended.exit_code, ended.report["added"]) == (0, 1000)


async def test_everything_by_flag(source: Path, tmp_path: Path) -> None:
    """
    Nothing needs the environment: the key comes from a file.
    """
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    async with listening(make_service()) as account:
        flags = {
            "--job-id": JOB_ID,
            "--account-endpoint": f"{account.endpoint}/",
            "--account-name": NAME,
            "--account-key-file": str(key_file),
            "--auth-mode": "shared_key",
            "--api-version": "2025-06-01",
            "--server-timeout": "60",
            "--concurrency": "3",
            "--max-tasks-per-request": "40",
            "--max-request-bytes": "1000",
            "--max-buffer": "10000000",
            "--retry-timeout": "10",
            "--max-rejects": "5%",
            "--output": "json",
        }
        ended = await bulksubmit("submit", source, *(x for pair in flags.items() for x in pair))
        account.assert_holds(TASKS)

        seen = account.service.record
        assert ended.exit_code == 0
        assert seen.in_flight_peak <= 3
        assert max(one.body_bytes for one in seen.log) <= 1000


async def test_everything_by_environment(source: Path) -> None:
    """
    Every flag has a variable.
    """
    own = {
        "BULKSUBMIT_JOB_ID": JOB_ID,
        "BULKSUBMIT_OUTPUT": "json",
        "BULKSUBMIT_MAX_TASKS_PER_REQUEST": "50",
    }
    async with listening(make_service()) as account:
        ended = await bulksubmit("submit", source, env=own | as_user_of(account))

    assert (ended.exit_code, ended.report["requests"]) == (0, 20)


async def test_rejected_tasks(source: Path, tmp_path: Path) -> None:
    """
    6 says that every task is settled and some are rejected; they are in the run's folder, and
    every task has its row in the results.
    """
    results = tmp_path / "results.ndjson"
    async with listening(make_service(task_script=refuse_three)) as account:
        ended = await submit(account, source, "--results", results)

    assert ended.exit_code == 6
    assert (ended.report["added"], ended.report["rejected"]) == (997, 3)
    assert ended.report["run_id"] in ended.report["rejects_path"]
    lines = [row["line"] for row in read_rows(ended.report["rejects_path"])]
    assert sorted(lines) == [4, 501, 1000]
    assert sorted(row["line"] for row in read_rows(results)) == list(range(1, 1001))


async def test_too_many_rejected_tasks(source: Path) -> None:
    """
    5 says that ``--max-rejects`` stopped it.
    """
    async with listening(make_service(task_script=refuse_three)) as account:
        ended = await submit(account, source, "--max-rejects", "0", "--concurrency", "1")

    assert ended.exit_code == 5
    assert ended.report["unsettled"] > 0
    assert "max-rejects" in ended.report["error"]


async def test_earlier_rejects_are_not_overwritten(source: Path, tmp_path: Path) -> None:
    """
    A rejects file that holds something may be all that is left of an earlier run.
    """
    rejects = tmp_path / "rejects.ndjson"
    rejects.write_text("precious\n")
    async with listening(make_service()) as account:
        ended = await submit(account, source, "--rejects", rejects)

        assert account.adds == 0
    assert (ended.exit_code, rejects.read_text()) == (2, "precious\n")
    assert str(rejects) in ended.stderr


async def test_quiet(source: Path) -> None:
    """
    What holds the run back is told on standard error, unless it is to be quiet.
    """
    async with listening(make_service(script=[Fault.THROTTLED_BARE])) as account:
        loud = await submit(account, source, "--concurrency", "1")
    async with listening(make_service(script=[Fault.THROTTLED_BARE])) as account:
        quiet = await submit(account, source, "--concurrency", "1", "--quiet")

    assert "holding back" in loud.stderr
    assert "TooManyRequests" in loud.stderr
    assert "going on" in loud.stderr
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- The log ------------------------------------------------------------------------------------


def assert_log_is_whole(rows: list[dict[str, str]], account: Account) -> None:
    """Each request that the service saw is in the log, by both of its IDs."""
    requests = [row for row in rows if row["event"] == "request_ended"]
    seen = [one.client_request_id for one in account.service.record.log]
    assert sorted(row["client_request_id"] for row in requests) == sorted(map(str, seen))
    assert len(set(seen)) == len(seen)
    assert all(row["request_id"] for row in requests if row["status"])
    answered = [row for row in requests if row["reply"] == "answered"]
    assert len({row["request_id"] for row in answered}) == len(answered) >= 11


async def test_log_as_json(source: Path, tmp_path: Path) -> None:
    """
    The log has one line a request: both request-ids, status, bytes, tasks, latency and the
    attempt's number.
    """
    log = tmp_path / "log"
    script = [Fault.DROP_AFTER, Fault.THROTTLED_BARE, Fault.MISSING]
    async with listening(make_service(script=script)) as account:
        ended = await submit(account, source, "--log-file", log, "--log-format", "json")

    rows = read_rows(log)
    assert ended.exit_code == 0
    assert_log_is_whole(rows, account)
    attempts = [row for row in rows if row["event"] == "request_ended" and row["attempt"]]
    assert sorted(row["attempt"] for row in attempts) == list(range(1, len(attempts) + 1))
    assert sum(row["bytes_sent"] for row in attempts) == ended.report["bytes_sent"]
    assert sum(row["resent"] > 0 for row in attempts) == ended.report["retried_requests"]
    assert all(row["latency_s"] > 0 and row["tasks"] >= 1 for row in attempts)
    assert [row["reply"] for row in rows if row.get("status") == 429] == ["throttled"]
    assert {row["level"] for row in rows} == {"info", "warning"}
    assert_no_secret(log.read_text())


async def test_log_as_text(source: Path, tmp_path: Path) -> None:
    """
    The same as text, added to what is there.
    """
    log = tmp_path / "log"
    log.write_text("earlier\n")
    async with listening(make_service()) as account:
        await submit(account, source, "--log-file", log)

        lines = log.read_text().splitlines()
        for one in account.service.record.log:
            name = f"client_request_id='{one.client_request_id}'"
            assert sum(name in line for line in lines) == 1
    assert lines[0] == "earlier"
    assert "request_id=" in lines[2]
    assert_no_secret(log.read_text())


async def test_refused_signature_is_not_logged(source: Path, tmp_path: Path) -> None:
    """
    The service quotes a signature that it refuses; we do not.
    """
    log, key_file = tmp_path / "log", tmp_path / "key"
    key_file.write_text(KEY[4:])
    async with listening(make_service()) as account:
        ended = await submit(account, source, "--account-key-file", key_file, "--log-file", log)

    assert ended.exit_code == 4
    assert "AuthenticationFailed" in log.read_text()
    assert KEY[4:] not in ended.stdout + ended.stderr + log.read_text()
    assert_no_secret(log.read_text())


async def test_state_holds_no_secret(source: Path, state_folder: Path) -> None:
    """
    Nor is a secret in any file that a run leaves behind.
    """
    async with listening(make_service(task_script=refuse_three)) as account:
        await submit(account, source)

    files = {file.name: file.read_bytes() for file in files_in(state_folder)}
    assert set(files) == {"run.db", "run.lock", "rejects.ndjson"}
    for held in files.values():
        assert_no_secret(held.decode("latin-1"))


# --- The other commands -------------------------------------------------------------------------


async def test_emulator_and_submit(source: Path) -> None:
    """
    The emulator says in one line how to point a client at it, which then works: with a key that
    it made up, on a port that it found free.
    """
    async with running("emulator", "--job", JOB_ID, "--account-name", NAME) as emulator:
        words = (await emulator.first_line()).split()
        shown = dict(word.split("=", 1) for word in words if word.startswith("AZURE_"))
        command = words[words.index("bulksubmit") :]
        assert command[:2] == ["bulksubmit", "submit"]

        ended = await bulksubmit("submit", source, *command[3:], "--output", "json", env=shown)
        emulator.send_signal(signal.SIGTERM)
        assert (await emulator.end()).exit_code == 0

    assert (ended.exit_code, ended.report["added"]) == (0, 1000)


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("submit", ["AZURE_BATCH_ACCESS_KEY", "AZURE_BATCH_ACCOUNT", "AZURE_BATCH_ENDPOINT"]),
        ("submit", ["AZURE_BATCH_AUTH_MODE", "BULKSUBMIT_STATE_DIR", "BULKSUBMIT_MAX_REJECTS"]),
        ("verify", ["AZURE_BATCH_ACCESS_KEY", "AZURE_BATCH_ENDPOINT", "TMPDIR"]),
        ("emulator", ["AZURE_BATCH_ACCESS_KEY"]),
    ],
)
async def test_help(command: str, variables: list[str]) -> None:
    """
    Each command's help lists the environment variables that it reads.
    """
    ended = await bulksubmit(command, "--help")

    assert (ended.exit_code, ended.stderr) == (0, "")
    assert [name for name in variables if name not in ended.stdout] == []


async def test_help_of_all() -> None:
    """
    The help of the whole names each command.
    """
    ended = await bulksubmit("--help")

    assert ended.exit_code == 0
    for command in ("demo", "submit", "emulator"):
        assert command in ended.stdout


# --- Standard streams ---------------------------------------------------------------------------


@pytest.mark.parametrize("redirected", [">&-", ">/dev/null", "| true"])
async def test_nobody_reads_the_report(source: Path, redirected: str) -> None:
    """
    A reader of the report that has gone, or never was, is no reason to complain; what was
    submitted is submitted.
    """
    async with listening(make_service()) as account:
        ended = await submit(account, source, redirected=redirected)
        account.assert_holds(TASKS)

    assert ended.stdout == ""
    run, hint = ended.stderr.splitlines()
    assert run.startswith("run ")
    assert "bulksubmit runs resume" in hint


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "2>&1 >/dev/null | true"])
async def test_nobody_reads_the_notes(source: Path, redirected: str) -> None:
    """
    Notes that nobody can read do not end the run either.
    """
    async with listening(make_service(script=[Fault.THROTTLED_BARE])) as account:
        ended = await submit(account, source, "--concurrency", "1", redirected=redirected)
        account.assert_holds(TASKS)

    assert ended.stderr == ""


async def test_no_standard_input() -> None:
    """
    Standard input that was closed before we began holds no task.
    """
    async with listening(make_service()) as account:
        ended = await submit(account, "-", redirected="<&-")

        assert account.adds == 0
    assert ended.exit_code == 2
    assert "holds no task" in ended.report["error"]
