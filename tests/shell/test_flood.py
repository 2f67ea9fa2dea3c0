"""A run as the command line has it: its files, its end."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import orjson
import pytest

from bulksubmit.cli.flood import Output, Target, flood
from bulksubmit.emulator.server import Server, serve
from bulksubmit.emulator.service import Service
from bulksubmit.service.auth import SharedKey
from bulksubmit.settings import Settings


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    service = Service(random=Random(1))
    service.create_job("j1")
    async with serve(service) as server:
        yield server


@pytest.fixture
def target(server: Server) -> Target:
    return Target("j1", server.endpoint, SharedKey("myaccount", "a2V5"))


async def test_a_log_has_each_request(task_file: Path, target: Target, tmp_path: Path) -> None:
    """Each request has its line, and the source's end."""
    log = tmp_path / "log"
    output = Output(quiet=True, log_file=log, log_as_json=True)

    report = await flood(task_file, target, Settings(), output)

    events = [orjson.loads(line)["event"] for line in log.read_bytes().splitlines()]
    assert report.exit_code == 0
    assert events.count("request_ended") == 1 + report.requests
    assert events.count("source_read") == 1


async def test_a_log_that_cannot_be_written(
    task_file: Path, target: Target, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log that was asked for and cannot be written ends the run in order, and says why."""
    output = Output(log_file=Path("/dev/full"))

    report = await flood(task_file, target, Settings(), output)

    assert report.exit_code == 2
    assert report.error == "the log file /dev/full cannot be written: No space left on device"
    assert len(server.service.job("j1")) == report.added == 0
    assert "Traceback" not in capsys.readouterr().err
