"""Where a program's time goes, as a picture: calls from the top down, as wide as they took long.

Samples are taken by a signal that comes with the process's own CPU time, so waiting counts for
nothing. Python hears of a signal when it next enters a function or goes round a loop: what a call
into C took, such as decoding an answer, is put down to whatever Python function comes next in the
same caller. So trust a caller's width more than that of the smallest boxes.
"""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import FrameType
from zlib import crc32

SAMPLE_S = 0.001  # Linux makes it its own tick, often 4 ms.

_WIDTH, _ROW, _TOP = 1200, 17, 40
_NARROWEST = 0.002  # Of the whole; what is narrower is left out.
_CHAR_PX = 6.2  # Of the font, 11 px.
_LIBRARIES = "site-packages/"

# What runs between our own functions and says nothing by itself.
_PASSED_OVER = frozenset({"TaskHandle._run_coro", "guarded"})


@dataclass(slots=True)
class Node:
    """A function as called from one place of the tree.

    Attributes:
        name: Its qualified name, and the module.
        samples: In which it was on the stack here.
        calls: What it called.
    """

    name: str
    samples: int = 0
    calls: dict[str, "Node"] = field(default_factory=dict)


class Sampler:
    """Counts stacks while it runs."""

    def __init__(self) -> None:
        self._stacks: Counter[tuple[str, ...]] = Counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take samples of the main thread."""
        before = signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.signal(signal.SIGPROF, before)

    def _take(self, _signal: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(_name(frame))
            frame = frame.f_back
        self._stacks[tuple(reversed(stack))] += 1

    def tree(self, *, below: Callable[[str], bool]) -> Node:
        """All stacks as one tree.

        Args:
            below: Of a function's name: whether the tree begins with what it calls, so that
                whoever runs the program is left out.
        """
        root = Node("all")
        for stack, count in [*self._stacks.items()]:  # Another may be taken meanwhile.
            begin = max((at + 1 for at, name in enumerate(stack) if below(name)), default=0)
            node = root
            node.samples += count
            for name in stack[begin:]:
                if name.partition(" ")[0].rpartition(".<locals>.")[2] in _PASSED_OVER:
                    continue
                node = node.calls.setdefault(name, Node(name))
                node.samples += count
        return root


def _name(frame: FrameType) -> str:
    code = frame.f_code
    path = code.co_filename.rpartition(_LIBRARIES)[2].split("/")
    return f"{code.co_qualname} ({'/'.join(path[-2:])})"


def draw(root: Node, path: Path, *, title: str) -> None:
    """Write the picture as SVG; each box tells its share when pointed at."""
    boxes = list(_boxes(root, root.samples, 0.0, 0))
    height = _TOP + _ROW * (1 + max(depth for _, _, _, depth in boxes)) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}">',
        "<style>text { font: 11px sans-serif }</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="24">{escape(title)}</text>',
    ]
    for node, left, share, depth in boxes:
        x, width, y = 8 + left * (_WIDTH - 16), share * (_WIDTH - 16), _TOP + depth * _ROW
        chars = int(width / _CHAR_PX) - 1
        text = node.name if len(node.name) <= chars else node.name.partition(" ")[0]
        shown = text if len(text) <= chars else text.rpartition(".")[2][: max(0, chars)]
        lines.append(
            f"<g><title>{escape(node.name)}: {share:.1%}</title>"
            f'<rect x="{x:.1f}" y="{y}" width="{max(0.5, width - 0.6):.1f}" height="{_ROW - 1}" '
            f'fill="{_colour(node.name)}"/>'
            f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(shown)}</text></g>'
        )
    path.write_text("\n".join([*lines, "</svg>\n"]), encoding="utf-8")


def _boxes(
    node: Node, whole: int, left: float, depth: int
) -> Iterator[tuple[Node, float, float, int]]:
    """Each box: its node, where it begins and how wide it is (shares of all), its depth."""
    yield node, left, node.samples / whole, depth
    for call in sorted(node.calls.values(), key=lambda each: -each.samples):
        share = call.samples / whole
        if share >= _NARROWEST:
            yield from _boxes(call, whole, left, depth + 1)
        left += share


def _colour(name: str) -> str:
    """One hue for our own, one for aiohttp, one for the rest; a shade for each module."""
    module = name.partition(" ")[2]
    ours = ("core/", "producer/", "service/", "observe/", "bulksubmit/")
    hue = 28 if module.startswith(tuple(f"({room}" for room in ours)) else 205
    hue = 130 if "aiohttp" in module else hue
    return f"hsl({hue} 70% {72 + crc32(module.encode()) % 14}%)"
