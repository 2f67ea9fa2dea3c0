"""How a curve is drawn, and told to a program."""

import pytest

from bulksubmit.bench.curve import Curve
from bulksubmit.cli.curve import Measured, table
from tests.bench.test_curve import auto, step

MEASURED = Measured(
    endpoint="https://myaccount.westeurope.batch.azure.com",
    job_id="bulksubmit-bench-1",
    job_left=True,
    task_bytes=300,
    tasks_added=12_000,
    tried_max=100,
    curve=Curve(
        (
            step(1, 125.0),
            step(16, 1190.0, throttled=0.3),
            step(8, 800.0),
            step(12, 1200.0),
            auto(600.0),
        )
    ),
    elapsed_s=61.0,
)


@pytest.mark.parametrize(
    ("encoding", "full", "half"), [("utf-8", "━", "╸"), ("ascii", "#", ""), (None, "#", "")]
)
def test_drawn(encoding: str | None, full: str, half: str) -> None:
    """
    In the order of requests in flight, the longest bar for the most tasks a second.
    """
    text = table(MEASURED, encoding)

    rows = [line.split() for line in text.splitlines()[1:6]]
    assert [row[0] for row in rows] == ["1", "8", "12", "16", "auto"]
    assert [row[2] for row in rows] == [
        full * 2 + half,
        full * 16,
        full * 24,
        full * 24,
        full * 12,
    ]
    assert [row[-1] == "knee" for row in rows] == [False, False, True, False, False]
    if full == "#":
        assert text.isascii()
    assert max(map(len, text.splitlines()[:6])) < 100


def test_concluded() -> None:
    """
    What it comes to, and what is left.
    """
    rows = dict(
        line.split("  ", 1) for line in table(MEASURED, "utf-8").split("\n\n")[1].splitlines()
    )
    told = {label: text.strip() for label, text in rows.items()}

    assert told["knee"] == "12 requests in flight; more bring no more"
    assert told["speed"].startswith("1,200 tasks/s, a million in 14 min; limited by the service")
    assert told["next"].startswith("--concurrency 12; auto")
    assert told["took"] == "61 s, 12,000 tasks of 300 bytes"
    assert "az batch job delete --job-id bulksubmit-bench-1 --yes" in told["left"]


def test_told_to_a_program() -> None:
    """
    Each name is there whatever was seen; ``error`` only if there was one.
    """
    nothing, something = Measured(error="why", exit_code=5).as_dict(), MEASURED.as_dict()

    assert nothing.pop("error") == "why"
    assert list(nothing) == list(something)
    assert [nothing[name] for name in ("steps", "auto", "best", "knee", "settings")] == [
        [],
        None,
        None,
        None,
        {},
    ]
    assert something["settings"] == {"concurrency": 12}
    assert something["limited_by"] == "throttled"
    assert something["auto_share"] == 0.5
