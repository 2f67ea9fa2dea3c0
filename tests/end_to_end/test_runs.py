"""``bulksubmit runs``, and ``submit`` beside an unfinished run: what a user sees and scripts."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from bulksubmit import Settings, SharedKey, UnfinishedRun, resume, stream, submit
from bulksubmit.emulator.exchange import Operation
from bulksubmit.emulator.faults import TaskFault
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    Account,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import Ended, as_user_of, bulksubmit, bulksubmit_here
from tests.end_to_end.commands import submit as submit_command
from tests.journal.runs import change_file

TASKS = make_tasks(3000)


def refuse_some(task_id: str) -> TaskFault | None:
    """One task in a thousand is rejected for good."""
    bad = task_id.endswith("500")
    return TaskFault("ClientError", "InvalidPropertyValue") if bad else None


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "tasks.jsonl", TASKS)


async def stopped(account: Account, source: Path, *args: str) -> Ended:
    """A run that was stopped with some 1,000 tasks settled."""
    ended = await submit_command(account, source, "--max-rejects", "0", "--concurrency", "1", *args)
    assert ended.exit_code == 5
    return ended


def files_beside(path: Path) -> list[Path]:
    """What lies where a file lies."""
    return list(path.parent.iterdir())


def names_beside(ended: Ended) -> list[str]:
    """What lies in a run's folder."""
    return sorted(path.name for path in Path(ended.report["journal_path"]).parent.iterdir())


def cut(path: Path, size: int) -> None:
    """Only so much of a file is left."""
    path.write_bytes(path.read_bytes()[:size])


def runs(*args: str | Path, env: dict[str, str] | None = None) -> Ended:
    """``bulksubmit runs`` with these arguments."""
    return bulksubmit_here("runs", *args, env=env or {})


def json_of(*args: str | Path) -> Any:
    """What it says as JSON."""
    ended = runs(*args, "--output", "json")
    assert ended.exit_code == 0, ended.stderr
    return orjson.loads(ended.stdout)


async def test_submit_resume_and_look(source: Path) -> None:
    """
    A run that stopped is listed, shown, gone on with, and reported as a whole; the job holds each
    task once.
    """
    async with listening(make_service(task_script=refuse_some)) as account:
        first = await stopped(account, source)
        run_id = first.report["run_id"]
        assert f"run {run_id}: journal {first.report['journal_path']}" in first.stderr
        assert f"bulksubmit runs resume {run_id}" in first.stderr
        assert names_beside(first) == ["rejects.ndjson", "run.db", "run.lock"]

        (listed,) = json_of("list")
        assert (listed["run_id"], listed["state"], listed["job"]) == (run_id, "unfinished", JOB_ID)
        assert listed["rejected"] == 1

        again = await bulksubmit(
            *("runs", "resume", "last", "--output", "json"), env=as_user_of(account)
        )
        assert again.exit_code == 6
        assert again.report["run_id"] == run_id
        counted = [again.report[name] for name in ("total", "added", "rejected")]
        assert counted == [3000, 2997, 3]
        assert len(account.job) == 2997
        adds = account.adds
        assert adds == again.report["requests"] == 30

        # A converged run has its report, and the service is not asked.
        whole = await bulksubmit(
            *("runs", "resume", run_id[:-1], "--output", "json"), env=as_user_of(account)
        )
        assert whole.exit_code == 6
        assert whole.report["added"] == 2997
        assert account.adds == adds

    shown = json_of("show", run_id)
    assert (shown["state"], shown["tasks_read"], shown["unsettled"]) == ("converged", 3000, 0)
    (exception,) = shown["exceptions"]
    assert (exception["verdict"], exception["code"]) == ("rejected", "InvalidPropertyValue")
    assert (exception["tasks"], exception["first_line"]) == (3, 501)
    table = runs("show", "last").stdout
    assert "3 rejected InvalidPropertyValue from line 501" in table
    assert runs("list").stdout.splitlines()[1].startswith(f"{run_id}  converged  {JOB_ID}")


async def test_one_task(source: Path) -> None:
    """--task says what became of one, and where it stands; its ID in whatever case."""
    async with listening(make_service(task_script=refuse_some)) as account:
        await stopped(account, source)

    rejected = json_of("show", "last", "--task", "T-00500")
    assert (rejected["verdict"], rejected["line"], rejected["attempts"]) == ("rejected", 501, 1)
    assert rejected["request_id"]
    assert rejected["client_request_id"]
    added = json_of("show", "last", "--task", "t-00000")
    assert (added["verdict"], added["line"], added["ordinal"]) == ("added", 1, 0)
    assert added["source"] == str(source)
    assert json_of("show", "last", "--task", "t-02999")["verdict"] == "unsettled"
    assert "unsettled" in runs("show", "last", "--task", "t-02999").stdout
    unknown = runs("show", "last", "--task", "nobody")
    assert unknown.exit_code == 2
    assert "holds no task 'nobody'" in unknown.stderr


