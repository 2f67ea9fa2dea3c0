"""Which account it is: flags and the like, the run, what az remembers; and hints."""

from pathlib import Path

import pytest

from bulksubmit.cli.account import Account, account_of
from tests.cli.conftest import Write
from tests.cli.test_profiles import invoke, shown

OURS, THEIRS = "YSBtYWRlLXVwIGtleQ==", "YW5vdGhlciBrZXk="
MINE = "https://myaccount.westeurope.batch.azure.com"

# As `az batch account login --shared-key-auth` and without it leave it (azure-cli 2.8x).
BY_KEY = f"""[cloud]
name = AzureCloud

[batch]
account = myaccount
endpoint = {MINE}/
auth_mode = shared_key
access_key = {THEIRS}

"""
BY_ENTRA = f"""[core]
first_run = yes
collect_telemetry = yes

[batch]
account = myaccount
endpoint = {MINE}/
auth_mode = aad

"""


def account(
    endpoint: str | None = None,
    name: str | None = None,
    auth_mode: str | None = None,
    key_file: Path | None = None,
    of_run: str | None = None,
) -> Account:
    return account_of(
        endpoint=endpoint, name=name, auth_mode=auth_mode, key_file=key_file, of_run=of_run
    )


def test_az_by_key(az: Write) -> None:
    """
    With nothing else said, it is the account that az is signed in to.
    """
    path = az(BY_KEY)

    found = account()

    assert (found.endpoint, found.name, found.key) == (f"{MINE}/", "myaccount", THEIRS)
    assert found.by_key
    assert found.origins == dict.fromkeys(
        ["account_endpoint", "account_name", "auth_mode"], f"az: {path}"
    )
    assert found.key_origin == f"az: {path}"
    assert THEIRS not in repr(found)
    assert found.hint is None


def test_az_by_entra(az: Write) -> None:
    """
    So it is without a key; one in the environment was set on purpose, and counts.
    """
    az(BY_ENTRA)
    assert not account().by_key
    assert account().endpoint == f"{MINE}/"

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_BATCH_ACCESS_KEY", OURS)
        assert account().by_key
        assert account().key == OURS


@pytest.mark.parametrize(
    ("endpoint", "name", "of_run"),
    [
        (MINE, None, None),
        (f"{MINE}/", None, None),
        ("MyAccount.westeurope.batch.azure.com", None, None),
        (None, "MyAccount", None),
        (None, None, MINE),
    ],
)
def test_az_fills_in_what_is_missing(
    endpoint: str | None, name: str | None, of_run: str | None, az: Write
) -> None:
    """
    What is said of the same account stands, and az adds the rest.
    """
    az(BY_KEY)

    found = account(endpoint, name, of_run=of_run)

    assert found.key == THEIRS
    assert found.endpoint == (endpoint or of_run or f"{MINE}/")
    assert found.name == (name or "myaccount")


@pytest.mark.parametrize(
    ("endpoint", "name", "of_run"),
    [
        ("https://other.westeurope.batch.azure.com", None, None),
        ("https://myaccount.northeurope.batch.azure.com", None, None),
        (None, "other", None),
        (MINE, "other", None),
        (None, None, "http://127.0.0.1:4000"),
    ],
)
def test_az_of_another_account(
    endpoint: str | None, name: str | None, of_run: str | None, az: Write
) -> None:
    """
    It counts as a whole: nothing of it is used for another account.
    """
    az(BY_KEY)

    found = account(endpoint, name, of_run=of_run)

    assert (found.endpoint, found.name, found.key) == (endpoint or of_run, name, None)
    assert not found.by_key


