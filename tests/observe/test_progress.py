"""What is seen of a run while it lasts."""

import io
import subprocess
import sys
from dataclasses import replace

import orjson
import pyte
import pytest

from bulksubmit.core.account import Place
from bulksubmit.core.events import Anomaly, Event, Held, LimitChanged, Resumed, SourceRead
from bulksubmit.observe.causes import Cause
from bulksubmit.observe.log import log_to
from bulksubmit.observe.progress import Pace, Progress, progress_line
from bulksubmit.observe.report import Report
from bulksubmit.observe.screen import Screen, Show
from bulksubmit.observe.speed import Limited
from tests.observe.test_report import report, request_ended


def progress(
    so_far: Report,
    *,
    in_flight: int = 0,
    retrying: int = 0,
    limited_by: Limited | None = None,
    bytes_read: int = 0,
    bytes_total: int | None = None,
    bytes_settled: int | None = None,
) -> Progress:
    read = Place(so_far.total, bytes_read, so_far.total + 1)
    return Progress(
        so_far,
        in_flight,
        limited_by,
        retrying,
        read,
        bytes_read,
        bytes_total,
        bytes_settled=bytes_settled,
    )


# --- The line ------------------------------------------------------------------------------------


def test_the_line_of_a_file() -> None:
    """Before its end the percentage is of its bytes, the time left follows from it."""
    read = report(50_000, added=42_000)
    line = progress_line(
        progress(read, in_flight=16, bytes_read=500, bytes_total=1000, bytes_settled=420)
    )

    assert line == (
        " 42% · 42,000 of ≥ 50,000 settled · 4,200/s · 14 s left · reading… · 16 in flight"
    )


def test_the_line_of_a_pipe() -> None:
    """Without a size there is nothing to estimate from."""
    line = progress_line(progress(report(500, added=420), in_flight=1))

    assert line == "420 of ≥ 500 settled · 42/s · reading… · 1 in flight"


def test_the_line_with_what_is_going_on() -> None:
    """The rate is that of the last seconds, the time left of half a minute."""
    so_far = replace(progress(report(1000, SourceRead(1000), added=400)), settled_before=300)

    line = progress_line(so_far, pace=Pace(60.0, 20.0, 0.0841))

    assert line == (
        " 40% · 400 of 1,000 settled · 60/s · 30 s left · 300 in earlier processes"
        " · 0 in flight · p95 84 ms"
    )


def test_a_run_that_has_only_begun() -> None:
    """In its first seconds there is no time left to be told, nor a rate while there is none."""
    begun = progress(report(1000, SourceRead(1000), added=0, elapsed_s=0.0))
    soon = progress(report(1000, SourceRead(1000), added=10, elapsed_s=2.9))

    assert progress_line(begun) == "  0% · 0 of 1,000 settled · 0 in flight"
    assert progress_line(soon) == "  1% · 10 of 1,000 settled · 3/s · 0 in flight"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ([(1.0, 2.0, "doubling")], "3 in flight · limit 2 (doubling)"),
        ([(1.0, 16.0, "doubling"), (16.0, 15.42, "throttled")], "limit 15.4 (throttled)"),
        ([(1.0, 0.26, "timed out")], "limit 0.26 (timed out)"),
        ([(500.0, 1000.0, "headroom")], "limit 1,000 (headroom)"),
    ],
)
def test_the_limit_and_its_last_change(changes: list[tuple[float, float, str]], shown: str) -> None:
    """How many may be in flight, and why it is that many."""
    so_far = report(500, *[LimitChanged(*change) for change in changes], added=420)

    line = progress_line(progress(so_far, in_flight=3, limited_by=Limited(Cause.THROTTLED, 0.7)))

    assert line.endswith(shown)


def test_what_limits_it_at_present() -> None:
    """Before what a narrow terminal has no room for."""
    limited = Limited(Cause.THROTTLED, 0.7)

    line = progress_line(progress(report(500, added=420), limited_by=limited))

    assert line.endswith(" · 42/s · limited by: service (throttled) · reading… · 0 in flight")


def test_a_hold_has_neither_rate_nor_time_left() -> None:
    """The mean of the run says nothing while all is held back."""
    so_far = report(1000, SourceRead(1000), added=400)

    lines = [
        progress_line(replace(progress(so_far), holding_s=for_s)) for for_s in (17.2, 0.0, None)
    ]
    stopping = progress_line(replace(progress(so_far), stopping=True))

    assert lines == [
        " 40% · 400 of 1,000 settled · holding, 18 s · 0 in flight",
        " 40% · 400 of 1,000 settled · holding, probing · 0 in flight",
        " 40% · 400 of 1,000 settled · 40/s · 15 s left · 0 in flight",
    ]
    assert stopping == " 40% · 400 of 1,000 settled · stopping · 0 in flight"


