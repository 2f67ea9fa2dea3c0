"""How the commands behave at a terminal and in a pipeline."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson
import pytest

from bulksubmit.cli import bulksubmit, main
from bulksubmit.cli.command import Command, Option
from tests.cli.test_profiles import invoke

HEAVY = (
    "aiohttp anyio asyncio azure cryptography fsspec msgspec orjson pyarrow rich sqlite3 "
    "structlog uvloop"
)


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Each command by the words that call it, groups among them."""
    ctx = click.Context(bulksubmit)
    yield "", bulksubmit
    for name in bulksubmit.list_commands(ctx):
        command = bulksubmit.get_command(ctx, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", each) for below, each in command.commands.items())


COMMANDS = dict(every_command())
LEAVES = {name: each for name, each in COMMANDS.items() if not isinstance(each, click.Group)}


def run(
    command: str, *, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which ``bulksubmit`` is ours; its exit codes are written last."""
    line = f'bulksubmit() {{ "{sys.executable}" -m bulksubmit "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", line],
        env=os.environ | (env or {}),
        cwd=cwd,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A file in which every line is wrong, in characters beyond ASCII."""
    lines = (f'{{"id":"☃ é😀 {n}","commandLine":"café"}}' for n in range(2000))
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


# --- Help ------------------------------------------------------------------------------------


def test_help_imports_little() -> None:
    """
    No help waits for what only work needs.
    """
    program = f"""if True:
        import sys
        from click.testing import CliRunner
        before = set(sys.modules)
        from bulksubmit.cli import bulksubmit, main
        for words in {list(COMMANDS)!r}:
            done = CliRunner().invoke(bulksubmit, [*words.split(), "--help"])
            assert done.exit_code == 0, done.output
            print(words, sorted(set({HEAVY!r}.split()) & (set(sys.modules) - before)))
        """

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{words} []" for words in COMMANDS]


@pytest.mark.parametrize("words", COMMANDS)
def test_help_has_examples(words: str) -> None:
    """
    Each command shows how it is used, by commands that there are; and what its exit codes mean.
    """
    text = invoke(*words.split(), "--help").stdout

    examples = [line for line in text.split("Examples:")[1].splitlines() if "bulksubmit " in line]
    assert examples
    for line in examples:
        called = re.findall(r"bulksubmit ((?:runs )?[a-z]+)", line)
        assert set(called) <= {*COMMANDS, "COMMAND"} | {"runs"}
    if words in LEAVES and words != "completion":
        assert re.search(r"^ +Exit codes:\n +0  ", text, re.MULTILINE)


@pytest.mark.parametrize("words", [name for name in LEAVES if name in ("submit", "runs resume")])
def test_help_in_groups(words: str) -> None:
    """
    The many options of a run stand in groups, with their defaults and variables.
    """
    text = invoke(*words.split(), "--help").stdout

    titles = re.findall(r"^([A-Z][a-z ]+):$", text, re.MULTILINE)
    assert [title for title in titles if title in {"Account", "Flow", "Output", "Settings"}] == [
        "Account",
        "Flow",
        "Output",
        "Settings",
    ]
    assert titles[-1] == "Options"
    folded = " ".join(text.split())
    assert "[env: AZURE_BATCH_ENDPOINT, BULKSUBMIT_ACCOUNT_ENDPOINT]" in folded
    assert "[env: BULKSUBMIT_CONCURRENCY; default: auto]" in folded


@pytest.mark.parametrize("words", LEAVES)
def test_every_option_is_explained(words: str) -> None:
    """
    Each command is one of ours, and no option of it is without a word.
    """
    command = LEAVES[words]

    assert isinstance(command, Command)
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, f"{words} {param.name}"
    if words == "submit":
        assert all(isinstance(each, Option | click.Argument) for each in command.params)


# --- Mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("sumbit x", "there is no command 'sumbit'; did you mean submit?"),
        ("runs lits", "there is no command 'lits'; did you mean list?"),
        ("xyzzy", "there is no command 'xyzzy'; known are demo, submit, validate"),
        ("submit x --conccurency 3", "no option '--conccurency'; did you mean --concurrency?"),
        ("validate x --outptu json", "no option '--outptu'; did you mean --output?"),
        ("submit x --qqqq", "no option '--qqqq'; bulksubmit submit --help lists them"),
        ("emulator --tsl", "no option '--tsl'; did you mean --tls?"),
    ],
)
def test_mistyped(args: str, said: str) -> None:
    """
    What is mistyped is told, and what may be meant.
    """
    done = invoke(*args.split())

    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("args", "env"),
    [
        ("runs show nope --output json", {}),
        ("runs report nope --output=json", {}),
        ("runs list --foo --output json", {}),
        ("validate --foo", {"BULKSUBMIT_OUTPUT": "json"}),
        ("submit --foo", {"BULKSUBMIT_OUTPUT": "json"}),
    ],
)
def test_a_mistake_is_told_to_a_program(
    args: str,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Whoever asks for JSON gets an object, also if nothing comes to be done.
    """
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["bulksubmit", *args.split()])

    with pytest.raises(SystemExit) as left:
        main()

    said = orjson.loads(capsys.readouterr().out)
    assert left.value.code == said["exit_code"] == 2
    assert said["error"]


@pytest.mark.parametrize("flag", ["--results", "--rejects", "--log-file"])
def test_standard_output_is_named(flag: str) -> None:
    """
    ``-`` would be a file of that name: it is said how standard output is called.
    """
    done = invoke("submit", "x", "--job-id", "j", flag, "-")

    assert done.exit_code == 2
    assert f"Invalid value for '{flag}'" in done.stderr
    assert "- is no file; name one. /dev/stdout is standard output" in done.stderr


def test_a_mistyped_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A variable of ours that nothing reads would have no effect: that is told.
    """
    monkeypatch.setenv("BULKSUBMIT_CONCURENCY", "3")

    told = invoke("submit", "x", "--job-id", "j").stderr
    quiet = invoke("submit", "x", "--job-id", "j", "--quiet").stderr

    assert (
        "nothing reads the variable 'BULKSUBMIT_CONCURENCY'; did you mean BULKSUBMIT_CONC" in told
    )
    assert "CONCURENCY" not in quiet


# --- Pipes and terminals ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "validate tasks.jsonl",
        "validate tasks.jsonl --output json",
        "submit --help",
        "submit --show-settings",
        "completion zsh",
        "runs list",
    ],
)
def test_a_broken_pipe_is_quiet(command: str, tasks: Path) -> None:
    """
    Who has read enough may go: nobody complains.
    """
    done = run(f"bulksubmit {command} | :; echo ${{PIPESTATUS[0]}}", cwd=tasks.parent)

    assert (done.stderr, done.stdout) == (b"", b"141\n")


