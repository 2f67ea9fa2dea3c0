"""A flood that meets everything that a switch decides, and what must have become of each task."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import anyio
import orjson
from anyio.abc import TaskGroup
from azure.core.credentials import AccessTokenInfo
from msgspec.structs import replace

from bulksubmit.consumer import running
from bulksubmit.core.model import Outcome
from bulksubmit.core.taskcheck import Checker
from bulksubmit.emulator import Access, Fault, Faults, Service, Switches, TaskFault
from bulksubmit.journal import NoJournal
from bulksubmit.observe.report import Report, Tally
from bulksubmit.producer import open_source
from bulksubmit.service.auth import EntraToken
from bulksubmit.settings import Settings
from bulksubmit.submission import Submission
from tests.shell.doubles import without_journal
from tests.switches.session import InProcess, now_s
from tests.virtual import run_virtual

JOB_ID = "job-1"
TASKS_PER_REQUEST = 20
PLAIN = 50
LARGE_BYTES = 70_000  # More than the switch task_bytes_max lets through, less than a request.
TOKEN_LIVES_S = 4.0
OPERATOR = "operator"  # Has a token that lives on.
DISABLED_S = (0.3, 25.0)  # From when to when.
REQUESTS_MAX, SECONDS_MAX = 150, 300.0

# Each strikes one request; what comes after them is left in peace.
FAULTS = [
    Fault.DROP_BEFORE,
    Fault.DROP_BODY,
    Fault.DROP_AFTER,
    Fault.DROP_AFTER,
    Fault.DROP_ANSWER,
    Fault.TRUNCATED,
    Fault.MISSING,
    Fault.CONTRADICTED,
    Fault.THROTTLED,
    Fault.THROTTLED_DATE,
    Fault.THROTTLED_BARE,
    Fault.BUSY,
    Fault.BUSY_RETRY_AFTER,
    Fault.TIMED_OUT,
    Fault.BAD_GATEWAY,
    Fault.LATE,
]

_SECRETS = {
    "containerSettings": {"imageName": "i", "registry": {"username": "u", "password": "secret"}},
    "resourceFiles": [{"httpUrl": "https://a.example/c/f?sv=1&sig=secret", "filePath": "f"}],
}


def make_task(task_id: str, **members: object) -> bytes:
    """A task's JSON."""
    return orjson.dumps({"id": task_id, "commandLine": f"run {task_id}"} | members)


@cache
def source() -> Sequence[bytes]:
    """The tasks to submit. What an ID begins with says what is to become of it."""
    tasks = [make_task(f"plain-{number}") for number in range(PLAIN)]
    tasks += [make_task(f"secret-{number}", **_SECRETS) for number in range(12)]
    tasks += [make_task(f"same-{number}") for number in range(4)]
    tasks += [make_task(f"other-{number}") for number in range(3)]
    tasks += [make_task(f"unknown-{number}", newProperty=number) for number in range(3)]
    tasks += [make_task(f"bad-{number}") for number in range(2)]
    tasks += [make_task("large-0", commandLine="x" * LARGE_BYTES)]
    Random(1).shuffle(tasks)
    # Those of one ID stand together; their contents differ.
    at = len(tasks) // 2
    tasks[at:at] = [
        make_task("twice-0"),
        make_task("Twice-0"),
        make_task("twice-0", commandLine="x"),
    ]
    return tasks


class Authority:
    """Gives tokens that say they live for an hour; the service takes each for TOKEN_LIVES_S."""

    def __init__(self) -> None:
        self.given = 0
        self._ends_s = {OPERATOR: float("inf")}

    async def get_token_info(self, *_: str, **__: Any) -> AccessTokenInfo:
        self.given += 1
        token = f"token-{self.given}"
        self._ends_s[token] = now_s() + TOKEN_LIVES_S
        return AccessTokenInfo(token, 2**40)

    async def close(self) -> None:
        """Nothing is open."""

    def judge(self, token: str, /, *, now_s: float) -> str | None:
        """See the emulator's Bearer."""
        return None if now_s < self._ends_s[token] else "The token has expired."


class Remembering(NoJournal):
    """Remembers only what the job is to have again, which a run must do to be let hold it."""

    path = Path("nowhere")  # type: ignore[assignment]  # A NoJournal has none.

    def hold(self, former: str | None) -> None:
        self.held = former