async def test_exports_can_be_fed_back(source: Path, tmp_path: Path) -> None:
    """What is exported are the tasks themselves; submitted, they bring the job to the whole."""
    mended: list[bool] = []

    def refuse(task_id: str) -> TaskFault | None:
        return None if mended else refuse_some(task_id)

    async with listening(make_service(task_script=refuse)) as account:
        await stopped(account, source)

        def exported(what: str) -> list[bytes]:
            ended = runs("export", "last", "--what", what)
            assert ended.exit_code == 0
            return ended.stdout.encode().splitlines()

        rejected, unsettled = exported("rejected"), exported("unsettled")
        assert rejected == [TASKS[500]]
        assert len(unsettled) + len(rejected) + len(account.job) == 3000
        assert exported("in-doubt") == []
        assert sorted(exported("all")) == sorted(rejected + unsettled)

        rest = tmp_path / "rest.jsonl"
        assert runs("export", "last", "--to", rest).exit_code == 0
        mended.append(True)
        ended = await submit_command(account, rest)
        assert ended.exit_code == 0
        account.assert_holds(TASKS)

    # What is there is not written over.
    kept = rest.read_bytes()
    again = runs("export", ended.report["run_id"], "--to", rest)
    assert (again.exit_code, rest.read_bytes()) == (2, kept)
    assert f"{rest} cannot be written: File exists" in again.stderr


async def test_submit_beside_an_unfinished_run(source: Path) -> None:
    """
    It stops with exit 2 before anything is sent, and names both ways on. --resume takes the one;
    --new-run the other, to which the tasks of the first are foreign.
    """
    async with listening(make_service(task_script=refuse_some)) as account:
        first = await stopped(account, source)
        adds = account.adds

        refused = await submit_command(account, source)
        assert refused.exit_code == 2
        assert account.adds == adds
        for text in (first.report["run_id"], "--resume", "--new-run"):
            assert text in refused.report["error"]

        new = await submit_command(account, source, "--new-run", "--max-rejects", "2000")
        assert new.report["run_id"] != first.report["run_id"]
        assert new.report["total"] == 3000

        resumed = await submit_command(account, source, "--resume", "--max-rejects", "3000")
        assert resumed.report["run_id"] == first.report["run_id"]
        assert resumed.report["unsettled"] == 0


async def test_resume_of_what_has_converged(source: Path) -> None:
    """
    Whoever repeats --resume until it succeeds gets the report of the run that did, though its
    process was killed before it could print it; nothing is sent again.
    """
    async with listening(make_service()) as account:
        first = await submit_command(account, source)
        adds = account.adds

        again = await submit_command(account, source, "--resume")

        assert account.adds == adds
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert again.report["run_id"] == first.report["run_id"]
    assert again.report["added"] == 3000


async def test_what_a_resume_refuses(source: Path) -> None:
    """Another account, a changed source, no such run: said, with exit 2, and nothing is sent."""
    async with listening(make_service(task_script=refuse_some)) as account:
        first = await stopped(account, source)
        adds = account.adds
        env = as_user_of(account)

        async def refused(*args: str, **also: str) -> str:
            ended = await bulksubmit(
                *("runs", "resume", *args, "--output", "json"), env={**env, **also}
            )
            assert ended.exit_code == 2
            assert ended.report["run_id"] in (None, first.report["run_id"])
            return str(ended.report["error"])

        elsewhere = {"AZURE_BATCH_ENDPOINT": "https://other.westeurope.batch.azure.com"}
        assert "not of https://other" in await refused("last", **elsewhere)
        assert "there is no such run" in await refused("1999")
        assert "is no run" in await refused("nonsense")
        change_file(source, "grown")
        assert "had " in await refused("last")
        change_file(source, "gone")
        assert "No such file" in await refused("last")
        assert account.adds == adds


async def test_a_changed_source_is_not_looked_into(source: Path) -> None:
    """
    Where a task stood says nothing of a file that was changed since: no other task is exported in
    its stead, or shown.
    """
    async with listening(make_service(task_script=refuse_some)) as account:
        await stopped(account, source)
    change_file(source, "edited")

    nowhere = source.with_name("nowhere")
    for args in (("export", "last", "--to", nowhere), ("show", "last", "--task", "t-00001")):
        ended = runs(*args)
        assert ended.exit_code == 2
        assert "was written to since" in ended.stderr
        assert ended.stdout == ""
    assert nowhere.name not in {path.name for path in files_beside(source)}
    # What the journal itself tells of a task is told.
    assert json_of("show", "last", "--task", "t-00500")["verdict"] == "rejected"
    assert json_of("show", "last")["rejected"] == 1


