"""JSON arrays of tasks, alone or as an object's ``value``, and one task by itself.

An array is cut without parsing it twice. Text that begins with an element is cut at a place
that looks like the end of one, and ``[`` + cut + ``]`` is decoded as raw values: that is valid
JSON if and only if the cut is a true border, as brackets balance nowhere else. It mostly is one
at once, as the elements of a file begin alike (``},{"id"``). What is left is walked through
bracket by bracket, past strings, so that no input makes it slow: a part is walked once.

An element that is no JSON, but whose end is certain all the same (see brackets.is_one()), is an
item that is no task, and the others are none the worse. Where the end is not certain, nobody knows
where the next one begins: there the reading ends. Whether it is does not depend on how the bytes
were cut: an element is judged by its own bytes, and by those up to the next one.
"""

import re
from collections.abc import Container

import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.limits import BYTES_MAX
from bulksubmit.core.model import Invalid, Kind, Problem
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.blocks import to_block, to_sparse_block
from bulksubmit.producer.brackets import (
    STRING,
    Border,
    Stop,
    Walk,
    is_one,
    likely_borders,
)
from bulksubmit.producer.lines import BOM, ITEM_BYTES_MAX, SHOWN_BYTES
from bulksubmit.producer.rawjson import (
    decoded,
    ends_early,
    explain,
    goes_wrong,
    is_json,
    one_line,
)
from bulksubmit.producer.source import Block

_SCALAR = rb"(?:" + STRING + rb"|true|false|null|-?[0-9][0-9.eE+-]*+)"
MEMBER = rb"\s*+" + STRING + rb"\s*+:\s*+" + _SCALAR
_BLANK = re.compile(rb"\s*+")
_BETWEEN = re.compile(rb"[\s,]*+")
_BEGINNING = re.compile(rb'\{\s*+"[^"\\]{0,64}+"|\{?')
_BEHIND = re.compile(rb"\s*+(?:," + MEMBER + rb"\s*+)*+", re.DOTALL)

_BETWEEN_BYTES_MAX = 1024
_BEHIND_BYTES_MAX = 64 * 1024  # What may follow the array: white space, a few members.
_HELD_BYTES_MAX = 2 * ITEM_BYTES_MAX  # Of one element, whose end is looked for.
_NO_FURTHER = "what is behind it is not read"
_ONE_A_LINE = "or write one JSON object a line (NDJSON), as jq -c does"

TOO_LONG = (
    f"has more than {ITEM_BYTES_MAX:,} bytes; the service takes at most {BYTES_MAX:,} bytes "
    "a request"
)

_ITEM_TOO_LONG = Problem(
    "",
    Kind.LENGTH,
    f"the item has more than {ITEM_BYTES_MAX:,} bytes, of which only the beginning is kept; the "
    f"service takes at most {BYTES_MAX:,} bytes a request",
)


