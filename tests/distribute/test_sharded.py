"""A source shared by several workers: the same promises as those of one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from bulksubmit import SettingsError, SourceError, Verdict, resume, submit
from bulksubmit.core.events import RequestEnded
from bulksubmit.distribute.crew import Crew
from bulksubmit.emulator.faults import Faults
from bulksubmit.errors import NotConverged, OutputError, ServiceRefused
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.settings import RejectsBound, Settings
from tests.distribute.crews import Unlucky, flood, make_credential, threads
from tests.end_to_end.account import (
    JOB_ID,
    listening,
    make_service,
    make_tasks,
    read_rows,
    refusing,
    write_lines,
)

pytestmark = pytest.mark.usefixtures("hurried")

SHARD = 20_000  # Bytes: some 450 tasks.


async def test_every_task_is_added_once_whatever_goes_wrong(tmp_path: Path) -> None:
    tasks = make_tasks(6000)
    path = write_lines(tmp_path / "tasks.jsonl", tasks)
    faults = Faults(server_error=0.02, drop_after=0.02, missing=0.02, throttled_bare=0.02)
    async with listening(make_service(faults)) as account, threads(3, shard_bytes=SHARD) as crew:
        ended = await flood(account, path, crew)

        assert ended.error is None
        account.assert_holds(tasks)
    report = ended.report
    assert (report.total, report.unsettled, report.in_doubt) == (6000, 0, 0)
    assert report.added + report.existed == 6000
    assert report.existed == report.existed_own
    assert report.requests == account.adds
    told = [event for event in ended.events if isinstance(event, RequestEnded) and event.attempt]
    assert len(told) == report.requests


async def test_what_is_invalid_or_refused_has_its_line_of_the_file(tmp_path: Path) -> None:
    """
    A worker in the middle of a file does not know how many lines are before it; the rows do.
    """
    tasks = make_tasks(3000)
    lines = list(tasks)
    for number in (5, 777, 1500, 2222, 2999):
        lines[number] = b'{"id": "no command %d"}' % number
    lines.insert(1000, b"")  # A blank line counts, and is no task.
    path = write_lines(tmp_path / "tasks.jsonl", lines)
    wanted = sorted(n + 1 for n, line in enumerate(lines) if b"no command" in line)
    async with listening(make_service()) as account, threads(2, shard_bytes=SHARD) as crew:
        ended = await flood(account, path, crew, Settings(invalid="reject"))

    report = ended.report
    assert (report.total, report.added, report.rejected) == (3000, 2995, 5)
    assert report.rejects_path
    rows = read_rows(report.rejects_path)
    assert sorted(row["line"] for row in rows) == wanted
    assert {row["where"] for row in rows} == {f"{path}:{line}" for line in wanted}
    with closing(sqlite3.connect(str(report.journal_path))) as db:
        told = db.execute("SELECT line FROM exception ORDER BY line").fetchall()
    assert [line for (line,) in told] == wanted


async def test_the_first_invalid_line_stops_all_and_is_named(tmp_path: Path) -> None:
    lines = make_tasks(4000)
    lines[3210] = b'{"id": "x"}'
    path = write_lines(tmp_path / "tasks.jsonl", lines)
    async with listening(make_service()) as account, threads(2, shard_bytes=SHARD) as crew:
        ended = await flood(account, path, crew)

        assert isinstance(ended.error, SourceError)
        assert str(ended.error).startswith(f"{path}:3211: ")
        assert "--invalid reject" in str(ended.error)
        assert ended.report.exit_code == 5
        assert ended.report.added == len(list(account.job.bodies()))


async def test_the_results_have_every_task_with_its_line(tmp_path: Path) -> None:
    tasks = make_tasks(2000)
    path, results = write_lines(tmp_path / "tasks.jsonl", tasks), tmp_path / "results.ndjson"
    async with listening(make_service()) as account, threads(2, shard_bytes=SHARD) as crew:
        await flood(account, path, crew, Settings(results_path=results))

    rows = {row["id"]: row["line"] for row in read_rows(results)}
    assert rows == {f"t-{n:05d}": n + 1 for n in range(2000)}


async def test_a_job_that_is_not_there_ends_it_before_anything_is_handed_out(
    tmp_path: Path,
) -> None:
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(10))
    async with listening(make_service()) as account, threads(2) as crew:
        ended = await flood(account, path, crew, job_id="no-such-job")

    assert isinstance(ended.error, ServiceRefused)
    assert ended.report.exit_code == 3


async def test_an_answer_that_ends_the_run_stops_all_workers(tmp_path: Path) -> None:
    """
    One worker is told that the job has completed; the others stop, and nothing is in flight.
    """
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(5000))
    script = [None] * 20 + [refusing("JobCompleted")]
    async with listening(make_service(script=script)) as account:
        async with threads(3, shard_bytes=SHARD) as crew:
            ended = await flood(account, path, crew)

        assert isinstance(ended.error, ServiceRefused)
        assert ended.report.exit_code == 7
        settled = ended.report.added + ended.report.existed
        assert settled <= len(list(account.job.bodies())) <= settled + ended.report.in_doubt


async def test_a_lost_worker_s_shard_is_done_by_another(tmp_path: Path) -> None:
    tasks = make_tasks(3000)
    path = write_lines(tmp_path / "tasks.jsonl", tasks)
    seen: set[int] = set()

    def loses(call: object) -> bool:
        number = call.shard  # type: ignore[attr-defined]  # A Call.
        first = number not in seen
        seen.add(number)
        return first and number % 2 == 0

    executor = Unlucky(2, loses=loses)
    async with listening(make_service()) as account:
        crew = Crew(executor, 2, shard_bytes=SHARD, make_credential=make_credential)
        ended = await flood(account, path, crew)

        assert ended.error is None
        account.assert_holds(tasks)
    assert executor.lost >= 2
    assert ended.report.added == 3000


async def test_a_shard_that_ends_each_worker_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    tasks = make_tasks(3000)
    path = write_lines(tmp_path / "tasks.jsonl", tasks)
    poison = 3
    executor = Unlucky(2, loses=lambda call: call.shard == poison)
    async with listening(make_service()) as account:
        crew = Crew(executor, 2, shard_bytes=SHARD, make_credential=make_credential)
        ended = await flood(account, path, crew)

        assert isinstance(ended.error, NotConverged)
        assert ended.report.exit_code == 5
        assert f"{path}, bytes " in str(ended.error)
        assert "killed by SIGKILL" in str(ended.error)
        assert ended.report.run_id
        left = 3000 - ended.report.added
        assert 300 < left < 500

        async with (
            threads(2) as healthy,
            resume(ended.report.run_id, credential=make_credential(), executor=healthy) as outcomes,
        ):
            await outcomes.drain()
        assert outcomes.report.exit_code == 0
        account.assert_holds(tasks)
    assert outcomes.report.total == 3000
    assert outcomes.report.added == 3000


async def test_a_run_ends_if_every_worker_is_lost(tmp_path: Path) -> None:
    """
    Nobody is left who could say anything once the last shard is given up.
    """
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(1000))
    executor = Unlucky(2, loses=lambda _: True)
    async with listening(make_service()) as account:
        crew = Crew(executor, 2, shard_bytes=SHARD, make_credential=make_credential)
        with anyio.fail_after(20):
            ended = await flood(account, path, crew)

    assert isinstance(ended.error, NotConverged)
    assert "3 shards ended worker after worker" in str(ended.error)
    assert ended.report.exit_code == 5
    assert executor.lost == 9


async def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    tasks = make_tasks(6000)
    path = write_lines(tmp_path / "tasks.jsonl", tasks)
    async with listening(make_service(Faults(server_error=0.01))) as account:
        async with threads(2, shard_bytes=SHARD) as crew:
            stopped = await flood(account, path, crew, Settings(max_duration_s=0.8, max_rate=3000))
        assert stopped.report.exit_code == 5
        assert 0 < stopped.report.added < 6000
        assert stopped.report.run_id

        async with (
            threads(3) as crew,
            resume(stopped.report.run_id, credential=make_credential(), executor=crew) as outcomes,
        ):
            await outcomes.drain()
        account.assert_holds(tasks)
    report = outcomes.report
    assert (report.exit_code, report.total) == (0, 6000)
    assert report.added + report.existed_own == 6000
    assert report.requests == account.adds

    path.unlink()  # Of a run that has converged nothing is read, whoever is to share it.
    async with (
        threads(2) as crew,
        resume(stopped.report.run_id, credential=make_credential(), executor=crew) as outcomes,
    ):
        await outcomes.drain()
    assert (outcomes.report.exit_code, outcomes.report.requests) == (0, report.requests)


async def test_too_many_rejects_stop_all(tmp_path: Path) -> None:
    lines = make_tasks(3000)
    for number in range(0, 3000, 3):
        lines[number] = b"{}"
    path = write_lines(tmp_path / "tasks.jsonl", lines)
    settings = Settings(invalid="reject", rejects_bound=RejectsBound(count_max=50))
    async with listening(make_service()) as account, threads(2, shard_bytes=SHARD) as crew:
        ended = await flood(account, path, crew, settings)

    assert isinstance(ended.error, NotConverged)
    assert "max-rejects" in str(ended.error)


async def test_what_cannot_be_written_down_was_sent_all_the_same(tmp_path: Path) -> None:
    """
    The disk with the results is full: the account does not say that nothing was sent.
    """
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(1000))
    settings = Settings(results_path=Path("/dev/full"))
    async with listening(make_service()) as account, threads(2, shard_bytes=SHARD) as crew:
        ended = await flood(account, path, crew, settings)

        assert isinstance(ended.error, OutputError)
        report, held = ended.report, len(list(account.job.bodies()))
    assert report.exit_code == 5
    assert held > 0
    assert report.requests > 0
    # A worker that was stopped in time has sent nothing of what it has read.
    assert 0 < report.in_doubt <= report.unsettled == report.total


async def test_a_sweep_is_shared_too() -> None:
    template = '{"id": "f-{i}", "commandLine": "render {i}"}'
    spec = SourceSpec(template=template, sweeps=("i=1..25000",))
    async with listening(make_service()) as account, threads(2) as crew:
        ended = await flood(account, spec, crew)

        assert ended.error is None
        assert len(list(account.job.bodies())) == 25_000
    assert ended.report.total == 25_000


async def test_files_of_any_form_are_shared(tmp_path: Path) -> None:
    """
    What cannot be cut is a shard as a whole.
    """
    write_lines(tmp_path / "a.jsonl", make_tasks(900))
    array = b"[" + b",\n".join(make_tasks(50, first=900)) + b"]"
    (tmp_path / "b.json").write_bytes(array)
    (tmp_path / "c.jsonl").write_bytes(b"")
    async with listening(make_service()) as account, threads(2, shard_bytes=SHARD) as crew:
        ended = await flood(account, str(tmp_path / "*.json*"), crew)

        assert ended.error is None
        account.assert_holds(make_tasks(950))


async def test_an_empty_source_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"\n\n")
    async with listening(make_service()) as account, threads(2) as crew:
        ended = await flood(account, path, crew)

    assert isinstance(ended.error, SourceError)
    assert "holds no task" in str(ended.error)


async def test_what_cannot_be_opened_twice_cannot_be_shared() -> None:
    async with listening(make_service()) as account:
        with pytest.raises(SettingsError, match="several workers"):
            await submit(
                iter(make_tasks(3)),
                job_id=JOB_ID,
                endpoint=account.endpoint,
                credential=make_credential(),
                executor=2,
            )


async def test_a_run_of_one_process_is_not_gone_on_with_by_several(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(3000))
    async with listening(make_service()) as account:
        with pytest.raises(NotConverged) as stopped:
            await submit(
                path,
                job_id=JOB_ID,
                endpoint=account.endpoint,
                credential=make_credential(),
                settings=Settings(max_duration_s=0.3, max_rate=2000),
            )
        report = stopped.value.report
        assert report
        assert report.run_id
        async with threads(2) as crew:
            with pytest.raises(SettingsError, match="begun by one process"):
                async with resume(report.run_id, credential=make_credential(), executor=crew):
                    pass


async def test_the_rate_is_that_of_all_together(tmp_path: Path) -> None:
    """
    Three workers send no more than one would.
    """
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(9000))
    async with listening(make_service()) as account, threads(3, shard_bytes=SHARD) as crew:
        ended = await flood(account, path, crew, Settings(max_rate=2000, max_duration_s=1.5))
    assert 0 < ended.report.added <= 2000 * ended.report.elapsed_s


async def test_abandoned_tasks_have_their_line(tmp_path: Path) -> None:
    """
    The service fails for all of one part of the file: what is given up has its line, too.
    """
    tasks = make_tasks(1500)
    path = write_lines(tmp_path / "tasks.jsonl", tasks)
    faults = Faults(server_error=1.0)
    async with listening(make_service(faults)) as account, threads(2, shard_bytes=SHARD) as crew:
        ended = await flood(account, path, crew, Settings(retry_timeout_s=1.0))

    assert ended.report.exit_code == 5
    for outcome in ended.of(Verdict.ABANDONED):
        assert tasks[outcome.line - 1].startswith(b'{"id":"%s"' % outcome.task_id.encode())
