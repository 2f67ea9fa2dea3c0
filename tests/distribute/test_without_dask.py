"""What is said of Dask where it is not installed, or not imported."""

import subprocess
import sys

import pytest

from bulksubmit.distribute.cluster import connect, local_cluster
from bulksubmit.errors import SettingsError

LOOKS = """
import sys
from bulksubmit.distribute.cluster import is_dask_client

assert not is_dask_client(object())
print("distributed" in sys.modules)
"""


def test_dask_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without Dask the error says what to install.
    """
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(SettingsError, match=r"install bulksubmit\[dask\]"):
        connect("tcp://127.0.0.1:8786")
    with pytest.raises(SettingsError, match=r"install bulksubmit\[dask\]"):
        local_cluster(2)


def test_asking_does_not_import_dask() -> None:
    """
    Whether something is a Dask client is told without Dask: before it is imported, nothing is.
    """
    command = [sys.executable, "-c", LOOKS]

    assert subprocess.run(command, capture_output=True, check=True).stdout == b"False\n"
