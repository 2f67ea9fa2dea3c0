"""HTTPS on loopback: a certificate authority made for one server, and the server's certificate.

Each call makes both anew. What a client needs is the authority's certificate, one PEM file; its
key signs once and is forgotten, so that whoever trusts the file trusts this one server and
nobody after it. The certificate says so itself: it is good for some days, and only for names of
this machine. (trustme would do with fewer lines, but its authorities are good until the year 3000
and for every name.)
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_FILE = "ca.pem"
VALID_DAYS = 7  # Longer than any trial or test lasts.

_EARLIER = timedelta(hours=1)  # For clients in a container whose clock is behind.
_ISSUER, _SUBJECT = "bulksubmit emulator, for this machine only", "localhost"


@dataclass(frozen=True, slots=True)
class Tls:
    """What the two ends of a connection need.

    Attributes:
        context: The server's.
        ca_path: The file that a client is to trust: SSL_CERT_FILE for Python's ssl and what is
            built on it, REQUESTS_CA_BUNDLE for requests, NODE_EXTRA_CA_CERTS for node.
    """

    context: ssl.SSLContext
    ca_path: Path


def make_tls(folder: Path, *, now_s: float) -> Tls:
    """Make a certificate for 127.0.0.1, ::1 and localhost, and the authority behind it.

    Args:
        folder: Where ``ca.pem`` is written, over one of an earlier call; made if need be. No
            private key comes to lie there.
        now_s: The time, as POSIX time: they are good for ``VALID_DAYS`` from then on.

    Raises:
        OSError: if the folder cannot be written to.
    """
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.fromtimestamp(now_s, UTC)
    ca_pem = _make_ca(ca_key, now).public_bytes(Encoding.PEM)
    pem = _make_certificate(key, ca_key, now).public_bytes(Encoding.PEM)
    folder.mkdir(parents=True, exist_ok=True)
    ca_path = folder / CA_FILE
    ca_path.write_bytes(ca_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _load(context, pem + key_pem)
    return Tls(context, ca_path.absolute())


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Give the context a key. Python's ssl reads keys from files only, so there is one briefly."""
    with TemporaryDirectory() as folder:  # Its mode is 0700.
        path = Path(folder) / "key.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem)
        context.load_cert_chain(path)


def _make_ca(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    here = [
        x509.DNSName("localhost"),
        x509.IPAddress(ip_network("127.0.0.0/8")),
        x509.IPAddress(ip_network("::1/128")),
    ]
    return (
        _builder(_ISSUER, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign"), critical=True)
        .add_extension(x509.NameConstraints(here, excluded_subtrees=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _make_certificate(
    key: ec.EllipticCurvePrivateKey, ca_key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.IPAddress(ip_address("::1")),
    ]
    # The identifiers of the keys are what Python 3.13 wants of a chain (VERIFY_X509_STRICT).
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(_SUBJECT, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: str, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(_ISSUER))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(purpose: str) -> x509.KeyUsage:
    purposes = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{each: each == purpose for each in purposes})
