"""What ``bulksubmit bench`` has measured: for a program, and drawn for a person."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from bulksubmit.bench.curve import WORDS, Curve, Step

BAR_COLUMNS = 24
MILLION = 1_000_000
_DIGITS = {"seconds": 3, "tasks_per_s": 1, "p50_ms": 1, "p95_ms": 1}
_DIGITS |= dict.fromkeys(("throttled_share", "lost_share", "cpu_share"), 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was seen of a service.

    Attributes:
        endpoint: The account's; None if none was looked at.
        emulator: It is one that was started for this.
        job_id: The job that was made; None if none was.
        job_left: It is still there, or may be.
        task_bytes: The size of a task.
        tasks_added: How many were added.
        tried_max: The most requests in flight that were to be tried.
        curve: The steps.
        elapsed_s: How long it took.
        exit_code: What the process should say.
        error: What ended it early, if anything did.
    """

    endpoint: str | None = None
    emulator: bool = False
    job_id: str | None = None
    job_left: bool = False
    task_bytes: int = 0
    tasks_added: int = 0
    tried_max: int = 0
    curve: Curve = field(default_factory=Curve)
    elapsed_s: float = 0.0
    exit_code: int = 0
    error: str | None = None

    @property
    def advice(self) -> str | None:
        """What to do, in words; None if that is not known."""
        return self.curve.advice(tried_max=self.tried_max)

    def as_dict(self) -> dict[str, object]:
        """The same as JSON types; ``error`` is there only if there was one."""
        curve = self.curve
        values: dict[str, object] = {
            "endpoint": self.endpoint,
            "emulator": self.emulator,
            "job_id": self.job_id,
            "job_left": self.job_left,
            "task_bytes": self.task_bytes,
            "tasks_added": self.tasks_added,
            "steps": [_values(step) for step in curve.fixed],
            "auto": _values(curve.auto) if curve.auto else None,
            "auto_share": None if curve.auto_share is None else round(curve.auto_share, 3),
            "best": _values(curve.best) if curve.best else None,
            "knee": _values(curve.knee) if curve.knee else None,
            "limited_by": curve.limited_by,
            "settings": curve.settings,
            "advice": self.advice,
            "elapsed_s": round(self.elapsed_s, 3),
            "exit_code": self.exit_code,
        }
        return values if self.error is None else values | {"error": self.error}


def _values(step: Step) -> dict[str, object]:
    values = asdict(step)
    del values["auto"]
    for name, digits in _DIGITS.items():
        if values[name] is not None:
            values[name] = round(values[name], digits)
    return values


def table(measured: Measured, encoding: str | None) -> str:
    """The same for a person: the curve as bars, and what it comes to; ends with a line end.

    Args:
        measured: What was measured.
        encoding: Of where it is written to.
    """
    lines = [*_curve(measured.curve, *_characters(encoding)), *_conclusions(measured)]
    return "".join(f"{line}\n" for line in lines)


def _characters(encoding: str | None) -> tuple[str, str]:
    """A full column of a bar, and a half."""
    try:
        "━╸".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", ""
    return "━", "╸"


def _curve(curve: Curve, full: str, half: str) -> Iterator[str]:
    most = max((step.tasks_per_s for step in curve.steps), default=0.0)
    if not most:
        return
    yield (
        f"{'in flight':>9}  {'tasks/s':>9}  {'':<{BAR_COLUMNS}}  "
        f"{'p50 ms':>7}  {'p95 ms':>7}  {'throttled':>9}  {'CPU':>5}"
    )
    for step in [*curve.fixed, *([curve.auto] if curve.auto else [])]:
        halves = round(2 * BAR_COLUMNS * step.tasks_per_s / most)
        bar = full * (halves // 2) + half * (halves % 2)
        name = "auto" if step.auto else f"{step.in_flight:,g}"
        mark = "  knee" if step is curve.knee else ""
        if step.auto:
            mark = f"  {step.in_flight:,g} in flight"
        yield (
            f"{name:>9}  {step.tasks_per_s:>9,.0f}  {bar:<{BAR_COLUMNS}}  "
            f"{_ms(step.p50_ms):>7}  {_ms(step.p95_ms):>7}  "
            f"{100 * step.throttled_share:>7.1f} %  {100 * step.cpu_share:>3.0f} %{mark}"
        )
    yield ""


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _conclusions(measured: Measured) -> Iterator[str]:
    curve = measured.curve
    for label, value in (
        ("knee", _knee(curve)),
        ("speed", _speed(measured)),
        ("next", measured.advice),
        ("took", _took(measured)),
        ("left", _left(measured)),
        ("ended by", measured.error),
    ):
        if value:
            yield f"{label:<8}  {value}"


def _knee(curve: Curve) -> str | None:
    if curve.enough is None or not curve.enough.tasks:
        return None
    if curve.knee is None:
        return "not found: the most that was tried was the fastest, too"
    return f"{curve.knee.in_flight:,g} requests in flight; more bring no more"


def _speed(measured: Measured) -> str | None:
    best, limited_by = measured.curve.best, measured.curve.limited_by
    if best is None or limited_by is None or not best.tasks:
        return None
    takes = f"{best.tasks_per_s:,.0f} tasks/s, a million in {_span(MILLION / best.tasks_per_s)}"
    return f"{takes}; limited by {WORDS[limited_by]}"


def _span(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004  Two minutes.
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:,.1f} h"  # noqa: PLR2004


def _took(measured: Measured) -> str:
    what = f"{measured.tasks_added:,} tasks of {measured.task_bytes:,} bytes"
    return f"{measured.elapsed_s:,.0f} s, {what}"


def _left(measured: Measured) -> str | None:
    if not measured.job_left:
        return None
    return (
        f"the job {measured.job_id}, whose tasks never run, until it ends after a day; "
        f"az batch job delete --job-id {measured.job_id} --yes"
    )
