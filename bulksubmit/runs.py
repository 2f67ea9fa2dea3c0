"""Runs: one source against one job. Where they are kept, how they begin, and go on."""

import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import platformdirs

from bulksubmit.core.account import Counts
from bulksubmit.errors import JournalError, JournalMismatch, UnfinishedRun
from bulksubmit.journal import FILE, Identity, Journal, NoJournal, is_locked, look
from bulksubmit.producer.identity import digest
from bulksubmit.producer.source import Source


@dataclass(frozen=True, slots=True)
class Run:
    """A run that this process works on.

    Attributes:
        run_id: Its name.
        folder: Where its files are.
        journal: What it remembers.
        resumed: Whether an earlier process began it.
    """

    run_id: str
    folder: Path
    journal: Journal | NoJournal
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A run as its journal tells it.

    Attributes:
        folder: Where its files are.
        values: The journal's ``summary``: names and values, as a person would read them.
        in_use: A process works on it now.
    """

    folder: Path
    values: dict[str, Any]
    in_use: bool

    @property
    def run_id(self) -> str:
        """Its name."""
        return str(self.values["run_id"])

    @property
    def counts(self) -> Counts:
        """What was counted."""
        names = [field.name for field in fields(Counts) if field.name in self.values]
        counts = Counts(**{name: self.values[name] for name in names})
        counts.total = int(self.values["tasks_read"] or 0)
        return counts

    @property
    def state(self) -> Literal["running", "converged", "unfinished"]:
        """Where it stands."""
        if self.in_use:
            return "running"
        return "converged" if self.counts.converged else "unfinished"


def new_run_id() -> str:
    """A name that sorts by time and is short enough to type: ``20260131-235959-4f2a1c``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def runs_folder() -> Path:
    """Where runs are kept.

    Below ``$BULKSUBMIT_STATE_DIR``, else the platform's folder for a user's state.
    """
    root = os.environ.get("BULKSUBMIT_STATE_DIR")
    state = Path(root) if root else platformdirs.user_state_path("bulksubmit")
    return state.absolute() / "runs"


def run_folder(run_id: str) -> Path:
    """Where a run keeps its files; not made here."""
    return runs_folder() / run_id


def begin(
    source: Source,
    *,
    run_id: str,
    job_id: str,
    endpoint: str,
    on_unfinished: Literal["stop", "resume", "new"],
    clock: Callable[[], float],
) -> Run:
    """Begin a run, on disk before anything is sent, or go on with an unfinished one.

    A source that cannot be opened a second time has a run without a journal.

    Raises:
        UnfinishedRun: if there is one of this source and job, and neither way on was chosen.
        JournalError: if the journal cannot be written.
    """
    folder = run_folder(run_id)
    if source.path is None:
        return Run(run_id, folder, NoJournal())
    if on_unfinished != "new":
        earlier = _earlier(source.path, job_id, endpoint)
        # A converged one, too: whoever repeats --resume until it succeeds must not begin anew
        # because the last process was killed between its last commit and its report.
        if earlier and on_unfinished == "resume":
            return resume(earlier.run_id, source, clock=clock)
        if earlier and earlier.state != "converged":
            raise UnfinishedRun(
                earlier.run_id,
                f"run {earlier.run_id} of {source.path} against the job {job_id} is "
                f"{earlier.state}: go on with it by --resume (or bulksubmit runs resume "
                f"{earlier.run_id}), or begin anew by --new-run",
            )
    status = Path(source.path).stat()
    identity = Identity(
        run_id=run_id,
        job_id=job_id,
        endpoint=endpoint,
        source=source.path,
        source_bytes=status.st_size,
        source_mtime_ns=status.st_mtime_ns,
        source_digest=digest(source.path),
        begun_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("bulksubmit"),
    )
    return Run(run_id, folder, Journal.begin(folder, identity, clock))


def resume(run_id: str, source: Source, *, clock: Callable[[], float]) -> Run:
    """Go on with a run.

    Args:
        run_id: Its name.
        source: The journal's source, opened.
        clock: The time in seconds, from any start.

    Raises:
        JournalMismatch: if the source is not what it was.
        JournalError: if the journal cannot be trusted, or another process works on the run.
    """
    journal = Journal(run_folder(run_id), clock)
    try:
        check_source(journal.identity, source.path)
        journal.resumed()
    except BaseException:
        journal.close()
        raise
    return Run(run_id, run_folder(run_id), journal, resumed=True)


