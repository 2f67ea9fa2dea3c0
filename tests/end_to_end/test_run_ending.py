"""Answers after which no task can be added: the run ends at once, and what came in counts."""

from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from bulksubmit import (
    NotConverged,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    Settings,
    SharedKey,
    submit,
)
from bulksubmit.core.events import Held
from bulksubmit.core.model import BatchError, ErrorMessage
from bulksubmit.core.wire import encode_error
from bulksubmit.emulator.exchange import Answer, Call, Operation
from bulksubmit.emulator.faults import Fault, Faults
from bulksubmit.emulator.service import Script, Service
from bulksubmit.emulator.store import JobState
from bulksubmit.service import jobs, replies
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    converges,
    flood,
    listening,
    make_service,
    make_tasks,
    refusing,
    write_lines,
)

TASKS = make_tasks(5000)


def on_call(number: int, act: Callable[[], Answer | None]) -> Script:
    """Three slow answers, which are in flight when the call of that number does something."""

    def look(call: Call) -> Fault | Answer | None:
        if call.operation is not Operation.ADD_TASK_COLLECTION:
            return None
        if number - 3 <= call.number < number:
            return Fault.SLOW
        return act() if call.number >= number else None

    return look


def slow_service(number: int, act: Callable[[Service], Answer | None]) -> Service:
    service = make_service(Faults(slow_s=0.3), script=on_call(number, lambda: act(service)))
    return service


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (JobState.COMPLETED, "JobCompleted"),
        (JobState.TERMINATING, "JobBeingTerminated"),
        (JobState.DELETING, "JobBeingDeleted"),
    ],
)
async def test_job_closes_in_between(state: JobState, code: str) -> None:
    """
    A job that stops taking tasks ends the run at once with 7. Answers that were in flight are
    taken in: every task that was added is counted as added.
    """

    def close(service: Service) -> None:
        service.job(JOB_ID).state = state

    async with listening(slow_service(10, close)) as account:
        run = await flood(account, TASKS, settings=Settings(concurrency=4))

        assert account.adds == run.report.requests == 11
        assert run.report.added == len(account.job) == 1000
    assert isinstance(run.error, ServiceRefused)
    assert (run.error.refusal, run.error.code) == (Refusal.JOB_CLOSED, code)
    assert (run.report.exit_code, run.report.converged) == (7, False)
    assert run.report.in_doubt == 0  # The refusal is an answer: nothing of it was added.


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.TERMINATING, JobState.DELETING])
async def test_job_is_closed_at_the_start(state: JobState) -> None:
    """
    The same before the first task: nothing is sent.
    """
    async with listening(make_service()) as account:
        account.job.state = state
        run = await flood(account, TASKS)

    assert (run.report.exit_code, run.report.total, account.adds) == (7, 0, 0)


async def test_key_is_revoked_in_between() -> None:
    """
    A 403 of the service ends the run with 4, after the answers in flight.
    """
    async with listening(slow_service(5, lambda _: refusing("AuthenticationFailed"))) as account:
        run = await flood(account, TASKS, settings=Settings(concurrency=4))

        assert run.report.added == len(account.job) == 500
    assert isinstance(run.error, ServiceRefused)
    assert run.error.refusal is Refusal.AUTHENTICATION
    assert (run.report.exit_code, run.report.requests) == (4, 6)


async def test_account_is_disabled_in_between() -> None:
    """
    So does 409 AccountIsDisabled, or whatever else concerns the account.
    """
    text = ErrorMessage("en-US", "The specified account is disabled.")
    body = encode_error("http://service", BatchError("AccountIsDisabled", text))
    disabled = Answer(409, {"Content-Length": str(len(body))}, body)
    async with listening(slow_service(5, lambda _: disabled)) as account:
        run = await flood(account, TASKS, settings=Settings(concurrency=4))

    assert "AccountIsDisabled: The specified account is disabled." in str(run.error)
    assert (run.report.exit_code, run.report.added) == (4, 500)


