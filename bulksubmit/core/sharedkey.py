"""Shared Key: the string to sign and its signature.

The client signs with it, the emulator verifies with it. The rule is that of the reference page
"Authenticate requests to Azure Batch"; the client-request-id and the body are not signed.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache

# In this order, values only, empty if absent. Content-Length stands third.
_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_NOTHING = [""] * len(_SIGNED_HEADERS)
_DATE = _SIGNED_HEADERS.index("date") + 1  # Behind the method.


def decode_key(text: str) -> bytes:
    """The bytes of an account's access key.

    Raises:
        ValueError: if the text is not base64, or empty. The text itself is not quoted.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the access key is not base64 ({error})") from error
    if not key:
        raise ValueError("the access key is empty")
    return key


def string_to_sign(
    method: str,
    account_name: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    *,
    fold_query_names: bool = True,
) -> str:
    """What is signed for one request.

    Args:
        method: In any case.
        account_name: The Batch account's.
        path: As encoded in the URL, with its leading slash.
        query: Names and values, both decoded; a name may occur more than once.
        headers: As sent, names in lower case. Content-Length is to be ``0`` for a POST, PUT,
            PATCH or DELETE without a body, and absent for a GET or HEAD.
        fold_query_names: False for clients that sign a query's names as they send them, such
            as azure-batch 15 with its ``timeOut``; the documented rule folds them.
    """
    lines = [method.upper(), *map(headers.get, _SIGNED_HEADERS, _NOTHING)]
    if "ocp-date" in headers:
        lines[_DATE] = ""
    for name in sorted([name for name in headers if name.startswith("ocp-")]):
        value = headers[name].replace("\r\n", " ").replace("\n", " ").strip()
        lines.append(f"{name}:{value}")
    lines.append(f"/{account_name}{path}")
    lines += _query_lines(tuple(query), fold_names=fold_query_names)
    return "\n".join(lines)


@lru_cache(maxsize=256)  # A client has few of them, for millions of requests.
def _query_lines(query: tuple[tuple[str, str], ...], *, fold_names: bool) -> tuple[str, ...]:
    values: dict[str, list[str]] = {}
    for name, value in query:
        values.setdefault(name.lower() if fold_names else name, []).append(value)
    return tuple([f"{name}:{','.join(sorted(values[name]))}" for name in sorted(values)])


class Signer:
    """Signs under one key: what of HMAC (RFC 2104) depends on the key alone is done once."""

    def __init__(self, key: bytes) -> None:
        """Take the decoded key."""
        block_bytes = hashlib.sha256().block_size
        key = hashlib.sha256(key).digest() if len(key) > block_bytes else key
        padded = key.ljust(block_bytes, b"\0")
        self._inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in padded]))
        self._outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in padded]))

    def sign(self, text: str) -> str:
        """The base64 HMAC-SHA256 of the string to sign."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return base64.b64encode(outer.digest()).decode("ascii")


def signature(key: bytes, text: str) -> str:
    """The base64 HMAC-SHA256 of the string to sign, under the decoded key."""
    digest = hmac.digest(key, text.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode("ascii")
