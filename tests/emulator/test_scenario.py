"""Scenario files: what they say, and what is said of one that is wrong."""

import re
from math import inf
from pathlib import Path

import pytest

from bulksubmit.emulator.capacity import Capacity, Phase
from bulksubmit.emulator.scenario import (
    Between,
    Reaches,
    ScenarioError,
    read_scenario,
    read_service,
)

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
        ("parallel = 16", 'parallel = "all"', 'service: parallel is "all"; a number is wanted'),
        ("parallel = 16", "parallel = true", "service: parallel is true; a number is wanted"),
        ("parallel = 16", "parallel = 1.5", "service: parallel is 1.5; a whole number"),
        ("parallel = 16", "parallel = 0", "service: parallel is 0; at least 1 is wanted"),
        ("parallel = 16", "parallel = nan", "service: parallel is nan; a number is wanted"),
        ("parallel = 16", "retry_after_s = 1.5", "retry_after_s is 1.5; a whole number is wanted"),
        ("parallel = 16", "retry_after_date = 1", "retry_after_date is 1; true or false is wanted"),
        ("throttle = 503", "throttle = 500", "service: throttle is 500; one of 429, 503 is wanted"),
        ('outage = "502"', 'outtage = "502"', "service.changes[0].outtage: unknown; did you mean"),
        (
            'outage = "502"',
            'outage = "404"',
            'service.changes[0]: outage is "404"; one of "none", "429", "500", "502"',
        ),
        ('outage = "502"', "", "service.changes[0]: nothing but at_s; what changes then is wanted"),
        ("at_s = 20", "", "service.changes[0]: at_s is missing; a number of seconds later than"),
        ("at_s = 20", "at_s = nan", "service.changes[0]: at_s is nan; a number of seconds"),
        ("at_s = 20", "at_s = inf", "service.changes[0]: at_s is inf; a number of seconds"),
        ("at_s = 20", "at_s = true", "service.changes[0]: at_s is true; a number of seconds"),
        ("at_s = 50.5", "at_s = 20", "service.changes[1]: at_s is 20; a number of seconds later"),
        ("[load]", "[[load]]", 'load is [{"tasks": 1000'),
        ("tasks = 1_000", "", "load: tasks is missing"),
        ("tasks = 1_000", "tasks = 0", "load: tasks is 0; 1 to 1,000,000,000 is wanted"),
        (
            "tasks = 1_000",
            "tasks = 1\ntask_bytes = 5",
            "task_bytes is 5; 50 to 1,000,000 is wanted",
        ),
        ("tasks = 1_000", "tasks = 1\ntasks_per_request = 1000", "is 1000; 1 to 100 is wanted"),
        ("tasks = 1_000", "tasks = 1\nmax_rate = 0", "max_rate is 0; above 0 is wanted"),
        (
            "tasks = 1_000",
            "tasks = 1\nseconds_max = inf",
            "seconds_max is inf; a number of seconds",
        ),
        ("submitters = 2", "submitters = 3", "load: submitters is 3; 1 to 2 is wanted"),
        ("submitters = 2", "", "second_at_s is 5 and submitters 1"),
        ("submitters = 2", "quick = true", "load.quick: unknown; known are tasks, task_bytes"),
        ("[10, 12]", "[12, 10]", "expect: requests is [12, 10]; [least, most]"),
        ("[10, 12]", "[-5, 5]", "expect: requests is [-5, 5]; it is never below 0"),
        ("[10, 12]", "[0, nan]", "expect: requests is [0, nan]; [least, most]"),
        ("[10, 12]", "[10]", "expect: requests is [10]; [least, most], two numbers, is wanted"),
        ("[10, 12]", "[1, 2]\nlost_share = [0, 2]", "lost_share is [0, 2]; it is never above 1"),
        ("limit = [1, 2]", "limit = 1", "expect.between[0]: limit is 1; [least, most]"),
        (
            "limit = [1, 2]",
            "",
            "expect.between[0]: nothing is expected; one of requests, tasks_per",
        ),
        ("to_s = 10", "to_s = 2", "expect.between[0]: to_s is 2; it must be later than 5"),
        ("from_s = 50", "from_s = -1", "expect.reaches[0]: from_s is -1; a number of seconds from"),
        ("tasks_per_s = 400", "tasks_per_s = 0", "tasks_per_s is 0; a pace above 0 is wanted"),
        ("[0, 30]", "[5, 3]", "expect.reaches[0]: seconds is [5, 3]; [least, most] is wanted"),
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


def test_serving_needs_the_service_only(tmp_path: Path) -> None:
    """
    A file with nothing else is served; it is no whole scenario.
    """
    path = written(tmp_path, "[service]\nparallel = 4\n")

    assert read_service(path) == (Phase(0.0, Capacity(parallel=4)),)
    with pytest.raises(ScenarioError, match=r"\[load\] is missing"):
        read_scenario(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[load]\ntasks = 1\n", "[service] is missing"),
        ("service = 3\n", "service is 3; one table is wanted, under [service]"),
        ("[service]\nparalel = 4\n", "service.paralel: unknown; did you mean parallel?"),
        ("[load]\ntask = 1\n", "load.task: unknown; did you mean tasks?"),
        ("[expect]\nsecond = [1, 2]\n", "expect.second: unknown; did you mean seconds?"),
    ],
)
def test_a_wrong_name_is_told_before_a_missing_table(
    tmp_path: Path, text: str, message: str
) -> None:
    """
    What is there is looked at first, whether the file is to be served or to be run.
    """
    for read in (read_service, read_scenario):
        with pytest.raises(ScenarioError, match=rf"^limit-16\.toml: {re.escape(message)}"):
            read(written(tmp_path, text))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """
    It is said what kind of file is wanted.
    """
    path = tmp_path / "limit.toml"
    path.write_bytes(b"\x7fELF\xff")

    with pytest.raises(ScenarioError, match=r"limit\.toml: no text in UTF-8; a TOML file"):
        read_service(path)
