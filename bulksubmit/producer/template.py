"""A task with placeholders, and rows of values to fill it with.

A template is a task as JSON. In its strings, ``{name}`` stands for a value of the row; ``{{`` and
``}}`` are braces; ``${...}`` is the shell's own and stays as it is, braces and all. It is looked
at once, and becomes one format string: filling it with a row is one operation, and a block of
rows is encoded as one text.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, TypeAlias

import msgspec
import orjson

from bulksubmit.core.taskfields import kind_at
from bulksubmit.core.taskterms import FieldKind
from bulksubmit.errors import SourceError
from bulksubmit.producer.opening import BLOCK_BYTES
from bulksubmit.producer.spec import SourceSpec

BRACES = "write {{ and }} where braces are meant"
# So that a block of rows takes about what a block of a file takes, however long the template is.
ROWS_MAX = 1_000
VALUE_LENGTH = 16  # Characters, a guess.
NAMES_SHOWN_MAX = 20  # Of the columns there are, in a message.

# "${" first: what the shell has in braces is not ours.
_BRACE = re.compile(r"\$\{|\{\{|\}\}|\{([^{}]*)\}|[{}]")
# At most int32 is taken; a longer one is told by the task model, as text.
_WHOLE = re.compile(r"(-?)0*([0-9]{1,20})(?:\.0+)?")


class Placeholder(NamedTuple):
    """A place that a value fills.

    Attributes:
        name: Of the column or parameter.
        path: The field that holds it, for messages.
        bare: What kind of value the field takes, if it is one without quotes.
    """

    name: str
    path: str
    bare: FieldKind | None = None


_Part: TypeAlias = str | Placeholder
_Json: TypeAlias = "Mapping[str, _Json] | Sequence[_Json] | str | bool | None"


class _Number(str):
    """A number's digits, as the template has them."""

    __slots__ = ()


class Template:
    """A task with placeholders.

    Attributes:
        name: For messages.
    """

    def __init__(
        self,
        text: str,
        *,
        name: str,
        allow_unused: bool = False,
        id_unless_given: str | None = None,
    ) -> None:
        """Read a template.

        Args:
            text: A JSON object.
            name: For messages.
            allow_unused: Whether it may leave columns out.
            id_unless_given: What stands for the id of a template that has none.

        Raises:
            SourceError: if it is no JSON object, or a brace in it is neither a placeholder's
                nor doubled.
        """
        self.name, self._allow_unused = name, allow_unused
        try:
            task = self._parsed(text)
            if id_unless_given is not None and "id" not in task:
                task = {"id": id_unless_given, **task}
            self._parts = [*self._walk(task, ())]
        except RecursionError as error:
            raise SourceError(name, None, "is nested too deeply to be a task") from error

    def on(self, names: Sequence[str], *, of: str, noun: str = "column") -> "Filler":
        """The template for rows of these columns.

        Args:
            names: Of all columns, in order.
            of: What has these columns, for messages.
            noun: What to call them.

        Raises:
            SourceError: if a placeholder names none of them, or one is not used though it must be.
        """
        used: dict[str, None] = {}
        for part in self._parts:
            if isinstance(part, Placeholder):
                if part.name not in names:
                    raise self._unknown(part, names, of, noun)
                used[part.name] = None
        unused = [repr(name) for name in names if name not in used]
        if unused and not self._allow_unused:
            one = len(unused) == 1
            named = f"{noun} {unused[0]}" if one else f"{noun}s {', '.join(unused)}"
            them = "it" if one else "them"
            way = "pass --allow-unused-columns" if noun == "column" else f"leave {them} out"
            reason = f"does not use the {named} of {of}; use {them}, or {way}"
            raise SourceError(self.name, None, reason)
        return Filler(tuple(used), self._parts)

    def _parsed(self, text: str) -> dict[str, _Json]:
        try:
            orjson.loads(text)  # Its messages say where; and it is stricter.
            task = json.loads(
                text, parse_int=_Number, parse_float=_Number, object_pairs_hook=self._object
            )
        except json.JSONDecodeError as error:  # orjson's is one too.
            reason = f"not valid JSON: {error.msg} (column {error.colno})"
            raise SourceError(self.name, error.lineno, reason) from error
        if not isinstance(task, dict):
            reason = "is not a JSON object; a template is one task, with placeholders in it"
            raise SourceError(self.name, None, reason)
        return task

    def _object(self, pairs: list[tuple[str, _Json]]) -> dict[str, _Json]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise SourceError(self.name, None, f"the key {twice!r} is given twice in one object")
        return found

    def _walk(self, value: _Json, path: tuple[str, ...]) -> Iterator[_Part]:
        """The JSON text, in parts."""
        match value:
            case dict():
                for number, (key, inner) in enumerate(value.items()):
                    self._check_key(key)
                    yield ("," if number else "{") + _quoted(key) + ":"
                    yield from self._walk(inner, (*path, key))
                yield "}" if value else "{}"
            case list():
                yield "["
                for number, inner in enumerate(value):
                    yield "," if number else ""
                    yield from self._walk(inner, path)
                yield "]"
            case _Number():
                yield str(value)
            case str():
                yield from self._string(value, path)
            case _:
                yield json.dumps(value)

    def _check_key(self, key: str) -> None:
        if re.search(r"\{[^{}]+\}", key):
            reason = f"the key {key!r} holds a placeholder; they stand in values, not in keys"
            raise SourceError(self.name, None, reason)

    def _string(self, text: str, path: tuple[str, ...]) -> Iterator[_Part]:
        parts = [*self._split(text, ".".join(path))]
        match parts:
            case [Placeholder() as only]:
                kind = kind_at(path)
                if kind in {FieldKind.INT, FieldKind.BOOL}:
                    yield only._replace(bare=kind)
                    return
        yield '"'
        for part in parts:
            yield _quoted(part)[1:-1] if isinstance(part, str) else part
        yield '"'

    def _split(self, text: str, path: str) -> Iterator[_Part]:
        at = 0
        while found := _BRACE.search(text, at):
            if at < found.start():
                yield text[at : found.start()]
            at = found.end()
            match found[0]:
                case "{{" | "}}" as double:
                    yield double[0]
                case "${":
                    at = self._shell_end(text, found.start(), path)
                    yield text[found.start() : at]
                case "{" | "}" as brace:
                    # The text itself may be a secret.
                    where = f"{brace!r} (character {found.start() + 1})"
                    reason = f"{path}: {where} is no placeholder's; {BRACES}"
                    raise SourceError(self.name, None, reason)
                case _:
                    yield Placeholder(found[1], path)
        if at < len(text):
            yield text[at:]

    def _shell_end(self, text: str, start: int, path: str) -> int:
        """Behind the brace that closes the shell's own at ``start``."""
        depth = 0
        for brace in re.finditer(r"[{}]", text[start:]):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                return start + brace.end()
        reason = f"{path}: '${{' (character {start + 1}) is the shell's, and has no '}}'"
        raise SourceError(self.name, None, reason)

    def _unknown(
        self, placeholder: Placeholder, names: Sequence[str], of: str, noun: str
    ) -> SourceError:
        name, path, _ = placeholder
        folded = {each.casefold(): each for each in reversed(names)}
        near = get_close_matches(name.casefold(), folded, n=1)
        shown = ", ".join(names[:NAMES_SHOWN_MAX]) + (", ..." * (len(names) > NAMES_SHOWN_MAX))
        meant = f"; did you mean {{{folded[near[0]]}}}?" if near else "."
        reason = f"{path}: {{{name}}} is no {noun} of {of}{meant} Its {noun}s: {shown}; {BRACES}"
        return SourceError(self.name, None, reason)


