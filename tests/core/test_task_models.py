"""The official SDK's own models (azure-batch 15.0.0b2, the one for our api-version) agree."""

import datetime as dt
import json
import typing
from enum import Enum
from types import NoneType
from typing import Any, NamedTuple

import pytest
from azure.batch import models
from azure.batch.models import BatchTaskCreateContent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksubmit.core.taskcompare import differences
from bulksubmit.core.taskfields import Field, fields_of
from bulksubmit.core.taskspec import TaskAddParameter
from bulksubmit.core.taskterms import Definition, FieldKind
from bulksubmit.emulator.shapes import show_task
from bulksubmit.emulator.store import Job, StoredTask
from tests.core.whole_task import encode, look, mutations, problems_of, respelt

# The bounds of what the service takes, where the SDK's types are wider. The SDK writes a
# timedelta of nothing as "P", which is no duration.
_TIMES = st.timedeltas(dt.timedelta(microseconds=1), dt.timedelta(days=10_675_198))
_INTS = st.integers(-(2**31), 2**31 - 1)
_COUNTS = st.integers(1, 2**31 - 1)
_TEXTS = st.text(min_size=1)
_IDS = st.text("abcXYZ019-_", min_size=1, max_size=64)
_URLS = st.text(max_size=20).map("https://account.blob.core.windows.net/c?sig={}".format)

BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: _INTS,
    bool: st.booleans(),
    dt.timedelta: _TIMES,
}
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "id": _IDS,
    "task_ids": st.lists(_IDS, max_size=4),
    "command_line": _TEXTS,
    "display_name": st.text(max_size=1024),
    "required_slots": _COUNTS,
    "number_of_instances": _COUNTS,
    "max_task_retry_count": st.integers(-1, 2**31 - 1),
    "http_url": _URLS,
    "storage_container_url": _URLS,
    "container_url": _URLS,
    "auto_storage_container_name": _TEXTS,
    "file_mode": st.integers(0, 0o7777).map("{:04o}".format),
    "file_path": _TEXTS.filter(lambda text: ".." not in text),
    "username": _TEXTS,
    "password": _TEXTS,
}
# Which attributes a model has together: those that it must have, and those that it may.
TOGETHER = {
    "ResourceFile": [
        ("http_url file_path", "file_mode identity_reference"),
        ("storage_container_url", "file_path blob_prefix file_mode identity_reference"),
        ("auto_storage_container_name", "file_path blob_prefix file_mode"),
    ],
    "UserIdentity": [("username", ""), ("auto_user", "")],
    "ContainerRegistryReference": [
        ("username password", "registry_server"),
        ("identity_reference", "registry_server"),
    ],
}


class Attribute(NamedTuple):
    """An attribute of one of the SDK's models, by its annotation."""

    what: Any
    required: bool
    listed: bool

    @property
    def a_model(self) -> bool:
        return hasattr(self.what, "as_dict")

    @property
    def a_word(self) -> bool:
        return issubclass(self.what, Enum)


def attributes_of(model: type) -> dict[str, Attribute]:
    hints = typing.get_type_hints(model, None, {"_models": models})
    return {name: _attribute(hints[name]) for name in model.__annotations__}


def _attribute(hint: Any) -> Attribute:
    what, required = _unwrap(hint)
    if typing.get_origin(what) is list:
        return Attribute(_unwrap(typing.get_args(what)[0])[0], required, listed=True)
    return Attribute(what, required, listed=False)


def _unwrap(hint: Any) -> tuple[Any, bool]:
    """The type in a union, and whether there must be one; words may be given as texts too."""
    if typing.get_origin(hint) is not typing.Union:
        return hint, True
    parts = [part for part in typing.get_args(hint) if part is not NoneType]
    return parts[-1], NoneType not in typing.get_args(hint)


def made(model: Any) -> st.SearchStrategy[Any]:
    """Models of a class, with whatever attributes the service takes together."""
    attributes = attributes_of(model)
    must = " ".join(name for name, each in attributes.items() if each.required)
    may = " ".join(name for name, each in attributes.items() if not each.required)
    choices = [
        st.fixed_dictionaries(
            {name: value_of(name, attributes[name]) for name in musts.split()},
            optional={name: value_of(name, attributes[name]) for name in mays.split()},
        )
        for musts, mays in TOGETHER.get(model.__name__, [(must, may)])
    ]
    return st.one_of(choices).map(lambda given: model(**given))


