"""The emulator as a fixture, for the tests of whoever has bulksubmit installed.

Example::

    @pytest.mark.batch_emulator(jobs=["night-1"])
    def test_mine(batch_emulator):
        submit_everything(batch_emulator.endpoint, batch_emulator.account_key)
        assert len(batch_emulator.job("night-1")) == 250
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulksubmit.emulator.local import Emulator


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        "batch_emulator(**options): how the fixture batch_emulator is made; see "
        "bulksubmit.emulator.Emulator",
    )


@pytest.fixture
def batch_emulator(request: pytest.FixtureRequest) -> "Iterator[Emulator]":
    """An emulator of Azure Batch with the job ``job-1``, in a thread of its own."""
    # Imported here: those who do not use it are not to wait for aiohttp.
    from bulksubmit.emulator.local import Emulator  # noqa: PLC0415

    mark = request.node.get_closest_marker("batch_emulator")
    with Emulator(**(mark.kwargs if mark else {})) as emulator:
        yield emulator
