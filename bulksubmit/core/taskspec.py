"""The service's task model: every definition of Task - Add Collection, and every rule of it.

Each definition bears its REST name, and its fields are the wire's in snake case; those of the
answer are in ``model``. Where a rule comes from:

    REST      the REST reference (2024-07-01.20.0): types, requirements, descriptions
    recorded  seen in recorded traffic of the service
    inferred  follows from these, but nobody states it

What concerns one field alone stands in its type. What concerns several, or needs a
computation, is said by ``faults()``, which runs whenever a definition is made: when it is
decoded, and when ``taskcheck`` puts one together from what is right of a task that is wrong.

Unknown fields are skipped here. A task that is decoded and encoded again is shorter by them:
that is how ``taskcheck`` finds them, and keys that are given twice. A null is as good as no
field, save for a required one.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import UNSET, Meta

from bulksubmit.core.model import Kind
from bulksubmit.core.taskterms import (
    AccessScope,
    AutoUserScope,
    ContainerHostDataPath,
    ContainerWorkingDirectory,
    Count,
    Definition,
    DependencyAction,
    Duration,
    ElevationLevel,
    Fault,
    FieldKind,
    FileMode,
    Int32,
    JobAction,
    Maybe,
    OutputFileUploadCondition,
    RuledDefinition,
    Secret,
    Url,
    duration_ticks,
    is_file_mode,
    is_url,
)

ID_LENGTH_MAX = 64  # REST, TaskAddParameter.id.
TASKS_MAX = 100  # REST, TaskAddCollectionParameter.value.
TASK_IDS_LENGTH_MAX = 64_000  # REST, TaskDependencies.taskIds: of all of them together.

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IDS = re.compile(r"(?:[A-Za-z0-9_-]{1,64}\n)*")

_NO_DURATION = (
    " is {}; it must be an ISO 8601 duration, such as PT30M, P1DT12H or P7D, in years to "
    "seconds (no weeks, nothing below zero), at most P10675199DT2H48M5.4775807S"
)


# --- The definitions, those first that others are made of --------------------------------------


class AffinityInformation(Definition, frozen=True, gc=False):
    """The node on which to run if possible."""

    affinity_id: str


class ApplicationPackageReference(Definition, frozen=True, gc=False):
    """A package to deploy; one that does not exist fails the task later."""

    application_id: str
    version: Maybe[str] = UNSET


class AuthenticationTokenSettings(Definition, frozen=True, gc=False):
    """Gives the task a token for operations of the service."""

    access: Maybe[tuple[AccessScope, ...]] = UNSET


class AutoUserSpecification(Definition, frozen=True, gc=False):
    """An account that the service makes."""

    scope: Maybe[AutoUserScope] = UNSET
    elevation_level: Maybe[ElevationLevel] = UNSET


class ComputeNodeIdentityReference(Definition, frozen=True, gc=False):
    """A user-assigned identity of the pool, by its ARM ID."""

    resource_id: Maybe[str] = UNSET


class ContainerHostBatchBindMountEntry(Definition, frozen=True, gc=False):
    """A folder of the node to mount."""

    source: Maybe[ContainerHostDataPath] = UNSET
    is_read_only: Maybe[bool] = UNSET


class ContainerRegistry(RuledDefinition, frozen=True, gc=False):
    """Where a container's image comes from."""

    username: Maybe[str] = UNSET
    password: Maybe[Secret] = UNSET
    registry_server: Maybe[str] = UNSET
    identity_reference: Maybe[ComputeNodeIdentityReference] = UNSET

    def faults(self) -> Sequence[Fault]:
        """An identity instead of a name and password (REST); both of these (inferred)."""
        of = ("username", "password", "identity_reference")
        named, secured = bool(self.username), bool(self.password)
        if self.identity_reference and (named or secured):
            says = (
                " gives identityReference beside username or password; "
                "it takes either an identity or a name with its password"
            )
            return (Fault("", Kind.COMBINATION, says, of),)
        if named != secured:
            says = (
                " gives username and password not together; "
                "a registry that wants one wants the other too"
            )
            return (Fault("", Kind.COMBINATION, says, of, warning=True),)
        return ()


class EnvironmentSetting(Definition, frozen=True, gc=False):
    """A variable of the task's environment."""

    name: str
    value: Maybe[Secret] = UNSET


class ExitOptions(Definition, frozen=True, gc=False):
    """What follows from how a task ended. Both fields depend on the job: see taskcheck."""

    job_action: Maybe[JobAction] = UNSET
    dependency_action: Maybe[DependencyAction] = UNSET


class ExitCodeMapping(Definition, frozen=True, gc=False):
    """What follows from one exit code."""

    code: Int32
    exit_options: ExitOptions


