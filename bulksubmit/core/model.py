"""The words of the engine, as values.

They are frozen msgspec Structs, which the garbage collector need not look at: making one costs
0.1 µs, a frozen slotted dataclass 0.7 to 4, and defining one 12 µs, a dataclass 640.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum
from typing import Literal, TypeAlias

import msgspec


class Task(msgspec.Struct, frozen=True, gc=False):
    """One task of the source, validated and ready to send.

    Attributes:
        ordinal: 0-based place among all tasks of the source.
        line: 1-based line of the source, as an editor shows it (blank lines count here, but
            are no tasks); the item's number for an iterable.
        id: Unique within the job, ignoring case.
        body: The JSON object, UTF-8, exactly as it goes on the wire. Checked once, then never
            parsed or re-serialised, however often it is sent.
    """

    ordinal: int
    line: int
    id: str
    body: bytes


class Kind(StrEnum):
    """What kind of thing is wrong with an item of the source."""

    NOT_JSON = "not_json"
    NOT_A_TASK = "not_a_task"  # Well-formed, but no object.
    ENCODING = "encoding"  # Not UTF-8, a byte order mark, half a surrogate pair.
    REPEATED_KEY = "repeated_key"
    MISSING = "missing_field"
    UNKNOWN = "unknown_field"
    TYPE = "wrong_type"
    VALUE = "bad_value"  # Not one of those allowed, or not of the form asked for.
    RANGE = "out_of_range"
    LENGTH = "bad_length"
    COMBINATION = "bad_combination"  # Of fields: both, neither, one without the other.
    JOB = "not_in_this_job"  # Right in itself, but the job does not take it.
    TEMPLATE = "template"  # The row or sweep makes no task.
    DUPLICATE = "duplicate_id"


class Problem(msgspec.Struct, frozen=True, gc=False):
    """One thing that is wrong with an item of the source, or odd about it.

    Attributes:
        path: The field, such as ``resourceFiles[2].httpUrl``; empty for the item as a whole.
        kind: For counting.
        text: What is wrong and what would be right; a sentence that names the field.
        value: What was given, as short JSON; None if nothing was.
        warning: The service is not known to refuse it.
    """

    path: str
    kind: Kind
    text: str
    value: str | None = None
    warning: bool = False


class Invalid(msgspec.Struct, frozen=True, gc=False):
    """An item of the source that is no task the service accepts.

    Attributes:
        ordinal: 0-based place among all items of the source.
        line: As in Task.
        id: Its ID, as far as it has one; otherwise empty.
        body: Its bytes, whatever they are.
        problems: Everything that is wrong with it: at least one error, warnings too.
    """

    ordinal: int
    line: int
    id: str
    body: bytes
    problems: tuple[Problem, ...]


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One POST of one collection.

    Attributes:
        number: 1 for the run's first attempt, then upwards.
        client_request_id: A GUID of its own, so that both sides can name this attempt.
        tasks: The collection: 1 to 100 tasks, no ID twice (ignoring case).
        resent: How many of the tasks were sent before.
        sent_s: When it went, as next_step() was told the time.
    """

    number: int
    client_request_id: str
    tasks: Sequence[Task]
    resent: int
    sent_s: float = 0.0


# --- What the service says -------------------------------------------------------------------


class AddStatus(StrEnum):
    """TaskAddStatus, as the REST reference spells it; the wire says ``Success``: fold case."""

    SUCCESS = "success"
    CLIENT_ERROR = "clienterror"
    SERVER_ERROR = "servererror"


class ErrorDetail(msgspec.Struct, frozen=True, gc=False):
    """BatchErrorDetail: one key and value that say more about an error."""

    key: str | None = None
    value: str | None = None


class ErrorMessage(msgspec.Struct, frozen=True, gc=False):
    """ErrorMessage: a text and its language."""

    lang: str | None = None
    value: str | None = None


