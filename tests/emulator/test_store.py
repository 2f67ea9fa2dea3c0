"""What a job knows of its tasks without looking at them."""

from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.emulator.store import Change, Counts, Job, TaskEnd

SLOTS = (None, 1, 3)
STEPS = st.tuples(
    st.sampled_from(
        ["add", "add completed", "end", "terminate", "reactivate", "remove", "run all"]
    ),
    st.sampled_from("abcdef"),
    st.sampled_from(SLOTS),
)


def body_of(slots: int | None) -> bytes:
    return b'{"id":"x"}' if slots is None else b'{"id":"x","requiredSlots":%d}' % slots


def do(job: Job, step: str, task_id: str, slots: int | None) -> None:
    """One step, if the task is there or is not, as the step wants it."""
    match step:
        case "add" | "add completed":
            job.add(task_id, body_of(slots), ticks=1, completed=step != "add")
        case "run all":
            job.complete_tasks(ticks=2)
        case _ if task_id not in job:
            pass
        case "remove":
            job.remove_task(task_id)
        case _:
            ends = {"end": TaskEnd.SUCCEEDED, "terminate": TaskEnd.TERMINATED}
            job.change_task(task_id, Change(3, ends.get(step), 3))


def counted(job: Job, *, slots: bool) -> Counts:
    """The tasks, or the slots they need, counted one by one."""
    number = {None: 0, TaskEnd.SUCCEEDED: 0, TaskEnd.TERMINATED: 0}
    for task_id in job.task_ids():
        task = job.task(task_id)
        assert task is not None
        needed = next(each for each in SLOTS if body_of(each) == task.body)
        number[task.end] += (needed or 1) if slots else 1
    return Counts(number[None], number[TaskEnd.SUCCEEDED], number[TaskEnd.TERMINATED])


@given(st.lists(STEPS, max_size=30))
def test_counts_are_those_of_the_tasks(steps: list[tuple[str, str, int | None]]) -> None:
    """
    Whatever is added, changed and removed: the counts are what counting tasks and slots gives.
    """
    job = Job("j1", 0)
    for step in steps:
        do(job, *step)
    job.note_counts(ticks=9)

    expected = counted(job, slots=False)
    assert job.counts == expected
    assert job.counts_at(9) == (expected, counted(job, slots=True))
