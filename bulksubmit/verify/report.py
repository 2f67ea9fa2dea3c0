"""What a verification came to: as values, and each difference as a row of a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from io import BufferedWriter
from pathlib import Path
from typing import BinaryIO

import orjson

from bulksubmit.errors import OutputError
from bulksubmit.observe.written import Written
from bulksubmit.verify.difference import Difference, Example, Kind

# A place in the source for a person, by ordinal and line.
Where = Callable[[int, int], str]


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification came to. IDs are counted once, ignoring case.

    Attributes:
        job_id: The Batch job.
        source: What it was compared with.
        same: Whether there is no difference that counts; None if it did not come to its end.
        expected: IDs of the source; None, as the next ones, if it did not come so far.
        found: IDs of the job.
        missing: IDs of the source that the job does not have.
        extra: IDs of the job that the source does not have.
        changed: IDs of both whose tasks differ; None, too, if contents were not compared.
        repeated: Items of the source with the ID of an earlier one.
        invalid: Items of the source that are no tasks, and were left out.
        left_out: Items of the source that were left out, since the run rejected them.
        asked: How many of the missing ones were asked for one by one.
        fixed: How many missing ones were submitted; None if none were to be.
        fix_run: The run that did so.
        requests: How many were sent to look, but not to submit.
        elapsed_s: All in all.
        examples: The first of each kind; rows as in the file of differences.
        report_path: Where all differences are.
        exit_code: What the process should say.
        error: Why it did not come to its end.
    """

    job_id: str
    source: str
    same: bool | None = None
    expected: int | None = None
    found: int | None = None
    missing: int | None = None
    extra: int | None = None
    changed: int | None = None
    repeated: int = 0
    invalid: int = 0
    left_out: int = 0
    asked: int = 0
    fixed: int | None = None
    fix_run: str | None = None
    requests: int = 0
    elapsed_s: float = 0.0
    examples: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    report_path: str | None = None
    exit_code: int = 0
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        """As JSON types; ``error`` is there only if there was one."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.error is None:
            del values["error"]
        return values


def counted(
    result: Verification, difference: Difference, where: Where, *, content: bool
) -> Verification:
    """The result, with what is known of differences."""
    counts = difference.counts
    return replace(
        result,
        expected=difference.expected,
        found=difference.found,
        missing=counts[Kind.MISSING],
        extra=counts[Kind.EXTRA],
        changed=counts[Kind.CHANGED] if content else None,
        repeated=difference.repeated,
        examples={
            kind.value: [row(one, where) for one in examples]
            for kind, examples in difference.examples.items()
        },
    )


def row(one: Example, where: Where) -> dict[str, object]:
    """A difference as JSON types."""
    values: dict[str, object] = {"difference": one.kind.value, "id": one.task_id}
    if one.kind is not Kind.EXTRA:
        values |= {"where": where(one.ordinal, one.line), "line": one.line}
    if one.kind is Kind.CHANGED:
        values["fields"] = list(one.fields)
    return values


class Rows:
    """A file with a row for each difference, in no order."""

    def __init__(self, path: Path, where: Where) -> None:
        """Make the file.

        Args:
            path: The file, or a pipe that somebody reads. One that holds something already is not
                overwritten.
            where: What to say of a place in the source.

        Raises:
            OutputError: if it cannot be written, or holds something already.
        """
        self._path, self._where = path, where
        self._file: BinaryIO
        try:
            if path.exists() and not path.is_file():
                self._file = BufferedWriter(Written(path))  # type: ignore[type-var] # It is raw
                return
            if path.exists() and path.stat().st_size:
                raise OutputError(f"{path} holds something already; name a new file")
            self._file = path.open("wb")
        except OSError as error:
            raise self._failed(error) from error

    def tell(self, one: Example) -> None:
        """Write a row.

        Raises:
            OutputError: if it cannot be written.
        """
        try:
            self._file.write(orjson.dumps(row(one, self._where)) + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def restart(self) -> None:
        """Forget all rows: they are going to be told anew.

        Raises:
            OutputError: if the file cannot be written.
        """
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file.

        Raises:
            OutputError: if the last rows cannot be written.
        """
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error.strerror}")
