"""Microsoft Entra ID for the emulator: one tenant with one application, and its tokens.

What azure-identity needs of its environment to get a token here (read in the code of 1.27.0, and
1.19.0 was seen to need the same):

| credential | beside AZURE_AUTHORITY_HOST, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET |
|---|---|
| azure.identity.aio: ClientSecret, Environment, Default | AZURE_TENANT_ID, either name; \
SSL_CERT_FILE, before the process starts |
| azure.identity, the same | AZURE_TENANT_ID=adfs; REQUESTS_CA_BUNDLE |
| azure.identity with ``disable_instance_discovery=True`` | AZURE_TENANT_ID, either name; \
REQUESTS_CA_BUNDLE |
| both: ManagedIdentity | AZURE_POD_IDENTITY_AUTHORITY_HOST alone |

The synchronous ones go through MSAL. For a host that MSAL does not know it asks
login.microsoftonline.com first whether the host is an authority, unless that is switched off, for
which there is no variable, or the tenant is called ``adfs``, as in Active Directory Federation
Services. So the one tenant here has that name beside its GUID. All of them insist on https but the
managed identity's.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn
from urllib.parse import parse_qs
from uuid import uuid4

import orjson

from bulksubmit.emulator.exchange import Answer
from bulksubmit.emulator.tokens import AUDIENCE, Signer

LIFETIME_S = 3600

# The paths that it answers, each of any tenant; none is one of Batch, whatever a job is called.
PATHS = (
    r"/(metadata/identity/oauth2/token"
    r"|[^/?]+/oauth2/(v2\.0/)?token"
    r"|[^/?]+/(v2\.0/)?\.well-known/openid-configuration"
    r"|[^/?]+/discovery/(v2\.0/)?keys)(\?|$)"
)

_ADFS = "adfs"
_DEFAULT = "/.default"


class _Refused(Exception):
    """What is wrong with a request.

    Attributes:
        status: The HTTP status.
        error: OAuth's word for it.
        code: The number after AADSTS; None for the managed identity's, which has none.
        text: What a person is told.
    """

    def __init__(self, status: int, error: str, code: int | None, text: str) -> None:
        self.status, self.error, self.code, self.text = status, error, code, text
        super().__init__(text)


class Authority:
    """An authority and a managed identity's endpoint, as a ``Door`` at ``PATHS``.

    Attributes:
        tenant_id: The tenant's.
        client_id: The application's, and the managed identity's.
        client_secret: The application's.
    """

    def __init__(self, *, lifetime_s: int = LIFETIME_S, audience: str = AUDIENCE) -> None:
        """Make up a tenant, an application and its secret.

        Args:
            lifetime_s: How long each token is good for.
            audience: The resource that a token must have been asked for to open the service.
        """
        self.tenant_id, self.client_id, self._object_id = (str(uuid4()) for _ in range(3))
        self.client_secret = f"emulator-{uuid4().hex}"
        self._lifetime_s = lifetime_s
        self._signer = Signer(self.tenant_id, audience=audience)

    def environment(self, origin: str) -> dict[str, str]:
        """The variables by which azure-identity finds the authority and gets its tokens.

        Args:
            origin: Where it listens, as ``https://127.0.0.1:8443``.
        """
        return {
            "AZURE_AUTHORITY_HOST": origin,
            "AZURE_TENANT_ID": _ADFS,  # The module's docstring says why.
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_CLIENT_SECRET": self.client_secret,
        }

    def refuse(self, token: str, /, *, now_s: float) -> str | None:
        """See ``access.Bearer``: why a token is not good, or None if it is."""
        return self._signer.refuse(token, now_s=now_s)

    def token(self, *, now_s: float, resource: str = AUDIENCE) -> str:
        """A token, without asking for it over HTTP.

        Args:
            now_s: The time, as POSIX time.
            resource: What it is to open.
        """
        return self._signer.issue(
            resource=resource,
            client_id=self.client_id,
            object_id=self._object_id,
            now_s=now_s,
            lifetime_s=self._lifetime_s,
        )

    def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, now_s: float
    ) -> Answer:
        """See ``exchange.Door``."""
        path, _, query = target.partition("?")
        given = {name: values[0] for name, values in parse_qs(query).items()}
        try:
            match method, path.strip("/").split("/"):
                case "GET", ["metadata", "identity", "oauth2", "token"]:
                    return _json(self._managed_identity(headers, given, now_s))
                case "GET", [tenant, *_, "openid-configuration"]:
                    self._check_tenant(tenant, "invalid_tenant")
                    return _json(self._configuration(headers, tenant))
                case "GET", [tenant, "discovery", *_, "keys"]:
                    self._check_tenant(tenant, "invalid_tenant")
                    return _json(self._signer.keys())
                case "POST", [tenant, "oauth2", *version, "token"]:
                    self._check_tenant(tenant, "invalid_request")
                    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                    return _json(self._client_credentials(form, *version, now_s=now_s))
            _refuse(400, "invalid_request", 900561, f"The endpoint does not accept {method}.")
        except UnicodeDecodeError:
            refused = _Refused(400, "invalid_request", 9002313, "The body is not text.")
            return _refusal(refused, headers, now_s)
        except _Refused as refused:
            return _refusal(refused, headers, now_s)

    # --- What is asked --------------------------------------------------------------------------

    def _client_credentials(
        self, form: Mapping[str, str], version: str = "v1.0", *, now_s: float
    ) -> dict[str, object]:
        """A token for the application, by its secret."""
        asked_by = "scope" if version == "v2.0" else "resource"
        for name in ("grant_type", "client_id", asked_by):
            if name not in form:
                _refuse(400, "invalid_request", 900144, f"The parameter '{name}' is missing.")
        if form["grant_type"] != "client_credentials":
            text = f"The grant type '{form['grant_type']}' is not supported."
            _refuse(400, "unsupported_grant_type", 70003, text)
        self._check_client(form)
        if version != "v2.0":
            return self._token_v1(_check_resource(form["resource"]), now_s)
        scope = form["scope"]
        if not scope.endswith(_DEFAULT) or " " in scope:
            text = f"The scope '{scope}' is not valid: it is to be a resource and {_DEFAULT}."
            _refuse(400, "invalid_scope", 1002012, text)
        resource = _check_resource(scope.removesuffix(_DEFAULT))
        return {
            "token_type": "Bearer",
            "expires_in": self._lifetime_s,
            "ext_expires_in": self._lifetime_s,
            "access_token": self.token(now_s=now_s, resource=resource),
        }

    def _check_client(self, form: Mapping[str, str]) -> None:
        if form["client_id"].lower() != self.client_id:
            text = (
                f"Application with identifier '{form['client_id']}' was not found in the "
                f"directory '{self.tenant_id}'."
            )
            _refuse(400, "unauthorized_client", 700016, text)
        if "client_secret" not in form:
            _refuse(401, "invalid_client", 7000216, "The parameter 'client_secret' is missing.")
        if not hmac.compare_digest(form["client_secret"].encode(), self.client_secret.encode()):
            text = f"Invalid client secret provided for app '{self.client_id}'."
            _refuse(401, "invalid_client", 7000215, text)

    def _managed_identity(
        self, headers: Mapping[str, str], query: Mapping[str, str], now_s: float
    ) -> dict[str, object]:
        """A token for the virtual machine that the caller would run on."""
        if headers.get("metadata", "").lower() != "true":
            _refuse(400, "invalid_request", None, "Required metadata header not specified")
        if "resource" not in query:
            _refuse(400, "invalid_request", None, "Required query variable 'resource' is missing")
        if query.get("client_id", self.client_id).lower() != self.client_id:
            _refuse(400, "invalid_request", None, "Identity not found")
        resource = _check_resource(query["resource"])
        return {"client_id": self.client_id, **self._token_v1(resource, now_s)}

    def _token_v1(self, resource: str, now_s: float) -> dict[str, object]:
        """The older form of an answer: its numbers are text."""
        begin_s = int(now_s)
        return {
            "token_type": "Bearer",
            "expires_in": str(self._lifetime_s),
            "ext_expires_in": str(self._lifetime_s),
            "expires_on": str(begin_s + self._lifetime_s),
            "not_before": str(begin_s),
            "resource": resource,
            "access_token": self.token(now_s=now_s, resource=resource),
        }

    def _configuration(self, headers: Mapping[str, str], tenant: str) -> dict[str, object]:
        base = f"{_origin(headers)}/{tenant}"
        return {
            "issuer": self._signer.issuer,
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def _check_tenant(self, tenant: str, error: str) -> None:
        if tenant.lower() not in {self.tenant_id, _ADFS}:
            _refuse(400, error, 90002, f"Tenant '{tenant}' not found.")


def _check_resource(resource: str) -> str:
    """A resource that is known: each that is a URL, so that tokens for others than Batch exist."""
    if not re.match(r"https://[^/]", resource):
        text = f"The resource principal named {resource} was not found in the tenant."
        _refuse(400, "invalid_resource", 500011, text)
    return resource


def _refuse(status: int, error: str, code: int | None, text: str) -> NoReturn:
    raise _Refused(status, error, code, text)


def _refusal(refused: _Refused, headers: Mapping[str, str], now_s: float) -> Answer:
    if refused.code is None:
        answer: dict[str, object] = {"error": refused.error, "error_description": refused.text}
        return _json(answer, refused.status)
    trace_id = str(uuid4())
    correlation_id = headers.get("client-request-id", str(uuid4()))
    timestamp = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d %H:%M:%SZ}"
    return _json(
        {
            "error": refused.error,
            "error_description": (
                f"AADSTS{refused.code}: {refused.text} Trace ID: {trace_id} "
                f"Correlation ID: {correlation_id} Timestamp: {timestamp}"
            ),
            "error_codes": [refused.code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
        },
        refused.status,
    )


def _origin(headers: Mapping[str, str]) -> str:
    return (
        f"https://{headers.get('host', 'localhost')}"  # What is asked for here is asked by https.
    )


def _json(answer: Mapping[str, object], status: int = 200) -> Answer:
    body = orjson.dumps(answer)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store, no-cache",
    }
    return Answer(status, headers, body)