class BatchError(msgspec.Struct, frozen=True, gc=False):
    """BatchError, of a request or of one task. The reference requires no field of it."""

    code: str | None = None
    message: ErrorMessage | None = None
    values: tuple[ErrorDetail, ...] | None = None

    @property
    def text(self) -> str:
        """The message's text, or nothing."""
        return (self.message.value if self.message else None) or ""


class TaskResult(msgspec.Struct, frozen=True, gc=False):
    """TaskAddResult: the service's word on one task, as far as we use it.

    Attributes:
        task_id: As the service spells it: fold case to match it with ours.
        status: As on the wire, in any case; see AddStatus.
        error: Present unless the status is success.
    """

    task_id: str = msgspec.field(name="taskId", default="")
    status: str = ""
    error: BatchError | None = None


# --- What became of an attempt ---------------------------------------------------------------


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The service answered for its tasks one by one, in any order, and maybe not for all.

    Attributes:
        results: As received; compare with the attempt as a set.
        request_id: The service's ID of this request.
    """

    results: list[TaskResult]
    request_id: str | None = None


class Throttled(msgspec.Struct, frozen=True, gc=False):
    """Asked to slow down, or to come back. Whether a task was added, nobody promises.

    Attributes:
        retry_after_s: The least time to wait, for all senders; None if not said.
        reason: For the operator.
        by_load: Whether fewer requests at once would help; not if the job is closed for a while.
    """

    retry_after_s: float | None
    reason: str
    by_load: bool = True


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The service refused the collection as a whole because of what is in it.

    Attributes:
        code: The service's error code; RequestBodyTooLarge for any 413.
        message: The service's message.
        values: The details that came with it.
        request_id: The service's ID of this request.
    """

    code: str
    message: str
    values: tuple[ErrorDetail, ...] = ()
    request_id: str | None = None


class Lost(msgspec.Struct, frozen=True, gc=False):
    """No usable answer: if it was sent, any subset of the tasks may have been added.

    Attributes:
        reason: For the operator.
        sent: False if no byte of the request left this machine, so that no task was added.
        retry_after_s: The least time to wait, for all senders; None if not said.
        by_load: Whether it is a sign of too many requests at once: a time-out, a busy service.
    """

    reason: str
    sent: bool
    retry_after_s: float | None = None
    by_load: bool = False


