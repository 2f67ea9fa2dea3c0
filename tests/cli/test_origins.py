"""Where settings come from, as the run itself keeps it."""

from dataclasses import fields

import pytest
from click.testing import CliRunner

from bulksubmit.cli.flags import Flags, origins_of_settings
from bulksubmit.cli.submit import submit
from bulksubmit.settings import Settings
from tests.cli.conftest import Write

NOT_FLAGS = {"drain_s", "on_unfinished", "origins"}


def settings_of(*args: str) -> Settings:
    """The settings of a run that is begun so."""
    with submit.make_context("submit", ["tasks.jsonl", "--job-id", "j", *args]) as ctx:
        names = {field.name for field in fields(Flags)}
        given = Flags(**{name: value for name, value in ctx.params.items() if name in names})
        return given.settings(sources=["tasks.jsonl"])


def test_a_run_knows_where_its_settings_come_from(
    profile: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each setting that has a flag has its origin, under its own name, and nothing else has.
    """
    path = profile("max-buffer = 10000000\nmax-rejects = 5\n")
    monkeypatch.setenv("BULKSUBMIT_NO_DEDUPE", "1")

    settings = settings_of("--profile", "mine", "--server-timeout", "7")

    assert settings.origins.keys() == {field.name for field in fields(Settings)} - NOT_FLAGS
    assert settings.origins["server_timeout_s"] == "flag"
    assert settings.origins["buffer_bytes_max"] == f"profile: {path}"
    assert settings.origins["rejects_bound"] == f"profile: {path}"
    assert settings.origins["dedupe"] == "environment: BULKSUBMIT_NO_DEDUPE"
    assert settings.origins["concurrency"] == "default"
    assert (settings.server_timeout_s, settings.dedupe) == (7, False)


def test_origins_change_nothing() -> None:
    """
    Two runs with the same values have the same settings, wherever those come from.
    """
    assert settings_of("--max-rate", "5") == Settings(max_rate=5.0)


def test_no_command_no_origins() -> None:
    """
    The library knows of no flags.
    """
    assert origins_of_settings() == {}
    assert Settings().origins == {}


@pytest.mark.parametrize("value", ["1", "true", "on", "0", "no", ""])
def test_flags_in_the_environment(value: str) -> None:
    """
    A flag without a value is set by a variable that says yes.
    """
    done = CliRunner(env={"BULKSUBMIT_QUIET": value}).invoke(submit, ["--show-settings"])

    shown = next(line for line in done.stdout.splitlines() if " quiet " in line)
    assert shown.split()[1] == str(value in {"1", "true", "on"}).lower()
