"""Tasks whose IDs are taken, or may be: they are read back, and judged by what is found.

    suspect                          found equal    found different     absent
    ------------------------------   ------------   -----------------   ------------------------
    said to exist                    EXISTED        REJECTED, naming    in doubt; again (a list
                                                    the fields          may lag; see one_by_one)
    held: refused, and in doubt      EXISTED        REJECTED with its   REJECTED with its code
                                                    code

A held task was refused, but an earlier attempt of it may still land: it waits until the service's
time-out has passed since that attempt was sent. It is read back once.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

import msgspec

from bulksubmit.core.model import ErrorDetail, ReadBack, Reading, Refused, Task, Verdict
from bulksubmit.core.taskcompare import differences

TASK_EXISTS = "taskexists"  # The code, its case folded.


# One page of a list has at most so many, and they are neighbours more often than not.
READ_BACK_MAX = 1000


class Suspect(msgspec.Struct, frozen=True):
    """A task that may exist, in spite of what the service said of it.

    Attributes:
        task: The task.
        refused: What the service said.
        exists: It said that the ID is taken; otherwise it refused the task for another reason.
        client_request_id: Of the attempt that was told so.
    """

    task: Task
    refused: Refused
    exists: bool
    client_request_id: str

    def judge(self, found: bytes | None) -> "Judged | None":
        """What becomes of it; see the table.

        Args:
            found: The task of its ID as the service shows it; None if there is none.

        Returns:
            A verdict; None if it is to be sent again.
        """
        if found is None:
            if self.exists:
                return None
            return Judged(self, Verdict.REJECTED, self.refused, present=False)
        paths = differences(self.task.body, found)
        if not paths:
            return Judged(self, Verdict.EXISTED, None, present=True)
        refused = self._taken(paths) if self.exists else self.refused
        return Judged(self, Verdict.REJECTED, refused, present=True)

    def _taken(self, paths: tuple[str, ...]) -> Refused:
        message = (
            f"a task of this ID exists with other content; these differ: {', '.join(paths)}; "
            "give the task another ID, or leave it out"
        )
        values = tuple(ErrorDetail(path, "differs") for path in paths)
        return Refused("TaskExists", message, values, self.refused.request_id)


class Judged(msgspec.Struct, frozen=True):
    """Our word on a suspect.

    Attributes:
        suspect: The suspect.
        verdict: EXISTED or REJECTED.
        refused: Why, for REJECTED.
        present: Whether a task of its ID was found.
    """

    suspect: Suspect
    verdict: Verdict
    refused: Refused | None
    present: bool


class Findings(msgspec.Struct):
    """What a read-back comes to: each of its suspects is in one of these.

    Attributes:
        judged: Those on which there is a verdict.
        absent: Those that do not exist, though they were said to.
        unread: Those of which nothing is known.
    """

    judged: list[Judged] = msgspec.field(default_factory=list)
    absent: list[Suspect] = msgspec.field(default_factory=list)
    unread: list[Suspect] = msgspec.field(default_factory=list)


class Suspects:
    """Those that wait to be read back, and those that are being read."""

    def __init__(self) -> None:
        self._listed: deque[Suspect] = deque()
        self._one_by_one: deque[Suspect] = deque()
        self._later: list[tuple[float, int, Suspect, deque[Suspect]]] = []  # A heap.
        self._ties = 0
        self._reading: dict[int, list[Suspect]] = {}  # By the read-back's number.

    def __iter__(self) -> Iterator[Suspect]:
        yield from self._listed
        yield from self._one_by_one
        for _, _, suspect, _ in self._later:
            yield suspect
        for suspects in self._reading.values():
            yield from suspects

    def __len__(self) -> int:
        waiting = len(self._listed) + len(self._one_by_one) + len(self._later)
        return waiting + sum(map(len, self._reading.values()))

    @property
    def read_backs(self) -> int:
        """How many read-backs are under way."""
        return len(self._reading)

    def add(self, suspects: Iterable[Suspect], *, due_s: float, one_by_one: bool = False) -> None:
        """Let some wait.

        Args:
            suspects: Any number.
            due_s: Not to be read back before.
            one_by_one: A list has failed to show them: each is to be asked for by its ID.
        """
        queue = self._one_by_one if one_by_one else self._listed
        for suspect in suspects:
            self._ties += 1
            heappush(self._later, (due_s, self._ties, suspect, queue))

    def ready_s(self, now_s: float) -> float:
        """When begin() can be called: now, later, or (infinity) not before something happens."""
        self._move_due(now_s)
        if self._listed or self._one_by_one:
            return now_s
        return self._later[0][0] if self._later else math.inf

    def full(self, now_s: float) -> bool:
        """Whether a read-back of the greatest size can begin now."""
        if len(self._later) + len(self._listed) + len(self._one_by_one) < READ_BACK_MAX:
            return False  # As nearly always.
        self._move_due(now_s)
        return max(len(self._listed), len(self._one_by_one)) >= READ_BACK_MAX

    def resting(self, now_s: float) -> int:
        """How many are not to be read back yet."""
        self._move_due(now_s)
        return len(self._later)

    def begin(self, number: int) -> ReadBack:
        """Begin the next read-back; ready_s() must have said now."""
        one_by_one = len(self._one_by_one) > len(self._listed)
        queue = self._one_by_one if one_by_one else self._listed
        suspects = [queue.popleft() for _ in range(min(READ_BACK_MAX, len(queue)))]
        self._reading[number] = suspects
        return ReadBack(number, tuple([suspect.task for suspect in suspects]), one_by_one)

    def end(self, read: ReadBack, reading: Reading) -> Findings:
        """Take in what a read-back has found."""
        findings = Findings()
        for suspect in self._reading.pop(read.number):
            folded = suspect.task.id.lower()
            if folded not in reading.found:
                findings.unread.append(suspect)
            elif judged := suspect.judge(reading.found[folded]):
                findings.judged.append(judged)
            else:
                findings.absent.append(suspect)
        return findings

    def check(self) -> None:
        """Assert what always holds."""
        assert all(1 <= len(suspects) <= READ_BACK_MAX for suspects in self._reading.values())

    def _move_due(self, now_s: float) -> None:
        while self._later and self._later[0][0] <= now_s:
            _, _, suspect, queue = heappop(self._later)
            queue.append(suspect)
