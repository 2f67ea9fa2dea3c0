"""HTTPS: whom a client is to trust, for how long, and for which names."""

import ssl
import time
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from bulksubmit.emulator import Fault
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.tls import VALID_DAYS, make_tls
from tests.emulator.calls import ADD, make_body, make_service

DAY_S = 24 * 3600


def trusting(ca_path: Path) -> ssl.SSLContext:
    """A client that trusts this authority alone, and is as strict as Python 3.13."""
    context = ssl.create_default_context(cafile=ca_path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A handshake in memory.

    Raises:
        ssl.SSLError: what the client has against the certificate.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "localhost"])
def test_a_client_that_trusts_the_file_connects(name: str, tmp_path: Path) -> None:
    """
    Each name of this machine that the emulator can be called by is in the certificate.
    """
    tls = make_tls(tmp_path, now_s=time.time())

    shake_hands(tls.context, trusting(tls.ca_path), name)


@pytest.mark.parametrize("name", ["example.com", "127.0.0.2"])
def test_another_name_is_none_of_its(name: str, tmp_path: Path) -> None:
    """
    The certificate is for no other name.
    """
    tls = make_tls(tmp_path, now_s=time.time())

    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        shake_hands(tls.context, trusting(tls.ca_path), name)


def test_nobody_else_is_trusted(tmp_path: Path) -> None:
    """
    Who trusts one server's authority trusts no other's, though they have the same names.
    """
    one, other = (make_tls(tmp_path / name, now_s=time.time()) for name in "ab")

    with pytest.raises(ssl.SSLCertVerificationError, match="certificate"):
        shake_hands(one.context, trusting(other.ca_path), "localhost")


@pytest.mark.parametrize("off_s", [-(VALID_DAYS * DAY_S + 60), DAY_S])
def test_it_is_good_for_days(off_s: int, tmp_path: Path) -> None:
    """
    The authority's certificate ends with the server's, some days after it was made.
    """
    tls = make_tls(tmp_path, now_s=time.time() + off_s)

    ca = x509.load_pem_x509_certificate(tls.ca_path.read_bytes())
    assert (ca.not_valid_after_utc - ca.not_valid_before_utc).days == VALID_DAYS
    with pytest.raises(ssl.SSLCertVerificationError, match=r"expired|not yet valid"):
        shake_hands(tls.context, trusting(tls.ca_path), "localhost")


def test_the_folder_holds_no_key(tmp_path: Path) -> None:
    """
    The folder is made, and one certificate is all that is left in it; a second call replaces it.
    """
    folder = tmp_path / "deep" / "er"
    first = make_tls(folder, now_s=time.time()).ca_path.read_text()

    path = make_tls(folder, now_s=time.time()).ca_path

    assert list(folder.iterdir()) == [path]
    assert "PRIVATE" not in path.read_text()
    assert path.read_text() != first


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.DROP_BEFORE, aiohttp.ClientConnectionError),
        (Fault.DROP_AFTER, aiohttp.ClientConnectionError),
        (Fault.DROP_ANSWER, aiohttp.ClientPayloadError),
    ],
)
async def test_the_service_over_https(fault: Fault, error: type[Exception], tmp_path: Path) -> None:
    """
    Links say https, and connections are cut as without TLS.
    """
    tls = make_tls(tmp_path, now_s=time.time())
    service = make_service(script=[fault], scheme="https")
    async with (
        serve(service, ssl_context=tls.context) as server,
        aiohttp.TCPConnector(ssl=trusting(tls.ca_path)) as connector,
        aiohttp.ClientSession(
            server.endpoint, connector=connector, headers={"Content-Type": "application/json"}
        ) as http,
    ):
        with pytest.raises(error):
            async with http.post(ADD, data=make_body("a")) as response:
                await response.read()
        async with http.post(ADD, data=make_body("b")) as response:
            answer = await response.text()

    assert server.endpoint.startswith("https://")
    assert f'"location":"{server.endpoint}/jobs/j1/tasks/b"' in answer
