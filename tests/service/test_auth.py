"""Shared Key at the door: what is taken for a key, and what it signs."""

import pytest

from bulksubmit.errors import SettingsError
from bulksubmit.service.auth import SharedKey
from tests.service.helpers import KEY


async def test_shared_key_signs_as_the_worked_example() -> None:
    """
    The header is that of the example which two official signers agree on.
    """
    key = SharedKey("myaccount", "YW4gZXhhbXBsZSBrZXksIG5vdCBhIHNlY3JldDogMDEyMzQ1Njc4OQ==")

    header = await key.authorization(
        "POST",
        "/jobs/job-1/addtaskcollection",
        (("api-version", "2024-07-01.20.0"), ("timeout", "120")),
        {
            "accept": "application/json",
            "client-request-id": "not signed",
            "content-length": "105",
            "content-type": "application/json; odata=minimalmetadata",
            "ocp-date": "Wed, 01 Jan 2025 00:00:00 GMT",
        },
    )

    assert header == "SharedKey myaccount:U61am2GVGoGLORPuEkPLxHsYGMDYak/2Z6rKhwPUZQM="
    assert not key.renew(header)


@pytest.mark.parametrize("key", ["", "  ", "hunter2!", "YWJj=ZGVm", "abc", "schlüssel"])
def test_malformed_key_is_refused_without_being_quoted(key: str) -> None:
    """
    What cannot be a key is a setting to mend; the message tells where to get one.
    """
    with pytest.raises(SettingsError, match="az batch account keys list") as raised:
        SharedKey("myaccount", key)

    assert not key.strip() or key not in f"{raised.value!r}"
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("name", ["", "my account", "a:b", "myaccount.westeurope", "a\nb"])
def test_account_name_is_checked(name: str) -> None:
    """
    An account's name is the first part of its endpoint, not the whole.
    """
    with pytest.raises(SettingsError, match="account name"):
        SharedKey(name, KEY)


def test_key_is_not_shown() -> None:
    """
    A credential in a log or a traceback does not give its key away.
    """
    assert repr(SharedKey("myaccount", KEY)) == "SharedKey('myaccount', '***')"
