"""Each field by itself: its type, its range, its words, its name, and whether it must be there."""

from collections.abc import Callable

import pytest

from bulksubmit.core import taskspec, taskterms
from bulksubmit.core.model import Kind
from bulksubmit.core.taskfields import fields_of, kind_at, places
from bulksubmit.core.taskspec import (
    ContainerRegistry,
    TaskAddCollectionParameter,
    TaskAddParameter,
    UserIdentity,
)
from bulksubmit.core.taskterms import Definition, FieldKind, RuledDefinition
from tests.core.whole_task import (
    WHOLE,
    Mutation,
    Spot,
    dropped,
    mutations,
    problems_of,
    replaced,
    respelt,
    spots,
)

DEFINITIONS = {
    each
    for each in vars(taskspec).values()
    if isinstance(each, type) and issubclass(each, Definition)
} - {Definition, RuledDefinition}

# Of the issue: each definition of the operation's request, by its REST name.
NAMES = """
    TaskAddParameter AffinityInformation ApplicationPackageReference AuthenticationTokenSettings
    AutoUserSpecification ComputeNodeIdentityReference ContainerHostBatchBindMountEntry
    ContainerRegistry EnvironmentSetting ExitCodeMapping ExitCodeRangeMapping ExitConditions
    ExitOptions HttpHeader MultiInstanceSettings OutputFile OutputFileBlobContainerDestination
    OutputFileDestination OutputFileUploadOptions ResourceFile TaskAddCollectionParameter
    TaskConstraints TaskContainerSettings TaskDependencies TaskIdRange UserIdentity
"""
WORDS = {
    "AccessScope": "job",
    "AutoUserScope": "task pool",
    "ElevationLevel": "nonadmin admin",
    "ContainerHostDataPath": "Shared Startup VfsMounts Task JobPrep Applications",
    "ContainerWorkingDirectory": "taskWorkingDirectory containerImageDefault",
    "DependencyAction": "satisfy block",
    "JobAction": "none disable terminate",
    "OutputFileUploadCondition": "tasksuccess taskfailure taskcompletion",
}


def test_every_definition_is_there() -> None:
    """
    Each definition of the reference has a class of its name, and each of its words is known.
    """
    assert {each.__name__ for each in DEFINITIONS} == set(NAMES.split())
    for name, words in WORDS.items():
        assert [word.value for word in getattr(taskterms, name)] == words.split()


def test_the_whole_task_gives_every_field() -> None:
    """
    Nothing can be forgotten below: the task gives every field of every definition, save for two
    which it could not have beside others.
    """
    given = {(spot.owner, spot.field.name) for spot in spots(WHOLE)}
    known = {
        (definition, name)
        for definition in DEFINITIONS - {TaskAddCollectionParameter}
        for name in fields_of(definition)
    }

    assert known - given == {(ContainerRegistry, "identityReference"), (UserIdentity, "username")}


def test_the_whole_task_is_right() -> None:
    """
    Nothing is to be said of it, in whatever way it is spelt.
    """
    assert problems_of(WHOLE) == ()


@pytest.mark.parametrize("mutation", [*mutations(WHOLE)], ids=lambda mutation: mutation.name)
def test_one_thing_wrong(mutation: Mutation) -> None:
    """
    Whatever is wrong with one field is said of that field. A field that is misspelt may be
    missing too, and then that is said as well; what should be there is suggested.
    """
    problems = problems_of(mutation.task)
    found = {problem.path: problem for problem in problems if not problem.warning}

    assert found[mutation.path].kind is mutation.kind
    rest = [problem for path, problem in found.items() if path != mutation.path]
    if mutation.kind is Kind.UNKNOWN:
        name = mutation.path.rpartition(".")[2][:-1]
        assert f"did you mean {name}?" in found[mutation.path].text
        assert {problem.kind for problem in rest} <= {Kind.MISSING, Kind.COMBINATION}
    else:
        assert rest == []


OPTIONAL = [spot for spot in spots(WHOLE) if not spot.item and not spot.field.required]


@pytest.mark.parametrize("spot", OPTIONAL, ids=lambda spot: spot.path)
def test_null_is_no_field(spot: Spot) -> None:
    """
    A null where a field may be absent is as good as none: also for what several must be.
    """
    assert problems_of(replaced(WHOLE, spot, None)) == problems_of(dropped(WHOLE, spot))


@pytest.mark.parametrize("respell", [str.upper, str.lower, str.title])
def test_words_in_any_case(respell: Callable[[str], str]) -> None:
    """
    The service takes its words in any case.
    """
    assert problems_of(respelt(WHOLE, respell)) == ()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("id", FieldKind.ID),
        ("commandLine", FieldKind.TEXT),
        ("requiredSlots", FieldKind.INT),
        ("constraints", FieldKind.OBJECT),
        ("constraints.maxTaskRetryCount", FieldKind.INT),
        ("constraints.retentionTime", FieldKind.DURATION),
        ("resourceFiles.httpUrl", FieldKind.URL),
        ("dependsOn.taskIds", FieldKind.ID),
        ("containerSettings.containerHostBatchBindMounts.isReadOnly", FieldKind.BOOL),
        ("userIdentity.autoUser.scope", FieldKind.ENUM),
        ("nothing", None),
        ("id.nothing", None),
        ("constraints.nothing.more", None),
    ],
)
def test_kind_at(path: str, kind: FieldKind | None) -> None:
    """
    What a field takes is found by its path, indexes left out.
    """
    assert kind_at(path.split(".")) is kind


def test_places() -> None:
    """
    Where a field of a name is, whatever its spelling.
    """
    assert places()["maxtaskretrycount"] == ["constraints.maxTaskRetryCount"]
    assert "resourceFiles[].httpUrl" in places()["httpurl"]
    assert len(fields_of(TaskAddParameter)) == 16
