"""Where requests go: the account's endpoint, and the proxy in between, if there is one."""

import ipaddress
import re
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from bulksubmit.errors import SettingsError

CONNECT_TIMEOUT_S = 10.0  # The name, the connection and the TLS handshake.

_EXAMPLE = "an account's endpoint looks like https://myaccount.westeurope.batch.azure.com"
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*")


def parse_endpoint(endpoint: str) -> str:
    """The endpoint as ``scheme://host[:port]``.

    Without a scheme it gets https, and a trailing slash is dropped: users of ``az`` know it
    either way.

    Raises:
        SettingsError: if it is more or less than a scheme, a host and a port, or if it would
            send credentials in the clear: ``http`` is for loopback only.
    """
    text = endpoint.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise SettingsError(f"the endpoint is not a URL ({error}); {_EXAMPLE}") from error
    if "@" in parts.netloc:
        raise SettingsError(f"the endpoint holds a user name; {_EXAMPLE}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise SettingsError(f"the endpoint {text!r} goes on after the host; {_EXAMPLE}")
    if not _HOST.fullmatch(host):
        raise SettingsError(f"the endpoint {text!r} names no host; {_EXAMPLE}")
    if parts.scheme not in ("https", "http"):
        raise SettingsError(f"the endpoint {text!r} is not an https:// URL; {_EXAMPLE}")
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingsError(
            f"the endpoint {text!r} would send credentials in the clear: "
            "use https://, http:// is for this machine only"
        )
    if "." not in host and ":" not in host and port is None and not is_loopback(host):
        # With a port it may be a host of one's own network, such as a container.
        raise SettingsError(f"the endpoint {text!r} is no full host name; {_EXAMPLE}")
    netloc = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{netloc}" + (f":{port}" if port is not None else "")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def proxy_for(endpoint: str) -> str | None:
    """The proxy that HTTPS_PROXY and NO_PROXY set for an endpoint; none for loopback.

    aiohttp's own ``trust_env`` would read ~/.netrc too, whose entry for the host would
    override our Authorization.

    Raises:
        SettingsError: if the proxy is not an HTTP proxy.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname:
        # Not quoted: it may hold a password.
        raise SettingsError("HTTPS_PROXY does not name an HTTP proxy, such as http://proxy:3128")
    return proxy
