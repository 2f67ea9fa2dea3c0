"""Fixtures of the service room."""

import time
from collections.abc import Callable

import pytest


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the wall clock on, for everybody in this process."""
    real, moved_s = time.time, 0.0

    def move(seconds: float) -> None:
        nonlocal moved_s
        moved_s += seconds

    monkeypatch.setattr(time, "time", lambda: real() + moved_s)
    return move
