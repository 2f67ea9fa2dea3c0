"""Profiles: what they set, and how what is wrong in them is told."""

import os
import re
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from bulksubmit.cli import bulksubmit, every_setting
from tests.cli.conftest import Write

PROFILES = Path(__file__).parents[2] / "configs" / "profiles"
KEY = "A" * 86 + "=="


def invoke(*args: str) -> Result:
    return CliRunner().invoke(bulksubmit, args, prog_name="bulksubmit")


def shown(*args: str) -> dict[str, tuple[object, str]]:
    """What ``--show-settings`` says of a command: values and origins."""
    done = invoke(*args, "--show-settings", "--output", "json")
    assert done.exit_code == 0, done.output
    settings = orjson.loads(done.stdout)["settings"]
    return {key: (each["value"], each["origin"]) for key, each in settings.items()}


def refused(text: str, profile: Write) -> str:
    """What is said of a profile, without its place, which is that of the profile's last line."""
    path = profile(text)
    done = invoke("submit", "tasks.jsonl", "--job-id", "j", "--profile", "mine")
    assert done.exit_code == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    place = f"Error: {path}:{text.rstrip().count(chr(10)) + 1}: "
    assert last.startswith(place)
    return last.removeprefix(place)


def test_a_profile_sets(profile: Write) -> None:
    """
    A key is a flag, with hyphens or underscores; what the profile leaves out has its default.
    """
    path = profile("max-rate = 500\nmax_buffer = 10000000\nconcurrency = 8\nquiet = true\n")

    settings = shown("submit", "--profile", "mine")

    origin = f"profile: {path}"
    assert settings["max-rate"] == (500.0, origin)
    assert settings["max-buffer"] == (10_000_000, origin)
    assert settings["concurrency"] == (8, origin)
    assert settings["quiet"] == (True, origin)
    assert settings["retry-timeout"] == (1800.0, "default")


