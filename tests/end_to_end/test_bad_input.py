"""Whatever is wrong with what we are given: said clearly, with what would be right."""

from pathlib import Path

import pytest

from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    flood,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import Ended, as_user_of, bulksubmit, bulksubmit_here, submit

GOOD = b'{"id":"a","commandLine":"c"}'

# Where nobody is asked anything.
NOWHERE = {
    "AZURE_BATCH_ACCOUNT": NAME,
    "AZURE_BATCH_ENDPOINT": "http://127.0.0.1:9",
    "AZURE_BATCH_ACCESS_KEY": KEY,
}


def assert_ended(ended: Ended, exit_code: int, *words: str) -> None:
    """It ended with that code, and both its report and standard error say why."""
    assert ended.exit_code == exit_code
    for word in words:
        assert word in ended.report["error"]
    assert ended.report["error"] in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"no json", ["not valid JSON", "one JSON object a line"]),
        (b'{"id":"b","commandLine":"c"', ["not valid JSON"]),
        (b"[1, 2]", ["not a JSON object but an array", "one task a line"]),
        (b'{"commandLine":"c"}', ["id missing", "every task needs an id"]),
        (b'{"id":"b"}', ["commandLine missing"]),
        (b'{"id":"a b","commandLine":"c"}', ["id 'a b' holds ' '", "letters, digits, - and _"]),
        (b'{"id":"","commandLine":"c"}', ["id is empty"]),
        (b'{"id":7,"commandLine":"c"}', ["id is a number; it must be a string"]),
        (b'{"id":"%s","commandLine":"c"}' % (b"x" * 71), ["id has 71 characters", "at most 64"]),
        (b'{"id":"b","commandLine":"\xff"}', ["not UTF-8: byte 0xff"]),
    ],
    ids=lambda value: value[:20].decode(errors="replace") if isinstance(value, bytes) else "",
)
async def test_bad_line(tmp_path: Path, line: bytes, words: list[str]) -> None:
    """
    A line that is no task is named, as an editor shows it, and nothing is sent.
    """
    source = write_lines(tmp_path / "tasks.jsonl", [GOOD, b"", line])
    async with listening(make_service()) as account:
        run = await flood(account, source)

        assert account.adds == 0
    assert run.report.exit_code == 2
    for word in (f"{source}:3: ", *words):
        assert word in str(run.error)


async def test_bad_line_of_a_pipe() -> None:
    """
    The command says the same, of a pipe as well.
    """
    async with listening(make_service()) as account:
        ended = await submit(account, "-", stdin=GOOD + b"\n[1, 2]\n")

        assert account.adds == 0
    assert_ended(ended, 2, "<stdin>:2: not a JSON object but an array")


async def test_bad_line_after_much_was_sent(tmp_path: Path) -> None:
    """
    Far down in the file it ends the run with 5, as something was sent; what is in flight is
    taken in.
    """
    source = write_lines(tmp_path / "tasks.jsonl", [*make_tasks(20_000), b"{}"])
    async with listening(make_service()) as account:
        ended = await submit(account, source)

        assert ended.report["added"] == len(account.job) > 0
    assert_ended(ended, 5, f"{source}:20001: ", "id and commandLine missing")
    assert not ended.report["source_complete"]


