"""The report as a page: it adds up, nothing in it is taken for markup, and it is well-formed."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import Counts
from bulksubmit.core.history import Given, Life, Sample, attempts_from
from bulksubmit.observe.causes import WORDS, Cause
from bulksubmit.observe.htmlreport import Example, Exceptions, Story, html_report
from bulksubmit.observe.htmlreport.charts import COLORS, ceiling
from bulksubmit.observe.htmlreport.markup import Html, duration, el, latency, number, share, size
from bulksubmit.observe.htmlreport.timeline import COLUMNS_MAX, WIDTH, Timeline

HOSTILE = "</td><script>alert(1)</script>&amp;\"'<svg onload=x>"
VOID = {"meta", "link"}


class Page(HTMLParser):
    """A page, read by a parser that is not ours.

    Attributes:
        tags: The names of all elements.
        tables: By the title of their section: rows of cells.
        text: All of it.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._open: list[str] = []
        self._title = ""
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name == "src"]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "h2":
            self._title = ""
        if tag == "tr":
            self.tables.setdefault(self._title.strip(), []).append([])
        if tag in {"td", "th"}:
            self.tables[self._title.strip()][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "h2" in self._open and "small" not in self._open:
            self._title += data
        if {"td", "th"} & set(self._open):
            self.tables[self._title.strip()][-1][-1] += data

    def numbers(self, title: str, column: int = 1) -> dict[str, int]:
        """The numbers of a column of a table, by the first cell."""
        rows = [cells for cells in self.tables[title] if len(cells) > column]
        return {
            cells[0]: int(n) for cells in rows if (n := cells[column].replace(",", "")).isdigit()
        }


def sample(begun_s: float = 0.0, **changed: object) -> Sample:
    made = Sample(begun_s, 0.25, 250, 3, 1, 1, 4.5, 4.0, 0.05, 0.08, "throttled")
    return replace(made, **changed)  # type: ignore[arg-type] # of the fields' own types


def life(index: int = 1, ended: str | None = "converged", **changed: object) -> Life:
    made = Life(
        begun_at="2026-01-31T23:59:59+00:00",
        settings={"max_rate": Given("none"), "concurrency": Given("auto")},
        versions={"bulksubmit": "1.0", "Python": "3.11.7"},
        number=index,
        lived_s=1.0,
        ended=ended,
        causes={"throttled": 0.7, "cpu": 0.2},
        advice="a higher quota would help",
        limit_raised=3,
        limit_cut={"throttled": 2},
        troubles={"throttled: HTTP 429": 4},
    )
    return replace(made, **changed)  # type: ignore[arg-type] # of the fields' own types


def story(counts: Counts | None = None, **changed: object) -> Story:
    made = Story(
        run_id="20260131-235959-4f2a1c",
        job_id="night-1",
        endpoint="https://myaccount.westeurope.batch.azure.com",
        source="/data/tasks.jsonl",
        begun_at="2026-01-31T23:59:59+00:00",
        version="1.0",
        state="converged",
        ended="converged",
        counts=counts or Counts(source_complete=True, total=1000, added=1000, requests=12),
        in_doubt=0,
        lives=[life()],
        samples={1: [sample(n / 4) for n in range(4)]},
        attempts={1: 990, 2: 10},
        exceptions=[],
        codes=0,
        made_at="2026-02-01T01:00:00+00:00",
        made_by="1.1",
    )
    return replace(made, **changed)  # type: ignore[arg-type] # of the fields' own types


FEW = st.integers(0, 10**7)


@given(
    st.tuples(FEW, FEW, FEW, FEW, FEW),
    st.tuples(FEW, FEW, FEW),
    st.lists(st.integers(0, 5000), max_size=30),
    st.integers(0, 1),
)
def test_the_numbers_add_up(
    parts: tuple[int, ...], sent: tuple[int, ...], needed: Sequence[int], complete: int
) -> None:
    """
    What became of the tasks is, in sum, what was read; tasks by attempts are what was settled.
    """
    added, existed, rejected, abandoned, unsettled = parts
    settled = added + existed + rejected
    attempts: dict[int, int] = {}
    for each in needed[:settled]:
        attempts[attempts_from(each)] = attempts.get(attempts_from(each), 0) + 1
    counts = Counts(
        source_complete=bool(complete),
        total=sum(parts),
        added=added,
        existed=existed,
        existed_own=existed // 2,
        rejected=rejected,
        abandoned=abandoned,
        requests=sum(sent),
        retried_requests=sent[0],
        throttled_requests=sent[1],
    )

    told = story(counts, attempts=attempts, in_doubt=unsettled // 3, state="unfinished")
    page = Page(html_report(told))

    became = page.numbers("What became of the tasks")
    assert became.pop("tasks read") == sum(parts)
    assert sum(n for name, n in became.items() if not name.startswith("of them")) == sum(parts)
    by_attempts = page.numbers("Attempts a task")
    assert by_attempts.pop("settled tasks") == settled
    assert sum(by_attempts.values()) == settled
    assert page.numbers("Requests")["attempts"] == sum(sent)
    as_json = orjson.loads(orjson.dumps(told.as_dict()))
    names = ("added", "existed", "rejected", "abandoned", "unsettled")
    assert as_json["total"] == sum(as_json[name] for name in names)


def test_nothing_is_taken_for_markup() -> None:
    """
    Whatever a source, a service or a setting says is text: the page runs nothing, loads nothing.
    """
    example = Example(HOSTILE, 7, HOSTILE, 2, in_doubt=True, message=HOSTILE, request_id=HOSTILE)
    evil = life(
        ended=HOSTILE,
        settings={HOSTILE: Given(HOSTILE, HOSTILE)},
        versions={HOSTILE: HOSTILE},
        causes={HOSTILE: 1.0},
        advice=HOSTILE,
        limit_cut={HOSTILE: 1},
        troubles={HOSTILE: 1},
    )
    told = story(
        job_id=HOSTILE,
        endpoint=HOSTILE,
        source=HOSTILE,
        ended=HOSTILE,
        state="unfinished",
        lives=[evil],
        samples={1: [sample(cause=HOSTILE)]},
        exceptions=[Exceptions(HOSTILE, HOSTILE, 5, [example])],
        codes=3,
    )
    page = html_report(told)

    read = Page(page)
    assert "script" not in read.tags
    assert read.text.count(HOSTILE) >= 18
    assert re.findall(r"<script|url\(|https?://(?!www\.w3\.org/2000/svg)", page) == []
    assert len(drawings(page)) == 5


def drawings(page: str) -> list[ET.Element]:
    """Each drawing of a page, read as XML."""
    texts = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    return [ET.fromstring(text) for text in texts]  # noqa: S314 - we have made it


def test_drawings_are_xml() -> None:
    """
    Each drawing is well-formed by itself, and lies within its bounds.
    """
    two = story(
        lives=[life(1, None), life(2)],
        samples={
            1: [sample(n / 4) for n in range(9)],
            2: [sample(0.0, p50_s=None, p95_s=None, requests=0), sample(0.25, cause=None)],
        },
    )
    found = drawings(html_report(two))

    assert len(found) == 5
    for drawing in found:
        assert drawing.attrib["viewBox"] == "0 0 1000 100"
        for rect in drawing.iter("{http://www.w3.org/2000/svg}rect"):
            assert rect.find("{http://www.w3.org/2000/svg}title") is not None
            assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= WIDTH + 0.2
        for path in drawing.iter("{http://www.w3.org/2000/svg}path"):
            assert not re.search(r"nan|inf|e[+-]", path.attrib["d"])


def test_it_says_what_to_do_next() -> None:
    """
    The head has the verdict on the run, and the command that goes on from there.
    """
    counts = Counts(source_complete=True, total=10, added=7, rejected=3, requests=1)
    unfinished = Counts(total=10, added=7, requests=1)
    running = Page(html_report(story(unfinished, state="running", lives=[life(ended=None)])))
    stopped = Page(
        html_report(
            story(unfinished, state="unfinished", ended=None, lives=[life(ended=None)], in_doubt=2)
        )
    )
    rejects = Page(html_report(story(counts)))

    assert "All 1,000 tasks of the source exist." in Page(html_report(story())).text
    assert "At work: 7 of 10 tasks read are settled so far." in running.text
    assert "at work" in running.tables["Processes that worked on it"][1]
    assert "runs resume" not in running.text
    verdict = "Not finished: 7 of 10 tasks read are settled, 2 of the others may have been added."
    assert f"{verdict} It ended with: the process was cut off." in stopped.text
    assert "killed" in stopped.tables["Processes that worked on it"][1]
    assert "bulksubmit runs resume 20260131-235959-4f2a1c" in stopped.text
    assert "All 10 tasks of the source are settled; 3 were rejected." in rejects.text
    assert "runs export 20260131-235959-4f2a1c --what rejected --to mended.jsonl" in rejects.text


def test_settings_show_their_origin_if_it_is_known() -> None:
    """
    With origins there is a column for them; what an earlier process worked by is beside it.
    """
    plain = Page(html_report(story()))
    earlier = life(1, settings={"max_rate": Given("500", "flag")})
    told = Page(
        html_report(
            story(lives=[earlier, life(2, settings={"max_rate": Given("none", "default")})])
        )
    )

    assert plain.tables["Settings"][:2] == [["Setting", "Value", ""], ["max_rate", "none", ""]]
    assert told.tables["Settings"] == [
        ["Setting", "Value", "From", "Earlier"],
        ["max_rate", "none", "default", "500 (process 1)"],
    ]


def test_a_run_of_an_older_version_has_no_curves() -> None:
    """
    What its journal does not have is said, and the account is there.
    """
    page = Page(html_report(story(lives=[], samples={}, attempts={})))

    assert "there are no curves" in page.text
    assert page.numbers("What became of the tasks")["added"] == 1000
    assert "svg" not in page.tags


def test_exceptions_have_examples() -> None:
    """
    Each code has its count, its first tasks, and where the source has them.
    """
    example = Example("tasks.jsonl", 42, "t-42", 2, in_doubt=True, message="no", request_id="r-1")
    groups = [Exceptions("rejected", "InvalidPropertyValue", 5, [example])]
    page = Page(html_report(story(exceptions=groups, codes=3)))

    assert page.tables["Exceptions"][1:] == [
        ["5", "InvalidPropertyValue rejected"],
        ["", "tasks.jsonl:42", "t-42", "nomay exist all the same", "2", "r-1"],
        ["", "and 4 more"],
    ]
    assert "2 codes more in the journal" in page.text


@given(
    st.lists(st.lists(st.floats(0.001, 1000.0), max_size=400), max_size=6),
)
def test_moments_are_in_order(spans: list[list[float]]) -> None:
    """
    Processes lie side by side in order, apart from each other, in the picture; and not too many
    samples of them are drawn.
    """
    lives, samples = [], {}
    for index, each in enumerate(spans, start=1):
        row: list[Sample] = []
        for span_s in each:
            row.append(sample(row[-1].end_s if row else 0.0, span_s=span_s))
        lives.append(life(index))
        samples[index] = row
    timeline = Timeline(lives, samples)

    xs = [x for s in timeline.stretches for x in (s.x, s.x + s.width)]
    assert xs == sorted(xs)
    assert len(timeline.stretches) == sum(map(bool, spans))
    assert xs[:1] in ([], [0.0])
    assert xs[-1:] in ([], [pytest.approx(WIDTH)])
    assert sum(len(s.samples) for s in timeline.stretches) <= COLUMNS_MAX
    ticks = timeline.ticks if timeline.stretches else []
    assert [x for x, _ in ticks] == sorted(x for x, _ in ticks)
    assert len(ticks) <= 7


def test_each_cause_has_its_words_and_its_colour() -> None:
    """
    None is forgotten that may come.
    """
    assert set(Cause) == set(WORDS) == set(COLORS)


def test_figures_for_a_person() -> None:
    """
    Short, with units, and never 100 % of what is not all.
    """
    assert [number(n) for n in (12345.0, 9.84, 0.251, 0.0, 12.5)] == [
        "12,345",
        "9.8",
        "0.25",
        "0",
        "12",
    ]
    assert [share(n, 100_000) for n in (0, 1, 50_000, 99_999, 100_000)] == [
        *("0 %", "0.1 %", "50.0 %", "99.9 %", "100 %")
    ]
    assert share(0, 0) == "0 %"
    seconds = (0.0, 0.01, 9.94, 42.4, 185.0, 7800.0, 277_200.0)
    assert [duration(s) for s in seconds] == [
        *("0.0 s", "under 0.1 s", "9.9 s", "42 s", "3 min 05 s", "2 h 10 min", "3 days 5 h")
    ]
    assert [latency(s) for s in (0.0483, 1.234)] == ["48 ms", "1.2 s"]
    assert [size(n) for n in (812, 1_234_567)] == ["812 B", "1.2 MB"]
    assert [ceiling(n) for n in (0, 0.3, 1, 3, 47, 51, 100)] == [
        1,
        pytest.approx(0.4),
        1,
        4,
        50,
        100,
        100,
    ]


def test_text_is_escaped_and_markup_is_not() -> None:
    """
    Only what is made as an element is one.
    """
    assert (
        el("td", "<b>", el("b", "&"), title='"') == '<td title="&quot;">&lt;b&gt;<b>&amp;</b></td>'
    )
    assert isinstance(el("td"), Html)
