"""Settings: their bounds, and the bound on rejects in words."""

import math
from pathlib import Path

import pytest

from bulksubmit.errors import SettingsError
from bulksubmit.settings import MIB, RejectsBound, Settings


def test_the_defaults_are_valid() -> None:
    """Settings need not be given."""
    assert Settings().concurrency == "auto"
    assert Settings() == Settings()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("server_timeout_s", 1, 120),
        ("concurrency", 1, 1000),
        ("concurrency_max", 1, 1000),
        ("max_rate", 0.01, 1e9),
        ("tasks_per_request_max", 1, 100),
        ("retry_timeout_s", 0.1, 864_000),
        ("buffer_bytes_max", 8 * MIB, 1024 * MIB),
        ("drain_s", 0, 3600),
    ],
)
def test_bounds(name: str, least: float, most: float) -> None:
    """Both ends are allowed and nothing beyond; the message names the setting and the bounds."""
    values: tuple[float, ...] = (least, most)
    for value in values:
        assert getattr(Settings(**{name: value}), name) == value  # type: ignore[arg-type]  # By name.
    values = (least - 0.05, most + 1, math.nan)
    for value in values:
        with pytest.raises(SettingsError, match=f"{name} is .*; it must be from {least:,} to"):
            Settings(**{name: value})  # type: ignore[arg-type]  # By name.


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("concurrency", "many", "a number from 1 to 1,000 or 'auto'"),
        ("concurrency", None, "a number from 1 to 1,000 or 'auto'"),
        ("concurrency", True, "a number from 1 to 1,000 or 'auto'"),
        ("concurrency", 2.5, "a whole number from 1 to 1,000"),
        ("concurrency_max", "auto", "a number from 1 to 1,000"),
        ("max_rate", "5", "a number from 0.01 to"),
    ],
)
def test_what_is_no_number(name: str, value: object, says: str) -> None:
    """Settings may come from a file: what cannot be right is told at once, and how it would be."""
    with pytest.raises(SettingsError, match=f"{name} is {value!r}; it must be {says}"):
        Settings(**{name: value})  # type: ignore[arg-type]  # By name.


@pytest.mark.parametrize("request_bytes_max", [-1, 1, 12])
def test_a_request_holds_at_least_a_byte(request_bytes_max: int) -> None:
    """A bound that no task fits in is a mistake; 0 stands for none."""
    assert Settings(request_bytes_max=0).request_bytes_max == 0
    with pytest.raises(SettingsError, match="or 0 for no bound"):
        Settings(request_bytes_max=request_bytes_max)


def test_two_files_are_two(tmp_path: Path) -> None:
    """Rejects and results cannot share a file."""
    with pytest.raises(SettingsError, match="one file"):
        Settings(rejects_path=tmp_path / "x", results_path=tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("0", RejectsBound(count_max=0)),
        ("100", RejectsBound(count_max=100)),
        (" 7 ", RejectsBound(count_max=7)),
        ("5%", RejectsBound(share_max=0.05)),
        ("0.5 %", RejectsBound(share_max=0.005)),
        ("0%", RejectsBound(share_max=0.0)),
        ("100%", RejectsBound(share_max=1.0)),
    ],
)
def test_rejects_in_words(text: str, bound: RejectsBound) -> None:
    """A number of tasks, or a share of them."""
    assert RejectsBound.parse(text) == bound


@pytest.mark.parametrize(
    "text", ["", "%", "-1", "-1%", "1.5", "many", "5%%", "nan%", "101%", "1e3"]
)
def test_rejects_in_wrong_words(text: str) -> None:
    """The message quotes the text and shows what would be right."""
    with pytest.raises(SettingsError, match="100 or 5%") as raised:
        RejectsBound.parse(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize(
    ("bound", "rejected", "settled", "exceeded"),
    [
        (RejectsBound(), 999, 999, False),
        (RejectsBound(), 1000, 1000, True),
        (RejectsBound(), 1000, 1001, False),
        (RejectsBound(), 1_000_000, 1_000_001, False),
        (RejectsBound(count_max=0), 0, 10, False),
        (RejectsBound(count_max=0), 1, 10, True),
        (RejectsBound(count_max=10), 10, 10, False),
        (RejectsBound(count_max=10), 11, 1_000_000, True),
        (RejectsBound(share_max=0.05), 999, 999, False),
        (RejectsBound(share_max=0.05), 50, 1000, False),
        (RejectsBound(share_max=0.05), 51, 1000, True),
    ],
)
def test_when_rejects_end_a_run(
    *, bound: RejectsBound, rejected: int, settled: int, exceeded: bool
) -> None:
    """
    More than so many, more than a share once a thousand are settled, or (by default) a thousand
    in a row from the start.
    """
    assert bound.exceeded(rejected=rejected, taken=0, settled=settled) is exceeded


def test_taken_ids_are_no_wrong_setting() -> None:
    """
    A source that was submitted before is rejected task by task, and the run goes on; unless the
    user has set a bound.
    """
    assert not RejectsBound().exceeded(rejected=5000, taken=5000, settled=5000)
    assert not RejectsBound().exceeded(rejected=5000, taken=1, settled=5000)
    assert RejectsBound(count_max=10).exceeded(rejected=11, taken=11, settled=11)