def test_a_full_disk_is_told(tasks: Path) -> None:
    """
    A result that cannot be written is an error, in one line.
    """
    done = run("bulksubmit runs list > /dev/full", cwd=tasks.parent)

    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written: No space left on device\n"


def test_a_terminal_without_unicode(tasks: Path) -> None:
    """
    What cannot be shown is spelt out, and JSON stays JSON.
    """
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    listing = run("bulksubmit validate tasks.jsonl", env=ascii_only, cwd=tasks.parent)
    as_json = run("bulksubmit validate tasks.jsonl --output json", env=plain, cwd=tasks.parent)
    mistaken = run("bulksubmit submit x --job-id j --invalid é", env=plain)

    assert listing.returncode == 2
    assert rb"\u2603" in listing.stdout
    assert listing.stdout.isascii()
    assert "☃" in orjson.loads(as_json.stdout)["problems"][0]["text"]
    assert mistaken.stderr.isascii()
    for done in (listing, as_json, mistaken):
        assert b"Traceback" not in done.stderr


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """
    A file whose name is not UTF-8 is told, as JSON too.
    """
    command = "bulksubmit submit $'t\\xe9.jsonl' --job-id j --account-endpoint http://127.0.0.1:9"
    done = run(f"{command} --account-name a --auth-mode aad --output json", cwd=tmp_path)

    assert done.returncode == 2
    assert "is not UTF-8" in orjson.loads(done.stdout)["error"]