class ExitCodeRangeMapping(RuledDefinition, frozen=True, gc=False):
    """What follows from some exit codes, ``end`` included."""

    start: Int32
    end: Int32
    exit_options: ExitOptions

    def faults(self) -> Sequence[Fault]:
        """A range holds something (inferred)."""
        return _empty_range(self.start, self.end)


class ExitConditions(Definition, frozen=True, gc=False):
    """What follows from how a task ended."""

    exit_codes: Maybe[tuple[ExitCodeMapping, ...]] = UNSET
    exit_code_ranges: Maybe[tuple[ExitCodeRangeMapping, ...]] = UNSET
    pre_processing_error: Maybe[ExitOptions] = UNSET
    file_upload_error: Maybe[ExitOptions] = UNSET
    default: Maybe[ExitOptions] = UNSET


class HttpHeader(Definition, frozen=True, gc=False):
    """A header of an upload."""

    name: str
    value: Maybe[Secret] = UNSET


class OutputFileBlobContainerDestination(RuledDefinition, frozen=True, gc=False):
    """A container of blobs to upload to."""

    container_url: Url
    path: Maybe[str] = UNSET
    identity_reference: Maybe[ComputeNodeIdentityReference] = UNSET
    upload_headers: Maybe[tuple[HttpHeader, ...]] = UNSET

    def __post_init__(self) -> None:
        if "sig=" not in self.container_url or not is_url(self.container_url):
            RuledDefinition.__post_init__(self)

    def faults(self) -> Sequence[Fault]:
        """A signature that permits to write, or an identity (REST); it fails only at the end."""
        if not is_url(self.container_url):
            return (_not_of_its_form("containerUrl", "container_url"),)
        if self.identity_reference or "sig=" in self.container_url:
            return ()
        says = (
            " has no shared access signature (no sig= in it), and there is no identityReference; "
            "without either, nothing can be uploaded"
        )
        of = ("container_url", "identity_reference")
        return (Fault("containerUrl", Kind.COMBINATION, says, of, warning=True),)


class OutputFileDestination(RuledDefinition, frozen=True, gc=False):
    """Where to upload."""

    container: Maybe[OutputFileBlobContainerDestination] = UNSET

    def __post_init__(self) -> None:
        if not self.container:
            RuledDefinition.__post_init__(self)

    def faults(self) -> Sequence[Fault]:
        """There is no other destination (inferred)."""
        if self.container:
            return ()
        says = " names no container; there is no other destination"
        return (Fault("", Kind.COMBINATION, says, ("container",), warning=True),)


class OutputFileUploadOptions(Definition, frozen=True, gc=False):
    """When to upload."""

    upload_condition: OutputFileUploadCondition


class OutputFile(Definition, frozen=True, gc=False):
    """Files to upload from the node."""

    file_pattern: str
    destination: OutputFileDestination
    upload_options: OutputFileUploadOptions


class ResourceFile(RuledDefinition, frozen=True, gc=False):
    """A file, or files, to download to the node."""

    auto_storage_container_name: Maybe[str] = UNSET
    storage_container_url: Maybe[Url] = UNSET
    http_url: Maybe[Url] = UNSET
    file_path: Maybe[str] = UNSET
    blob_prefix: Maybe[str] = UNSET
    file_mode: Maybe[FileMode] = UNSET
    identity_reference: Maybe[ComputeNodeIdentityReference] = UNSET

    def __post_init__(self) -> None:
        url, path, mode = self.http_url, self.file_path, self.file_mode
        # The usual file: a URL and a path.
        if (
            not (url and path and is_url(url) and ".." not in path)
            or (isinstance(mode, str) and not is_file_mode(mode))
            or self.storage_container_url
            or self.auto_storage_container_name
            or self.blob_prefix
        ):
            RuledDefinition.__post_init__(self)

    def faults(self) -> Sequence[Fault]:
        """Which field goes with which (REST)."""
        return tuple(self._faults())

    def _faults(self) -> Iterator[Fault]:
        url, container_url, mode = self.http_url, self.storage_container_url, self.file_mode
        if isinstance(url, str) and not is_url(url):
            yield _not_of_its_form("httpUrl", "http_url")
        if isinstance(container_url, str) and not is_url(container_url):
            yield _not_of_its_form("storageContainerUrl", "storage_container_url")
        if isinstance(mode, str) and not is_file_mode(mode):
            yield _not_of_its_form("fileMode", "file_mode")
        of = ("auto_storage_container_name", "storage_container_url", "http_url")
        names = ("autoStorageContainerName", "storageContainerUrl", "httpUrl")
        values = (self.auto_storage_container_name, self.storage_container_url, self.http_url)
        given = [name for name, value in zip(names, values, strict=True) if value]
        if len(given) != 1:
            says = (
                f" gives {' and '.join(given) or 'no source'}; it takes exactly one of "
                "autoStorageContainerName, storageContainerUrl and httpUrl"
            )
            yield Fault("", Kind.COMBINATION, says, of)
        if self.http_url and not self.file_path:
            says = " is missing; with httpUrl it must name the file to download to"
            yield Fault("filePath", Kind.MISSING, says, ("http_url", "file_path"))
        if self.file_path and ".." in re.split(r"[/\\]", self.file_path):
            says = " holds '..'; it must be a path inside the task's working directory"
            yield Fault("filePath", Kind.VALUE, says, ("file_path",), value=self.file_path)
        if self.blob_prefix and given == ["httpUrl"]:
            says = (
                " is given with httpUrl; it goes with autoStorageContainerName or "
                "storageContainerUrl"
            )
            yield Fault("blobPrefix", Kind.COMBINATION, says, ("blob_prefix", *of))
        if self.identity_reference and given == ["autoStorageContainerName"]:
            says = (
                " is given with autoStorageContainerName; it goes with storageContainerUrl or "
                "httpUrl"
            )
            yield Fault("identityReference", Kind.COMBINATION, says, ("identity_reference", *of))


