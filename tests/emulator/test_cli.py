"""``bulksubmit emulator`` as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.error import HTTPError

import orjson
import pytest
from click.testing import CliRunner

from bulksubmit.cli.emulator import _RATES, _shown, emulator
from bulksubmit.core import sharedkey
from bulksubmit.emulator import Fault
from tests.emulator.calls import ADD, make_body, statuses

RUN = "from bulksubmit.cli.emulator import emulator; emulator()"
KEY_VARIABLE = "AZURE_BATCH_ACCESS_KEY"
GIVEN_KEY = "YSBrZXkgZm9yIHRlc3RzIGFsb25l"
LINE = re.compile(
    r"emulator at (?P<endpoint>http://127\.0\.0\.1:\d+), page (?P=endpoint)/_emulator, "
    r"account (?P<account>\w+), jobs j1 j2: "
    r"AZURE_BATCH_ACCOUNT=(?P=account) AZURE_BATCH_ENDPOINT=(?P=endpoint)"
    r"(?: AZURE_BATCH_ACCESS_KEY=(?P<key>\S+))? bulksubmit submit tasks\.jsonl --job-id j1"
    r"(?P<given> \(AZURE_BATCH_ACCESS_KEY is as given\))?\n"
)


@contextmanager
def running(
    *arguments: str, key: str | None = None, jobs: tuple[str, ...] = ("--job", "j1", "--job", "j2")
) -> Iterator[subprocess.Popen[str]]:
    """The process; ended by SIGTERM if nothing else ends it."""
    environment = {name: text for name, text in os.environ.items() if name != KEY_VARIABLE}
    if key is not None:
        environment[KEY_VARIABLE] = key
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *jobs, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def read_line(process: subprocess.Popen[str]) -> re.Match[str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    match = LINE.fullmatch(line)
    assert match is not None, line
    return match


def add_signed(endpoint: str, account: str, key: str, body: bytes = make_body("a")) -> int:
    """The status of one signed request."""
    return send_signed(endpoint, account, key, body)[0]


def send_signed(endpoint: str, account: str, key: str, body: bytes) -> tuple[int, bytes]:
    """The answer's status and body."""
    path, _, query = ADD.partition("?")
    headers = {
        "content-length": str(len(body)),
        "content-type": "application/json; odata=minimalmetadata",
        "ocp-date": formatdate(time.time(), usegmt=True),
    }
    name, _, value = query.partition("=")
    text = sharedkey.string_to_sign("POST", account, path, [(name, value)], headers)
    signature = sharedkey.signature(sharedkey.decode_key(key), text)
    headers["Authorization"] = f"SharedKey {account}:{signature}"
    request = urllib.request.Request(f"{endpoint}{ADD}", body, headers)  # noqa: S310  Loopback.
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  Loopback.
        return response.status, response.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_told_to_stop(number: signal.Signals) -> None:
    """One line says how to point a client at it; a signal ends it well."""
    with running("--account-name", "mine", "--seed", "7") as process:
        line = read_line(process)
        status = add_signed(line["endpoint"], line["account"], line["key"])
        process.send_signal(number)
        rest, _ = process.communicate(timeout=10)

    assert status == 200
    assert (line["account"], line["given"]) == ("mine", None)
    assert (process.returncode, rest) == (0, "")


def test_jobs_and_rules_of_the_command_line(tmp_path: Path) -> None:
    """A job in short, one from a file, and a service that accepts unknown properties."""
    path = tmp_path / "job.json"
    job = {"id": "j2", "poolInfo": {"poolId": "p"}, "onAllTasksComplete": "terminatejob"}
    path.write_bytes(orjson.dumps(job))
    flags = ("--job", "j1,usesTaskDependencies=true,displayName=one", "--job-json", str(path))
    task = {"id": "a", "commandLine": "x", "dependsOn": {"taskIds": ["b"]}, "new": 1}
    with running("--unknown-properties", "accept", jobs=flags) as process:
        line = read_line(process)
        body = orjson.dumps({"value": [task]})
        status, answer = send_signed(line["endpoint"], line["account"], line["key"], body)

    assert (status, orjson.loads(answer)["value"][0]["status"]) == (200, "Success")


def test_switches_of_the_command_line() -> None:
    """Words and numbers, several at once: the service is as they say."""
    flags = ("--empty-collection", "refuse", "--too-many-tasks-code", "InvalidPropertyValue")
    numbers = ("--task-bytes-max", "40", "--zero-timeout", "accept", "--list-lag-s", "1.5")
    with running(*flags, *numbers, "--duplicate-ids", "none") as process:
        line = read_line(process)
        where = line["endpoint"], line["account"], line["key"]
        large = {"id": "large", "commandLine": "x" * 40}
        tasks = [{"id": each, "commandLine": "x"} for each in ("a", "A", "b")]
        _, answer = send_signed(*where, orjson.dumps({"value": [large, *tasks]}))
        refused = []
        for body in (b'{"value":[]}', make_body(*[f"t{number}" for number in range(101)])):
            with pytest.raises(HTTPError) as error:
                send_signed(*where, body)
            with error.value:
                refused.append(orjson.loads(error.value.read())["code"])

    assert refused == ["InvalidRequestBody", "InvalidPropertyValue"]
    assert statuses(orjson.loads(answer)["value"]) == {
        "large": "RequestBodyTooLarge",
        "a": "InvalidPropertyValue",
        "A": "InvalidPropertyValue",
        "b": "Success",
    }


