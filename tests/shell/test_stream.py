"""stream() and submit(), as their callers use them, over real HTTP to the emulator."""

import asyncio
import base64
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random

import anyio
import pytest

from bulksubmit import (
    NotConverged,
    Outcome,
    Outcomes,
    OutputError,
    RejectsBound,
    ServiceRefused,
    Settings,
    SettingsError,
    SharedKey,
    SourceError,
    Verdict,
    stream,
    submit,
)
from bulksubmit.core.events import Event
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.faults import Faults, TaskFault
from bulksubmit.emulator.server import Server, serve
from bulksubmit.emulator.service import Service
from tests.shell.doubles import lines, spec

KEY = b"a key of our own making"
CREDENTIAL = SharedKey("myaccount", base64.b64encode(KEY).decode())


@pytest.fixture(autouse=True)
async def _leaves_nothing_behind() -> AsyncIterator[None]:
    """No task goes on after a test, and nothing it opened is left to the garbage collector."""
    yield
    gc.collect()
    # The emulator goes on with a request whose client has left, as the service does.
    ours = {t for t in asyncio.all_tasks() if "RequestHandler" not in str(t.get_coro())}
    assert ours == {asyncio.current_task()}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    service = Service(random=Random(1), access=Access("myaccount", KEY))
    service.create_job("j1")
    async with serve(service) as server:
        yield server


async def test_each_outcome_once(server: Server, task_file: Path) -> None:
    """Every task's outcome comes once, one by one, and the report agrees with the service."""
    seen: list[Outcome] = []

    async with stream(
        task_file, job_id="j1", endpoint=server.endpoint, credential=CREDENTIAL
    ) as outcomes:
        seen.extend([outcome async for outcome in outcomes])

    assert sorted(outcome.ordinal for outcome in seen) == list(range(5000))
    assert {outcome.verdict for outcome in seen} == {Verdict.ADDED}
    assert outcomes.report.added == len(server.service.job("j1")) == 5000
    assert outcomes.report.converged
    assert outcomes.report.exit_code == 0


async def test_submit_returns_the_report_with_rejected_tasks(
    server: Server, task_file: Path, state_folder: Path
) -> None:
    """Rejected tasks are settled: submit() returns, and the report says where they are."""
    server.service = service = Service(
        random=Random(1),
        task_script=lambda task_id: (
            TaskFault("ClientError", "InvalidPropertyValue") if task_id.endswith("77") else None
        ),
    )
    service.create_job("j1")

    report = await submit(task_file, job_id="j1", endpoint=server.endpoint, credential=CREDENTIAL)

    assert (report.added, report.rejected, report.exit_code) == (4950, 50, 6)
    assert report.rejects_path is not None
    assert Path(report.rejects_path).is_relative_to(state_folder)
    assert len((await anyio.Path(report.rejects_path).read_bytes()).splitlines()) == 50


async def test_submit_raises_with_the_report(server: Server, task_file: Path) -> None:
    """A run that ends with tasks unsettled raises, and the error carries the account."""
    server.service = Service(
        random=Random(1), task_script=lambda _id: TaskFault("ClientError", "InvalidPropertyValue")
    )
    server.service.create_job("j1")

    with pytest.raises(NotConverged, match="max-rejects") as raised:
        await submit(
            task_file,
            job_id="j1",
            endpoint=server.endpoint,
            credential=CREDENTIAL,
            settings=Settings(concurrency=2, rejects_bound=RejectsBound(count_max=99)),
        )

    report = raised.value.report
    assert report is not None
    assert report.exit_code == 5
    assert report.total == report.rejected + report.unsettled
    assert report.error == str(raised.value)


@pytest.mark.parametrize(
    ("job_id", "key", "exit_code"), [("j2", KEY, 3), ("j1", b"another key", 4)]
)
async def test_iteration_raises_what_ended_the_run(
    server: Server, task_file: Path, job_id: str, key: bytes, exit_code: int
) -> None:
    """A job that is not there, or a key that is not right: iteration raises it at its end."""
    credential = SharedKey("myaccount", base64.b64encode(key).decode())

    async with stream(
        task_file, job_id=job_id, endpoint=server.endpoint, credential=credential
    ) as outcomes:
        with pytest.raises(ServiceRefused) as raised:
            await anext(outcomes)
        assert outcomes.report.exit_code == exit_code

    assert raised.value.report == outcomes.report
    assert len(server.service.job("j1")) == 0


async def test_leaving_early_stops_the_run(server: Server, task_file: Path) -> None:
    """Who leaves waits for slow answers no longer than drain_s; nothing is sent afterwards."""
    calls: list[object] = []
    server.service = Service(random=Random(1), script=calls.append)
    server.service.create_job("j1")

    async with stream(
        task_file,
        job_id="j1",
        endpoint=server.endpoint,
        credential=CREDENTIAL,
        settings=Settings(concurrency=2, drain_s=0.05),
    ) as outcomes:
        await anext(outcomes)
        server.service.faults = Faults(latency_s=3600)

    sent = len(calls)
    await anyio.wait_all_tasks_blocked()
    assert len(calls) == sent < 1 + 50
    assert not outcomes.report.converged
    assert outcomes.report.total == outcomes.report.added + outcomes.report.unsettled
    assert outcomes.report.in_doubt <= 200


class Leave(BaseException):
    """Not an Exception, like SystemExit."""


