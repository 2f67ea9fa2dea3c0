"""Results by the tasks they are about: an answer is a set, and may contradict itself."""

from collections.abc import Iterator, Sequence
from typing import overload

from bulksubmit.core.events import Anomaly, Observer
from bulksubmit.core.model import AddStatus, Answered, Attempt, Outcome, Task, TaskResult, Verdict
from bulksubmit.core.tasks import first_ordinal, ids_of, last_ordinal

_ADDED = Verdict.ADDED
_SUCCESS = frozenset({"Success", AddStatus.SUCCESS.value})  # On the wire, and in the reference.

# Outcomes that are made later keep their tasks until then.
_KEPT_BYTES_MAX = 64 * 1024


class AllAdded(Sequence[Outcome]):
    """The outcomes of an attempt of which every task was added.

    Each is made when it is looked at, which most runs do with none of them.
    """

    __slots__ = ("_attempt", "_body_bytes", "_count", "_request_id")

    def __init__(self, attempt: Attempt, request_id: str | None, body_bytes: int) -> None:
        """Outcomes of the attempt's tasks, which have so many bytes, in their order."""
        self._attempt, self._request_id, self._body_bytes = attempt, request_id, body_bytes
        self._count = len(attempt.tasks)

    @property
    def ends(self) -> tuple[int, int]:
        """The ordinals of the first and of the last."""
        tasks = self._attempt.tasks
        return first_ordinal(tasks), last_ordinal(tasks)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Outcome]: ...

    def __getitem__(self, index: int | slice) -> Outcome | Sequence[Outcome]:
        if isinstance(index, slice):
            return [*self][index]
        return self._outcome(self._attempt.tasks[index])

    def __iter__(self) -> Iterator[Outcome]:
        return map(self._outcome, self._attempt.tasks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # As of a list.

    def to_keep(self) -> Sequence[Outcome]:
        """The same, to be looked at later: made at once if the tasks are large."""
        return self if self._body_bytes <= _KEPT_BYTES_MAX else [*self]

    def _outcome(self, task: Task) -> Outcome:
        return Outcome(
            task.ordinal,
            task.line,
            task.id,
            _ADDED,
            request_id=self._request_id,
            client_request_id=self._attempt.client_request_id,
        )


def ends_of(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """The ordinals of the first and of the last."""
    if isinstance(outcomes, AllAdded):
        return outcomes.ends
    return outcomes[0].ordinal, outcomes[-1].ordinal


def all_added(attempt: Attempt, reply: Answered) -> bool:
    """Whether the service says of every task of an attempt that it was added.

    Nearly every answer does. Looked at as a whole it takes a fifth of the time that its tasks
    take one by one.

    Args:
        attempt: What was sent.
        reply: Its answer.

    Returns:
        True if there is one result for each task, spelt as ours, which says so, and no other.
        Otherwise each is to be looked at by itself.
    """
    ids, results = ids_of(attempt.tasks), reply.results
    if len(results) != len(ids) or not _SUCCESS.issuperset([each.status for each in results]):
        return False
    told = [result.task_id for result in results]
    if told == ids:
        return True
    added = set(told)
    return len(added) == len(ids) and added.issuperset(ids)


def by_folded_id(
    results: Sequence[TaskResult], attempt: int, observer: Observer
) -> dict[str, TaskResult]:
    """The results by folded ID; one with no known status where the service contradicts itself.

    Args:
        results: In any order.
        attempt: The number of the attempt that was answered so.
        observer: Told of each ID that comes twice.
    """
    by_id: dict[str, TaskResult] = {}
    for result in results:
        folded = result.task_id.lower()
        earlier = by_id.setdefault(folded, result)
        if earlier is result:
            continue
        observer(Anomaly("repeated_id", attempt, result.task_id))
        if earlier.status.lower() != result.status.lower():
            by_id[folded] = TaskResult(result.task_id, f"{earlier.status} and {result.status}")
    return by_id
