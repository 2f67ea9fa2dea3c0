"""The emulator in a test's own process: in its loop, in a thread, and as pytest's fixture."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential

from bulksubmit import SharedKey, submit
from bulksubmit.emulator import Emulator, Faults, Operation

TASKS = [{"id": f"t-{number}", "commandLine": "true"} for number in range(250)]


async def test_in_the_loop_that_runs() -> None:
    """
    async with: what was submitted is there to be looked at, also afterwards.
    """
    async with Emulator(jobs=["night-1", "night-2"], faults=Faults(server_error=0.1)) as emulator:
        key = SharedKey(emulator.account_name, emulator.account_key)
        report = await submit(TASKS, job_id="night-1", endpoint=emulator.endpoint, credential=key)

    assert report.added == 250
    assert sorted(emulator.job("night-1").task_ids()) == sorted(each["id"] for each in TASKS)
    assert len(emulator.job("night-2")) == 0


def test_in_a_thread(batch_emulator: Emulator) -> None:
    """
    The fixture serves an official client that blocks.
    """
    key = AzureNamedKeyCredential(batch_emulator.account_name, batch_emulator.account_key)
    with BatchClient(batch_emulator.endpoint, key) as client:
        tasks = [models.BatchTaskCreateContent(each) for each in TASKS]
        client.create_tasks("job-1", tasks)

    assert len(batch_emulator.job()) == 250
    assert batch_emulator.service.record.by_operation[Operation.ADD_TASK_COLLECTION] == 3


@pytest.mark.batch_emulator(jobs=["a"], account_name="other", tls=True)
def test_the_mark_says_how(batch_emulator: Emulator) -> None:
    """
    The mark's arguments are the emulator's; the variables that lead to it say so.
    """
    environment = batch_emulator.environment

    assert environment["AZURE_BATCH_ACCOUNT"] == "other"
    assert environment["AZURE_BATCH_ENDPOINT"].startswith("https://127.0.0.1:")
    assert environment["SSL_CERT_FILE"] == str(batch_emulator.ca_path)
    assert len(batch_emulator.job("a")) == 0


@pytest.mark.batch_emulator(entra=True)
def test_the_environment_leads_a_process_there(batch_emulator: Emulator, tmp_path: Path) -> None:
    """
    With the emulator's variables a command finds it, trusts it, and gets a token for it.
    """
    source = tmp_path / "tasks.jsonl"
    source.write_bytes(b"\n".join(orjson.dumps(each) for each in TASKS))
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = kept | batch_emulator.environment | {"BULKSUBMIT_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "bulksubmit", "submit", str(source), "--job-id", "job-1"]

    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert len(batch_emulator.job()) == 250


async def test_a_file_outlives_it(tmp_path: Path) -> None:
    """
    What was added to one emulator is there for the next one of the same file.
    """
    path = tmp_path / "state"
    async with Emulator(state=path) as emulator:
        key = SharedKey(emulator.account_name, emulator.account_key)
        await submit(TASKS, job_id="job-1", endpoint=emulator.endpoint, credential=key)

    async with Emulator(state=path) as emulator:
        again = await submit(TASKS, job_id="job-1", endpoint=emulator.endpoint, credential=key)

    assert again.existed == len(emulator.job()) == 250


def test_a_seed_decides_all_chance() -> None:
    """
    Two of the same seed treat the same requests alike, another one differently.
    """

    def fates(seed: int) -> list[tuple[str, str]]:
        with Emulator(seed=seed, faults=Faults(server_error=0.3)) as emulator:
            key = AzureNamedKeyCredential(emulator.account_name, emulator.account_key)
            tasks = [models.BatchTaskCreateContent(each) for each in TASKS[:100]]
            with BatchClient(emulator.endpoint, key) as client:
                answer = client.create_task_collection("job-1", models.BatchTaskGroup(value=tasks))
        return [(each.task_id, each.status) for each in answer.value or ()]

    assert fates(1) == fates(1) != fates(2)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"host": "0.0.0.0"}, "loopback"),  # noqa: S104  It is refused.
        ({"token_lifetime_s": -5}, "token_lifetime_s"),
        ({"account_name": "a:b"}, "account's name"),
        ({"account_key": "no key"}, "key"),
    ],
)
def test_what_cannot_be_is_said_at_once(options: dict[str, Any], word: str) -> None:
    """
    Others' addresses, and what no client could ever use, are errors before anything listens.
    """
    with pytest.raises(ValueError, match=word):
        Emulator(**options)


def test_one_job_may_be_a_text() -> None:
    """
    jobs="night-1" is one job and not seven.
    """
    assert [job.id for job in Emulator(jobs="night-1").service.jobs()] == ["night-1"]


def test_others_have_the_fixture_too(tmp_path: Path) -> None:
    """
    Whoever has bulksubmit installed has the fixture, without a line of configuration; who does
    not use it does not wait for aiohttp.
    """
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n"
        "def test_first():\n"
        "    assert 'aiohttp' not in sys.modules\n"
        "def test_second(batch_emulator):\n"
        "    assert batch_emulator.endpoint.startswith('http://127.0.0.1:')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]

    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "2 passed" in run.stdout, run.stdout + run.stderr
