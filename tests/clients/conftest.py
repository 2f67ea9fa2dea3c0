"""The account that the clients talk to, and each client in turn."""

import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from bulksubmit.emulator import Service
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.entra import Authority
from bulksubmit.emulator.exchange import Call
from bulksubmit.emulator.faults import TaskFault
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.tls import Tls, make_tls
from tests.clients.client import Client, start
from tests.clients.published import CLIENTS, SLOW

ACCOUNT = "myaccount"
KEY = base64.b64encode(b"not a secret, but a key").decode()


@pytest.fixture
def first_faults() -> dict[str, TaskFault]:
    """What goes wrong with a task when it is sent for the first time, by its ID."""
    return {}


@pytest.fixture
def scheme() -> str:
    """``http``; or ``https``, where a test says so."""
    return "http"


@pytest.fixture
def tls(scheme: str, tmp_path: Path) -> Tls | None:
    """The service's certificate; None for HTTP."""
    return make_tls(tmp_path, now_s=time.time()) if scheme == "https" else None


@pytest.fixture
def trust(tls: Tls | None) -> dict[str, str]:
    """The variables by which clients learn to trust the certificate."""
    names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
    return {} if tls is None else dict.fromkeys(names, str(tls.ca_path))


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Who gives out the tokens that the service takes; to make its keys takes a while."""
    return Authority()


@pytest.fixture
def heads() -> list[Call]:
    """The heads of all requests that the service received."""
    return []


@pytest.fixture
def service(
    first_faults: dict[str, TaskFault], heads: list[Call], scheme: str, authority: Authority
) -> Service:
    """The account, with nothing in it."""
    access = Access(ACCOUNT, base64.b64decode(KEY), authority.refuse)

    def fail_once(task_id: str, /) -> TaskFault | None:
        return first_faults.pop(task_id, None)

    return Service(
        random=Random(1),
        access=access,
        script=heads.append,  # Nothing goes wrong with any of them.
        task_script=fail_once,
        scheme=scheme,
    )


@dataclass
class Clock:
    """The service's clock, ahead of the clients' by as much as a test lets pass."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s

    def pass_by(self, seconds: float) -> None:
        """Let time pass for the service."""
        self.ahead_s += seconds


@pytest.fixture
def clock() -> Clock:
    """The service's clock; Shared Key allows it to be 15 minutes ahead of a client's."""
    return Clock()


@pytest_asyncio.fixture(loop_scope="session")
async def account(service: Service, clock: Clock, tls: Tls | None) -> AsyncIterator[dict[str, str]]:
    """The account's ``endpoint``, ``account_name`` and ``key``."""
    context = None if tls is None else tls.context
    async with serve(service, clock=clock, ssl_context=context) as server:
        yield {"endpoint": server.endpoint, "account_name": ACCOUNT, "key": KEY}


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CLIENTS],
)
def client_name(request: pytest.FixtureRequest) -> str:
    """Which client; each test runs once for each."""
    return str(request.param)


@pytest.fixture(scope="session")
def command(client_name: str) -> list[str]:
    """How it is run; its environment is made first, if need be."""
    return CLIENTS[client_name]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def started() -> AsyncIterator[dict[str, Client]]:
    """The clients that run already, by name: to start one for each test takes most of a minute."""
    clients: dict[str, Client] = {}
    yield clients
    for client in clients.values():
        await client.end()


@pytest_asyncio.fixture(loop_scope="session")
async def client(
    client_name: str, command: list[str], started: dict[str, Client], account: dict[str, str]
) -> Client:
    """It, told of the account."""
    client = started.get(client_name)
    if client is None or not client.usable:
        client = started[client_name] = await start(command)
    await client("connect", **account)
    return client
