"""IDs that are taken: by our own tasks, by others', and by whom is found out over HTTP."""

from collections import Counter
from pathlib import Path

import pytest

from bulksubmit import Settings, Verdict
from bulksubmit.core.model import OnExists
from bulksubmit.emulator.exchange import Operation
from bulksubmit.emulator.faults import Faults
from tests.end_to_end.account import (
    Account,
    flood,
    listening,
    make_service,
    make_tasks,
    read_rows,
    refusing,
    write_lines,
)
from tests.end_to_end.commands import submit

OTHER = b'{"id":"t-%05d","commandLine":"somebody else\'s","displayName":"theirs"}'


def lookups(account: Account) -> int:
    """How many lists, and tasks one by one, were asked for."""
    counts = account.service.record.by_operation
    return counts[Operation.LIST_TASKS] + counts[Operation.GET_TASK]


def seed(account: Account, tasks: list[bytes], *, other: int, same: int) -> None:
    """Add tasks of these IDs beforehand: the first ones with other content."""
    for number in range(other):
        account.job.add(f"t-{number:05}", OTHER % number, ticks=1)
    for number in range(other, other + same):
        account.job.add(f"t-{number:05}", tasks[number], ticks=1)


async def test_who_took_an_id_is_found_out(tmp_path: Path) -> None:
    """
    Of 50 IDs that are taken beforehand, the 40 with our content existed; the 10 with another are
    rejected, naming the field, and stay as they are. It takes a list or two.
    """
    tasks = make_tasks(1000)
    async with listening(make_service()) as account:
        seed(account, tasks, other=10, same=40)
        ended = await submit(
            account, write_lines(tmp_path / "tasks.jsonl", tasks), "--rejects", tmp_path / "rejects"
        )

        assert ended.exit_code == 6
        counts = {name: ended.report[name] for name in ("added", "existed", "rejected")}
        assert counts == {"added": 950, "existed": 40, "rejected": 10}
        assert ended.report["existed_own"] == 0
        rows = read_rows(tmp_path / "rejects")
        assert {row["task_id"] for row in rows} == {f"t-{n:05}" for n in range(10)}
        for row in rows:
            assert row["code"] == "TaskExists"
            assert "commandLine" in row["message"]
            assert [value["key"] for value in row["values"]] == ["commandLine"]
            assert not row["in_doubt"]
        account.assert_holds([*(OTHER % n for n in range(10)), *tasks[10:]])
        assert lookups(account) <= 3


async def test_a_file_that_was_submitted_before_is_told_by_a_few_lists() -> None:
    """
    5,000 tasks submitted again exist, all of them, and it takes a list for each volley: not a
    request for each task.
    """
    tasks = make_tasks(5_000)
    async with listening(make_service()) as account:
        seed(account, tasks, other=0, same=5_000)
        run = await flood(account, tasks)

        assert run.error is None
        assert len(run.of(Verdict.EXISTED)) == 5_000
        assert lookups(account) <= 50


async def test_rich_tasks_are_known_again() -> None:
    """
    A task is known again though the service fills in defaults, and spells words and durations
    in its own way.
    """
    task = (
        b'{"id":"Rich_1","commandLine":"x","displayName":"\xc3\x9c","requiredSlots":1,'
        b'"constraints":{"maxWallClockTime":"PT60M","maxTaskRetryCount":3},'
        b'"userIdentity":{"autoUser":{"elevationLevel":"NonAdmin"}},'
        b'"environmentSettings":[{"name":"A","value":"1"}],'
        b'"resourceFiles":[{"httpUrl":"https://a.example/f?sig=secret","filePath":"f"}]}'
    )
    changed = task.replace(b'"value":"1"', b'"value":"2"').replace(b"PT60M", b"PT61M")
    async with listening(make_service()) as account:
        account.job.add("rich_1", task.replace(b"PT60M", b"PT1H"), ticks=1)
        same, other = await flood(account, [task]), await flood(account, [changed])

    assert [outcome.verdict for outcome in same.outcomes] == [Verdict.EXISTED]
    (outcome,) = other.outcomes
    assert outcome.verdict is Verdict.REJECTED
    named = {detail.key for detail in outcome.values}
    assert named == {"constraints.maxWallClockTime", "environmentSettings[0].value"}


MODES: list[tuple[OnExists, int, int, int]] = [
    ("verify", 40, 10, 3),
    ("accept", 50, 0, 0),
    ("reject", 0, 50, 0),
]


@pytest.mark.parametrize(("on_exists", "existed", "rejected", "lists_max"), MODES)
async def test_what_becomes_of_taken_ids_is_the_users_to_say(
    on_exists: OnExists, existed: int, rejected: int, lists_max: int
) -> None:
    """
    To verify is to look at each, to accept takes all for ours, to reject takes none; the last
    two need not look.
    """
    tasks = make_tasks(100)
    async with listening(make_service()) as account:
        seed(account, tasks, other=10, same=40)
        run = await flood(account, tasks, settings=Settings(on_exists=on_exists))

        assert (run.report.existed, run.report.rejected) == (existed, rejected)
        assert run.report.added == 50
        assert lookups(account) <= lists_max


@pytest.mark.thorough
async def test_ours_and_theirs_are_told_apart_through_faults() -> None:
    """
    Connections cut and answers cut short, of lists as well: what an attempt of ours added is
    ours, and what was there before is not.
    """
    tasks = make_tasks(2_000)
    faults = Faults(
        drop_after=0.1, drop_answer=0.1, truncated=0.1, server_error_added=0.05, everywhere=True
    )
    async with listening(make_service(faults)) as account:
        seed(account, tasks, other=20, same=20)
        run = await flood(account, tasks)

        assert run.error is None
        verdicts = Counter(outcome.verdict for outcome in run.outcomes)
        assert verdicts[Verdict.REJECTED] == 20
        assert {outcome.ordinal for outcome in run.of(Verdict.REJECTED)} == set(range(20))
        account.assert_holds([*(OTHER % n for n in range(20)), *tasks[20:]])


async def test_one_id_twice_in_the_source() -> None:
    """
    Of two lines with one ID, the second existed if it is the same, and is rejected otherwise.
    """
    first, second, third = make_tasks(3)
    other = first.replace(b"echo", b"cat")
    async with listening(make_service()) as account:
        run = await flood(account, [first, second, second, other, third])

        assert (run.report.added, run.report.existed, run.report.rejected) == (3, 1, 1)
        (rejected,) = run.of(Verdict.REJECTED)
        assert rejected.line == 4
        account.assert_holds([first, second, third])


async def test_a_refused_list_ends_the_run() -> None:
    """
    Whoever may add tasks but not list them is told so, and nothing is settled by guess.
    """
    tasks = make_tasks(10)
    service = make_service(
        script=lambda call: (
            refusing("Forbidden", 403) if call.operation is Operation.LIST_TASKS else None
        )
    )
    async with listening(service) as account:
        seed(account, tasks, other=5, same=5)
        run = await flood(account, tasks)

    assert run.report.exit_code == 4
    assert run.report.unsettled == run.report.in_doubt == 10
