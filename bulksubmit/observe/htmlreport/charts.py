"""What went on over time, as inline SVG.

A drawing is 1,000 wide and 100 high, and stretched to its place; so its words are HTML beside it,
which would be stretched with it otherwise. Each sample has a column that tells its figures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bulksubmit.core.history import Sample
from bulksubmit.observe.causes import SHORT, Cause
from bulksubmit.observe.htmlreport.markup import Html, duration, el, joined, number
from bulksubmit.observe.htmlreport.timeline import WIDTH, Stretch, Timeline

HEIGHT = 100.0
_MINUTE_S = 60
_LAST_X = 0.93  # A word further right than this ends where its moment is.

COLORS = {
    Cause.THROTTLED: "red",
    Cause.SLOW: "amber",
    Cause.FAILING: "red light",
    Cause.FINDING: "teal",
    Cause.CONCURRENCY: "violet",
    Cause.MAX_RATE: "violet light",
    Cause.BUFFER: "violet light",
    Cause.CPU: "blue",
    Cause.DISK: "blue light",
    Cause.SOURCE: "green",
    Cause.CONSUMER: "green light",
    Cause.RETRIES: "amber light",
    Cause.REPLIES: "grey",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure over time.

    Attributes:
        name: What it is.
        color: A class of colours.
        value: The figure of a sample; None if it has none.
        filled: Whether the area below is filled.
        shown: The figure for a person.
    """

    name: str
    color: str
    value: Callable[[Sample], float | None]
    filled: bool = False
    shown: Callable[[float], str] = number


def chart(title: str, said: str, timeline: Timeline, curves: Sequence[Curve]) -> Html:
    """A section with curves over time.

    Args:
        title: Its title.
        said: More of it, beside the title.
        timeline: Where moments are.
        curves: With figures of one kind, from 0 upwards.
    """
    values = [
        value
        for stretch in timeline.stretches
        for sample in stretch.samples
        for curve in curves
        if (value := curve.value(sample)) is not None
    ]
    top = ceiling(max(values, default=0.0))
    shown = curves[0].shown
    inside = [_line(HEIGHT * (1 - part), "grid") for part in (0.0, 0.5, 1.0)]
    inside += [_path(s, curve, top) for curve in curves for s in timeline.stretches]
    inside += [
        _column(s, sample, _figures(sample, curves))
        for s in timeline.stretches
        for sample in s.samples
    ]
    marks = [
        el("span", shown(top * part), class_="y", style=f"bottom:{100 * part:g}%")
        for part in (0.0, 0.5, 1.0)
    ]
    keys = [el("span", el("i", class_=curve.color), curve.name) for curve in curves]
    return el(
        "section",
        el("h2", title, " ", el("small", said)),
        el("div", *keys, class_="legend"),
        _plot(title, timeline, inside, marks),
    )


def strip(timeline: Timeline) -> Html:
    """What limited the speed, over time, as one band."""
    inside = [piece for s in timeline.stretches for piece in _pieces(s)]
    return _plot("What limited the speed, over time", timeline, inside, [], kind="plot strip")


def color(cause: str | None) -> str:
    """The class of a cause's colour."""
    return COLORS[Cause(cause)] if cause in set(Cause) else "grey light"


def in_short(cause: str | None) -> str:
    """A cause in a few words."""
    return SHORT[Cause(cause)] if cause in set(Cause) else "not known"


def ceiling(value: float) -> float:
    """The least of 1, 2, 4, 5 and their tens that is not less than a value; 1 for none."""
    if value <= 0:
        return 1.0
    tens = 10.0 ** math.floor(math.log10(value))
    return next((tens * n for n in (1, 2, 4, 5) if tens * n >= value), 10 * tens)


def _plot(
    title: str,
    timeline: Timeline,
    inside: Sequence[Html],
    marks: Sequence[Html],
    kind: str = "plot",
) -> Html:
    pauses = [
        el("rect", el("title", "a pause"), class_="pause", x=x, y=0, width=width, height=HEIGHT)
        for x, width in timeline.pauses
    ]
    drawing = el(
        "svg",
        *pauses,
        *inside,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=title,
    )
    return el("div", drawing, *marks, *_times(timeline), class_=kind)


def _times(timeline: Timeline) -> list[Html]:
    words = []
    for x, seconds in timeline.ticks:
        place = "x first" if x == 0 else "x last" if x > _LAST_X * WIDTH else "x"
        text = (
            "0" if seconds == 0 else f"{seconds:g} s" if seconds < _MINUTE_S else duration(seconds)
        )
        words.append(el("span", text, class_=place, style=f"left:{100 * x / WIDTH:.2f}%"))
    return words


def _line(y: float, kind: str) -> Html:
    return el("line", class_=kind, x1=0, y1=y, x2=WIDTH, y2=y)


def _path(stretch: Stretch, curve: Curve, top: float) -> Html:
    """A curve in steps: each sample is of a span. Where there is no figure, there is no line."""
    steps: list[str] = []
    drawn_to: float | None = None
    for sample in stretch.samples:
        value = curve.value(sample)
        if value is None:
            continue
        x, end = stretch.at(sample.begun_s), stretch.at(sample.end_s)
        y = HEIGHT * (1 - value / top)
        begins = drawn_to is None or x > drawn_to + 0.01
        if curve.filled:
            steps.append(f"M{x:.2f} {HEIGHT:g}V{y:.2f}H{end:.2f}V{HEIGHT:g}Z")
        else:
            steps.append(f"{'M' if begins else 'L'}{x:.2f} {y:.2f}H{end:.2f}")
        drawn_to = end
    kind = "area" if curve.filled else "line"
    return el("path", class_=f"{kind} {curve.color}", d="".join(steps)) if steps else Html()


def _figures(sample: Sample, curves: Sequence[Curve]) -> str:
    values = [(curve, curve.value(sample)) for curve in curves]
    return "; ".join(f"{c.name}: {'none' if v is None else c.shown(v)}" for c, v in values)


def _column(stretch: Stretch, sample: Sample, text: str) -> Html:
    x, end = stretch.at(sample.begun_s), stretch.at(sample.end_s)
    when = duration(stretch.worked_s + sample.begun_s)
    title = el("title", f"from {when}, for {duration(sample.span_s)}: {text}")
    return el("rect", title, class_="hover", x=x, y=0, width=max(end - x, 0.1), height=HEIGHT)


def _pieces(stretch: Stretch) -> list[Html]:
    pieces = []
    samples = list(stretch.samples)
    while samples:
        cause = samples[0].cause
        count = next((n for n, s in enumerate(samples) if s.cause != cause), len(samples))
        begun_s, end_s = samples[0].begun_s, samples[count - 1].end_s
        x, when = stretch.at(begun_s), duration(stretch.worked_s + begun_s)
        words = f"from {when}, for {duration(end_s - begun_s)}: {in_short(cause)}"
        width = max(stretch.at(end_s) - x, 0.1)
        pieces.append(
            el(
                "rect",
                el("title", words),
                class_=color(cause),
                x=x,
                y=0,
                width=width,
                height=HEIGHT,
            )
        )
        del samples[:count]
    return pieces


def legend(causes: Sequence[str]) -> Html:
    """Which colour is which cause."""
    keys = [el("span", el("i", class_=color(cause)), in_short(cause)) for cause in causes]
    return el("div", joined(keys), class_="legend")