def kept() -> Iterator[Kept]:
    """Every run that can be read, the last written to first."""
    for path in _journals():
        run = _read(path)
        if isinstance(run, Kept):
            yield run


def find(name: str) -> Kept:
    """The run of that name, of a name that begins so, or (``last``) the one last written to.

    Raises:
        JournalError: if there is none or more than one, or if it cannot be read.
    """
    if name == "last":
        last = next(kept(), None)
        if last is None:
            raise JournalError(f"there is no run in {runs_folder()}")
        return last
    if not re.fullmatch(r"[0-9a-f-]+", name):
        raise JournalError(f"{name!r} is no run; bulksubmit runs list shows them")
    found = list(runs_folder().glob(f"{name}*/{FILE}"))
    exact = [path for path in found if path.parent.name == name]
    if len(exact or found) != 1:
        many = "more than one run begins so" if found else "there is no such run"
        raise JournalError(f"{name}: {many}; bulksubmit runs list shows them")
    run = _read((exact or found)[0])
    if isinstance(run, JournalError):
        raise run
    return run


def _journals() -> list[Path]:
    """Every run's journal, the last written to first."""
    return sorted(runs_folder().glob(f"*/{FILE}"), key=_written_ns, reverse=True)


def _read(path: Path) -> Kept | JournalError:
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as db:
            db.row_factory = sqlite3.Row
            row = db.execute("SELECT * FROM summary").fetchone()
    except sqlite3.Error as error:
        return JournalError(f"{path}: {error}")
    if row is None:
        return JournalError(f"{path} is damaged: it does not say which run it is of")
    return Kept(path.parent, dict(row), is_locked(path.parent))


def _written_ns(path: Path) -> int:
    """When a journal was last written to; what is not in the file yet is in its log."""
    times = [path.stat().st_mtime_ns]
    log = path.with_name(f"{FILE}-wal")
    if log.exists():
        times.append(log.stat().st_mtime_ns)
    return max(times)


def _earlier(source: str, job_id: str, endpoint: str) -> Kept | None:
    """The last run that could go on with this source; else the last that has converged.

    Not one of which nothing was ever sent, as when the job did not exist: there is nothing to
    go on with. And not one of a file that has been changed since: mending a line and submitting
    again is the way on that errors in the source advise.

    Raises:
        JournalError: if a run cannot be read, which may be the one.
    """
    converged: Kept | None = None
    for path in _journals():
        run = _read(path)
        if isinstance(run, JournalError):
            if not path.stat().st_size:
                continue  # Killed before it had begun.
            raise JournalError(
                f"{run}; it may be an unfinished run of this source: put it right or remove "
                f"{path.parent}, or begin anew by --new-run"
            )
        values = run.values
        same = (values["source"], values["job"], values["endpoint"]) == (source, job_id, endpoint)
        if same and values["doubt_below"] and _unchanged(run):
            if run.state != "converged":
                return run
            converged = converged or run
    return converged


def _unchanged(run: Kept) -> bool:
    with closing(sqlite3.connect(run.folder / FILE, timeout=5.0)) as db:
        identity = look(db, run.folder / FILE).identity
    return _change(identity, identity.source) is None


def check_source(identity: Identity, path: str | None) -> None:
    """See whether a source is the one that a run was begun with.

    Raises:
        JournalMismatch: if it is not.
    """
    where = f"run {identity.run_id} cannot go on"
    if path != identity.source:
        raise JournalMismatch(f"{where}: it is of {identity.source}, not of {path}")
    if change := _change(identity, path):
        raise JournalMismatch(
            f"{where}: {path} {change}; put the file back as it was, or submit it as a new run"
        )


def _change(identity: Identity, path: str) -> str | None:
    """How the source differs from what it was, or None."""
    try:
        status = Path(path).stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if status.st_size != identity.source_bytes:
        return f"had {identity.source_bytes:,} bytes and has {status.st_size:,}"
    if status.st_mtime_ns != identity.source_mtime_ns:
        return "was written to since"
    return None if digest(path) == identity.source_digest else "has other bytes"
