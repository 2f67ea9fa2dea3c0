"""The service's task model, as far as accounting needs it: an object, an id, a commandLine.

Sources: REST reference, TaskAddParameter; the ID's form is in its description.
"""

import re

import msgspec

ID_LENGTH_MAX = 64
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IDS = re.compile(r"(?:[A-Za-z0-9_-]{1,64}\n)*")


class TaskSpecError(ValueError):
    """What is wrong with a task, and what would be right."""


class TaskHead(msgspec.Struct, frozen=True, gc=False):
    """The fields of a task that every task needs."""

    id: str
    command_line: str = msgspec.field(name="commandLine")


_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
}

_decoder = msgspec.json.Decoder(TaskHead)


def read_id(body: bytes) -> str:
    """The ID of a task whose JSON is well-formed and has an ID and a command line.

    The ID's own form is not checked: see ``ids_are_valid``. UTF-8 outside of the two fields is
    the caller's to check, once for many tasks.

    Raises:
        TaskSpecError: says what is wrong.
    """
    try:
        head = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TaskSpecError(_explain(body)) from error
    # Once, as nearly always, needs no second look; an escape may spell an id, too.
    if (body.count(b'"id"') != 1 or b"\\u00" in body) and _repeats_a_key(body):
        raise TaskSpecError("a key is given twice; which of the two would count is not defined")
    return head.id


def ids_are_valid(ids: list[str]) -> bool:
    """Whether each ID has the form that the service takes; one look for many, as it is quick."""
    text = "\n".join([*ids, ""])
    return text.count("\n") == len(ids) and _IDS.fullmatch(text) is not None


def explain_id(task_id: str) -> str | None:
    """What is wrong with an ID's form, or None."""
    if _ID.fullmatch(task_id):
        return None
    if not task_id:
        return f"id is empty; the service takes 1 to {ID_LENGTH_MAX} characters"
    if len(task_id) > ID_LENGTH_MAX:
        return f"id has {len(task_id)} characters; the service takes at most {ID_LENGTH_MAX}"
    wrong = next(char for char in task_id if not _ID.fullmatch(char))
    return f"id {task_id!r} holds {wrong!r}; the service takes letters, digits, - and _"


def _repeats_a_key(body: bytes) -> bool:
    """Whether the outermost object has a key twice, or keys spelt with escapes.

    What is left when equal keys are merged is shorter than the whole.
    """
    whole = msgspec.json.format(body, indent=-1)
    merged = msgspec.json.decode(whole, type=dict[str, msgspec.Raw])
    members = [len(msgspec.json.encode(key)) + 1 + len(raw) for key, raw in merged.items()]
    return len(whole) != 2 + sum(members) + len(members) - 1


def _explain(body: bytes) -> str:
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        return "nested too deeply to be a task"
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if body.startswith(b"\xef\xbb\xbf"):
            return "a byte order mark; it may stand only at the start of the file"
        brief = str(error).removeprefix("JSON is malformed: ")
        return f"not valid JSON: {brief}; one JSON object a line is read"
    if not isinstance(value, dict):
        return (
            f"not a JSON object but {_KINDS.get(type(value), 'a number')}; one task a line is read"
        )
    missing = [field for field in ("id", "commandLine") if field not in value]
    if missing:
        return f"{' and '.join(missing)} missing; every task needs an id and a commandLine"
    field = "commandLine" if isinstance(value["id"], str) else "id"
    return f"{field} is {_KINDS.get(type(value[field]), 'a number')}; it must be a string"
