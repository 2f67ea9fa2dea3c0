"""The job's onAllTasksComplete: held while tasks are added, put back at every end."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bulksubmit import runs
from bulksubmit.core.events import Event, Noted
from bulksubmit.core.wire import Job
from bulksubmit.errors import (
    NotConverged,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    SettingsError,
    UnfinishedRun,
)
from bulksubmit.producer import open_source
from bulksubmit.service.replies import Unavailable
from bulksubmit.settings import Settings
from tests.journal.runs import begin, change_file, run_of
from tests.shell.doubles import FakeService, flood, lines, rejects, stopping
from tests.virtual import run_virtual

HOLD = Settings(hold_auto_terminate=True)
THEN = Settings(then_terminate=True)


def completing(state: str = "terminateJob") -> FakeService:
    """A service whose job completes once its tasks are complete."""
    service = FakeService()
    service.job = Job("job-1", "active", on_all_tasks_complete=state)
    return service


def held() -> str | None:
    """What the last run's journal says that the job is to have again."""
    return runs.held_by(runs.find("last"))


def test_held_and_put_back(task_file: Path) -> None:
    """The former value, as the service spelt it, is put back when all is done."""
    service = completing()

    ended = run_of(task_file, service, HOLD)

    assert ended.error is None
    assert service.patched == ["noaction", "terminateJob"]
    assert held() is None


def test_on_the_disk_before_it_is_changed(task_file: Path) -> None:
    """What is to be put back is in the journal before the job is changed."""
    service = completing()
    noted: list[str | None] = []
    patch = service.patch_job

    async def look(on_all_tasks_complete: str) -> Unavailable | None:
        noted.append(held())
        return await patch(on_all_tasks_complete)

    service.patch_job = look  # type: ignore[method-assign]  # The double's double.
    run_of(task_file, service, HOLD)

    assert noted == ["terminateJob", "terminateJob"]


@pytest.mark.parametrize("state", ["noaction", "noAction"])
def test_a_job_that_does_not_complete_by_itself(task_file: Path, state: str) -> None:
    """Nothing needs to be held back, and nothing is changed."""
    service = completing(state)

    run_of(task_file, service, HOLD)

    assert service.patched == []


def test_put_back_when_stopped(task_file: Path) -> None:
    """A run that is stopped puts it back, too."""
    service = completing()

    ended = run_of(task_file, service, HOLD, beside=stopping(2.0))

    assert isinstance(ended.error, NotConverged)
    assert service.patched == ["noaction", "terminateJob"]


