"""What all requests of one kind have in common, made once."""

from functools import cache
from importlib.metadata import version
from typing import Self
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import replace
from multidict import istr
from yarl import URL

from bulksubmit.core.wire import CONTENT_TYPE

# The client waits this much longer than the service may work on a request (its ``timeout``),
# so that an attempt which the client gives up on is over at the service too.
CLIENT_MARGIN_S = 10.0


class Operation(msgspec.Struct, frozen=True, gc=False):
    """What all requests of one kind have in common.

    Attributes:
        shown_url: The URL without its query, which may hold a page's token.
        timeout_s: For the whole exchange.
    """

    name: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    url: URL
    shown_url: str
    headers: dict[str, str]
    timeout_s: float

    def at(self, path: str, query: tuple[tuple[str, str], ...], url: URL) -> Self:
        """The same of another place on the same host."""
        return replace(self, path=path, query=query, url=url, shown_url=_shown(url, path))


def operation(
    name: str,
    method: str,
    *,
    origin: str,
    path: str,
    api_version: str,
    timeout_s: int,
) -> Operation:
    """An operation of the service; the headers' names are in lower case."""
    query = (("api-version", api_version), ("timeout", str(timeout_s)))
    headers: dict[str, str] = {
        istr("accept"): "application/json",
        istr("accept-encoding"): "gzip, deflate",  # aiohttp would offer what else is installed.
        istr("return-client-request-id"): "true",
        istr("user-agent"): _user_agent(),
    }
    if method == "POST":
        headers[istr("content-type")] = CONTENT_TYPE
    url = url_of(origin, path, query)
    return Operation(
        name,
        method,
        path,
        query,
        url,
        _shown(url, path),
        headers,
        timeout_s + CLIENT_MARGIN_S,
    )


@cache  # A millisecond, and there are three operations.
def _user_agent() -> str:
    return f"bulksubmit/{version('bulksubmit')}"


def extended(
    operation: Operation,
    query: tuple[tuple[str, str], ...],
    *,
    name: str | None = None,
    below: str = "",
) -> Operation:
    """The same operation, for more query and a longer path."""
    path, query = operation.path + below, (*operation.query, *query)
    url = url_of(str(operation.url.origin()), path, query)
    return replace(operation, name=name or operation.name).at(path, query, url)


def _shown(url: URL, path: str) -> str:
    return f"{url.origin()}{path}"


def url_of(origin: str, path: str, query: tuple[tuple[str, str], ...]) -> URL:
    """A URL with its query encoded."""
    # As the recorded clients encode a query: a space is %20, and what OData is made of stays.
    encoded = urlencode(query, safe="$,()'", quote_via=quote)
    return URL(f"{origin}{path}?{encoded}", encoded=True)
