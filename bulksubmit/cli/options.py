"""Options that several commands share, and what they mean."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import click

from bulksubmit.cli import KEY_VARIABLE
from bulksubmit.errors import Refusal, ServiceRefused, SettingsError
from bulksubmit.service.auth import EntraToken, SharedKey, default_credential
from bulksubmit.service.endpoint import is_loopback, parse_endpoint


def concurrency(text: str) -> int | Literal["auto"]:
    """``auto``, or a whole number.

    Raises:
        click.BadParameter: if it is neither.
    """
    if text.lower() == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither auto nor a whole number") from None


def option(flag: str, *, azure: str | None = None, **attributes: Any) -> Callable[[Any], Any]:
    """An option whose value may come from the environment: ``BULKSUBMIT_<FLAG>``.

    Args:
        flag: Such as ``--job-id``.
        azure: The variable of the same meaning that users of ``az`` know, looked at first.
        attributes: As click takes them.
    """
    own = "BULKSUBMIT_" + flag.removeprefix("--").replace("-", "_").upper()
    attributes.setdefault("show_default", attributes.get("default") is not None)
    return click.option(flag, envvar=[azure, own] if azure else own, show_envvar=True, **attributes)


def credential(
    *, auth_mode: str | None, endpoint: str, account_name: str | None, key_file: Path | None
) -> SharedKey | EntraToken:
    """Who we are, by flags and environment.

    Without a mode it is the key if there is one, else Microsoft Entra ID.

    Raises:
        SettingsError: if something is missing or cannot be right.
        ServiceRefused: if there is no key: nobody needs to ask the service to know its answer.
    """
    key = _key(key_file)
    if auth_mode == "aad" or (auth_mode is None and key is None):
        return EntraToken(default_credential())
    if key is None:
        reason = f"set {KEY_VARIABLE}, or name a file by --account-key-file"
        raise ServiceRefused(Refusal.AUTHENTICATION, "no key", reason)
    return SharedKey(account_name or _account_in(endpoint), key)


def _key(key_file: Path | None) -> str | None:
    if key_file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        return key_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"the key file {key_file} cannot be read: {reason}") from error


def _account_in(endpoint: str) -> str:
    """The account's name as the endpoint's first label, where that is the service's own."""
    host = urlsplit(parse_endpoint(endpoint)).hostname or ""
    if is_loopback(host) or "." not in host:
        raise SettingsError("no account name: give --account-name, or set AZURE_BATCH_ACCOUNT")
    return host.split(".")[0]
