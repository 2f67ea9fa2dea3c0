"""Told before anything is sent: validate, --check-first, --dry-run; and duplicate IDs."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from bulksubmit.emulator.store import JobState
from tests.end_to_end.account import listening, make_service, make_tasks, write_lines
from tests.end_to_end.commands import bulksubmit, bulksubmit_here, submit

WRONG = [
    b'{"id":"t-00001","commandLine":"c"}',
    b'{"id":"b c","commandline":"c","requiredSlots":0}',
    b"",
    b"no json",
    b'{"id":"T-00001","commandLine":"c"}',
    b'{"id":"d","commandLine":"c","requiredSlots":2,"multiInstanceSettings":%s}'
    % b'{"coordinationCommandLine":"c"}',
]


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A file with something of everything."""
    return write_lines(tmp_path / "tasks.jsonl", WRONG)


# --- validate ------------------------------------------------------------------------------------


def test_validate_lists_everything(wrong: Path) -> None:
    """Every error of every line, duplicates at the end; counts by kind; exit code 2."""
    ended = bulksubmit_here("validate", wrong, env={})

    assert ended.exit_code == 2
    for text in (
        "2: id 'b c' holds ' '; the service takes letters, digits, - and _",
        "2: commandline: unknown field; did you mean commandLine?",
        "2: commandLine missing",
        "2: requiredSlots is 0",
        "4: not valid JSON",
        "5: id 'T-00001' is also that of",
        "6: warning: requiredSlots",
    ):
        assert f"{wrong}:{text}" in ended.stdout
    table = [line.split("  ") for line in ended.stdout.split("\n\n")[1].splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in table]
    assert {row[-2]: row[-1] for row in cells}.items() >= {
        "unknown field": "1",
        "not json": "1",
        "duplicate id": "1",
        "tasks": "5",
        "of them invalid": "2",
        "with the ID of another": "1",
    }.items()


def test_validate_as_json(wrong: Path) -> None:
    """One object: each problem, and the counts."""
    ended = bulksubmit_here("validate", wrong, "--output", "json", env={})

    found = orjson.loads(ended.stdout)
    assert ended.exit_code == 2
    assert not found["valid"]
    assert (found["tasks"], found["invalid"]) == (5, 2)
    assert found["errors"]["duplicate_id"] == 1
    assert sum(found["errors"].values()) == len([p for p in found["problems"] if not p["warning"]])
    assert found["warnings"] == {"bad_combination": 1}


def test_validate_says_that_all_is_well(tmp_path: Path) -> None:
    """Exit code 0, and how many tasks there are."""
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(1000))
    ended = bulksubmit_here("validate", path, "--output", "json", env={})

    assert ended.exit_code == 0
    assert orjson.loads(ended.stdout) == {
        "problems": [],
        "tasks": 1000,
        "invalid": 0,
        "errors": {},
        "warnings": {},
        "valid": True,
    }


def test_validate_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    """One object all the same, with the reason."""
    ended = bulksubmit_here("validate", tmp_path / "none", "--output", "json", env={})

    assert ended.exit_code == 2
    assert "cannot be opened" in orjson.loads(ended.stdout)["error"]


async def test_validate_reads_standard_input() -> None:
    """``-`` is standard input here, too; duplicates are named by their lines."""
    ended = await bulksubmit("validate", "-", stdin=b"\n".join([*2 * make_tasks(2), b""]))

    assert ended.exit_code == 2
    assert "<stdin>:3: its id is also that of <stdin>:1" in ended.stdout


# --- Duplicates ----------------------------------------------------------------------------------


async def test_duplicates_are_told_at_the_end(tmp_path: Path) -> None:
    """
    A submission is not held up by the search: the same task again exists, another one under the
    same ID is rejected, and both places are told.
    """
    tasks = make_tasks(300)
    other = b'{"id":"T-00007","commandLine":"other"}'
    path = write_lines(tmp_path / "tasks.jsonl", [*tasks, tasks[5], other])
    async with listening(make_service()) as account:
        ended = await submit(account, path, "--rejects", tmp_path / "rejects")

        assert ended.exit_code == 6
        assert (ended.report["added"], ended.report["existed"]) == (300, 1)
        assert f"{path}:301: id 't-00005' is also that of {path}:6" in ended.stderr
        assert f"{path}:302: id 'T-00007' is also that of {path}:8" in ended.stderr
        account.assert_holds(tasks)


async def test_check_first_finds_everything_before(wrong: Path) -> None:
    """--check-first reads all of the source, and sends nothing if something is wrong."""
    async with listening(make_service()) as account:
        ended = await submit(account, wrong, "--check-first")

        assert ended.exit_code == 2
        assert account.adds == 0
        for text in ("requiredSlots is 0", "not valid JSON", "is also that of", "validate"):
            assert text in ended.report["error"]


