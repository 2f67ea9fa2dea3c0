"""One verification as a person sees it: progress while it lasts, a table at the end."""

import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile

import anyio
import click

from bulksubmit.cli.flood import Output, Signals, Target, flood, observer_of
from bulksubmit.cli.said import print_json
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.redact import redact
from bulksubmit.errors import BulkSubmitError, NotConverged, SourceError
from bulksubmit.observe.report import ExitCode, Report, exit_code
from bulksubmit.observe.screen import Screen
from bulksubmit.producer.spec import STDIN, SourceSpec
from bulksubmit.runs import FIX_OF
from bulksubmit.settings import Settings
from bulksubmit.verify import Verification, Verifying, verifying

_KINDS = {
    "missing": "in the source, and not in the job",
    "extra": "in the job, and not in the source",
    "changed": "in both, and not the same",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedFor:
    """What is to be compared, and how. Other fields are as in verify().

    Attributes:
        fix: Submit what is missing, and look again.
        left_out: Items of the source that may be there or not.
    """

    source: SourceSpec
    content: bool
    allow_extra: bool
    fix: bool
    report: Path | None
    left_out: Bitmap | None
    settings: Settings


async def look(
    begun: Verification, asked: LookedFor, target: Callable[[], Target], output: Output
) -> Verification:
    """Compare, submit what is missing if so asked, and compare again.

    Args:
        begun: The result, if there is no more to be said.
        asked: What is to be compared.
        target: Makes the job's place, each time with a credential of its own.
        output: How it is shown.

    Returns:
        What was found, whatever end it took; with its exit code.
    """
    screen = Screen(sys.stderr, quiet=output.quiet, show=output.progress)
    error: Exception | None = None
    looking = _Looking(begun, asked, target, output, screen)
    here = target()
    with ExitStack() as closing:
        try:
            observer = observer_of(screen, output, closing)
            async with verifying(
                asked.source,
                job_id=here.job_id,
                endpoint=here.endpoint,
                credential=here.credential,
                content=asked.content,
                allow_extra=asked.allow_extra,
                left_out=asked.left_out,
                report=asked.report,
                settings=asked.settings,
                observer=observer,
            ) as under_way:
                await looking.go(under_way)
        except Exception as raised:  # noqa: BLE001 - every end has its result and its exit code
            error = raised
    await here.credential.aclose()
    screen.done()
    if error is None:
        return looking.result
    screen.error(f"error: {error}")
    if not isinstance(error, BulkSubmitError):
        screen.error("".join(traceback.format_exception(error)))
    return ended(looking.result, error)


class _Looking:
    """Goes through the steps.

    Attributes:
        result: Up to now.
    """

    def __init__(
        self,
        begun: Verification,
        asked: LookedFor,
        target: Callable[[], Target],
        output: Output,
        screen: Screen,
    ) -> None:
        self.result = begun
        self._asked, self._target, self._output = asked, target, output
        self._screen = screen

    async def go(self, under_way: Verifying) -> None:
        """Look, fix, look again."""
        verifier = under_way.verifier
        try:
            await self._watched(under_way, verifier.look)
            self.result = under_way.result
            if not self._asked.fix:
                return
            fixed = await self._fix(under_way)
            if fixed is not None:
                await self._watched(under_way, verifier.look_again)
        finally:
            run, fixed_count = self.result.fix_run, self.result.fixed
            self.result = replace(under_way.result, fixed=fixed_count, fix_run=run)

    async def _watched(self, under_way: Verifying, step: Callable[[], Awaitable[object]]) -> None:
        """Do a step that can be interrupted at any time, and show how far it is."""
        signals = Signals(self._screen, asked=lambda: under_way.verifier.progress)
        error: Exception | None = None
        try:
            async with signals.heeded(), anyio.create_task_group() as beside:
                beside.start_soon(_show_progress, under_way, self._screen)
                try:
                    await step()
                except Exception as raised:  # noqa: BLE001 - out of the group, which would wrap it
                    error = raised
                beside.cancel_scope.cancel()
        except NotConverged as interrupted:
            what = f"{interrupted}: nothing is left behind, and nothing kept; verify anew"
            raise NotConverged(what, exit_code=interrupted.exit_code) from None
        if error:
            raise error

    async def _fix(self, under_way: Verifying) -> Report | None:
        """Submit what is missing; None if nothing is."""
        if not self.result.missing:
            self.result = replace(self.result, fixed=0)
            return None
        with TemporaryFile() as file:
            count = await under_way.verifier.write_missing(file)
            file.seek(0)
            self._screen.note(f"submitting {count:,} missing tasks")
            settings, name = replace(self._asked.settings, spool=True), self._asked.source.label
            label = FIX_OF + ("standard input" if name == STDIN else name)
            report = await flood(file, self._target(), settings, self._output, label=label)
        fixed = report.added + report.existed
        self.result = replace(self.result, fixed=fixed, fix_run=report.run_id)
        if report.exit_code not in {ExitCode.CONVERGED, ExitCode.REJECTED}:
            reason = f"what is missing is not submitted to the end: {report.error}"
            if report.journal_path:
                reason += f"; go on by bulksubmit runs resume {report.run_id}, and verify again"
            raise NotConverged(reason, exit_code=report.exit_code)
        return report


async def _show_progress(under_way: Verifying, screen: Screen) -> None:
    while True:
        await anyio.sleep(screen.period_s)
        screen.progress(under_way.verifier.progress)


def ended(result: Verification, error: Exception) -> Verification:
    """The result of a look that ended so."""
    # Nothing is sent: a source that cannot be read is a matter of usage whenever that shows.
    requests = 0 if isinstance(error, SourceError) else result.requests
    code = exit_code(error, requests=requests, rejected=0)
    return replace(
        result, same=None, error=redact(str(error)) or type(error).__name__, exit_code=int(code)
    )


def print_result(result: Verification, output: Output) -> None:
    """Print to standard output, as JSON or (if there is something to tell) as a table."""
    try:
        if output.as_json:
            print_json(result.as_dict())
        elif result.expected is not None:
            click.echo(redact(_table(result)), nl=False)
    except BrokenPipeError:
        # Nobody reads it; the exit code says the most of it. And no complaint at exit, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _table(result: Verification) -> str:
    """The result as lines of a label and a value, ending with a line end."""
    rows = [
        ("job", result.job_id),
        ("source", result.source),
        ("same", {True: "yes", False: "no", None: "not known"}[result.same]),
        ("expected", _expected(result)),
        ("found", _number(result.found)),
        ("  missing", _missing(result)),
        ("  extra", _number(result.extra)),
        ("  changed", _changed(result)),
    ]
    if result.fixed is not None:
        run = f", by the run {result.fix_run}" if result.fix_run else ""
        rows.append(("fixed", f"{result.fixed:,}{run}"))
    rows.append(("took", f"{result.elapsed_s:,.1f} s, {result.requests:,} requests"))
    if result.report_path:
        rows.append(("report", result.report_path))
    if result.error:
        rows.append(("ended by", result.error))
    width = max(len(label) for label, _ in rows)
    lines = [f"{label:<{width}}  {value}" for label, value in rows]
    for kind, words in _KINDS.items():
        lines += _examples(kind, words, result)
    return "".join(f"{line}\n" for line in lines)


def _number(count: int | None) -> str:
    return f"{count or 0:,}"


def _changed(result: Verification) -> str:
    return "not looked for; --content does" if result.changed is None else f"{result.changed:,}"


def _expected(result: Verification) -> str:
    parts = [f"{_number(result.expected)} different IDs"]
    for count, words in (
        (result.repeated, "that come again"),
        (result.left_out, "left out, which the run rejected"),
        (result.invalid, "left out, which are no tasks"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return ", ".join(parts)


def _missing(result: Verification) -> str:
    if result.missing and result.missing > result.asked:
        return f"{result.missing:,}, of which {result.asked:,} were asked for one by one"
    return _number(result.missing)


def _examples(kind: str, words: str, result: Verification) -> Iterator[str]:
    examples = result.examples.get(kind, ())
    if not examples:
        return
    count = {"missing": result.missing, "extra": result.extra, "changed": result.changed}[kind]
    yield f"\n{kind}: {words}"
    for example in examples:
        yield f"  {_example(example)}"
    if count and count > len(examples):
        yield f"  and {count - len(examples):,} more"


def _example(example: Mapping[str, object]) -> str:
    text = str(example["id"])
    if "where" in example:
        text = f"{example['where']}: {text}"
    fields = example.get("fields")
    return f"{text}: {', '.join(map(str, fields))}" if isinstance(fields, list) else text
