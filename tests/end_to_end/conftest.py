"""What these tests share."""

import pytest

from bulksubmit.core import backoff, reconciler
from bulksubmit.core.backoff import Backoff
from bulksubmit.service import jobs
from bulksubmit.verify import census

# Backoff beyond this shows nothing more; an unlucky last task would wait 3 s.
CAP_S = 0.2


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait between two attempts is a tenth of what it is, and short in any case."""
    monkeypatch.setattr(backoff, "GRID_S", backoff.GRID_S / 10)
    monkeypatch.setattr(backoff, "PROBE_S_MIN", backoff.PROBE_S_MIN / 10)
    monkeypatch.setattr(backoff, "PROBE_S_MAX", CAP_S)
    monkeypatch.setattr(jobs, "BACKOFF_MIN_S", jobs.BACKOFF_MIN_S / 10)
    monkeypatch.setattr(backoff, "BUDGET_PER_S", backoff.BUDGET_PER_S * 10)
    for name in ("SERVER_ERROR_BACKOFF", "PRESSURE_BACKOFF"):
        usual: Backoff = getattr(backoff, name)
        hurried = Backoff(usual.base_s / 10, min(CAP_S, usual.cap_s / 10))
        monkeypatch.setattr(reconciler, name, hurried)
        monkeypatch.setattr(census, name, hurried, raising=False)
