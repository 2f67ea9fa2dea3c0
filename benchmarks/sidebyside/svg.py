"""Two kinds of pictures, written by hand: bars, and lines. Both have scales of decades."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLORS = ("#1f5fa8", "#2a9d8f", "#e08e2b", "#b565a7", "#8a8a8a", "#c8443c")

_WIDTH = 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 54, 40
_NAMES = 150  # Pixels for the names beside bars.
_BAR, _GAP = 11, 10
_LINES_HEIGHT = 380
_STYLE = "font-family='sans-serif' font-size='12' fill='#222'"


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels, logarithmically; in whole decades."""

    least: float
    most: float
    first: float
    last: float

    @classmethod
    def of(cls, values: Sequence[float], first: float, last: float) -> "Scale":
        """A scale that has room for all values."""
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(10.0**low, 10.0 ** max(high, low + 1), first, last)

    def at(self, value: float) -> float:
        """Where a value is."""
        whole = math.log10(self.most / self.least)
        return self.first + (self.last - self.first) * math.log10(value / self.least) / whole

    @property
    def decades(self) -> list[float]:
        """The powers of ten in it."""
        count = round(math.log10(self.most / self.least))
        return [self.least * 10**number for number in range(count + 1)]


def bars(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """Horizontal bars: a group of them for each name, one of a color for each series."""
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    values = [value for group in groups.values() for value in group.values()]
    scale = Scale.of(values, _NAMES, _WIDTH - 70)
    parts = _legend(title, series)
    top = _TOP
    for name, group in groups.items():
        middle = top + _BAR * len(group) / 2 + 4
        parts.append(f"<text x='{_NAMES - 8}' y='{middle}' text-anchor='end'>{escape(name)}</text>")
        for each, value in group.items():
            color, width = COLORS[series.index(each)], max(1.0, scale.at(value) - _NAMES)
            parts.append(
                f"<rect x='{_NAMES}' y='{top}' width='{width:.1f}' height='{_BAR - 1}' "
                f"fill='{color}'/><text x='{_NAMES + width + 4:.1f}' y='{top + _BAR - 2}' "
                f"font-size='10'>{_short(value)}</text>"
            )
            top += _BAR
        top += _GAP
    parts[1:1] = [_upright(scale.at(value), _TOP - 4, top) for value in scale.decades]
    return _picture(parts, top + 6)


def lines(
    title: str,
    across: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    dashed: Sequence[str] = (),
) -> str:
    """Lines of points (x, y), one of a color for each series."""
    points = [point for each in series.values() for point in each]
    x_scale = Scale.of([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    y_scale = Scale.of([y for _, y in points], _LINES_HEIGHT - _BOTTOM, _TOP)
    parts = _legend(title, list(series))
    for value in x_scale.decades:
        x = x_scale.at(value)
        parts.append(_upright(x, _TOP, _LINES_HEIGHT - _BOTTOM))
        below = _LINES_HEIGHT - _BOTTOM + 15
        parts.append(f"<text x='{x:.1f}' y='{below}' text-anchor='middle'>{_short(value)}</text>")
    for value in y_scale.decades:
        y = y_scale.at(value)
        parts.append(f"<path d='M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}' stroke='#ddd'/>")
        parts.append(
            f"<text x='{_LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{_short(value)}</text>"
        )
    for color, (name, each) in zip(COLORS, series.items(), strict=False):
        path = "L".join(f"{x_scale.at(x):.1f} {y_scale.at(y):.1f}" for x, y in each)
        dash = " stroke-dasharray='5 4'" if name in dashed else ""
        parts.append(f"<path d='M{path}' fill='none' stroke='{color}' stroke-width='2'{dash}/>")
        parts += [
            f"<circle cx='{x_scale.at(x):.1f}' cy='{y_scale.at(y):.1f}' r='3' fill='{color}'/>"
            for x, y in each
            if name not in dashed
        ]
    middle = (_LEFT + _WIDTH) / 2
    parts.append(
        f"<text x='{middle}' y='{_LINES_HEIGHT - 6}' text-anchor='middle'>{escape(across)}</text>"
    )
    return _picture(parts, _LINES_HEIGHT)


def _picture(parts: Sequence[str], height: float) -> str:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height:.0f}' {_STYLE}>"
    paper = f"<rect width='{_WIDTH}' height='{height:.0f}' fill='white'/>"
    return "\n".join([head, paper, *parts, "</svg>", ""])


def _legend(title: str, series: Sequence[str]) -> list[str]:
    parts = [f"<text x='8' y='18' font-size='14' font-weight='bold'>{escape(title)}</text>"]
    x = 8.0
    for color, name in zip(COLORS, series, strict=False):
        parts.append(f"<rect x='{x}' y='28' width='10' height='10' fill='{color}'/>")
        parts.append(f"<text x='{x + 14}' y='37'>{escape(name)}</text>")
        x += 30 + 7 * len(name)
    return parts


def _upright(x: float, top: float, bottom: float) -> str:
    return f"<path d='M{x:.1f} {top}V{bottom}' stroke='#ddd'/>"


def _short(value: float) -> str:
    for least, letter in ((1e6, "M"), (1e3, "k")):
        if value >= least:
            return f"{value / least:.3g} {letter}"
    return f"{value:.3g}"