def test_a_scenario_is_served(tmp_path: Path) -> None:
    """How much the service can do comes from a file, beside what the flags say."""
    path = tmp_path / "slow.toml"
    path.write_text("[service]\nlatency_ms = 60\nserver_error = 1\n")
    with running("--scenario", str(path), "--latency-ms", "60") as process:
        line = read_line(process)
        begun_s = time.monotonic()
        status, answer = send_signed(line["endpoint"], line["account"], line["key"], make_body("a"))
        took_s = time.monotonic() - begun_s

    assert (status, orjson.loads(answer)["value"][0]["status"]) == (200, "ServerError")
    assert took_s >= 0.12


def test_a_file_that_is_no_scenario(tmp_path: Path) -> None:
    """The file is named, and what would be right."""
    path = tmp_path / "limit.toml"
    path.write_text("[service]\nparalel = 16\n")

    result = CliRunner().invoke(emulator, ["--scenario", str(path)], env={KEY_VARIABLE: None})

    assert result.exit_code == 2
    output = " ".join(result.output.split())
    assert "--scenario: limit.toml: service.paralel: unknown; did you mean parallel?" in output


def test_a_given_key_is_not_shown() -> None:
    """The key of the environment is taken, and not printed."""
    with running(key=GIVEN_KEY) as process:
        line = read_line(process)
        status = add_signed(line["endpoint"], line["account"], GIVEN_KEY)

    assert status == 200
    assert GIVEN_KEY not in line[0]
    assert (line["key"], bool(line["given"])) == (None, True)


def test_a_key_from_a_file_goes_first(tmp_path: Path) -> None:
    """A key file outdoes the environment, and is not printed either."""
    path = tmp_path / "key"
    path.write_text(GIVEN_KEY + "\n")
    with running("--account-key-file", str(path), key="bm90IHRoaXM=") as process:
        line = read_line(process)
        status = add_signed(line["endpoint"], line["account"], GIVEN_KEY)

    assert status == 200
    assert GIVEN_KEY not in line[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "no loopback address"),  # noqa: S104  Refused, that is the point.
        (["--host", "example.com"], "no loopback address"),
        (["--drop-after", "1.5"], "a rate is 0 to 1"),
        (["--drop-after", "0.7", "--busy", "0.7"], "at most one fault strikes"),
        (["--job", "a b"], "letters, digits"),
        (["--job", "j", "--job", "J"], "JobExists"),
        (["--job", "j,usesTaskDependencies"], "no name=value"),
        (["--job", "j,usesTaskDependencies=yes"], "true or false"),
        (["--job", "j,priority=1,priority=2"], "no name=value"),
        (["--job", "j,usesTaskDependancies=true"], "UnsupportedProperty"),
        (["--job-json", "missing"], "does not exist"),
        (["--unknown-properties", "refuse"], "not one of"),
        (["--account-key-file", "missing"], "does not exist"),
        (["--scenario", "missing"], "does not exist"),
    ],
)
def test_bad_usage(arguments: list[str], message: str) -> None:
    """What cannot be served is said, with exit code 2, before anything listens."""
    result = CliRunner().invoke(emulator, arguments, env={KEY_VARIABLE: None})

    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_job_file_that_is_no_job(tmp_path: Path) -> None:
    """The file is named, and what is wrong with it."""
    path = tmp_path / "job.json"
    path.write_text('{"poolInfo": {}}')

    result = CliRunner().invoke(emulator, ["--job-json", str(path)], env={KEY_VARIABLE: None})

    assert result.exit_code == 2
    output = "".join(result.output.split())
    assert str(path) in output
    assert "MissingRequiredProperty,PropertyName:id" in output


def test_a_bad_key_is_not_quoted() -> None:
    """A key that is not base64 is named by where it came from."""
    result = CliRunner().invoke(emulator, [], env={KEY_VARIABLE: "not-base64!"})

    assert result.exit_code == 2
    assert KEY_VARIABLE in result.output
    assert "not-base64!" not in result.output


@pytest.mark.parametrize(
    ("jobs", "shown"), [(0, "none"), (1, "0"), (10, "0 1 2 3 4 5 6 7 8 9"), (12, "8 9 and 2 more")]
)
def test_many_jobs_are_not_all_shown(jobs: int, shown: str) -> None:
    """The line stays one that a person reads, however many jobs a file holds."""
    assert _shown([str(number) for number in range(jobs)]).endswith(shown)


def test_every_fault_has_a_flag() -> None:
    """The command line offers each rate there is."""
    named = {name for rates in _RATES.values() for name in rates}

    assert named == {*Fault, "server_error", "server_error_added"}


def test_help_has_its_options_in_groups() -> None:
    """The help shows the flags, the groups, and the environment it reads."""
    output = CliRunner().invoke(emulator, ["--help"]).output

    for expected in (*_RATES, "--drop-after RATE", KEY_VARIABLE):
        assert expected in output
