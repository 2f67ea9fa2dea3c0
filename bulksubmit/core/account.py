"""How far a run is: what was counted of it, and how far its source was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import msgspec


@dataclass(slots=True)
class Counts:
    """What is counted of a run, over all processes that work on it. Other fields as in Report.

    Attributes:
        attempts: Tasks settled, by how many attempts held them, as the process counted that
            settled them; by ``history.attempts_from``. 0: rejected unsent.
    """

    source_complete: bool = False
    total: int = 0
    added: int = 0
    existed: int = 0
    existed_own: int = 0
    rejected: int = 0
    abandoned: int = 0
    requests: int = 0
    retried_requests: int = 0
    throttled_requests: int = 0
    bytes_sent: int = 0
    attempts: dict[int, int] = field(default_factory=dict)

    # All but the attempts.
    NUMBERS: ClassVar[tuple[str, ...]] = (
        *("source_complete", "total", "added", "existed", "existed_own", "rejected", "abandoned"),
        *("requests", "retried_requests", "throttled_requests", "bytes_sent"),
    )

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> Self:
        """What ``numbers`` gave; one that is missing is 0."""
        counts = cls(**{name: numbers[name] for name in cls.NUMBERS if name in numbers})
        counts.source_complete = bool(counts.source_complete)
        return counts

    @property
    def numbers(self) -> dict[str, Any]:
        """All but the attempts, by name: int, but for ``source_complete``."""
        return {name: getattr(self, name) for name in self.NUMBERS}

    @property
    def settled(self) -> int:
        """Tasks whose outcome is final."""
        return self.added + self.existed + self.rejected

    @property
    def converged(self) -> bool:
        """Whether the source was read to its end, and every task of it is settled."""
        return self.source_complete and self.settled == self.total


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where in a source an item begins.

    Attributes:
        ordinal: Of the first item at or after it.
        offset: In the file's bytes (after decompression).
        line: 1-based, in the file.
        file: 0-based number of the file among all of the source.
    """

    ordinal: int
    offset: int
    line: int
    file: int = 0


BEGINNING = Place(0, 0, 1)
