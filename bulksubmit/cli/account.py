"""Which account tasks go to, and who we are: by flags and the like, by the run, by az."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bulksubmit.cli import KEY_VARIABLE
from bulksubmit.cli.az import Login, az_login
from bulksubmit.errors import Refusal, ServiceRefused, SettingsError

if TYPE_CHECKING:
    from bulksubmit.service.auth import EntraToken, SharedKey

# What other tools, and the service itself on its nodes, call what we call as az does.
_FOREIGN = {
    "AZURE_BATCH_ENDPOINT": (
        "AZURE_BATCH_ACCOUNT_URL",
        "AZURE_BATCH_ACCOUNT_ENDPOINT",
        "AZURE_BATCH_URL",
        "AZ_BATCH_ACCOUNT_URL",
        "BATCH_ACCOUNT_URL",
        "BATCH_ACCOUNT_ENDPOINT",
    ),
    "AZURE_BATCH_ACCOUNT": (
        "AZURE_BATCH_ACCOUNT_NAME",
        "AZ_BATCH_ACCOUNT_NAME",
        "BATCH_ACCOUNT_NAME",
    ),
    KEY_VARIABLE: (
        "AZURE_BATCH_ACCOUNT_KEY",
        "AZURE_BATCH_KEY",
        "AZ_BATCH_ACCOUNT_KEY",
        "BATCH_ACCOUNT_KEY",
    ),
}


@dataclass(frozen=True, slots=True)
class Account:
    """An account, and how to sign in.

    Attributes:
        endpoint: Its endpoint; None if nobody says.
        name: Its name, if somebody says.
        auth_mode: ``shared_key`` or ``aad``; None for the key if there is one.
        key: The access key, or None.
        key_origin: Where that is from; None if there is none.
        origins: Where the endpoint, the name and the mode are from, by the names of their flags'
            parameters, if neither a flag nor what stands for one says.
        hint: What is set, and not read; one line, or None.
    """

    endpoint: str | None
    name: str | None
    auth_mode: str | None
    key: str | None = field(repr=False)
    key_origin: str | None
    origins: Mapping[str, str]
    hint: str | None

    @property
    def by_key(self) -> bool:
        """Whether requests are signed with a key, not by Microsoft Entra ID."""
        return self.auth_mode == "shared_key" or (self.auth_mode is None and self.key is not None)

    def credential(self) -> "SharedKey | EntraToken":
        """What proves who we are.

        Raises:
            SettingsError: if something is missing or cannot be right.
            ServiceRefused: if there is no key: nobody needs to ask the service to know its answer.
        """
        from bulksubmit.service.auth import (  # noqa: PLC0415 - aiohttp: --help goes without
            EntraToken,
            SharedKey,
            default_credential,
        )

        if not self.by_key:
            return EntraToken(default_credential())
        if self.key is None:
            reason = f"set {KEY_VARIABLE}, or name a file by --account-key-file"
            raise ServiceRefused(Refusal.AUTHENTICATION, "no key", reason)
        assert self.endpoint is not None, "looked at before"
        return SharedKey(self.name or _account_in(self.endpoint), self.key)


def account_of(
    *,
    endpoint: str | None,
    name: str | None,
    auth_mode: str | None,
    key_file: Path | None,
    of_run: str | None = None,
    key_file_is_profiles: bool = False,
) -> Account:
    """Put an account together. What az remembers counts as a whole, and for its account only.

    Args:
        endpoint: By flag, environment or profile.
        name: Likewise.
        auth_mode: Likewise.
        key_file: Likewise: a file with the key.
        of_run: The endpoint of the run that is gone on with.
        key_file_is_profiles: A profile names it: a key in the environment goes first.

    Raises:
        SettingsError: if the key's file cannot be read.
    """
    origins: dict[str, str] = {}
    if endpoint is None and of_run is not None:
        endpoint, origins["account_endpoint"] = of_run, "the run"
    key, key_origin = _key(key_file, environment_first=key_file_is_profiles)
    login, hint = None, None
    if endpoint is None or (key is None and auth_mode != "aad"):
        try:
            login = az_login()
        except SettingsError as error:
            hint = f"{error}; it is left aside"
    if login and _is_of(login, endpoint, name):
        origin = f"az: {login.path}"
        if endpoint is None and login.endpoint:
            endpoint, origins["account_endpoint"] = login.endpoint, origin
        if name is None and login.account:
            name, origins["account_name"] = login.account, origin
        # As az has it: signed in by Entra, a key that is there as well does not count.
        if key is None and auth_mode is None and (login.auth_mode == "aad" or login.key):
            auth_mode, origins["auth_mode"] = login.auth_mode or "shared_key", origin
        if key is None and auth_mode != "aad" and login.key:
            key, key_origin = login.key, origin
    if hint is None:
        missing = {"AZURE_BATCH_ENDPOINT": endpoint is None, KEY_VARIABLE: key is None}
        missing["AZURE_BATCH_ACCOUNT"] = name is None and endpoint is None
        missing[KEY_VARIABLE] &= auth_mode != "aad"
        hint = _hint({ours for ours, is_missing in missing.items() if is_missing})
    return Account(endpoint, name, auth_mode, key, key_origin, origins, hint)


def _key(path: Path | None, *, environment_first: bool) -> tuple[str | None, str | None]:
    """The key, and where it is from."""
    ours = os.environ.get(KEY_VARIABLE)
    if ours and (path is None or environment_first):
        return ours, f"environment: {KEY_VARIABLE}"
    if path is None:
        return None, None
    try:
        return path.read_text("utf-8").strip(), f"file: {path}"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"the key file {path} cannot be read: {reason}") from error


def _is_of(login: Login, endpoint: str | None, name: str | None) -> bool:
    """Whether it is of the account that is meant, as far as one is.

    A key sent to another account would only be refused, and nobody would know why.
    """
    if name is not None and login.account is not None and name.lower() != login.account.lower():
        return False
    return endpoint is None or (
        login.endpoint is not None and _host(endpoint) == _host(login.endpoint)
    )


def _host(endpoint: str) -> str:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}").netloc.lower()
    except ValueError:
        return endpoint


def _account_in(endpoint: str) -> str:
    """The account's name as the endpoint's first label, where that is the service's own."""
    from bulksubmit.service.endpoint import is_loopback, parse_endpoint  # noqa: PLC0415 - ssl

    host = urlsplit(parse_endpoint(endpoint)).hostname or ""
    if is_loopback(host) or "." not in host:
        raise SettingsError("no account name: give --account-name, or set AZURE_BATCH_ACCOUNT")
    return host.split(".")[0]


def _hint(missing: set[str]) -> str | None:
    """What other tools' variables say where ours say nothing; their values are not shown."""
    pairs = [
        (name, ours)
        for ours, theirs in _FOREIGN.items()
        if ours in missing
        for name in theirs
        if os.environ.get(name)
    ]
    if not pairs:
        return None
    names, ours = (list(dict.fromkeys(column)) for column in zip(*pairs, strict=True))
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{', '.join(names)} {verb} set, which other tools read; "
        f"bulksubmit and az read {', '.join(ours)}"
    )