@pytest.mark.parametrize("error", [RuntimeError("mine"), Leave()])
async def test_an_exception_in_the_body_is_itself(
    server: Server, task_file: Path, error: BaseException
) -> None:
    """What the caller raises inside comes out as it is, not as a group, and ends the run."""

    async def leave() -> None:
        async with stream(
            task_file, job_id="j1", endpoint=server.endpoint, credential=CREDENTIAL
        ) as outcomes:
            await anext(outcomes)
            raise error

    with pytest.raises(type(error)) as raised:
        await leave()

    assert raised.value is error


async def test_inside_a_generator(server: Server, task_file: Path) -> None:
    """stream() inside a caller's own async generator closes with it."""

    async def added() -> AsyncGenerator[str, None]:
        async with stream(
            task_file, job_id="j1", endpoint=server.endpoint, credential=CREDENTIAL
        ) as outcomes:
            async for outcome in outcomes:
                yield outcome.task_id

    async with aclosing(added()) as task_ids:
        async for task_id in task_ids:
            assert task_id.startswith("t")
            break


async def test_cancelled_from_outside(server: Server, task_file: Path) -> None:
    """Cancelling the task around a stream stops the run in order, in whatever state it is."""
    server.service.faults = Faults(latency_s=3600)
    begun = asyncio.Event()
    kept: list[Outcomes] = []

    async def run() -> None:
        async with stream(
            task_file,
            job_id="j1",
            endpoint=server.endpoint,
            credential=CREDENTIAL,
            observer=lambda _event: None,
        ) as outcomes:
            kept.append(outcomes)
            begun.set()
            await outcomes.drain()

    task = asyncio.create_task(run())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    report = kept[0].report
    assert not report.converged
    assert report.total == report.added + report.unsettled


async def test_a_time_out_around_submit(server: Server, task_file: Path) -> None:
    """submit() may be given a time of its own."""
    server.service.faults = Faults(latency_s=3600)

    with anyio.move_on_after(0.05) as scope:
        await submit(task_file, job_id="j1", endpoint=server.endpoint, credential=CREDENTIAL)

    assert scope.cancelled_caught


async def test_several_at_once(server: Server, tmp_path: Path) -> None:
    """Streams side by side in one loop do not know of each other."""
    for name in "abc":
        server.service.create_job(name)
        (tmp_path / name).write_bytes(lines(1000))
    added: dict[str, int] = {}

    async def run(name: str) -> None:
        report = await submit(
            tmp_path / name, job_id=name, endpoint=server.endpoint, credential=CREDENTIAL
        )
        added[name] = report.added

    async with anyio.create_task_group() as beside:
        for name in "abc":
            beside.start_soon(run, name)

    assert added == {"a": 1000, "b": 1000, "c": 1000}
    assert [len(server.service.job(name)) for name in "abc"] == [1000, 1000, 1000]


async def test_an_observer_is_told(server: Server, task_file: Path) -> None:
    """The observer sees each request and the end of the source."""
    events: list[Event] = []

    await submit(
        task_file,
        job_id="j1",
        endpoint=server.endpoint,
        credential=CREDENTIAL,
        observer=events.append,
    )

    names = [type(event).__name__ for event in events]
    assert names.count("RequestEnded") == 1 + 50
    assert names.count("SourceRead") == 1


async def test_an_observer_that_raises_costs_no_answer(server: Server, task_file: Path) -> None:
    """What an observer raises ends the run in order: every answer in flight is still counted."""

    def observe(event: Event, /) -> None:
        if getattr(event, "attempt", 0) == 3:
            raise OSError("the observer's own")

    with pytest.raises(OSError, match="the observer's own"):
        async with stream(
            task_file,
            job_id="j1",
            endpoint=server.endpoint,
            credential=CREDENTIAL,
            settings=Settings(concurrency=2),
            observer=observe,
        ) as outcomes:
            await outcomes.drain()

    assert outcomes.report.added == len(server.service.job("j1")) >= 300
    assert outcomes.report.in_doubt == 0


async def test_every_form_of_source(server: Server) -> None:
    """bytes, str and dicts, from an iterable or an async iterable."""

    async def asynchronous() -> AsyncIterator[dict[str, str]]:
        yield {"id": "d", "commandLine": "true"}

    def plain() -> Iterator[bytes | str | dict[str, str]]:
        yield spec(1)
        yield '{\n  "id": "b",\n  "commandLine": "true"\n}\n'
        yield {"id": "c", "commandLine": "true"}

    for source in (plain(), asynchronous()):
        await submit(source, job_id="j1", endpoint=server.endpoint, credential=CREDENTIAL)

    assert list(server.service.job("j1").bodies()) == [
        spec(1),
        b'{"id":"b","commandLine":"true"}',
        b'{"id":"c","commandLine":"true"}',
        b'{"id":"d","commandLine":"true"}',
    ]


async def _open(source: Path, *, job_id: str = "j1", **settings: Path) -> None:
    async with stream(
        source,
        job_id=job_id,
        endpoint="http://127.0.0.1:9",
        credential=CREDENTIAL,
        settings=Settings(rejects_path=settings.get("rejects")),
    ):
        raise AssertionError("it began")


async def test_what_is_wrong_at_once_is_told_at_once(task_file: Path, tmp_path: Path) -> None:
    """
    A job that cannot be, a source that is not there, a rejects file that holds something: told
    when the stream is opened, before anything is sent.
    """
    with pytest.raises(SettingsError, match="job's id"):
        await _open(task_file, job_id="j 1")
    with pytest.raises(SourceError, match="No such file"):
        await _open(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="holds something already"):
        await _open(task_file, rejects=task_file)
