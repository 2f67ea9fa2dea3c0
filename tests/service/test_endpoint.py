"""Endpoints and proxies: what a user may write, and what is refused with advice."""

import pytest

from bulksubmit.errors import SettingsError
from bulksubmit.service.endpoint import parse_endpoint, proxy_for

ACCOUNT = "https://myaccount.westeurope.batch.azure.com"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (ACCOUNT, ACCOUNT),
        (f" {ACCOUNT}/ ", ACCOUNT),
        ("myaccount.westeurope.batch.azure.com", ACCOUNT),
        ("HTTPS://MyAccount.WestEurope.batch.azure.com", ACCOUNT),
        ("https://emulator:8443", "https://emulator:8443"),
        ("localhost:8443", "https://localhost:8443"),
        ("http://localhost:10080/", "http://localhost:10080"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.8.8.8", "http://127.8.8.8"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_endpoint_is_brought_to_one_form(text: str, endpoint: str) -> None:
    """
    A missing scheme is https and a trailing slash is dropped; http is fine on loopback.
    """
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "ftp://myaccount.westeurope.batch.azure.com",
        "https://myaccount.westeurope.batch.azure.com/jobs",
        "https://myaccount.westeurope.batch.azure.com?x=1",
        "https://user:hunter2@myaccount.westeurope.batch.azure.com",
        "https://myaccount.westeurope.batch.azure.com:port",
        "https://my account",
        "https://[::1",
        "http://myaccount.westeurope.batch.azure.com",
        "myaccount",
        "https://myaccount/",
        "http://10.0.0.1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
    ],
)
def test_anything_else_is_refused_with_what_would_be_right(text: str) -> None:
    """
    An endpoint is a scheme, a host and a port; http never leaves this machine. The message
    says what would be right, and quotes no password.
    """
    with pytest.raises(SettingsError, match=r"https://") as raised:
        parse_endpoint(text)

    assert "hunter2" not in str(raised.value)


def test_proxy_of_the_environment_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    HTTPS_PROXY holds for the account, unless NO_PROXY names it.
    """
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert proxy_for(ACCOUNT) == "http://proxy.example:3128"
    monkeypatch.setenv("no_proxy", "batch.azure.com")
    assert proxy_for(ACCOUNT) is None


def test_loopback_is_never_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No proxy stands between us and this machine, whatever the environment says.
    """
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")

    assert proxy_for("http://127.0.0.1:8080") is None
    assert proxy_for("https://localhost:8443") is None


def test_proxy_of_another_kind_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A SOCKS proxy would fail each request; it is refused at once, and its password not told.
    """
    monkeypatch.setenv("https_proxy", "socks5://me:hunter2@proxy.example:1080")
    monkeypatch.delenv("no_proxy", raising=False)

    with pytest.raises(SettingsError, match="HTTP proxy") as raised:
        proxy_for(ACCOUNT)

    assert "hunter2" not in str(raised.value)
