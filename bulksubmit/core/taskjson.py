"""A task's JSON, read with an eye for all that may be wrong with it; slow, for messages.

What parsers pass over is kept: a key that is given twice, halves of surrogate pairs, and how a
number is spelt.
"""

import json
import re
from collections.abc import Iterator

import msgspec

from bulksubmit.core.model import Kind, Problem
from bulksubmit.core.redact import redact

NESTING_MAX = 64  # Levels; the model has 6 of them. Keeps whatever reads tasks from recursing.
_SHOWN_CHARS = 60
_SHOWN_FROM_CHARS = 300  # Looked at to find what may not be shown.

_BOM = "\ufeff"
_HALF_PAIR = re.compile("[\ud800-\udfff]")

_TOO_DEEP = Problem("", Kind.NOT_A_TASK, "nested too deeply to be a task")


class Number(str):
    """A number that is not a whole one, or a very long one, as it is spelt."""

    __slots__ = ()


class Members(dict[str, object]):
    """An object's members, of a key that is given twice the last.

    Attributes:
        repeated: The keys that are given more than once.
    """

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen and key not in self.repeated:
                    self.repeated.append(key)
                seen.add(key)


def read(body: bytes) -> object:
    """A body's value, or a Problem if it is no JSON.

    Objects are Members, and numbers int or Number.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{body[error.start]:02x} at place {error.start + 1} of the task"
        return Problem("", Kind.ENCODING, f"not UTF-8: {wrong}")
    if text.startswith(_BOM):
        reason = "a byte order mark; it may stand only at the start of the file"
        return Problem("", Kind.ENCODING, reason)
    try:
        return json.loads(
            text,
            object_pairs_hook=Members,
            parse_int=_whole,
            parse_float=Number,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        return _TOO_DEEP
    except ValueError as error:
        brief = _brief(body, error)
        reason = f"not valid JSON: {brief}; one JSON object a line is read"
        return Problem("", Kind.NOT_JSON, reason)


def look_through(value: object, path: str = "", depth: int = 0) -> Iterator[Problem]:
    """What is wrong anywhere in a value, also in fields that nobody knows."""
    if depth > NESTING_MAX:
        yield _TOO_DEEP
    elif isinstance(value, Members):
        for key in value.repeated:
            name = join(path, key)
            reason = f"{name} is given twice; which of the two would count is not defined"
            yield Problem(name, Kind.REPEATED_KEY, reason)
        for key, item in value.items():
            name = join(path, key)
            if _HALF_PAIR.search(key):
                yield _half_pair(name, key)
            yield from look_through(item, name, depth + 1)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from look_through(item, f"{path}[{place}]", depth + 1)
    elif isinstance(value, str) and _HALF_PAIR.search(value):
        yield _half_pair(path, value)


def join(path: str, key: str) -> str:
    """The path of a member; a key that is no name is spelt so that it can be printed, and cut."""
    if not key.isprintable():
        key = key[:_SHOWN_FROM_CHARS].encode("ascii", "backslashreplace").decode()
        key = key.encode("unicode_escape").decode() if not key.isprintable() else key
    return f"{path}.{_cut(key)}" if path else _cut(key)


def show(value: object) -> str:
    """A value as short JSON, without the secrets in it; of objects and lists, only that."""
    if isinstance(value, Number):
        return _cut(value)
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    if isinstance(value, list):
        return "[...]" if value else "[]"
    if isinstance(value, str):
        value = redact(value[:_SHOWN_FROM_CHARS])
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():  # Half a surrogate pair, or what a terminal would swallow.
        text = json.dumps(value)
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."


def _half_pair(path: str, text: str) -> Problem:
    half = _HALF_PAIR.search(text)
    assert half is not None
    reason = (
        f"{path or 'the text'} holds \\u{ord(half[0]):04x}, half of a surrogate pair; "
        "it takes both halves to make a character"
    )
    return Problem(path, Kind.ENCODING, reason)


def _whole(text: str) -> int | Number:
    # int() refuses some thousands of digits, and no field takes more than ten.
    return int(text) if len(text) <= _SHOWN_CHARS else Number(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _brief(body: bytes, error: ValueError) -> str:
    """What is wrong with the JSON and where, in bytes."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as other:
        return str(other).removeprefix("JSON is malformed: ")
    return f"{error.msg} (character {error.pos})"
