"""The local authority: what it answers, and which tokens open the service."""

import base64
import re
from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from bulksubmit.emulator import Access
from bulksubmit.emulator.entra import PATHS, Authority
from bulksubmit.emulator.tokens import AUDIENCE
from tests.emulator.calls import NOW_S, VERSION, answer_of, error_of, make_service

HOST = "127.0.0.1:8443"
ORIGIN = f"https://{HOST}"
SCOPE = f"{AUDIENCE}/.default"
METADATA = "/metadata/identity/oauth2/token"
HOUR_S = 3600
BEGIN_S = int(NOW_S)

AUTHORITY = Authority()
TOKEN = AUTHORITY.token(now_s=NOW_S)


def ask(
    method: str, target: str, body: bytes = b"", *, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """What the authority says: status and JSON."""
    assert re.match(PATHS, target), "the server would not let this through to the authority"
    answer = AUTHORITY(method, target, {"host": HOST} | (headers or {}), body, now_s=NOW_S)
    assert answer.headers["Content-Length"] == str(len(answer.body))
    return answer.status, orjson.loads(answer.body)


def ask_for_token(
    tenant: str = AUTHORITY.tenant_id, version: str = "/v2.0", **changed: str | None
) -> tuple[int, dict[str, Any]]:
    """The answer to a request for a token that is right, but for what is changed or left out."""
    form: dict[str, str | None] = {
        "grant_type": "client_credentials",
        "client_id": AUTHORITY.client_id,
        "client_secret": AUTHORITY.client_secret,
        **({"scope": SCOPE} if version else {"resource": AUDIENCE}),
    }
    sent = {name: text for name, text in (form | changed).items() if text is not None}
    return ask("POST", f"/{tenant}/oauth2{version}/token", urlencode(sent).encode())


def published_key() -> jwt.PyJWK:
    """The key that a client finds by the authority's own directions."""
    _, configuration = ask("GET", f"/{AUTHORITY.tenant_id}/v2.0/.well-known/openid-configuration")
    _, keys = ask("GET", configuration["jwks_uri"].removeprefix(ORIGIN))
    return jwt.PyJWKSet.from_dict(keys).keys[0]


# --- Tokens as they are given out -------------------------------------------------------------


def test_a_token_is_a_jwt_of_its_own() -> None:
    """
    It has the claims of the service's real ones, and is signed with the key that is published.
    No two are alike: a client that was refused one can tell that it got another.
    """
    status, answer = ask_for_token()

    key = published_key()
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    token = answer.pop("access_token")
    claims = jwt.decode(token, key, ["RS256"], audience=AUDIENCE, options=options)
    assert status == 200
    assert answer == {"token_type": "Bearer", "expires_in": HOUR_S, "ext_expires_in": HOUR_S}
    assert jwt.get_unverified_header(token)["kid"] == key.key_id
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (BEGIN_S, BEGIN_S, BEGIN_S + HOUR_S)
    assert (claims["tid"], claims["appid"]) == (AUTHORITY.tenant_id, AUTHORITY.client_id)
    assert AUTHORITY.tenant_id in claims["iss"]
    assert token != ask_for_token()[1]["access_token"]


@pytest.mark.parametrize(
    ("scope", "audience"),
    [
        ("https://batch.core.windows.net//.default", "https://batch.core.windows.net/"),
        ("https://batch.core.windows.net/.default", "https://batch.core.windows.net"),
        ("https://management.azure.com/.default", "https://management.azure.com"),
    ],
)
def test_the_audience_is_what_was_asked_for(scope: str, audience: str) -> None:
    """
    The scope's resource is the audience to the slash, which is why Batch's has two.
    """
    _, answer = ask_for_token(scope=scope)

    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert claims["aud"] == audience


def test_the_older_path_and_a_managed_identity_answer_in_text() -> None:
    """
    Both name the resource, and their numbers are strings.
    """
    expected = {
        "token_type": "Bearer",
        "expires_in": "3600",
        "ext_expires_in": "3600",
        "not_before": str(BEGIN_S),
        "expires_on": str(BEGIN_S + HOUR_S),
        "resource": AUDIENCE,
    }
    _, older = ask_for_token(version="")
    query = urlencode({"api-version": "2018-02-01", "resource": AUDIENCE})
    _, identity = ask("GET", f"{METADATA}?{query}", headers={"metadata": "true"})

    for token in (older.pop("access_token"), identity.pop("access_token")):
        assert AUTHORITY.refuse(token, now_s=NOW_S) is None
    assert older == expected
    assert identity == expected | {"client_id": AUTHORITY.client_id}


@pytest.mark.parametrize("version", ["", "/v2.0"])
def test_each_name_of_the_tenant_leads_to_its_token(version: str) -> None:
    """
    The configuration of a name stays with that name: MSAL keeps tokens by it.
    """
    for tenant in (AUTHORITY.tenant_id, AUTHORITY.tenant_id.upper(), "adfs"):
        _, found = ask("GET", f"/{tenant}{version}/.well-known/openid-configuration")

        assert found["token_endpoint"] == f"{ORIGIN}/{tenant}/oauth2/v2.0/token"
        assert ask_for_token(tenant)[0] == 200


# --- What it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000216),
        ({"client_id": "another"}, 400, "unauthorized_client", 700016),
        ({"tenant": "another"}, 400, "invalid_request", 90002),
        ({"scope": AUDIENCE}, 400, "invalid_scope", 1002012),
        ({"scope": f"{SCOPE} openid"}, 400, "invalid_scope", 1002012),
        ({"scope": "nowhere/.default"}, 400, "invalid_resource", 500011),
        ({"version": "", "resource": "nowhere"}, 400, "invalid_resource", 500011),
        ({"scope": None}, 400, "invalid_request", 900144),
        ({"version": "", "resource": None}, 400, "invalid_request", 900144),
        ({"grant_type": None}, 400, "invalid_request", 900144),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
    ],
)
def test_what_is_wrong_has_its_code(
    changed: dict[str, Any], status: int, error: str, code: int
) -> None:
    """
    Each refusal has the status, the word and the number of the real authority, and never tells
    a secret.
    """
    answered, answer = ask_for_token(**changed)

    assert (answered, answer["error"], answer["error_codes"]) == (status, error, [code])
    assert answer["error_description"].startswith(f"AADSTS{code}: ")
    assert AUTHORITY.client_secret not in answer["error_description"]
    assert answer["timestamp"] == "2025-06-27 04:53:20Z"


