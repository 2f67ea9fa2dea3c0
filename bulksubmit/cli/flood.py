"""One run as a person sees it: progress while it lasts, signals heeded, a report at the end."""

import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import anyio
import click

from bulksubmit.api import resume, stream
from bulksubmit.cli.said import print_json
from bulksubmit.consumer import Outcomes
from bulksubmit.core.events import Event, Observer
from bulksubmit.core.redact import redact
from bulksubmit.early import ENDS, QUESTIONS, ignore_questions, noted
from bulksubmit.errors import (
    BulkSubmitError,
    JournalError,
    NotConverged,
    OutputError,
    UnfinishedRun,
)
from bulksubmit.observe.report import Report, Tally, exit_code
from bulksubmit.observe.screen import Screen, Show, in_place
from bulksubmit.observe.table import report_table
from bulksubmit.observe.written import Written
from bulksubmit.producer.source import AnySource
from bulksubmit.runs import Kept, Run
from bulksubmit.service.auth import EntraToken, SharedKey
from bulksubmit.settings import Settings

if TYPE_CHECKING:
    from bulksubmit.distribute.crew import Crew


@dataclass(frozen=True, slots=True)
class Target:
    """Where tasks go.

    Attributes:
        job_id: The Batch job.
        endpoint: The account's.
        credential: Proves who we are.
    """

    job_id: str
    endpoint: str
    credential: SharedKey | EntraToken


@dataclass(frozen=True, slots=True)
class Output:
    """How the run is shown.

    Attributes:
        as_json: The report as one JSON object, not as a table.
        quiet: No progress and no notes; errors only.
        progress: Drawn in place on a terminal, or in plain lines, or not at all.
        log_file: Where each event is logged, if anywhere.
        log_as_json: The log as JSON lines, not as text.
        lasting: The run stays, so that it is worth saying how to go on with it.
    """

    as_json: bool = False
    quiet: bool = False
    progress: Show = "auto"
    log_file: Path | None = None
    log_as_json: bool = False
    lasting: bool = True


async def flood(
    source: AnySource,
    target: Target,
    settings: Settings,
    output: Output,
    crew: "Crew | None" = None,
    *,
    label: str | None = None,
) -> Report:
    """Run a submission to its end, whatever end that is.

    Args:
        source: What to submit.
        target: Where to.
        settings: How it should go.
        output: How it is shown.
        crew: Workers that share it, if there are any.
        label: What a source without a name is called in lists of runs.

    Returns:
        The final account, with its exit code.
    """

    def begin(observer: Observer) -> AbstractAsyncContextManager[Outcomes]:
        return stream(
            source,
            job_id=target.job_id,
            endpoint=target.endpoint,
            credential=target.credential,
            settings=settings,
            observer=observer,
            executor=crew,
            label=label,
        )

    return await _run(begin, output, target, crew)


async def flood_on(
    run: Kept, target: Target, settings: Settings, output: Output, crew: "Crew | None" = None
) -> Report:
    """Go on with a run, to its end; by a crew of workers, if it was begun with one.

    Returns:
        The final account of the whole run, with its exit code.
    """

    def begin(observer: Observer) -> AbstractAsyncContextManager[Outcomes]:
        return resume(
            run.run_id,
            endpoint=target.endpoint,
            credential=target.credential,
            settings=settings,
            observer=observer,
            executor=crew,
        )

    return await _run(begin, output, target, crew)


async def _run(
    begin: Callable[[Observer], AbstractAsyncContextManager[Outcomes]],
    output: Output,
    target: Target,
    crew: "Crew | None",
) -> Report:
    screen = Screen(sys.stderr, quiet=output.quiet, show=output.progress)
    signals = Signals(screen)
    outcomes: Outcomes | None = None
    error: Exception | None = None
    with ExitStack() as closing:
        if crew:  # If it did not come to be used.
            closing.callback(crew.close)
        try:
            async with signals.heeded(), begin(observer_of(screen, output, closing)) as outcomes:
                signals.outcomes = outcomes
                if output.lasting:
                    _introduce(outcomes.run, screen)
                await _watch(outcomes, screen)
        except UnfinishedRun as raised:
            error = _in_words_of_flags(raised)
        except Exception as raised:  # noqa: BLE001 - every end has its report and its exit code
            error = raised
    await target.credential.aclose()
    screen.done()
    if error is not None:
        screen.error(f"error: {error}")
        if not isinstance(error, BulkSubmitError):
            screen.error("".join(traceback.format_exception(error)))
    return ended(outcomes.report if outcomes else nothing_begun(target.job_id), error)


def _in_words_of_flags(error: UnfinishedRun) -> JournalError:
    ways = f"go on with it by --resume (or bulksubmit runs resume {error.run_id}), or begin anew"
    if error.in_use:
        ways = "wait for it, or begin another"
    return JournalError(f"{error.what}: {ways} by --new-run")


def _introduce(run: Run, screen: Screen) -> None:
    if run.journal.path is None:
        screen.note(f"run {run.run_id}: a pipe cannot be resumed; --spool would keep a copy")
        return
    if run.note:
        screen.note(run.note)
    screen.note(f"run {run.run_id}: journal {run.journal.path}")
    if not run.journal.counts.converged:
        screen.note(f"  if it is cut off: bulksubmit runs resume {run.run_id}")


def ended(report: Report, error: Exception | None) -> Report:
    """The report of a run that ended so."""
    if error is None:
        return report
    code = exit_code(error, requests=report.requests, rejected=report.rejected)
    reason = redact(str(error)) or type(error).__name__
    return replace(report, error=reason, exit_code=int(code))


