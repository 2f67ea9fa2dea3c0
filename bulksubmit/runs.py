"""Runs: one source against one job. Where they are kept, how they begin, and go on."""

import os
import platform
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import platformdirs

from bulksubmit.core.account import Counts, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.history import Life, Sample
from bulksubmit.core.model import Attempt, Outcome
from bulksubmit.core.shard import Shard, number_of, place_of
from bulksubmit.database import LOCK, is_locked, translated
from bulksubmit.errors import JournalError, JournalMismatch, UnfinishedRun
from bulksubmit.journal import Journal, NoJournal
from bulksubmit.ledger import ShardState
from bulksubmit.producer.source import Source
from bulksubmit.producer.spec import SourceSpec, change_of, fingerprints
from bulksubmit.record import FILE, Identity, Look, look

FIX_OF = "fix of "  # Begins the source's name of a run of ``verify --fix``.

_NAME = re.compile(r"[0-9a-f-]+")
_version = cache(version)  # It takes a millisecond each time.


class Histories(Protocol):
    """Keeps how a run goes; see History."""

    def begin(self, life: Life) -> None:
        """See History."""

    def add(self, sample: Sample) -> None:
        """See History."""


class Keeper(Protocol):
    """What a run remembers; see Journal, which says what each of these is."""

    counts: Counts
    doubt_below: int
    held: str | None
    file_of: Callable[[int], str]
    wrote_s: float

    @property
    def path(self) -> Path | None:
        """See Journal."""

    @property
    def settled(self) -> Bitmap:
        """See Journal."""

    @property
    def places(self) -> Sequence[Place]:
        """See Journal."""

    @property
    def history(self) -> Histories:
        """See Journal."""

    def will_send(self, attempt: Attempt) -> None:
        """See Journal."""

    def record(
        self, outcomes: Sequence[Outcome], others: Sequence[Outcome], *, in_order: bool
    ) -> None:
        """See Journal."""

    def place(self, place: Place) -> None:
        """See Journal."""

    def commit_if_due(self, counts: Counts) -> None:
        """See Journal."""

    def commit(self, counts: Counts) -> None:
        """See Journal."""

    def hold(self, former: str | None) -> None:
        """See Journal."""

    def end(self, ended: str) -> None:
        """See Journal."""

    def close(self) -> None:
        """See Journal."""


class Run(msgspec.Struct, frozen=True):
    """A run that this process works on.

    Attributes:
        run_id: Its name.
        folder: Where its files are.
        journal: What it remembers.
        resumed: Whether an earlier process began it.
        note: What the user should know of an earlier run of the same source.
    """

    run_id: str
    folder: Path
    journal: Keeper
    resumed: bool = False
    note: str | None = None


class Kept(msgspec.Struct, frozen=True):
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
    def is_fix(self) -> bool:
        """Whether it submits what ``verify --fix`` has found missing."""
        return str(self.values["source"]).startswith(FIX_OF)

    @property
    def counts(self) -> Counts:
        """What was counted."""
        names = [name for name in Counts.NUMBERS if name in self.values]
        counts = Counts(**{name: self.values[name] for name in names})
        counts.total = int(self.values["tasks_read"] or 0)
        return counts

    @property
    def spec(self) -> SourceSpec:
        """How its source is opened again.

        Raises:
            JournalError: if the journal is damaged.
        """
        return SourceSpec.from_json(_look(self).identity.source_spec)

    @property
    def state(self) -> Literal["running", "converged", "unfinished"]:
        """Where it stands."""
        if self.in_use:
            return "running"
        return "converged" if self.counts.converged else "unfinished"


