"""azure-identity's own code, run offline against fakes of what it talks to.

The fakes are a managed identity's endpoint and a service principal's authority. They listen on
loopback; nothing here leaves this machine or starts a process.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from azure.identity.aio import ClientSecretCredential, ManagedIdentityCredential

from bulksubmit.core.model import Answered, Reply
from bulksubmit.emulator.tls import make_tls
from bulksubmit.errors import Refusal, ServiceRefused
from bulksubmit.service.auth import EntraToken, default_credential
from bulksubmit.service.replies import Unavailable
from tests.service.helpers import (
    error_body,
    free_port,
    http,
    make_attempt,
    make_transport,
    read_request,
    results_body,
    serving,
)

HOUR_S = 3600


class Authority:
    """Gives out numbered tokens, as a managed identity's endpoint and as a principal's."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        self.refusal: tuple[str, dict[str, str]] | None = None
        self.silent = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line, headers, body = await read_request(reader)
            method, target, _ = line.split(" ")
            url = urlsplit(target)
            query = url.query if method == "GET" else body.decode()
            self.requests.append((url.path, headers, parse_qs(query)))
            if self.silent:
                await reader.read()
            if self.refusal is not None:
                status, answer = self.refusal
                writer.write(http(json.dumps(answer).encode(), status))
                continue
            answer = {
                "access_token": f"token-{len(self.requests)}",
                "expires_in": str(HOUR_S),
                "token_type": "Bearer",
            }
            if method == "GET":
                answer["expires_on"] = str(int(time.time()) + HOUR_S)
                answer["resource"] = "https://batch.core.windows.net/"
            writer.write(http(json.dumps(answer).encode()))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credential, proxy or identity of this machine takes part."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "IMDS_", "MSI_")) or "proxy" in name.lower():
            monkeypatch.delenv(name)


@asynccontextmanager
async def managed_identity(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ManagedIdentityCredential]:
    async with serving(authority) as endpoint:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint)
        async with ManagedIdentityCredential() as credential:
            yield credential


@asynccontextmanager
async def service_principal(
    authority: Authority, folder: Path
) -> AsyncIterator[ClientSecretCredential]:
    tls = make_tls(folder, now_s=time.time())
    async with (
        serving(authority, tls.context) as endpoint,
        ClientSecretCredential(
            "my-tenant",
            "my-client",
            "hunter2",
            authority=endpoint,
            connection_verify=str(tls.ca_path),
            retry_total=0,
        ) as credential,
    ):
        yield credential


async def ask(token: EntraToken) -> str | Unavailable:
    return await token.authorization("POST", "/jobs/j/addtaskcollection", (), {})


async def ask_at_once(token: EntraToken, count: int) -> set[str | Unavailable]:
    """What so many concurrent callers get."""
    answers: set[str | Unavailable] = set()

    async def one() -> None:
        answers.add(await ask(token))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return answers


