"""Runs: one source against one job. Where a run keeps its files, and what it is called."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import platformdirs


def new_run_id() -> str:
    """A name that sorts by time and is short enough to type: ``20260131-235959-4f2a``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run_folder(run_id: str) -> Path:
    """Where a run keeps its files; not made here.

    The root is ``$BULKSUBMIT_STATE_DIR``, else the platform's folder for a user's state.
    """
    root = os.environ.get("BULKSUBMIT_STATE_DIR")
    state = Path(root) if root else platformdirs.user_state_path("bulksubmit")
    return state / "runs" / run_id
