"""Where in a picture a moment of a run is: processes side by side, with pauses between them.

A pause may be a hundred times as long as all the work: it has the same small width, however long.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bulksubmit.core.history import Life, Sample, thinned

WIDTH = 1000.0
COLUMNS_MAX = 240  # More samples than these are drawn as fewer: no screen would show them.
_PAUSE, _PAUSES = 16.0, 160.0  # The width of one, and of all of them at most.
_TICKS_MAX = 6
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A process in the picture.

    Attributes:
        life: Which.
        samples: Of it, not too many.
        x: Where it begins.
        width: How wide it is.
        worked_s: How long others had worked before.
        lived_s: How long it did.
    """

    life: Life
    samples: Sequence[Sample]
    x: float
    width: float
    worked_s: float
    lived_s: float

    def at(self, seconds: float) -> float:
        """Where a moment is, in seconds since its begin."""
        return self.x + self.width * min(seconds / self.lived_s, 1.0)


class Timeline:
    """All processes in the picture that have samples.

    Attributes:
        stretches: From left to right.
        worked_s: How long they worked together.
    """

    def __init__(self, lives: Sequence[Life], samples: Mapping[int, Sequence[Sample]]) -> None:
        known = [(life, samples[life.number]) for life in lives if samples.get(life.number)]
        lived_s = [each[-1].end_s for _, each in known]
        self.worked_s = sum(lived_s)
        pauses = max(len(known) - 1, 0)
        pause = min(_PAUSE, _PAUSES / pauses) if pauses else 0.0
        scale = (WIDTH - pause * pauses) / self.worked_s if known else 0.0
        self.stretches: list[Stretch] = []
        shown = _few([each for _, each in known])
        x = worked_s = 0.0
        for (life, _), few, seconds in zip(known, shown, lived_s, strict=True):
            self.stretches.append(Stretch(life, few, x, seconds * scale, worked_s, seconds))
            x, worked_s = x + seconds * scale + pause, worked_s + seconds

    @property
    def pauses(self) -> Iterator[tuple[float, float]]:
        """Where pauses are: x and width."""
        for before, after in zip(self.stretches, self.stretches[1:], strict=False):
            end = before.x + before.width
            yield end, after.x - end

    @property
    def ticks(self) -> list[tuple[float, float]]:
        """Where to name the time: x, and seconds of work."""
        least_s = self.worked_s / _TICKS_MAX
        step_s = next((s for s in _STEPS_S if s >= least_s), 3600.0 * math.ceil(least_s / 3600))
        every = [n * step_s for n in range(int(self.worked_s / step_s) + 1)]
        return [(self._x(seconds), seconds) for seconds in every]

    def _x(self, worked_s: float) -> float:
        for stretch in reversed(self.stretches):
            if worked_s >= stretch.worked_s:
                return stretch.at(worked_s - stretch.worked_s)
        return 0.0


def _few(samples: Sequence[Sequence[Sample]]) -> list[Sequence[Sample]]:
    few = list(samples)
    while sum(map(len, few)) > COLUMNS_MAX and any(len(each) > 1 for each in few):
        few = [thinned(each) for each in few]
    return few
