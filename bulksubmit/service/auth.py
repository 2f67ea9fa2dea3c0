"""Who we are: Shared Key, or a token of Microsoft Entra ID, as an Authorization header."""

import re
from collections.abc import Mapping

from bulksubmit.core.sharedkey import decode_key, signature, string_to_sign
from bulksubmit.errors import SettingsError


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
            self._key = decode_key(key)
        except ValueError as error:
            raise SettingsError(
                f"{error}: copy one of the account's two keys whole, "
                "as `az batch account keys list` shows it"
            ) from None
        self._account_name = account_name

    def __repr__(self) -> str:
        return f"SharedKey({self._account_name!r}, '***')"

    async def authorization(
        self,
        method: str,
        path: str,
        query: tuple[tuple[str, str], ...],
        headers: Mapping[str, str],
    ) -> str:
        """See Credential. Costs 4 µs a request, so nothing of it is kept between requests."""
        text = string_to_sign(method, self._account_name, path, query, headers)
        return f"SharedKey {self._account_name}:{signature(self._key, text)}"

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - a Credential's signature
        """A refused key stays refused."""
        return False
