"""bulksubmit as real processes, and what they said. None of them may say a secret."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from click.testing import CliRunner

from bulksubmit.cli import bulksubmit as cli
from tests.end_to_end.account import JOB_ID, KEY, NAME, Account

# A Shared Key signature, or anything else of 32 bytes in base64.
_SIGNATURE = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}=(?!=)")


def assert_no_secret(text: str) -> None:
    """Neither the key is in it, nor a signature made with it, nor the header they travel in."""
    assert KEY not in text
    assert f"SharedKey {NAME}:" not in text
    assert not _SIGNATURE.search(text)


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        exit_code: Its exit code.
        stdout: All of its standard output.
        stderr: All of its standard error.
    """

    exit_code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object that standard output holds; its numbers add up."""
        (line,) = self.stdout.splitlines()
        report: dict[str, Any] = orjson.loads(line)
        parts = ("added", "existed", "rejected", "abandoned", "unsettled")
        assert report["total"] == sum(report[part] for part in parts)
        assert report["in_doubt"] <= report["unsettled"]
        assert report["existed_own"] <= report["existed"]
        assert report["exit_code"] == self.exit_code
        assert ("error" in report) == (self.exit_code not in (0, 6))
        return report


class Running:
    """A process under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def write(self, data: bytes) -> None:
        """Write to its standard input, which stays open."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    async def first_line(self) -> str:
        """Wait for the first line on its standard output."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode()

    async def says(self, text: str) -> str:
        """Wait for a line on its standard error that holds a text."""
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._said += line
            if text in line.decode():
                return line.decode()
        raise AssertionError(f"it never said {text!r}, but: {self._said.decode()}")

    async def end(self, stdin: bytes | None = None) -> Ended:
        """Wait for its end."""
        stdout, stderr = await self._process.communicate(stdin)
        assert self._process.returncode is not None
        said = self._said + stderr
        ended = Ended(self._process.returncode, stdout.decode(), said.decode())
        assert_no_secret(ended.stdout)
        assert_no_secret(ended.stderr)
        return ended


@asynccontextmanager
async def running(
    *args: str | Path, env: Mapping[str, str] | None = None, redirected: str = ""
) -> AsyncIterator[Running]:
    """``bulksubmit`` with these arguments, in a process that does not outlive the context.

    Args:
        args: The command and its arguments.
        env: Variables beside our own.
        redirected: How a shell is to redirect its standard streams, such as ``2>&-``.
    """
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f'exec "$@" {redirected}', "sh"),
        *(sys.executable, "-m", "bulksubmit", *args),
        env={**os.environ, **(env or {})},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def bulksubmit(
    *args: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    redirected: str = "",
) -> Ended:
    """``bulksubmit`` with these arguments, to its end."""
    async with running(*args, env=env, redirected=redirected) as process:
        return await process.end(stdin)


def bulksubmit_here(*args: str | Path, env: Mapping[str, str]) -> Ended:
    """``bulksubmit`` with these arguments in this process, where no process of its own matters."""
    invoke = partial(
        CliRunner(env=env).invoke, cli, [str(arg) for arg in args], prog_name="bulksubmit"
    )
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public one raises
        result = invoke()
    else:  # It may start an event loop of its own.
        with ThreadPoolExecutor(1) as elsewhere:
            result = elsewhere.submit(invoke).result()
    ended = Ended(result.exit_code, result.stdout, result.stderr)
    assert_no_secret(result.output)
    return ended


def as_user_of(account: Account) -> dict[str, str]:
    """The environment of somebody who uses the account, its key in a variable."""
    return {
        "AZURE_BATCH_ACCOUNT": NAME,
        "AZURE_BATCH_ENDPOINT": account.endpoint,
        "AZURE_BATCH_ACCESS_KEY": KEY,
    }


async def submit(account: Account, *args: str | Path, **given: Any) -> Ended:
    """``bulksubmit submit`` to the account's job, to its end; the report as JSON."""
    return await bulksubmit(
        *("submit", *args, "--job-id", JOB_ID, "--output", "json"),
        env=as_user_of(account),
        **given,
    )
