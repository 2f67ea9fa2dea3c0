"""``bulksubmit bench`` against an account over HTTP: what it does there, leaves there, and says."""

import signal
from typing import Any

import orjson
import pytest

from bulksubmit.bench.throwaway import POOL_PREFIX, PREFIX
from bulksubmit.emulator.exchange import Answer, Call, Operation
from bulksubmit.emulator.faults import Faults
from bulksubmit.emulator.store import JobState
from tests.end_to_end.account import JOB_ID, Account, listening, make_service, refusing
from tests.end_to_end.commands import Ended, as_user_of, bulksubmit, bulksubmit_here, running

# The tasks end it, long before the time.
QUICK = ("--duration", "30", "--tasks", "1500", "--concurrency-max", "2", "--output", "json")


def result_of(ended: Ended) -> dict[str, Any]:
    """The one object on standard output."""
    (line,) = ended.stdout.splitlines()
    result: dict[str, Any] = orjson.loads(line)
    assert result["exit_code"] == ended.exit_code
    assert ("error" in result) == (ended.exit_code != 0)
    return result


def its_jobs(account: Account) -> list[str]:
    """The jobs that are not the account's own, but for those that are being deleted."""
    jobs = account.service.jobs()
    return [job.id for job in jobs if job.id != JOB_ID and job.state is not JobState.DELETING]


async def measure(account: Account, *args: str) -> Ended:
    """Measure an account."""
    return await bulksubmit("bench", *QUICK, *args, env=as_user_of(account))


async def test_its_job_is_left() -> None:
    """
    It floods a job of its own, on a pool that nobody has, and leaves it there unless told.
    """
    async with listening(make_service(Faults(latency_s=0.02))) as account:
        ended = await measure(account)

        assert ended.exit_code == 0, ended.stderr
        result = result_of(ended)
        assert its_jobs(account) == [result["job_id"]]
        job = account.service.job(result["job_id"])
        assert len(job) == result["tasks_added"] <= 1500
        assert job.properties["constraints"] == {"maxWallClockTime": "P1D", "maxTaskRetryCount": 0}
        pool = job.properties["poolInfo"]
        assert pool == {"poolId": POOL_PREFIX + result["job_id"].removeprefix(PREFIX)}
        assert len(account.job) == 0
        by = account.service.record.by_operation
        assert by[Operation.CREATE_JOB] == 1
        assert by[Operation.DELETE_JOB] == 0

    assert result["job_left"]
    assert not result["emulator"]
    assert [step["in_flight"] for step in result["steps"]] == [1, 2]
    step = result["steps"][0]
    assert step["requests"] >= 2
    assert step["tasks_per_s"] == pytest.approx(step["tasks"] / step["seconds"], rel=0.05)
    assert 0 < step["p50_ms"] <= step["p95_ms"]
    assert step["throttled_share"] == step["lost_share"] == 0
    assert result["best"] in result["steps"]
    assert result["limited_by"] in {"latency", "slow", "cpu"}
    assert set(result["settings"]) == {"concurrency"}
    assert result["advice"]


async def test_its_job_is_deleted_if_told() -> None:
    """
    With --delete-job it deletes the one that it made, and no other, though that begins alike.
    """
    service = make_service()
    service.create_job(PREFIX + "of-somebody-else")
    async with listening(service) as account:
        result = result_of(await measure(account, "--delete-job"))

        assert result["exit_code"] == 0
        assert not result["job_left"]
        assert its_jobs(account) == [PREFIX + "of-somebody-else"]
        assert account.service.record.by_operation[Operation.DELETE_JOB] == 1


async def test_interrupted() -> None:
    """
    Ctrl-C ends it, with what was seen so far; the job is deleted if told.
    """
    async with listening(make_service(Faults(latency_s=0.01))) as account:
        command = ("bench", "--delete-job", "--output", "json")
        async with running(*command, env=as_user_of(account)) as process:
            await process.says("1 in flight: ")
            process.send_signal(signal.SIGINT)
            ended = await process.end()
        assert its_jobs(account) == []

    result = result_of(ended)
    assert ended.exit_code == 130
    assert result["error"] == "interrupted by SIGINT"
    assert result["steps"][0]["in_flight"] == 1
    assert result["auto"] is None
    assert result["tasks_added"] > 0


async def test_a_quota_that_is_reached() -> None:
    """
    A job that the service does not create is told, in its words; there is none to be left.
    """
    code = "ActiveJobAndScheduleQuotaReached"

    def refuse(call: Call) -> Answer | None:
        return refusing(code, 409) if call.operation is Operation.CREATE_JOB else None

    async with listening(make_service(script=refuse)) as account:
        ended = await measure(account, "--delete-job")

        assert its_jobs(account) == []
        assert account.service.record.by_operation[Operation.DELETE_JOB] == 0
    result = result_of(ended)
    assert ended.exit_code == 2
    assert code in result["error"]
    assert not result["job_left"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--parallel", "3"), "--parallel is about the emulator: give --emulator as well"),
        (
            ("--emulator", "--account-endpoint", "https://a.b.batch.azure.com"),
            "--account-endpoint is about an account: leave it out, or --emulator",
        ),
        (("--concurrency-max", "0"), "--concurrency-max is 0; it must be from 1 to 1,000"),
        (("--tasks", "3"), "3 is not in the range"),
        ((), "no endpoint: give --account-endpoint"),
        (
            ("--emulator", "--scenario", __file__, "--latency-ms", "1"),
            "--scenario says it all: leave out --latency-ms and --parallel",
        ),
    ],
)
def test_mistakes(args: tuple[str, ...], said: str) -> None:
    """
    What makes no sense is told before anything is done.
    """
    ended = bulksubmit_here("bench", *args, env={})

    assert ended.exit_code == 2
    assert said in ended.stderr
    assert ended.stdout == ""


async def test_a_mistyped_flag_has_its_object() -> None:
    """
    With --output json there is one object, however it ends.
    """
    ended = await bulksubmit("bench", "--output", "json", "--tasks", "many")

    assert ended.exit_code == 2
    assert "'many' is not a valid" in result_of(ended)["error"]