Reply: TypeAlias = Answered | Throttled | Refused | Lost


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What became of a read-back.

    Attributes:
        found: By folded ID the task as the service shows it, a JSON object; None if it has no
            such task. An ID that is missing here was not read.
        lost: Why some were not read; None if all were.
    """

    found: Mapping[str, bytes | None]
    lost: Lost | None = None


# --- Our word on a task ----------------------------------------------------------------------

# What to do when the service says that a task's ID is taken: look at whose it is, take it for
# ours, or reject ours.
OnExists: TypeAlias = Literal["verify", "accept", "reject"]


class Verdict(Enum):
    """What we say of one task in the end."""

    ADDED = "added"
    EXISTED = "existed"
    REJECTED = "rejected"
    ABANDONED = "abandoned"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """Our word on one task.

    Attributes:
        ordinal: 0-based place among all tasks of the source.
        line: 1-based line of the source.
        task_id: The ID as the source spells it.
        verdict: ADDED, EXISTED and REJECTED are final. ABANDONED means unsettled when this
            process stopped trying.
        attempts: How many attempts held the task.
        in_doubt: The task was in an attempt of which we cannot say what became. For EXISTED:
            an earlier attempt of ours took. For REJECTED and ABANDONED: it may exist all the
            same. A task that is REJECTED because another has its ID is in no doubt.
        code: The service's error code, for REJECTED and ABANDONED.
        message: Its message.
        values: The details that came with it.
        request_id: The service's ID of the last request that held the task.
        client_request_id: Our ID of it.
        body: The task's JSON for REJECTED and ABANDONED, to be mended and fed back; otherwise
            empty, so that keeping outcomes costs little.
    """

    ordinal: int
    line: int
    task_id: str
    verdict: Verdict
    attempts: int = 1
    in_doubt: bool = False
    code: str | None = None
    message: str | None = None
    values: tuple[ErrorDetail, ...] = ()
    request_id: str | None = None
    client_request_id: str | None = None
    body: bytes = b""


class Trouble(msgspec.Struct, gc=False):
    """What we know of an unsettled task whose earlier attempts did not settle it.

    Attributes:
        attempts: How many attempts held it.
        server_errors: How many were answered, but not for it; sets its short backoff.
        pressures: How many settled nothing at all; sets its long backoff. Counted apart: a
            last task that has seen a few servererrors would wait 30 s otherwise.
        absences: How often it was said to exist, and then not found when it was read back.
        in_doubt: It may have been added.
        doubtful_s: When the last attempt was sent that may have added it; 0 if only an earlier
            process may have sent one.
    """

    attempts: int = 0
    server_errors: int = 0
    pressures: int = 0
    absences: int = 0
    in_doubt: bool = False
    doubtful_s: float = 0.0

    def fail(self, *, pressed: bool, doubtful_s: float | None) -> None:
        """One more attempt did not settle it.

        Args:
            pressed: The attempt settled nothing at all.
            doubtful_s: When it was sent, if it may have added the task; otherwise None.
        """
        self.attempts += 1
        if pressed:
            self.pressures += 1
        else:
            self.server_errors += 1
        if doubtful_s is not None:
            self.in_doubt, self.doubtful_s = True, doubtful_s


class Learnt(msgspec.Struct, frozen=True, gc=False):
    """What a limit has found out about the service.

    Attributes:
        window: How many attempts in flight it answers well; see ``pacing``.
        found: More was too much, once; otherwise it still doubles.
        throttled: The service has throttled.
    """

    window: float
    found: bool
    throttled: bool


# --- What to do next -------------------------------------------------------------------------


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What the reconciler must keep to.

    Attributes:
        tasks_max: Tasks in a request.
        bytes_max: Bytes of a request's body; a larger task is rejected before it is sent.
        retry_timeout_s: The run gives up after so long without a single task settled.
        server_timeout_s: So long may the service work on an attempt.
    """

    tasks_max: int
    bytes_max: int
    retry_timeout_s: float
    server_timeout_s: float


class Send(msgspec.Struct, frozen=True, gc=False):
    """Post this attempt, then settle() it."""

    attempt: Attempt


class ReadBack(msgspec.Struct, frozen=True, gc=False):
    """Look at the tasks that exist under these IDs, then settle_read_back().

    Attributes:
        number: -1 for the run's first read-back, then downwards: attempts have the others.
        tasks: At most 1,000.
        one_by_one: Get each by its ID: a list has failed to show them before.
    """

    number: int
    tasks: tuple[Task, ...]
    one_by_one: bool


class Why(StrEnum):
    """Why there is nothing to send now; of several reasons the one to be dealt with first."""

    PLACES = "places"  # As many are in flight as may be.
    ASKED = "asked"  # The service asks all to wait.
    HELD = "held"  # Its last replies settled nothing: all wait but one probe.
    PACE = "pace"  # It is too soon after the last one.
    SOURCE = "source"  # No full collection has been read; more will come.
    RETRIES = "retries"  # What is not in flight is to be sent again, or read back, and not yet.
    REPLIES = "replies"  # All that is left is in flight.


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Nothing to send now.

    Attributes:
        until_s: When to ask again, unless tasks were admitted or settled before; may be
            infinite.
        why: Why not.
    """

    until_s: float
    why: Why


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """Nothing more will be sent: see ``reason``. What is unsettled now is abandoned."""

    reason: str


class Converged(msgspec.Struct, frozen=True, gc=False):
    """The source is exhausted and every task of it is settled."""


Step: TypeAlias = Send | ReadBack | Wait | GiveUp | Converged
