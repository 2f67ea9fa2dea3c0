"""How a submission should go: every setting, its default, and where the default comes from."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from bulksubmit.core.history import Given
from bulksubmit.core.limits import API_VERSION, FRAME_BYTES, TASKS_MAX
from bulksubmit.core.redact import redact
from bulksubmit.errors import SettingsError

if TYPE_CHECKING:
    from bulksubmit.core.model import OnExists  # With msgspec, 50 ms of it.

_N = TypeVar("_N", int, float)

MIB = 2**20
NO_BOUND = 2**40  # For request_bytes_max=0: larger than anything in memory.
SERVER_TIMEOUT_S_MAX = 120  # REST reference: larger values mean 120.
CONCURRENCY_MAX = 1000  # Of a user who knows what the service takes.


@dataclass(frozen=True, slots=True)
class RejectsBound:
    """How many rejected tasks end a run, so that a wrong setting does not grind through it all.

    Attributes:
        count_max: Ends the run when exceeded.
        share_max: Ends the run when this share (0 to 1) of the settled tasks is exceeded, once
            SHARE_SETTLED_MIN are settled.
    """

    count_max: int | None = None
    share_max: float | None = None

    IN_A_ROW: ClassVar[int] = (
        1000  # With neither set: so many rejected from the start, and none accepted.
    )
    SHARE_SETTLED_MIN: ClassVar[int] = 1000

    def __str__(self) -> str:
        """``100``, ``5%``, or what holds without either."""
        if self.count_max is not None:
            return f"{self.count_max:,}"
        if self.share_max is not None:
            return f"{100 * self.share_max:g}%"
        return f"the first {self.IN_A_ROW:,}"

    @classmethod
    def parse(cls, text: str) -> "RejectsBound":
        """``N`` or ``P%``.

        Raises:
            SettingsError: if it is neither.
        """
        number = text.strip().removesuffix("%").strip()
        try:
            if number == text.strip():
                return cls(count_max=_within(0, int(number), math.inf))
            return cls(share_max=_within(0.0, float(number), 100.0) / 100)
        except ValueError as error:
            reason = f"max-rejects is {text!r}; a number of tasks or a share is wanted: 100 or 5%"
            raise SettingsError(reason) from error

    def exceeded(self, *, rejected: int, taken: int, settled: int) -> bool:
        """Whether the run is to end.

        Args:
            rejected: Tasks rejected so far.
            taken: Of them, those whose ID was taken: no sign of a wrong setting, but of a
                source that was submitted before.
            settled: Tasks settled so far.
        """
        if self.count_max is not None:
            return rejected > self.count_max
        if self.share_max is not None:
            return settled >= self.SHARE_SETTLED_MIN and rejected > self.share_max * settled
        return rejected - taken == settled >= self.IN_A_ROW

    def why(self, *, rejected: int, settled: int) -> str:
        """Says that it was exceeded."""
        if self.count_max is None and self.share_max is None:
            # More than IN_A_ROW, perhaps: what a block or an answer settles comes at once.
            return f"none of the first {settled:,} tasks was accepted (max-rejects can allow that)"
        what = f"{rejected:,} of {settled:,} settled tasks were rejected"
        return f"{what}, more than max-rejects allows"


def _within(least: float, number: _N, most: float) -> _N:
    if not least <= number <= most:  # Not so for NaN, too.
        raise ValueError(number)
    return number


def _shown(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:,}" if isinstance(value, int) else f"{value:,g}"
        case _:
            return redact(str(value))


@dataclass(frozen=True, slots=True)
class Settings:
    """How a submission should go.

    Attributes:
        api_version: The service's api-version to speak.
        server_timeout_s: How long the service may work on one request. The reference's default
            is 120, what the official SDKs send is 30: recorded requests take less than 1, and
            a lost one is noticed the sooner.
        concurrency: Requests in flight; ``auto`` finds out how many the service answers best.
        concurrency_max: The most that ``auto`` goes up to; the service's documentation advises
            fewer than 100 at once.
        max_rate: Tasks sent a second, at most; None for no such bound.
        tasks_per_request_max: The service takes at most 100. A low ``max_rate`` makes requests
            smaller, so that it holds over seconds, too.
        request_bytes_max: Of a request's body; a larger task is rejected unsent. The service
            takes less than 1,048,576. 0 turns the bound off.
        retry_timeout_s: The run gives up after so long without a single task settled.
        rejects_bound: How many rejected tasks end the run.
        rejects_path: Where rejected tasks are written, as NDJSON, with the reason; None for
            the run's own folder, which is made when there is something to write.
        results_path: Where each task's outcome is written as it settles, as NDJSON; None for
            nowhere.
        buffer_bytes_max: Of unsettled tasks in memory; the reader waits.
        drain_s: How long answers are waited for when the run is stopped.
        max_duration_s: Stop the run, in order, after so long; None for never.
        on_unfinished: What to do if there is an unfinished run of this source and job: stop
            and say so, resume it, or begin a new one.
        on_exists: What becomes of a task whose ID is taken in the job: ``verify`` compares what is
            there with what was sent: if it is the same, the task existed, otherwise it is
            rejected. ``reject`` looks only at those that an earlier attempt of the run may have
            added, and rejects the others. ``accept`` takes all of them for existed, unseen.
        invalid: What becomes of an item of the source that is no task the service accepts:
            it stops the run before anything of its block is sent, or is rejected like a task
            that the service refuses.
        allow_unknown: Fields that the service's model does not know are passed on.
        dedupe: Look for IDs that are there twice, over the whole source.
        check_first: Read and check the whole source before anything is sent.
        hold_auto_terminate: Set the job's onAllTasksComplete to noaction while the run lasts,
            so that it cannot complete between two requests.
        then_terminate: Set it to terminatejob once every task of the source exists.
        spool: Keep a copy of a source that cannot be opened twice (a pipe, an iterable) in the
            run's folder, whole, before anything is sent, so that the run can be resumed.
        origins: Where values come from, by the names of the others, for whoever looks at the run
            afterwards: ``flag``, ``default``, ``environment: VARIABLE``, ``profile: FILE``.
            Nothing depends on it.

    Raises:
        SettingsError: if a value is out of its bounds.
    """

    api_version: str = API_VERSION
    server_timeout_s: int = 30
    concurrency: int | Literal["auto"] = "auto"
    concurrency_max: int = 100
    max_rate: float | None = None
    tasks_per_request_max: int = TASKS_MAX
    request_bytes_max: int = 1_000_000
    retry_timeout_s: float = 1800.0
    rejects_bound: RejectsBound = RejectsBound()
    rejects_path: Path | None = None
    results_path: Path | None = None
    buffer_bytes_max: int = 32 * MIB
    drain_s: float = 10.0
    max_duration_s: float | None = None
    on_unfinished: Literal["stop", "resume", "new"] = "stop"
    on_exists: "OnExists" = "verify"
    invalid: Literal["stop", "reject"] = "stop"
    allow_unknown: bool = False
    dedupe: bool = True
    check_first: bool = False
    hold_auto_terminate: bool = False
    then_terminate: bool = False
    spool: bool = False
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def given(self) -> dict[str, Given]:
        """Each value as a person reads it, and its origin if that is known. None is a secret."""
        names = [field.name for field in fields(self) if field.name != "origins"]
        return {name: Given(_shown(getattr(self, name)), self.origins.get(name)) for name in names}

    @property
    def body_bytes_max(self) -> int:
        """What one task may have to fit into a request."""
        return (self.request_bytes_max or NO_BOUND) - FRAME_BYTES

    def __post_init__(self) -> None:
        bounds = {
            "server_timeout_s": (1, SERVER_TIMEOUT_S_MAX),
            "concurrency": (1, CONCURRENCY_MAX),
            "concurrency_max": (1, CONCURRENCY_MAX),
            "max_rate": (0.01, 1e9),
            "tasks_per_request_max": (1, TASKS_MAX),
            "retry_timeout_s": (0.1, 10 * 86400),  # With none, not even a first try has time.
            # At least a block of the source (one line may have 4 MiB) and a full request.
            "buffer_bytes_max": (8 * MIB, 1024 * MIB),
            "drain_s": (0, 3600),
        }
        for name, (least, most) in bounds.items():
            self._check_number(name, least, most)
        if not (self.request_bytes_max == 0 or self.request_bytes_max > FRAME_BYTES):
            raise SettingsError(
                f"request_bytes_max is {self.request_bytes_max:,}; it must be more than "
                f"{FRAME_BYTES}, or 0 for no bound"
            )
        named = [path for path in (self.rejects_path, self.results_path) if path]
        paths = [path for path in map(os.path.realpath, named) if path != os.devnull]
        if len(paths) > len(set(paths)):
            raise SettingsError("the rejects and the results cannot go to one file")

    def _check_number(self, name: str, least: float, most: float) -> None:
        value, bounds = getattr(self, name), f"from {least:,} to {most:,}"
        if (name, value) in {("concurrency", "auto"), ("max_rate", None)}:
            return
        whole = name not in {"max_rate", "retry_timeout_s", "drain_s"}
        if isinstance(value, bool) or not isinstance(value, int | float):
            other = " or 'auto'" if name == "concurrency" else ""
            raise SettingsError(f"{name} is {value!r}; it must be a number {bounds}{other}")
        if not least <= value <= most:
            raise SettingsError(f"{name} is {value:,}; it must be {bounds}")
        if whole and not isinstance(value, int):
            raise SettingsError(f"{name} is {value}; it must be a whole number {bounds}")
