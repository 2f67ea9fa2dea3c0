"""Who we are: Shared Key, or a token of Microsoft Entra ID, as an Authorization header."""

import inspect
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import msgspec

from bulksubmit.core.sharedkey import Signer, decode_key, string_to_sign
from bulksubmit.errors import Refusal, ServiceRefused, SettingsError
from bulksubmit.service.replies import Unavailable, one_line

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo
    from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential

# With two slashes: the token's audience is "https://batch.core.windows.net/".
SCOPE = "https://batch.core.windows.net//.default"

TOKEN_TIMEOUT_S = 60.0  # azure-identity would go on for minutes.
_REFRESH_AHEAD_S = 300.0  # As azure-identity's own DEFAULT_REFRESH_OFFSET.
_REFRESH_PAUSE_S = 30.0  # As its DEFAULT_TOKEN_REFRESH_RETRY_DELAY: it would not ask before.

# Claims that claim nothing. azure-identity has no "force": but with claims, it goes past its
# cache, which holds the very token that was refused.
_NO_CLAIMS = '{"access_token":{}}'


class SharedKey:
    """A Batch account's access key. Each request is signed afresh: a signature dates."""

    def __init__(self, account_name: str, key: str) -> None:
        """Take the key.

        Args:
            account_name: The Batch account's.
            key: One of its two access keys, in base64 as the portal shows it.

        Raises:
            SettingsError: if either cannot be right; the key is not quoted.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", account_name):
            raise SettingsError(
                f"the account name {account_name!r} is not one: it is the first part of the "
                "endpoint, such as myaccount"
            )
        try:
            self._signer = Signer(decode_key(key))
        except ValueError as error:
            raise SettingsError(
                f"{error}: copy one of the account's two keys whole, "
                "as `az batch account keys list` shows it"
            ) from None
        self._account_name, self._key = account_name, key

    @property
    def account_name(self) -> str:
        """The Batch account's."""
        return self._account_name

    @property
    def key(self) -> str:
        """The key in base64, for the environment of a process that signs too."""
        return self._key

    def __repr__(self) -> str:
        return f"SharedKey({self._account_name!r}, '***')"

    async def authorization(
        self,
        method: str,
        path: str,
        query: tuple[tuple[str, str], ...],
        headers: Mapping[str, str],
        /,
    ) -> str:
        """See Credential."""
        text = string_to_sign(method, self._account_name, path, query, headers)
        return f"SharedKey {self._account_name}:{self._signer.sign(text)}"

    async def aclose(self) -> None:
        """A key holds nothing open."""

    def renew(self, _refused: str, /) -> bool:
        """A refused key stays refused."""
        return False


class _Token(msgspec.Struct, frozen=True):
    """A token, with times in Unix time."""

    header: str
    expires_s: float
    refresh_s: float


_Acquired: TypeAlias = _Token | Unavailable | ServiceRefused


