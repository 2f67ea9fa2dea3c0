"""NDJSON: one task a line, in flat memory."""

from collections.abc import Container, Sequence
from itertools import count

from bulksubmit.core.account import Place
from bulksubmit.core.limits import BYTES_MAX
from bulksubmit.core.model import Invalid, Kind, Problem
from bulksubmit.core.taskcheck import Checker
from bulksubmit.producer.blocks import to_block, to_sparse_block
from bulksubmit.producer.source import Block

# What one item may take. No task of more than BYTES_MAX can be added; up to this bound it is
# looked at and rejected by its ID, and beyond it only counted.
ITEM_BYTES_MAX = 4 * BYTES_MAX
SHOWN_BYTES = 4096  # Of what is longer, to be shown.

BOM = b"\xef\xbb\xbf"
WHITE = b" \t\r"  # Of a line: blank lines are no tasks, and CR LF ends lines too.


class LineParser:
    """See Parser."""

    form = "line"
    seeks = True
    more = False

    def __init__(
        self,
        name: str,
        *,
        at: Place,
        checker: Checker,
        settled: Container[int] | None = None,
    ) -> None:
        """Parse a file, or the rest of it.

        Args:
            name: For messages.
            at: Where the bytes begin.
            checker: Says what is a task.
            settled: The ordinals of tasks to leave out, unparsed; None for none.
        """
        self.place = at
        self._name, self._checker, self._settled = name, checker, settled
        self._rest = b""  # The beginning of a line whose end is still to come.
        self._dropped = 0  # How many more bytes of it are not kept,
        self._too_long = False  # and whether it is too long for a task by then.

    def feed(self, data: bytes) -> Block:
        """See Parser."""
        lines = data.split(b"\n")
        if len(lines) == 1:
            self._rest += data
            if len(self._rest) > ITEM_BYTES_MAX:
                self._shorten()
            return Block([], self.place)
        size = len(self._rest) + len(data) - len(lines[-1])
        lines[0] = self._rest + lines[0]
        self._rest, lines[-1] = lines[-1], b""
        return self._parse(lines, size)

    def part(self, data: bytes) -> Block:
        """See Parser; the file's last line may have no line end."""
        return self._parse(data.split(b"\n"), len(data))

    def finish(self) -> Block:
        """See Parser."""
        rest, self._rest = self._rest, b""
        return self.part(rest)

    def _shorten(self) -> None:
        """Keep of a line's beginning only what is to be shown, and no blanks in front of it.

        A line of nothing but blanks is no item however long it is, so that a resume, whose cuts
        are others, counts as the first process did.
        """
        rest = self._rest.removeprefix(BOM) if self.place.offset == 0 else self._rest
        kept = rest.lstrip(WHITE)
        if len(kept) > ITEM_BYTES_MAX:
            kept, self._too_long = kept[:SHOWN_BYTES], True
        self._dropped += len(self._rest) - len(kept)
        self._rest = kept

    def _parse(self, lines: list[bytes], size: int) -> Block:
        """The items of whole lines, which have so many bytes, line ends among them."""
        place = self.place
        if place.offset == 0:
            lines[0] = lines[0].removeprefix(BOM)
        bodies = [line.strip(WHITE) for line in lines]
        dropped, self._dropped = self._dropped, 0
        too_long, self._too_long = self._too_long, False
        numbers = range(place.line, place.line + len(bodies))
        if bodies and not bodies[-1]:
            bodies.pop()
        told: Sequence[int] = numbers[: len(bodies)]
        if not all(bodies):
            numbered = [(body, line) for body, line in zip(bodies, count(place.line)) if body]
            bodies, told = [body for body, _ in numbered], [line for _, line in numbered]
        self.place = Place(
            place.ordinal + len(bodies),
            place.offset + size + dropped,
            place.line + len(lines) - 1,
            place.file,
        )
        if too_long or size > ITEM_BYTES_MAX:
            return self._without_too_long(bodies, told, first_too_long=too_long)
        return to_block(
            bodies, told, checker=self._checker, after=self.place, settled=self._settled
        )

    def _without_too_long(
        self, bodies: list[bytes], lines: Sequence[int], *, first_too_long: bool
    ) -> Block:
        """A block in which there are, or may be, lines too long for any task."""
        settled: Container[int] = self._settled or ()
        first = self.place.ordinal - len(bodies)
        items = [
            (body, line, first + at)
            for at, (body, line) in enumerate(zip(bodies, lines, strict=True))
            if first + at not in settled
        ]
        too_long = [
            Invalid(ordinal, line, "", body[:SHOWN_BYTES], (_TOO_LONG,))
            for body, line, ordinal in items
            if len(body) > ITEM_BYTES_MAX or (first_too_long and ordinal == first)
        ]
        known = {invalid.ordinal for invalid in too_long}
        others = [item for item in items if item[2] not in known]
        return to_sparse_block(
            [body for body, _, _ in others],
            [line for _, line, _ in others],
            [ordinal for _, _, ordinal in others],
            checker=self._checker,
            after=self.place,
            known_invalid=too_long,
        )


_TOO_LONG = Problem(
    "",
    Kind.LENGTH,
    f"the line has more than {ITEM_BYTES_MAX:,} bytes, of which only the beginning is kept; one "
    f"task a line is read, and the service takes at most {BYTES_MAX:,} bytes a request",
)