async def test_rm(source: Path, state_folder: Path) -> None:
    """A run's files are removed; those of an unfinished one only by force."""
    async with listening(make_service(task_script=refuse_some)) as account:
        await stopped(account, source)
        refused = runs("rm", "last")
        assert refused.exit_code == 2
        assert "--force" in refused.stderr
        assert len(json_of("list")) == 1

        assert runs("rm", "last", "--force").exit_code == 0
        assert json_of("list") == []
        assert list((state_folder / "runs").iterdir()) == []

        done = await submit_command(account, source, "--max-rejects", "3000")
        assert runs("rm", done.report["run_id"]).exit_code == 0
        assert len(account.job) > 0
    assert runs("rm", "last").exit_code == 2


async def test_a_run_that_is_damaged(source: Path) -> None:
    """It is never begun anew in silence: the reason is said, with exit 2."""
    async with listening(make_service(task_script=refuse_some)) as account:
        first = await stopped(account, source)
        adds = account.adds
        journal = Path(first.report["journal_path"])
        cut(journal, 5000)

        again = await bulksubmit(
            *("runs", "resume", first.report["run_id"], "--output", "json"),
            env=as_user_of(account),
        )

        assert again.exit_code == 2
        assert str(journal) in again.report["error"]
        assert account.adds == adds


async def test_a_pipe_with_spool() -> None:
    """
    --spool keeps a copy, so that a run of a pipe goes on too; without it the notes say that it
    cannot.
    """
    piped = b"\n".join([*TASKS, b""])
    async with listening(make_service(task_script=refuse_some)) as account:
        plain = await submit_command(account, "-", "--max-rejects", "0", stdin=piped)
        assert plain.report["journal_path"] is None
        assert "cannot be resumed" in plain.stderr

    async with listening(make_service(task_script=refuse_some)) as account:
        ended = await submit_command(
            *(account, "-", "--spool", "--max-rejects", "0", "--concurrency", "1"), stdin=piped
        )
        assert ended.exit_code == 5
        assert "spool" in names_beside(ended)

        again = await bulksubmit(
            *("runs", "resume", "last", "--output", "json"), env=as_user_of(account)
        )
        assert again.exit_code == 6
        assert (again.report["total"], again.report["added"]) == (3000, 2997)
        assert len(account.job) == 2997


async def test_max_duration(source: Path) -> None:
    """--max-duration stops a run in order: exit 5, nothing in doubt, and it goes on."""
    async with listening(make_service()) as account:
        ended = await submit_command(
            *(account, source, "--max-duration", "0.2", "--concurrency", "1"),
            *("--max-tasks-per-request", "1"),
        )
        assert ended.exit_code == 5
        assert ended.report["error"] == "max-duration of 0.2 s is over"
        assert ended.report["in_doubt"] == 0
        assert ended.report["added"] == len(account.job)

        again = await submit_command(account, source, "--resume")
        assert again.exit_code == 0
        account.assert_holds(TASKS)


async def test_the_library_does_the_same(source: Path) -> None:
    """Leave a stream, resume it by its name; an iterable with spool=True goes on as well."""
    how: dict[str, Any] = {"credential": SharedKey(NAME, KEY)}
    async with listening(make_service()) as account:
        how["endpoint"] = account.endpoint
        one = Settings(concurrency=1)
        async with stream(source, job_id=JOB_ID, settings=one, **how) as outcomes:
            await anext(outcomes)
        assert not outcomes.report.converged
        with pytest.raises(UnfinishedRun) as raised:
            await submit(source, job_id=JOB_ID, **how)
        assert raised.value.run_id == outcomes.run.run_id
        async with resume(raised.value.run_id, **how) as rest:
            await rest.drain()
        assert rest.report.converged
        account.assert_holds(TASKS)
        assert account.adds == 30

    async with listening(make_service()) as account:
        how["endpoint"] = account.endpoint
        spooled = Settings(concurrency=1, spool=True)
        async with stream(iter(TASKS), job_id=JOB_ID, settings=spooled, **how) as outcomes:
            await anext(outcomes)
        async with resume("last", **how) as rest:
            await rest.drain()
        assert rest.report.converged
        account.assert_holds(TASKS)


async def test_a_state_folder_in_the_way(source: Path, tmp_path: Path) -> None:
    """Nothing is sent if the journal cannot be made: exit 2."""
    (tmp_path / "file").write_bytes(b"in the way")
    async with listening(make_service()) as account:
        ended = await bulksubmit(
            *("submit", source, "--job-id", JOB_ID, "--output", "json"),
            env={**as_user_of(account), "BULKSUBMIT_STATE_DIR": str(tmp_path / "file")},
        )

        assert ended.exit_code == 2
        assert "cannot be made" in ended.report["error"]
        assert account.service.record.by_operation[Operation.GET_JOB] == 0