@pytest.mark.parametrize(
    ("method", "target", "body", "error"),
    [
        ("GET", "/adfs/oauth2/v2.0/token", b"", "invalid_request"),
        ("POST", "/adfs/oauth2/v2.0/token", b"\xff", "invalid_request"),
        ("GET", "/another/v2.0/.well-known/openid-configuration", b"", "invalid_tenant"),
        ("GET", "/another/discovery/v2.0/keys", b"", "invalid_tenant"),
    ],
)
def test_other_requests_that_are_wrong(method: str, target: str, body: bytes, error: str) -> None:
    """
    A wrong verb, a body that is no text, a tenant that does not exist.
    """
    status, answer = ask(method, target, body)

    assert (status, answer["error"]) == (400, error)


@pytest.mark.parametrize(
    ("headers", "query", "text"),
    [
        ({}, {"resource": AUDIENCE}, "metadata header"),
        ({"metadata": "true"}, {}, "resource"),
        ({"metadata": "true"}, {"resource": AUDIENCE, "client_id": "another"}, "not found"),
    ],
)
def test_no_identity(headers: dict[str, str], query: dict[str, str], text: str) -> None:
    """
    The managed identity's endpoint wants its header, a resource, and an identity that it has.
    """
    status, answer = ask("GET", f"{METADATA}?{urlencode(query)}", headers=headers)

    assert (status, answer["error"]) == (400, "invalid_request")
    assert text in answer["error_description"]


@pytest.mark.parametrize(
    "target",
    [
        "/jobs/oauth2/addtaskcollection",
        "/jobs/j1/tasks/token",
        "/jobs/.well-known",
        "/jobs?x=/adfs/oauth2/token",
        "/metadata",
    ],
)
def test_paths_of_the_service_are_left_to_it(target: str) -> None:
    """
    Whatever a job or a task is called, no request for it goes to the authority.
    """
    assert re.match(PATHS, target) is None