class MultiInstanceSettings(Definition, frozen=True, gc=False):
    """Makes the task run on several nodes."""

    coordination_command_line: str
    number_of_instances: Maybe[Count] = UNSET  # At least 1: inferred from its default.
    common_resource_files: Maybe[tuple[ResourceFile, ...]] = UNSET


class TaskConstraints(RuledDefinition, frozen=True, gc=False):
    """How long and how often."""

    max_wall_clock_time: Maybe[Duration] = UNSET
    retention_time: Maybe[Duration] = UNSET
    # REST: -1 for no limit.
    max_task_retry_count: Maybe[Annotated[int, Meta(ge=-1, le=2**31 - 1)]] = UNSET

    def __post_init__(self) -> None:
        wall, kept = self.max_wall_clock_time, self.retention_time
        if (isinstance(wall, str) and duration_ticks(wall) is None) or (
            isinstance(kept, str) and duration_ticks(kept) is None
        ):
            RuledDefinition.__post_init__(self)

    def faults(self) -> Sequence[Fault]:
        """Durations are .NET TimeSpans: see duration_ticks."""
        wall, kept = self.max_wall_clock_time, self.retention_time
        faults: list[Fault] = []
        if isinstance(wall, str) and duration_ticks(wall) is None:
            of = ("max_wall_clock_time",)
            faults.append(Fault("maxWallClockTime", Kind.VALUE, _NO_DURATION, of, value=wall))
        if isinstance(kept, str) and duration_ticks(kept) is None:
            of = ("retention_time",)
            faults.append(Fault("retentionTime", Kind.VALUE, _NO_DURATION, of, value=kept))
        return faults


class TaskContainerSettings(RuledDefinition, frozen=True, gc=False):
    """The container to run in."""

    image_name: str
    container_run_options: Maybe[str] = UNSET
    registry: Maybe[ContainerRegistry] = UNSET
    working_directory: Maybe[ContainerWorkingDirectory] = UNSET
    # REST: none mounts everything, an empty list nothing.
    container_host_batch_bind_mounts: Maybe[tuple[ContainerHostBatchBindMountEntry, ...]] = UNSET

    def faults(self) -> Sequence[Fault]:
        """No source twice (REST, example TaskAdd_..._DuplicateSources, which is refused)."""
        faults: list[Fault] = []
        seen: dict[ContainerHostDataPath, int] = {}
        for place, mount in enumerate(self.container_host_batch_bind_mounts or ()):
            if mount.source and seen.setdefault(mount.source, place) != place:
                says = (
                    f' is "{mount.source}", as at [{seen[mount.source]}]; '
                    "a source is mounted once, so leave one of the two out"
                )
                path = f"containerHostBatchBindMounts[{place}].source"
                of = ("container_host_batch_bind_mounts",)
                faults.append(Fault(path, Kind.COMBINATION, says, of, value=mount.source.value))
        return faults


class TaskIdRange(RuledDefinition, frozen=True, gc=False):
    """The tasks whose IDs are whole numbers from ``start`` to ``end``, included."""

    start: Int32
    end: Int32

    def faults(self) -> Sequence[Fault]:
        """A range holds something (inferred)."""
        return _empty_range(self.start, self.end)


