"""The single flight of a token, shown with a credential of our own."""

import re
import time
from collections.abc import Callable
from typing import Any, Self

import anyio
import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from bulksubmit.errors import Refusal, ServiceRefused, SettingsError
from bulksubmit.service.auth import SCOPE, EntraToken
from bulksubmit.service.replies import Unavailable

HOUR_S = 3600


class Authority:
    """A credential of azure.identity.aio's shape: numbered tokens, or the failure it is set to.

    It answers only when it is released, if it is told to hold.
    """

    def __init__(self, *, lifetime_s: int = HOUR_S) -> None:
        self.lifetime_s = lifetime_s
        self.asked: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.refresh_on: int | None = None
        self.held: anyio.Event | None = None
        self.closed = False

    async def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
        assert scopes == (SCOPE,)
        self.asked.append(dict(options or {}))
        number = len(self.asked)
        if self.held is not None:
            await self.held.wait()
        await anyio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        expires_on = int(time.time()) + self.lifetime_s
        return AccessTokenInfo(f"token-{number}", expires_on, refresh_on=self.refresh_on)

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        raise AssertionError("get_token_info says more, so it is asked")

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def ask(token: EntraToken) -> str | Unavailable:
    return await token.authorization("POST", "/jobs/j/addtaskcollection", (), {})


async def ask_at_once(token: EntraToken, count: int) -> list[str | Unavailable]:
    """What so many concurrent callers get."""
    answers: list[str | Unavailable] = []

    async def one() -> None:
        answers.append(await ask(token))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return answers


def refusal(status: int | None, message: str = "AADSTS7000215: no") -> ClientAuthenticationError:
    error = ClientAuthenticationError(message)
    if status is not None:
        error.response = type("Response", (), {"status_code": status})()
    return error


# --- One token ----------------------------------------------------------------------------------


async def test_cold_callers_share_one_acquisition() -> None:
    """
    However many attempts start at once, the authority is asked once.
    """
    authority = Authority()

    answers = await ask_at_once(EntraToken(authority), 64)

    assert answers == ["Bearer token-1"] * 64
    assert len(authority.asked) == 1


async def test_token_is_kept_until_it_is_due() -> None:
    """
    A token is not asked for again while it is fresh.
    """
    authority = Authority()
    token = EntraToken(authority)

    for _ in range(10):
        assert await ask(token) == "Bearer token-1"
    assert len(authority.asked) == 1


async def test_refresh_is_ahead_of_expiry(later: Callable[[float], None]) -> None:
    """
    Five minutes before its end a token is renewed, by one of many callers.
    """
    authority = Authority()
    token = EntraToken(authority)
    await ask(token)

    later(HOUR_S - 310)
    assert await ask(token) == "Bearer token-1"
    later(20)
    await ask_at_once(token, 16)

    assert await ask(token) == "Bearer token-2"
    assert len(authority.asked) == 2


async def test_refresh_on_is_honoured(later: Callable[[float], None]) -> None:
    """
    If the authority says when to come back, that is when.
    """
    authority = Authority(lifetime_s=24 * HOUR_S)
    authority.refresh_on = int(time.time()) + 12 * HOUR_S
    token = EntraToken(authority)
    await ask(token)

    later(11 * HOUR_S)
    assert await ask(token) == "Bearer token-1"
    later(2 * HOUR_S)
    assert await ask(token) == "Bearer token-2"


async def test_nobody_waits_for_an_early_refresh(later: Callable[[float], None]) -> None:
    """
    While one caller renews the token, the others go on with the one that is still good.
    """
    authority = Authority()
    token = EntraToken(authority)
    await ask(token)
    later(HOUR_S - 100)
    authority.held = anyio.Event()

    async with anyio.create_task_group() as group:
        group.start_soon(ask, token)
        await anyio.wait_all_tasks_blocked()
        assert await ask_at_once(token, 8) == ["Bearer token-1"] * 8
        authority.held.set()

    assert await ask(token) == "Bearer token-2"