# --- Which tokens are good -----------------------------------------------------------------------


def forge(algorithm: str, key: Any, **changed: Any) -> str:
    """A token with the claims of a good one, but for what is changed, signed in another way."""
    claims = jwt.decode(TOKEN, options={"verify_signature": False}) | changed
    return jwt.encode(claims, key, algorithm, {"kid": published_key().key_id})


def forge_hmac() -> str:
    """A token signed with the public key as if that were a secret that both ends share."""
    key = published_key().key
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # PyJWT itself would not sign with it.
    with patch("jwt.algorithms.HMACAlgorithm.prepare_key", lambda _, key: key):
        return forge("HS256", pem)


def prolong() -> str:
    """A token whose end was moved, under the signature that it had."""
    header, payload, signature = TOKEN.split(".")
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["exp"] += HOUR_S
    changed = base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=").decode()
    return f"{header}.{changed}.{signature}"


def issue(resource: str) -> str:
    return AUTHORITY.token(now_s=NOW_S, resource=resource)


@pytest.mark.parametrize(
    ("make", "now_s", "reason"),
    [
        (lambda: TOKEN, BEGIN_S + HOUR_S, "expired at 2025-06-27 05:53:20Z"),
        (lambda: TOKEN, BEGIN_S - 1, "not valid before 2025-06-27 04:53:20Z"),
        (lambda: issue("https://vault.azure.net"), NOW_S, "Audience"),
        (lambda: issue(AUDIENCE.rstrip("/")), NOW_S, "Audience"),
        (lambda: Authority().token(now_s=NOW_S), NOW_S, "Signature"),
        (lambda: forge("RS256", rsa.generate_private_key(65537, 2048)), NOW_S, "Signature"),
        (lambda: forge("none", None), NOW_S, "alg"),
        (forge_hmac, NOW_S, "alg"),
        (prolong, NOW_S, "Signature"),
        (lambda: TOKEN[:-2], NOW_S, "Signature"),
        (lambda: "token", NOW_S, "segments"),
        (lambda: "", NOW_S, "segments"),
    ],
)
def test_a_bad_token_is_a_401_with_its_reason(
    make: Callable[[], str], now_s: float, reason: str
) -> None:
    """
    Expired, not valid yet, for another resource, of another authority, forged or no token at all:
    the service says which, and does not open.
    """
    service = make_service(access=Access("acct", bearer=AUTHORITY.refuse))
    headers = {"authorization": f"Bearer {make()}"}

    answer = answer_of(service, "GET", f"/jobs/j1?{VERSION}", headers=headers, now_s=now_s)

    status, code, values = error_of(answer)
    assert (status, code) == (401, "AuthenticationFailed")
    assert reason in values["AuthenticationErrorDetail"]


@given(now_s=st.floats(BEGIN_S - 10.0, BEGIN_S + HOUR_S + 10.0))
@example(float(BEGIN_S))
@example(float(BEGIN_S + HOUR_S))
def test_a_token_is_good_from_its_second_to_its_end(now_s: float) -> None:
    """
    It opens from the second in which it was issued, and no more once its lifetime is over.
    """
    good = AUTHORITY.refuse(TOKEN, now_s=now_s) is None

    assert good == (BEGIN_S <= now_s < BEGIN_S + HOUR_S)


def test_a_lifetime_is_a_parameter() -> None:
    """
    A short one makes a client renew its token soon.
    """
    authority = Authority(lifetime_s=2)
    token = authority.token(now_s=NOW_S)

    assert authority.refuse(token, now_s=BEGIN_S + 1.9) is None
    assert authority.refuse(token, now_s=BEGIN_S + 2) is not None


def test_a_signature_is_checked_once_and_the_time_each_time() -> None:
    """
    A thousand requests with one token cost one check of its signature, and it expires all the
    same.
    """
    authority = Authority()
    token = authority.token(now_s=NOW_S)

    with patch.object(jwt, "decode", wraps=jwt.decode) as decode:
        good = {authority.refuse(token, now_s=NOW_S + second) for second in range(1000)}
        expired = authority.refuse(token, now_s=NOW_S + HOUR_S)

    assert decode.call_count == 1
    assert good == {None}
    assert expired is not None
