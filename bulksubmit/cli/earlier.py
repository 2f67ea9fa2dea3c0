"""What ``bulksubmit runs`` tells of earlier runs, and does with them."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

import click

from bulksubmit.cli import run_async
from bulksubmit.cli.said import print_json
from bulksubmit.core.model import Invalid, Task
from bulksubmit.core.redact import redact, redacted
from bulksubmit.core.shard import SHARD_BITS
from bulksubmit.core.taskcheck import Checker
from bulksubmit.database import translated
from bulksubmit.errors import JournalError, OutputError
from bulksubmit.producer import open_source
from bulksubmit.producer.shards import ShardedSource
from bulksubmit.producer.source import Block, Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.record import FILE as JOURNAL
from bulksubmit.record import Look, look
from bulksubmit.runs import Kept, check_source, find, kept, left_over, unreadable

# What a person reads for some of the names that programs know.
_LABELS = {"run_id": "run", "doubt_below": "sent at most to", "source_complete": "read to its end"}


def list_runs(*, as_json: bool) -> None:
    """Print all runs, the last written to first."""
    found = list(kept())
    for error in unreadable():
        click.echo(f"warning: {error}", err=True)
    if as_json:
        print_json([run.values | {"state": run.state} for run in found])
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


def show_run(name: str, *, task: str | None, as_json: bool) -> None:
    """Print what became of a run, or of one task of it.

    Raises:
        BulkSubmitError: if there is no such run or task, or its source cannot be read.
    """
    found = find(name)
    values = _run_values(found) if task is None else _task_values(found, task)
    if as_json:
        print_json(redacted(values))
        return
    if task is None:
        values["source_complete"] = bool(values["source_complete"])
    rows = [(_LABELS.get(name, name.replace("_", " ")), _shown(v)) for name, v in values.items()]
    _print_columns([row for row in rows if row[1]])


def export_tasks(
    name: str, what: Literal["rejected", "unsettled", "in-doubt", "all"], to: Path | None
) -> None:
    """Write tasks of a run as NDJSON, as they were.

    Raises:
        OutputError: if they cannot be written.
        BulkSubmitError: if there is no such run, or its source is not what it was.
    """
    found = find(name)
    journal = _look(found)  # Before a file is made that would stay empty.
    try:
        with click.open_file(str(to) if to else "-", "xb" if to else "wb") as file:
            chosen = _choice(found, journal, what)

            def write(_: Source, items: list[Task | Invalid]) -> bool:
                file.write(b"".join([i.body + b"\n" for i in items if chosen(i.ordinal)]))
                return True

            _read(found.spec, journal, write)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{to or 'stdout'} cannot be written: {error.strerror}") from error


def remove_runs(names: Sequence[str], *, force: bool) -> None:
    """Remove the files of runs.

    Raises:
        JournalError: if there is no such run, or it is not to be removed.
    """
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
    values = dict(run.values)
    if values["doubt_below"] >= 1 << SHARD_BITS:  # Of a shard.
        del values["doubt_below"]
    return {**values, **folder, "exceptions": exceptions}


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

    _read(run.spec, journal, look)
    if not found:
        raise JournalError(f"{run.values['source']} holds no task {task_id!r}")
    return found


def _verdict(journal: Look, ordinal: int) -> str:
    if ordinal in journal.existed:
        return "existed"
    if ordinal in journal.settled:
        return "added"
    return "unsettled, in doubt" if journal.doubted(ordinal) else "unsettled"


def _read(
    spec: SourceSpec, journal: Look, look: Callable[[Source, list[Task | Invalid]], bool]
) -> None:
    """Read a run's source again, a block at a time, for as long as ``look`` says so.

    Items have the ordinals that they have in the journal.
    """

    class Enough(Exception):
        pass

    async def read() -> None:
        async def admit(block: Block) -> None:
            if not look(source, block.items):
                raise Enough

        checker = Checker(allow_unknown=True)
        source: Source = open_source(spec, checker)
        if journal.shards:
            source = ShardedSource(spec, [state.shard for state in journal.shards], checker)
        with closing(source):
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
            return lambda ordinal: ordinal not in settled and journal.doubted(ordinal)
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


def _shown(value: object) -> str:
    match value:
        case None | "" | []:
            return ""
        case bool():
            return "yes" if value else "no"
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


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo(redact("  ".join(cells).rstrip()))
