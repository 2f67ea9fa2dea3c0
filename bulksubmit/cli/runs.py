"""``bulksubmit runs``: what became of earlier runs, and how they go on."""

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import click
import orjson

from bulksubmit.cli import run_async
from bulksubmit.cli.flags import FILE, Flags, run_flags
from bulksubmit.cli.flood import ended, flood_on, nothing_begun, print_report
from bulksubmit.cli.report import report as runs_report
from bulksubmit.core.model import Invalid, Task
from bulksubmit.core.taskcheck import Checker
from bulksubmit.database import translated
from bulksubmit.errors import BulkSubmitError, JournalError, OutputError
from bulksubmit.journal import FILE as JOURNAL
from bulksubmit.journal import Look, look
from bulksubmit.observe.report import exit_code
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Block, Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.runs import Kept, check_source, find, kept, left_over, unreadable

_EPILOG = """\b
RUN is a run's name, the beginning of one, or last: the run last written to.
\b
Environment:
  BULKSUBMIT_STATE_DIR  where runs are kept
"""

_json = click.option("--output", type=click.Choice(["table", "json"]), default="table")


@click.group(epilog=_EPILOG)
def runs() -> None:
    """Look at earlier runs, and go on with them."""


runs.add_command(runs_report)


@runs.command("list")
@_json
def list_(*, output: str) -> None:
    """List all runs, the last written to first."""
    found = list(kept())
    for error in unreadable():
        click.echo(f"warning: {error}", err=True)
    if output == "json":
        _print_json([run.values | {"state": run.state} for run in found])
        return
    rows = [("run", "state", "job", "tasks read", "settled", "source")]
    rows += [
        (
            run.run_id,
            run.state,
            str(run.values["job"]),
            f"{run.values['tasks_read']:,}",
            f"{run.counts.settled:,}",
            str(run.values["source"]),
        )
        for run in found
    ]
    _print_columns(rows)


@runs.command(epilog=_EPILOG)
@click.argument("run")
@click.option("--task", metavar="ID", help="One task: its place, and what became of it.")
@_json
def show(*, run: str, task: str | None, output: str) -> None:
    """Show what became of a run."""
    with _failing():
        found = find(run)
        values = _run_values(found) if task is None else _task_values(found, task)
    if output == "json":
        _print_json(values)
        return
    rows = [(name.replace("_", " "), _shown(value)) for name, value in values.items()]
    _print_columns([row for row in rows if row[1]])


@runs.command(epilog=_EPILOG)
@click.argument("run")
@run_flags
def resume(*, run: str, **flags: Any) -> None:
    """Go on with a run: send what is not settled. The report covers the whole run."""
    given = Flags(**flags)
    job_id = ""
    try:
        found = find(run)
        job_id, settings = (
            str(found.values["job"]),
            given.settings(sources=found.spec.files),
        )
        target = given.target(job_id, endpoint=str(found.values["endpoint"]))
    except BulkSubmitError as error:
        click.echo(f"error: {error}", err=True)
        report = ended(nothing_begun(job_id), error)
    else:
        report = run_async(flood_on, found, target, settings, given.shown)
    print_report(report, given.shown)
    sys.exit(report.exit_code)


@runs.command(epilog=_EPILOG)
@click.argument("run")
@click.option(
    "--what",
    type=click.Choice(["rejected", "unsettled", "in-doubt", "all"]),
    default="all",
    show_default=True,
    help="all: rejected and unsettled; in-doubt: those of the unsettled that may exist.",
)
@click.option("--to", type=FILE, help="A new file.  [default: standard output]")
def export(
    *, run: str, what: Literal["rejected", "unsettled", "in-doubt", "all"], to: Path | None
) -> None:
    """Write tasks of a run as NDJSON, as they were: to be mended, and submitted."""
    with _failing():
        found = find(run)
        journal = _look(found)  # Before a file is made that would stay empty.
        try:
            with click.open_file(str(to) if to else "-", "xb" if to else "wb") as file:
                chosen = _choice(found, journal, what)

                def write(_: Source, items: list[Task | Invalid]) -> bool:
                    file.write(b"".join([i.body + b"\n" for i in items if chosen(i.ordinal)]))
                    return True

                _read(found.spec, write)
        except OSError as error:
            raise OutputError(f"{to or 'stdout'} cannot be written: {error.strerror}") from error