def test_the_emulator_tells_a_program() -> None:
    """
    With ``--output json`` the one line is an object: where it is, and what leads a client there.
    """
    command = [sys.executable, "-m", "bulksubmit", "emulator", "--job", "a", "--output", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as emulator:
        assert emulator.stdout is not None
        said = orjson.loads(emulator.stdout.readline())
        emulator.send_signal(signal.SIGTERM)

    assert emulator.returncode == 0
    assert said["jobs"] == ["a"]
    assert said["page"].startswith(said["endpoint"])
    assert said["environment"]["AZURE_BATCH_ENDPOINT"] == said["endpoint"]
    assert said["environment"]["AZURE_BATCH_ACCOUNT"] == said["account"]
    assert set(said["environment"]) > {"AZURE_BATCH_ACCESS_KEY"}


def test_the_demo_tells_a_program() -> None:
    """
    With ``--output json`` it prints the report, and what the emulator lists.
    """
    done = run("bulksubmit demo --tasks 300 --output json")

    assert done.returncode == 0, done.stderr
    said = orjson.loads(done.stdout)
    assert (said["total"], said["listed"], said["agree"]) == (300, 300, True)
    assert (said["converged"], said["exit_code"]) == (True, 0)


def test_no_colours_in_a_pipe(tasks: Path) -> None:
    """
    What is no terminal gets neither colours nor a moving cursor.
    """
    done = run("bulksubmit validate tasks.jsonl; bulksubmit demo --tasks 100", cwd=tasks.parent)

    assert b"check " in done.stdout
    assert b"\x1b[" not in done.stdout + done.stderr


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_colours_on_a_terminal(env: dict[str, str]) -> None:
    """
    A terminal gets them, unless NO_COLOR is set.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bulksubmit", "demo", "--tasks", "100"]
    variables = os.environ | {"TERM": "xterm-256color"} | env
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables):
        os.close(theirs)
        said = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)

    assert b"check " in said
    assert bool(re.search(rb"\x1b\[[0-9;]*3[1-7]m", said)) is not bool(env)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # As Linux says it when the other end is closed.
        return b""


# --- Completion ------------------------------------------------------------------------------

_BASH = """
eval "$(bulksubmit completion bash)"
for line in "su" "runs res" "submit --concurrency-" "submit --on-exists ve" \\
    "submit --profile mi"; do
    COMP_WORDS=(bulksubmit $line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _bulksubmit_completion bulksubmit
    echo "${COMPREPLY[@]}"
done
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``bulksubmit`` on the path, and a profile called mine."""
    (tmp_path / "bulksubmit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bulksubmit "$@"\n')
    (tmp_path / "bulksubmit").chmod(0o755)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.toml").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("BULKSUBMIT_CONFIG_DIR", str(tmp_path / "profiles"))


@pytest.mark.usefixtures("path")
def test_bash_completes() -> None:
    """
    Commands, flags, their words and profiles, by bash itself.
    """
    bash = shutil.which("bash")
    assert bash is not None

    done = subprocess.run([bash, "-c", _BASH], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.split() == ["submit", "resume", "--concurrency-max", "verify", "mine"]


@pytest.mark.parametrize(
    ("shell", "words", "current", "completed"),
    [
        ("zsh", "bulksubmit val", "1", "val"),
        ("fish", "bulksubmit submit --conc", "--conc", "--concurrency-max"),
    ],
)
def test_other_shells_are_answered(shell: str, words: str, current: str, completed: str) -> None:
    """
    The scripts for zsh and fish ask us in their own way, and get an answer.
    """
    script = run(f"bulksubmit completion {shell}").stdout.decode()
    asked = {"_BULKSUBMIT_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
    answer = run("bulksubmit", env=asked | {"COMP_CWORD": current}).stdout.decode()

    assert f"_BULKSUBMIT_COMPLETE={shell}_complete" in script
    assert completed in answer
