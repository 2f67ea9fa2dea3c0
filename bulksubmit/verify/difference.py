"""What a source and a job do not have in common: by IDs, and by what the tasks say."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.taskcompare import differences
from bulksubmit.verify.spill import PARTS, Spill

EXAMPLES_MAX = 10  # Of each kind: the first ones.
ASKED_MAX = 1000  # So many missing ones are remembered by ID, to be asked for.


class Kind(StrEnum):
    """How a task of the source and one of the job can differ."""

    MISSING = "missing"  # The job has none of that ID.
    EXTRA = "extra"  # The source has none of that ID.
    CHANGED = "changed"  # The one in the job is another.


@dataclass(frozen=True, slots=True)
class Example:
    """One difference.

    Attributes:
        kind: Which.
        task_id: As the source spells it; for what is extra, the service.
        ordinal: In the source; -1 for what is extra.
        line: In the source; 0 for what is extra.
        fields: Of what is changed, the fields that differ; see core.taskcompare.
    """

    kind: Kind
    task_id: str
    ordinal: int = -1
    line: int = 0
    fields: tuple[str, ...] = ()


# Told of each difference, in no order.
Tell = Callable[[Example], None]


@dataclass(slots=True)
class Difference:
    """What a source and a job do not have in common. IDs are counted once, ignoring case.

    Attributes:
        expected: IDs of the source, without those left out.
        found: IDs of the job.
        counts: How many of each kind.
        repeated: Items of the source with the ID of an earlier one.
        missing: The ordinals of those that are missing.
        some_missing: The IDs of ASKED_MAX of them, chosen by their hashes; of all, if not more.
        examples: The first of each kind: in order of the source, or of IDs.
    """

    expected: int = 0
    found: int = 0
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    repeated: int = 0
    missing: Bitmap = field(default_factory=Bitmap)
    some_missing: list[str] = field(default_factory=list)
    examples: dict[Kind, list[Example]] = field(default_factory=lambda: {k: [] for k in Kind})

    def add(self, example: Example) -> None:
        """Count one."""
        kind = example.kind
        self.counts[kind] += 1
        if kind is Kind.MISSING:
            self.missing.add(example.ordinal)
            if len(self.some_missing) < ASKED_MAX:
                self.some_missing.append(example.task_id)
        examples = self.examples[kind]
        examples.append(example)
        if len(examples) == 10 * EXAMPLES_MAX:
            self.cut()

    def cut(self) -> None:
        """Keep the first examples only."""
        for examples in self.examples.values():
            examples.sort(key=lambda one: (one.ordinal, one.task_id.lower()))
            del examples[EXAMPLES_MAX:]


# --- Records of the two spills ---------------------------------------------------------------

# What is left out has a record as well, without an ordinal: its ID is not an extra one.
_LEFT_OUT = b""


def expected_record(task_id: str, ordinal: int, line: int, body: bytes = b"") -> bytes:
    """An item of the source; its body, on one line, if it is to be compared."""
    return b"%b\t%d\t%d\t%b" % (task_id.encode(), ordinal, line, body)


def left_out_record(task_id: str) -> bytes:
    """An ID of the source that may be there or not."""
    return b"%b\t%b\t\t" % (task_id.encode(), _LEFT_OUT)


def found_record(task_id: str, body: bytes = b"") -> bytes:
    """A task of the job; its body, on one line, if it is to be compared."""
    return b"%b\t%b" % (task_id.encode(), body)


class Comparison:
    """Goes through both spills, a part at a time.

    Attributes:
        parts_done: How many, of PARTS.
    """

    def __init__(self, expected: Spill, found: Spill, *, content: bool, tell: Tell | None) -> None:
        """Compare what both hold, once both are flushed.

        Args:
            expected: Records of the source.
            found: Records of the job; of several about one task the last one counts.
            content: Whether to compare bodies, too; else records have none.
            tell: Told of each difference.
        """
        self._expected, self._found, self._content = expected, found, content
        self._tell = tell
        self.parts_done = 0

    def run(self) -> Difference:
        """Compare; takes seconds at ten million IDs: call it in a thread.

        Raises:
            OutputError: if a temporary file cannot be read.
            ValueError: close() of a spill from another thread ends it so.
            Exception: what ``tell`` raises.
        """
        result = Difference()
        for number in range(PARTS):
            for example in self._compare(number, result):
                result.add(example)
                if self._tell:
                    self._tell(example)
            self.parts_done = number + 1
        result.cut()
        return result

    def _compare(self, number: int, result: Difference) -> Iterator[Example]:
        """The differences of a part; IDs and repeated items are counted in the result."""
        theirs = self._theirs_in(number)
        ours: dict[bytes, Example | None] = {}  # The first of each ID; None for left out.
        changed: dict[bytes, Example | None] = {}  # None once one of that ID is the same.
        for _, record in self._expected.part(number):
            task_id, ordinal, line, body = record.split(b"\t", 3)
            key = task_id.lower()
            if ordinal == _LEFT_OUT:
                ours.setdefault(key, None)
                continue
            there = theirs.get(key)
            if ours.get(key) is not None:
                result.repeated += 1
            elif there:
                ours[key] = _THERE
            else:
                ours[key] = Example(Kind.MISSING, task_id.decode(), int(ordinal), int(line))
            if self._content and there and changed.get(key, _THERE):
                found = self._found.read(there.offset, there.length)
                if fields := differences(body, found):
                    example = Example(
                        Kind.CHANGED, task_id.decode(), int(ordinal), int(line), fields
                    )
                    changed.setdefault(key, example)
                else:
                    changed[key] = None
        expected = [example for example in ours.values() if example]
        result.expected += len(expected)
        result.found += len(theirs)
        yield from (example for example in expected if example is not _THERE)
        yield from (example for example in changed.values() if example)
        for key, there in theirs.items():
            if key not in ours:
                yield Example(Kind.EXTRA, there.task_id.decode())

    def _theirs_in(self, number: int) -> dict[bytes, "_Body"]:
        """The tasks of the job in a part, by folded ID."""
        theirs = {}
        for offset, record in self._found.part(number):
            task_id, _, body = record.partition(b"\t")
            at = offset + len(task_id) + 1
            theirs[task_id.lower()] = _Body(task_id, at, len(body))
        return theirs


class _Body(NamedTuple):
    """Where the body of a task of the job lies: it may be large, and the other is at hand.

    Attributes:
        task_id: As the service spells it.
        offset: In the file of the spill.
        length: Of the body.
    """

    task_id: bytes
    offset: int
    length: int


_THERE = Example(Kind.MISSING, "")  # Stands for an ID that both have.