def new_run_id() -> str:
    """A name that sorts by time and is short enough to type: ``20260131-235959-4f2a1c``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def now_utc() -> str:
    """The time as journals have it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """What this process is made of, by name."""
    libraries = {name: _version(name) for name in ("bulksubmit", "aiohttp", "anyio")}
    return {**libraries, "Python": platform.python_version(), "system": platform.system()}


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
    plan: Callable[[SourceSpec], Sequence[Shard]] | None = None,
) -> Run:
    """Begin a run, on disk before anything is sent, or go on with an unfinished one.

    A source that cannot be opened a second time has a run without a journal.

    Args:
        source: Opened.
        run_id: Of a new run.
        job_id: The Batch job.
        endpoint: The account's.
        on_unfinished: See Settings.
        clock: The time in seconds, from any start.
        plan: Cuts the source of a new run into shards; None for a run of one process.

    Raises:
        UnfinishedRun: if there is one of this source and job, and neither way on was chosen.
        JournalError: if the journal cannot be written.
    """
    folder = run_folder(run_id)
    if source.spec is None:
        return Run(run_id, folder, NoJournal())
    spec = source.spec
    note: str | None = None
    try:
        earlier = _earlier(spec, job_id, endpoint)
    except JournalError:
        if on_unfinished != "new":
            raise
        earlier = None
    if earlier and on_unfinished != "new":
        # A converged one, too: whoever repeats --resume until it succeeds must not begin anew
        # because the last process was killed between its last commit and its report.
        if on_unfinished == "resume":
            return resume(earlier.run_id, source, clock=clock)
        note = _in_the_way(earlier, spec, job_id)
    identity = Identity(
        run_id=run_id,
        job_id=job_id,
        endpoint=endpoint,
        source=spec.label,
        source_spec=spec.to_json(),
        source_files=fingerprints(spec),
        begun_at=now_utc(),
        version=_version("bulksubmit"),
    )
    journal = Journal.begin(folder, identity, clock, plan(spec) if plan else ())
    if earlier and not earlier.in_use:
        _take_over(journal, earlier, clock)
    return Run(run_id, folder, journal, note=note)


def _take_over(journal: Journal, earlier: Kept, clock: Callable[[], float]) -> None:
    """Let a run give back to its job what an earlier one, which it stands in for, did not."""
    with suppress(JournalError):  # The earlier one may be why a new one is begun.
        if held := held_by(earlier):
            journal.hold(held)
            with closing(Journal(earlier.folder, clock)) as former:
                former.hold(None)


def _in_the_way(earlier: Kept, spec: SourceSpec, job_id: str) -> str | None:
    """What to say of an earlier run before a new one begins.

    Mending a line and submitting again is the way on that errors in the source advise: a run of
    the file as it was before does not stand in the way of that.

    Raises:
        UnfinishedRun: if it is to be gone on with, or given up, first.
    """
    if earlier.state == "converged":
        return None
    change = None if earlier.in_use else _change(_look(earlier).identity, spec)
    if change:
        return f"run {earlier.run_id} of {spec.label} is unfinished, but {change}: a new run"
    what = f"run {earlier.run_id} of {spec.label} against the job {job_id} is {earlier.state}"
    raise UnfinishedRun(earlier.run_id, what, in_use=earlier.in_use)


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
        if not journal.counts.converged:  # Or nothing more is needed of the source.
            check_source(journal.identity, source.spec)
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


def unreadable() -> Iterator[JournalError]:
    """Why runs that were begun cannot be read, one error each."""
    for path in _journals():
        run = _read(path)
        if isinstance(run, JournalError) and _was_begun(path):
            yield run


def held_by(run: Kept) -> str | None:
    """What a run has yet to give back to its job; see Look.held."""
    return _look(run).held


def rejected_by(run: Kept) -> Bitmap:
    """The ordinals of the items that a run rejected; its source must be what it was.

    Raises:
        JournalMismatch: if it is not.
        JournalError: if the journal cannot be trusted, or nobody knows how many items are before
            one, since the parts of the source that several workers share are not all read.
    """
    found = _look(run)
    identity = found.identity
    check_source(identity, SourceSpec.from_json(identity.source_spec))
    path, rejected = run.folder / FILE, Bitmap()
    with translated(path), closing(sqlite3.connect(path, timeout=5.0)) as db:
        rows = db.execute("SELECT ordinal FROM exception WHERE verdict = 'rejected'")
        for (ordinal,) in rows:
            rejected.add(_in_source(ordinal, found.shards, run) if found.shards else ordinal)
    return rejected


