"""The emulator is killed in mid-flood, and goes on from its file."""

import re
import signal
import socket
from itertools import islice
from pathlib import Path
from random import Random

import orjson
import pytest

from tests.end_to_end.commands import running
from tests.kills import rest
from tests.kills.service import NAME

TASKS = 6000


def free_port() -> int:
    """A port that nothing listens at, below those that systems give out by themselves."""
    random = Random()
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def variables_in(line: str) -> dict[str, str]:
    """What the emulator says is to be in a client's environment."""
    return dict(re.findall(r"(AZURE_\w+)=(\S+)", line))


@pytest.mark.thorough
async def test_the_emulator_is_killed_in_mid_flood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An emulator that is killed while it is flooded, and started again by the same command line,
    knows all that it had answered, under the same key: the run converges by itself, and every
    task is there once.
    """
    source = tmp_path / "tasks.jsonl"
    ids = [f"t-{number:04d}" for number in range(TASKS)]
    source.write_bytes(
        b"".join(orjson.dumps({"id": each, "commandLine": "x"}) + b"\n" for each in ids)
    )
    command = (
        *("emulator", "--port", str(free_port()), "--state", tmp_path / "account.db"),
        *("--account-name", NAME, "--job", "night", "--latency-ms", "50"),
    )
    submit = ("submit", source, "--job-id", "night", "--concurrency", "2", "--output", "json")

    async with running(*command) as emulator:
        variables = variables_in(await emulator.first_line())
        monkeypatch.setattr(rest, "KEY", variables["AZURE_BATCH_ACCESS_KEY"])
        endpoint = variables["AZURE_BATCH_ENDPOINT"]
        async with running(*submit, env=variables) as client:
            while len(list(islice(rest.list_tasks(endpoint, "night"), 500))) < 500:
                pass  # Each look takes its 50 ms.
            emulator.send_signal(signal.SIGKILL)
            killed = await emulator.end()
            async with running(*command) as again:
                kept = await again.says("job night stays as it is: active, ")
                same = variables_in(await again.first_line())
                ended = await client.end()
                listed = [task["id"] for task in rest.list_tasks(endpoint, "night")]
                again.send_signal(signal.SIGTERM)
                stopped = await again.end()

    assert (killed.exit_code, stopped.exit_code) == (-signal.SIGKILL, 0)
    assert 500 <= int(re.sub(r"\D", "", kept)) < TASKS
    assert same == variables
    assert ended.exit_code == 0, ended.stderr
    assert ended.report["total"] == ended.report["added"] + ended.report["existed_own"] == TASKS
    assert listed == ids
