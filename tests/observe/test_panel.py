"""The lines that a person sees on a terminal."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.events import Event, LimitChanged, SourceRead
from bulksubmit.observe.causes import Cause
from bulksubmit.observe.panel import panel
from bulksubmit.observe.progress import UNKNOWN, Pace, Progress
from bulksubmit.observe.speed import Limited
from tests.observe.test_progress import progress
from tests.observe.test_report import report, request_ended


def shown(
    so_far: Progress,
    *,
    pace: Pace = UNKNOWN,
    width: int = 79,
    height: int = 23,
    ascii_only: bool = False,
) -> list[str]:
    lines = panel(so_far, pace, width=width, height=height, ascii_only=ascii_only)
    return ["".join(text for text, _ in line) for line in lines]


@pytest.fixture
def busy() -> Progress:
    """A run with something of everything."""
    throttled = [request_ended("throttled"), *[request_ended()] * 47]
    changed: list[Event] = [*throttled, LimitChanged(12.0, 16.4, "headroom")]
    so_far = report(50_000, *changed, added=41_950, existed=30, rejected=20)
    return replace(
        progress(
            replace(so_far, in_doubt=100),
            in_flight=16,
            retrying=12,
            limited_by=Limited(Cause.THROTTLED, 0.7),
            bytes_read=500,
            bytes_total=1000,
            bytes_settled=420,
        ),
        settled_before=10_000,
    )


def test_a_wide_terminal(busy: Progress) -> None:
    """Four lines: how far, how fast, what became of the tasks, how the service is."""
    lines = shown(busy, pace=Pace(4210.0, 4300.0, 0.084), width=119)

    assert lines == [
        f" 42% {'━' * 16}╸{'─' * 23} 42,000 of ≥ 50,000 settled, reading…",
        "4,210/s now · 4,200/s mean · 13 s left · limited by: service (throttled)",
        (
            "41,950 added · 30 existed · 20 rejected · 12 retrying · 100 in doubt · 10,000 in "
            "earlier processes"
        ),
        "16 in flight, limit 16.4 (headroom) · 2.1% throttled · p95 84 ms",
    ]


def test_a_narrow_terminal(busy: Progress) -> None:
    """In 39 columns the same words take more lines, each of them whole."""
    lines = shown(busy, pace=Pace(4210.0, 4300.0, 1.84), width=39)

    assert lines == [
        f" 42% {'━' * 14}{'─' * 20}",
        "42,000 of ≥ 50,000 settled, reading…",
        "4,210/s now · 4,200/s mean · 13 s left",
        "  limited by: service (throttled)",
        "41,950 added · 30 existed · 20 rejected",
        "  12 retrying · 100 in doubt",
        "  10,000 in earlier processes",
        "16 in flight, limit 16.4 (headroom)",
        "  2.1% throttled · p95 1.8 s",
    ]


def test_a_low_terminal(busy: Progress) -> None:
    """What matters most stays."""
    lines = shown(busy, width=39, height=3)

    assert lines == shown(busy, width=39)[:3]


def test_without_characters_beyond_ascii(busy: Progress) -> None:
    """Another bar, and other signs; longer ones are reckoned with."""
    lines = shown(busy, width=60, ascii_only=True)

    assert lines[0] == f" 42% {'#' * 6}{'-' * 9} 42,000 of >= 50,000 settled, reading..."
    assert lines[1] == "4,200/s mean | 14 s left | limited by: service (throttled)"
    assert all(line.isascii() for line in lines)


def test_before_anything_was_read() -> None:
    """Nothing is claimed."""
    assert shown(progress(report(0)))[0] == "starting: nothing was read yet"


def test_a_pipe() -> None:
    """Without a size there is no bar."""
    assert shown(progress(report(500, added=420)))[0] == "420 of ≥ 500 settled, reading…"


def test_all_is_done() -> None:
    """The bar is full, and only then."""
    (first, *_) = shown(progress(report(500, SourceRead(500), added=500)))
    (almost, *_) = shown(progress(report(100_000, SourceRead(100_000), added=99_999)))

    assert first == f"100% {'━' * 40} 500 of 500 settled"
    assert almost == f" 99% {'━' * 39}╸ 99,999 of 100,000 settled"


counted = st.integers(0, 10**8)
rates = st.one_of(st.none(), st.just(0.0), st.floats(0.01, 1e6))


@given(
    parts=st.fixed_dictionaries(dict.fromkeys(("added", "existed", "rejected"), counted)),
    abandoned=counted,
    unsettled=counted,
    in_doubt=counted,
    retrying=counted,
    complete=st.booleans(),
    size=st.one_of(st.none(), st.tuples(counted, counted)),
    pace=st.builds(Pace, rates, rates, st.one_of(st.none(), st.floats(0, 60))),
    holding_s=st.one_of(st.none(), st.floats(0, 1e4)),
    width=st.integers(20, 200),
    height=st.integers(1, 50),
    ascii_only=st.booleans(),
)
def test_whatever_is_shown_fits_and_is_true(
    *,
    parts: dict[str, int],
    abandoned: int,
    unsettled: int,
    in_doubt: int,
    retrying: int,
    complete: bool,
    size: tuple[int, int] | None,
    pace: Pace,
    holding_s: float | None,
    width: int,
    height: int,
    ascii_only: bool,
) -> None:
    """
    No line is empty, or wider than the terminal, nor are there more than it has. Of a hundred
    percent it speaks if all is settled, and only then; what is added, existed and rejected is
    the sum that is settled.
    """
    settled = sum(parts.values())
    converged = complete and not abandoned + unsettled
    total = settled + abandoned + unsettled
    so_far = replace(
        report(1, added=1),
        total=total,
        added=parts["added"],
        existed=parts["existed"],
        rejected=parts["rejected"],
        abandoned=abandoned,
        unsettled=unsettled,
        in_doubt=in_doubt,
        source_complete=complete,
        converged=converged,
    )
    read = progress(so_far, retrying=retrying)
    if size:
        share = min(size) / max(*size, 1)
        read = replace(read, bytes_total=max(size), bytes_settled=round(share * max(size)))
    lines = shown(
        replace(read, holding_s=holding_s),
        pace=pace,
        width=width,
        height=height,
        ascii_only=ascii_only,
    )

    assert all(0 < len(line) <= width for line in lines)
    assert len(lines) <= height
    assert ("100%" in lines[0]) == converged
    text = " ".join(lines).replace(",", "")
    if width >= 60 and height >= 20:  # Wide enough for every single word.
        told = [int(n) for n in re.findall(r"(\d+) (?:added|existed|rejected)", text)]
        assert sum(told) == settled
        assert (f"{settled} of" in text) == (total > 0 or complete)
