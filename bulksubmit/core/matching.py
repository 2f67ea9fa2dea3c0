"""Results by the tasks they are about: an answer is a set, and may contradict itself."""

from collections.abc import Sequence

from bulksubmit.core.events import Anomaly, Observer
from bulksubmit.core.model import TaskResult


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
