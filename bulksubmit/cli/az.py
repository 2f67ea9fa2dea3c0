"""What ``az batch account login`` has left behind, which other commands of az go by."""

import configparser
import os
from dataclasses import dataclass, field
from pathlib import Path

from bulksubmit.errors import SettingsError

_SECTION = "batch"


@dataclass(frozen=True, slots=True)
class Login:
    """An account as az remembers it.

    Attributes:
        path: The file that says so.
        account: Its name.
        endpoint: Its endpoint, as az writes it: ``https://NAME.REGION.batch.azure.com/``.
        auth_mode: ``shared_key`` or ``aad``; None if it does not say.
        key: The access key, which az keeps with ``--shared-key-auth`` only.
    """

    path: Path
    account: str | None
    endpoint: str | None
    auth_mode: str | None
    key: str | None = field(repr=False)


def az_config() -> Path:
    """The file that az keeps its settings in, whether it is there or not."""
    folder = os.environ.get("AZURE_CONFIG_DIR")
    return (Path(folder) if folder else Path.home() / ".azure") / "config"


def az_login() -> Login | None:
    """The account that az is signed in to; None if it is to none.

    Raises:
        SettingsError: if az's file is there and cannot be read.
    """
    path = az_config()
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text("utf-8-sig"), str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # What it says itself quotes the line, which may hold the key.
        said = error.strerror if isinstance(error, OSError) else "it is not as az writes it"
        raise SettingsError(f"az's settings in {path} cannot be read: {said}") from None
    if not parser.has_section(_SECTION):
        return None
    account, endpoint, auth_mode, key = (
        parser.get(_SECTION, name, fallback="").strip() or None
        for name in ("account", "endpoint", "auth_mode", "access_key")
    )
    if not (account or endpoint):
        return None
    return Login(path, account, endpoint, auth_mode.lower() if auth_mode else None, key)
