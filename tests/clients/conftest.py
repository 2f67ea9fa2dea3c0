"""The account that the clients talk to, and each client in turn."""

import base64
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from bulksubmit.emulator import Service
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.faults import TaskFault
from bulksubmit.emulator.server import serve
from tests.clients.calls import Client, running
from tests.clients.published import CLIENTS, SLOW, Program
from tests.service.helpers import make_certificate

ACCOUNT = "myaccount"
KEY = base64.b64encode(b"not a secret, but a key").decode()


@pytest.fixture
def first_faults() -> dict[str, TaskFault]:
    """What goes wrong with a task when it is sent for the first time, by its ID."""
    return {}


@pytest.fixture
def scheme() -> str:
    """``http``, or ``https`` where a test says so."""
    return "http"


@pytest.fixture
def service(first_faults: dict[str, TaskFault], scheme: str) -> Service:
    """The account, with nothing in it."""
    access = Access(ACCOUNT, base64.b64decode(KEY))

    def fail_once(task_id: str, /) -> TaskFault | None:
        return first_faults.pop(task_id, None)

    return Service(random=Random(1), access=access, task_script=fail_once, scheme=scheme)


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


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """The service's certificate and its key, for HTTPS."""
    return make_certificate(tmp_path)


@pytest.fixture
async def endpoint(
    service: Service, clock: Clock, scheme: str, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """Where the service listens."""
    tls = None
    if scheme == "https":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*request.getfixturevalue("certificate"))
    async with serve(service, clock=clock, ssl_context=tls) as server:
        yield server.endpoint


@pytest.fixture
def trust(scheme: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """What a client's environment holds, so that it trusts the service's certificate."""
    if scheme == "http":
        return {}
    certificate, _ = request.getfixturevalue("certificate")
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    return dict.fromkeys(names, str(certificate))


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CLIENTS]
)
def client_name(request: pytest.FixtureRequest) -> str:
    """Which client; each test runs once for each."""
    return str(request.param)


@pytest.fixture
def program(client_name: str) -> Program:
    """How it is run."""
    return CLIENTS[client_name]()


@pytest.fixture
async def client(
    program: Program, endpoint: str, trust: dict[str, str]
) -> AsyncIterator[Client]:
    """It, told of the account."""
    async with running(program, endpoint, ACCOUNT, KEY, **trust) as client:
        yield client
