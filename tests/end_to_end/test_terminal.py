"""What a person sees on a terminal while a run goes on, and after it."""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Faults
from tests.end_to_end.account import (
    JOB_ID,
    Account,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import as_user_of, assert_no_secret, running
from tests.end_to_end.terminal import on_terminal

SUBMIT = ("submit", "--job-id", JOB_ID, "--concurrency", "4")
SLOW = Faults(latency_s=0.1, server_error=0.02, throttled=0.02)

# What the panel is made of, each whole.
_HOW_FAR = r"[\d,]+ of (≥ )?[\d,]+ settled(, reading…)?"
_PART = re.compile(
    rf"[ \d]{{2}}\d% [━╸─]+( {_HOW_FAR})?|{_HOW_FAR}|starting: nothing was read yet"
    r"|[\d,]+/s (now|mean)|[\d hmins]+ left|limited by: [a-z ()]+|holding, .*|stopping"
    r"|[\d,]+ (added|existed|retrying|being looked up|in doubt)"
    r"|[\d,]+ in flight(, limit [\d.]+( \([a-z ]+\))?)?|[\d.]+% throttled|p95 [\d,.]+ m?s"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "tasks.jsonl", make_tasks(4_000, padding=100))


def user(account: Account, folder: Path) -> dict[str, str]:
    return as_user_of(account) | {"BULKSUBMIT_STATE_DIR": str(folder / "state")}


def panel_of(frame: str) -> list[str]:
    """The lines below the notes."""
    lines = frame.splitlines()
    begin = next((n for n, line in enumerate(lines) if "%" in line or "settled" in line), None)
    return [] if begin is None else lines[begin:]


def assert_whole(panel: list[str]) -> None:
    """No line of it is wrapped, cut, or left over from before."""
    for line in panel:
        for part in line.removeprefix("  ").split(" · ") if "%" not in line[:4] else [line]:
            assert _PART.fullmatch(part), panel
    assert sum("in flight" in line for line in panel) == 1


@pytest.mark.parametrize("columns", [40, 100])
async def test_a_run_from_its_beginning_to_its_end(
    source: Path, tmp_path: Path, columns: int
) -> None:
    """
    Each frame is whole: no line is wrapped or left over, the percentage only grows, and is 100
    in no frame before all is settled. At the end the panel is gone, and the report is there.
    """
    async with listening(make_service(SLOW)) as account:
        async with on_terminal(
            *SUBMIT, source, env=user(account, tmp_path), columns=columns, rows=40
        ) as terminal:
            seen = await terminal.end()

        assert len(account.job) == 4_000
    assert terminal.exit_code == 0
    assert "yes: every task is settled" in seen
    assert not panel_of(seen[: seen.index("converged")])
    assert_no_secret(seen)
    during = [frame for frame in terminal.frames if "in flight" in frame]
    panels = [panel_of(frame) for frame in during if "converged" not in frame]
    assert len(panels) >= 2
    for panel in panels:
        assert_whole(panel)
    panels = [panel for panel in panels if "%" in panel[0]]
    percents = [int(panel[0][:3]) for panel in panels]
    assert percents == sorted(percents)
    for percent, panel in zip(percents, panels, strict=True):
        assert percent < 100 or "4,000 of 4,000 settled" in " ".join(panel)


async def test_a_narrower_window_and_a_question(source: Path, tmp_path: Path) -> None:
    """
    The next frames fit, and nothing of those before is left. Asked by SIGUSR1, it tells a line
    at once, which stays above what is drawn; and the run goes on.
    """
    async with (
        listening(make_service(SLOW)) as account,
        on_terminal(*SUBMIT, source, env=user(account, tmp_path), columns=100) as terminal,
    ):
        await terminal.shows("/s mean")
        terminal.resize(40, 24)
        seen = await terminal.shows(lambda seen: re.search(r"─\n[\d,]+ of", seen) is not None)
        terminal.send_signal(signal.SIGUSR1)
        asked = await terminal.shows(
            lambda seen: re.search(r"^\d\d:\d\d", seen, re.MULTILINE) is not None
        )
        terminal.send_signal(signal.SIGINT)
        await terminal.end()

    assert_whole(panel_of(seen))
    assert re.search(r"\n\d\d:\d\d:\d\d [ \d]{3}% · [\d,]+ of (≥ )?", asked)
    assert terminal.exit_code == 130


async def test_asked_by_a_signal_though_quiet(source: Path, tmp_path: Path) -> None:
    """In a pipe, and quiet, nothing is told but what is asked for; even before it has begun."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    def look(call: Call) -> None:
        service.faults = Faults(latency_s=0.5)
        if call.operation is Operation.GET_JOB:
            reached.set()
        elif call.number == 1:
            go_on.set()

    service = make_service(script=look)
    async with (
        listening(service) as account,
        running(*SUBMIT, source, "--quiet", env=user(account, tmp_path)) as process,
    ):
        await reached.wait()
        process.send_signal(signal.SIGUSR1)
        first = await process.says("settled")
        await go_on.wait()
        process.send_signal(signal.SIGUSR1)
        await process.says("4 in flight")
        process.send_signal(signal.SIGINT)
        ended = await process.end()

    assert re.fullmatch(r"[\d:]{8}   0% · 0 of ≥ 0 settled · .*\n", first)
    assert ended.exit_code == 130
    lines = ended.stderr.splitlines()
    assert len(lines) == 3
    assert lines[-1] == "error: interrupted by SIGINT"


async def test_a_run_that_is_resumed(source: Path, tmp_path: Path) -> None:
    """What was done before is told at once."""
    reached = asyncio.Event()

    def look(call: Call) -> None:
        if call.operation is Operation.ADD_TASK_COLLECTION and call.number == 20:
            reached.set()

    service = make_service(Faults(latency_s=0.02), script=look)
    async with listening(service) as account:
        env = user(account, tmp_path)
        async with running(*SUBMIT, source, "--output", "json", env=env) as process:
            await reached.wait()
            process.send_signal(signal.SIGINT)
            before = (await process.end()).report
        service.faults = Faults(latency_s=0.05)
        async with on_terminal("runs", "resume", "last", env=env, columns=120) as terminal:
            await terminal.end()

    first = next(panel_of(frame) for frame in terminal.frames if "in flight" in frame)
    assert f"{before['added']:,} of ≥ {before['total']:,} settled" in first[0]
    assert f"{before['added']:,} added · {before['added']:,} in earlier processes" in first[1]
    assert before["added"] >= 1000


async def test_neither_colours_nor_unicode(tmp_path: Path) -> None:
    """With NO_COLOR, and an encoding that has no more than ASCII."""
    source = write_lines(tmp_path / "tasks.jsonl", make_tasks(2_000))
    plain = {"NO_COLOR": "1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    async with (
        listening(make_service(Faults(latency_s=0.15))) as account,
        on_terminal(*SUBMIT, source, env=user(account, tmp_path) | plain) as terminal,
    ):
        await terminal.end()

    assert terminal.exit_code == 0
    assert any(re.search(r"^[ \d]{3}% #+-+ ", frame, re.MULTILINE) for frame in terminal.frames)
    assert terminal.written.isascii()
    assert not re.search(rb"\x1b\[[\d;]*3\dm", terminal.written)


async def test_a_report_on_a_terminal(tmp_path: Path) -> None:
    """Long words are wrapped below themselves; a path stays in one piece."""
    source = write_lines(tmp_path / "tasks.jsonl", [*make_tasks(100), b'{"id":"x"}'])
    async with listening(make_service()) as account:
        env = user(account, tmp_path)
        async with on_terminal(
            *SUBMIT, source, "--invalid", "reject", env=env, columns=60
        ) as terminal:
            seen = await terminal.end()

    assert terminal.exit_code == 6
    assert re.search(rb"rejects +\x1b\[0m/\S+/rejects.ndjson\r\n", terminal.written)
    assert "  rejected   1" in seen
    assert "next         mend what the rejects file shows" in seen
    assert b"\x1b[31m1\x1b[0m" in terminal.written