@pytest.mark.parametrize("content", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf"])
async def test_no_task_at_all(tmp_path: Path, content: bytes) -> None:
    """
    A file without a task is a mistake.
    """
    source = tmp_path / "tasks.jsonl"
    source.write_bytes(content)
    async with listening(make_service()) as account:
        ended = await submit(account, source)

    assert_ended(ended, 2, f"{source}: holds no task", "one JSON object a line")


async def test_no_such_file(tmp_path: Path) -> None:
    """
    A file that is not there.
    """
    ended = await bulksubmit(
        *("submit", tmp_path / "tasks.jsonl", "--job-id", JOB_ID, "--output", "json"), env=NOWHERE
    )

    assert_ended(ended, 2, f"{tmp_path}/tasks.jsonl: cannot be opened: No such file")


async def test_directory(tmp_path: Path) -> None:
    """
    A directory.
    """
    ended = await bulksubmit(
        *("submit", tmp_path, "--job-id", JOB_ID, "--output", "json"), env=NOWHERE
    )

    assert_ended(ended, 2, f"{tmp_path}: is a directory", "name a file")


@pytest.mark.parametrize(
    ("changes", "flags", "exit_code", "words"),
    [
        ({"AZURE_BATCH_ENDPOINT": ""}, [], 2, ["no endpoint", "--account-endpoint"]),
        ({"AZURE_BATCH_ENDPOINT": "ftp://a"}, [], 2, ["not an https:// URL", "looks like"]),
        ({"AZURE_BATCH_ENDPOINT": "http://a.batch.azure.com"}, [], 2, ["in the clear", "https://"]),
        ({"AZURE_BATCH_ACCESS_KEY": "not base64!"}, [], 2, ["key", "az batch account keys list"]),
        ({"AZURE_BATCH_ACCOUNT": ""}, [], 2, ["no account name", "--account-name"]),
        ({}, ["--account-key-file", "/nowhere/key"], 2, ["/nowhere/key", "No such file"]),
        (
            {"AZURE_BATCH_ACCESS_KEY": ""},
            ["--auth-mode", "shared_key"],
            4,
            ["no key", "--account-key-file"],
        ),
        ({}, ["--job-id", "night 1"], 2, ["'night 1'", "letters, digits"]),
        ({}, ["--concurrency", "0"], 2, ["concurrency is 0", "from 1 to"]),
        ({}, ["--max-rejects", "many"], 2, ["max-rejects is 'many'", "100 or 5%"]),
        ({}, ["--max-tasks-per-request", "101"], 2, ["from 1 to 100"]),
        ({}, ["--log-file", "/nowhere/log"], 2, ["/nowhere/log cannot be written"]),
        ({}, ["--retry-timeout", "0.3"], 5, ["no usable answer", "check the endpoint"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_setting(
    tmp_path: Path, changes: dict[str, str], flags: list[str], exit_code: int, words: list[str]
) -> None:
    """
    A setting that is missing or cannot be right is found before anything is sent.
    """
    source = write_lines(tmp_path / "tasks.jsonl", [GOOD])
    env = {name: value for name, value in (NOWHERE | changes).items() if value}
    command = ("submit", source, "--job-id", JOB_ID, "--output", "json")
    ended = bulksubmit_here(*command, *flags, env=env)

    assert_ended(ended, exit_code, *words)
    assert ended.report["requests"] == 0


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--job-id"], "requires an argument"),
        (["--concurrency", "many"], "neither auto nor a whole number"),
        (["--auth-mode", "password"], "shared_key"),
        (["--no-such-flag"], "there is no option"),
    ],
)
def test_bad_flag(flags: list[str], word: str) -> None:
    """
    What is no command is no run either.
    """
    ended = bulksubmit_here("submit", "-", *flags, env=NOWHERE)

    assert (ended.exit_code, ended.stdout) == (2, "")
    assert word in ended.stderr


async def test_wrong_key(tmp_path: Path) -> None:
    """
    A key that is not the account's is found out before anything is sent.
    """
    source = write_lines(tmp_path / "tasks.jsonl", [GOOD])
    key_file = tmp_path / "key"
    key_file.write_text("b25lIG9mIGFub3RoZXIgYWNjb3VudA==")
    async with listening(make_service()) as account:
        ended = await submit(account, source, "--account-key-file", key_file)

        assert account.adds == 0
    assert_ended(ended, 4, "AuthenticationFailed", "check the account name and the key")


async def test_no_such_job(tmp_path: Path) -> None:
    """
    So is a job that does not exist.
    """
    source = write_lines(tmp_path / "tasks.jsonl", [GOOD])
    command = ("submit", source, "--job-id", "night-2", "--output", "json")
    async with listening(make_service()) as account:
        ended = await bulksubmit(*command, env=as_user_of(account))

        assert account.adds == 0
    assert_ended(ended, 3, "JobNotFound", "create the job first")


async def test_table_of_a_run_that_did_not_begin(tmp_path: Path) -> None:
    """
    Without a run there is no table: standard output stays empty.
    """
    command = ("submit", tmp_path / "tasks.jsonl", "--job-id", JOB_ID)
    ended = await bulksubmit(*command, env=NOWHERE)

    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ")
