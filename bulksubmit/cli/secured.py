"""HTTPS and Entra for ``bulksubmit emulator``: the flags, and what they open."""

import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import click

from bulksubmit.cli import KEY_VARIABLE

if TYPE_CHECKING:
    from bulksubmit.emulator.access import Bearer
    from bulksubmit.emulator.entra import Authority
    from bulksubmit.emulator.exchange import Door


def secured_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of HTTPS and Entra; ``secured`` takes their values."""
    options = [
        click.option(
            "--tls",
            is_flag=True,
            help="HTTPS, with a certificate made at start for this machine only.",
        ),
        click.option(
            "--tls-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where to leave ca.pem, which clients are to trust; implies --tls. Without, it "
            "lies in a temporary folder and is removed at exit.",
        ),
        click.option(
            "--entra",
            is_flag=True,
            help="Tokens of Microsoft Entra ID, from an authority at this address; implies --tls. "
            "The account's key opens too, if it is given.",
        ),
        click.option(
            "--token-lifetime-s",
            type=click.IntRange(1),
            default=3600,
            show_default=True,
            help="How long each token is good for, in seconds.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Secured:
    """How the emulator is reached.

    Attributes:
        ssl_context: For HTTPS; None for HTTP.
        ca_path: What a client of HTTPS is to trust.
        authority: Who gives out tokens; None if nobody does.
    """

    ssl_context: ssl.SSLContext | None = None
    ca_path: Path | None = None
    authority: "Authority | None" = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """Of its URLs."""
        return "http" if self.ssl_context is None else "https"

    @property
    def bearer(self) -> "Bearer | None":
        """Which tokens open the account."""
        return None if self.authority is None else self.authority.refuse

    @property
    def doors(self) -> "Mapping[str, Door]":
        """What stands at the same address."""
        if self.authority is None:
            return {}
        from bulksubmit.emulator.entra import PATHS  # noqa: PLC0415  As in secured().

        return {PATHS: self.authority}

    def variables(self, endpoint: str) -> dict[str, str]:
        """What a client needs in its environment, to trust it and to be let in."""
        found: dict[str, str] = {}
        if self.ca_path is not None:  # The second is for what is built on requests.
            found |= {name: str(self.ca_path) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
        if self.authority is not None:  # A key would go before the token.
            found |= self.authority.environment(endpoint) | {KEY_VARIABLE: ""}
            host = urlsplit(endpoint).hostname or ""
            if getproxies().get("https") and not proxy_bypass(host):
                # bulksubmit uses no proxy for loopback, but azure-identity would.
                direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
                found["NO_PROXY"] = f"{direct},{host}" if direct else host
        return found


@contextmanager
def secured(
    *, tls: bool, tls_dir: Path | None, entra: bool, token_lifetime_s: int, **_: Any
) -> Iterator[Secured]:
    """Make what the flags ask for, and remove what is temporary at the end.

    Raises:
        click.BadParameter: if the folder cannot be written to.
    """
    if not (tls or tls_dir or entra):
        yield Secured()
        return
    # Imported here: cryptography and PyJWT cost a tenth of a second.
    from bulksubmit.emulator.entra import Authority  # noqa: PLC0415
    from bulksubmit.emulator.tls import make_tls  # noqa: PLC0415

    temporary = nullcontext(tls_dir) if tls_dir else TemporaryDirectory(prefix="bulksubmit-")
    with temporary as folder:
        try:
            made = make_tls(Path(folder), now_s=time.time())
        except OSError as error:
            raise click.BadParameter(str(error), param_hint="--tls-dir") from error
        authority = Authority(lifetime_s=token_lifetime_s) if entra else None
        yield Secured(made.context, made.ca_path, authority)