@pytest.mark.usefixtures("hurried")
async def test_job_is_disabled_and_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A job that is disabled for a while is waited for, and told about; then the run converges.
    """
    monkeypatch.setattr(replies, "_DISABLED_RETRY_AFTER_S", 0.2)

    refused = 0

    def look(call: Call) -> None:
        nonlocal refused
        if call.operation is Operation.ADD_TASK_COLLECTION and call.number >= 10:
            disabled = refused < 4
            refused += disabled
            service.job(JOB_ID).state = JobState.DISABLED if disabled else JobState.ACTIVE

    service = make_service(script=look)
    async with listening(service) as account:
        run = await converges(account, TASKS, settings=Settings(concurrency=4))

    assert run.report.requests == 50 + 4
    held = [event.reason for event in run.events if isinstance(event, Held)]
    assert any("JobDisabled" in reason for reason in held)


async def test_job_stays_disabled() -> None:
    """
    A job that stays disabled is not waited for beyond the retry timeout.
    """
    async with listening(make_service()) as account:
        account.job.state = JobState.DISABLED
        run = await flood(account, TASKS, settings=Settings(retry_timeout_s=0.5))

    assert isinstance(run.error, NotConverged)
    assert "JobDisabled" in str(run.error)
    assert run.report.exit_code == 5


async def test_no_such_job() -> None:
    """
    A job that does not exist is found out before anything is sent.
    """
    async with listening(make_service()) as account:
        run = await flood(account, TASKS, job_id="night-2")

    assert isinstance(run.error, ServiceRefused)
    assert "JobNotFound" in str(run.error)
    assert (run.report.exit_code, run.report.total, account.adds) == (3, 0, 0)


@pytest.mark.parametrize(("name", "key"), [(NAME, KEY[4:]), ("nobody", KEY)])
async def test_wrong_key(name: str, key: str) -> None:
    """
    A key that is not the account's, or an account that is not there, is found out likewise.
    """
    async with listening(make_service()) as account:
        with pytest.raises(ServiceRefused) as caught:
            await submit(
                TASKS, job_id=JOB_ID, endpoint=account.endpoint, credential=SharedKey(name, key)
            )

    assert caught.value.refusal is Refusal.AUTHENTICATION
    assert caught.value.report is not None
    assert (caught.value.report.exit_code, account.adds) == (4, 0)


async def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    """
    A service that gives no answer at all at the start is not waited for as long as one that is
    down in between.
    """
    monkeypatch.setattr(jobs, "SILENCE_MAX_S", 0.3)
    with pytest.raises(ServiceUnreachable) as caught:
        await submit(
            TASKS,
            job_id=JOB_ID,
            endpoint=f"http://127.0.0.1:{unused_tcp_port}",
            credential=SharedKey(NAME, KEY),
        )

    assert caught.value.report is not None
    assert (caught.value.report.exit_code, caught.value.report.total) == (5, 0)
    assert str(unused_tcp_port) in str(caught.value)


async def test_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A host that nobody knows is taken for an account that does not exist.
    """

    async def resolve(*_: object, **__: object) -> list[object]:
        raise OSError(None, "Name or service not known")

    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", resolve)
    monkeypatch.setattr(jobs, "SILENCE_MAX_S", 0.3)
    with pytest.raises(ServiceUnreachable) as caught:
        await submit(
            TASKS,
            job_id=JOB_ID,
            endpoint="https://no-such-account.invalid",
            credential=SharedKey(NAME, KEY),
        )

    assert caught.value.report is not None
    assert caught.value.report.exit_code == 3
    assert "no-such-account.invalid does not resolve" in str(caught.value)


async def test_what_comes_to_nothing_leaves_nothing(tmp_path: Path, state_folder: Path) -> None:
    """
    A run of which nothing was read or sent is no unfinished one, nor the last: its folder goes.
    """
    path = write_lines(tmp_path / "tasks.jsonl", TASKS[:10])
    async with listening(make_service()) as account:
        missing = await flood(account, path, job_id="another")
        folders = list((state_folder / "runs").iterdir())
        sent = await flood(account, path)

    assert isinstance(missing.error, ServiceRefused)
    assert missing.report.journal_path is None
    assert folders == []
    assert sent.report.journal_path is not None
