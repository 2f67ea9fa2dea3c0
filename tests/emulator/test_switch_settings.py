"""What is a switch's setting and what is not, in code and on the command line."""

from typing import Any

import pytest
from click.testing import CliRunner

from bulksubmit.cli.emulator import emulator
from bulksubmit.emulator import Switches
from bulksubmit.emulator.switches import COUNTS_KEPT_S

SETTINGS = Switches.settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, "no such word") for name in SETTINGS],
        *[(name, None) for name in SETTINGS if name != "task_bytes_max"],
        *[(name, True) for name in SETTINGS],
        *[
            (name, value)
            for name in ("list_lag_s", "counts_lag_s", "job_change_s")
            for value in (-0.1, float("nan"), float("inf"), 1e10)
        ],
        ("counts_lag_s", COUNTS_KEPT_S + 1),
        ("task_bytes_max", -1),
        ("task_bytes_max", 1.5),
        ("expired_token_status", 402),
        ("expired_token_status", "401"),
    ],
)
def test_what_is_no_setting(name: str, value: object) -> None:
    """
    A word that it does not have, or a number that nobody can wait for: the switch is named.
    """
    settings: dict[str, Any] = {name: value}

    with pytest.raises(ValueError, match=f"^the switch {name} is "):
        Switches(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("list_lag_s", 7), ("counts_lag_s", 120.0), ("job_change_s", 0.01), ("task_bytes_max", 1)],
)
def test_other_numbers_are_settings_too(name: str, value: float) -> None:
    """
    Numbers may be others than those worth trying.
    """
    settings: dict[str, Any] = {name: value}

    assert getattr(Switches(**settings), name) == value


# --- The command line ------------------------------------------------------------------------


def test_help_lists_each_switch() -> None:
    """
    Each has a flag, with its text and default, in a group of their own.
    """
    output = CliRunner().invoke(emulator, ["--help"], terminal_width=200).output

    _, _, group = output.partition("What nobody knows of the service")
    words = " ".join(group.split())
    for name, settings in SETTINGS.items():
        assert f"--{name.replace('_', '-')} " in words
        assert " ".join(Switches.texts()[name].split()) in words
        if isinstance(settings[-1], str):
            assert f"[{'|'.join(map(str, settings))}]" in words


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        *[(f"--{name.replace('_', '-')}", "no such word", "") for name in SETTINGS],
        ("--expired-token-status", "402", "not one of"),
        ("--list-lag-s", "-1", "x>=0"),
        ("--list-lag-s", "nan", "the switch list_lag_s is nan; it is a number from 0"),
        ("--job-change-s", "inf", "the switch job_change_s is inf; it is a number from 0"),
        ("--counts-lag-s", "121", "it is a number from 0 to 120"),
        ("--task-bytes-max", "-1", "x>=0"),
        ("--task-bytes-max", "1.5", "not a valid integer"),
    ],
)
def test_a_flag_that_is_wrong(flag: str, value: str, message: str) -> None:
    """
    It is said before anything listens, with exit code 2, and without a traceback.
    """
    result = CliRunner().invoke(emulator, [flag, value])

    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert message in " ".join(result.output.split())