@runs.command(epilog=_EPILOG)
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("--force", is_flag=True, help="Also a run that is unfinished or damaged.")
def rm(*, names: Sequence[str], force: bool) -> None:
    """Remove the files of runs. Tasks in the service stay as they are."""
    with _failing():
        for name in names:
            if force and (folder := left_over(name)):
                shutil.rmtree(folder)
                continue
            found = find(name)
            if found.state == "running":
                raise JournalError(f"{found.run_id} is being worked on")
            if found.state == "unfinished" and not force:
                reason = "is unfinished, and could not be resumed any more; --force removes it"
                raise JournalError(f"{found.run_id} {reason}")
            shutil.rmtree(found.folder)


def _run_values(run: Kept) -> dict[str, object]:
    with _journal(run) as db:
        codes = db.execute(
            "SELECT verdict, code, count(*), min(line), max(message) FROM exception"
            " GROUP BY verdict, code ORDER BY count(*) DESC"
        ).fetchall()
    exceptions = [
        {"verdict": verdict, "code": code, "tasks": tasks, "first_line": line, "message": message}
        for verdict, code, tasks, line, message in codes
    ]
    folder = {"state": run.state, "folder": str(run.folder)}
    return {**run.values, **folder, "exceptions": exceptions}


def _task_values(run: Kept, task_id: str) -> dict[str, object]:
    with _journal(run) as db:
        db.row_factory = sqlite3.Row
        exception = db.execute(
            "SELECT * FROM exception WHERE task_id = ? COLLATE NOCASE", (task_id,)
        ).fetchone()
    if exception:
        return dict(exception) | {"source": run.values["source"]}
    journal = _look(run)
    found: dict[str, object] = {}

    def look(source: Source, items: list[Task | Invalid]) -> bool:
        for item in items:
            if item.id.lower() == task_id.lower():
                found["ordinal"], found["line"] = item.ordinal, item.line
                found["task_id"], found["verdict"] = item.id, _verdict(journal, item.ordinal)
                found["source"] = source.file_of(item.ordinal)
        return not found

    _read(run.spec, look)
    if not found:
        raise JournalError(f"{run.values['source']} holds no task {task_id!r}")
    return found


def _verdict(journal: Look, ordinal: int) -> str:
    if ordinal in journal.existed:
        return "existed"
    if ordinal in journal.settled:
        return "added"
    return "unsettled, in doubt" if ordinal < journal.doubt_below else "unsettled"


def _read(spec: SourceSpec, look: Callable[[Source, list[Task | Invalid]], bool]) -> None:
    """Read a run's source again, a block at a time, for as long as ``look`` says so."""

    class Enough(Exception):
        pass

    async def read() -> None:
        async def admit(block: Block) -> None:
            if not look(source, block.items):
                raise Enough

        with closing(open_source(spec, Checker(allow_unknown=True))) as source:
            await source.read(admit)

    with suppress(Enough):
        run_async(read)


def _choice(run: Kept, journal: Look, what: str) -> Callable[[int], bool]:
    """Which ordinals are meant."""
    with _journal(run) as db:
        rejected = {
            ordinal
            for (ordinal,) in db.execute("SELECT ordinal FROM exception WHERE verdict = 'rejected'")
        }
    settled = journal.settled
    match what:
        case "rejected":
            return rejected.__contains__
        case "unsettled":
            return lambda ordinal: ordinal not in settled
        case "in-doubt":
            return lambda ordinal: ordinal not in settled and ordinal < journal.doubt_below
        case _:
            return lambda ordinal: ordinal not in settled or ordinal in rejected


def _look(run: Kept) -> Look:
    """What the journal says of the tasks of the source, which must be what it was."""
    with _journal(run) as db:
        journal = look(db, run.folder / JOURNAL)
    check_source(journal.identity, SourceSpec.from_json(journal.identity.source_spec))
    return journal


@contextmanager
def _journal(run: Kept) -> Iterator[sqlite3.Connection]:
    path = run.folder / JOURNAL
    with translated(path), closing(sqlite3.connect(path)) as db:
        yield db


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except BulkSubmitError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(exit_code(error, requests=0, rejected=0))


def _shown(value: object) -> str:
    match value:
        case None | "" | []:
            return ""
        case int():
            return f"{value:,}"
        case list():
            return "; ".join(_exception(one) for one in value)
        case _:
            return str(value)


def _exception(one: dict[str, object]) -> str:
    message = str(one["message"] or "").splitlines()
    tail = f": {message[0]}" if message else ""
    return (
        f"{one['tasks']:,} {one['verdict']} {one['code'] or ''} from line {one['first_line']}{tail}"
    )


def _print_json(value: object) -> None:
    click.echo(orjson.dumps(value))


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
