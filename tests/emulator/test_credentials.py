"""azure-identity's own credentials, synchronous and not, against the local authority."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure import identity
from azure.core.credentials import TokenCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import aio

from bulksubmit.emulator.entra import PATHS, Authority
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.tls import Tls, make_tls
from tests.emulator.calls import make_service

SCOPE = "https://batch.core.windows.net//.default"


@dataclass
class Front:
    """An authority that listens, and that the environment points at."""

    authority: Authority
    tls: Tls

    @property
    def secret(self) -> tuple[str, str]:
        """The application, and what proves it."""
        return self.authority.client_id, self.authority.client_secret

    @property
    def verify(self) -> str:
        """What to trust, for those that look at no variable after the start of the process."""
        return str(self.tls.ca_path)


@pytest.fixture
async def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    authority, tls = Authority(), make_tls(tmp_path, now_s=time.time())
    for name in list(os.environ):
        if "proxy" in name.lower():
            monkeypatch.delenv(name)
    async with serve(make_service(), ssl_context=tls.context, doors={PATHS: authority}) as server:
        for name, text in authority.environment(server.endpoint).items():
            monkeypatch.setenv(name, text)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.ca_path))
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.endpoint)
        yield Front(authority, tls)


SYNC: dict[str, Callable[[Front], TokenCredential]] = {
    "environment": lambda _: identity.EnvironmentCredential(),
    "default": lambda _: identity.DefaultAzureCredential(),
    "tenant by its ID": lambda front: identity.ClientSecretCredential(
        front.authority.tenant_id, *front.secret, disable_instance_discovery=True
    ),
    "managed identity": lambda _: identity.ManagedIdentityCredential(),
    "managed identity by its ID": lambda front: identity.ManagedIdentityCredential(
        client_id=front.authority.client_id
    ),
}

ASYNC: dict[str, Callable[[Front], AsyncTokenCredential]] = {
    "environment": lambda front: aio.EnvironmentCredential(connection_verify=front.verify),
    "default": lambda front: aio.DefaultAzureCredential(connection_verify=front.verify),
    "tenant by its ID": lambda front: aio.ClientSecretCredential(
        front.authority.tenant_id, *front.secret, connection_verify=front.verify
    ),
    "managed identity": lambda front: aio.ManagedIdentityCredential(connection_verify=front.verify),
}


@pytest.mark.parametrize("name", SYNC)
async def test_synchronous_credentials(name: str, front: Front) -> None:
    """
    Each gets a token that opens the service, and has it in its cache the next time.
    """

    def ask_twice() -> list[str]:
        credential = SYNC[name](front)
        try:
            return [credential.get_token(SCOPE).token for _ in range(2)]
        finally:
            credential.close()  # type: ignore[attr-defined]  # All of these have it.

    first, second = await asyncio.to_thread(ask_twice)

    assert front.authority.refuse(first, now_s=time.time()) is None
    assert second == first


@pytest.mark.parametrize("name", ASYNC)
async def test_asynchronous_credentials(name: str, front: Front) -> None:
    """
    The same for those that bulksubmit uses.
    """
    async with ASYNC[name](front) as credential:
        first, second = [(await credential.get_token(SCOPE)).token for _ in range(2)]

    assert front.authority.refuse(first, now_s=time.time()) is None
    assert second == first


async def test_a_managed_identity_needs_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its endpoint is plain http in a real virtual machine, and will do so here.
    """
    authority = Authority()
    async with serve(make_service(), doors={PATHS: authority}) as server:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.endpoint)
        async with aio.ManagedIdentityCredential() as credential:
            token = (await credential.get_token(SCOPE)).token

    assert authority.refuse(token, now_s=time.time()) is None


@pytest.mark.parametrize(
    ("tenant", "secret", "code"), [("adfs", "wrong", 7000215), ("another", "wrong", 90002)]
)
async def test_both_kinds_pass_on_what_is_wrong(
    tenant: str, secret: str, code: int, front: Front
) -> None:
    """
    They read a refusal as one of the real authority.
    """
    client_id, _ = front.secret
    async with aio.ClientSecretCredential(
        tenant, client_id, secret, connection_verify=front.verify
    ) as credential:
        with pytest.raises(ClientAuthenticationError, match=f"AADSTS{code}"):
            await credential.get_token(SCOPE)
    with identity.ClientSecretCredential(
        tenant, client_id, secret, disable_instance_discovery=True
    ) as other:
        # MSAL words it itself if the tenant has no configuration.
        expected = f"AADSTS{code}|check your tenant"
        with pytest.raises(ClientAuthenticationError, match=expected):
            await asyncio.to_thread(other.get_token, SCOPE)
