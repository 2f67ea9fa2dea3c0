"""What ``bulksubmit validate`` finds, as it is found: for a person or for a program."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, TextIO

import orjson

from bulksubmit.cli import run_async
from bulksubmit.core.model import Kind, Problem
from bulksubmit.core.redact import redact, redacted
from bulksubmit.core.taskcheck import Checker
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.producer.survey import DUPLICATES_NAMED_MAX, Survey, survey
from bulksubmit.settings import Settings


def look_through(
    spec: SourceSpec, listing: "TextListing", *, allow_unknown: bool, dedupe: bool
) -> Survey:
    """List what is wrong with a source, and count it.

    Raises:
        SourceError: if it cannot be read.
    """
    look = partial(
        survey, tell=listing.tell, body_bytes_max=Settings().body_bytes_max, dedupe=dedupe
    )
    found: Survey = run_async(_survey, spec, Checker(allow_unknown=allow_unknown), look)
    return found


async def _survey(spec: SourceSpec, checker: Checker, look: Callable[[Source], Any]) -> Survey:
    with closing(open_source(spec, checker)) as source:
        found: Survey = await look(source)
        return found


class TextListing:
    """A line a problem as it is found, and a table of counts at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def tell(self, where: str, _task_id: str, problem: Problem) -> None:
        """One problem."""
        word = "warning: " if problem.warning else ""
        self._out.write(redact(f"{where}: {word}{problem.text}\n"))

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
        count = found.errors[Kind.DUPLICATE]
        if count:  # Each by itself, it would be a task.
            write(f"{'  with the ID of another':<26} {count:>12,}\n")
        if count > DUPLICATES_NAMED_MAX:
            write(f"of {count:,} duplicate IDs the first {DUPLICATES_NAMED_MAX:,} are listed\n")


class JsonListing(TextListing):
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
        self._out.write(self._separator + orjson.dumps(redacted(row)).decode())
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
            members["error"] = redact(str(error))
        self._out.write("]," + orjson.dumps(members).decode()[1:] + "\n")


def _by_kind(counts: Counter[Kind]) -> dict[str, int]:
    return {kind.value: count for kind, count in counts.most_common()}