@pytest.mark.parametrize("failure", [refusal(401), refusal(None), ServiceRequestError("no route")])
async def test_failed_early_refresh_is_tolerated(
    failure: Exception, later: Callable[[float], None]
) -> None:
    """
    While the old token is good, a refresh that fails for whatever reason is tried again half a
    minute later, and not with each request.
    """
    authority = Authority()
    token = EntraToken(authority)
    await ask(token)
    later(HOUR_S - 100)
    authority.failure = failure

    for _ in range(5):
        assert await ask(token) == "Bearer token-1"
    assert len(authority.asked) == 2

    later(31)
    authority.failure = None
    assert await ask(token) == "Bearer token-3"


async def test_token_shorter_than_the_margin_is_not_asked_for_each_time() -> None:
    """
    A token that lives two minutes is always due; it is still asked for twice a minute at most.
    """
    authority = Authority(lifetime_s=120)
    token = EntraToken(authority)

    await ask(token)
    await ask(token)

    assert len(authority.asked) == 1


async def test_expired_token_is_waited_for(later: Callable[[float], None]) -> None:
    """
    After a laptop's sleep the token is over: all wait for the next one, which is asked once.
    """
    authority = Authority()
    token = EntraToken(authority)
    await ask(token)
    later(2 * HOUR_S)

    assert await ask_at_once(token, 16) == ["Bearer token-2"] * 16


async def test_cancelled_caller_does_not_take_the_others_along() -> None:
    """
    If the caller that asks is cancelled, another one asks, and the rest get their token.
    """
    authority = Authority()
    authority.held = anyio.Event()
    token = EntraToken(authority)
    answers: list[str | Unavailable] = []
    scope = anyio.CancelScope()

    async def first() -> None:
        with scope:
            await ask(token)

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await anyio.wait_all_tasks_blocked()

        async def rest() -> None:
            answers.extend(await ask_at_once(token, 4))

        group.start_soon(rest)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        authority.held.set()

    assert scope.cancelled_caught
    assert answers == ["Bearer token-2"] * 4


# --- A token that was refused -------------------------------------------------------------------


async def test_storm_of_refusals_forces_one_refresh() -> None:
    """
    When 16 attempts in flight are told that their token is no good, one new token is asked
    for, past any cache; one that learns of it late finds the new one.
    """
    authority = Authority()
    token = EntraToken(authority)
    header = await ask(token)
    assert isinstance(header, str)

    async def refused(answers: list[str | Unavailable]) -> None:
        assert token.renew(header)
        answers.append(await ask(token))

    answers: list[str | Unavailable] = []
    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(refused, answers)
    await refused(answers)

    assert answers == ["Bearer token-2"] * 17
    assert authority.asked == [{}, {"claims": '{"access_token":{}}'}]


async def test_credential_that_takes_no_claims_is_asked_without() -> None:
    """
    Some credentials refuse claims, and have no cache to get past: they are simply asked.
    """

    class Plain(Authority):
        async def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
            if options:
                raise refusal(None, "claims are not supported")
            return await super().get_token_info(*scopes, options=options)

    token = EntraToken(Plain())
    token.renew(str(await ask(token)))

    assert await ask(token) == "Bearer token-2"


async def test_refusal_during_an_early_refresh_is_not_forgotten(
    later: Callable[[float], None],
) -> None:
    """
    A refresh that was begun before the refusal may bring the same token again; that one is
    not taken, and a new one is forced.
    """

    class Cached(Authority):
        async def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
            info = await super().get_token_info(*scopes, options=options)
            return info if options else AccessTokenInfo("cached", info.expires_on)

    authority = Cached()
    token = EntraToken(authority)
    header = str(await ask(token))
    later(HOUR_S - 100)
    authority.held = anyio.Event()
    answers: list[str | Unavailable] = []

    async def another() -> None:
        answers.append(await ask(token))

    async with anyio.create_task_group() as group:
        group.start_soon(another)
        await anyio.wait_all_tasks_blocked()
        token.renew(header)
        group.start_soon(another)
        await anyio.wait_all_tasks_blocked()
        authority.held.set()

    assert header == "Bearer cached"
    assert answers == ["Bearer token-3"] * 2


