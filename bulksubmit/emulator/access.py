"""Who may call: Shared Key signatures and bearer tokens, really verified."""

import hmac
import re
from dataclasses import dataclass, field
from typing import Protocol

from bulksubmit.core import sharedkey
from bulksubmit.emulator.answers import ServiceError, date_s
from bulksubmit.emulator.exchange import Call

CLOCK_SKEW_MAX_S = 15 * 60  # Reference page "Authenticate requests to Azure Batch".


class Bearer(Protocol):
    """Judges bearer tokens. It is asked with each request, so that tokens can expire."""

    def __call__(self, token: str, /, *, now_s: float) -> str | None:
        """Why a token is not good at this time, for the one who sent it; None if it is good."""


@dataclass(frozen=True, slots=True)
class Access:
    """The account's name, and what opens it.

    Attributes:
        account_name: The Batch account's; compared ignoring case in the Authorization header.
        key: Its decoded key; None if Shared Key is not accepted.
        bearer: Says which bearer tokens are good; None if none is accepted.
    """

    account_name: str
    key: bytes | None = field(default=None, repr=False)
    bearer: Bearer | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.account_name):
            form = "letters, digits, hyphens and underscores"
            raise ValueError(f"the account's name is {self.account_name!r}; it is of {form}")

    def check(self, call: Call, *, now_s: float, bad_token_status: int = 401) -> None:
        """Let a call through.

        Args:
            call: The request's head.
            now_s: The time, as POSIX time.
            bad_token_status: The HTTP status for a bad token.

        Raises:
            ServiceError: 400 MissingRequiredHeader without an Authorization header, 403
                AuthenticationFailed for all else but a bad token.
        """
        authorization = call.headers.get("authorization")
        if authorization is None:
            raise ServiceError("MissingRequiredHeader", {"HeaderName": "Authorization"})
        scheme, _, credential = authorization.partition(" ")
        match scheme.lower():
            case "sharedkey" if self.key is not None:
                self._check_signature(self.key, call, credential.strip(), now_s)
            case "bearer" if self.bearer is not None:
                reason = self.bearer(credential.strip(), now_s=now_s)
                if reason is not None:
                    raise _unauthorized(reason, bad_token_status)
            case _:
                raise _denied(f"The account does not accept authentication by {scheme!r}.")

    def _check_signature(self, key: bytes, call: Call, credential: str, now_s: float) -> None:
        account_name, _, claimed = credential.partition(":")
        if account_name.lower() != self.account_name.lower():
            raise _denied(
                "Cannot find the claimed account when trying to GetProperties for the account "
                f"{account_name}."
            )
        self._check_date(call, now_s)
        texts = []
        for fold in (True, False):  # The rule folds the query's names; azure-batch 15 does not.
            text = sharedkey.string_to_sign(
                call.method,
                account_name,
                call.target.path,
                call.target.query,
                call.headers,
                fold_query_names=fold,
            )
            expected = sharedkey.signature(key, text)
            if hmac.compare_digest(expected.encode(), claimed.encode()):
                return
            texts.append(text)
        raise _denied(
            f"The MAC signature found in the HTTP request '{claimed}' is not the same as any "
            f"computed signature. Server used following string to sign: '{texts[0]}'."
        )

    def _check_date(self, call: Call, now_s: float) -> None:
        text = call.headers.get("ocp-date") or call.headers.get("date")
        if text is None:
            raise _denied("Neither the ocp-date nor the Date header was specified.")
        try:
            sent_s = date_s(text)
        except ValueError:
            raise _denied(f"The date header in the request is incorrect: '{text}'.") from None
        if abs(now_s - sent_s) > CLOCK_SKEW_MAX_S:
            raise _denied(f"Request date header too old: '{text}'.")


def _denied(detail: str) -> ServiceError:
    return ServiceError("AuthenticationFailed", {"AuthenticationErrorDetail": detail})


def _unauthorized(detail: str, status: int) -> ServiceError:
    return ServiceError(
        "AuthenticationFailed",
        {"AuthenticationErrorDetail": detail},
        status=status,
        headers={"WWW-Authenticate": 'Bearer resource_id="https://batch.core.windows.net/"'},
    )