def template_of(spec: SourceSpec) -> Template | None:
    """What the rows of a source's files fill; None if its files hold tasks.

    Raises:
        SourceError: if it is no task with placeholders.
    """
    if spec.template is None:
        return None
    return Template(spec.template, name=spec.template_name, allow_unused=spec.allow_unused)


class _Slot(msgspec.Struct, frozen=True):
    """Where a value goes: which of the columns, and how it is written."""

    column: int
    bare: FieldKind | None


class Filler:
    """A template for rows of known columns.

    Attributes:
        names: The columns that it uses.
        rows_max: How many rows are to be filled at once.
    """

    def __init__(self, names: tuple[str, ...], parts: Sequence[_Part]) -> None:
        self.names = names
        length = sum(len(part) if isinstance(part, str) else VALUE_LENGTH for part in parts)
        self.rows_max = max(1, min(ROWS_MAX, BLOCK_BYTES // max(1, length)))
        self._slots = [
            _Slot(names.index(part.name), part.bare)
            for part in parts
            if isinstance(part, Placeholder)
        ]
        self._format = "".join(
            part.replace("%", "%%") if isinstance(part, str) else "%s" for part in parts
        )

    def fill(self, columns: Sequence[Sequence[str]], count: int) -> list[bytes]:
        """The bodies of some rows.

        Args:
            columns: The values of each of ``names``, one a row.
            count: Of the rows.
        """
        if not count:
            return []
        if not self._slots:
            return [(self._format % ()).encode()] * count
        escaped = [_escaped(column) for column in columns]
        filled = [
            _unquoted(columns[slot.column], slot.bare) if slot.bare else escaped[slot.column]
            for slot in self._slots
        ]
        # No string of JSON holds a line end, and neither does the JSON around them.
        text = "\n".join(map(self._format.__mod__, zip(*filled, strict=True)))
        return text.encode().split(b"\n")


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _escaped(values: Sequence[str]) -> Sequence[str]:
    """Texts as they stand within quotes in JSON."""
    whole = "".join(values)
    if len(orjson.dumps(whole)) == len(whole.encode()) + 2:  # The usual: nothing to escape.
        return values
    return [_quoted(value)[1:-1] for value in values]


def _unquoted(values: Sequence[str], kind: FieldKind) -> Sequence[str]:
    written = {value: _bare(value, kind) for value in {*values}}  # They are often few.
    return [written[value] for value in values]


def _bare(value: str, kind: FieldKind) -> str:
    """A number or boolean without quotes; what is none stays a string, for the checker to say."""
    if kind is FieldKind.BOOL and (word := value.lower()) in {"true", "false"}:
        return word
    if kind is FieldKind.INT and (whole := _WHOLE.fullmatch(value)):
        return str(int(whole[1] + whole[2]))
    return _quoted(value)
