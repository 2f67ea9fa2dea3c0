"""Scenario files: how a service behaves, what is to be submitted to it, and what is to come out.

``configs/README.md`` says what each line means. The emulator serves ``[service]``; the tests run
the whole file on virtual time. What makes no sense is refused.
"""

import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin

import msgspec

from bulksubmit.core.limits import TASKS_MAX
from bulksubmit.emulator.capacity import Capacity, Phase

_T = TypeVar("_T")

Range: TypeAlias = tuple[float, float]
"""The least and the most that a figure may be."""

_LOAD_BOUNDS: dict[str, tuple[int, int]] = {
    "tasks": (1, 10**9),
    "task_bytes": (50, 1_000_000),  # An ID and a command take the one; a request takes the other.
    "tasks_per_request": (1, TASKS_MAX),
    "submitters": (1, 2),  # There is a second_at_s and no more.
    "concurrency_max": (1, 1000),  # This and the next as submit has them.
    "server_timeout_s": (1, 120),
}
_SHARES_MAX = {"throttled_share": 1.0, "lost_share": 1.0, "share": 0.5}


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
        for name, (least, most) in _LOAD_BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; {least:,} to {most:,} is wanted")
        if not self.max_rate > 0:
            raise ValueError(f"max_rate is {self.max_rate:g}; above 0 is wanted, inf for no bound")
        _check_s("seconds_max", self.seconds_max, above_s=0.0)
        _check_s("second_at_s", self.second_at_s)
        if self.second_at_s and self.submitters == 1:
            raise ValueError(
                f"second_at_s is {self.second_at_s:g} and submitters 1; that one begins at 0, "
                "submitters = 2 is wanted"
            )


class _Ranges:
    """Knows which of its fields are ranges."""

    __slots__ = ()

    def ranges(self) -> Iterator[tuple[str, Range]]:
        """The figures that are bounded, and their bounds."""
        for field in fields(self):  # type: ignore[arg-type]  # Each that inherits is a dataclass.
            value = getattr(self, field.name)
            if field.type in (Range, Range | None) and value is not None:
                yield field.name, value

    def __post_init__(self) -> None:
        for name, (least, most) in self.ranges():
            what = f"{name} is [{least:g}, {most:g}]"
            if not (least <= most and math.isfinite(least)):
                raise ValueError(f"{what}; [least, most] is wanted")
            if least < 0:
                raise ValueError(f"{what}; it is never below 0")
            if most > _SHARES_MAX.get(name, math.inf):
                raise ValueError(f"{what}; it is never above {_SHARES_MAX[name]:g}")


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

    def __post_init__(self) -> None:
        _check_s("from_s", self.from_s)
        _check_s("to_s", self.to_s, above_s=self.from_s)
        _Ranges.__post_init__(self)  # As super() does not work in a class with slots.
        if not any(self.ranges()):
            known = [field.name for field in fields(self) if field.type == (Range | None)]
            raise ValueError(f"nothing is expected; one of {', '.join(known)} is wanted")


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
    seconds: Range

    def __post_init__(self) -> None:
        _check_s("from_s", self.from_s)
        if not 0 < self.tasks_per_s < math.inf:
            raise ValueError(f"tasks_per_s is {self.tasks_per_s:g}; a pace above 0 is wanted")
        _Ranges.__post_init__(self)  # As above.


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected(_Ranges):
    """What is to come out.

    Attributes:
        requests: How many are sent.
        seconds: How long it all takes.
        throttled_share: Of the replies, those that throttle.
        lost_share: Of the replies, those that are none, or of no use.
        limit_max: The highest that the limit ever is.
        between: Parts of the time.
        reaches: How soon a pace is reached.
    """

    requests: Range | None = None
    seconds: Range | None = None
    throttled_share: Range | None = None
    lost_share: Range | None = None
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
    return _read(path, _scenario)


def read_service(path: Path) -> tuple[Phase, ...]:
    """Read how the service behaves from a scenario file; the rest may be missing, but not wrong.

    Raises:
        ScenarioError: if it cannot be read, or is not as it should be.
    """
    return _read(path, _service)


