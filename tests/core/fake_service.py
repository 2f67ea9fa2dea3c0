"""A service that misbehaves on request and remembers what it really holds, and an auditor.

Neither shares code with the reconciler.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bulksubmit.core.model import (
    Answered,
    Attempt,
    BatchError,
    Lost,
    Outcome,
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


HEALTHY = (Fate(adds=True, says=Says.TRUTH),)
CLEAR = {Befalls.NOT_SENT, Befalls.REFUSED, Befalls.TOO_LARGE}


class FakeService:
    """Holds tasks by folded ID.

    Attributes:
        bodies: What it holds.
    """

    def __init__(self, strangers: Sequence[str] = ()) -> None:
        self.bodies = {task_id.lower(): b"a stranger's" for task_id in strangers}
        self._late: list[Task] = []

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

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._attempts: Counter[int] = Counter()
        self._in_flight: set[int] = set()
        self._doubted: set[int] = set()

    def admitted(self, tasks: Sequence[Task]) -> None:
        """Note tasks that the reconciler took on."""
        self.tasks.update({task.ordinal: task for task in tasks})

    def sent(self, attempt: Attempt) -> None:
        """Note an attempt: none of its tasks may be settled, or in flight."""
        for task in attempt.tasks:
            assert task == self.tasks[task.ordinal]
            assert task.ordinal not in self.outcomes
            assert task.ordinal not in self._in_flight
            self._in_flight.add(task.ordinal)
        resent = [task for task in attempt.tasks if self._attempts[task.ordinal]]
        assert attempt.resent == len(resent)
        self._attempts.update([task.ordinal for task in attempt.tasks])

    def settled(self, attempt: Attempt, befell: Befalls, outcomes: Sequence[Outcome]) -> None:
        """Note what came of an attempt: only tasks of its own."""
        ordinals = {task.ordinal for task in attempt.tasks}
        assert {outcome.ordinal for outcome in outcomes} <= ordinals
        self.concluded(outcomes)
        self._in_flight -= ordinals
        if befell not in CLEAR:
            self._doubted |= ordinals
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
        return len(self._doubted | self._in_flight)

    def compare(self, service: FakeService) -> None:
        """Every outcome, and every silence, agrees with what the service holds."""
        for ordinal, task in self.tasks.items():
            outcome = self.outcomes.get(ordinal)
            holds = service.bodies.get(task.id.lower())
            if outcome is None:
                assert not self._attempts[ordinal]
                assert holds != task.body
            elif outcome.verdict is Verdict.ADDED:
                assert holds == task.body
            elif outcome.verdict is Verdict.EXISTED:
                assert holds is not None
            else:
                assert outcome.in_doubt or holds != task.body