def test_what_goes_first(profile: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A flag goes before the environment, that before the profile, that before the default.
    """
    path = profile("concurrency = 1\nmax-rate = 1\nmax-tasks-per-request = 1\n")
    monkeypatch.setenv("BULKSUBMIT_CONCURRENCY", "2")
    monkeypatch.setenv("BULKSUBMIT_MAX_RATE", "2")
    monkeypatch.setenv("BULKSUBMIT_PROFILE", "mine")

    settings = shown("submit", "--concurrency", "3")

    assert settings["concurrency"] == (3, "flag")
    assert settings["max-rate"] == (2.0, "environment: BULKSUBMIT_MAX_RATE")
    assert settings["max-tasks-per-request"] == (1, f"profile: {path}")
    assert settings["concurrency-max"] == (100, "default")


def test_names_of_az_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of two variables for one setting, the one that az knows counts, and is named.
    """
    monkeypatch.setenv("BULKSUBMIT_ACCOUNT_NAME", "ours")
    assert shown("submit")["account-name"] == ("ours", "environment: BULKSUBMIT_ACCOUNT_NAME")

    monkeypatch.setenv("AZURE_BATCH_ACCOUNT", "azs")
    assert shown("submit")["account-name"] == ("azs", "environment: AZURE_BATCH_ACCOUNT")


def test_paths_begin_at_the_profile(profile: Write) -> None:
    """
    A profile is used from any folder: its paths begin at its own, or at home.
    """
    path = profile('rejects = "out/rejects.ndjson"\nresults = "~/results"\nlog-file = "/tmp/log"\n')

    settings = shown("submit", "--profile", "mine")

    assert settings["rejects"][0] == str(path.parent / "out" / "rejects.ndjson")
    assert settings["results"][0] == os.path.expanduser("~/results")  # noqa: PTH111 - as a shell
    assert settings["log-file"][0] == "/tmp/log"  # noqa: S108 - not opened


def test_a_profile_by_its_path(profile: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name with a folder in it, or with its ending, is a path.
    """
    path = profile("max-rate = 5\n")
    monkeypatch.chdir(path.parent)

    for name in ("mine.toml", "./mine.toml", str(path)):
        assert shown("submit", "--profile", name)["max-rate"] == (5.0, f"profile: {path}")


def test_a_profile_is_for_all_commands(profile: Write) -> None:
    """
    What a command does not know, but another does, is checked and left aside.
    """
    profile("max-rate = 5\nallow-unknown = true\n")

    settings = shown("validate", "--profile", "mine")

    assert settings["allow-unknown"][0] is True
    assert "max-rate" not in settings
    profile('max-rate = "fast"')
    done = invoke("validate", "x", "--profile", "mine")
    assert 'max-rate is "fast"' in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conccurency = 3", "there is no setting 'conccurency'; did you mean concurrency?"),
        ("max_rte = 3", "there is no setting 'max_rte'; did you mean max-rate?"),
        ("# a\n\n'max-rte' = 3", "there is no setting 'max-rte'; did you mean max-rate?"),
        ("zzz = 3", "there is no setting 'zzz'; `bulksubmit submit --help` lists them"),
        ("dry-run = true", "there is no setting 'dry-run'; "),
        ("quiet = 1", "quiet is 1; true or false is wanted"),
        ('quiet = "yes"', 'quiet is "yes"; true or false is wanted'),
        ("concurrency = 2.5", 'concurrency is 2.5; "auto" or a whole number N is wanted'),
        ("concurrency = [1]", 'concurrency is a list; "auto" or a whole number N is wanted'),
        ("server-timeout = 1.5", "server-timeout is 1.5; a whole number is wanted"),
        ("max-rate = true", "max-rate is true; a number is wanted"),
        ("max-duration = 0", "max-duration is 0; a number above 0 is wanted"),
        ("job-id = 5", "job-id is 5; a text in quotes is wanted"),
        ("results = 5", "results is 5; a path in quotes is wanted"),
        ('invalid = "rejct"', 'invalid is "rejct"; "stop" or "reject" is wanted'),
        ("max-rejects = [5]", "max-rejects is a list; N|P%, in quotes is wanted"),
        ("max-rate = 1\nmax_rate = 2", "max_rate is max-rate, which is set already"),
        ("max-rate = 1\n[submit]\n", "[submit] is a table; a profile has a setting a line"),
        ("max-rate = 1\nquiet = ", "not TOML: Invalid value"),
        ("max-rate = 1979-05-27", "max-rate is 1979-05-27; a number is wanted"),
    ],
)
def test_what_is_wrong(text: str, said: str, profile: Write) -> None:
    """
    File, line, key, value, and what would be right.
    """
    assert refused(text, profile).startswith(said)


@pytest.mark.parametrize(
    "text",
    [
        f'account-key = "{KEY}"',
        f'access_key = "{KEY}"',
        f'AZURE_BATCH_ACCESS_KEY = "{KEY}"',
        f'password = "{KEY}"',
        f'account-key-file = "{KEY}"',
        f'account-key-file = "https://x/key?sig={KEY}"',
        f'concurrency = "{KEY}"',
    ],
)
def test_a_secret_does_not_stand_in_a_profile(text: str, profile: Write) -> None:
    """
    It is refused, with the way to do it, and not shown.
    """
    said = refused(text, profile)

    assert KEY not in said
    assert re.search("account-key-file|secret|is wanted", said)


def test_numbers_where_a_text_will_do(profile: Write) -> None:
    """
    ``max-rejects`` is a number or a share: the number needs no quotes.
    """
    profile("max-rejects = 5")
    assert shown("submit", "--profile", "mine")["max-rejects"][0] == "5"
    profile('max-rejects = "5%"')
    assert shown("submit", "--profile", "mine")["max-rejects"][0] == "5%"


@pytest.mark.parametrize(
    ("text", "variable", "said"),
    [
        ("concurrency = 5000", None, "mine.toml: concurrency is 5,000; it must be from 1 to 1,000"),
        ("", "5000", "error: BULKSUBMIT_CONCURRENCY is 5,000; it must be from 1 to 1,000"),
    ],
)
def test_out_of_bounds(
    text: str, variable: str | None, said: str, profile: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A value that no bound allows is told by the name under which it was set.
    """
    profile(text)
    if variable:
        monkeypatch.setenv("BULKSUBMIT_CONCURRENCY", variable)

    done = invoke("submit", "tasks.jsonl", "--job-id", "j", "--profile", "mine")

    assert done.exit_code == 2
    assert done.stderr.rstrip().endswith(said)


def test_a_profile_that_there_is_not(profile: Write, tmp_path: Path) -> None:
    """
    The message has the name that may be meant, or where the file would be.
    """
    command = ("submit", "tasks.jsonl", "--job-id", "j", "--profile")
    none = invoke(*command, "mine").stderr
    assert f"there is no profile 'mine': it would be {tmp_path / 'profiles' / 'mine.toml'}" in none

    profile("")
    assert "has no profile 'mien'; did you mean mine?" in invoke(*command, "mien").stderr
    assert "there is no profile ./mine.toml" in invoke(*command, "./mine.toml").stderr


def test_a_profile_that_is_no_text(profile: Write) -> None:
    """
    Bytes that are no UTF-8 are no TOML.
    """
    profile("").write_bytes(b"max-rate = 1 # \xe9")

    done = invoke("submit", "tasks.jsonl", "--job-id", "j", "--profile", "mine")

    assert "is not UTF-8" in done.stderr


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples(path: Path) -> None:
    """
    Every example is a profile that is read whole, and each line of it counts.
    """
    lines = path.read_text("utf-8").splitlines()
    keys = [line.partition(" = ")[0] for line in lines if line and not line.startswith("#")]

    settings = shown("submit", "--profile", str(path))

    assert len(keys) >= 4
    for key in set(keys) - {"account-key-file"}:
        assert settings[key][1] == f"profile: {path}"


def test_every_setting_has_a_variable_of_its_name() -> None:
    """
    A flag, its variable and its key in a profile have one name.
    """
    settings = every_setting()

    assert len({each.key for each in settings}) > 25
    for each in settings:
        variable = "BULKSUBMIT_" + each.key.replace("-", "_").upper()
        assert each.envvar is not None
        assert variable in ([each.envvar] if isinstance(each.envvar, str) else each.envvar)
