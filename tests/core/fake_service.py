"""A service that misbehaves on request and remembers what it really holds, and an auditor.

Neither shares code with the reconciler.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from bulksubmit.core.model import (
    Answered,
    Attempt,
    BatchError,
    Lost,
    OnExists,
    Outcome,
    ReadBack,
    Reading,
    Refused,
    Reply,
    Task,
    TaskResult,
    Throttled,
    Verdict,
)


class Says(Enum):
    """What an answer says of one task."""

    TRUTH = "Success, or ClientError TaskExists"
    REJECTED = "ClientError"
    SERVER_ERROR = "ServerError"
    NOTHING = "missing"
    NONSENSE = "an unknown status"
    TWICE = "the truth, twice"
    CONTRADICTION = "the truth, and ServerError"


class Befalls(Enum):
    """What befalls an attempt as a whole."""

    ANSWERED = "answered, with a stranger's ID in between"
    THROTTLED = "429"
    LOST = "lost after processing"
    LOST_EARLY = "lost, and processed later"
    NOT_SENT = "no connection"
    REFUSED = "400"
    TOO_LARGE = "413"


@dataclass(frozen=True)
class Fate:
    """What befalls one task of an attempt.

    Attributes:
        adds: Whether the service adds it, if its ID is free, when the answer does not tell.
        says: What the answer says of it.
    """

    adds: bool
    says: Says


class Finds(Enum):
    """What a read-back shows."""

    TRUTH = "what there is"
    LAGS = "nothing, of all that there is"
    HALF = "what there is, of half of the tasks, and then it is lost"
    LOST = "nothing: it is lost"


HEALTHY = (Fate(adds=True, says=Says.TRUTH),)
CLEAR = {Befalls.NOT_SENT, Befalls.REFUSED, Befalls.TOO_LARGE}


class FakeService:
    """Holds tasks by folded ID.

    Attributes:
        bodies: What it holds.
        foreign: The folded IDs of those that we never sent.
    """

    def __init__(self, strangers: Mapping[str, bytes] | None = None) -> None:
        self.bodies = {task_id.lower(): body for task_id, body in (strangers or {}).items()}
        self.foreign = set(self.bodies)
        self._late: list[Task] = []

    def show(self, read: ReadBack, finds: Finds) -> Reading:
        """What a read-back finds."""
        held = {task.id.lower(): self.bodies.get(task.id.lower()) for task in read.tasks}
        match finds:
            case Finds.TRUTH:
                return Reading(held)
            case Finds.LAGS:
                return Reading(dict.fromkeys(held))
            case Finds.HALF:
                half = dict(sorted(held.items())[: len(held) // 2])
                return Reading(half, Lost("no second page", sent=True))
            case Finds.LOST:
                return Reading({}, Lost("no page", sent=True, retry_after_s=1.0))

    def reply(
        self,
        attempt: Attempt,
        befalls: Befalls,
        fates: Sequence[Fate] = HEALTHY,
        retry_after_s: float | None = None,
    ) -> Reply:
        """Process an attempt; its tasks take the fates in turn."""
        fated = [(task, fates[place % len(fates)]) for place, task in enumerate(attempt.tasks)]
        match befalls:
            case Befalls.ANSWERED:
                results = [result for task, fate in fated for result in self._results(task, fate)]
                results.insert(len(results) // 2, TaskResult("stranger-1", "Success"))
                return Answered(results[::-1], "r")
            case Befalls.THROTTLED:
                self._add([task for task, fate in fated if fate.adds])
                return Throttled(retry_after_s, "429")
            case Befalls.LOST:
                self._add([task for task, fate in fated if fate.adds])
                return Lost("read timeout", sent=True, retry_after_s=retry_after_s)
            case Befalls.LOST_EARLY:
                self._late += [task for task, fate in fated if fate.adds]
                return Lost("connection reset", sent=True)
            case Befalls.NOT_SENT:
                return Lost("connection refused", sent=False)
            case Befalls.REFUSED:
                return Refused("InvalidRequestBody", "odd")
            case Befalls.TOO_LARGE:
                return Refused("RequestBodyTooLarge", "large")

    def land(self) -> None:
        """Process what the client gave up on."""
        self._add(self._late)
        self._late = []

    def _add(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self.bodies.setdefault(task.id.lower(), task.body)

    def _results(self, task: Task, fate: Fate) -> list[TaskResult]:
        server_error = TaskResult(task.id, "ServerError", BatchError("OperationTimedOut"))
        match fate.says:
            case Says.TRUTH:
                return [self._truth(task)]
            case Says.TWICE:
                truth = self._truth(task)
                return [truth, TaskResult(task.id.upper(), truth.status, truth.error)]
            case Says.CONTRADICTION:
                return [self._truth(task), server_error]
            case Says.REJECTED:
                return [TaskResult(task.id, "ClientError", BatchError("InvalidPropertyValue"))]
        if fate.adds:
            self._add([task])
        match fate.says:
            case Says.SERVER_ERROR:
                return [server_error]
            case Says.NONSENSE:
                return [TaskResult(task.id, "Perhaps")]
            case _:
                return []

    def _truth(self, task: Task) -> TaskResult:
        if task.id.lower() in self.bodies:
            return TaskResult(task.id, "ClientError", BatchError("TaskExists"))
        self._add([task])
        return TaskResult(task.id, "Success")


class Auditor:
    """Keeps its own books on every task and compares.

    Attributes:
        tasks: All that were admitted, by ordinal.
        outcomes: All that came of them, by ordinal.
    """

    def __init__(self, on_exists: OnExists = "verify") -> None:
        self._on_exists = on_exists
        self.tasks: dict[int, Task] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._attempts: Counter[int] = Counter()
        self._in_flight: set[int] = set()
        self._doubted: set[int] = set()
        self._suspects: set[int] = set()

    def admitted(self, tasks: Sequence[Task]) -> None:
        """Note tasks that the reconciler took on."""
        self.tasks.update({task.ordinal: task for task in tasks})

    def sent(self, attempt: Attempt) -> None:
        """Note an attempt: none of its tasks may be settled, or in flight."""
        for task in attempt.tasks:
            assert task == self.tasks[task.ordinal]
            assert task.ordinal not in self.outcomes
            assert task.ordinal not in self._in_flight
            assert task.ordinal not in self._suspects
            self._in_flight.add(task.ordinal)
        resent = [task for task in attempt.tasks if self._attempts[task.ordinal]]
        assert attempt.resent == len(resent)
        self._attempts.update([task.ordinal for task in attempt.tasks])

    def settled(
        self, attempt: Attempt, befell: Befalls, reply: Reply, outcomes: Sequence[Outcome]
    ) -> None:
        """Note what came of an attempt: only tasks of its own.

        What was refused in doubt, or is said to exist, is to be looked at before anything else.
        """
        ordinals = {task.ordinal for task in attempt.tasks}
        assert {outcome.ordinal for outcome in outcomes} <= ordinals
        self.concluded(outcomes)
        self._in_flight -= ordinals
        unsettled = ordinals - self.outcomes.keys()
        refused = _refused(attempt, reply) & unsettled
        self._suspects |= refused
        if befell not in CLEAR:
            self._doubted |= unsettled - refused
        self._doubted -= self.outcomes.keys()

    def read(self, read: ReadBack, reading: Reading, outcomes: Sequence[Outcome]) -> None:
        """Note what came of a read-back."""
        read_back = {t.ordinal for t in read.tasks if t.id.lower() in reading.found}
        assert {outcome.ordinal for outcome in outcomes} <= read_back
        self.concluded(outcomes)
        self._suspects -= read_back
        self._doubted |= read_back
        self._doubted -= self.outcomes.keys()

    def concluded(self, outcomes: Sequence[Outcome]) -> None:
        """Note outcomes: at most one a task."""
        for outcome in outcomes:
            task = self.tasks[outcome.ordinal]
            assert outcome.ordinal not in self.outcomes
            assert (outcome.task_id, outcome.line) == (task.id, task.line)
            assert outcome.attempts == self._attempts[outcome.ordinal]
            self.outcomes[outcome.ordinal] = outcome

    @property
    def unsettled(self) -> list[Task]:
        """The tasks without an outcome."""
        return [task for task in self.tasks.values() if task.ordinal not in self.outcomes]

    @property
    def in_doubt(self) -> int:
        """How many of them may be in the service."""
        return len(self._doubted | self._in_flight | self._suspects)

    def compare(self, service: FakeService) -> None:
        """Every outcome, and every silence, agrees with what the service holds."""
        for ordinal, task in self.tasks.items():
            outcome = self.outcomes.get(ordinal)
            holds = service.bodies.get(task.id.lower())
            if outcome is None:
                assert not self._attempts[ordinal]
                assert holds != task.body or task.id.lower() in service.foreign
            elif outcome.verdict is Verdict.ADDED:
                assert holds == task.body
                assert task.id.lower() not in service.foreign
            elif outcome.verdict is Verdict.EXISTED:
                assert holds == task.body or (holds and self._on_exists == "accept")
            else:
                # One that a stranger added alike may be refused before its ID is looked at.
                stranger = task.id.lower() in service.foreign
                assert outcome.in_doubt or stranger or holds != task.body


def _refused(attempt: Attempt, reply: Reply) -> set[int]:
    """The tasks that a reply says, without contradiction, a clienterror of."""
    if isinstance(reply, Refused):
        return {task.ordinal for task in attempt.tasks} if len(attempt.tasks) == 1 else set()
    if not isinstance(reply, Answered):
        return set()
    said: dict[str, set[str]] = {}
    for result in reply.results:
        said.setdefault(result.task_id.lower(), set()).add(result.status)
    return {t.ordinal for t in attempt.tasks if said.get(t.id.lower()) == {"ClientError"}}
