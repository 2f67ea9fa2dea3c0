"""What ``bulksubmit runs report`` makes: a run as one page, or as one JSON object."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import click
import orjson

from bulksubmit.cli.flags import flag_of
from bulksubmit.core.redact import redact
from bulksubmit.database import translated
from bulksubmit.errors import OutputError
from bulksubmit.history import told
from bulksubmit.observe.htmlreport import Example, Exceptions, Story, about, html_report
from bulksubmit.record import FILE as JOURNAL
from bulksubmit.record import look
from bulksubmit.runs import Kept, find, now_utc

CODES_MAX, EXAMPLES = 20, 3
_HEAD_BYTES = 400  # Of a page that is there: enough to see which run it is of.


def make_report(name: str, *, to: Path | None, as_json: bool, force: bool) -> None:
    """Write a run's page, and print where; or its JSON.

    Args:
        name: The run's.
        to: The file; ``-`` is standard output; None for RUN.html here, or standard output for JSON.
        as_json: An object, not a page.
        force: Replace a file that is no earlier report of the run.

    Raises:
        OutputError: if it cannot be written, or another file is there.
        JournalError: if there is no such run, or its journal cannot be trusted.
    """
    found = find(name)
    story = story_of(found)
    if as_json:
        text = orjson.dumps(story.as_dict(), option=orjson.OPT_INDENT_2) + b"\n"
    else:
        text = html_report(_in_words_of_flags(story)).encode()
    if str(to) == "-" or (to is None and as_json):
        click.echo(text, nl=False)
        return
    path = to or Path(f"{found.run_id}.html")
    _write(path, text, replaced=None if force else about(found.run_id))
    click.echo(path)


# Settings that no flag sets by its value.
_OF_THE_LIBRARY = {"dedupe", "drain_s", "on_unfinished"}


def _in_words_of_flags(story: Story) -> Story:
    """The same, with settings named as on the command line: there they would be changed."""
    return replace(
        story,
        lives=[
            replace(
                life,
                settings={
                    name if name in _OF_THE_LIBRARY else flag_of(name): given
                    for name, given in life.settings.items()
                },
            )
            for life in story.lives
        ],
    )


def story_of(run: Kept) -> Story:
    """What a run's journal tells, all of it at one moment: it may be written to meanwhile.

    Raises:
        JournalError: if it cannot be trusted.
    """
    path = run.folder / JOURNAL
    with translated(path), closing(sqlite3.connect(path, timeout=5.0)) as db:
        db.execute("BEGIN")  # So that all is of the moment of the first question.
        journal, history = look(db, path), told(db)
        exceptions, codes = _exceptions(db)
        (ended,) = db.execute("SELECT ended FROM run").fetchone()
    identity, counts = journal.identity, journal.counts
    return Story(
        run_id=identity.run_id,
        job_id=identity.job_id,
        endpoint=identity.endpoint,
        source=identity.source,
        begun_at=identity.begun_at,
        version=identity.version,
        # By these counts, which may be newer than those that it was found with.
        state="running" if run.in_use else "converged" if counts.converged else "unfinished",
        ended=ended,
        counts=counts,
        in_doubt=journal.in_doubt,
        lives=history.lives,
        samples=history.samples,
        attempts=history.attempts,
        exceptions=exceptions,
        codes=codes,
        made_at=now_utc(),
        made_by=version("bulksubmit"),
    )


def _exceptions(db: sqlite3.Connection) -> tuple[list[Exceptions], int]:
    """Those that the most tasks have, with examples; and how many verdicts and codes there are."""
    groups = db.execute(
        "SELECT verdict, code, count(*) FROM exception GROUP BY verdict, code"
        " ORDER BY count(*) DESC, verdict, code"
    ).fetchall()
    shown = [
        Exceptions(verdict, code or "", tasks, _examples(db, verdict, code))
        for verdict, code, tasks in groups[:CODES_MAX]
    ]
    return shown, len(groups)


def _examples(db: sqlite3.Connection, verdict: str, code: str | None) -> list[Example]:
    rows = db.execute(
        "SELECT file, line, task_id, attempts, in_doubt, message, request_id FROM exception"
        " WHERE verdict = ? AND code IS ? ORDER BY ordinal LIMIT ?",
        (verdict, code, EXAMPLES),
    )
    return [
        Example(
            file=file or "",
            line=int(line),
            task_id=task_id,
            attempts=int(attempts),
            in_doubt=bool(in_doubt),
            message=redact(message or ""),
            request_id=request_id or "",
        )
        for file, line, task_id, attempts, in_doubt, message, request_id in rows
    ]


def _write(path: Path, text: bytes, *, replaced: str | None) -> None:
    """Write a file, whole or not at all.

    Args:
        path: Where.
        text: What.
        replaced: What the head of a file that is there must hold to be replaced; None: nothing.

    Raises:
        OutputError: if it cannot be written, or another file is there.
    """
    try:
        if path.exists() and not path.is_file():  # Such as a pipe.
            path.write_bytes(text)
            return
        if replaced is not None and path.exists() and replaced not in _head(path):
            raise OutputError(f"{path} is there already; name another, or replace it by --force")
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_bytes(text)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES).decode(errors="replace")
