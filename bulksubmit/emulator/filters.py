"""``$filter``: conditions on what is listed, joined by ``and``, ``or`` and parentheses.

Which properties can be asked for, and how, is on the reference page "OData filters in Batch".
Each condition on an ID is a range of IDs, or the two beside one. A filter as a whole lets through
nothing outside some disjoint ranges; so a list seeks where they start and reads on, and ten
million tasks make it no slower. Inside them, other properties are looked at one by one.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

from bulksubmit.core.wire import TICKS_PER_S, to_ticks
from bulksubmit.emulator.answers import ServiceError, bad_parameter

T = TypeVar("T")

Range: TypeAlias = tuple[str, str | None]  # From an ID on, up to but without another; None: no end.
Ranges: TypeAlias = list[Range]  # Disjoint, ascending.
Value: TypeAlias = str | int | None  # Text in lower case, a number, a time in .NET ticks.

EVERYTHING: Ranges = [("", None)]


class Kind(Enum):
    """What a property holds; says how it can be compared."""

    ID = "an ID"  # The list is in its order.
    TEXT = "text"
    WORD = "a word"
    TIME = "a time"
    NUMBER = "a number"


@dataclass(frozen=True, slots=True)
class Property(Generic[T]):
    """A property that a list can be filtered by.

    Attributes:
        kind: What it holds.
        of: Its value of one of what is listed; None if that has none, and then no condition on
            it is true but ``ne``.
        words: All that a word can be.
    """

    kind: Kind
    of: Callable[[T], Value]
    words: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Filter(Generic[T]):
    """What a list lets through.

    Attributes:
        ranges: Of folded IDs: nothing outside of them passes.
        test: Which of what is inside passes.
        exact: Everything inside passes; ``test`` need not be asked.
    """

    ranges: Ranges
    test: Callable[[T], bool]
    exact: bool

    def and_(self, other: "Filter[T]") -> "Filter[T]":
        """What passes both."""
        ours, theirs = self.test, other.test
        return Filter(
            intersection(self.ranges, other.ranges),
            lambda item: ours(item) and theirs(item),
            self.exact and other.exact,
        )

    def or_(self, other: "Filter[T]") -> "Filter[T]":
        """What passes one of them, or both."""
        ours, theirs = self.test, other.test
        return Filter(
            _union([*self.ranges, *other.ranges]),
            lambda item: ours(item) or theirs(item),
            self.exact and other.exact,
        )


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
}
_TEXT = r"'((?:[^']|'')*)'"
_COMPARISON = re.compile(
    rf"\s*([A-Za-z/]+)\s+(eq|ne|ge|gt|le|lt)\s+(?:(DateTime)?{_TEXT}|(-?[0-9]+))\s*",
    re.IGNORECASE,
)
_STARTS_WITH = re.compile(rf"\s*startswith\(\s*([A-Za-z/]+)\s*,\s*{_TEXT}\s*\)\s*")
_OPENING, _CLOSING = re.compile(r"\s*\(\s*"), re.compile(r"\s*\)\s*")
_AND, _OR = re.compile(r"and\b"), re.compile(r"or\b")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?Z?", re.ASCII)
_DEPTH_MAX = 20
_DIGITS_MAX = 20  # More than any number has that is asked for; thousands cannot even be read.
_FORMS = {Kind.TIME: "DateTime'2024-01-31T08:49:37Z'", Kind.NUMBER: "1"}


def parse_filter(text: str | None, properties: Mapping[str, Property[T]]) -> Filter[T]:
    """What a ``$filter`` lets through; everything, if it is None.

    ``and`` binds closer than ``or``. Names of properties are compared with regard to case, values
    without.

    Args:
        text: The filter.
        properties: What can be asked for, by its name.

    Raises:
        ServiceError: InvalidQueryParameterValue.
    """
    if text is None:
        return Filter(EVERYTHING, lambda _: True, exact=True)
    parser = _Parser(text, properties)
    found = parser.disjunction()
    if parser.at < len(text):
        raise parser.error("'and' or 'or' is expected")
    return found


def after(item_id: str) -> str:
    """The least text above an ID."""
    return item_id + "\0"


def intersection(ours: Ranges, theirs: Ranges) -> Ranges:
    """What is in both."""
    both = []
    for our_low, our_high in ours:
        for their_low, their_high in theirs:
            low = max(our_low, their_low)
            highs = [high for high in (our_high, their_high) if high is not None]
            high = min(highs, default=None)
            if high is None or low < high:
                both.append((low, high))
    return both


def _union(ranges: Iterable[Range]) -> Ranges:
    joined: Ranges = []
    for low, high in sorted(ranges, key=lambda each: each[0]):
        if joined and (joined[-1][1] is None or low <= joined[-1][1]):
            last_low, last_high = joined[-1]
            end = None if last_high is None or high is None else max(last_high, high)
            joined[-1] = (last_low, end)
        else:
            joined.append((low, high))
    return joined


class _Parser(Generic[T]):
    """Reads a filter from left to right.

    Attributes:
        at: How far it came, in characters.
    """

    def __init__(self, text: str, properties: Mapping[str, Property[T]]) -> None:
        self.at = 0
        self._text = text
        self._properties = properties
        self._depth = 0

    def disjunction(self) -> Filter[T]:
        """Conditions joined by ``or``."""
        found = self._conjunction()
        while self._match(_OR):
            found = found.or_(self._conjunction())
        return found

    def error(self, reason: str, at: int | None = None) -> ServiceError:
        """What is wrong, and where; by default where the parser is."""
        place = self.at if at is None else at
        return bad_parameter("$filter", self._text, f"{reason} at position {place}")

    def _conjunction(self) -> Filter[T]:
        found = self._condition()
        while self._match(_AND):
            found = found.and_(self._condition())
        return found

    def _condition(self) -> Filter[T]:
        if self._match(_OPENING):
            self._depth += 1
            if self._depth > _DEPTH_MAX:
                raise self.error(f"there are more than {_DEPTH_MAX} parentheses in each other")
            found = self.disjunction()
            self._depth -= 1
            if not self._match(_CLOSING):
                raise self.error("')' is expected")
            return found
        start = self.at
        if match := self._match(_STARTS_WITH):
            name, value = match[1], _unquoted(match[2])
            known = self._property(name, start)
            kind, of = known.kind, known.of
            if kind not in {Kind.ID, Kind.TEXT}:
                raise self.error(f"{name} is {kind.value}; startswith takes text", start)
            ranges: Ranges = [(value, value + "\U0010ffff")] if kind is Kind.ID else EVERYTHING

            def test(item: T) -> bool:
                actual = of(item)
                return actual is not None and str(actual).startswith(value)

            return Filter(ranges, test, exact=kind is Kind.ID)
        if match := self._match(_COMPARISON):
            return self._comparison(match, start)
        raise self.error(f"a condition on {', '.join(self._properties)} is expected")

    def _comparison(self, found: re.Match[str], start: int) -> Filter[T]:
        name, word, date, text, number = found.groups()
        known = self._property(name, start)
        kind, of = known.kind, known.of
        compare = _OPERATORS[word.lower()]
        if kind is Kind.WORD and word.lower() not in {"eq", "ne"}:
            raise self.error(f"{name} is {kind.value}, which is eq or ne another", start)
        value: str | int
        match kind, date, text, number:
            case Kind.TIME, str(), str(), _:
                value = self._time(text, start)
            case Kind.NUMBER, _, _, str() if len(number) <= _DIGITS_MAX:
                value = int(number)
            case Kind.ID | Kind.TEXT | Kind.WORD, None, str(), _:
                value = _unquoted(text)
            case _:
                form = _FORMS.get(kind, "'text'")
                reason = f"{name} is {kind.value}, to be compared with such as {form},"
                raise self.error(reason, start)

        if kind is Kind.WORD and value not in known.words:
            # The error page's own example: of a state that there is none of, "invalid state".
            raise self.error(f"invalid {name} {text!r}", start)

        def test(item: T) -> bool:
            actual = of(item)
            return compare is operator.ne if actual is None else compare(actual, value)

        if kind is Kind.ID:
            return Filter(_ranges(word.lower(), str(value)), test, exact=True)
        return Filter(EVERYTHING, test, exact=False)

    def _property(self, name: str, start: int) -> Property[T]:
        known = self._properties.get(name)
        if known is None:
            raise self.error(f"a condition on {', '.join(self._properties)} is expected", start)
        return known

    def _time(self, text: str, start: int) -> int:
        match = _TIME.fullmatch(text)
        try:
            whole = datetime.fromisoformat(match[1]) if match else None
        except ValueError:
            whole = None
        if match is None or whole is None:
            raise self.error(
                f"{text!r} is no time, such as 2024-01-31T08:49:37Z, but stands", start
            )
        ticks = to_ticks(0) + int(whole.replace(tzinfo=UTC).timestamp()) * TICKS_PER_S
        return ticks + int((match[2] or "0").ljust(7, "0"))

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self.at)
        if match is not None:
            self.at = match.end()
        return match


def _unquoted(text: str) -> str:
    return text.replace("''", "'").lower()


def _ranges(word: str, value: str) -> Ranges:
    match word:
        case "eq":
            return [(value, after(value))]
        case "ne":
            return [("", value), (after(value), None)]
        case "ge":
            return [(value, None)]
        case "gt":
            return [(after(value), None)]
        case "le":
            return [("", after(value))]
        case _:
            return [("", value)]
