"""Clients in processes of their own, told what to do from here."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.clients.published import ROOT

_LINE_BYTES_MAX = 16 * 1024 * 1024  # The results of a thousand tasks come in one line.


class Raised(Exception):
    """What a client raised.

    Attributes:
        type: The name of its class, in the client.
        told: What the client could say of it: ``status``, ``code``, ``values`` and the like.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self.type: str = told["type"]
        self.told = told
        super().__init__(f"{self.type}: {told['text']}")


class Client:
    """A client that runs.

    Attributes:
        usable: Whether it can be told more. It cannot once a call was not waited for.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.usable = True
        self._process = process

    async def __call__(self, do: str, **arguments: Any) -> Any:
        """Have the client do one call, and give back what that gave, as the wire spells it.

        Raises:
            Raised: what the client raised.
        """
        assert self._process.stdin
        assert self._process.stdout
        self.usable = False
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        assert line, f"the client ended during {do}; what it said is above"
        self.usable = True
        given = json.loads(line)
        if "raised" in given:
            raise Raised(given["raised"])
        return given["result"]

    async def raised(self, do: str, **arguments: Any) -> Raised:
        """What the client raises when it does one call."""
        try:
            given = await self(do, **arguments)
        except Raised as raised:
            return raised
        raise AssertionError(f"{do} raised nothing, but gave {given}")

    async def end(self) -> None:
        """Let it end, or end it if it has not done its last call."""
        assert self._process.stdin
        self._process.stdin.close()
        if not self.usable and self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def start(command: Sequence[str], variables: Mapping[str, str] | None = None) -> Client:
    """Start a client.

    Args:
        command: How it is run.
        variables: More for its environment.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**clean_environment(), **(variables or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
    )
    return Client(process)


@asynccontextmanager
async def running(
    command: Sequence[str], variables: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """A client that runs for as long as the context is open."""
    client = await start(command, variables)
    try:
        yield client
    finally:
        await client.end()


def clean_environment() -> dict[str, str]:
    """Our own variables, without what would lead a client past the emulator or elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("AZURE_", "PYTHON", "NODE_", "VIRTUAL_ENV"))
        and not name.upper().endswith("_PROXY")
    }
    return kept | {"NO_PROXY": "*"}