def value_of(name: str, attribute: Attribute) -> st.SearchStrategy[Any]:
    if name in BY_NAME:
        return BY_NAME[name]
    one: st.SearchStrategy[Any]
    if attribute.a_model:
        one = st.deferred(lambda: made(attribute.what))
    elif attribute.a_word:
        one = st.sampled_from(attribute.what)
    else:
        one = BY_TYPE[attribute.what]
    if not attribute.listed:
        return one
    if name == "container_host_batch_bind_mounts":
        return st.lists(one, max_size=3, unique_by=lambda mount: mount.source)
    return st.lists(one, max_size=2)


TASKS = made(BatchTaskCreateContent).map(lambda model: json.loads(json.dumps(model.as_dict())))

thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def kind_of(attribute: Attribute) -> set[FieldKind]:
    if attribute.a_model:
        return {FieldKind.OBJECT}
    if attribute.a_word:
        return {FieldKind.ENUM}
    texts = {FieldKind.TEXT, FieldKind.ID, FieldKind.URL}
    kinds: dict[type, set[FieldKind]] = {
        str: texts,
        int: {FieldKind.INT},
        bool: {FieldKind.BOOL},
        dt.timedelta: {FieldKind.DURATION},
    }
    return kinds[attribute.what]


def pairs(
    model: type, definition: type[Definition], path: str = ""
) -> list[tuple[str, Attribute | None, Field | None]]:
    """The attributes of a model beside the fields of our definition, all the way down."""
    attributes = attributes_of(model)
    fields = {field.attribute: field for field in fields_of(definition).values()}
    found = []
    for name in attributes.keys() | fields.keys():
        attribute, field = attributes.get(name), fields.get(name)
        found.append((f"{path}{name}", attribute, field))
        if attribute and field and attribute.a_model and field.definition:
            found += pairs(attribute.what, field.definition, f"{path}{name}.")
    return found


@pytest.mark.parametrize(
    ("attribute", "field"),
    [
        pytest.param(attribute, field, id=path)
        for path, attribute, field in sorted(pairs(BatchTaskCreateContent, TaskAddParameter))
    ],
)
def test_the_sdk_has_the_same_fields(attribute: Attribute | None, field: Field | None) -> None:
    """
    Each field of the model is one of the SDK's, of the same kind, and required where that is.
    """
    assert attribute is not None
    assert field is not None
    assert field.kind in kind_of(attribute)
    assert (field.required, field.listed) == (attribute.required, attribute.listed)
    if field.words:
        assert {word.value for word in field.words} == {word.value for word in attribute.what}


@thorough
@given(task=TASKS)
def test_the_sdks_tasks_pass(task: dict[str, Any]) -> None:
    """
    What the SDK would send is a task, in whatever way its words and its JSON are spelt.
    """
    bodies = [
        encode(task),
        encode(respelt(task, str.upper)),
        json.dumps(task, indent=2).encode(),
        json.dumps({name: task[name] for name in reversed(task)}).encode(),
    ]
    findings = [look(body) for body in bodies]

    assert not any(finding.invalid for finding in findings)
    assert {finding.id for finding in findings} == {task["id"]}


@thorough
@given(task=TASKS, data=st.data())
def test_the_sdks_tasks_with_a_fault(task: dict[str, Any], data: st.DataObject) -> None:
    """
    With one field wrong, that field is named.
    """
    mutation = data.draw(st.sampled_from([*mutations(task)]))
    found = [(each.path, each.kind) for each in problems_of(mutation.task) if not each.warning]

    assert (mutation.path, mutation.kind) in found


@thorough
@given(task=TASKS, hide_secrets=st.booleans())
def test_the_sdks_tasks_are_known_again(task: dict[str, Any], *, hide_secrets: bool) -> None:
    """
    A task that the service shows, with all that it fills in, is the one that was sent; also if
    it keeps secrets to itself.
    """
    body = encode(task)
    shown = show_task(
        "https://here", Job("job-1", 10**17), StoredTask(10**17, body), hide_secrets=hide_secrets
    )

    assert differences(body, encode(shown)) == ()
