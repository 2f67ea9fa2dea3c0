"""HTTP by aiohttp, which is known here and nowhere else."""

import io
import time
from collections.abc import Mapping
from http.cookies import BaseCookie, SimpleCookie
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from bulksubmit.service.deadlines import Deadlines
from bulksubmit.service.endpoint import CONNECT_TIMEOUT_S, proxy_for
from bulksubmit.service.replies import (
    ANSWER_BYTES_MAX,
    Answer,
    Unavailable,
    failed,
    insecure,
    nameless,
)

# aiohttp warns of larger bodies as bytes; as a stream they are written piece by piece.
_BYTES_BODY_MAX = 2**20


class Session:
    """An Http on an aiohttp.ClientSession."""

    def __init__(self, origin: str) -> None:
        """Prepare for one origin.

        Raises:
            SettingsError: if the proxy for it is not usable.
        """
        self._proxy = proxy_for(origin)
        self._session: aiohttp.ClientSession | None = None
        self._deadlines = Deadlines()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # The number of connections follows the attempts in flight: the pool bounds those.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=_NoCookies(),
            # Of a whole exchange: see Deadlines.
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None, "entered before"
        self._deadlines.close()
        await self._session.close()

    async def exchange(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes, *, timeout_s: float
    ) -> Answer | Unavailable:
        """See Http."""
        assert self._session is not None, "entered before"
        request = self._session.request(
            method,
            url,
            data=(body if len(body) <= _BYTES_BODY_MAX else io.BytesIO(body)) or None,
            headers=headers,
            allow_redirects=False,
            proxy=self._proxy,
        )
        try:
            with self._deadlines.within(timeout_s):
                async with request as response:
                    body = await _read(response)
                    return Answer(response.status, response.headers, body, time.time())
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            return _unanswered(error)


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps none, and makes nothing of it anew for each request."""

    _none: BaseCookie[str] = SimpleCookie()

    def filter_cookies(self, request_url: URL) -> BaseCookie[str]:  # noqa: ARG002
        """None."""
        return self._none


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, in as few awaits as there were deliveries."""
    parts: list[bytes] = []
    size = 0
    content = response.content
    while not content.at_eof():
        part = await content.readany()
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unanswered(error: Exception) -> Unavailable:
    """What an exception says of a request: above all, whether it may have been sent.

    Children stand before their parents: ClientConnectorError is a ClientOSError.
    """
    match error:
        case aiohttp.ClientConnectorDNSError():
            return nameless(error.host)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return insecure(error)
        case aiohttp.ClientHttpProxyError():
            return failed(error, sent=False, what="the proxy refuses to connect: ")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return failed(error, sent=False)
        case TimeoutError():
            return Unavailable("no answer in time", sent=True, timed_out=True)
        case _:
            # ServerDisconnectedError, ClientOSError, ClientPayloadError; and
            # ClientResponseError: made by aiohttp, out of an answer that is not HTTP.
            return failed(error, sent=True)