async def test_managed_identity_is_asked_once_by_64(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    64 concurrent cold calls are one request for the audience of Batch; azure-identity alone
    would send 64.
    """
    authority = Authority()

    async with managed_identity(authority, monkeypatch) as credential:
        answers = await ask_at_once(EntraToken(credential), 64)

    assert answers == {"Bearer token-1"}
    ((path, headers, query),) = authority.requests
    assert path == "/metadata/identity/oauth2/token"
    assert query["resource"] == ["https://batch.core.windows.net/"]
    assert headers["metadata"] == "true"


async def test_service_principal_is_asked_once_by_64(tmp_path: Path) -> None:
    """
    The same for a service principal, whose scope has two slashes.
    """
    authority = Authority()

    async with service_principal(authority, tmp_path) as credential:
        answers = await ask_at_once(EntraToken(credential), 64)

    assert answers == {"Bearer token-1"}
    ((path, _, form),) = authority.requests
    assert path == "/my-tenant/oauth2/v2.0/token"
    assert form["scope"] == ["https://batch.core.windows.net//.default"]
    assert form["client_secret"] == ["hunter2"]


async def test_default_credential_finds_the_managed_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The default credential goes through its chain, here to a managed identity.
    """
    authority = Authority()
    async with serving(authority) as endpoint:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        token = EntraToken(default_credential())
        assert await ask(token) == "Bearer token-1"
        await token.aclose()


async def test_managed_identity_is_refreshed_ahead_of_expiry(
    monkeypatch: pytest.MonkeyPatch, later: Callable[[float], None]
) -> None:
    """
    Shortly before its end the token is asked for anew, once, while the old one is still good.
    """
    authority = Authority()
    async with managed_identity(authority, monkeypatch) as credential:
        token = EntraToken(credential)
        await ask(token)

        later(HOUR_S - 600)
        assert await ask(token) == "Bearer token-1"
        later(400)
        await ask_at_once(token, 16)

        assert await ask(token) == "Bearer token-2"
    assert len(authority.requests) == 2


async def test_service_principal_is_refreshed_ahead_of_expiry(
    tmp_path: Path, later: Callable[[float], None]
) -> None:
    """
    The same for a service principal; and a refusal then does no harm while the old one lives.
    """
    authority = Authority()
    async with service_principal(authority, tmp_path) as credential:
        token = EntraToken(credential)
        await ask(token)

        later(HOUR_S - 200)
        authority.refusal = "401 Unauthorized", {"error": "invalid_client"}
        assert await ask(token) == "Bearer token-1"
        later(40)
        authority.refusal = None
        assert await ask(token) == "Bearer token-3"


@pytest.mark.parametrize("kind", ["managed identity", "service principal"])
async def test_storm_of_401_makes_one_forced_refresh(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    The service refuses the token of 16 attempts in flight: one new token is fetched, past
    azure-identity's own cache, and all 16 go through with it.
    """
    authority, arrived = Authority(), anyio.Semaphore(0)
    tokens: list[str] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, headers, _ = await read_request(reader)
            tokens.append(headers["authorization"])
            if headers["authorization"] == "Bearer token-1":
                if len(tokens) == 16:
                    for _ in range(16):
                        arrived.release()
                await arrived.acquire()
                writer.write(http(error_body("AuthenticationFailed"), "401 Unauthorized"))
            else:
                writer.write(http(results_body("t0")))

    replies: list[Reply] = []
    source = (
        managed_identity(authority, monkeypatch)
        if kind == "managed identity"
        else service_principal(authority, tmp_path)
    )
    async with (
        source as credential,
        serving(service) as endpoint,
        make_transport(endpoint, credential=EntraToken(credential)) as transport,
    ):

        async def post(number: int) -> None:
            replies.append(await transport.add(make_attempt(number=number)))

        async with anyio.create_task_group() as group:
            for number in range(1, 17):
                group.start_soon(post, number)

    assert [type(reply) for reply in replies] == [Answered] * 16
    assert sorted(tokens) == ["Bearer token-1"] * 16 + ["Bearer token-2"] * 16
    assert len(authority.requests) == 2


async def test_authority_that_is_silent_is_given_up_on(tmp_path: Path) -> None:
    """
    azure-identity would wait for minutes; here an acquisition has a time-out of its own.
    """
    authority = Authority()
    authority.silent = True

    async with service_principal(authority, tmp_path) as credential:
        answer = await ask(EntraToken(credential, timeout_s=0.1))

    assert answer == Unavailable("no token from ClientSecretCredential within 0.1 s", sent=False)


async def test_authority_out_of_reach_is_an_outage() -> None:
    """
    A connection that is refused is no refusal of the authority.
    """
    authority = f"https://127.0.0.1:{free_port()}"
    async with ClientSecretCredential(
        "my-tenant", "my-client", "hunter2", authority=authority, retry_total=0
    ) as credential:
        answer = await ask(EntraToken(credential))

    assert isinstance(answer, Unavailable)
    assert not answer.sent


async def test_wrong_secret_ends_the_run_without_telling_it(tmp_path: Path) -> None:
    """
    The authority's reason is passed on; the secret is not.
    """
    authority = Authority()
    authority.refusal = (
        "401 Unauthorized",
        {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."},
    )

    async with service_principal(authority, tmp_path) as credential:
        with pytest.raises(ServiceRefused, match="AADSTS7000215") as raised:
            await ask(EntraToken(credential))

    assert raised.value.refusal is Refusal.AUTHENTICATION
    assert "hunter2" not in str(raised.value)


async def test_no_identity_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A machine without an identity says so at once.
    """
    authority = Authority()
    authority.refusal = "400 Bad Request", {"error": "invalid_request"}

    async with managed_identity(authority, monkeypatch) as credential:
        with pytest.raises(ServiceRefused, match="has not been assigned") as raised:
            await ask(EntraToken(credential))

    assert raised.value.refusal is Refusal.AUTHENTICATION
