"""Clients in processes of their own, told what to do from here."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.clients.calling import ENDPOINT, KEY, NAME
from tests.clients.published import ROOT, Program

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


@dataclass
class Client:
    """A client that runs."""

    process: asyncio.subprocess.Process

    async def __call__(self, do: str, **arguments: Any) -> Any:
        """Have the client do one call, and give back what that gave, as the wire spells it.

        Raises:
            Raised: what the client raised.
        """
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        await self.process.stdin.drain()
        line = await self.process.stdout.readline()
        assert line, f"the client ended during {do}; what it said is above"
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


@asynccontextmanager
async def running(
    program: Program, endpoint: str, account_name: str, key: str, **variables: str
) -> AsyncIterator[Client]:
    """A client, told of an account by its environment.

    Args:
        program: How it is run.
        endpoint: The account's URL.
        account_name: Its name.
        key: Its key, in Base64.
        variables: More for its environment.
    """
    told = {ENDPOINT: endpoint, NAME: account_name, KEY: key}
    process = await asyncio.create_subprocess_exec(
        *program.command,
        cwd=ROOT,
        env={**clean_environment(), **program.variables, **told, **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
    )
    try:
        yield Client(process)
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()


def clean_environment() -> dict[str, str]:
    """Our own variables, without what would lead a client past the emulator or elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("AZURE_", "PYTHON", "NODE_", "VIRTUAL_ENV"))
        and not name.upper().endswith("_PROXY")
    }
    return kept | {"NO_PROXY": "*"}
