"""Where the elements of a JSON array end, without parsing them."""

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

# Possessive throughout: a string without an end, or an odd layout, costs one pass and no more.
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])', re.DOTALL)
_BRACKET_OR_COMMA = re.compile(
    rb'[^"\[\]{},]*+(?:' + STRING + rb'[^"\[\]{},]*+)*+([\[\]{},])', re.DOTALL
)
_BLANK = re.compile(rb"\s*+")
_NEXT = re.compile(rb"\s*+(?=[^\s\]])")
_BORDER = re.compile(rb"}\s*+,\s*+(?=[^\s\]])")
_STRINGS = re.compile(STRING, re.DOTALL)
_BORDER_AT_ITS_END = re.compile(rb',\s*+\{\s*+"\Z')
_BRACKET_OR_QUOTE = re.compile(rb'["\[\]{}]')
_CLOSING = {b"[": b"]", b"{": b"}"}
_BEHIND_STRINGS = (b":", b",", b"}", b"]")

_CUTS_MAX = 4  # Cuts tried of each kind; a wrong one costs as much as a right one.
_LOOKS_MAX = 64  # Brackets looked at to find them.


class Border(NamedTuple):
    """Between two elements, or after the last one: where one ends and the next begins.

    Attributes:
        end: Of the one before it.
        next: Beginning of the one behind it.
        clean: Nothing is between the bracket that ends an element and the border.
    """

    end: int
    next: int
    clean: bool = True


class Stop(Enum):
    """Why a walk stops."""

    MORE = auto()  # The bytes are at their end.
    CLOSED = auto()  # At the closing bracket.
    BROKEN = auto()  # At something that cannot stand there.


class Walk:
    """From bracket to bracket, past strings: finds every border.

    Attributes:
        at: So far.
        depth: How many brackets are open there.
        borders: Those found.
        stray: What stopped it, if that cannot stand there: its place, and how far it took to see.
    """

    def __init__(self, at: int, depth: int) -> None:
        self.at, self.depth = at, depth
        self.borders: list[Border] = []
        self.stray: Border | None = None

    def through(self, rest: bytes) -> Stop:
        """Walk as far as these bytes go, which begin with an element.

        ``at`` is in front of what stopped the walk.
        """
        start = 0
        while self._out(rest) and (found := _BRACKET_OR_COMMA.match(rest, self.at)):
            mark, at = found[1], found.end() - 1
            if mark == b"," and (following := _NEXT.match(rest, at + 1)):
                self.borders.append(Border(at, following.end(), self._is_clean(rest, start, at)))
                start = self.at = following.end()
            elif mark == b"," and not rest[at + 1 :].strip():
                return Stop.MORE
            elif mark in b"[{" and not rest[start:at].strip():
                self.at, self.depth = at + 1, 1
            else:
                if mark == b"]" and at > start:
                    self.borders.append(Border(at, at, self._is_clean(rest, start, at)))
                self.at = at
                if mark == b"]":
                    return Stop.CLOSED
                following = _BLANK.match(rest, at + 1) if mark == b"," else None
                self.stray = Border(at, following.end() if following else at)
                return Stop.BROKEN
        return Stop.MORE

    def first_end(self, text: bytes) -> int:
        """Where the object or array ends that the text begins with; the text's end if nowhere."""
        if found := _BRACKET.match(text):
            self.at, self.depth = found.end(), 1
        return self.at if self._out(text) else len(text)

    def _is_clean(self, rest: bytes, start: int, end: int) -> bool:
        return self.at == end or rest[start] not in b"[{" or not rest[self.at : end].strip()

    def _out(self, rest: bytes) -> bool:
        """Walk until no bracket is open; whether the bytes go so far."""
        while self.depth:
            if not (found := _BRACKET.match(rest, self.at)):
                return False
            self.depth += 1 if found[1] in b"[{" else -1
            self.at = found.end()
        return True


def likely_borders(rest: bytes, between: bytes) -> Iterator[Border]:
    """What looks like a border, from the end of the bytes backwards; a few."""
    for mark, looks in ((between, _CUTS_MAX), (b"}", _LOOKS_MAX)):
        end, cuts = len(rest), 0
        for _ in range(looks if mark else 0):
            end = rest.rfind(mark, 0, end)
            if end < 0 or cuts == _CUTS_MAX:
                break
            if border := _BORDER.match(rest, end):
                cuts += 1
                yield Border(end + 1, border.end())


def is_one(text: bytes) -> bool:
    """Whether an element that is no JSON, by a walk, is one: neither many nor a part of one.

    It may be many where quotes or brackets are missing. A task among them begins behind a comma:
    ``,{"``. Whoever takes the wrong quote for a string's beginning has that at the end of a string;
    whoever misses a bracket has the task, with its command line, inside an object or an array. So
    neither may be there, nor two command lines: a task is never taken for a part of what is
    broken.

    It may be a part where a string's end was taken for its beginning: then text of the string
    comes before the bracket, or a backslash outside of strings. What begins with no bracket has no
    certain end, if it has quotes.
    """
    if text[0] not in b"[{":
        return not _BRACKET_OR_QUOTE.search(text)
    strings, outside = _STRINGS.findall(text), _STRINGS.split(text)
    if strings and outside[-1].lstrip()[:1] not in _BEHIND_STRINGS:
        return False
    if any(map(_BORDER_AT_ITS_END.search, strings)) or any(b"\\" in part for part in outside):
        return False
    return text.count(b'"commandLine"') <= 1 and _pair_up(text)


def _pair_up(text: bytes) -> bool:
    """Whether brackets are in pairs, and nothing inside the outermost ones looks like a task."""
    opened: list[bytes] = []
    at = 0
    while found := _BRACKET.match(text, at):
        mark, at = found[1], found.end()
        if len(opened) > 1 and b'"commandLine"' in found[0]:
            return False
        if mark in _CLOSING:
            opened.append(mark)
        elif not opened or _CLOSING[opened.pop()] != mark:
            return False
    return True
