"""``bulksubmit submit --dry-run``: everything but sending."""

import sys
from contextlib import closing
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import anyio
import click
import orjson

from bulksubmit.cli.flood import Output, Target
from bulksubmit.core.events import Event
from bulksubmit.core.model import AddStatus, Answered, Attempt, TaskResult
from bulksubmit.core.partitioner import request_bytes
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.wire import Job
from bulksubmit.errors import BulkSubmitError
from bulksubmit.journal import NoJournal
from bulksubmit.observe.report import Report, Tally, exit_code
from bulksubmit.observe.screen import Screen
from bulksubmit.producer import open_source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.runs import Run, new_run_id, run_folder
from bulksubmit.service.replies import Unavailable
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings
from bulksubmit.submission import Submission, running


@dataclass(slots=True)
class Rehearsal:
    """The service, looked at and not touched: what would be added is counted.

    Attributes:
        service: Asked about the job.
        requests: How many collections would be posted.
        tasks: How many tasks they hold.
        body_bytes: The sum of their bodies.
        fill: The sum, over all requests, of how far each fills the bound that binds.
        settings: Have the bounds.
    """

    service: Transport
    settings: Settings
    requests: int = 0
    tasks: int = 0
    body_bytes: int = 0
    fill: float = 0.0

    async def get_job(self) -> Job | Unavailable:
        """See Transport."""
        return await self.service.get_job()

    async def patch_job(self, on_all_tasks_complete: str) -> None:
        """Change nothing."""

    async def add(self, attempt: Attempt) -> Answered:
        """Count it, and take it for added."""
        size = request_bytes(attempt.tasks)
        bytes_max = self.settings.request_bytes_max or size
        self.requests += 1
        self.tasks += len(attempt.tasks)
        self.body_bytes += size
        shares = (len(attempt.tasks) / self.settings.tasks_per_request_max, size / bytes_max)
        self.fill += max(shares)
        return Answered([TaskResult(task.id, AddStatus.SUCCESS) for task in attempt.tasks])

    def __getattr__(self, name: str) -> Any:
        """What else is asked of a service reads only."""
        return getattr(self.service, name)


async def rehearse(spec: SourceSpec, target: Target, settings: Settings, output: Output) -> int:
    """Read, check, cut into requests, sign in, and look at the job; print what would be sent.

    Returns:
        The exit code: as the run's own would be, as far as can be told without sending.
    """
    screen = Screen(sys.stderr, quiet=output.quiet)
    error: BulkSubmitError | None = None
    report, rehearsal = None, None
    try:
        checker = Checker(allow_unknown=settings.allow_unknown)
        with closing(open_source(spec, checker)) as source:
            report, rehearsal = await _rehearse(source, target, settings, screen)
    except BulkSubmitError as raised:
        error = raised
        screen.error(f"error: {error}")
    await target.credential.aclose()
    rejected = report.rejected if report else 0
    code = exit_code(error, requests=0, rejected=rejected)
    _print(rehearsal, report, error, int(code), target, output)
    return int(code)


async def _rehearse(
    source: Any, target: Target, settings: Settings, screen: Screen
) -> tuple[Report, Rehearsal]:
    run_id = new_run_id()
    tally = Tally(anyio.current_time)

    def observe(event: Event, /) -> None:
        tally(event)
        screen(event)

    transport = Transport(
        target.endpoint,
        target.job_id,
        target.credential,
        server_timeout_s=settings.server_timeout_s,
        observer=observe,
        api_version=settings.api_version,
    )
    rehearsal = Rehearsal(transport, settings)
    submission = Submission(
        source,
        rehearsal,
        work=Run(run_id, run_folder(run_id), NoJournal()),
        job_id=target.job_id,
        settings=replace(settings, hold_auto_terminate=False, then_terminate=False),
        observer=observe,
        tally=tally,
        random=Random(),  # noqa: S311 - jitter
    )
    async with transport, running(submission) as outcomes:
        await outcomes.drain()
    return outcomes.report, rehearsal


def _print(
    rehearsal: Rehearsal | None,
    report: Report | None,
    error: BulkSubmitError | None,
    code: int,
    target: Target,
    output: Output,
) -> None:
    requests = rehearsal.requests if rehearsal else 0
    values: dict[str, object] = {
        "dry_run": True,
        "job_id": target.job_id,
        "total": report.total if report else 0,
        "tasks": rehearsal.tasks if rehearsal else 0,
        "rejected": report.rejected if report else 0,
        "requests": requests,
        "bytes": rehearsal.body_bytes if rehearsal else 0,
        "fill": round(rehearsal.fill / requests, 4) if rehearsal and requests else 0.0,
        "rejects_path": report.rejects_path if report else None,
        "exit_code": code,
    }
    if error is not None:
        values["error"] = str(error)
    if output.as_json:
        click.echo(orjson.dumps(values))
        return
    if error is not None:
        return
    click.echo(
        f"dry run     nothing was sent to the job {target.job_id}\n"
        f"tasks read  {values['total']:,}\n"
        f"  to send   {values['tasks']:,}\n"
        f"  rejected  {values['rejected']:,}\n"
        f"requests    {requests:,}, {values['bytes'] / 1e6:,.1f} MB, filled to "  # type: ignore[operator]
        f"{100 * float(str(values['fill'])):.1f} %"
    )
