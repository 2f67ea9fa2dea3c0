"""Whether a task that the service shows is the one that we sent.

What we sent is compared with what the task of that ID has, as the service keeps it: it fills in
defaults, adds fields of its own, spells its words in its own case, and does not give passwords
and signatures back (design, "read back"). Fields that we did not send are not looked at.
"""

import json
from collections.abc import Iterator, Mapping

import orjson

from bulksubmit.core.taskfields import Field, fields_of
from bulksubmit.core.taskjson import join
from bulksubmit.core.taskspec import (
    ContainerRegistry,
    TaskAddParameter,
    TaskContainerSettings,
)
from bulksubmit.core.taskterms import Definition, FieldKind, duration_ticks

# Of TaskContainerSettings: the one list where an empty one and none are not the same (REST).
_MOUNTS = "containerHostBatchBindMounts"


def differences(sent: bytes, found: bytes) -> tuple[str, ...]:
    """The fields that we sent and that the task found has otherwise.

    Args:
        sent: A task that was checked.
        found: A CloudTask, as GET and lists show it.

    Returns:
        Their paths, such as ``resourceFiles[2].httpUrl``, in the order sent; none if the task
        is ours. A list of another length is named as a whole, and so is an object that is not
        there. Fields that the model does not know are compared if the task has them.

    Raises:
        ValueError: one of the two is no JSON object.
    """
    ours, theirs = _members(sent), _members(found)
    return tuple(_in_object(TaskAddParameter, ours, theirs, ""))


def _members(body: bytes) -> Mapping[str, object]:
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        members = json.loads(body)  # It takes numbers that do not fit, as 1e999.
    if not isinstance(members, dict):
        raise ValueError("a task is a JSON object")  # noqa: TRY004 - the bytes are at fault.
    return members


def _in_object(
    definition: type[Definition],
    ours: Mapping[str, object],
    theirs: Mapping[str, object],
    path: str,
) -> Iterator[str]:
    fields = fields_of(definition)
    for name, value in ours.items():
        each, other, where = fields.get(name), theirs.get(name), join(path, name)
        if value is None or (definition is ContainerRegistry and name == "password"):
            continue
        if each is None:
            if other is not None and value != other:
                yield where
        elif not each.listed:
            yield from _in_item(each, value, other, where)
        elif not isinstance(value, list) or not isinstance(other, list):
            # No list and an empty one are the same, save where that means everything.
            mounts = definition is TaskContainerSettings and name == _MOUNTS
            if value or other is not None or mounts:
                yield where
        elif len(value) != len(other):
            yield where
        else:
            for place, (item, its) in enumerate(zip(value, other, strict=True)):
                yield from _in_item(each, item, its, f"{where}[{place}]")


def _in_item(each: Field, ours: object, theirs: object, path: str) -> Iterator[str]:
    if each.definition and isinstance(ours, dict):
        if isinstance(theirs, dict):
            yield from _in_object(each.definition, ours, theirs, path)
        # An object that says nothing may be left out.
        elif theirs is not None or any(_in_object(each.definition, ours, {}, path)):
            yield path
    elif not _same(each.kind, ours, theirs):
        yield path


def _same(kind: FieldKind, ours: object, theirs: object) -> bool:
    if not isinstance(ours, str) or not isinstance(theirs, str):
        return type(ours) is type(theirs) and ours == theirs
    if ours == theirs:
        return True
    match kind:
        case FieldKind.ENUM | FieldKind.ID:
            return ours.lower() == theirs.lower()
        case FieldKind.DURATION:
            ticks = duration_ticks(ours)
            return ticks is not None and ticks == duration_ticks(theirs)
        case FieldKind.URL:
            # The query holds the signature, which the service may not give back.
            return "sig=" in ours and ours.partition("?")[0] == theirs.partition("?")[0]
        case _:
            return False
