"""The rejects file and the results file: NDJSON, written as tasks settle."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import orjson

from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.errors import OutputError
from bulksubmit.observe.written import open_to_append, write


class Places(Protocol):
    """Says where the items of a source are."""

    def file_of(self, ordinal: int) -> str:
        """The name of the file that holds an item."""

    def where(self, ordinal: int, line: int) -> str:
        """An item, for a person: ``tasks.jsonl:42``, ``a.json: item 43 (line 917)``."""


class OutcomeFile:
    """Outcomes as NDJSON. What is recorded is with the operating system at once.

    A pipe will do, if somebody reads it: see written.py.

    Attributes:
        path: Where; None if nothing was ever written and no path was asked for.
        wrote_s: How long was spent on writing, up to now.
    """

    def __init__(
        self,
        row: Callable[[Outcome], dict[str, object]],
        *,
        path: Path,
        lazy: bool = False,
        go_on: bool = False,
    ) -> None:
        """Write to a file.

        Args:
            row: Makes an outcome's row.
            path: The file. One that holds something already is not overwritten: it may be
                the only trace of an earlier run.
            go_on: Write on at its end instead, for a run that is resumed.
            lazy: Make the file, and the folders on its way, with the first row only.

        Raises:
            OutputError: if the file cannot be made, or holds something already.
        """
        self._row, self._path, self._go_on = row, path, go_on
        self._file: int | None = None
        self._holds_rows = False
        self._error: str | None = None
        self.wrote_s = 0.0
        if not lazy:
            self._open()

    @property
    def path(self) -> str | None:
        """The file, if it holds anything."""
        return str(self._path) if self._holds_rows else None

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Write one row each.

        Raises:
            OutputError: if the file cannot be written.
        """
        rows = b"".join(
            [orjson.dumps(self._row(o), option=orjson.OPT_APPEND_NEWLINE) for o in outcomes]
        )
        if not rows:
            return
        if self._file is None:
            self._open()
        assert self._file is not None
        began_s = time.monotonic()
        try:
            # After an error no more: the last row may be cut, and the next would run on in it.
            while rows and not self._error:
                rows = rows[write(self._file, rows) :]
                self._holds_rows = True
        except OSError as error:
            self._error = error.strerror
        self.wrote_s += time.monotonic() - began_s
        if self._error:
            raise OutputError(f"{self._path} cannot be written: {self._error}")

    def _open(self) -> None:
        try:
            if not self._go_on and self._path.exists() and self._path.stat().st_size:
                raise OutputError(f"{self._path} holds something already; name a new file")
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open_to_append(self._path, mode=0o600, readable=True)
            self._end_cut_row(self._file)
        except OSError as error:
            raise OutputError(f"{self._path} cannot be made: {error.strerror}") from error

    def _end_cut_row(self, file: int) -> None:
        """A row that a crash has cut must not swallow the next one."""
        size = os.fstat(file).st_size
        self._holds_rows = size > 0
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")

    def close(self) -> None:
        """Close the file, if it was made."""
        if self._file is not None:
            os.close(self._file)


def reject_row(places: Places) -> Callable[[Outcome], dict[str, object]]:
    """Rows of the rejects file: the task as it was, and why it was rejected."""

    def row(outcome: Outcome) -> dict[str, object]:
        task: dict[str, object] = {"task": orjson.Fragment(outcome.body)}
        if outcome.attempts == 0 and not _is_json(outcome.body):
            task = {"text": outcome.body.decode("utf-8", "backslashreplace")}
        return {
            "source": places.file_of(outcome.ordinal),
            "line": outcome.line,
            "where": places.where(outcome.ordinal, outcome.line),
            "task_id": outcome.task_id,
            "code": outcome.code,
            "message": outcome.message,
            "values": [{"key": v.key, "value": v.value} for v in outcome.values],
            "request_id": outcome.request_id,
            "client_request_id": outcome.client_request_id,
            "attempts": outcome.attempts,
            "in_doubt": outcome.in_doubt,
            **task,
        }

    return row


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def result_row(outcome: Outcome) -> dict[str, object]:
    """A row of the results file."""
    return {
        "line": outcome.line,
        "id": outcome.task_id,
        "verdict": outcome.verdict.value,
        "attempts": outcome.attempts,
        "code": outcome.code,
    }


class Rows(Protocol):
    """Where rejected tasks are written, and all outcomes if that is wanted."""

    @property
    def rejects_path(self) -> str | None:
        """The rejects file, if it was made."""

    @property
    def wrote_s(self) -> float:
        """How long was spent on writing, up to now."""

    def record(self, outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> None:
        """Write what belongs there; ``others`` are those that are not ADDED."""

    def close(self) -> None:
        """Close what was opened."""


class Files:
    """Both files of a run: the rejects, and the results if they are wanted."""

    def __init__(
        self,
        places: Places,
        *,
        rejects: Path | None,
        rejects_default: Path,
        results: Path | None,
        go_on: bool = False,
    ) -> None:
        """Make those that are asked for.

        Args:
            places: Says where an item of the source is, for the rows.
            rejects: Where rejected tasks go, if anywhere in particular.
            rejects_default: Where they go otherwise; made with the first one only.
            results: Where every task's outcome goes; None for nowhere.
            go_on: The run is resumed: files that hold something are written on.

        Raises:
            OutputError: if a file cannot be made, or (of a new run) holds something already.
        """
        path, lazy = rejects or rejects_default, rejects is None and not rejects_default.exists()
        self._rejects = OutcomeFile(reject_row(places), path=path, lazy=lazy, go_on=go_on)
        self._results = OutcomeFile(result_row, path=results, go_on=go_on) if results else None

    @property
    def rejects_path(self) -> str | None:
        """The rejects file, if it was made."""
        return self._rejects.path

    @property
    def wrote_s(self) -> float:
        """How long was spent on writing, up to now."""
        return self._rejects.wrote_s + (self._results.wrote_s if self._results else 0.0)

    def record(self, outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> None:
        """Write what belongs into each.

        Args:
            outcomes: Any number.
            others: Those of them that are not ADDED, few as a rule.

        Raises:
            OutputError: if a file cannot be written.
        """
        # Rejects first: if a disk is full, they are what nothing else tells of.
        self._rejects.record([o for o in others if o.verdict is Verdict.REJECTED])
        if self._results:
            self._results.record(outcomes)

    def close(self) -> None:
        """Close both."""
        self._rejects.close()
        if self._results:
            self._results.close()