class EntraToken:
    """A token of Microsoft Entra ID, shared by all requests and renewed while they go on.

    azure-identity sends one request a call, however many calls are under way; here one call
    asks, and the others wait for its answer or go on with the present token while that lives.

    What it means if there is no token to be had:

    | who says so | while the present token lives | otherwise |
    |---|---|---|
    | the authority (4xx) | asked again later | ServiceRefused |
    | nobody: not signed in, no such identity | asked again later | at first ServiceRefused; \
Unavailable once it has worked |
    | nobody: time-out, no connection, 408, 429, 5xx | asked again later | Unavailable |

    Unavailable makes an attempt Lost and not sent, so that an outage of the authority at night
    costs time and not the run.
    """

    def __init__(
        self,
        credential: "AsyncTokenCredential | AsyncSupportsTokenInfo",
        scope: str = SCOPE,
        *,
        timeout_s: float = TOKEN_TIMEOUT_S,
    ) -> None:
        """Take a credential of azure.identity.aio, or one like it.

        Args:
            credential: Closed by aclose(), for whoever made it for this only.
            scope: Differs in sovereign clouds.
            timeout_s: How long one acquisition may take.

        Raises:
            SettingsError: if the credential is not an asynchronous one.
        """
        self._get_token_info = getattr(credential, "get_token_info", None)
        self._get_token = getattr(credential, "get_token", None)
        if not inspect.iscoroutinefunction(self._get_token_info or self._get_token):
            raise SettingsError(
                f"{type(credential).__name__} is not an asynchronous credential: "
                "take the one of the same name in azure.identity.aio"
            )
        self._credential = credential
        self._scope = scope
        self._timeout_s = timeout_s
        self._lock = anyio.Lock()  # Held by the one that asks.
        self._token: _Token | None = None
        self._refused: str | None = None  # The header that the service refused.
        self._rounds = 0  # Acquisitions that came to an end,
        self._last: _Acquired | None = None  # and how the last of them did.
        self._worked = False

    async def aclose(self) -> None:
        """Close the credential."""
        await self._credential.close()

    async def authorization(
        self,
        _method: str,
        _path: str,
        _query: tuple[tuple[str, str], ...],
        _headers: Mapping[str, str],
        /,
    ) -> str | Unavailable:
        """See Credential."""
        token, now_s = self._token, time.time()
        if token and token.refresh_s <= now_s < token.expires_s and not self._lock.locked():
            await self._refresh_early(token)
            token, now_s = self._token, time.time()
        if token is None or now_s >= token.expires_s:
            return await self._wait_for_token()
        return token.header

    def renew(self, refused: str, /) -> bool:
        """See Credential. Many attempts may report the same token: it is dropped once."""
        if self._token is not None and self._token.header == refused:
            self._token, self._refused = None, refused
        return True

    async def _refresh_early(self, token: _Token) -> None:
        """Ask for the next token in time; if that fails, the present one serves on."""
        async with self._lock:
            await self._acquire()
            if self._token is token:
                self._token = msgspec.structs.replace(
                    token, refresh_s=time.time() + _REFRESH_PAUSE_S
                )

    async def _wait_for_token(self) -> str | Unavailable:
        """Acquire a token, or share in the acquisition that is under way, however it ends.

        Who is cancelled takes its own acquisition along; the next in the queue begins another.
        """
        rounds = self._rounds
        async with self._lock:
            last = self._last
            if self._rounds == rounds or (
                isinstance(last, _Token) and last.header == self._refused
            ):
                last = await self._acquire()
        match last:
            case _Token(header=header):
                return header
            case ServiceRefused(refusal=refusal, code=code, reason=reason):
                # A new one each time: several tasks may raise it.
                raise ServiceRefused(refusal, code, reason)
            case _:
                assert last is not None, "a round that ended has a result"
                return last

    async def _acquire(self) -> _Acquired:
        """One round, under the lock."""
        forced = self._refused is not None
        acquired = await self._ask(forced=forced)
        if isinstance(acquired, _Token):
            self._worked = True
            if forced:
                self._refused = None
            if acquired.header != self._refused:
                self._token = acquired
        self._rounds += 1
        self._last = acquired
        return acquired

    async def _ask(self, *, forced: bool) -> _Acquired:
        """Ask the credential, and take its word or its exception as a value."""
        from aiohttp import ClientError  # noqa: PLC0415 - costs 200 ms; Shared Key goes without
        from azure.core.exceptions import (  # noqa: PLC0415 - costs 30 ms; likewise
            AzureError,
            ClientAuthenticationError,
        )

        name = type(self._credential).__name__
        try:
            with anyio.fail_after(self._timeout_s):
                if forced:
                    try:
                        return self._token_of(await self._call(_NO_CLAIMS))
                    except ClientAuthenticationError as error:
                        if error.response is not None:
                            raise
                        # Some, such as AzureCliCredential, take no claims, and have no cache.
                return self._token_of(await self._call(None))
        except TimeoutError:
            return Unavailable(f"no token from {name} within {self._timeout_s:g} s", sent=False)
        except ClientAuthenticationError as error:
            status = error.response.status_code if error.response is not None else None
            reason = one_line(error.message)
            if _passes(status) or (status is None and self._worked):
                return Unavailable(f"no token from {name}: {reason}", sent=False)
            return ServiceRefused(
                Refusal.AUTHENTICATION,
                type(error).__name__,
                f"{name} gives no token: {reason}; sign in with `az login`, or set "
                "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
            )
        except (AzureError, ClientError, OSError, ValueError, KeyError) as error:
            # The last two are azure-identity's, for answers that are JSON but no token.
            reason = one_line(f"{type(error).__name__}: {error}")
            return Unavailable(f"no token from {name}: {reason}", sent=False)

    async def _call(self, claims: str | None) -> "AccessTokenInfo | AccessToken":
        arguments: dict[str, Any] = {"claims": claims} if claims is not None else {}
        if self._get_token_info is not None:
            info: AccessTokenInfo = await self._get_token_info(self._scope, options=arguments)
            return info
        assert self._get_token is not None, "checked at the door"
        token: AccessToken = await self._get_token(self._scope, **arguments)
        return token

    @staticmethod
    def _token_of(token: "AccessTokenInfo | AccessToken") -> _Token:
        refresh_on = getattr(token, "refresh_on", None) or token.expires_on - _REFRESH_AHEAD_S
        # A token that lives shorter than that is not asked for anew with each request.
        refresh_s = max(float(refresh_on), time.time() + _REFRESH_PAUSE_S)
        return _Token(f"Bearer {token.token}", float(token.expires_on), refresh_s)


def default_credential() -> "AsyncTokenCredential":
    """azure-identity's default: environment, workload or managed identity, ``az login`` ..."""
    from azure.identity.aio import (  # noqa: PLC0415 - costs 200 ms; Shared Key goes without
        DefaultAzureCredential,
    )

    return DefaultAzureCredential()


def _passes(status: int | None) -> bool:
    """Whether the authority's status is one that passes by itself."""
    return status is not None and (status in (408, 429) or status >= 500)  # noqa: PLR2004 - HTTP


def as_credential(
    credential: "SharedKey | EntraToken | AsyncTokenCredential | AsyncSupportsTokenInfo",
) -> SharedKey | EntraToken:
    """What a user gives, as what the transport asks: azure-identity's are wrapped.

    Raises:
        SettingsError: if it is none of these.
    """
    return credential if isinstance(credential, SharedKey | EntraToken) else EntraToken(credential)