def _read(path: Path, part: Callable[[str, "_Tables"], _T]) -> _T:
    try:
        return part(path.stem, _parse(tomllib.loads(path.read_text("utf-8"))))
    except OSError as error:
        raise ScenarioError(f"{path.name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        what = "no text in UTF-8; a TOML file such as those in configs/scenarios is wanted"
        raise ScenarioError(f"{path.name}: {what}") from error
    except ValueError as error:  # From the parser of TOML, or a ScenarioError.
        raise ScenarioError(f"{path.name}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Tables:
    """What a file has; None for a table that is missing."""

    phases: tuple[Phase, ...] | None
    load: Load | None
    expected: Expected | None


def _parse(file: dict[str, Any]) -> _Tables:
    """Check all that is there, so that a wrong name is told before what is missing for it."""
    known = ("service", "load", "expect")
    _check_names(file, known, "")
    for name, table in file.items():
        if not isinstance(table, dict):
            raise ScenarioError(f"{name} is {_shown(table)}; one table is wanted, under [{name}]")
    service, load, expect = (file.get(name) for name in known)
    return _Tables(
        None if service is None else tuple(_phases(service)),
        None if load is None else _convert(Load, load, "load"),
        None if expect is None else _expected(expect),
    )


def _scenario(name: str, tables: _Tables) -> Scenario:
    load = _there(tables.load, "load")
    return Scenario(name, _service(name, tables), load, _there(tables.expected, "expect"))


def _service(_: str, tables: _Tables) -> tuple[Phase, ...]:
    return _there(tables.phases, "service")


def _there(value: _T | None, table: str) -> _T:
    if value is None:
        raise ScenarioError(f"[{table}] is missing")
    return value


def _expected(table: Mapping[str, Any]) -> Expected:
    expect = dict(table)
    _check_names(expect, [field.name for field in fields(Expected)], "expect")
    between = tuple(_each(Between, expect.pop("between", []), "expect.between"))
    reaches = tuple(_each(Reaches, expect.pop("reaches", []), "expect.reaches"))
    return replace(_convert(Expected, expect, "expect"), between=between, reaches=reaches)


def _phases(service: Mapping[str, Any]) -> Iterator[Phase]:
    """The capacity from the start on, and from each change on."""
    now = dict(service)
    changes = now.pop("changes", [])
    known = [field.name for field in fields(Capacity)]
    _check_names(now, [*known, "changes"], "service")
    yield Phase(0.0, _convert(Capacity, now, "service"))
    before_s = 0.0
    for where, change in _tables(changes, "service.changes"):
        _check_names(change, ["at_s", *known], where)
        at_s = change.pop("at_s", None)
        if not _is_number(at_s) or not before_s < at_s < math.inf:
            what = "is missing" if at_s is None else f"is {_shown(at_s)}"
            after = "the change before it, at" if before_s else "the first request, at"
            wanted = f"a number of seconds later than {after} {before_s:g}, is wanted"
            raise ScenarioError(f"{where}: at_s {what}; {wanted}")
        if not change:
            raise ScenarioError(f"{where}: nothing but at_s; what changes then is wanted, too")
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
        raise ScenarioError(f"{where}: {_complaint(error, table, cls)}") from error


def _complaint(error: msgspec.ValidationError, table: Mapping[str, Any], cls: type[Any]) -> str:
    """What is wrong with a table, and what is wanted: by a check of ours, or by a field's type."""
    if error.__cause__ is not None:
        return str(error)
    for field in fields(cls):
        if f"$.{field.name}" in re.findall(r"\$\.\w+", str(error)):
            return f"{field.name} is {_shown(table[field.name])}; {_wanted(field.type)} is wanted"
    missing = re.search(r"missing required field `(\w+)`", str(error))
    return f"{missing[1]} is missing" if missing else str(error)


def _wanted(kind: Any) -> str:
    """What a field of a type takes, as TOML has it."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(_shown(each) for each in get_args(kind))}"
    if kind in (Range, Range | None):
        return "[least, most], two numbers,"
    whole = kind in (int, int | None)
    return "true or false" if kind is bool else "a whole number" if whole else "a number"


def _shown(value: object) -> str:
    """A value much as TOML has it."""
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, default=str, ensure_ascii=False)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _check_s(name: str, value_s: float, *, above_s: float | None = None) -> None:
    """Raise a ValueError if seconds are none, or not above those."""
    if not math.isfinite(value_s) or value_s < 0:
        raise ValueError(f"{name} is {value_s:g}; a number of seconds from 0 on is wanted")
    if above_s is not None and value_s <= above_s:
        raise ValueError(f"{name} is {value_s:g}; it must be later than {above_s:g}")


def _check_names(table: Mapping[str, Any], known: list[str] | tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            place = f"{where}.{name}" if where else name
            like = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {like[0]}?" if like else f"known are {', '.join(known)}"
            raise ScenarioError(f"{place}: unknown; {hint}")