@dataclass(frozen=True)
class Ended:
    """How a flood ended.

    Attributes:
        service: The service, with all that it holds and has seen.
        outcomes: By the task's place in the source.
        report: The final account.
        seconds: How long it took, by the service's clock.
        tokens: How many the submitter was given.
    """

    service: Service
    outcomes: dict[int, Outcome]
    report: Report
    seconds: float
    tokens: int


def flood(switches: Switches, *, seed: int, faults: Sequence[Fault] | None = None) -> Ended:
    """Submit the source to a service of these switches.

    Args:
        switches: The service's.
        seed: Decides all chance.
        faults: What strikes the first requests, one each; None for all there is, in an order
            drawn from the seed, and some ServerErrors.
    """
    world = _World(switches, Random(seed), faults)
    outcomes, seconds = run_virtual(world.run)
    assert world.report is not None
    found = {outcome.ordinal: outcome for outcome in outcomes}
    assert len(found) == len(outcomes), "a task has two outcomes"
    return Ended(world.service, found, world.report, seconds, world.authority.given)


class _World:
    def __init__(self, switches: Switches, random: Random, faults: Sequence[Fault] | None) -> None:
        self.authority = Authority()
        per_task = 0.05 if faults is None else 0.0
        script = random.sample(FAULTS, len(FAULTS)) if faults is None else faults
        self.service = Service(
            random=random,
            access=Access("account", bearer=self.authority.judge),
            faults=Faults(server_error=per_task, server_error_added=per_task, missing_share=0.3),
            script=script,
            task_script=lambda task_id: (
                TaskFault("ClientError", "InvalidPropertyValue") if task_id[:4] == "bad-" else None
            ),
            switches=switches,
            scheme="https",
        )
        self.report: Report | None = None
        self._random, self._switches = random, switches

    async def run(self) -> list[Outcome]:
        """The whole of it."""
        # It has a manager, so that it does not complete before there is a task.
        manager = {"onAllTasksComplete": "terminatejob", "jobManagerTask": {"id": "manager"}}
        job = self.service.create_job(JOB_ID, now_s=now_s(), properties=manager)
        for task in source():
            task_id = orjson.loads(task)["id"]
            if task_id.startswith("same-"):
                job.add(task_id, task.replace(b'":"', b'" : "'), ticks=0)
            elif task_id.startswith("other-"):
                job.add(task_id, task.replace(b"run", b"walk"), ticks=0)
        async with anyio.create_task_group() as world:
            world.start_soon(self._operate)
            outcomes = await self._submit(world)
            world.cancel_scope.cancel()
        return outcomes

    async def _submit(self, world: TaskGroup) -> list[Outcome]:
        tally = Tally(anyio.current_time)
        credential = EntraToken(self.authority)  # type: ignore[arg-type]  # As much as is asked.
        transport = InProcess(
            self.service,
            world,
            job_id=JOB_ID,
            credential=credential,
            server_timeout_s=10,
            observer=tally,
        )
        work = replace(without_journal(), journal=Remembering())
        checker = Checker(allow_unknown=True)
        async with transport:
            with closing(open_source(source(), checker)) as opened:
                submission = Submission(
                    opened,
                    transport,
                    work=work,
                    job_id=JOB_ID,
                    settings=Settings(
                        tasks_per_request_max=TASKS_PER_REQUEST,
                        server_timeout_s=10,
                        allow_unknown=True,
                        # Where the service does not let it go back, that would end the run.
                        hold_auto_terminate=self._switches.auto_terminate == "revocable",
                        then_terminate=True,
                    ),
                    observer=tally,
                    tally=tally,
                    random=self._random,
                    cpu_s=lambda: 0.0,
                )
                async with running(submission) as outcomes:
                    taken = [outcome async for outcome in outcomes]
                self.report = outcomes.report
        return taken

    async def _operate(self) -> None:
        """Disable the job for a while."""
        disabled_s, enabled_s = DISABLED_S
        await anyio.sleep(disabled_s)
        self._call("disable", b'{"disableTasks":"requeue"}')
        await anyio.sleep(enabled_s - disabled_s)
        self._call("enable", b"")

    def _call(self, action: str, body: bytes) -> None:
        headers = {"authorization": f"Bearer {OPERATOR}", "content-length": str(len(body))}
        target = f"/jobs/{JOB_ID}/{action}?api-version=2024-07-01.20.0"
        plan = self.service.plan("POST", target, headers, now_s=now_s())
        answer = self.service.answer(plan, body, now_s=now_s())
        assert answer is not None
        assert answer.status == 202
