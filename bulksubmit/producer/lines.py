"""NDJSON: one task a line, in flat memory."""

from collections.abc import Container
from itertools import count

from bulksubmit.core.account import Place
from bulksubmit.core.partitioner import BYTES_MAX
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.blocks import to_block
from bulksubmit.producer.source import Block

# What one item may take. No task of more than BYTES_MAX can be added; up to this bound it is
# rejected by its ID, and beyond it the file is no file of tasks.
ITEM_BYTES_MAX = 4 * BYTES_MAX

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

    def feed(self, data: bytes) -> Block:
        """See Parser."""
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
            if len(self._rest) > ITEM_BYTES_MAX:
                reason = (
                    f"the line has more than {ITEM_BYTES_MAX:,} bytes; one task a line is read, "
                    f"and the service takes at most {BYTES_MAX:,} bytes a request"
                )
                raise SourceError(self._name, self.place.line, reason)
            return Block([], self.place)
        data, self._rest = self._rest + data[: end + 1], data[end + 1 :]
        return self._parse(data)

    def part(self, data: bytes) -> Block:
        """See Parser; the file's last line may have no line end."""
        return self._parse(data)

    def finish(self) -> Block:
        """See Parser."""
        rest, self._rest = self._rest, b""
        return self._parse(rest)

    def _parse(self, data: bytes) -> Block:
        place = self.place
        lines = (data.removeprefix(BOM) if place.offset == 0 else data).split(b"\n")
        bodies = [line.strip(WHITE) for line in lines]
        numbers = range(place.line, place.line + len(bodies))
        if bodies and not bodies[-1]:
            bodies.pop()
        if not all(bodies):
            numbered = [(body, line) for body, line in zip(bodies, count(place.line)) if body]
            bodies, told = [body for body, _ in numbered], [line for _, line in numbered]
        else:
            told = [*numbers[: len(bodies)]]
        self.place = Place(
            place.ordinal + len(bodies),
            place.offset + len(data),
            place.line + data.count(b"\n"),
            place.file,
        )
        return to_block(
            bodies, told, checker=self._checker, after=self.place, settled=self._settled
        )
