"""Every command and snippet in the README is run, or is one that CI itself runs."""

import gzip
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import orjson
import pytest

from bulksubmit.core.events import Event

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
KEY = "YSBtYWRlLXVwIGtleQ=="


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("console") for line in block.splitlines()]
SUBMITS = [line for line in COMMANDS if "bulksubmit submit" in line]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A user's shell: an emulator to talk to, the task file, and an ``az`` that knows the key."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (
        ("bulksubmit", f'exec "{sys.executable}" -m bulksubmit "$@"'),
        ("az", f"echo {KEY}"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    env = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "AZURE_BATCH_ACCESS_KEY": KEY,
        "BULKSUBMIT_STATE_DIR": str(tmp_path / "state"),
    }
    tasks, template = blocks("json")
    (tmp_path / "tasks.jsonl").write_text(tasks)
    (tmp_path / "task.json").write_text(template)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "shards").mkdir()
    for name in ("shards/a.json.gz", "shards/b.json.gz", "extra.jsonl"):
        body = orjson.dumps({"id": re.sub(r"\W", "-", name), "commandLine": "true"})
        data = gzip.compress(b"[" + body + b"]") if name.endswith("gz") else body
        (tmp_path / name).write_bytes(data)
    (tmp_path / "frames.csv").write_text("frame,scene,retries\n0003,a,2\n0004,b,0\n")
    command = "bulksubmit emulator --job night-1 --account-name myaccount"
    emulator = subprocess.Popen(
        command.split(), cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    assert emulator.stdout is not None
    endpoint = re.search(r"http://\S+:\d+", emulator.stdout.readline())
    assert endpoint is not None
    yield env | {"AZURE_BATCH_ACCOUNT": "myaccount", "AZURE_BATCH_ENDPOINT": endpoint.group()}
    emulator.send_signal(signal.SIGTERM)
    emulator.communicate(timeout=20)


def test_every_command_is_known_here() -> None:
    """
    A command that is new in the README needs a test.
    """
    names = "submit|validate|verify|emulator|runs|bench"
    known = rf"python3 -m venv |export AZURE_BATCH_|cat tasks|eval |bulksubmit ({names}) "

    assert [line for line in COMMANDS if not re.match(known, line)] == []


def test_ci_runs_the_two_commands() -> None:
    """
    The two commands of a newcomer are what CI runs, taken from the README itself.
    """
    newcomers = [line for line in COMMANDS if line.startswith("python3 -m venv")]

    assert [line.split("&& ")[-1] for line in newcomers] == [
        ".venv/bin/bulksubmit demo",
        ".venv/bin/pytest",
    ]
    assert "README.md" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_the_demo_converges(shell: dict[str, str]) -> None:
    """
    The demo, here with fewer tasks, ends with what the emulator lists.
    """
    done = subprocess.run(
        ["bulksubmit", "demo", "--tasks", "3000"],
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"^check +the emulator lists 3,000 different tasks", done.stdout, re.MULTILINE)


def test_exports_name_what_submit_reads(shell: dict[str, str]) -> None:
    """
    The variables that the README exports are set by its commands, and known to submit's help.
    """
    exports = [line for line in COMMANDS if line.startswith("export")]
    script = "\n".join([*exports, "env"])
    done = subprocess.run(
        ["sh", "-c", script], env=shell, capture_output=True, text=True, check=True
    )

    assert f"AZURE_BATCH_ACCESS_KEY={KEY}" in done.stdout.splitlines()
    help_text = subprocess.run(
        ["bulksubmit", "submit", "--help"], env=shell, capture_output=True, text=True, check=True
    ).stdout
    for line in exports:
        assert re.findall(r"AZURE_BATCH_\w+", line)[0] in help_text


def test_submit_commands(shell: dict[str, str], tmp_path: Path) -> None:
    """
    The first run adds both tasks; the piped one, of the same tasks, prints one JSON object.
    """
    first, piped = (
        line for line in SUBMITS if re.search(r"submit tasks.jsonl .*1$|submit - ", line)
    )

    done = subprocess.run(
        first, shell=True, cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +added +2$", done.stdout, flags=re.MULTILINE)

    done = subprocess.run(
        piped, shell=True, cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert orjson.loads(done.stdout)["existed"] == 2
    results = (tmp_path / "results.ndjson").read_text().splitlines()
    assert [orjson.loads(row)["verdict"] for row in results] == ["existed", "existed"]


def test_commands_of_other_sources(shell: dict[str, str], tmp_path: Path) -> None:
    """
    Each other form of source is read and sent as the README says; the ten million tasks only
    for a moment.
    """
    added = {}
    for line in SUBMITS:
        if re.search("submit (tasks.jsonl|-|--show-settings) ", line):
            continue
        stopped = " --max-duration 0.3" if "million" in line else ""
        command = f"{line.replace('frame=1..1000', 'frame=5..9')} --output json{stopped}"
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=shell,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (5 if stopped else 0), done.stderr
        added[line.split()[2]] = orjson.loads(done.stdout)["added"]

    assert added.pop("configs/sweeps/ten-million.toml") > 0
    assert added == {"'shards/*.json.gz'": 3, "frames.csv": 2, "--template": 10}


@pytest.mark.parametrize(
    "workers", ["--workers auto", pytest.param("dask+local", marks=pytest.mark.thorough)]
)
def test_commands_of_several_workers(shell: dict[str, str], tmp_path: Path, workers: str) -> None:
    """
    Several workers add what one would.
    """
    (line,) = (line for line in SUBMITS if workers in line)

    done = subprocess.run(
        f"{line} --output json",
        shell=True,
        cwd=tmp_path,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["added"] == 2


def test_commands_that_send_nothing(shell: dict[str, str], tmp_path: Path) -> None:
    """
    validate and a dry run of a good file end well.
    """
    commands = [line for line in COMMANDS if "validate" in line or "--dry-run" in line]

    for command in commands:
        done = subprocess.run(
            command.split(), cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert len(commands) == 2


def test_settings_are_shown(shell: dict[str, str], tmp_path: Path) -> None:
    """
    The command shows the profile's settings, and the README's own profile is one.
    """
    (command,) = (line for line in SUBMITS if "--show-settings" in line)
    (profile,) = blocks("toml")
    (tmp_path / "batch.key").write_text(KEY)
    (tmp_path / "mine.toml").write_text(profile)
    mine = "bulksubmit submit --show-settings --profile mine.toml"

    for line, setting in ((command, "concurrency-max +10"), (mine, "max-rate +500.0")):
        done = subprocess.run(
            line.split(), cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^ +{setting} +profile: ", done.stdout, re.MULTILINE)
        assert KEY not in done.stdout


def test_completion_command(shell: dict[str, str]) -> None:
    """
    The command for bash defines what completes.
    """
    (command,) = (line for line in COMMANDS if line.startswith("eval"))

    done = subprocess.run(
        ["bash", "-c", f"{command}; complete -p bulksubmit"],
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("complete ")


def test_runs_commands(shell: dict[str, str], tmp_path: Path) -> None:
    """
    Each command about earlier runs works as it stands, after the first one.
    """
    commands = [line for line in COMMANDS if line.startswith("bulksubmit runs")]
    said = {}

    for command in ["bulksubmit submit tasks.jsonl --job-id night-1", *commands]:
        done = subprocess.run(
            command.split(), cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        said[command] = done.stdout

    assert len(commands) >= 6
    assert re.search(r"^ +added +2$", said["bulksubmit runs resume last"], flags=re.MULTILINE)
    assert "converged" in said["bulksubmit runs list"]
    assert re.search(
        r"^verdict +added$", said["bulksubmit runs show last --task frame-0001"], re.MULTILINE
    )


def test_verify_commands(shell: dict[str, str], tmp_path: Path) -> None:
    """
    After a run, each verification finds no difference; before, it does.
    """
    commands = [line for line in COMMANDS if line.startswith("bulksubmit verify")]
    codes = []

    for command in [commands[0], "bulksubmit submit tasks.jsonl --job-id night-1", *commands]:
        done = subprocess.run(
            command.split(), cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
        )
        codes.append(done.returncode)

    assert len(commands) == 3
    assert codes == [8, 0, 0, 0, 0], done.stderr


@pytest.mark.thorough
def test_bench_commands(shell: dict[str, str], tmp_path: Path) -> None:
    """
    Each measures, here within less: an emulator of its own, and the account.
    """
    commands = [line for line in COMMANDS if line.startswith("bulksubmit bench")]
    less = "--duration 20 --tasks 1000 --output json"
    measured = []

    for command in commands:
        line = f"{command} {less}{' --latency-ms 5' if '--emulator' in command else ''}"
        done = subprocess.run(
            line.split(), cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        measured.append(orjson.loads(done.stdout))

    assert [each["emulator"] for each in measured] == [True, False]
    assert all(each["tasks_added"] and not each["job_left"] for each in measured)


def test_library_snippet(shell: dict[str, str], tmp_path: Path) -> None:
    """
    The library example runs as it stands.
    """
    snippet = blocks("python")[0]

    done = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 added, 0 rejected\n"


def test_observer_and_compat_snippets(shell: dict[str, str], tmp_path: Path) -> None:
    """
    The observer of the README is told how far a run is; its create_tasks takes the client's place.
    """
    _, observing, compat, _ = blocks("python")
    script = f"""
import os
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential

key = AzureNamedKeyCredential("myaccount", os.environ["AZURE_BATCH_ACCESS_KEY"])
client = BatchClient(os.environ["AZURE_BATCH_ENDPOINT"], key)
tasks = [models.BatchTaskCreateContent(id=f"t{{n}}", command_line="true") for n in range(3)]
{compat}
print(len(result["value"]))
{observing}
from bulksubmit import SharedKey, submit_sync
submit_sync(
    [{{"id": "one-more", "commandLine": "true"}}],
    job_id="night-1",
    endpoint=os.environ["AZURE_BATCH_ENDPOINT"],
    credential=SharedKey("myaccount", os.environ["AZURE_BATCH_ACCESS_KEY"]),
    observer=observe,
)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first == "3"
    assert last.startswith("1 of 1, ")


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_events_are_as_documented(kind: type[Event]) -> None:
    """
    Each event is in the table, with the fields that it has, in order; none else is.
    """
    rows = re.findall(r"^\| `([A-Z]\w+)` \| [^|`]+ \|([^|]*)\|$", README, flags=re.MULTILINE)
    documented = {name: re.findall(r"`(\w+)`", names) for name, names in rows}

    assert documented[kind.__name__] == [*kind.__struct_fields__]
    assert len(documented) == len(get_args(Event))


def test_fixture_snippet(tmp_path: Path) -> None:
    """
    The example of the fixture is a test that passes, with the official client.
    """
    snippet = blocks("python")[-1]
    (tmp_path / "test_theirs.py").write_text(snippet)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]

    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_emulator_command(shell: dict[str, str]) -> None:
    """
    The emulator says where it is, and ends in order when told to.
    """
    (command,) = (line for line in COMMANDS if line.startswith("bulksubmit emulator"))
    emulator = subprocess.Popen(command.split(), env=shell, stdout=subprocess.PIPE, text=True)
    assert emulator.stdout is not None

    assert re.match(r"emulator at http://127\.0\.0\.1:\d+, ", emulator.stdout.readline())
    emulator.send_signal(signal.SIGTERM)
    emulator.communicate(timeout=20)
    assert emulator.returncode == 0
