"""The benchmark of shared runs comes to its end, at a tiny size."""

from pathlib import Path

import pytest

from tests.test_benchmarks import benchmark, table_rows


@pytest.mark.thorough
def test_shards_are_measured(tmp_path: Path) -> None:
    """
    A coordinator by itself, killed and resumed, and whole runs of one process and of two, each of
    which has added every task.
    """
    sizes = ("--plan", "60000", "--shards", "6", "--simulated", "2", "--rate", "20000")
    runs = ("--tasks", "3000", "--rounds", "1", "--way", "one process", "processes")
    printed = benchmark("shards", *sizes, *runs, "--folder", str(tmp_path))

    assert printed.count("60,000 tasks in ") == 2
    assert printed.count("CPU a task, µs: ") == 2
    assert "half done, killed, resumed: to the first orders" in printed
    assert [row[0] for row in table_rows(printed)[1:]] == ["one process", "processes"]
