"""A guest in other people's programs: silent, without global state, in whatever loop there is."""

import ast
import asyncio
import inspect
import logging
import sys
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
import structlog

import bulksubmit
from bulksubmit import (
    NotConverged,
    Report,
    ServiceRefused,
    Settings,
    SharedKey,
    stream,
    submit,
    submit_sync,
)
from bulksubmit.core.events import Event, Progressed
from bulksubmit.emulator.faults import Faults
from tests.end_to_end.account import JOB_ID, KEY, NAME, Account, listening, make_service, make_tasks

CREDENTIAL = SharedKey(NAME, KEY)
TASKS = make_tasks(1000)


def to(account: Account, job_id: str = JOB_ID) -> dict[str, Any]:
    """Where to submit."""
    return {"job_id": job_id, "endpoint": account.endpoint, "credential": CREDENTIAL}


@pytest.mark.thorough
async def test_silent(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Whatever goes wrong on the way, and though the source has odd tasks: nothing is written to the
    standard streams or to anybody's log, and neither logging nor structlog is set up.
    """
    records: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.Logger, "handle", lambda _self, record: records.append(record))
    source = tmp_path / "tasks.jsonl"
    odd = b'{"id":"t-00000","commandLine":"again"}'
    source.write_bytes(b"\n".join([*TASKS, odd]))
    before = [*logging.root.handlers], logging.root.level

    async with listening(make_service(Faults(server_error=0.1, drop_after=0.2))) as account:
        report = await submit(source, **to(account))

    assert (report.total, report.rejected) == (1001, 1)
    assert capfd.readouterr() == ("", "")
    assert [record for record in records if not record.name.startswith("aiohttp.access")] == []
    assert ([*logging.root.handlers], logging.root.level) == before
    assert not structlog.is_configured()


@dataclass
class Ran:
    """What came of one of several runs.

    Attributes:
        told: What its observer was told of its progress.
        report: Its report, if it came to its end;
        error: what was raised otherwise.
    """

    told: list[Progressed]
    report: Report | None = None
    error: BaseException | None = None

    def observe(self, event: Event, /) -> None:
        """See Observer."""
        if isinstance(event, Progressed):
            self.told.append(event)


async def run(account: Account, job_id: str, count: int, ran: Ran, begun: anyio.Event) -> None:
    """Submit so many tasks, and note what comes of it."""
    settings, tasks = Settings(concurrency=2), make_tasks(count)
    try:
        async with stream(
            tasks, **to(account, job_id), settings=settings, observer=ran.observe
        ) as outcomes:
            async for _ in outcomes:
                begun.set()
        ran.report = outcomes.report
    except BaseException as error:
        ran.error = error
        if not isinstance(error, ServiceRefused):
            raise


async def test_side_by_side() -> None:
    """
    Four at once in one loop, each with an observer of its own: one has a rejected task, one fails,
    one is cancelled, and none of them has anything of another's.
    """
    counts = {"whole": 2000, "partly": 500, "missing": 300, "cut": 20_000}
    runs = {job_id: Ran([]) for job_id in counts}
    cancelled, begun = anyio.CancelScope(), anyio.Event()
    async with listening(make_service(Faults(latency_s=0.02))) as account:
        jobs = {name: account.service.create_job(name) for name in ("whole", "partly", "cut")}
        jobs["partly"].add("t-00007", b'{"id":"t-00007","commandLine":"x"}', ticks=1)

        async def run_until_cancelled() -> None:
            with cancelled:
                await run(account, "cut", counts["cut"], runs["cut"], begun)

        async with anyio.create_task_group() as beside:
            beside.start_soon(run_until_cancelled)
            for job_id in ("whole", "partly", "missing"):
                beside.start_soon(run, account, job_id, counts[job_id], runs[job_id], anyio.Event())
            await begun.wait()
            cancelled.cancel()

    reports = {job_id: ran.report for job_id, ran in runs.items() if ran.report}
    last = {job_id: ran.told[-1] for job_id, ran in runs.items()}
    assert {name: (each.added, each.rejected) for name, each in reports.items()} == {
        "whole": (2000, 0),
        "partly": (499, 1),
    }
    assert isinstance(runs["missing"].error, ServiceRefused)
    assert isinstance(runs["cut"].error, asyncio.CancelledError)
    assert last["missing"].added == 0
    # What the cancelled one was told of last is what its job holds: it ended in order.
    assert 0 < last["cut"].added == len(jobs["cut"]) < 20_000
    for job_id, ran in runs.items():
        assert last[job_id].ended
        assert {event.job_id for event in ran.told} == {job_id}
        assert len({event.run_id for event in ran.told}) == 1


def as_in_a_notebook(cell: str, names: dict[str, Any]) -> Coroutine[Any, Any, None]:
    """A cell, as IPython compiles it: with ``await`` at its top, for the loop that runs."""
    code = compile(cell, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made = eval(code, names)  # noqa: S307 - our own
    assert inspect.iscoroutine(made)
    return made


async def test_a_notebook() -> None:
    """
    In the loop that runs already, cell after cell.
    """
    async with listening(make_service()) as account:
        names: dict[str, Any] = {"tasks": TASKS, "to": to(account)}
        await as_in_a_notebook(
            "from bulksubmit import submit\nreport = await submit(tasks, **to)", names
        )
        await as_in_a_notebook(
            "from bulksubmit import stream\n"
            "async with stream(tasks, **to) as outcomes:\n"
            "    again = [outcome.verdict.value async for outcome in outcomes]",
            names,
        )

    assert names["report"].added == 1000
    assert names["again"] == ["existed"] * 1000


async def test_submit_sync_where_a_loop_runs() -> None:
    """
    It does not block the loop, but says what to write instead.
    """
    async with listening(make_service()) as account:
        with pytest.raises(RuntimeError, match=r"await submit\(\.\.\.\) instead"):
            submit_sync(TASKS, **to(account))

        assert account.adds == 0


def containers(modules: list[ModuleType]) -> dict[str, str]:
    """What the modules hold at their top level that can change or be bound anew, as text."""
    kinds = (dict, list, set, bytearray, deque, int, str, type(None))
    return {
        f"{module.__name__}.{name}": repr(value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, kinds) and not name.startswith("__")
    }


def own_modules() -> list[ModuleType]:
    """Our modules that are loaded, without the emulator's, which is another party."""
    return [
        module
        for name, module in sys.modules.items()
        if f"{name}.".startswith("bulksubmit.") and ".emulator" not in name
    ]


async def test_no_global_state() -> None:
    """
    A run that went wrong and one that did not leave nothing behind in any module.
    """
    async with listening(make_service(Faults(server_error=0.1))) as account:
        await submit(TASKS[:10], **to(account))
        modules = own_modules()
        before = containers(modules)
        await submit(TASKS, **to(account))
        async with stream(make_tasks(5000), **to(account)) as outcomes:
            outcomes.stop("enough")
            with pytest.raises(NotConverged):
                await outcomes.drain()

        assert containers(modules) == before
        assert own_modules() == modules
    assert len(before) > 50


def test_no_module_binds_its_names_anew() -> None:
    """
    No function changes what a name of its module means.
    """
    package = Path(bulksubmit.__file__).parent
    for path in package.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        assert not any(isinstance(node, ast.Global) for node in nodes), path