class _Found(msgspec.Struct):
    """Elements in order.

    Attributes:
        bodies: One an element.
        lines: The line of each.
        too_long: The indices of those of which only the beginning is here.
    """

    bodies: list[bytes] = msgspec.field(default_factory=list)
    lines: list[int] = msgspec.field(default_factory=list)
    too_long: set[int] = msgspec.field(default_factory=set)

    def add_too_long(self, beginning: bytes, line: int) -> None:
        self.too_long.add(len(self.bodies))
        self.bodies.append(one_line(beginning[:SHOWN_BYTES]))
        self.lines.append(line)


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
        self._begins_well = False  # Whether the rest is long, and was looked at for that.
        self._between = b""  # What was last between two elements, and how the second began.
        self._error: SourceError | None = None  # Raised once what was before it is handed out.

    def feed(self, data: bytes) -> Block:
        """See Parser."""
        if self._error:
            raise self._error
        self._rest += data
        found = _Found()
        if self._enter():
            # An element longer than what came is walked through, not tried again and again.
            if len(self._rest) <= min(2 * len(data), ITEM_BYTES_MAX):
                self._cut(found)
            self._walk(found)
        self._error = self._error or self._too_much()
        if found.bodies:
            return self._block(found)
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

    def _block(self, found: _Found) -> Block:
        bodies, lines, too_long = found.bodies, found.lines, found.too_long
        if not too_long:
            return to_block(
                bodies, lines, checker=self._checker, after=self.place, settled=self._settled
            )
        settled: Container[int] = self._settled or ()
        first = self.place.ordinal - len(bodies)
        left = [at for at in range(len(bodies)) if first + at not in settled]
        whole = [at for at in left if at not in too_long]
        return to_sparse_block(
            [bodies[at] for at in whole],
            [lines[at] for at in whole],
            [first + at for at in whole],
            checker=self._checker,
            after=self.place,
            known_invalid=[
                Invalid(first + at, lines[at], "", bodies[at], (_ITEM_TOO_LONG,))
                for at in left
                if at in too_long
            ],
        )

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
        self._rest, self._begins_well = self._rest[offset:], False

    def _cut(self, found: _Found) -> None:
        """Take what is before a border near the bytes' end, if one is soon found."""
        for border in likely_borders(self._rest, self._between):
            if elements := decoded(self._rest[: border.end]):
                self._take(elements, border, found)
                self._walked, self._depth = 0, 0
                return

    def _walk(self, found: _Found) -> None:
        """Find every border in the bytes that are left, and take what is before them."""
        walk = Walk(self._walked, self._depth)
        stop = walk.through(self._rest)
        elements, taken, broken = _elements(self._rest, walk.borders)
        mark = b""
        if not broken and stop is Stop.BROKEN:
            broken, mark = walk.stray, self._rest[walk.at : walk.at + 1]
        if elements:
            self._take(elements, taken, found)
        self._walked, self._depth = walk.at - taken.next, walk.depth
        if broken:
            text = self._rest[: broken.end - taken.next]
            over = self._over(broken.next - taken.next)
            self._error = over or self._broken(text, mark)
        else:
            self._closed = stop is Stop.CLOSED

    def _take(self, elements: list[bytes], border: Border, found: _Found) -> None:
        rest = self._rest
        over_lines = rest.find(b"\n", 0, border.end) >= 0
        lines = [self.place.line] * len(elements)
        if over_lines:
            lines = _lines_of(elements, rest, self.place.line)
        if border.end > ITEM_BYTES_MAX:
            for body, line in zip(elements, lines, strict=True):
                if len(body) > ITEM_BYTES_MAX:
                    found.add_too_long(body, line)
                else:
                    found.bodies.append(one_line(body) if b"\n" in body else body)
                    found.lines.append(line)
        else:
            found.lines += lines
            found.bodies += (
                [one_line(body) if b"\n" in body else body for body in elements]
                if over_lines
                else elements
            )
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
            reason = f"not valid JSON: {problem}; where it ends is not certain: {_NO_FURTHER}"
        elif not mark:
            reason = f"its brackets are nested too deep to tell where it ends: {_NO_FURTHER}"
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
        elif self._begin is not None and len(self._rest) > ITEM_BYTES_MAX:
            return self._too_long()
        return self._over(len(self._rest))

    def _over(self, length: int) -> SourceError | None:
        """What is wrong with that much from ``place`` on, if it is more than the next element.

        Mostly a bracket or a quote is missing: then it is no element, but many.
        """
        if length <= ITEM_BYTES_MAX:
            return None
        if not self._begins_well and goes_wrong(self._rest[: ITEM_BYTES_MAX + 1]):
            return self._broken(self._rest[:ITEM_BYTES_MAX], b"")
        self._begins_well = True
        return self._too_long() if length > _HELD_BYTES_MAX else None

    def _too_long(self) -> SourceError:
        return SourceError(self._name, None, f"{self._where()}: {TOO_LONG}")

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
        if Walk(0, 0).first_end(text) < len(text.rstrip()):
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
        end = Walk(0, 0).first_end(text)
        if following := text[end:].strip():
            line = self.place.line + text.count(b"\n", 0, text.index(following, end))
            reason = (
                f"something follows the task: line {line}; put tasks in an array, {_ONE_A_LINE}"
            )
        return SourceError(self._name, None, reason)


def _elements(rest: bytes, borders: list[Border]) -> tuple[list[bytes], Border, Border | None]:
    """The elements up to one whose end is not certain, the border before it and the one behind."""
    taken = borders[-1] if borders else Border(0, 0)
    elements = (taken.next <= ITEM_BYTES_MAX and decoded(rest[: taken.end])) or []
    if elements:
        return elements, taken, None
    taken = Border(0, 0)
    for border in borders:
        text = rest[taken.next : border.end].strip()
        if not text or not _ends(text, rest[taken.next : border.next], clean=border.clean):
            return elements, taken, border
        elements.append(text)
        taken = border
    return elements, taken, None


def _ends(element: bytes, to_next: bytes, *, clean: bool) -> bool:
    """Whether an element's end is certain.

    Args:
        element: Without white space around it.
        to_next: All from its beginning to that of the next one.
        clean: See Border.
    """
    if len(to_next) > _HELD_BYTES_MAX:
        return False
    return is_json(element) or (clean and not goes_wrong(to_next) and is_one(element))


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
