"""The fields of the task model as tables, read from its definitions: nothing is written twice."""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import NamedTuple, cast

from msgspec import inspect

from bulksubmit.core.taskspec import TaskAddParameter
from bulksubmit.core.taskterms import Definition, FieldKind


class Field(NamedTuple):
    """What a field of a definition takes.

    Attributes:
        name: On the wire.
        attribute: Of the definition.
        kind: What it takes; of a list, what its items are.
        required: Whether it must be there, and not null.
        listed: Whether it is a list.
        definition: What its objects are, for OBJECT.
        words: What its words are, for ENUM.
        least: The least number it takes, or length of a text.
        most: The greatest.
        pattern: What its text must match.
        form: The pattern in words, to be read behind "it must be".
        secret: Whether its value may never be shown.
    """

    name: str
    attribute: str
    kind: FieldKind
    required: bool
    listed: bool
    definition: type[Definition] | None = None
    words: type[Enum] | None = None
    least: int | None = None
    most: int | None = None
    pattern: re.Pattern[str] | None = None
    form: str = ""
    secret: bool = False


@cache
def fields_of(definition: type[Definition]) -> Mapping[str, Field]:
    """The fields of a definition by their names on the wire."""
    info = inspect.type_info(definition)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: _field(field) for field in info.fields}


def field_at(path: Sequence[str]) -> Field | None:
    """The field of a task at a path of wire names, indexes left out; None if there is none."""
    definition: type[Definition] | None = TaskAddParameter
    field = None
    for name in path:
        field = fields_of(definition).get(name) if definition else None
        definition = field.definition if field else None
    return field


def kind_at(path: Sequence[str]) -> FieldKind | None:
    """What the field of a task takes at a path of wire names, indexes left out.

    For example INT for ("constraints", "maxTaskRetryCount"), and ID for ("dependsOn",
    "taskIds"), as that is what each item is. None if there is no such field.
    """
    field = field_at(path)
    return field.kind if field else None


@cache
def places() -> Mapping[str, Sequence[str]]:
    """By a field's name, folded: the paths of wire names at which a task has such a field."""
    found: dict[str, list[str]] = {}

    def visit(definition: type[Definition], above: str) -> None:
        for name, field in fields_of(definition).items():
            path = f"{above}{name}"
            found.setdefault(fold(name), []).append(path)
            if field.definition:
                visit(field.definition, f"{path}[]." if field.listed else f"{path}.")

    visit(TaskAddParameter, "")
    return found


def fold(name: str) -> str:
    """A name without what spellings differ in: case, and how words are joined."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _field(field: inspect.Field) -> Field:
    what, marks = _unwrap(field.type)
    listed = isinstance(what, inspect.VarTupleType)
    if isinstance(what, inspect.VarTupleType):
        what, marks = _unwrap(what.item_type)
    common = (field.encode_name, field.name)
    match what:
        case inspect.StructType(cls=cls):
            definition = cast("type[Definition]", cls)
            return Field(*common, FieldKind.OBJECT, field.required, listed, definition)
        case inspect.EnumType(cls=words):
            return Field(*common, FieldKind.ENUM, field.required, listed, words=words)
        case inspect.IntType(ge=least, le=most):
            return Field(*common, FieldKind.INT, field.required, listed, least=least, most=most)
        case inspect.BoolType():
            return Field(*common, FieldKind.BOOL, field.required, listed)
        case inspect.StrType(min_length=least, max_length=most):
            return Field(
                *common,
                cast("FieldKind", marks.get("kind", FieldKind.TEXT)),
                field.required,
                listed,
                least=least,
                most=most,
                pattern=cast("re.Pattern[str] | None", marks.get("pattern")),
                form=cast("str", marks.get("form", "")),
                secret=bool(marks.get("secret", False)),
            )
        case _:
            raise AssertionError(f"{field.encode_name}: no kind for a {what}")


def _unwrap(what: inspect.Type) -> tuple[inspect.Type, Mapping[str, object]]:
    """A field's type without null and remarks; and the remarks."""
    if isinstance(what, inspect.UnionType):
        (what,) = (each for each in what.types if not isinstance(each, inspect.NoneType))
    if isinstance(what, inspect.Metadata):
        return what.type, what.extra or {}
    return what, {}