def test_who_goes_first(az: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A key's file goes before the key's variable, unless a profile names it; both before az.
    """
    az(BY_KEY)
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", OURS)
    file = tmp_path / "key"
    file.write_text("ZmlsZQ==\n")

    assert account().key == OURS
    assert account(key_file=file).key == "ZmlsZQ=="
    by_profile = account_of(
        endpoint=None, name=None, auth_mode=None, key_file=file, key_file_is_profiles=True
    )
    assert by_profile.key == OURS
    assert by_profile.key_origin == "environment: AZURE_BATCH_ACCESS_KEY"


@pytest.mark.parametrize("text", ["", "[cloud]\nname = AzureCloud\n", "[batch]\nauth_mode = aad\n"])
def test_az_without_an_account(text: str, az: Write) -> None:
    """
    az without an account says nothing.
    """
    az(text)

    assert account().endpoint is None


@pytest.mark.parametrize("text", [f"access_key = {THEIRS}\n", f"[batch\naccess_key = {THEIRS}\n"])
def test_az_that_cannot_be_read(text: str, az: Write) -> None:
    """
    A file that az did not write so is told, without its content, and left aside.
    """
    path = az(text)

    found = account(MINE)

    assert found.hint
    assert str(path) in found.hint
    assert THEIRS not in found.hint
    assert found.endpoint == MINE


def test_shown(az: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    ``--show-settings`` has the account as it would be used, and of the key that there is one.
    """
    path = az(BY_KEY)

    settings = shown("submit")

    assert settings["account-endpoint"] == (MINE, f"az: {path}")
    assert settings["account-name"] == ("myaccount", f"az: {path}")
    assert settings["auth-mode"] == ("shared_key", f"az: {path}")
    assert settings["access-key"] == ("***", f"az: {path}")
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", OURS)
    assert shown("submit")["access-key"] == ("***", "environment: AZURE_BATCH_ACCESS_KEY")
    table = invoke("submit", "--show-settings")
    assert table.exit_code == 0
    assert OURS not in table.output
    assert THEIRS not in table.output
    assert "access-key" in table.stdout


def test_shown_without_the_key_file(tmp_path: Path) -> None:
    """
    A key's file that cannot be read is told there, and all else is shown.
    """
    settings = shown("submit", "--account-key-file", str(tmp_path / "none"))

    value, origin = settings["access-key"]
    assert value is None
    assert origin.endswith("cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("variables", "theirs", "ours"),
    [
        (["AZ_BATCH_ACCOUNT_URL"], "AZ_BATCH_ACCOUNT_URL is set", "AZURE_BATCH_ENDPOINT"),
        (
            ["BATCH_ACCOUNT_NAME", "BATCH_ACCOUNT_URL", "AZURE_BATCH_ACCOUNT_KEY"],
            "BATCH_ACCOUNT_URL, BATCH_ACCOUNT_NAME, AZURE_BATCH_ACCOUNT_KEY are set",
            "AZURE_BATCH_ENDPOINT, AZURE_BATCH_ACCOUNT, AZURE_BATCH_ACCESS_KEY",
        ),
        ([], "", ""),
    ],
)
def test_variables_of_other_tools(
    variables: list[str], theirs: str, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where ours are missing and another tool's are set, one line says so, without their values.
    """
    for name in variables:
        monkeypatch.setenv(name, OURS)

    done = invoke("submit", "tasks.jsonl", "--job-id", "j")

    assert done.exit_code == 2
    hints = [line for line in done.stderr.splitlines() if line.startswith("hint")]
    hint = f"hint: {theirs}, which other tools read; bulksubmit and az read {ours}"
    assert hints == ([hint] if variables else [])
    assert OURS not in done.output
    assert "error: no endpoint" in done.stderr


def test_no_hint_where_ours_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Other tools' variables beside ours are nobody's business.
    """
    monkeypatch.setenv("AZURE_BATCH_ACCOUNT_URL", MINE)
    monkeypatch.setenv("AZURE_BATCH_ACCOUNT_KEY", OURS)

    assert account(MINE, auth_mode="aad").hint is None
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", OURS)
    assert account(MINE).hint is None
