"""What these tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str], Path]


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the profile ``mine``, which can be named, and returns its path."""
    monkeypatch.setenv("BULKSUBMIT_CONFIG_DIR", str(tmp_path / "profiles"))

    def write(text: str) -> Path:
        path = tmp_path / "profiles" / "mine.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes what az keeps its settings in, and returns the path."""
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "azure"))

    def write(text: str) -> Path:
        path = tmp_path / "azure" / "config"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write