def test_what_is_odd_is_shown() -> None:
    """Rejected, retrying, being looked up and throttled only if there are any."""
    throttled = [request_ended("throttled"), request_ended(), request_ended(), request_ended()]
    so_far = report(1000, SourceRead(1000), *throttled, added=400, rejected=100)

    line = progress_line(replace(progress(so_far, retrying=30), looked_up=7))

    assert line.startswith(" 50% · 500 of 1,000 settled · 50/s · 10 s left")
    assert line.endswith(
        " · 100 rejected · 30 retrying · 7 being looked up · 25.0% throttled · 0 in flight"
    )


@pytest.mark.parametrize(
    ("left", "percent"), [(1, " 99%"), (99, " 99%"), (1000, " 90%"), (0, "100%")]
)
def test_never_a_hundred_percent_while_a_task_is_unsettled(left: int, percent: str) -> None:
    """The last task of ten thousand is worth a percent."""
    so_far = report(10_000, SourceRead(10_000), added=10_000 - left)

    assert progress_line(progress(so_far)).startswith(percent)


def test_each_percent_is_reached() -> None:
    """By so many tasks of a hundred, and none sooner or later."""
    percents = [progress(report(100, SourceRead(100), added=n)).percent for n in range(101)]

    assert percents == list(range(101))


def test_all_settled_but_not_read_to_the_end() -> None:
    """While the source goes on, there is no hundred percent."""
    so_far = report(100, added=100)

    assert progress_line(
        progress(so_far, bytes_read=10, bytes_total=10, bytes_settled=10)
    ).startswith(" 99%")


def test_no_tasks_at_all() -> None:
    """Nothing to do is done."""
    assert progress_line(progress(report(0, SourceRead(0)))).startswith("100%")


@pytest.mark.parametrize(
    ("total", "left"), [(100, "27 s"), (400, "1 min 58 s"), (100_000, "8 h 25 min")]
)
def test_the_time_left(total: int, left: str) -> None:
    """In the two units that matter."""
    so_far = report(total, SourceRead(total), added=10, elapsed_s=3.0)

    assert progress_line(progress(so_far)).endswith(f"· {left} left · 0 in flight")


# --- The screen ----------------------------------------------------------------------------------


def test_rich_is_not_loaded_before_it_is_needed() -> None:
    """It takes as long as all else that --help needs."""
    code = "import sys, bulksubmit.cli.submit, bulksubmit.cli.verify; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == "False\n"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_stays_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time in the place of what was there; notes stay above; nothing is left at the end."""
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    screen = Screen(out, quiet=False)
    terminal = pyte.Screen(80, 24)
    terminal.set_mode(pyte.modes.LNM)

    def seen() -> list[str]:
        pyte.Stream(terminal).feed(out.getvalue())
        out.seek(0)
        out.truncate()
        return [line.rstrip() for line in terminal.display if line.strip()]

    screen.progress(progress(report(500, SourceRead(500), added=420), in_flight=2))
    before = seen()
    screen.note("a note")
    noted = seen()
    screen.progress(progress(report(500, SourceRead(500), added=500)))
    after = seen()
    screen.done()

    assert before == [
        f" 84% {'━' * 33}╸{'─' * 6} 420 of 500 settled",
        "42/s mean · 2 s left",
        "420 added",
        "2 in flight",
    ]
    assert noted == ["a note", *before]
    assert after[:2] == ["a note", f"100% {'━' * 40} 500 of 500 settled"]
    assert "420" not in "".join(after)
    assert seen() == ["a note"]
    assert screen.period_s == 0.25


def test_what_has_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of something else than a run: in place too, on as many lines as it needs."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(Screen, "_size", (20, 24))
    out = Terminal()
    screen = Screen(out, quiet=False)
    terminal = pyte.Screen(20, 24)
    terminal.set_mode(pyte.modes.LNM)

    screen.progress(" 42% · 420 listed, 1,000 expected")
    screen.progress(" 43% · 430 listed")
    pyte.Stream(terminal).feed(out.getvalue())

    assert [line.rstrip() for line in terminal.display if line.strip()] == [" 43% · 430 listed"]