def nothing_begun(job_id: str) -> Report:
    """The report of a run that did not begin."""
    return Tally(lambda: 0.0).report(run_id=None, job_id=job_id)


def print_report(report: Report, output: Output) -> None:
    """Print to standard output, as JSON or (if a run was begun) as a table."""
    try:
        if output.as_json:
            print_json(report.as_dict())
        elif report.run_id and in_place(sys.stdout):
            from bulksubmit.observe.painted import print_painted  # noqa: PLC0415 - rich: 50 ms

            print_painted(report, sys.stdout)
        elif report.run_id:
            click.echo(report_table(report), nl=False)
    except BrokenPipeError:
        # Nobody reads it; the exit code says the most of it. And no complaint at exit, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def observer_of(screen: Screen, output: Output, closing: ExitStack) -> Observer:
    """Tells the screen, the log file if there is one, and OpenTelemetry if it is loaded.

    Raises:
        OutputError: if the log file cannot be written.
    """
    observers: list[Observer] = [screen, *_log(output, closing)]
    # Whoever starts us by opentelemetry-instrument has loaded the SDK before us.
    if "opentelemetry.sdk" in sys.modules:
        from bulksubmit.observe.otel import observer  # noqa: PLC0415 - an extra

        observers.append(observer())

    def observe(event: Event, /) -> None:
        for each in observers:
            each(event)

    return observe if len(observers) > 1 else screen


def _log(output: Output, closing: ExitStack) -> Iterator[Observer]:
    """The log, if there is to be one."""
    if output.log_file is None:
        return
    from bulksubmit.observe.log import log_to  # noqa: PLC0415 - structlog: 45 ms and 5 MB

    try:
        # At once: a log is read when something went wrong.
        file = TextIOWrapper(Written(output.log_file), encoding="utf-8", write_through=True)  # type: ignore[type-var]
    except OSError as error:
        raise _no_log(output.log_file, error) from error
    closing.callback(_close, file)
    path, log = output.log_file, log_to(file, as_json=output.log_as_json)

    def observe(event: Event, /) -> None:
        try:
            log(event)
        except OSError as error:
            raise _no_log(path, error) from error

    yield observe


def _no_log(path: Path, error: OSError) -> OutputError:
    return OutputError(f"the log file {path} cannot be written: {error.strerror}")


def _close(file: TextIO) -> None:
    with suppress(OSError):  # It tries once more what could not be written; that is known.
        file.close()


async def _watch(outcomes: Outcomes, screen: Screen) -> None:
    """Take the outcomes in, and show progress."""
    ended_by: Exception | None = None
    async with anyio.create_task_group() as beside:
        beside.start_soon(_show_progress, outcomes, screen)
        try:
            await outcomes.drain()
        except Exception as raised:  # noqa: BLE001 - out of the group, which would wrap it
            ended_by = raised
        beside.cancel_scope.cancel()
    if ended_by:
        raise ended_by


class Signals:
    """What Ctrl-C and SIGTERM do, and SIGUSR1.

    Attributes:
        outcomes: The run, once it has begun: the first signal stops it in order, the second does
            not wait for the last answers. Before that, the first one ends all.
    """

    def __init__(
        self, screen: Screen, *, asked: Callable[[], str] = lambda: "nothing was sent yet"
    ) -> None:
        """Heed them.

        Args:
            screen: Where what they do is told.
            asked: How far it is, as long as there is no run.
        """
        self.outcomes: Outcomes | None = None
        self._screen, self._asked = screen, asked
        self._first: signal.Signals | None = None

    @asynccontextmanager
    async def heeded(self) -> AsyncIterator[None]:
        """Heed signals as long as the context lasts.

        Raises:
            NotConverged: if one ended it before the run had begun.
        """
        error: Exception | None = None
        early = noted()
        with anyio.open_signal_receiver(*ENDS, *QUESTIONS) as signals:
            if early and early.first:  # Before there was anybody to heed it: nothing is begun.
                self._first, error = early.first, self._interrupted(early.first)
            else:
                async with anyio.create_task_group() as beside:
                    beside.start_soon(self._heed, signals, beside.cancel_scope)
                    try:
                        yield
                    except Exception as raised:  # noqa: BLE001 - or the group would wrap it
                        error = raised
                    beside.cancel_scope.cancel()
        ignore_questions()
        if self._first is not None:
            # What is left is quick, and its end is the one object on standard output.
            for number in ENDS:
                signal.signal(number, signal.SIG_IGN)
        if error is None and self._first is not None and self.outcomes is None:
            error = self._interrupted(self._first)
        if error:
            raise error

    @staticmethod
    def _interrupted(number: signal.Signals) -> NotConverged:
        return NotConverged(f"interrupted by {number.name}", exit_code=128 + number)

    async def _heed(
        self, signals: AsyncIterator[signal.Signals], everything: anyio.CancelScope
    ) -> None:
        async for number in signals:
            if number in QUESTIONS:
                self._tell()
            elif self._first is None:
                self._first = number
                if self.outcomes is None:
                    everything.cancel()
                    return
                self.outcomes.stop(f"interrupted by {number.name}", exit_code=128 + number)
                self._screen.note(
                    "stopping once the answers in flight are in; again to leave at once"
                )
            elif self.outcomes:
                self.outcomes.cut()
                return

    def _tell(self) -> None:
        self._screen.tell(self.outcomes.progress if self.outcomes else self._asked())


async def _show_progress(outcomes: Outcomes, screen: Screen) -> None:
    begun = outcomes.progress
    if begun.settled_before and not begun.report.converged:
        screen.progress(begun)  # At once: what was done before is what one wants to know now.
    while True:
        await anyio.sleep(screen.period_s)
        screen.progress(outcomes.progress)
