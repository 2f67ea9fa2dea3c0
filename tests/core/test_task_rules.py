"""Each rule beyond types and names: one task that keeps it, and one that does not."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from bulksubmit.core.model import Kind
from bulksubmit.core.taskcheck import JobFacts
from tests.core.whole_task import a_task, problems_of

URL = "https://account.blob.core.windows.net/c"
SAS = f"{URL}?sv=1&sig=s3cret"
IDENTITY = {"resourceId": "i"}
FILE = {"httpUrl": URL, "filePath": "f"}

# What jobs are by default, and one that takes everything.
STRICT = JobFacts(uses_task_dependencies=False, on_task_failure="noAction")
FREE = JobFacts(uses_task_dependencies=True, on_task_failure="performExitOptionsJobAction")


@dataclass(frozen=True)
class Rule:
    """A rule, by example.

    Attributes:
        name: For the test's name.
        good: Fields of a task that keeps it.
        bad: Fields of one that does not.
        path: The field of which that is said.
        kind: What kind of problem it is.
        words: What the text holds.
        warning: Whether it is only that.
        job: What the bad one's job takes; the good one's takes everything.
    """

    name: str
    good: dict[str, Any]
    bad: dict[str, Any]
    path: str
    kind: Kind
    words: str
    warning: bool = False
    job: JobFacts | None = field(default=None, repr=False)


def file(**fields: Any) -> dict[str, Any]:
    return {"resourceFiles": [FILE, fields]}


def output(**fields: Any) -> dict[str, Any]:
    destination = {"container": fields} if fields else {}
    options = {"uploadCondition": "taskSuccess"}
    return {
        "outputFiles": [{"filePattern": "*", "destination": destination, "uploadOptions": options}]
    }


def container(**fields: Any) -> dict[str, Any]:
    return {"containerSettings": {"imageName": "ubuntu", **fields}}


def lasting(value: str) -> dict[str, Any]:
    return {"constraints": {"maxWallClockTime": value, "retentionTime": "P7D"}}


def on_exit(**options: Any) -> dict[str, Any]:
    return {"exitConditions": {"exitCodes": [{"code": 1, "exitOptions": options}]}}


def ranged(start: int, end: int) -> dict[str, Any]:
    return {"dependsOn": {"taskIdRanges": [{"start": start, "end": end}]}}


def depending(*ids: str) -> dict[str, Any]:
    return {"dependsOn": {"taskIds": ids}}


def registry(**fields: Any) -> dict[str, Any]:
    return container(registry=fields)


_FILE, _MODE = "resourceFiles[1]", "resourceFiles[1].fileMode"
_BOTH, _VALUE, _LENGTH = Kind.COMBINATION, Kind.VALUE, Kind.LENGTH
_TIME = "constraints.maxWallClockTime"
_TO = "outputFiles[0].destination"
_INSTANCES = {"coordinationCommandLine": "c"}

# fmt: off
RULES = [
    Rule("id: not empty", {"id": "a"}, {"id": ""}, "id", _LENGTH, "id is empty; the service"),
    Rule("id: at most 64", {"id": "x" * 64}, {"id": "x" * 65}, "id", _LENGTH,
         "id has 65 characters; the service takes at most 64"),
    Rule("id: its characters", {"id": "aZ09_-"}, {"id": "a b"}, "id", _VALUE, "holds ' '; the"),
    Rule("id: ASCII", {"id": "a"}, {"id": "\u00e4"}, "id", _VALUE, "letters, digits, - and _"),
    Rule("id: no line end", {"id": "a"}, {"id": "a\n"}, "id", _VALUE, "holds '\\n'"),
    Rule("commandLine: not empty", {"commandLine": " "}, {"commandLine": ""}, "commandLine",
         _LENGTH, "commandLine is empty; it must not be"),
    Rule("displayName: at most 1024", {"displayName": "\u00e4" * 1024},
         {"displayName": "x" * 1025}, "displayName", _LENGTH, "has 1025 characters; the service"),
    Rule("requiredSlots: from 1", {"requiredSlots": 1}, {"requiredSlots": 0}, "requiredSlots",
         Kind.RANGE, "requiredSlots is 0; it must be at least 1"),
    Rule("requiredSlots: one for many nodes",
         {"requiredSlots": 1, "multiInstanceSettings": _INSTANCES},
         {"requiredSlots": 2, "multiInstanceSettings": _INSTANCES},
         "requiredSlots", _BOTH, "requiredSlots is 2 for a multi-instance task", warning=True),
    Rule("numberOfInstances: from 1",
         {"multiInstanceSettings": {"numberOfInstances": 1, **_INSTANCES}},
         {"multiInstanceSettings": {"numberOfInstances": 0, **_INSTANCES}},
         "multiInstanceSettings.numberOfInstances", Kind.RANGE, "must be at least 1"),
    Rule("maxTaskRetryCount: from -1", {"constraints": {"maxTaskRetryCount": -1}},
         {"constraints": {"maxTaskRetryCount": -2}}, "constraints.maxTaskRetryCount",
         Kind.RANGE, "is -2; it must be at least -1"),
    Rule("code: any int32", {"exitConditions": {"exitCodes": [
         {"code": -2**31, "exitOptions": {}}, {"code": 2**31 - 1, "exitOptions": {}}]}},
         {"exitConditions": {"exitCodes": [{"code": 2**31, "exitOptions": {}}]}},
         "exitConditions.exitCodes[0].code", Kind.RANGE, "must be at most 2147483647"),

    Rule("a file's source: not two", file(autoStorageContainerName="a"),
         file(autoStorageContainerName="a", storageContainerUrl=URL), _FILE, _BOTH,
         "gives autoStorageContainerName and storageContainerUrl; it takes exactly one of"),
    Rule("a file's source: one", file(storageContainerUrl=URL), file(filePath="f"), _FILE, _BOTH,
         "gives no source; it takes exactly one of"),
    Rule("filePath: with httpUrl", file(httpUrl=URL, filePath="f"), file(httpUrl=URL),
         f"{_FILE}.filePath", Kind.MISSING, "with httpUrl it must name the file"),
    Rule("filePath: optional otherwise", file(storageContainerUrl=URL), file(httpUrl=URL,
         filePath=""), f"{_FILE}.filePath", Kind.MISSING, "is missing"),
    Rule("filePath: stays inside", file(httpUrl=URL, filePath="a..b/..c/d"),
         file(httpUrl=URL, filePath="a/../../b"), f"{_FILE}.filePath", _VALUE, "holds '..'"),
    Rule("filePath: Windows too", file(httpUrl=URL, filePath="a\\b"),
         file(httpUrl=URL, filePath="..\\b"), f"{_FILE}.filePath", _VALUE, "holds '..'"),
    Rule("blobPrefix: with a container", file(autoStorageContainerName="a", blobPrefix="p"),
         file(**FILE, blobPrefix="p"), f"{_FILE}.blobPrefix", _BOTH, "is given with httpUrl"),
    Rule("identityReference: with a URL", file(**FILE, identityReference=IDENTITY),
         file(autoStorageContainerName="a", identityReference=IDENTITY),
         f"{_FILE}.identityReference", _BOTH, "is given with autoStorageContainerName"),
    Rule("httpUrl: absolute", file(httpUrl="HTTP://h/x y", filePath="f"),
         file(httpUrl="fake.url", filePath="f"), f"{_FILE}.httpUrl", _VALUE,
         'is "fake.url"; it must be an absolute http or https URL, such as'),
    Rule("storageContainerUrl: http", file(storageContainerUrl="https://h"),
         file(storageContainerUrl="ftp://h/x"), f"{_FILE}.storageContainerUrl", _VALUE, "http"),
    Rule("fileMode: octal", file(**FILE, fileMode="0770"), file(**FILE, fileMode="0788"), _MODE,
         _VALUE, "it must be a file mode in octal, such as 0770"),
    Rule("fileMode: at most 7777", file(**FILE, fileMode="07777"), file(**FILE, fileMode="70000"),
         _MODE, _VALUE, "octal"),
    Rule("commonResourceFiles: the same",
         {"multiInstanceSettings": {"commonResourceFiles": [FILE], **_INSTANCES}},
         {"multiInstanceSettings": {"commonResourceFiles": [{}], **_INSTANCES}},
         "multiInstanceSettings.commonResourceFiles[0]", _BOTH, "gives no source"),

    Rule("containerUrl: absolute", output(containerUrl=SAS), output(containerUrl="/c?sig=x"),
         f"{_TO}.container.containerUrl", _VALUE, 'is "/c?sig=***"; it must be an absolute'),
    Rule("containerUrl: signed", output(containerUrl=SAS), output(containerUrl=URL),
         f"{_TO}.container.containerUrl", _BOTH, "no sig= in it", warning=True),
    Rule("containerUrl: or an identity", output(containerUrl=URL, identityReference=IDENTITY),
         output(containerUrl=URL, identityReference=None), f"{_TO}.container.containerUrl", _BOTH,
         "there is no identityReference", warning=True),
    Rule("destination: somewhere", output(containerUrl=SAS), output(), _TO, _BOTH,
         "names no container", warning=True),

    Rule("userIdentity: not two", {"userIdentity": {"username": "u"}},
         {"userIdentity": {"username": "u", "autoUser": {}}}, "userIdentity", _BOTH,
         "gives both username and autoUser; it takes exactly one"),
    Rule("userIdentity: one", {"userIdentity": {"autoUser": {}}}, {"userIdentity": {}},
         "userIdentity", _BOTH, "gives no account; it takes exactly one"),

    Rule("registry: a name or an identity", registry(identityReference=IDENTITY),
         registry(identityReference=IDENTITY, username="u", password="p"),
         "containerSettings.registry", _BOTH, "identityReference beside username or password"),
    Rule("registry: a name and a password", registry(username="u", password="p"),
         registry(username="u"), "containerSettings.registry", _BOTH,
         "username and password not together", warning=True),
    Rule("mounts: no source twice",
         container(containerHostBatchBindMounts=[{"source": "Task"}, {"source": "Shared"}]),
         container(containerHostBatchBindMounts=[{"source": "Task"}, {}, {"source": "task"}]),
         "containerSettings.containerHostBatchBindMounts[2].source", _BOTH, "as at [0]"),
    Rule("mounts: none", container(containerHostBatchBindMounts=[]),
         container(containerHostBatchBindMounts=[{"source": "Home"}]),
         "containerSettings.containerHostBatchBindMounts[0].source", _VALUE, "VfsMounts"),
    Rule("access: job only", {"authenticationTokenSettings": {"access": ["Job"]}},
         {"authenticationTokenSettings": {"access": ["job", "pool"]}},
         "authenticationTokenSettings.access[1]", _VALUE, 'is "pool"; it takes job'),

    Rule("taskIds: 64,000 characters", depending(*["x" * 64] * 1000),
         depending(*["x" * 64] * 1000, "y"), "dependsOn.taskIds", _LENGTH,
         "has 64001 characters in all; the service takes at most 64000"),
    Rule("taskIds: such as tasks have", depending("a", "b"), depending("a", "b c"),
         "dependsOn.taskIds[1]", _VALUE, "no task can have as its ID", warning=True),
    Rule("taskIdRanges: not empty", ranged(3, 3), ranged(3, 2), "dependsOn.taskIdRanges[0].end",
         Kind.RANGE, "is 2, below its start, 3", warning=True),
    Rule("exitCodeRanges: not empty",
         {"exitConditions": {"exitCodeRanges": [{"start": -1, "end": 0, "exitOptions": {}}]}},
         {"exitConditions": {"exitCodeRanges": [{"start": 1, "end": 0, "exitOptions": {}}]}},
         "exitConditions.exitCodeRanges[0].end", Kind.RANGE, "below its start", warning=True),

    Rule("duration: not weeks", lasting("P2DT3H4M5.1234567S"), lasting("P1W"), _TIME, _VALUE,
         'is "P1W"; it must be an ISO 8601 duration, such as PT30M'),
    Rule("duration: not below zero", lasting("PT0S"), lasting("-PT1S"), _TIME, _VALUE,
         "below zero"),
    Rule("duration: at most a TimeSpan", lasting("P10675199DT2H48M5.4775807S"),
         lasting("P10675199DT2H48M5.4775808S"), _TIME, _VALUE,
         "at most P10675199DT2H48M5.4775807S"),
    Rule("retentionTime: a duration", {"constraints": {"retentionTime": "P1Y2M"}},
         {"constraints": {"retentionTime": "1:00:00"}}, "constraints.retentionTime", _VALUE, "ISO"),

    Rule("dependsOn: in such a job", depending("b"), depending("b"), "dependsOn", Kind.JOB,
         "the job's usesTaskDependencies is false", job=STRICT),
    Rule("dependencyAction: in such a job", on_exit(dependencyAction="satisfy"),
         on_exit(dependencyAction="satisfy"),
         "exitConditions.exitCodes[0].exitOptions.dependencyAction", Kind.JOB,
         "usesTaskDependencies is false", job=STRICT),
    Rule("jobAction: in such a job", on_exit(jobAction="none"), on_exit(jobAction="none"),
         "exitConditions.exitCodes[0].exitOptions.jobAction", Kind.JOB,
         "the job's onTaskFailure is noaction", job=STRICT),
]
# fmt: on


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_kept(rule: Rule) -> None:
    """
    Nothing is to be said of a task that keeps the rule.
    """
    assert problems_of(a_task(**rule.good), job=FREE) == ()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_broken(rule: Rule) -> None:
    """
    That a task breaks the rule is said of the field, and nothing else is.
    """
    (problem,) = problems_of(a_task(**rule.bad), job=rule.job)

    assert (problem.path, problem.kind) == (rule.path, rule.kind)
    assert rule.words in problem.text
    assert problem.warning is rule.warning


def test_a_job_is_looked_at_only_where_it_is_asked_for() -> None:
    """
    A task that wants nothing of its job is right in any, also if it has exit conditions.
    """
    for fields in ({}, on_exit(), {"commandLine": "dependsOn jobAction"}, {"dependsOn": None}):
        assert problems_of(a_task(**fields), job=STRICT) == ()


@pytest.mark.parametrize("wrong", [5, "nowhere"])
def test_rules_look_at_what_is_right(wrong: object) -> None:
    """
    A field that is wrong by itself is not the cause of further complaints; of the others, each
    rule still says what it has to say.
    """
    problems = problems_of(
        a_task(resourceFiles=[{"httpUrl": wrong, "blobPrefix": "p"}, {"filePath": ".."}])
    )

    assert [problem.path for problem in problems] == [
        "resourceFiles[0].httpUrl",
        "resourceFiles[1]",
        "resourceFiles[1].filePath",
    ]


def test_all_problems_at_once() -> None:
    """
    A task is mended once, not once for every thing that is wrong with it.
    """
    problems = problems_of(
        {
            "commandline": "c",
            "requiredSlots": "1",
            "resourceFiles": [{"httpUrl": "x", "filePath": ".."}, 7],
            "userIdentity": {"username": "u", "autoUser": {"scope": "pol"}},
            **output(containerUrl=URL),
        }
    )

    assert [(problem.path, problem.kind) for problem in problems if not problem.warning] == [
        ("commandline", Kind.UNKNOWN),
        ("", Kind.MISSING),
        ("resourceFiles[0].httpUrl", Kind.VALUE),
        ("resourceFiles[0].filePath", Kind.VALUE),
        ("resourceFiles[1]", Kind.TYPE),
        ("requiredSlots", Kind.TYPE),
        ("userIdentity.autoUser.scope", Kind.VALUE),
        ("userIdentity", Kind.COMBINATION),
    ]
    assert [problem.path for problem in problems if problem.warning] == [
        "outputFiles[0].destination.container.containerUrl"
    ]