@pytest.mark.parametrize(
    ("term", "show"), [("xterm", "plain"), ("dumb", "auto"), ("", "auto"), ("xterm", "none")]
)
def test_on_a_terminal_that_cannot_or_should_not(
    term: str, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain lines, or none; and no control characters."""
    monkeypatch.setenv("TERM", term)
    out = Terminal()
    screen = Screen(out, quiet=False, show=show)

    screen.progress(progress(report(500, added=420)))
    screen.note("a note")
    screen.done()

    *lines, note = out.getvalue().splitlines()
    assert len(lines) == (show != "none")
    assert note == "a note"
    assert "\x1b" not in out.getvalue()


def test_elsewhere_each_line_is_a_line() -> None:
    """Without a terminal: a line every ten seconds, with its time, and no control characters."""
    out = io.StringIO()
    screen = Screen(out, quiet=False)

    screen.progress(progress(report(500, added=420)))
    screen.note("a note")
    screen.done()

    first, second = out.getvalue().splitlines()
    assert first[8:].startswith(" 420 of >= 500 settled | 42/s")
    assert second == "a note"
    assert "\x1b" not in out.getvalue()
    assert screen.period_s == 10.0


def test_the_pace_is_that_between_two_lines() -> None:
    """By the events, and by what was settled when it was last looked."""
    out, now_s = io.StringIO(), 100.0
    screen = Screen(out, quiet=False, clock=lambda: now_s)

    screen.progress(progress(report(5000, SourceRead(5000), added=1000)))
    screen(request_ended())
    now_s += 10.0
    screen.progress(progress(report(5000, SourceRead(5000), added=4000)))

    last = out.getvalue().splitlines()[-1]
    assert " 80% | 4,000 of 5,000 settled | 300/s | 3 s left | " in last
    assert last.endswith(" | p95 100 ms")


@pytest.mark.parametrize(("quiet", "show"), [(True, "auto"), (False, "none")])
def test_no_progress(*, quiet: bool, show: Show) -> None:
    """Quiet: errors only. Without progress: notes, too. What is asked for is told."""
    out = io.StringIO()
    screen = Screen(out, quiet=quiet, show=show)
    so_far = progress(report(500, added=420))

    screen.progress(so_far)
    screen.note("a note")
    screen(Held("429", 3.0))
    screen.error("an error")
    screen.tell(so_far)
    screen.done()

    *others, asked = out.getvalue().splitlines()
    notes = [] if quiet else ["a note", "holding back for 3.0 s: 429"]
    assert others == [*notes, "an error"]
    assert "420 of >= 500 settled" in asked


def test_what_holds_the_run_back_is_told() -> None:
    """Holds, a job that is not answered for, and each kind of oddity: once."""
    out = io.StringIO()
    screen = Screen(out, quiet=False)
    events: list[Event] = [
        request_ended(attempt=0),
        request_ended("lost"),
        Held("429 TooManyRequests", 30.0),
        Held("429 TooManyRequests", 30.0),
        Resumed(),
        Anomaly("missing_id", 7, "t1"),
        Anomaly("missing_id", 8, "t2"),
        Anomaly("unknown_status", 9, "t3"),
        SourceRead(10),
    ]

    for event in events:
        screen(event)

    assert out.getvalue().splitlines() == [
        "holding back for 30.0 s: 429 TooManyRequests",
        "going on",
        "odd answer to attempt 7: missing id 't1'; dealt with",
        "odd answer to attempt 9: unknown status 't3'; dealt with",
    ]


def test_holds_all_night_long() -> None:
    """
    A hold every two seconds for an hour, all for the same reason: one in ten minutes is told,
    with its end; one for another reason at once.
    """
    out, now_s = io.StringIO(), 100.0
    screen = Screen(out, quiet=False, clock=lambda: now_s)

    for _ in range(1800):
        screen(Held("429 TooManyRequests", 1.0))
        now_s += 1.0
        screen(Resumed())
        now_s += 1.0
    screen(Held("HTTP 502", 0.5))

    assert out.getvalue().splitlines() == [
        *["holding back for 1.0 s: 429 TooManyRequests", "going on"] * 6,
        "holding back for 0.5 s: HTTP 502",
    ]


# --- The log -----------------------------------------------------------------------------------


def test_the_log_as_json() -> None:
    """One object a line: the event's name, its fields, a level, and the time in UTC."""
    file = io.StringIO()
    log = log_to(file, as_json=True)

    for event in (request_ended(), request_ended("lost"), Held("429", 3.0), SourceRead(5)):
        log(event)

    rows = [orjson.loads(line) for line in file.getvalue().splitlines()]
    assert [(row["event"], row["level"]) for row in rows] == [
        ("request_ended", "info"),
        ("request_ended", "warning"),
        ("held", "warning"),
        ("source_read", "info"),
    ]
    assert rows[0]["client_request_id"] == "c"
    assert rows[0]["request_id"] == "r"
    assert rows[0]["latency_s"] == 0.1
    assert rows[0]["timestamp"].endswith("Z")
    assert rows[3]["tasks"] == 5


def test_each_change_of_the_limit_is_in_the_log() -> None:
    """
    With its reason, and no warning. It is no flood: a change takes the replies of a round,
    each of which has its own line.
    """
    file = io.StringIO()
    log = log_to(file, as_json=True)

    log(LimitChanged(16.0, 15.4, "throttled"))

    row = orjson.loads(file.getvalue())
    assert (row["event"], row["level"]) == ("limit_changed", "info")
    assert (row["old"], row["new"], row["reason"]) == (16.0, 15.4, "throttled")


def test_the_log_as_text() -> None:
    """One line an event, ``key=value``, the event's name in front."""
    file = io.StringIO()
    log = log_to(file, as_json=False)

    log(Anomaly("missing_id", 7, "t1"))
    log(Resumed())

    first, second = file.getvalue().splitlines()
    assert "level='warning' event='anomaly' what='missing_id' attempt=7 task_id='t1'" in first
    assert "level='info' event='resumed'" in second
