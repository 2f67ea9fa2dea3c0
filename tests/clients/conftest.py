"""The clients, each in its environment, and the account that they talk to."""

import base64
from collections.abc import AsyncIterator
from random import Random

import pytest

from bulksubmit.emulator import Service
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.server import serve
from tests.clients.calls import Client, running
from tests.clients.environments import python_with

ACCOUNT = "myaccount"
KEY = base64.b64encode(b"not a secret, but a key").decode()


@pytest.fixture
def service() -> Service:
    """The account, with nothing in it."""
    return Service(random=Random(1), access=Access(ACCOUNT, base64.b64decode(KEY)))


@pytest.fixture
async def endpoint(service: Service) -> AsyncIterator[str]:
    async with serve(service) as server:
        yield server.endpoint


@pytest.fixture(params=["azure-batch 14"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """How the client is run."""
    python = python_with("azure-batch-14", "azure-batch==14.2.0")
    return [str(python), "-m", "tests.clients.azure_batch_14"]


@pytest.fixture
async def client(command: list[str], endpoint: str) -> AsyncIterator[Client]:
    async with running(command, endpoint, ACCOUNT, KEY) as client:
        yield client
