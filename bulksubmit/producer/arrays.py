"""JSON arrays of tasks, alone or as an object's ``value``, and one task by itself.

An array is cut without parsing it twice. Text that begins with an element is cut at a place
that looks like the end of one, and ``[`` + cut + ``]`` is decoded as raw values: that is valid
JSON if and only if the cut is a true border, as brackets balance nowhere else. It mostly is one
at once, as the elements of a file begin alike (``},{"id"``). What is left is walked through
bracket by bracket, past strings, so that no input makes it slow: a part is walked once.
"""

import re
from collections.abc import Container, Iterator
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.partitioner import BYTES_MAX
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.blocks import to_block
from bulksubmit.producer.lines import BOM, ITEM_BYTES_MAX
from bulksubmit.producer.source import Block

# Possessive throughout: a string without an end, or an odd layout, costs one pass and no more.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SCALAR = rb"(?:" + _STRING + rb"|true|false|null|-?[0-9][0-9.eE+-]*+)"
MEMBER = rb"\s*+" + _STRING + rb"\s*+:\s*+" + _SCALAR
_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])', re.DOTALL)
_BRACKET_OR_COMMA = re.compile(
    rb'[^"\[\]{},]*+(?:' + _STRING + rb'[^"\[\]{},]*+)*+([\[\]{},])', re.DOTALL
)
_BLANK = re.compile(rb"\s*+")
_NEXT = re.compile(rb"\s*+(?=[^\s\]])")
_BETWEEN = re.compile(rb"[\s,]*+")
_BORDER = re.compile(rb"}\s*+,\s*+(?=[^\s\]])")
_BEGINNING = re.compile(rb'\{\s*+"[^"\\]{0,64}+"|\{?')
_BEHIND = re.compile(rb"\s*+(?:," + MEMBER + rb"\s*+)*+", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_BYTE = re.compile(r" \(byte (\d+)\)")

_CUTS_MAX = 4  # Cuts tried of each kind; a wrong one costs as much as a right one.
_LOOKS_MAX = 64  # Brackets looked at to find them.
_BETWEEN_BYTES_MAX = 1024
_BEHIND_BYTES_MAX = 64 * 1024  # What may follow the array: white space, a few members.
_ONE_A_LINE = "or write one JSON object a line (NDJSON), as jq -c does"

TOO_LONG = (
    f"has more than {ITEM_BYTES_MAX:,} bytes; the service takes at most {BYTES_MAX:,} bytes "
    "a request"
)

_elements = msgspec.json.Decoder(list[msgspec.Raw])


class ArrayParser:
    """See Parser. ``place`` is at an element's first byte, or at the closing bracket."""

    form = "item"
    seeks = True
    more = False

    def __init__(
        self,
        name: str,
        *,
        begin: int,
        wrapped: bool,
        first: int,
        at: Place,
        checker: Checker,
        settled: Container[int] | None = None,
    ) -> None:
        """Parse a file, or the rest of it.

        Args:
            name: For messages.
            begin: Where the bytes behind the array's opening bracket begin in the file.
            wrapped: Whether an object is around the array.
            first: The ordinal of the file's first item.
            at: Where the bytes begin.
            checker: Says what is a task.
            settled: The ordinals of items to leave out; None for none.
        """
        self.place = at
        self._name, self._first, self._wrapped = name, first, wrapped
        self._checker, self._settled = checker, settled
        self._begin = begin if at.offset == 0 else None  # None: the array was entered.
        self._closed = False  # ``place`` is at the closing bracket.
        self._rest = b""  # From ``place`` on.
        self._walked, self._depth = 0, 0  # So far into the rest, and so deep there.
        self._between = b""  # What was last between two elements, and how the second began.
        self._error: SourceError | None = None  # Raised once what was before it is handed out.

    def feed(self, data: bytes) -> Block:
        """See Parser."""
        if self._error:
            raise self._error
        self._rest += data
        bodies: list[bytes] = []
        lines: list[int] = []
        if self._enter():
            # An element longer than what came is walked through, not tried again and again.
            if len(self._rest) <= 2 * len(data):
                self._cut(bodies, lines)
            self._walk(bodies, lines)
        self._error = self._error or self._too_much()
        if bodies:
            return to_block(
                bodies, lines, checker=self._checker, after=self.place, settled=self._settled
            )
        if self._error:
            raise self._error
        return Block([], self.place)

    def part(self, data: bytes) -> Block:
        """See Parser."""
        # What follows an element says that it is whole: another one, or the array's end.
        return self.feed(data + (b"{" if data.rstrip().endswith(b",") else b"]"))

    def finish(self) -> Block:
        """See Parser."""
        error = self._error or (self._check_behind() if self._closed else self._cut_off())
        if error:
            raise error
        return Block([], self.place)

    # --- Where elements end ------------------------------------------------------------------

    def _enter(self) -> bool:
        """Stand at the first element, or the closing bracket; whether there is any to take."""
        if self._begin is not None:
            start = _BLANK.match(self._rest, self._begin)
            if not start or start.end() >= len(self._rest):
                return False
            self._begin = None
            self._move(0, start.end())
        return not self._closed

    def _move(self, items: int, offset: int) -> None:
        place, line = self.place, self.place.line + self._rest.count(b"\n", 0, offset)
        self.place = Place(place.ordinal + items, place.offset + offset, line, place.file)
        self._rest = self._rest[offset:]

    def _cut(self, bodies: list[bytes], lines: list[int]) -> None:
        """Take what is before a border near the bytes' end, if one is soon found."""
        for border in _likely_borders(self._rest, self._between):
            if elements := _decoded(self._rest[: border.end]):
                self._take(elements, border, bodies, lines)
                self._walked, self._depth = 0, 0
                return

    def _walk(self, bodies: list[bytes], lines: list[int]) -> None:
        """Find every border in the bytes that are left, and take what is before them."""
        walk = _Walk(self._walked, self._depth)
        stop = walk.through(self._rest)
        taken = walk.borders[-1] if walk.borders else _Border(0, 0)
        elements = _decoded(self._rest[: taken.end])
        broken: tuple[bytes, bytes] | None = None
        if walk.borders and not elements:
            elements, taken, broken = _one_by_one(self._rest, walk.borders)
        elif stop is _Stop.BROKEN:
            broken = self._rest[taken.next : walk.at], self._rest[walk.at : walk.at + 1]
        if elements:
            self._take(elements, taken, bodies, lines)
        self._walked, self._depth = walk.at - taken.next, walk.depth
        if broken:
            self._error = self._broken(*broken)
        else:
            self._closed = stop is _Stop.CLOSED

    def _take(
        self,
        elements: list[bytes],
        border: "_Border",
        bodies: list[bytes],
        lines: list[int],
    ) -> None:
        rest = self._rest
        found = rest.find(b"\n", 0, border.end)
        if found < 0:
            bodies += elements
            lines += [self.place.line] * len(elements)
        else:
            lines += _lines_of(elements, rest, self.place.line)
            bodies += [one_line(body) if b"\n" in body else body for body in elements]
        last = len(rest[: border.end].rstrip()) - 1
        beginning = _BEGINNING.match(rest, border.next)
        if beginning and border.next - last <= _BETWEEN_BYTES_MAX:
            self._between = rest[last : border.next] + beginning[0]
        self._move(len(elements), border.next)

    # --- What is wrong -----------------------------------------------------------------------

    def _where(self) -> str:
        return f"item {self.place.ordinal - self._first + 1} (line {self.place.line})"

    def _broken(self, text: bytes, mark: bytes) -> SourceError:
        """What is wrong with the item at ``place``, or with the mark that follows it."""
        if not text.strip():
            reason = "expected a task before the comma"
        elif problem := explain(text, self.place.line):
            reason = f"not valid JSON: {problem}"
        elif mark == b",":
            reason = "a comma is behind it, but no other item"
        elif mark in b"{[":
            reason = f"expected a comma behind it; {_ONE_A_LINE}"
        else:
            reason = f"expected a comma or ] behind it, not {mark.decode()}"
        return SourceError(self._name, None, f"{self._where()}: {reason}")

    def _too_much(self) -> SourceError | None:
        if self._closed:
            behind = self._rest[1:]
            if (behind.strip() and not self._wrapped) or len(behind) > _BEHIND_BYTES_MAX:
                return self._follows(1)
        elif len(self._rest) > ITEM_BYTES_MAX:
            return SourceError(self._name, None, f"{self._where()}: {TOO_LONG}")
        return None

    def _follows(self, at: int) -> SourceError:
        blank = _BLANK.match(self._rest, at)
        line = self.place.line + self._rest.count(b"\n", 0, blank.end() if blank else at)
        reason = f"something follows the array: line {line}; a file holds one array, {_ONE_A_LINE}"
        return SourceError(self._name, None, reason)

    def _check_behind(self) -> SourceError | None:
        if not self._wrapped:
            return None
        behind = _BEHIND.match(self._rest, 1)
        at = behind.end() if behind else 1
        if at == len(self._rest):
            reason = "the object around the array is not closed"
            return SourceError(self._name, None, reason)
        if self._rest[at:].rstrip() == b"}":
            return None
        return self._follows(at)

    def _cut_off(self) -> SourceError:
        text = self._rest.rstrip().removesuffix(b",") if self._begin is None else b""
        number = self.place.ordinal - self._first
        if text and explain(text, self.place.line):
            if not ends_early(b"[" + text):
                return self._broken(text, b"")
            reason = f"the file ends within {self._where()}"
        elif number or text:
            reason = f"the file ends after item {number + bool(text)}"
        else:
            reason = "the file ends before its first item"
        return SourceError(self._name, None, f"the array is not closed: {reason}")


class ObjectParser:
    """See Parser. A whole file that is one task, over several lines."""

    form = "item"
    seeks = True
    more = False

    def __init__(
        self,
        name: str,
        *,
        at: Place,
        checker: Checker,
        settled: Container[int] | None = None,
    ) -> None:
        """Parse a file, or what follows its task: nothing. See ArrayParser."""
        self.place = at
        self._name, self._checker, self._settled = name, checker, settled
        self._rest = b""

    def feed(self, data: bytes) -> Block:
        """See Parser."""
        self._rest += data
        if len(self._rest) > ITEM_BYTES_MAX:
            raise self._error(self._rest.removeprefix(BOM), TOO_LONG)
        return Block([], self.place)

    def part(self, data: bytes) -> Block:
        """See Parser."""
        self.feed(data)
        return self.finish()

    def finish(self) -> Block:
        """See Parser."""
        place, data, self._rest = self.place, self._rest, b""
        text = data.removeprefix(BOM)
        body = text.strip()
        if not body:
            return Block([], place)
        if problem := explain(text, place.line):
            early = "the file ends within the task" if ends_early(body) else None
            raise self._error(text, early or f"not valid JSON: {problem}")
        if _Walk(0, 0).first_end(text) < len(text.rstrip()):
            raise self._error(text, "")
        line = place.line + text.count(b"\n", 0, text.index(body))
        self.place = Place(
            place.ordinal + 1,
            place.offset + len(data),
            place.line + data.count(b"\n"),
            place.file,
        )
        return to_block(
            [one_line(body)],
            [line],
            checker=self._checker,
            after=self.place,
            settled=self._settled,
        )

    def _error(self, text: bytes, reason: str) -> SourceError:
        end = _Walk(0, 0).first_end(text)
        if following := text[end:].strip():
            line = self.place.line + text.count(b"\n", 0, text.index(following, end))
            reason = (
                f"something follows the task: line {line}; put tasks in an array, {_ONE_A_LINE}"
            )
        return SourceError(self._name, None, reason)


class _Border(NamedTuple):
    """Between two elements, or after the last one: where one ends and the next begins."""

    end: int
    next: int


class _Stop(Enum):
    """Why a walk stops."""

    MORE = auto()  # The bytes are at their end.
    CLOSED = auto()  # At the closing bracket.
    BROKEN = auto()  # At something that cannot stand there.


class _Walk:
    """From bracket to bracket, past strings: finds every border.

    Attributes:
        at: So far.
        depth: How many brackets are open there.
        borders: Those found.
    """

    def __init__(self, at: int, depth: int) -> None:
        self.at, self.depth = at, depth
        self.borders: list[_Border] = []

    def through(self, rest: bytes) -> _Stop:
        """Walk as far as these bytes go, which begin with an element.

        ``at`` is in front of what stopped the walk.
        """
        start = 0
        while self._out(rest) and (found := _BRACKET_OR_COMMA.match(rest, self.at)):
            mark, at = found[1], found.end() - 1
            if mark == b"," and (following := _NEXT.match(rest, at + 1)):
                self.borders.append(_Border(at, following.end()))
                start = self.at = following.end()
            elif mark == b"," and not rest[at + 1 :].strip():
                return _Stop.MORE
            elif mark in b"[{" and not rest[start:at].strip():
                self.at, self.depth = at + 1, 1
            else:
                self.at = at
                if mark == b"]" and at > start:
                    self.borders.append(_Border(at, at))
                return _Stop.CLOSED if mark == b"]" else _Stop.BROKEN
        return _Stop.MORE

    def first_end(self, text: bytes) -> int:
        """Where the object or array ends that the text begins with; the text's end if nowhere."""
        if found := _BRACKET.match(text):
            self.at, self.depth = found.end(), 1
        return self.at if self._out(text) else len(text)

    def _out(self, rest: bytes) -> bool:
        """Walk until no bracket is open; whether the bytes go so far."""
        while self.depth:
            if not (found := _BRACKET.match(rest, self.at)):
                return False
            self.depth += 1 if found[1] in b"[{" else -1
            self.at = found.end()
        return True


def _likely_borders(rest: bytes, between: bytes) -> Iterator[_Border]:
    """What looks like a border, from the end of the bytes backwards; a few."""
    for mark, looks in ((between, _CUTS_MAX), (b"}", _LOOKS_MAX)):
        end, cuts = len(rest), 0
        for _ in range(looks if mark else 0):
            end = rest.rfind(mark, 0, end)
            if end < 0 or cuts == _CUTS_MAX:
                break
            if border := _BORDER.match(rest, end):
                cuts += 1
                yield _Border(end + 1, border.end())


def _decoded(text: bytes) -> list[bytes] | None:
    """The elements of an array's inside; None if it is none."""
    try:
        return [*map(bytes, _elements.decode(b"[%b]" % text))]
    except (msgspec.MsgspecError, RecursionError):
        return None


def _one_by_one(
    rest: bytes, borders: list[_Border]
) -> tuple[list[bytes], _Border, tuple[bytes, bytes] | None]:
    """The elements up to the first broken one, the border after them, and the broken one."""
    elements: list[bytes] = []
    taken = _Border(0, 0)
    for border in borders:
        text = rest[taken.next : border.end]
        if not text.strip() or explain(text, 1):
            return elements, taken, (text, b"")
        elements.append(text.strip())
        taken = border
    return elements, taken, None


def _lines_of(elements: list[bytes], rest: bytes, line: int) -> list[int]:
    """The line at which each element begins; the rest begins with the first one, in ``line``."""
    lines, at = [], 0
    for body in elements:
        found = _BETWEEN.match(rest, at)
        start = found.end() if found else at
        line += rest.count(b"\n", at, start)
        lines.append(line)
        line += body.count(b"\n")
        at = start + len(body)
    return lines


def one_line(body: bytes) -> bytes:
    """A task is one line wherever we write one; the tokens stay as they are."""
    try:
        return msgspec.json.format(body, indent=-1)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.replace(b"\n", b" ")  # So it is no task: only to be shown.


def explain(text: bytes, line: int) -> str | None:
    """Why this is no JSON value, if it is none.

    Args:
        text: All of it.
        line: In which it begins.
    """
    if b"\\ud" in text or b"\\uD" in text:
        # Half a pair is JSON, if no text: that is for the checker to say. As many bytes again.
        text = _SURROGATE.sub(rb"\\u0020", text)
    try:
        _elements.decode(b"[%b]" % text)
    except RecursionError:
        return None  # Brackets balance, as far as anybody looks.
    except msgspec.MsgspecError as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        if found := _BYTE.search(reason):
            at = int(found[1]) - 1  # Without the bracket.
            line += text.count(b"\n", 0, at)
            return f"{reason[: found.start()]} at byte {at + 1} of the item, in line {line}"
        return reason[:1].lower() + reason[1:]
    return None


def ends_early(text: bytes) -> bool:
    """Whether what is wrong with this JSON is that something is missing at its end."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.MsgspecError as error:
        return "truncated" in str(error)  # msgspec's word for it.
    return False
