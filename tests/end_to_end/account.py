"""An account to flood: the emulator over HTTP, and what became of a run against it."""

import base64
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson
from azure.core.credentials_async import AsyncTokenCredential

from bulksubmit import BulkSubmitError, Outcome, Report, Settings, SharedKey, Verdict, stream
from bulksubmit.core.events import Event, RequestEnded
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.answers import ServiceError, Stamp, refusal
from bulksubmit.emulator.exchange import Answer, Operation
from bulksubmit.emulator.faults import Fault, Faults, TaskScript
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.service import Script, Service
from bulksubmit.emulator.store import Job
from bulksubmit.emulator.switches import Switches
from bulksubmit.producer.source import AnySource

NAME = "dev"
KEY = base64.b64encode(b"a key that no output may hold...").decode()
JOB_ID = "night-1"


@dataclass
class Account:
    """An account that listens, with one job.

    Attributes:
        service: What stands behind it.
        endpoint: Where it listens.
    """

    service: Service
    endpoint: str = ""

    @property
    def job(self) -> Job:
        return self.service.job(JOB_ID)

    @property
    def adds(self) -> int:
        """How many add collection requests came in."""
        return self.service.record.by_operation[Operation.ADD_TASK_COLLECTION]

    def assert_holds(self, tasks: Iterable[bytes]) -> None:
        """The job holds exactly these tasks, byte for byte."""
        assert sorted(self.job.bodies()) == sorted(tasks)


def make_service(
    faults: Faults | None = None,
    *,
    script: Script | Iterable[Fault | Answer | None] | None = None,
    task_script: TaskScript | None = None,
    switches: Switches | None = None,
    seed: int = 1,
) -> Service:
    """An account that knows our key, with one job."""
    service = Service(
        random=Random(seed),
        access=Access(NAME, base64.b64decode(KEY)),
        faults=faults,
        script=script,
        task_script=task_script,
        switches=switches,
    )
    service.create_job(JOB_ID)
    return service


@asynccontextmanager
async def listening(service: Service, *, port: int = 0) -> AsyncIterator[Account]:
    """The account of a service, over HTTP."""
    async with serve(service, port=port) as server:
        yield Account(service, server.endpoint)


def refusing(code: str, status: int | None = None) -> Answer:
    """The service's answer to a request that it refuses."""
    return refusal(
        Stamp("00000000-0000-4000-8000-000000000000", 0.0, "http://service"),
        ServiceError(code, status=status),
    )


def make_tasks(count: int, *, first: int = 0, padding: int = 0) -> list[bytes]:
    """The tasks ``t-00000`` and upwards; no two bodies are alike."""
    tail = b"x" * padding
    return [
        b'{"id":"t-%05d", "commandLine":"/bin/echo %d %s"}' % (n, n, tail)
        for n in range(first, first + count)
    ]


def write_lines(path: Path, tasks: Sequence[bytes]) -> Path:
    """A file with one task a line."""
    path.write_bytes(b"\n".join([*tasks, b""]))
    return path


def read_rows(path: Path | str) -> list[dict[str, Any]]:
    """The rows of a results or rejects file."""
    return [orjson.loads(line) for line in Path(path).read_bytes().splitlines()]


@dataclass
class Flood:
    """A run that has ended.

    Attributes:
        outcomes: As they were handed out.
        events: As they were told.
        error: What ended the run, unless every task is settled.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    error: BulkSubmitError | None = None
    ended: Report | None = None

    @property
    def report(self) -> Report:
        assert self.ended is not None
        return self.ended

    @property
    def requests(self) -> list[RequestEnded]:
        """The attempts, as they ended."""
        return [e for e in self.events if isinstance(e, RequestEnded) and e.attempt]

    def of(self, verdict: Verdict) -> list[Outcome]:
        """The outcomes of one verdict."""
        return [outcome for outcome in self.outcomes if outcome.verdict is verdict]

    def assert_adds_up(self) -> None:
        """The report is the sum of its parts, and of the outcomes, each task's but one."""
        report, counts = self.report, Counter(o.verdict for o in self.outcomes)
        settled = report.added + report.existed + report.rejected
        assert settled + report.abandoned + report.unsettled == report.total
        assert report.in_doubt <= report.unsettled
        assert report.existed_own <= report.existed
        assert counts[Verdict.ADDED] == report.added
        assert counts[Verdict.EXISTED] == report.existed
        assert counts[Verdict.REJECTED] == report.rejected
        assert counts[Verdict.ABANDONED] == report.abandoned
        assert len({o.ordinal for o in self.outcomes}) == len(self.outcomes)
        assert report.requests == len(self.requests)


async def flood(
    account: Account,
    source: AnySource,
    *,
    job_id: str = JOB_ID,
    settings: Settings | None = None,
    credential: AsyncTokenCredential | None = None,
) -> Flood:
    """Submit a source to the account's job, to whatever end; by its key if without a credential."""
    run = Flood()
    try:
        async with stream(
            source,
            job_id=job_id,
            endpoint=account.endpoint,
            credential=credential or SharedKey(NAME, KEY),
            settings=settings,
            observer=run.events.append,
        ) as outcomes:
            async for outcome in outcomes:
                run.outcomes.append(outcome)
        run.ended = outcomes.report
    except BulkSubmitError as error:
        run.error, run.ended = error, error.report
    run.assert_adds_up()
    return run


async def converges(
    account: Account, tasks: Sequence[bytes], *, settings: Settings | None = None
) -> Flood:
    """Submit tasks; each comes to exist, once, byte for byte, and the report says so."""
    run = await flood(account, tasks, settings=settings)
    assert run.error is None
    assert run.report.converged
    assert run.report.exit_code == 0
    assert run.report.total == run.report.added + run.report.existed == len(tasks)
    account.assert_holds(tasks)
    return run
