"""Runs whose source or journal is not what it was: no way on begins anew in silence."""

import os
from pathlib import Path

import pytest

from tests.end_to_end.account import Account, listening, make_service, make_tasks, write_lines
from tests.end_to_end.commands import Ended, as_user_of, bulksubmit, bulksubmit_here, submit
from tests.journal.runs import change_file

TASKS = make_tasks(1000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "tasks.jsonl", TASKS)


def is_there(path: Path) -> bool:
    return path.exists()


async def stopped(account: Account, source: Path) -> Ended:
    """A run that has sent something, and has not converged."""
    args = ("--max-duration", "0.05", "--concurrency", "1", "--max-tasks-per-request", "1")
    ended = await submit(account, source, *args)
    assert ended.exit_code == 5
    assert ended.report["added"]
    return ended


async def test_resume_of_a_changed_source_is_refused(source: Path) -> None:
    """
    Who asks to go on is told that it cannot be; who submits again begins anew, and is told of
    the run that is left.
    """
    async with listening(make_service()) as account:
        first = await stopped(account, source)
        change_file(source, "edited")
        adds = account.adds

        refused = await submit(account, source, "--resume")

        assert (refused.exit_code, account.adds) == (2, adds)
        assert "cannot go on" in refused.report["error"]
        anew = await submit(account, source)
        assert anew.report["run_id"] != first.report["run_id"]
        assert f"run {first.report['run_id']} of {source} is unfinished" in anew.stderr


async def test_a_journal_cut_to_nothing_is_damaged(source: Path) -> None:
    """
    A journal that was cut to nothing is not one that had not begun.
    """
    async with listening(make_service()) as account:
        first = await stopped(account, source)
        path = Path(first.report["journal_path"])
        os.truncate(path, 0)
        for way in ((), ("--resume",)):
            refused = await submit(account, source, *way)

            assert refused.exit_code == 2
            assert "it may be an unfinished run" in refused.report["error"]


async def test_a_converged_run_needs_no_source(source: Path) -> None:
    """
    Its report is there though the file has gone since.
    """
    async with listening(make_service()) as account:
        await submit(account, source)
        change_file(source, "gone")

        resume = ("runs", "resume", "last", "--output", "json")
        ended = await bulksubmit(*resume, env=as_user_of(account))

    assert ended.exit_code == 0
    assert ended.report["added"] == 1000


async def test_a_damaged_run_is_seen_and_can_be_removed(source: Path) -> None:
    """
    ``last`` does not mean the run before it, the list warns, and --force removes it.
    """
    async with listening(make_service()) as account:
        await stopped(account, source)
        change_file(source, "edited")
        damaged = await submit(account, source)
        path = Path(damaged.report["journal_path"])
        os.truncate(path, 4096)
        name = damaged.report["run_id"]

        for command in (("show", "last"), ("resume", "last")):
            assert bulksubmit_here("runs", *command, env={}).exit_code == 2
        listed = bulksubmit_here("runs", "list", env={})
        assert f"warning: {path}" in listed.stderr
        assert bulksubmit_here("runs", "rm", name, env={}).exit_code == 2
        assert is_there(path)
        assert bulksubmit_here("runs", "rm", "--force", "..", env={}).exit_code == 2
        assert bulksubmit_here("runs", "rm", "--force", name, env={}).exit_code == 0
        assert not is_there(path)