def _in_source(ordinal: int, shards: Sequence[ShardState], run: Kept) -> int:
    """The place among all items of the source of one that the journal knows by its shard."""
    before = shards[: number_of(ordinal)]
    if not all(state.counts.source_complete for state in before):
        raise JournalError(
            f"run {run.run_id} has not read all of its source, so that what it rejected cannot be "
            f"found in it: go on with it first, by bulksubmit runs resume {run.run_id}"
        )
    return sum(state.counts.total for state in before) + place_of(ordinal)


def left_over(name: str) -> Path | None:
    """The folder of a run, by its whole name, that cannot be read and is in nobody's use."""
    folder = run_folder(name)
    if not (_NAME.fullmatch(name) and folder.is_dir()) or is_locked(folder):
        return None
    return None if isinstance(_read(folder / FILE), Kept) else folder


def find(name: str, *, fixes: bool = True) -> Kept:
    """The run of that name, of a name that begins so, or (``last``) the one last written to.

    Args:
        name: Any of these.
        fixes: ``last`` may be a fix that is unfinished. Others only if there is nothing else.

    Raises:
        JournalError: if there is none or more than one, or if it cannot be read.
    """
    if name == "last":
        fix: Kept | None = None
        for path in _journals():
            last = _read(path)
            if isinstance(last, Kept):
                if not last.is_fix or (fixes and last.state == "unfinished"):
                    return last
                fix = fix or last
                continue
            if _was_begun(path):  # An older one is not what is meant.
                raise last
        if fix:
            return fix
        raise JournalError(f"there is no run in {runs_folder()}")
    if not _NAME.fullmatch(name):
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


def _earlier(spec: SourceSpec, job_id: str, endpoint: str) -> Kept | None:
    """The last unfinished run of this source and job; else the last that has converged.

    Not one of which nothing was ever sent, as when the job did not exist: there is nothing to
    go on with, unless the job has something to be given back. And not a converged one of the file
    as it was before.

    Raises:
        JournalError: if a run cannot be read, which may be the one.
    """
    converged: Kept | None = None
    for path in _journals():
        run = _read(path)
        if isinstance(run, JournalError):
            if not _was_begun(path):
                continue
            raise _perhaps(run, path)
        values = run.values
        asked = (spec.label, job_id, endpoint)
        same = (values["source"], values["job"], values["endpoint"]) == asked
        if same and (values["doubt_below"] or run.in_use or held_by(run)):
            if run.state != "converged":
                return run
            if converged is None and not _change(_look(run).identity, spec):
                converged = run
    return converged


def _perhaps(error: JournalError, path: Path) -> JournalError:
    return JournalError(
        f"{error}; it may be an unfinished run of this source: put it right or remove "
        f"{path.parent}, or begin anew by --new-run"
    )


def _was_begun(path: Path) -> bool:
    """Whether anything was ever in a journal: a process can be killed before there is.

    The lock is made when the journal is opened, with the run in it.
    """
    return path.stat().st_size > 0 or path.with_name(LOCK).exists()


def _look(run: Kept) -> Look:
    path = run.folder / FILE
    try:
        with translated(path), closing(sqlite3.connect(path, timeout=5.0)) as db:
            return look(db, path)
    except JournalError as error:
        raise _perhaps(error, path) from error


def check_source(identity: Identity, spec: SourceSpec | None) -> None:
    """See whether a source is the one that a run was begun with.

    Raises:
        JournalMismatch: if it is not.
    """
    where = f"run {identity.run_id} cannot go on"
    if spec is None or spec.label != identity.source:
        label = spec.label if spec else "what cannot be read twice"
        raise JournalMismatch(f"{where}: it is of {identity.source}, not of {label}")
    if change := _change(identity, spec):
        ways = "put it back as it was, or submit it as a new run"
        raise JournalMismatch(f"{where}: {change}; {ways}")


def _change(identity: Identity, spec: SourceSpec) -> str | None:
    """How the source differs from what it was, or None."""
    return change_of(spec, identity.source_spec, identity.source_files)
