"""Who may call: signatures and tokens."""

from collections.abc import Mapping
from email.utils import formatdate

import pytest

from bulksubmit.core import sharedkey
from bulksubmit.emulator import Access, Answer
from tests.emulator.calls import NOW_S, VERSION, answer_of, error_of, make_service

KEY = b"a key for tests alone"
ACCESS = Access("acct", KEY)


def signed(
    *,
    query: tuple[tuple[str, str], ...] = (("api-version", "2024-07-01.20.0"),),
    account: str = "acct",
    key: bytes = KEY,
    date_s: float = NOW_S,
    date_header: str = "ocp-date",
    fold: bool = True,
) -> dict[str, str]:
    """The headers of a GET of the job, signed."""
    headers = {date_header: formatdate(date_s, usegmt=True)}
    text = sharedkey.string_to_sign(
        "GET", account, "/jobs/j1", query, headers, fold_query_names=fold
    )
    return headers | {"authorization": f"SharedKey {account}:{sharedkey.signature(key, text)}"}


def get_job(headers: Mapping[str, str], query: str = VERSION, access: Access = ACCESS) -> Answer:
    return answer_of(make_service(access=access), "GET", f"/jobs/j1?{query}", headers=headers)


def test_a_signature_opens() -> None:
    """A request signed with the account's key is answered."""
    assert get_job(signed()).status == 200


@pytest.mark.parametrize("fold", [True, False])
def test_query_names_are_signed_folded_or_as_sent(fold: bool) -> None:  # noqa: FBT001  A case.
    """Both are in use: the documented rule folds names, azure-batch 15 signs its timeOut as is."""
    query = (("api-version", "2024-07-01.20.0"), ("timeOut", "30"))

    answer = get_job(signed(query=query, fold=fold), query=f"{VERSION}&timeOut=30")

    assert answer.status == 200


def test_a_plain_date_will_do() -> None:
    """Date stands in for ocp-date."""
    assert get_job(signed(date_header="date")).status == 200


def test_without_authorization() -> None:
    """A missing header is a 400 of its own, as recorded."""
    refused = error_of(get_job({}))

    assert refused == (400, "MissingRequiredHeader", {"HeaderName": "Authorization"})


def test_a_wrong_key_is_told_the_string_to_sign() -> None:
    """The detail quotes what the service signed, and never its key or the right signature."""
    headers = signed(key=b"another")

    answer = get_job(headers)

    status, code, values = error_of(answer)
    assert (status, code) == (403, "AuthenticationFailed")
    assert f"GET{chr(10) * 12}ocp-date:{headers['ocp-date']}" in values["AuthenticationErrorDetail"]
    right = signed()["authorization"].partition(":")[2]
    assert right.encode() not in answer.body
    assert KEY not in answer.body
    assert "a key" not in repr(ACCESS)


def test_another_account_is_not_found() -> None:
    """The claimed account must be the one that is played."""
    status, code, values = error_of(get_job(signed(account="other")))

    assert (status, code) == (403, "AuthenticationFailed")
    assert "claimed account" in values["AuthenticationErrorDetail"]


@pytest.mark.parametrize(("off_s", "status"), [(899, 200), (-899, 200), (902, 403), (-902, 403)])
def test_the_clock_may_be_off_by_fifteen_minutes(off_s: int, status: int) -> None:
    """The date is signed, so it must be fresh; in either direction."""
    assert get_job(signed(date_s=NOW_S + off_s)).status == status


@pytest.mark.parametrize(
    "date",
    [{}, {"ocp-date": "yesterday"}, {"ocp-date": f"Mon, 01 Jan 2024 00:00:00 +{'9' * 30}"}],
)
def test_a_date_is_needed(date: dict[str, str]) -> None:
    """Shared Key without a readable date is refused."""
    headers = {"authorization": "SharedKey acct:c2ln"} | date

    assert error_of(get_job(headers))[:2] == (403, "AuthenticationFailed")


def test_bearer_tokens_can_expire() -> None:
    """The check is asked each time, and what it says is passed on with a 401."""
    reasons = iter([None, "It expired."])

    def bearer(token: str, /, *, now_s: float) -> str | None:
        assert (token, now_s) == ("old", NOW_S)
        return next(reasons)

    access = Access("acct", bearer=bearer)
    headers = {"authorization": "Bearer old"}

    assert get_job(headers, access=access).status == 200
    expired = get_job(headers, access=access)

    detail = {"AuthenticationErrorDetail": "It expired."}
    assert error_of(expired) == (401, "AuthenticationFailed", detail)
    assert expired.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("authorization", ["Bearer x", "Basic eDp5", "SharedKey", "x"])
def test_other_schemes_are_refused(authorization: str) -> None:
    """With a key alone nothing but Shared Key opens."""
    assert error_of(get_job({"authorization": authorization}))[0] == 403
