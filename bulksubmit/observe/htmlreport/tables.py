"""The tables of the report."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bulksubmit.core.history import Life, attempts_to
from bulksubmit.observe.causes import WORDS, Cause
from bulksubmit.observe.htmlreport import charts
from bulksubmit.observe.htmlreport.markup import (
    Html,
    duration,
    el,
    moment,
    number,
    share,
    times,
)
from bulksubmit.observe.htmlreport.story import Exceptions, Story
from bulksubmit.observe.htmlreport.timeline import Timeline


def section(title: str, said: str, *content: Html, kind: str | None = None) -> Html:
    """A part of the page with its title, and what is said beside it."""
    return el("section", el("h2", title, " ", el("small", said)), *content, class_=kind)


def table(heads: Sequence[str], rows: Iterable[Html], foot: Html | None = None) -> Html:
    """A table that scrolls on a narrow screen; a head that begins with # is of numbers."""
    cells = [
        el("th", head.removeprefix("#"), class_="n" if head.startswith("#") else None)
        for head in heads
    ]
    head = el("thead", el("tr", *cells)) if any(heads) else Html()
    foot = el("tfoot", foot) if foot else Html()
    return el("div", el("table", head, el("tbody", *rows), foot), class_="wide")


def row(*cells: str | int, kind: str | None = None) -> Html:
    """A row; whole numbers to the right, Html that is a cell as it is."""
    return el("tr", *[_cell(cell) for cell in cells], class_=kind)


def _cell(content: str | int) -> Html:
    if isinstance(content, int):
        return el("td", f"{content:,}", class_="n")
    if isinstance(content, Html) and content.startswith("<td"):
        return content
    return el("td", content)


def _right(text: str) -> Html:
    return el("td", text, class_="n")


def _bar(part: float, most: float, color: str = "blue") -> Html:
    width = 100 * part / most if most else 0.0
    return el("td", el("i", class_=color, style=f"width:{width:.2f}%"), class_="bar")


def account(story: Story) -> Html:
    """What became of the tasks; the five numbers are those read."""
    counts = story.counts
    kinds = (
        ("added", counts.added, "green"),
        ("existed", counts.existed, "teal"),
        ("rejected", counts.rejected, "red"),
        ("abandoned", counts.abandoned, "amber"),
        ("unsettled", story.unsettled, "grey"),
    )
    parts = {
        "existed": ("added by earlier attempts of this run", counts.existed_own),
        "unsettled": ("may have been added", story.in_doubt),
    }
    rows = []
    for name, count, color in kinds:
        key = el("td", el("i", class_=f"key {color}"), name)
        rows.append(row(key, count, _right(share(count, counts.total))))
        what, part = parts.get(name, ("", 0))
        if part:
            rows.append(row(f"of them {what}", part, "", kind="part"))
    stack = [
        el("i", class_=color, style=f"width:{100 * count / counts.total:.3f}%", title=name)
        for name, count, color in kinds
        if count
    ]
    foot = row("tasks read", counts.total, "" if counts.source_complete else "not to the end")
    shown = table(("", "#Tasks", "#Share"), rows, foot)
    return section("What became of the tasks", "", el("div", *stack, class_="stack"), shown)


def limited(story: Story, timeline: Timeline) -> Html:
    """What limited the speed, and what to do about it."""
    causes = story.causes
    total_s = sum(causes.values())
    title = "What limited the speed"
    if not causes:
        return section(title, "", el("p", "Nothing is known of it.", class_="faint"))
    rows = [
        row(
            el("td", el("i", class_=f"key {charts.color(cause)}"), _words(cause)),
            _right(share(seconds, total_s)),
            _right(duration(seconds)),
            _bar(seconds, total_s, charts.color(cause)),
        )
        for cause, seconds in causes.items()
    ]
    advised = next((life for life in reversed(story.lives) if life.advice and life.causes), None)
    said = _advice(story, advised) if advised else Html()
    return section(
        title,
        "share of the time in which nothing could be sent, and why",
        said,
        charts.strip(timeline),
        table(("", "#Share", "#Time", ""), rows, row("in all", "", _right(duration(total_s)), "")),
    )


def _advice(story: Story, life: Life) -> Html:
    most = max(life.causes, key=lambda cause: life.causes[cause])
    of = f" of process {life.number}" if len(story.lives) > 1 else ""
    return el("p", f"Most of the time{of}, by {_words(most)}: {life.advice}.")


def _words(cause: str) -> str:
    return WORDS[Cause(cause)] if cause in set(Cause) else cause


def attempts(story: Story) -> Html:
    """How many tasks needed how many attempts."""
    most = max(story.attempts.values(), default=0)
    rows = [
        row(_attempts(begin), tasks, _right(share(tasks, story.counts.settled)), _bar(tasks, most))
        for begin, tasks in sorted(story.attempts.items())
        if tasks
    ]
    if story.uncounted:
        rows.append(row("not counted, by an earlier version", story.uncounted, "", ""))
    foot = row("settled tasks", story.counts.settled, "", "")
    said = "as counted by the process that settled them"
    return section("Attempts a task", said, table(("Attempts", "#Tasks", "#Share", ""), rows, foot))


def _attempts(begin: int) -> str:
    if begin == 0:
        return "none: rejected unsent"
    end = attempts_to(begin)
    return (
        f"{begin:,}" if end == begin else f"{begin:,} to {end:,}" if end else f"{begin:,} or more"
    )