class TaskDependencies(RuledDefinition, frozen=True, gc=False):
    """Which tasks must succeed first."""

    task_ids: Maybe[tuple[Annotated[str, Meta(extra={"kind": FieldKind.ID})], ...]] = UNSET
    task_id_ranges: Maybe[tuple[TaskIdRange, ...]] = UNSET

    def faults(self) -> Sequence[Fault]:
        """IDs of all together at most 64,000 characters (REST), and such as a task can have."""
        ids = self.task_ids or ()
        length = sum(map(len, ids))
        if length <= TASK_IDS_LENGTH_MAX and ids_are_valid(ids):
            return ()
        faults: list[Fault] = []
        if length > TASK_IDS_LENGTH_MAX:
            says = (
                f" has {length} characters in all; the service takes at most "
                f"{TASK_IDS_LENGTH_MAX}: taskIdRanges names many tasks shortly"
            )
            faults.append(Fault("taskIds", Kind.LENGTH, says, ("task_ids",)))
        for place, task_id in enumerate(ids):
            if explain_id(task_id):
                says = " is {}, which no task can have as its ID, so this one would wait for ever"
                path = f"taskIds[{place}]"
                fault = Fault(path, Kind.VALUE, says, ("task_ids",), warning=True, value=task_id)
                faults.append(fault)
        return faults


class UserIdentity(RuledDefinition, frozen=True, gc=False):
    """Under which account to run."""

    username: Maybe[str] = UNSET
    auto_user: Maybe[AutoUserSpecification] = UNSET

    def __post_init__(self) -> None:
        if bool(self.username) == bool(self.auto_user):
            RuledDefinition.__post_init__(self)

    def faults(self) -> Sequence[Fault]:
        """Exactly one of the two (REST)."""
        if bool(self.username) != bool(self.auto_user):
            return ()
        given = "both username and autoUser" if self.username else "no account"
        says = f" gives {given}; it takes exactly one of username and autoUser"
        return (Fault("", Kind.COMBINATION, says, ("username", "auto_user")),)


class TaskAddParameter(Definition, frozen=True, gc=False):
    """A task.

    Its ID's form is checked apart, as that is quick for many at once; and faults() is asked for by
    whoever makes one, as a call for each would take a third of the time that decoding it takes.
    """

    id: Annotated[str, Meta(extra={"kind": FieldKind.ID})]
    # REST: required; that it may not be empty is inferred.
    command_line: Annotated[str, Meta(min_length=1)]
    display_name: Maybe[Annotated[str, Meta(max_length=1024)]] = UNSET
    container_settings: Maybe[TaskContainerSettings] = UNSET
    exit_conditions: Maybe[ExitConditions] = UNSET
    resource_files: Maybe[tuple[ResourceFile, ...]] = UNSET
    output_files: Maybe[tuple[OutputFile, ...]] = UNSET
    environment_settings: Maybe[tuple[EnvironmentSetting, ...]] = UNSET
    affinity_info: Maybe[AffinityInformation] = UNSET
    constraints: Maybe[TaskConstraints] = UNSET
    required_slots: Maybe[Count] = UNSET  # At least 1: inferred from its default.
    user_identity: Maybe[UserIdentity] = UNSET
    multi_instance_settings: Maybe[MultiInstanceSettings] = UNSET
    depends_on: Maybe[TaskDependencies] = UNSET
    application_package_references: Maybe[tuple[ApplicationPackageReference, ...]] = UNSET
    authentication_token_settings: Maybe[AuthenticationTokenSettings] = UNSET

    def faults(self) -> Sequence[Fault]:
        """REST says 1 for multi-instance tasks; its own example breaks that, hence a warning."""
        slots = self.required_slots
        if not self.multi_instance_settings or not slots or slots == 1:
            return ()
        says = f" is {slots} for a multi-instance task; the reference says that it must be 1"
        of = ("required_slots", "multi_instance_settings")
        return (Fault("requiredSlots", Kind.COMBINATION, says, of, warning=True, value=slots),)


class TaskAddCollectionParameter(Definition, frozen=True, gc=False):
    """The body of a request."""

    value: Annotated[tuple[TaskAddParameter, ...], Meta(max_length=TASKS_MAX)]


def _not_of_its_form(name: str, attribute: str) -> Fault:
    """Of a field by itself: never told, as who explains has looked at each field before."""
    return Fault(name, Kind.VALUE, " is not of its form", (attribute,))


def _empty_range(start: int, end: int) -> Sequence[Fault]:
    if start <= end:
        return ()
    says = f" is {end}, below its start, {start}: the range is empty"
    return (Fault("end", Kind.RANGE, says, ("start", "end"), warning=True, value=end),)


def ids_are_valid(ids: Sequence[str]) -> bool:
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