def test_put_back_after_a_bad_line(tmp_path: Path) -> None:
    """So does one that a line which is no task has ended."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines(3) + b"no task\n")
    service = completing()

    run_of(path, service, HOLD)

    assert service.patched == ["noaction", "terminateJob"]


def test_put_back_by_the_resume(task_file: Path) -> None:
    """What an end could not put back, the resume does, whether or not it is asked to hold."""
    service = completing()
    patch = service.patch_job

    async def once(on_all_tasks_complete: str) -> Unavailable | None:
        if service.patched:
            raise ServiceRefused(Refusal.AUTHENTICATION, "no", "no")
        return await patch(on_all_tasks_complete)

    service.patch_job = once  # type: ignore[method-assign]  # The double's double.
    ended = run_of(task_file, service, HOLD, beside=stopping(2.0))
    run_id = str(ended.report.run_id)

    assert service.patched == ["noaction"]
    assert held() == "terminateJob"

    well = FakeService()
    run_of(task_file, well, resume=run_id)

    assert well.patched == ["terminateJob"]
    assert held() is None


def cut_off_while_held(task_file: Path) -> str:
    """A run that was killed once its job was held back, before anything was sent; its name."""
    with closing(open_source(task_file)) as source:
        work = begin(source)
        work.journal.hold("terminateJob")
        work.journal.close()
    return work.run_id


def test_not_forgotten_before_anything_was_sent(task_file: Path) -> None:
    """A run that has yet to give something back is in the way of a new one."""
    run_id = cut_off_while_held(task_file)

    with closing(open_source(task_file)) as source, pytest.raises(UnfinishedRun) as told:
        begin(source)

    assert told.value.run_id == run_id


@pytest.mark.parametrize("changed", [False, True])
def test_a_new_run_gives_back_what_another_held(task_file: Path, changed: bool) -> None:  # noqa: FBT001 - pytest's
    """
    One that stands in for it, as it was asked to or since the file was mended, takes that over.
    """
    former = cut_off_while_held(task_file)
    if changed:
        change_file(task_file, "grown")
    service = FakeService()

    with closing(open_source(task_file)) as source:
        work = begin(source, on_unfinished="stop" if changed else "new")
        work.journal.close()
    run_of(task_file, service, resume=work.run_id)

    assert service.patched == ["terminateJob"]
    assert held() is None
    assert runs.held_by(runs.find(former)) is None


def test_a_pipe_cannot_hold() -> None:
    """Without a journal nothing would put it back after a crash."""
    service = completing()

    ended, _ = run_virtual(lambda: flood([b'{"id":"a","commandLine":"c"}'], service, HOLD))

    assert isinstance(ended.error, SettingsError)
    assert service.patched == []


def test_a_warning(task_file: Path) -> None:
    """Without the flag nothing is changed, and the user is warned."""
    events: list[Event] = []
    service = completing()

    ended, _ = run_virtual(lambda: flood(task_file, service, observer=events.append))

    assert ended.error is None
    assert service.patched == []
    (note,) = [event for event in events if isinstance(event, Noted)]
    assert "--then-terminate" in note.text


def test_it_cannot_be_held(task_file: Path) -> None:
    """A job that cannot be changed is not flooded."""
    service = completing()
    service.patch = Unavailable("HTTP 500", sent=True, answered=True)

    ended = run_of(task_file, service, HOLD)

    assert isinstance(ended.error, ServiceUnreachable)
    assert service.sent == []


def test_the_service_does_not_let_it_be_held(task_file: Path) -> None:
    """
    The reference says that terminatejob cannot be turned off again: nothing is sent then, and
    there is nothing to be put back.
    """
    service = completing()
    service.patch = ServiceRefused(Refusal.REQUEST, "InvalidPropertyValue", "no")

    ended = run_of(task_file, service, HOLD)

    assert isinstance(ended.error, SettingsError)
    assert "onAllTasksComplete=noaction" in str(ended.error)
    assert service.sent == []
    assert held() is None


# --- Then terminate ------------------------------------------------------------------------------


def test_then_terminate(task_file: Path) -> None:
    """Once every task exists the job may complete by itself; also if it had been held."""
    for settings in (THEN, Settings(then_terminate=True, hold_auto_terminate=True)):
        service = FakeService()

        run_of(task_file, service, settings)

        assert service.patched == ["terminatejob"]


@pytest.mark.parametrize(
    ("reply", "after_s"), [(rejects, None), (None, 2.0)], ids=["some rejected", "stopped"]
)
def test_not_unless_every_task_exists(
    task_file: Path, reply: Callable[..., object] | None, after_s: float | None
) -> None:
    """A task that was rejected, or not sent, is not there when the job completes."""
    service = FakeService(reply) if reply else FakeService()  # type: ignore[arg-type]

    run_of(task_file, service, THEN, beside=stopping(after_s) if after_s else None)

    assert service.patched == []


def test_a_converged_run_still_does_it(task_file: Path) -> None:
    """Resuming a run that has converged still lets the job complete."""
    ended = run_of(task_file, FakeService())
    service = FakeService()

    again = run_of(task_file, service, THEN, resume=str(ended.report.run_id))

    assert again.report.converged
    assert service.sent == []
    assert service.patched == ["terminatejob"]


def test_it_fails(task_file: Path) -> None:
    """That the job cannot be changed in the end is an error, though all tasks exist."""
    service = FakeService()
    service.patch = Unavailable("HTTP 500", sent=True, answered=True)

    ended = run_of(task_file, service, THEN)

    assert isinstance(ended.error, ServiceUnreachable)
    assert ended.report.added == 5000
