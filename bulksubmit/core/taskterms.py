"""What the task model is made of: definitions with rules; words, numbers, durations, URLs.

For where a rule comes from see ``taskspec``, whose definitions are made of these.
"""

import re
from collections.abc import Sequence
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Annotated, NamedTuple, Self, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, UnsetType

from bulksubmit.core.model import Kind

_T = TypeVar("_T")
Maybe: TypeAlias = _T | UnsetType | None

DURATION_TICKS_MAX = 2**63 - 1  # Of 100 ns: the largest .NET TimeSpan; recorded as "no limit".


class FieldKind(Enum):
    """What a field takes; of a list, what its items are."""

    TEXT = "text"
    ID = "id"  # A task's: compared ignoring case.
    URL = "url"
    DURATION = "duration"
    ENUM = "enum"
    INT = "int"
    BOOL = "bool"
    OBJECT = "object"


class Fault(NamedTuple):
    """What a rule finds wrong with a definition, or odd.

    Attributes:
        path: The field's name on the wire, or a path from there; empty for the whole.
        kind: For counting.
        says: What is wrong and what would be right, to be read behind the path.
        of: The attributes that it comes from: if one of them is wrong by itself, then this
            says nothing of its own.
        warning: The service is not known to refuse it.
        value: What was given; None if that is not worth showing.
    """

    path: str
    kind: Kind
    says: str
    of: tuple[str, ...]
    warning: bool = False
    value: object = None


class RuleBroken(ValueError):
    """A definition was made, each field of which may be right, but not all together.

    Attributes:
        definition: It.
        faults: At least one, be it a warning.
    """

    def __init__(self, definition: "Definition", faults: Sequence[Fault]) -> None:
        self.definition, self.faults = definition, faults
        super().__init__(faults[0].says)


class Definition(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A definition of the reference."""


class RuledDefinition(Definition, frozen=True, gc=False):
    """A definition with rules beyond those of each field alone.

    The patterns of its fields are among them: msgspec takes four times as long for one as a
    quick look does. Definitions that most tasks have look at the usual case in ``__post_init__``
    at once, which is half of what ``faults()`` takes.
    """

    def __post_init__(self) -> None:
        faults = self.faults()
        if faults:
            raise RuleBroken(self, faults)

    def faults(self) -> Sequence[Fault]:
        """What is wrong with it, warnings too; an empty text is as good as none."""
        raise NotImplementedError


# REST: format int32.
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]

# Recorded: httpUrl "fake.url" is refused. That it may be nothing but http or https, and must
# name a host, is inferred.
_URL = re.compile(r"\A[Hh][Tt][Tt][Pp][Ss]?://[^/?#\s]")
Url = Annotated[
    str,
    Meta(
        extra={
            "kind": FieldKind.URL,
            "pattern": _URL,
            "form": "an absolute http or https URL, such as "
            "https://account.blob.core.windows.net/container/file",
        },
    ),
]


def is_url(text: str) -> bool:
    """Whether it is of the form of a Url; a quick look at the usual ones, as many are looked at."""
    return (text[:8] == "https://" and text[8:9].isalnum()) or _URL.match(text) is not None


# REST, ResourceFile.fileMode: "in octal format"; how many digits is inferred.
_FILE_MODE = re.compile(r"\A0*[0-7]{1,4}\Z")
FileMode = Annotated[
    str, Meta(extra={"pattern": _FILE_MODE, "form": "a file mode in octal, such as 0770"})
]


@lru_cache(maxsize=1024)  # As of durations.
def is_file_mode(text: str) -> bool:
    """Whether it is of the form of a FileMode."""
    return _FILE_MODE.match(text) is not None


# REST: format duration. Its form and bounds: see duration_ticks.
Duration = Annotated[str, Meta(extra={"kind": FieldKind.DURATION})]

# Never shown, even if it is wrong.
Secret = Annotated[str, Meta(extra={"secret": True})]

_DURATION = re.compile(
    r"P(?=[0-9T])(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)D)?"
    r"(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:\.([0-9]{1,7}))?S)?)?"
)
_DURATION_CHARS_MAX = 100  # Longer ones are of no use to anyone, and int() takes its time.


@lru_cache(maxsize=1024)  # A source has few of them, again and again.
def duration_ticks(text: str) -> int | None:
    """A duration in units of 100 ns, or None if it is none that the service takes.

    The form is the one that .NET reads as a TimeSpan (inferred from the largest one, which is
    recorded): a year counts 365 days, a month 30, there are no weeks, and a fraction has up to
    7 digits. One below zero makes no sense for a task.
    """
    match = _DURATION.fullmatch(text) if len(text) <= _DURATION_CHARS_MAX else None
    if match is None:
        return None
    *whole, fraction = match.groups(default="0")
    years, months, days, hours, minutes, seconds = map(int, whole)
    # Twelve months make a year, also here: XsdDuration of .NET.
    days += (years + months // 12) * 365 + months % 12 * 30
    seconds += (days * 24 + hours) * 3600 + minutes * 60
    ticks = seconds * 10**7 + int(fraction.ljust(7, "0"))
    return ticks if ticks <= DURATION_TICKS_MAX else None


class _Word(StrEnum):
    """Words that are taken in any case (recorded), and spelled here as in the reference."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        # Only ASCII, as folding makes a K of the Kelvin sign too.
        if not isinstance(value, str) or not value.isascii():
            return None
        folded = value.lower()
        return next((word for word in cls if word.value.lower() == folded), None)


class AccessScope(_Word):
    """What an authentication token gives access to."""

    JOB = "job"


class AutoUserScope(_Word):
    """Whose account a task runs under."""

    TASK = "task"
    POOL = "pool"


class ElevationLevel(_Word):
    """What that account may do."""

    NON_ADMIN = "nonadmin"
    ADMIN = "admin"


class ContainerHostDataPath(_Word):
    """A folder of the node to mount into a container."""

    SHARED = "Shared"
    STARTUP = "Startup"
    VFS_MOUNTS = "VfsMounts"
    TASK = "Task"
    JOB_PREP = "JobPrep"
    APPLICATIONS = "Applications"


class ContainerWorkingDirectory(_Word):
    """Where a container's command starts."""

    TASK_WORKING_DIRECTORY = "taskWorkingDirectory"
    CONTAINER_IMAGE_DEFAULT = "containerImageDefault"


class DependencyAction(_Word):
    """What happens to the tasks that depend on this one."""

    SATISFY = "satisfy"
    BLOCK = "block"


class JobAction(_Word):
    """What happens to the job."""

    NONE = "none"
    DISABLE = "disable"
    TERMINATE = "terminate"


class OutputFileUploadCondition(_Word):
    """When to upload."""

    TASK_SUCCESS = "tasksuccess"
    TASK_FAILURE = "taskfailure"
    TASK_COMPLETION = "taskcompletion"