def requests(story: Story) -> Html:
    """What was sent, and what became of it."""
    counts = story.counts
    rows = [
        row("attempts", counts.requests, ""),
        row(
            "with tasks sent before",
            counts.retried_requests,
            _share(counts.retried_requests, story),
            kind="part",
        ),
        row(
            "throttled",
            counts.throttled_requests,
            _share(counts.throttled_requests, story),
            kind="part",
        ),
        row("without a usable answer", story.lost, _share(story.lost, story), kind="part"),
    ]
    raised = sum(life.limit_raised for life in story.lives)
    rows.append(row("limit on requests in flight raised", raised, ""))
    for reason, count in _summed(life.limit_cut for life in story.lives):
        rows.append(row(f"limit cut: {reason}", count, ""))
    return section("Requests", "", table(("", "#Count", "#Share"), rows))


def troubles(story: Story) -> Html:
    """Why attempts were not simply answered."""
    summed = _summed(life.troubles for life in story.lives)
    if not summed:
        return Html()
    rows = [row(el("td", what, class_="any"), count) for what, count in summed]
    return section("Requests that were not simply answered", "", table(("", "#Count"), rows))


def _summed(each: Iterable[Mapping[str, int]]) -> list[tuple[str, int]]:
    summed = Counter[str]()
    for counts in each:
        summed.update(counts)
    return summed.most_common()


def _share(count: int, story: Story) -> Html:
    return _right(share(count, story.counts.requests))


def exceptions(story: Story) -> Html:
    """The tasks that something is the matter with, by code, with examples."""
    if not story.exceptions:
        return Html()
    rows = [line for group in story.exceptions for line in _group(group, story.source)]
    left_out = story.codes - len(story.exceptions)
    more = f"; {times(left_out, 'code')} more in the journal" if left_out else ""
    said = f"by code, with the first of each{more}"
    heads = ("Tasks", "Code, and where", "Task", "Why", "#Attempts", "Request")
    return section("Exceptions", said, table(heads, rows), kind="long")


def _group(group: Exceptions, source: str) -> list[Html]:
    title = el(
        "td",
        el("b", group.code or "no code"),
        " ",
        el("span", group.verdict, class_="faint"),
        colspan="5",
    )
    lines = [row(el("td", el("b", f"{group.tasks:,}")), title)]
    for example in group.examples:
        where = f"{file_of(example.file, source)}:{example.line}"
        doubt = el("div", "may exist all the same", class_="odd") if example.in_doubt else Html()
        lines.append(
            row(
                "",
                el("td", where, class_="any where"),
                el("td", el("code", example.task_id)),
                el("td", example.message, doubt, class_="any message"),
                example.attempts,
                el("td", el("code", example.request_id)),
            )
        )
    more = group.tasks - len(group.examples)
    if more:
        lines.append(row("", el("td", f"and {more:,} more", class_="faint", colspan="5")))
    return lines


def file_of(file: str, source: str) -> str:
    """How to name a file: if it is all of the source, which is named above, briefly."""
    brief = source.replace("\\", "/").rpartition("/")[2]
    return brief if not file or file in {source, brief} else file


def lives(story: Story) -> Html:
    """The processes that worked on the run."""
    rows = [_life(story, life) for life in story.lives]
    left_out = story.lives[0].number - 1
    said = f"{left_out:,} before these are not on record any more" if left_out else ""
    heads = ("#", "Began", "#For", "Ended", "#Settled", "#Tasks a second", "#Requests", "Version")
    return section("Processes that worked on it", said, table(heads, rows))


def _life(story: Story, life: Life) -> Html:
    samples = story.samples.get(life.number, ())
    settled = sum(sample.settled for sample in samples)
    how = story.how_ended(life)
    kind = {"converged": "good", "killed": "bad", "at work": None}.get(how, "odd")
    return row(
        f"{life.number}",
        el("td", moment(life.begun_at), class_="nb"),
        _right(duration(life.lived_s)),
        el("td", how, class_=f"{kind or ''} message any".strip()),
        settled,
        _right(number(settled / life.lived_s) if life.lived_s else ""),
        sum(sample.requests for sample in samples),
        life.versions.get("bulksubmit", ""),
    )


def settings(story: Story) -> Html:
    """What the last process worked by, and where earlier ones differ."""
    last = story.lives[-1]
    with_origins = any(given.origin for life in story.lives for given in life.settings.values())
    rows = []
    for name, given in last.settings.items():
        others = [
            f"{life.settings[name].value} (process {life.number})"
            for life in story.lives[:-1]
            if name in life.settings and life.settings[name].value != given.value
        ]
        cells = [el("code", name), el("td", given.value, class_="any")]
        cells += [el("td", given.origin or "")] if with_origins else []
        rows.append(row(*cells, el("td", ", ".join(others), class_="any faint")))
    differ = "Earlier" if len(story.lives) > 1 else ""
    heads = ("Setting", "Value", *(("From",) if with_origins else ()), differ)
    said = f"of process {last.number}" if len(story.lives) > 1 else ""
    return section("Settings", said, table(heads, rows), kind="long")


def versions(story: Story) -> Html:
    """What the processes were made of."""
    last = story.lives[-1]
    rows = [row(name, version) for name, version in last.versions.items()]
    return section("Versions", "", table(("", ""), rows))
