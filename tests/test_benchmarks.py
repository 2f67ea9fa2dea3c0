"""The benchmarks run; what they measure is for people to read, and never asserted."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks import forms
from benchmarks.job_digest import digest, swept, wanted
from benchmarks.measure import Usage
from benchmarks.task_file import task_file
from benchmarks.task_forms import FORMS, bodies
from bulksubmit.cli.inputs import source_spec
from bulksubmit.producer import open_source
from bulksubmit.producer.spec import SourceSpec
from tests.producer.reading import read

ROOT = Path(__file__).parents[1]


def flood(*arguments: str) -> str:
    return benchmark("flood", *arguments)


def benchmark(name: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_flood_ends_with_a_table(tmp_path: Path) -> None:
    """
    A small flood ends well, with a row for each case: the start-up, and what was asked for.
    """
    printed = flood(
        *("1m-failing", "--tasks-max", "500", "--rounds", "1", "--folder", str(tmp_path))
    )

    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows] == [
        ["| case", "tasks"],
        ["| start-up", "100"],
        ["| 1m-failing", "500"],
    ]
    assert {len(row) for row in rows} == {9}


def test_task_files_are_reused(tmp_path: Path) -> None:
    """
    A task file is written once; one that is cut off is written again, the same.
    """
    path = task_file(tmp_path, tasks=3, task_bytes=300)
    whole, written = path.read_bytes(), path.stat().st_mtime_ns

    assert [len(line) for line in whole.splitlines()] == [300] * 3
    assert task_file(tmp_path, tasks=3, task_bytes=300).stat().st_mtime_ns == written

    path.write_bytes(whole[:-1])

    assert task_file(tmp_path, tasks=3, task_bytes=300).read_bytes() == whole


def test_emulator_memory_is_told(tmp_path: Path) -> None:
    """
    The emulator's memory is measured with as many tasks as were asked for.
    """
    printed = flood("--emulator-memory", "--tasks-max", "1000", "--folder", str(tmp_path))

    assert "1,000 tasks" in printed.splitlines()[-1]


def test_journal_is_measured(tmp_path: Path) -> None:
    """
    What the journal takes is measured to the end: by itself, in whole runs, and when a run goes
    on that was killed in its middle.
    """
    sizes = ("--tasks", "2000", "--tasks-resumed", "30000")
    printed = benchmark("journal", *sizes, "--rounds", "1", "--folder", str(tmp_path))

    wanted = [
        "CPU",
        "after the run",
        "the most",
        "CPU",
        "after the run",
        "the most",
        "whole",
        "first",
    ]
    lines = [line for line in printed.splitlines()[3:] if not line.endswith(":")]
    assert len(lines) == len(wanted)
    assert all(text in line for text, line in zip(wanted, lines, strict=True))


def test_validate_is_measured(tmp_path: Path) -> None:
    """
    The look for duplicate IDs and the validation of both kinds of tasks are measured to the end.
    """
    sizes = ("--tasks", "2000", "--ids", "70000", "--rounds", "1")
    printed = benchmark("validate", *sizes, "--folder", str(tmp_path))

    lines = [line.partition(":")[0] for line in printed.splitlines()[3:]]
    validated = [
        "  CPU a task, µs",
        "  tasks/s by the clock",
        "  of which for duplicates, µs a task",
    ]
    assert lines == [
        "70,000 IDs, for the look for duplicates alone",
        *("  CPU an ID while reading, µs", "  CPU an ID at the end, µs", "  memory, MB"),
        "bulksubmit validate, 2,000 tasks of 100 bytes",
        *(*validated, "  peak RSS, MB"),
        "bulksubmit validate, 2,000 tasks of 300 bytes",
        *(*validated, "  peak RSS, MB"),
    ]


def test_forms_are_flooded(tmp_path: Path) -> None:
    """
    Each form that was asked for is written, flooded, and found whole in the job; its files are
    removed.
    """
    asked = ("--tasks", "300", "--forms", "pretty.zst", "sweep")
    printed = benchmark("forms", *asked, "--folder", str(tmp_path))

    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line[:2] == "| "]
    assert [(row[0], row[-1]) for row in rows[1:]] == [("pretty.zst", "met"), ("sweep", "met")]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_is_of_the_same_tasks(tmp_path: Path, form: str) -> None:
    """
    What is written in each form is read as the very tasks, and there is a bar for each.
    """
    source, *options = FORMS[form](tmp_path, 20)
    template = Path(options[1]) if options else None
    spec = source_spec([source], template=template, sweeps=(), allow_unused_columns=False)
    items = await read(open_source(spec))

    read_tasks = [orjson.loads(task.body) for task in items.tasks]
    assert read_tasks == [orjson.loads(body) for body in bodies(20)]
    assert form in forms.RSS_MAX


def test_a_digest_tells_tasks_from_others() -> None:
    """
    One task less, or one that differs in a single member, has another digest; the order has none.
    """
    tasks = [*wanted(bodies(3))]
    changed = [*tasks[:2], tasks[2] | {"displayName": "x"}]

    assert digest(tasks[::-1]) == digest(tasks)
    assert len({digest(some) for some in (tasks, tasks[:2], changed)}) == 3


async def test_sweeps_are_told_plainly(tmp_path: Path) -> None:
    """
    The tasks of a sweep's file, as the benchmark has them, are those that are read from it.
    """
    path = tmp_path / "sweep.toml"
    path.write_text(
        '[sweep]\nmode = ["fast", "slow"]\nn = "08..10"\n'
        '[task]\nid = "{mode}-{n}"\ncommandLine = "render --{mode} {n}"\n'
    )
    items = await read(open_source(SourceSpec(files=(str(path),)).expanded()))

    assert [task.body for task in items.tasks] == [*swept(path)]
    assert len(items.tasks) == 6


def test_forms_miss_the_bar() -> None:
    """
    A flood that takes too much memory, or leaves something out, is none that meets the bar.
    """
    usage = Usage(cpu_s=1.0, rss_bytes=100_000_000, wall_s=1.0, exit_code=0, output=b"")
    verdicts = [
        forms.Flood("lines", 1, 1, usage, rss_max, wrong).verdict
        for rss_max, wrong in ((100, None), (99, None), (100, "one is missing"))
    ]

    assert verdicts == ["met", "NOT MET", "FAILED: one is missing"]
