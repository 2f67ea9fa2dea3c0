"""HTTPS and Entra, from the emulator's flags to the end of a run."""

import asyncio
import os
import re
import shlex
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Literal

import orjson
import pytest
from azure.identity.aio import ManagedIdentityCredential

from bulksubmit.emulator.access import Access
from bulksubmit.emulator.entra import PATHS, Authority
from bulksubmit.emulator.exchange import Answer, Call, Operation
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.service import Service
from bulksubmit.emulator.switches import Switches
from tests.end_to_end.account import JOB_ID, NAME, Account, flood, make_tasks, write_lines
from tests.end_to_end.commands import running

HOUR_S = 3600


def is_there(path: Path) -> bool:
    return path.exists()


async def paste(line: str, folder: Path) -> tuple[int, dict[str, object]]:
    """Run the command that the emulator printed, as its user would; the report as JSON."""
    command = re.sub(r" \([^()]*\)$", "", line.partition(f"jobs {JOB_ID}: ")[2].strip())
    process = await asyncio.create_subprocess_shell(
        f"{command} --output json",
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=folder,
        stdout=PIPE,
        stderr=PIPE,
    )
    stdout, stderr = await process.communicate()
    assert stdout, stderr.decode()
    assert process.returncode is not None
    return process.returncode, orjson.loads(stdout)


@pytest.mark.parametrize("flag", ["--tls", "--entra"])
@pytest.mark.parametrize("key", [None, "YSBrZXkgZm9yIHRlc3RzIGFsb25l"], ids=["made up", "given"])
async def test_the_printed_command_works(
    flag: str, key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Pasted into a shell, the line that the emulator prints submits over HTTPS, with a token of its
    authority or with the key; nothing is left of the certificate at the end.
    """
    write_lines(tmp_path / "tasks.jsonl", make_tasks(120))
    # The line takes care of it that no proxy comes between.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    if key is not None:
        monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", key)

    async with running(
        *("emulator", flag, "--job", JOB_ID, "--account-name", NAME, "--token-lifetime-s", "60")
    ) as emulator:
        line = await emulator.first_line()
        variables = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
        ca_path = Path(variables["SSL_CERT_FILE"])
        was_there = is_there(ca_path)
        exit_code, report = await paste(line, tmp_path)
        emulator.send_signal(signal.SIGTERM)
        ended = await emulator.end()

    assert (exit_code, report["added"]) == (0, 120)
    assert variables["AZURE_BATCH_ENDPOINT"].startswith("https://127.0.0.1:")
    assert ("AZURE_CLIENT_SECRET" in variables) == (flag == "--entra")
    assert (ended.exit_code, was_there, is_there(ca_path)) == (0, True, False)


async def test_the_certificate_can_be_kept(tmp_path: Path) -> None:
    """
    In a folder of the user's it stays, and the folder is made.
    """
    folder = tmp_path / "tls"
    async with running("emulator", "--tls-dir", folder, "--job", JOB_ID) as emulator:
        line = await emulator.first_line()
        emulator.send_signal(signal.SIGTERM)
        await emulator.end()

    assert f"SSL_CERT_FILE={shlex.quote(str(folder / 'ca.pem'))} " in line
    assert [path.name for path in folder.iterdir()] == ["ca.pem"]


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """
    It is said, before anything listens.
    """
    (tmp_path / "file").touch()
    async with running("emulator", "--tls-dir", tmp_path / "file" / "tls") as emulator:
        ended = await emulator.end()

    assert ended.exit_code == 2
    assert "--tls-dir" in ended.stderr


class Clock:
    """POSIX time, that a test may move on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_expires_in_mid_run_is_refreshed(
    status: Literal[401, 403], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An hour passes at the service in the middle of a run. What is under way is refused, one new
    token is asked for, past azure-identity's cache, and every task is added once.
    """
    clock, authority, asked = Clock(), Authority(lifetime_s=HOUR_S), []

    def door(
        method: str, target: str, headers: Mapping[str, str], body: bytes, *, now_s: float
    ) -> Answer:
        asked.append(target)
        return authority(method, target, headers, body, now_s=now_s)

    def an_hour_passes(call: Call, /) -> None:
        if call.operation is Operation.ADD_TASK_COLLECTION and call.number == 5:
            clock.ahead_s = HOUR_S

    access = Access(NAME, bearer=authority.refuse)
    switches = Switches(expired_token_status=status)
    service = Service(random=Random(1), access=access, script=an_hour_passes, switches=switches)
    service.create_job(JOB_ID)
    tasks = make_tasks(2000)
    async with serve(service, clock=clock, doors={PATHS: door}) as server:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.endpoint)
        account = Account(service, server.endpoint)
        async with ManagedIdentityCredential() as credential:
            run = await flood(account, tasks, credential=credential)

    assert run.error is None
    assert run.report.added == len(tasks)
    account.assert_holds(tasks)
    assert len(asked) == 2
    assert service.record.by_status[status] >= 1