# --- No token -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure", [refusal(401), refusal(400), refusal(None, "Please run 'az login'\nto set up")]
)
async def test_no_at_first_ends_the_run(failure: ClientAuthenticationError) -> None:
    """
    A wrong secret, or nobody signed in, is something to mend before anything else; the message
    has the authority's reason on one line and says how to sign in.
    """
    authority = Authority()
    authority.failure = failure

    with pytest.raises(ServiceRefused) as raised:
        await ask(EntraToken(authority))

    assert raised.value.refusal is Refusal.AUTHENTICATION
    assert re.search(
        r"(AADSTS7000215|Please run 'az login' to set up).*az login", str(raised.value)
    )


@pytest.mark.parametrize(
    "failure",
    [
        ServiceRequestError("no route"),
        refusal(503),
        refusal(429),
        ConnectionResetError(104, "reset"),
        ValueError("invalid literal for int()"),
        KeyError("resource"),
    ],
)
async def test_outage_of_the_authority_is_not_the_end(failure: Exception) -> None:
    """
    An authority that cannot be reached, or answers nonsense, may be back soon: the attempt is
    not sent, and the next one asks again.
    """
    authority = Authority()
    authority.failure = failure
    token = EntraToken(authority)

    answer = await ask(token)

    assert isinstance(answer, Unavailable)
    assert not answer.sent
    assert answer.reason.startswith("no token from Authority: ")
    authority.failure = None
    assert await ask(token) == "Bearer token-2"


async def test_identity_that_worked_once_may_be_away(later: Callable[[float], None]) -> None:
    """
    "No identity endpoint" at the start is a wrong setting; in mid-run it is an outage. The
    authority's own no ends the run at any time.
    """
    authority = Authority()
    token = EntraToken(authority)
    await ask(token)
    later(2 * HOUR_S)

    authority.failure = refusal(None, "no response from the IMDS endpoint")
    assert isinstance(await ask(token), Unavailable)
    authority.failure = refusal(401, "the secret has expired")
    with pytest.raises(ServiceRefused, match="the secret has expired"):
        await ask(token)


async def test_waiters_share_a_failure() -> None:
    """
    Those who waited for an acquisition that failed do not each wait for one of their own.
    """
    authority = Authority()
    authority.failure = ServiceRequestError("no route")

    answers = await ask_at_once(EntraToken(authority), 16)

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert len(authority.asked) == 1


async def test_acquisition_has_a_time_out() -> None:
    """
    An authority that never answers is given up on.
    """
    authority = Authority()
    authority.held = anyio.Event()

    answer = await ask(EntraToken(authority, timeout_s=0.01))

    assert answer == Unavailable("no token from Authority within 0.01 s", sent=False)


async def test_plain_credential_is_enough() -> None:
    """
    A credential that only has get_token() serves as well.
    """

    class Plain:
        async def get_token(self, *_: str, **__: Any) -> AccessToken:
            return AccessToken("plain", int(time.time()) + HOUR_S)

        async def close(self) -> None: ...

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

    assert await ask(EntraToken(Plain())) == "Bearer plain"


async def test_synchronous_credential_is_refused_at_the_door() -> None:
    """
    The credential of azure.identity instead of azure.identity.aio is an easy mistake to make.
    """

    class Synchronous:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            raise AssertionError

    with pytest.raises(SettingsError, match=r"azure\.identity\.aio"):
        EntraToken(Synchronous())  # type: ignore[arg-type]  # That is the mistake.


async def test_closing_closes_the_credential() -> None:
    """
    Whoever made the credential for us alone has it closed with us.
    """
    authority = Authority()

    await EntraToken(authority).aclose()

    assert authority.closed
