"""A task that gives every field of every definition, and what can be done to such a task."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bulksubmit.core.model import Kind, Problem
from bulksubmit.core.taskcheck import Checker, Finding, JobFacts, explain
from bulksubmit.core.taskfields import Field, fields_of
from bulksubmit.core.taskspec import TaskAddParameter
from bulksubmit.core.taskterms import Definition, FieldKind

_URL = "https://account.blob.core.windows.net/container"
_IDENTITY = {"resourceId": "/subscriptions/s/identities/i"}

# But two, which exclude others: test_task_rules has those.
WHOLE: dict[str, Any] = {
    "id": "task-1",
    "commandLine": "/bin/sh -c 'echo \u00e9'",
    "displayName": "The first",
    "containerSettings": {
        "imageName": "ubuntu",
        "containerRunOptions": "--rm",
        "registry": {"username": "me", "password": "hush", "registryServer": "docker.io"},
        "workingDirectory": "containerImageDefault",
        "containerHostBatchBindMounts": [
            {"source": "Task", "isReadOnly": True},
            {"source": "VfsMounts", "isReadOnly": False},
        ],
    },
    "exitConditions": {
        "exitCodes": [{"code": 3, "exitOptions": {"jobAction": "terminate"}}],
        "exitCodeRanges": [
            {"start": 4, "end": 9, "exitOptions": {"dependencyAction": "satisfy"}},
        ],
        "preProcessingError": {"jobAction": "none", "dependencyAction": "block"},
        "fileUploadError": {"jobAction": "disable"},
        "default": {},
    },
    "resourceFiles": [
        {"httpUrl": f"{_URL}/a?sv=1&sig=abc", "filePath": "in/a", "fileMode": "0770"},
        {"storageContainerUrl": _URL, "blobPrefix": "p", "identityReference": {**_IDENTITY}},
        {"autoStorageContainerName": "mine", "filePath": "in"},
    ],
    "outputFiles": [
        {
            "filePattern": "**/*.txt",
            "destination": {
                "container": {
                    "containerUrl": _URL,
                    "path": "out",
                    "identityReference": {**_IDENTITY},
                    "uploadHeaders": [{"name": "x-ms-blob-type", "value": "BlockBlob"}],
                }
            },
            "uploadOptions": {"uploadCondition": "taskcompletion"},
        }
    ],
    "environmentSettings": [{"name": "MODE", "value": "fast"}, {"name": "EMPTY"}],
    "affinityInfo": {"affinityId": "node-1"},
    "constraints": {"maxWallClockTime": "PT1H", "retentionTime": "P7D", "maxTaskRetryCount": -1},
    "requiredSlots": 1,
    "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
    "multiInstanceSettings": {
        "coordinationCommandLine": "echo",
        "numberOfInstances": 3,
        "commonResourceFiles": [{"httpUrl": f"{_URL}/common", "filePath": "common"}],
    },
    "dependsOn": {"taskIds": ["task-0"], "taskIdRanges": [{"start": 1, "end": 5}]},
    "applicationPackageReferences": [{"applicationId": "blender", "version": "4"}],
    "authenticationTokenSettings": {"access": ["job"]},
}

_NOT_OF_KIND: dict[FieldKind, object] = {
    FieldKind.INT: "5",
    FieldKind.BOOL: "true",
    FieldKind.OBJECT: "text",
}


def a_task(**fields: object) -> dict[str, Any]:
    """A small task with some fields more, or others."""
    return {"id": "a", "commandLine": "c", **fields}


def encode(task: object) -> bytes:
    """As compact JSON, which the quick way is meant for."""
    return json.dumps(task, ensure_ascii=False, separators=(",", ":")).encode()


def look(body: bytes, *, allow_unknown: bool = False, job: JobFacts | None = None) -> Finding:
    """What both ways of checking say of a body: the same."""
    slow = explain(body, allow_unknown=allow_unknown, job=job)
    ids, quick = Checker(allow_unknown=allow_unknown, job=job).check([body])

    assert quick == ({0: slow} if slow.problems else {})
    assert ids == [slow.id]
    for problem in slow.problems:
        assert problem.text.startswith(problem.path)
        assert problem.text.encode().decode().isprintable()
    return slow


def problems_of(task: object, **kwargs: Any) -> tuple[Problem, ...]:
    """What is to be said of a task."""
    return look(encode(task), **kwargs).problems


@dataclass(frozen=True)
class Spot:
    """A place in a task where something is given.

    Attributes:
        steps: The keys and indexes that lead there.
        field: What belongs there.
        owner: Whose field that is.
        item: Whether it is an item of the field's list, not the field itself.
    """

    steps: tuple[str | int, ...]
    field: Field
    owner: type[Definition]
    item: bool = False

    @property
    def path(self) -> str:
        """As a Problem names it."""
        return path_of(self.steps)

    @property
    def a_word(self) -> bool:
        """Whether one of a set of words is given here."""
        return self.field.kind is FieldKind.ENUM and (self.item or not self.field.listed)


def path_of(steps: tuple[str | int, ...]) -> str:
    """Keys and indexes as a Problem names them."""
    words = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(words).removeprefix(".")


def spots(
    members: dict[str, Any],
    definition: type[Definition] = TaskAddParameter,
    above: tuple[str | int, ...] = (),
) -> Iterator[Spot]:
    """All places in a task where something is given."""
    for name, value in members.items():
        field = fields_of(definition)[name]
        steps = (*above, name)
        yield Spot(steps, field, definition)
        items = [
            ((*steps, place), item) for place, item in enumerate(value if field.listed else [])
        ]
        yield from (Spot(place, field, definition, item=True) for place, _ in items)
        if field.definition:
            for place, item in items if field.listed else [(steps, value)]:
                yield from spots(item, field.definition, place)


@dataclass(frozen=True)
class Mutation:
    """A task with one thing wrong.

    Attributes:
        name: What was done to it, and where.
        task: It.
        path: Where the problem is.
        kind: What kind of problem it is.
    """

    name: str
    task: dict[str, Any]
    path: str
    kind: Kind


def mutations(task: dict[str, Any]) -> Iterator[Mutation]:
    """Whatever makes one field of a task wrong."""
    for spot in spots(task):
        field, path = spot.field, spot.path
        wrong = {} if field.listed and not spot.item else _NOT_OF_KIND.get(field.kind, 5)
        yield Mutation(f"type {path}", replaced(task, spot, wrong), path, Kind.TYPE)
        if spot.a_word:
            yield Mutation(f"word {path}", replaced(task, spot, "poool"), path, Kind.VALUE)
        if field.kind is FieldKind.INT:
            for value in (2**31, -(2**31) - 1, 10**100):
                name = f"range {path} {value:.0e}"
                yield Mutation(name, replaced(task, spot, value), path, Kind.RANGE)
        if spot.item:
            yield Mutation(f"null {path}", replaced(task, spot, None), path, Kind.TYPE)
            continue
        misspelt = (*spot.steps[:-1], field.name + field.name[-1])
        renamed = dropped(task, spot)
        _owner(renamed, misspelt)[misspelt[-1]] = _owner(task, spot.steps)[field.name]
        yield Mutation(f"misspelt {path}", renamed, path_of(misspelt), Kind.UNKNOWN)
        if field.required:
            yield Mutation(f"missing {path}", dropped(task, spot), path, Kind.MISSING)
            yield Mutation(f"null {path}", replaced(task, spot, None), path, Kind.TYPE)


def _owner(task: dict[str, Any], steps: tuple[str | int, ...]) -> Any:
    owner: Any = task
    for step in steps[:-1]:
        owner = owner[step]
    return owner


def respelt(task: dict[str, Any], respell: Callable[[str], str]) -> dict[str, Any]:
    """The task, with its words in another case."""
    for spot in spots(task):
        if spot.a_word:
            task = replaced(task, spot, respell(_owner(task, spot.steps)[spot.steps[-1]]))
    return task


def replaced(task: dict[str, Any], spot: Spot, value: object) -> dict[str, Any]:
    """The task, with something else at a place."""
    changed = copy.deepcopy(task)
    _owner(changed, spot.steps)[spot.steps[-1]] = value
    return changed


def dropped(task: dict[str, Any], spot: Spot) -> dict[str, Any]:
    """The task, with nothing at a place."""
    changed = copy.deepcopy(task)
    del _owner(changed, spot.steps)[spot.steps[-1]]
    return changed
