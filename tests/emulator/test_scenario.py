"""Scenario files: what they say, and what is said of one that is wrong."""

import re
from math import inf
from pathlib import Path

import pytest

from bulksubmit.emulator.capacity import Capacity, Phase
from bulksubmit.emulator.scenario import Between, Reaches, ScenarioError, read_scenario

WHOLE = """
[service]
parallel = 16
waits = inf
throttle = 503

[[service.changes]]
at_s = 20
outage = "502"

[[service.changes]]
at_s = 50.5
outage = "none"
parallel = inf

[load]
tasks = 1_000
second_at_s = 5
submitters = 2

[expect]
requests = [10, 12]
limit_max = [2, inf]

[[expect.between]]
from_s = 5
to_s = 10
limit = [1, 2]

[[expect.reaches]]
from_s = 50
tasks_per_s = 400
seconds = [0, 30]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "limit-16.toml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    """
    Each change goes on from what was before; what is left out is as usual.
    """
    scenario = read_scenario(written(tmp_path, WHOLE))

    assert scenario.name == "limit-16"
    assert scenario.phases == (
        Phase(0.0, Capacity(parallel=16, waits=inf, throttle=503)),
        Phase(20.0, Capacity(parallel=16, waits=inf, throttle=503, outage="502")),
        Phase(50.5, Capacity(waits=inf, throttle=503)),
    )
    load, expected = scenario.load, scenario.expected
    assert (load.tasks, load.tasks_per_request, load.submitters) == (1000, 100, 2)
    assert dict(expected.ranges()) == {"requests": (10, 12), "limit_max": (2, inf)}
    assert expected.between == (Between(from_s=5, to_s=10, limit=(1, 2)),)
    assert expected.reaches == (Reaches(from_s=50, tasks_per_s=400, seconds=(0, 30)),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("parallel = 16", "paralel = 16", "service.paralel: unknown; did you mean parallel?"),
        ("parallel = 16", 'parallel = "all"', "service.parallel: expected `float`, got `str`"),
        ("parallel = 16", "parallel = 1.5", "service: parallel is 1.5; a whole number"),
        ("throttle = 503", "throttle = 500", "service.throttle: invalid enum value 500"),
        ('outage = "502"', 'outtage = "502"', "service.changes[0].outtage: unknown; did you mean"),
        ('outage = "502"', 'outage = "504"', "service.changes[0].outage: invalid enum value"),
        ("at_s = 20", "", "service.changes[0].at_s: a number of seconds above 0"),
        ("at_s = 50.5", "at_s = 20", "service.changes[1].at_s: a number of seconds above 0"),
        ("[load]", "[[load]]", "[load] is missing"),
        ("tasks = 1_000", "", "load: object missing required field `tasks`"),
        ("tasks = 1_000", "tasks = 0", "load: tasks is 0; at least 1"),
        ("submitters = 2", "submitters = 3", "load: submitters is 3; one or two"),
        ("submitters = 2", "quick = true", "load.quick: unknown; known are tasks, task_bytes"),
        ("[10, 12]", "[12, 10]", "expect: requests is [12, 10]; [least, most]"),
        ("[10, 12]", "[10]", "expect.requests: expected `array` of length 2"),
        ("limit = [1, 2]", "limit = 1", "expect.between[0].limit: expected"),
        ("seconds = [0, 30]", "second = [0, 30]", "expect.reaches[0].second: unknown; did you me"),
        ("[load]", "[loads]", "loads: unknown; did you mean load?"),
        ("[load]", "[load", "Expected ']'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    """
    The file, the place in it, and what would be right.
    """
    assert old in WHOLE

    with pytest.raises(
        ScenarioError, match=rf"^limit-16\.toml: .*{re.escape(message[:70])}"
    ) as said:
        read_scenario(written(tmp_path, WHOLE.replace(old, new, 1)))

    assert "\n" not in str(said.value)


def test_changes_are_tables(tmp_path: Path) -> None:
    """
    A number of changes is none.
    """
    text = "[service]\nchanges = 3\n[load]\ntasks = 1\n[expect]\n"

    with pytest.raises(ScenarioError, match=r"service\.changes: tables are wanted, each under"):
        read_scenario(written(tmp_path, text))


def test_a_table_is_missing(tmp_path: Path) -> None:
    """
    Each of the three is wanted.
    """
    with pytest.raises(ScenarioError, match=r"limit-16\.toml: \[expect\] is missing"):
        read_scenario(written(tmp_path, "[service]\n[load]\ntasks = 1\n"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """
    It is named.
    """
    with pytest.raises(ScenarioError, match=r"gone\.toml: .*No such file"):
        read_scenario(tmp_path / "gone.toml")
