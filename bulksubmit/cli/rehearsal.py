"""``bulksubmit submit --dry-run``: everything but sending."""

import sys
from contextlib import closing
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import anyio
import click

from bulksubmit.cli.flood import Output, Signals, Target
from bulksubmit.cli.said import print_json
from bulksubmit.consumer import running
from bulksubmit.core.events import Event, Observer
from bulksubmit.core.model import AddStatus, Answered, Attempt, TaskResult
from bulksubmit.core.partitioner import request_bytes
from bulksubmit.core.redact import redact
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import BulkSubmitError
from bulksubmit.journal import NoJournal
from bulksubmit.observe.report import Report, Tally, exit_code
from bulksubmit.observe.screen import Screen
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.runs import Run, new_run_id
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings
from bulksubmit.submission import Submission


class Rehearsal(Transport):
    """The service, looked at and not touched: what would be added is counted.

    Attributes:
        requests: How many collections would be posted.
        tasks: How many tasks they hold.
        body_bytes: The sum of their bodies.
        fill: The sum, over all requests, of how far each fills the bound that binds.
    """

    def __init__(self, target: Target, settings: Settings, observer: Observer) -> None:
        super().__init__(
            target.endpoint,
            target.job_id,
            target.credential,
            server_timeout_s=settings.server_timeout_s,
            observer=observer,
            api_version=settings.api_version,
        )
        self._settings = settings
        self.requests = self.tasks = self.body_bytes = 0
        self.fill = 0.0

    async def patch_job(self, on_all_tasks_complete: str) -> None:
        """Change nothing."""

    async def add(self, attempt: Attempt) -> Answered:
        """Count it, and take it for added."""
        size = request_bytes(attempt.tasks)
        bytes_max = self._settings.request_bytes_max or size
        self.requests += 1
        self.tasks += len(attempt.tasks)
        self.body_bytes += size
        self.fill += max(
            len(attempt.tasks) / self._settings.tasks_per_request_max, size / bytes_max
        )
        return Answered([TaskResult(task.id, AddStatus.SUCCESS) for task in attempt.tasks])


async def rehearse(spec: SourceSpec, target: Target, settings: Settings, output: Output) -> int:
    """Read, check, cut into requests, sign in, and look at the job; print what would be sent.

    Returns:
        The exit code: as the run's own would be, as far as can be told without sending.
    """
    screen = Screen(sys.stderr, quiet=output.quiet, show=output.progress)
    error: BulkSubmitError | None = None
    report, rehearsal = None, None
    try:
        checker = Checker(allow_unknown=settings.allow_unknown)
        # What nobody asked for, such as a rejects file, goes with the folder.
        with TemporaryDirectory() as folder, closing(open_source(spec, checker)) as source:
            async with Signals(screen).heeded():
                report, rehearsal = await _rehearse(source, target, settings, screen, Path(folder))
        if settings.rejects_path is None:
            report = replace(report, rejects_path=None)
    except BulkSubmitError as raised:
        error = raised
        screen.error(f"error: {error}")
    await target.credential.aclose()
    rejected = report.rejected if report else 0
    code = exit_code(error, requests=0, rejected=rejected)
    values = _values(rehearsal, report) | {"job_id": target.job_id, "exit_code": int(code)}
    if error is not None:
        values["error"] = redact(str(error))
    if output.as_json:
        print_json(values)
    elif error is None:
        click.echo(_table(values))
    return int(code)


async def _rehearse(
    source: Source, target: Target, settings: Settings, screen: Screen, folder: Path
) -> tuple[Report, Rehearsal]:
    tally = Tally(anyio.current_time)

    def observe(event: Event, /) -> None:
        tally(event)
        screen(event)

    rehearsal = Rehearsal(target, settings, observe)
    submission = Submission(
        source,
        rehearsal,
        work=Run(new_run_id(), folder, NoJournal()),
        job_id=target.job_id,
        # Nor results, which would say of tasks that they were added.
        settings=replace(
            settings, hold_auto_terminate=False, then_terminate=False, results_path=None
        ),
        observer=observe,
        tally=tally,
        random=Random(),  # noqa: S311 - jitter
    )
    async with rehearsal, running(submission) as outcomes:
        await outcomes.drain()
    return outcomes.report, rehearsal


def _values(rehearsal: Rehearsal | None, report: Report | None) -> dict[str, object]:
    """What a dry run came to, as JSON types."""
    requests = rehearsal.requests if rehearsal else 0
    return {
        "dry_run": True,
        "total": report.total if report else 0,
        "tasks": rehearsal.tasks if rehearsal else 0,
        "rejected": report.rejected if report else 0,
        "requests": requests,
        "bytes": rehearsal.body_bytes if rehearsal else 0,
        "fill": round(rehearsal.fill / requests, 4) if rehearsal and requests else 0.0,
        "rejects_path": report.rejects_path if report else None,
    }


def _table(values: dict[str, object]) -> str:
    """The same for a person."""
    total, tasks, rejected, requests, size, fill = itemgetter(
        "total", "tasks", "rejected", "requests", "bytes", "fill"
    )(values)
    return (
        f"dry run     nothing was sent to the job {values['job_id']}\n"
        f"tasks read  {total:,}\n"
        f"  to send   {tasks:,}\n"
        f"  rejected  {rejected:,}\n"
        f"requests    {requests:,}, {size / 1e6:,.1f} MB, filled to {100 * fill:.1f} %"
    )