async def test_a_task_that_no_request_can_hold(tmp_path: Path) -> None:
    """validate tells it, and --check-first stops at it; submit alone rejects it, and goes on."""
    large = b'{"id":"large","commandLine":"%s"}' % (b"x" * 1_100_000)
    path = write_lines(tmp_path / "tasks.jsonl", [*make_tasks(2), large])
    validated = bulksubmit_here("validate", path, "--output", "json", env={})
    async with listening(make_service()) as account:
        checked = await submit(account, path, "--check-first")
        submitted = await submit(account, path)

        found = orjson.loads(validated.stdout)
        assert (found["invalid"], found["errors"]) == (1, {"bad_length": 1})
        assert f"{path}:3" in found["problems"][0]["where"]
        assert checked.exit_code == 2
        assert "a request holds at most" in checked.report["error"]
        assert (submitted.exit_code, submitted.report["rejected"]) == (6, 1)


def test_nobody_reads_what_validate_says(tmp_path: Path) -> None:
    """A pipe that was closed is no error of the source."""
    path = write_lines(tmp_path / "tasks.jsonl", [b"no json"] * 20_000)
    command = f"{sys.executable} -m bulksubmit validate {path} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)

    assert done.stdout.startswith(f"{path}:1: not valid JSON")
    assert done.stderr == ""


async def test_check_first_of_a_good_source(tmp_path: Path) -> None:
    """It is read twice, and sent once."""
    tasks = make_tasks(300)
    async with listening(make_service()) as account:
        path = write_lines(tmp_path / "tasks.jsonl", tasks)
        ended = await submit(account, path, "--check-first")

        assert ended.exit_code == 0
        account.assert_holds(tasks)


async def test_check_first_of_a_pipe() -> None:
    """A pipe cannot be read twice, unless a copy is kept."""
    async with listening(make_service()) as account:
        refused = await submit(account, "-", "--check-first", stdin=b"\n".join(make_tasks(3)))
        copied = await submit(
            account, "-", "--check-first", "--spool", stdin=b"\n".join(make_tasks(3))
        )

        assert refused.exit_code == 2
        assert "reads the source twice" in refused.report["error"]
        assert copied.exit_code == 0


# --- Dry run -------------------------------------------------------------------------------------


async def test_a_dry_run_sends_nothing(tmp_path: Path) -> None:
    """It reads, checks, cuts, signs in and looks at the job, and says what would be sent."""
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(250))
    results = tmp_path / "results.ndjson"
    async with listening(make_service()) as account:
        ended = await submit(account, path, "--dry-run", "--results", results)

        assert ended.exit_code == 0
        assert (
            orjson.loads(ended.stdout).items()
            >= {
                "dry_run": True,
                "tasks": 250,
                "requests": 3,
                "rejected": 0,
            }.items()
        )
        assert account.adds == 0
        assert len(account.job) == 0
        assert account.service.record.requests == 1
        assert not results.exists()  # It would say that they were added.


@pytest.mark.parametrize(("flags", "exit_code"), [((), 2), (("--invalid", "reject"), 6)])
async def test_a_dry_run_of_a_bad_source(
    wrong: Path, tmp_path: Path, flags: tuple[str, ...], exit_code: int
) -> None:
    """It ends as the submission would; rejects are written where they are asked for."""
    rejected = tmp_path / "rejects.ndjson"
    async with listening(make_service()) as account:
        ended = await submit(account, wrong, "--dry-run", "--rejects", rejected, *flags)

        assert ended.exit_code == exit_code
        assert len(rejected.read_bytes().splitlines()) == (2 if flags else 0)


async def test_a_dry_run_looks_at_the_job(tmp_path: Path) -> None:
    """A job that takes no tasks is told as it would be, by its exit code."""
    path = write_lines(tmp_path / "tasks.jsonl", make_tasks(3))
    async with listening(make_service()) as account:
        account.job.state = JobState.COMPLETED
        ended = await submit(account, path, "--dry-run")

        assert ended.exit_code == 7
        assert "JobCompleted" in orjson.loads(ended.stdout)["error"]


async def test_tasks_that_the_job_does_not_take(tmp_path: Path) -> None:
    """A task with dependsOn is no task for a job without usesTaskDependencies."""
    task = b'{"id":"a","commandLine":"c","dependsOn":{"taskIds":["b"]}}'
    path = write_lines(tmp_path / "tasks.jsonl", [task])
    async with listening(make_service()) as account:
        ended = await submit(account, path)

        assert ended.exit_code == 2
        assert "dependsOn" in ended.report["error"]
        assert "usesTaskDependencies" in ended.report["error"]
