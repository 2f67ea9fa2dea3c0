"""Access tokens of Microsoft Entra ID: JWTs, signed and checked with a key of our own making.

They have the form of version 1.0, as the service's real ones do: the audience is the resource as
it was asked for, to the slash. Nothing here is random but keys and token IDs, which are no part of
what a seed decides.
"""

import secrets
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "https://batch.core.windows.net/"  # As recorded tokens have it, with its slash.

_ALGORITHM = "RS256"
_TOKENS_MAX = 64  # How many are remembered; a client has one or two at a time.


class _Lifetime(msgspec.Struct, frozen=True):
    """The time that a token is good for, in POSIX time."""

    nbf: float
    exp: float


class Signer:
    """Issues tokens for one tenant, and says of each that it sees whether it is good.

    Attributes:
        tenant_id: The tenant's, a GUID.
        key_id: The key's name, in the header of each token and in the published keys.
    """

    def __init__(self, tenant_id: str, *, audience: str = AUDIENCE) -> None:
        """Make a key; that takes a tenth of a second.

        Args:
            tenant_id: Whose tokens they are.
            audience: The resource that tokens must be meant for, to be good.
        """
        self.tenant_id = tenant_id
        self.key_id = secrets.token_urlsafe(20)
        self._audience = audience
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public_key = self._key.public_key()
        # All but the time is looked at once a token: a client sends the same one an hour long,
        # and a signature costs more than the rest of a small request.
        self._read_once = lru_cache(maxsize=_TOKENS_MAX)(self._read)

    @property
    def issuer(self) -> str:
        """Who signs, as tokens of version 1.0 name it."""
        return f"https://sts.windows.net/{self.tenant_id}/"

    def keys(self) -> dict[str, object]:
        """The public keys, as a JSON Web Key Set."""
        jwk = RSAAlgorithm.to_jwk(self._public_key, as_dict=True)
        named = {"use": "sig", "kid": self.key_id, "x5t": self.key_id, "issuer": self.issuer}
        return {"keys": [jwk | named]}

    def issue(
        self, *, resource: str, client_id: str, object_id: str, now_s: float, lifetime_s: int
    ) -> str:
        """Sign a token.

        Args:
            resource: What it opens: its audience.
            client_id: The application that asked.
            object_id: The principal that it stands for.
            now_s: The time, as POSIX time; the token begins with the second.
            lifetime_s: How long it is good for, from then on.
        """
        begin_s = int(now_s)
        claims: dict[str, Any] = {
            "aud": resource,
            "iss": self.issuer,
            "iat": begin_s,
            "nbf": begin_s,
            "exp": begin_s + lifetime_s,
            "appid": client_id,
            "appidacr": "1",  # Proved by a secret.
            "idtyp": "app",
            "oid": object_id,
            "sub": object_id,
            "tid": self.tenant_id,
            "uti": str(uuid4()),  # No two tokens are alike, of the same second neither.
            "ver": "1.0",
        }
        headers = {"kid": self.key_id, "x5t": self.key_id}
        return jwt.encode(claims, self._key, _ALGORITHM, headers)

    def refuse(self, token: str, /, *, now_s: float) -> str | None:
        """See ``access.Bearer``: why a token is not good, or None if it is."""
        lifetime = self._read_once(token)
        if isinstance(lifetime, str):
            return lifetime
        if now_s < lifetime.nbf:
            return f"The access token is not valid before {_text(lifetime.nbf)}."
        if now_s >= lifetime.exp:
            return f"The access token expired at {_text(lifetime.exp)}."
        return None

    def _read(self, token: str) -> _Lifetime | str:
        """When a token is good, or why it never is."""
        try:
            claims = jwt.decode(
                token,
                self._public_key,
                [_ALGORITHM],  # And no other: not none, nor a secret that all can read.
                audience=self._audience,
                issuer=self.issuer,
                # PyJWT would compare these with a clock of its own.
                options={
                    "require": ["aud", "exp", "iss", "nbf"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError as error:
            return f"The access token is invalid: {error}."
        return msgspec.convert(claims, _Lifetime)


def _text(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M:%SZ}"
