"""``bulksubmit validate``: every error of a source, before anything is sent."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click
import orjson

from bulksubmit.cli import run_async
from bulksubmit.cli.inputs import SOURCE_HELP, source_arguments, source_spec
from bulksubmit.core.model import Kind, Problem
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import BulkSubmitError
from bulksubmit.observe.report import ExitCode
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.producer.survey import DUPLICATES_NAMED_MAX, Survey, survey
from bulksubmit.settings import Settings

_EPILOG = f"""{SOURCE_HELP}
\b
Exit codes:
  0  every item is a task that the service takes, as far as can be told from here
  2  something is not, or the source cannot be read
\b
Examples:
  bulksubmit validate tasks.jsonl
  bulksubmit validate 'shards/*.json.gz' --output json
"""


@click.command(epilog=_EPILOG)
@source_arguments
@click.option("--allow-unknown", is_flag=True, help="Fields that the model does not know are fine.")
@click.option("--no-dedupe", is_flag=True, help="Do not look for IDs that are there twice.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def validate(
    *,
    sources: Sequence[str],
    template: Path | None,
    sweeps: Sequence[str],
    allow_unused_columns: bool,
    allow_unknown: bool,
    no_dedupe: bool,
    output: str,
) -> None:
    """List all errors of SOURCE, with their places, and count them by kind."""
    listing = (_JsonListing if output == "json" else _TextListing)(sys.stdout)
    found, error = Survey(), None
    try:
        spec = source_spec(
            sources,
            template=template,
            sweeps=sweeps,
            allow_unused_columns=allow_unused_columns,
        )
        look = partial(
            survey,
            tell=listing.tell,
            body_bytes_max=Settings().body_bytes_max,
            dedupe=not no_dedupe,
        )
        found = run_async(_survey, spec, Checker(allow_unknown=allow_unknown), look)
    except BulkSubmitError as raised:
        error = raised
        click.echo(f"error: {error}", err=True)
    listing.end(found, error)
    sys.exit(ExitCode.USAGE if found.errors or error else ExitCode.CONVERGED)


async def _survey(spec: SourceSpec, checker: Checker, look: Callable[[Source], Any]) -> Survey:
    with closing(open_source(spec, checker)) as source:
        found: Survey = await look(source)
        return found


class _TextListing:
    """A line a problem as it is found, and a table of counts at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def tell(self, where: str, _task_id: str, problem: Problem) -> None:
        """One problem."""
        word = "warning: " if problem.warning else ""
        self._out.write(f"{where}: {word}{problem.text}\n")

    def end(self, found: Survey, error: Exception | None) -> None:
        """The counts."""
        if error is not None:
            return
        write = self._out.write
        if found.errors or found.warnings:
            write("\n")
        for title, counts in (("errors", found.errors), ("warnings", found.warnings)):
            for kind, count in counts.most_common():
                write(f"{title:<9} {kind.value.replace('_', ' '):<16} {count:>12,}\n")
        write(f"{'tasks':<26} {found.items:>12,}\n")
        write(f"{'  of them invalid':<26} {found.invalid:>12,}\n")
        if (count := found.errors[Kind.DUPLICATE]) > DUPLICATES_NAMED_MAX:
            write(f"of {count:,} duplicate IDs the first {DUPLICATES_NAMED_MAX:,} are listed\n")


class _JsonListing(_TextListing):
    """One JSON object, its list of problems written as they are found."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._separator = '{"problems":['

    def tell(self, where: str, task_id: str, problem: Problem) -> None:
        """One problem."""
        row = {
            "where": where,
            "task_id": task_id or None,
            "path": problem.path,
            "kind": problem.kind.value,
            "text": problem.text,
            "value": problem.value,
            "warning": problem.warning,
        }
        self._out.write(self._separator + orjson.dumps(row).decode())
        self._separator = ","

    def end(self, found: Survey, error: Exception | None) -> None:
        """The counts."""
        if self._separator != ",":
            self._out.write(self._separator)
        members: dict[str, Any] = {
            "tasks": found.items,
            "invalid": found.invalid,
            "errors": _by_kind(found.errors),
            "warnings": _by_kind(found.warnings),
            "valid": not found.errors and error is None,
        }
        if error is not None:
            members["error"] = str(error)
        self._out.write("]," + orjson.dumps(members).decode()[1:] + "\n")


def _by_kind(counts: Counter[Kind]) -> dict[str, int]:
    return {kind.value: count for kind, count in counts.most_common()}
