"""What runs are fed."""

from pathlib import Path

import pytest

from tests.shell.doubles import lines


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """5,000 tasks: 50 requests."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines(5000))
    return path
