"""One look at how fast an account is, as a person sees it: progress, and the curve at the end."""

import base64
import os
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory

import anyio
import click

from bulksubmit.bench.curve import Curve
from bulksubmit.bench.flood import Flood, Plan
from bulksubmit.bench.throwaway import ThrowAwayJob
from bulksubmit.cli import run_async
from bulksubmit.cli.curve import Measured, table
from bulksubmit.cli.flood import Output, Signals, Target, observer_of
from bulksubmit.cli.said import print_json
from bulksubmit.cli.spawned import emulator, leave_on_signals
from bulksubmit.core.redact import redact
from bulksubmit.errors import BulkSubmitError
from bulksubmit.observe.report import exit_code
from bulksubmit.observe.screen import Screen
from bulksubmit.service.auth import SharedKey
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings

ACCOUNT = "bench"  # Of the emulator.


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured.

    Attributes:
        plan: What it may cost.
        settings: Of the runs.
        delete_job: Delete the job that was made.
    """

    plan: Plan
    settings: Settings
    delete_job: bool


def nothing_measured(error: BulkSubmitError) -> Measured:
    """The result of a command that did not begin."""
    return _ended(Measured(), error, sent=0)


def measure_emulator(capacity: Path | str, asked: Asked, output: Output) -> Measured:
    """Measure an emulator, started for this, as a process of its own.

    Args:
        capacity: What it can do: a scenario file, or the text of one.
        asked: What is to be measured.
        output: How it is shown.

    Returns:
        What was seen, whatever end it took.
    """
    leave_on_signals()
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    with (
        _file_of(capacity) as path,
        emulator(ACCOUNT, key, "--scenario", str(path)) as endpoint,
    ):
        target = Target("", endpoint, SharedKey(ACCOUNT, key))
        measured = measure_account(target, asked, output)
        leave_on_signals()
    return replace(measured, emulator=True, job_left=False)  # It is gone with its jobs.


@contextmanager
def _file_of(capacity: Path | str) -> Iterator[Path]:
    if isinstance(capacity, Path):
        yield capacity
        return
    with TemporaryDirectory(prefix="bulksubmit-bench-") as folder:
        path = Path(folder) / "service.toml"
        path.write_text(capacity)
        yield path


def measure_account(target: Target, asked: Asked, output: Output) -> Measured:
    """Measure an account.

    Args:
        target: The account; its job is not looked at.
        asked: What is to be measured.
        output: How it is shown.

    Returns:
        What was seen, whatever end it took.
    """
    measured: Measured = run_async(_measure, target, asked, output)
    return measured


async def _measure(target: Target, asked: Asked, output: Output) -> Measured:
    screen = Screen(sys.stderr, quiet=output.quiet, show=output.progress)
    error: Exception | None = None
    job = ThrowAwayJob(SystemRandom())
    looking = _Looking(job, target, asked, screen)
    began_s = anyio.current_time()
    with ExitStack() as closing:
        try:
            await looking.go(output, closing)
        except Exception as raised:  # noqa: BLE001 - every end has its result and its exit code
            error = raised
    await target.credential.aclose()
    screen.done()
    measured = Measured(
        endpoint=target.endpoint,
        job_id=job.id if job.perhaps_there or job.deleted else None,
        job_left=job.perhaps_there,
        task_bytes=asked.plan.task_bytes,
        tasks_added=looking.added,
        tried_max=asked.settings.concurrency_max,
        curve=looking.curve,
        elapsed_s=anyio.current_time() - began_s,
    )
    if error is None:
        return measured
    screen.error(f"error: {error}")
    if not isinstance(error, BulkSubmitError):
        screen.error("".join(traceback.format_exception(error)))
    return _ended(measured, error, sent=looking.added)


@dataclass
class _Looking:
    """Makes the job, floods it, and deletes it if so told."""

    job: ThrowAwayJob
    target: Target
    asked: Asked
    screen: Screen
    flood: Flood | None = field(default=None, init=False)

    @property
    def curve(self) -> Curve:
        """Up to now."""
        return self.flood.curve if self.flood else Curve()

    @property
    def added(self) -> int:
        """Tasks, up to now."""
        return self.flood.added if self.flood else 0

    async def go(self, output: Output, closing: ExitStack) -> None:
        """Do it all.

        Raises:
            BulkSubmitError: if it ends early.
        """
        settings = self.asked.settings
        self.flood = flood = Flood(
            self.asked.plan,
            settings,
            job_id=self.job.id,
            observer=observer_of(self.screen, output, closing),
            random=Random(),  # noqa: S311 - jitter
            stepped=self._tell_step,
        )
        async with Transport(
            self.target.endpoint,
            self.job.id,
            self.target.credential,
            server_timeout_s=settings.server_timeout_s,
            observer=flood.tell,
            api_version=settings.api_version,
        ) as transport:
            try:
                async with Signals(self.screen, asked=self._progress).heeded():
                    await self._watched(flood, transport)
            finally:
                if self.asked.delete_job and self.job.perhaps_there:
                    await self.job.delete(transport)

    async def _watched(self, flood: Flood, transport: Transport) -> None:
        error: Exception | None = None
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._show_progress)
            try:
                await self.job.create(transport)
                self.screen.note(f"job {self.job.id}: its tasks never run")
                await flood.run(transport)
            except Exception as raised:  # noqa: BLE001 - out of the group, which would wrap it
                error = raised
            beside.cancel_scope.cancel()
        if error:
            raise error

    async def _show_progress(self) -> None:
        while True:
            await anyio.sleep(self.screen.period_s)
            self.screen.progress(self._progress())

    def _progress(self) -> str:
        plan, state = self.asked.plan, self.flood.under_way if self.flood else None
        if state is None or not state.elapsed_s:
            return "making a job"
        step = "auto" if state.in_flight is None else f"{state.in_flight} in flight"
        return (
            f"{step} · {state.elapsed_s:.0f} of at most {plan.duration_s:,.0f} s · "
            f"{state.added:,} of at most {plan.tasks_max:,} tasks"
        )

    def _tell_step(self, curve: Curve) -> None:
        step = curve.steps[-1]
        name = f"auto, {step.in_flight:,g}" if step.auto else f"{step.in_flight:,}"
        parts = [f"{name} in flight: {step.tasks_per_s:,.0f} tasks/s"]
        if step.p95_ms is not None:
            parts.append(f"p95 {step.p95_ms:,.0f} ms")
        if step.throttled_share:
            parts.append(f"{100 * step.throttled_share:.0f} % throttled")
        self.screen.note(", ".join(parts))


def _ended(measured: Measured, error: Exception, *, sent: int) -> Measured:
    """The result of a look that ended so."""
    code = exit_code(error, requests=sent, rejected=0)
    return replace(measured, error=redact(str(error)) or type(error).__name__, exit_code=int(code))


def print_result(measured: Measured, output: Output) -> None:
    """Print to standard output, as JSON or (if there is something to tell) as a table."""
    try:
        if output.as_json:
            print_json(measured.as_dict())
        elif measured.endpoint is not None:
            click.echo(redact(table(measured, sys.stdout.encoding)), nl=False)
    except BrokenPipeError:
        # Nobody reads it; the exit code says the most of it. And no complaint at exit, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
