"""Scenario files: how a service behaves, what is to be submitted to it, and what is to come out.

``configs/README.md`` says what each line means. The emulator serves ``[service]``; the tests run
the whole file on virtual time.
"""

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from bulksubmit.emulator.capacity import Capacity, Phase

_T = TypeVar("_T")

Range: TypeAlias = tuple[float, float]
"""The least and the most that a figure may be."""


class ScenarioError(ValueError):
    """A scenario file is not one; says where, and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is submitted, and how.

    Attributes:
        tasks: How many, by each submitter.
        task_bytes: The size of each.
        tasks_per_request: At most.
        submitters: How many submit to one job, each on its own.
        second_at_s: When the second one begins, after the first.
        concurrency_max: The most requests that a submitter has in flight.
        server_timeout_s: How long the service may take for a request.
        max_rate: Tasks a second that a submitter sends at most; infinite for no bound.
        seconds_max: When a run that is not done is stopped.
    """

    tasks: int
    task_bytes: int = 200
    tasks_per_request: int = 100
    submitters: int = 1
    second_at_s: float = 0.0
    concurrency_max: int = 100
    server_timeout_s: int = 30
    max_rate: float = math.inf
    seconds_max: float = 600.0

    def __post_init__(self) -> None:
        for name in ("tasks", "task_bytes", "tasks_per_request", "submitters", "concurrency_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is wanted")
        if self.submitters > 2:  # noqa: PLR2004  There is a second_at_s and no more.
            raise ValueError(f"submitters is {self.submitters}; one or two is wanted")


class _Ranges:
    """Knows which of its fields are ranges."""

    __slots__ = ()

    def ranges(self) -> Iterator[tuple[str, Range]]:
        """The figures that are bounded, and their bounds."""
        for field in fields(self):  # type: ignore[arg-type]  # Each that inherits is a dataclass.
            value = getattr(self, field.name)
            if field.type == (Range | None) and value is not None:
                yield field.name, value

    def __post_init__(self) -> None:
        for name, (least, most) in self.ranges():
            if not least <= most:
                raise ValueError(f"{name} is [{least:g}, {most:g}]; [least, most] is wanted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Between(_Ranges):
    """What is expected of a part of the time, which is counted from the first request.

    Attributes:
        from_s: When it begins.
        to_s: When it ends.
        requests: How many are sent.
        tasks_per_s: Tasks that are added, a second.
        throttled_share: Of the replies, those that throttle.
        lost_share: Of the replies, those that are none, or of no use.
        limit: The limit on requests in flight, its mean over the time; of two submitters, the sum.
        latency_ms: The mean of how long a clean reply takes.
        share: The part of the tasks added that the submitter with the fewer of them has: a half
            is a fair share for two.
    """

    from_s: float
    to_s: float
    requests: Range | None = None
    tasks_per_s: Range | None = None
    throttled_share: Range | None = None
    lost_share: Range | None = None
    limit: Range | None = None
    latency_ms: Range | None = None
    share: Range | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaches(_Ranges):
    """How soon a pace is reached.

    Attributes:
        from_s: Since when the time is counted, itself from the first request on.
        tasks_per_s: The pace: so many tasks are added a second, over five seconds.
        seconds: How long it takes until those five seconds begin.
    """

    from_s: float
    tasks_per_s: float
    seconds: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected(_Ranges):
    """What is to come out.

    Attributes:
        requests: How many are sent.
        seconds: How long it all takes.
        throttled_share: Of the replies, those that throttle.
        limit_max: The highest that the limit ever is.
        between: Parts of the time.
        reaches: How soon a pace is reached.
    """

    requests: Range | None = None
    seconds: Range | None = None
    throttled_share: Range | None = None
    limit_max: Range | None = None
    between: tuple[Between, ...] = ()
    reaches: tuple[Reaches, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario file.

    Attributes:
        name: The file's, without ``.toml``.
        phases: How the service behaves, and when.
        load: What is submitted.
        expected: What is to come out.
    """

    name: str
    phases: tuple[Phase, ...]
    load: Load
    expected: Expected


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: if it cannot be read, or is not as it should be.
    """
    try:
        return _scenario(path.stem, tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ScenarioError) as error:
        raise ScenarioError(f"{path.name}: {error}") from error


def _scenario(name: str, file: dict[str, Any]) -> Scenario:
    _check_names(file, ("service", "load", "expect"), "")
    for table in ("service", "load", "expect"):
        if not isinstance(file.get(table), dict):
            raise ScenarioError(f"[{table}] is missing")
    expect = dict(file["expect"])
    between = tuple(_each(Between, expect.pop("between", []), "expect.between"))
    reaches = tuple(_each(Reaches, expect.pop("reaches", []), "expect.reaches"))
    expected = _convert(Expected, expect, "expect")
    expected = replace(expected, between=between, reaches=reaches)
    load = _convert(Load, file["load"], "load")
    return Scenario(name, tuple(_phases(file["service"])), load, expected)


def _phases(service: Mapping[str, Any]) -> Iterator[Phase]:
    """The capacity from the start on, and from each change on."""
    now = dict(service)
    changes = now.pop("changes", [])
    yield Phase(0.0, _convert(Capacity, now, "service"))
    before_s = 0.0
    for where, change in _tables(changes, "service.changes"):
        at_s = change.pop("at_s", None)
        if not isinstance(at_s, float | int) or at_s <= before_s:
            what = "above 0 and later than the change before it"
            raise ScenarioError(f"{where}.at_s: a number of seconds {what} is wanted")
        _check_names(change, [field.name for field in fields(Capacity)], where)
        now |= change
        yield Phase(float(at_s), _convert(Capacity, now, where))
        before_s = at_s


def _each(cls: type[_T], tables: object, where: str) -> Iterator[_T]:
    for place, table in _tables(tables, where):
        yield _convert(cls, table, place)


def _tables(tables: object, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ScenarioError(f"{where}: tables are wanted, each under [[{where}]]")
    for number, table in enumerate(tables):
        yield f"{where}[{number}]", dict(table)


def _convert(cls: type[_T], table: Mapping[str, Any], where: str) -> _T:
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # All are dataclasses.
    _check_names(table, known, where)
    try:
        return msgspec.convert(table, cls)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        place = f"{where}{path.rstrip('`')}"
        raise ScenarioError(f"{place}: {what[:1].lower()}{what[1:]}") from error


def _check_names(table: Mapping[str, Any], known: list[str] | tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            place = f"{where}.{name}" if where else name
            like = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {like[0]}?" if like else f"known are {', '.join(known)}"
            raise ScenarioError(f"{place}: unknown; {hint}")
