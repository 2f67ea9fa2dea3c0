"""What every test starts from: no run of this machine's user, no account of theirs."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine fails no test: how long things take is measured in benchmarks/.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile("quick")  # pytest --hypothesis-profile=thorough looks at more.


@pytest.fixture
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the test's runs keep their files."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _nothing_of_the_user(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AZURE_", "BULKSUBMIT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BULKSUBMIT_STATE_DIR", str(state_folder))
    monkeypatch.setenv("BULKSUBMIT_CONFIG_DIR", str(state_folder / "profiles"))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(state_folder / "azure"))  # As if az had never run.
    # azure-identity would ask the cloud's own address for a managed identity otherwise.
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
