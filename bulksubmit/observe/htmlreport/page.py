"""The report of a run, put together."""

from bulksubmit.observe.htmlreport import tables
from bulksubmit.observe.htmlreport.charts import Curve, chart
from bulksubmit.observe.htmlreport.markup import (
    Html,
    duration,
    el,
    latency,
    moment,
    number,
    share,
    size,
    times,
)
from bulksubmit.observe.htmlreport.story import Story
from bulksubmit.observe.htmlreport.style import STYLE
from bulksubmit.observe.htmlreport.timeline import Timeline


def about(run_id: str) -> str:
    """What the head of a run's page says, by which it is known again."""
    return f"bulksubmit: report of run {run_id}"


def html_report(story: Story) -> str:
    """The page: UTF-8 that opens offline."""
    body = el("body", _head(story), _tiles(story), *_parts(story), _foot(story))
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("title", about(story.run_id)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # The page loads nothing, and whatever a task's message may hold can make it load nothing.
        el(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        ),
        el("link", rel="icon", href="data:,"),
        el("style", Html(STYLE)),
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _parts(story: Story) -> list[Html]:
    if not story.lives:
        why = "No process has left a record of how it went: there are no curves, and no settings."
        return [
            tables.account(story),
            tables.exceptions(story),
            tables.requests(story),
            tables.section("Over time", "", el("p", why, class_="faint")),
        ]
    timeline = Timeline(story.lives, story.samples)
    side_by_side = el("div", tables.account(story), tables.attempts(story), class_="two")
    return [
        side_by_side,
        tables.exceptions(story),
        *([el("div", *_charts(timeline), class_="two")] if timeline.stretches else []),
        tables.limited(story, timeline),
        el("div", tables.requests(story), tables.troubles(story), class_="two"),
        tables.lives(story),
        el("div", tables.settings(story), tables.versions(story), class_="two top"),
    ]


def _charts(timeline: Timeline) -> list[Html]:
    pauses = " (shaded: pauses between processes)" if len(timeline.stretches) > 1 else ""
    return [
        chart(
            "Tasks settled a second",
            f"over the time at work{pauses}",
            timeline,
            [Curve("settled", "blue", lambda s: s.settled / s.span_s, filled=True)],
        ),
        chart(
            "Requests in flight",
            "and the limit on them",
            timeline,
            [
                Curve("in flight", "blue", lambda s: s.in_flight, filled=True),
                Curve("limit", "violet", lambda s: s.limit),
            ],
        ),
        chart(
            "Latency of requests",
            "with their answers",
            timeline,
            [
                Curve("95 % took at most", "amber", lambda s: s.p95_s, shown=latency),
                Curve("half took at most", "blue", lambda s: s.p50_s, shown=latency),
            ],
        ),
        chart(
            "Requests a second",
            "and those that failed",
            timeline,
            [
                Curve("all", "grey", lambda s: s.requests / s.span_s, filled=True),
                Curve("throttled", "red", lambda s: s.throttled / s.span_s),
                Curve("lost", "amber", lambda s: s.lost / s.span_s),
            ],
        ),
    ]


def _head(story: Story) -> Html:
    kind = {"converged": "good", "running": "odd", "unfinished": "bad"}[story.state]
    facts = {
        "job": story.job_id,
        "account": story.endpoint,
        "source": story.source,
        "begun": moment(story.begun_at),
        "this page": f"of {moment(story.made_at)}",
    }
    listed = [piece for name, fact in facts.items() for piece in (el("dt", name), el("dd", fact))]
    next_ = [
        el("p", f"{what}: ", el("code", command), class_="next")
        for what, command in _ways_on(story)
    ]
    return el(
        "header",
        el("h1", f"Run {story.run_id} ", el("span", story.state, class_=f"badge {kind}")),
        el("p", _verdict(story), class_="verdict"),
        *next_,
        el("dl", *listed),
    )


def _verdict(story: Story) -> str:
    counts = story.counts
    read = times(counts.total, "task")
    settled = f"{counts.settled:,} of {read} read are settled"
    if story.state == "running":
        return f"At work: {settled} so far."
    if story.state == "converged":
        if not counts.rejected:
            return f"All {read} of the source exist."
        verb = "was" if counts.rejected == 1 else "were"
        return f"All {read} of the source are settled; {counts.rejected:,} {verb} rejected."
    why = story.ended or "the process was cut off"
    doubt = f", {story.in_doubt:,} of the others may have been added" if story.in_doubt else ""
    return f"Not finished: {settled}{doubt}. It ended with: {why}."


def _ways_on(story: Story) -> list[tuple[str, str]]:
    ways = []
    if story.state == "unfinished":
        ways.append(("Go on", f"bulksubmit runs resume {story.run_id}"))
    if story.counts.rejected:
        export = f"bulksubmit runs export {story.run_id} --what rejected --to mended.jsonl"
        ways.append(("Rejected tasks, to be mended", export))
    return ways


def _tiles(story: Story) -> Html:
    counts, rate = story.counts, story.tasks_per_s
    bad = counts.throttled_requests + story.lost
    tiles = (
        ("Tasks read", number(counts.total), "" if counts.source_complete else "and more to come"),
        (
            "Settled",
            share(counts.settled, counts.total),
            f"{counts.settled:,} tasks"
            if counts.source_complete
            else f"of the tasks read: {counts.settled:,}",
        ),
        ("Tasks a second", "not known" if rate is None else number(rate), "on average, at work"),
        ("At work", duration(story.worked_s), times(len(story.lives), "process", "processes")),
        ("Requests", number(counts.requests), f"{size(counts.bytes_sent)} of tasks"),
        ("Failed requests", share(bad, counts.requests), "throttled, or without answer"),
    )
    cells = [
        el("div", name, el("b", value), el("span", more, class_="faint"))
        for name, value, more in tiles
    ]
    return el("div", *cells, class_="tiles")


def _foot(story: Story) -> Html:
    made = f"Made by bulksubmit {story.made_by}, at {moment(story.made_at)}, from the run's journal"
    begun = f"; the run was begun by version {story.version}."
    return el("footer", made, begun, " Times of the curves are of work, pauses left out.")
