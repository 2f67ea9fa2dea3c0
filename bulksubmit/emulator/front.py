"""How the emulator is reached: by HTTP or HTTPS, with an authority for tokens beside it or not."""

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:  # cryptography and PyJWT cost a tenth of a second, and few need them.
    from bulksubmit.emulator.access import Bearer
    from bulksubmit.emulator.entra import Authority
    from bulksubmit.emulator.exchange import Door

KEY_VARIABLE = "AZURE_BATCH_ACCESS_KEY"


@dataclass(frozen=True, slots=True)
class Front:
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
        from bulksubmit.emulator.entra import PATHS  # noqa: PLC0415  As above.

        return {PATHS: self.authority}

    def variables(self, endpoint: str) -> dict[str, str]:
        """What a client needs in its environment, to trust it and to be let in."""
        found: dict[str, str] = {}
        if self.ca_path is not None:  # For Python's ssl, for requests, for node.
            names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
            found |= {name: str(self.ca_path) for name in names}
        if self.authority is not None:  # A key would go before the token.
            found |= self.authority.environment(endpoint) | {KEY_VARIABLE: ""}
            host = urlsplit(endpoint).hostname or ""
            if getproxies().get("https") and not proxy_bypass(host):
                # bulksubmit uses no proxy for loopback, but azure-identity would.
                direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
                found["NO_PROXY"] = f"{direct},{host}" if direct else host
        return found


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone, by its address or by the one name for that."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def opened(
    *, tls: bool, tls_dir: Path | None = None, entra: bool, token_lifetime_s: int
) -> Iterator[Front]:
    """Make certificates and an authority as asked for, and remove at the end what is temporary.

    Args:
        tls: HTTPS.
        tls_dir: Where to leave the authority's certificate; implies ``tls``. None for a temporary
            folder.
        entra: Tokens; implies ``tls``, since azure-core sends none over HTTP.
        token_lifetime_s: How long each token is good for.

    Raises:
        OSError: if the folder cannot be written to.
    """
    if not (tls or tls_dir or entra):
        yield Front()
        return
    from bulksubmit.emulator.entra import Authority  # noqa: PLC0415  As above.
    from bulksubmit.emulator.tls import make_tls  # noqa: PLC0415

    temporary = nullcontext(tls_dir) if tls_dir else TemporaryDirectory(prefix="bulksubmit-")
    with temporary as folder:
        made = make_tls(Path(folder), now_s=time.time())
        authority = Authority(lifetime_s=token_lifetime_s) if entra else None
        yield Front(made.context, made.ca_path, authority)
