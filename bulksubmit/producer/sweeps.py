"""Parameter sweeps: a task for every combination of values, none of them kept anywhere.

The combinations are numbered like the figures of a number: the last parameter runs quickest. So
which values an ordinal stands for is arithmetic, and a resume begins anywhere at once.
"""

import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import IO

import anyio.lowlevel
import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.blocks import to_sparse_block
from bulksubmit.producer.source import Admit, Block, Done
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.producer.template import Template

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RANGE = re.compile(r"(-?\d{1,15})\.\.(-?\d{1,15})(?:\.\.(-?\d{1,15}))?", re.ASCII)
_LIKE_A_RANGE = re.compile(r"(?<![\\.])\.\.")
# A backslash is itself, but before a comma, another one, or two dots.
_LETTER = re.compile(r"\\([\\,]|\.(?=\.))|(,)|(.)", re.DOTALL)
_VALUE = re.compile(r"(?:\\[\\,]|[^,])++")  # As it is written.
_SHOWN_LENGTH_MAX = 40  # Of a value, where a task is named by its values.


class Parameter(msgspec.Struct, frozen=True):
    """A parameter and what it runs through.

    Attributes:
        name: As placeholders have it.
        values: A range is counted, never listed.
        width: Numbers are filled up to it with zeros.
    """

    name: str
    values: range | tuple[str, ...]
    width: int = 0

    def texts(self, first: int, end: int) -> list[str]:
        """Some of the values as text."""
        some = self.values[first:end]
        if isinstance(some, tuple):
            return [*some]
        if not self.width:
            return [*map(str, some)]
        return [f"{value:0{self.width}d}" for value in some]


def read_parameter(text: str, *, name: str) -> Parameter:
    """What ``i=1..1000``, ``i=0001..1000``, ``i=0..100..5`` or ``mode=fast,slow`` means.

    Args:
        text: A name, and a range (both ends belong to it, as in the shell) or values. A comma
            within a value has a backslash before it.
        name: Of the source, for messages.

    Raises:
        SourceError: if it means none of these, or no value, or one twice.
    """
    parameter, found, values = text.partition("=")
    if not found or not _NAME.fullmatch(parameter):
        reason = f"{text!r} is no parameter; write name=1..1000 or name=fast,slow"
        raise SourceError(name, None, reason)
    try:
        if match := _RANGE.fullmatch(values):
            return Parameter(parameter, *_counted(match[1], match[2], match[3]))
        return Parameter(parameter, _listed(values))
    except ValueError as error:
        raise SourceError(name, None, f"{parameter}={values}: {error}") from error


def _counted(first: str, last: str, step: str | None) -> tuple[range, int]:
    begin, end, by = int(first), int(last), int(step or 1)
    if not by:
        raise ValueError("the step is 0; the range would never end")
    if begin <= end and by < 0:
        raise ValueError("the range is empty: the step leads away from its end")
    way = 1 if begin <= end else -1
    padded = any(len(each.lstrip("-")) > 1 and each.lstrip("-")[0] == "0" for each in (first, last))
    return range(begin, end + way, way * abs(by)), max(len(first), len(last)) if padded else 0


def _listed(text: str) -> tuple[str, ...]:
    values = [""]
    for escaped, comma, letter in _LETTER.findall(text):
        if comma:
            values.append("")
        else:
            values[-1] += escaped or letter
    if len(values) == 1 and _LIKE_A_RANGE.search(text):
        raise ValueError(
            r"is no range of whole numbers, such as 1..1000 or 0..100..5; if it is a value, "
            r"write \.. for its two dots"
        )
    for value in _VALUE.findall(text):
        if _RANGE.fullmatch(value):
            meant = value.replace("..", r"\..")
            reason = f"mixes a range with values; write all values, or {meant} if it is one"
            raise ValueError(reason)
    if "" in values:
        what = "there is no value" if len(values) == 1 else "one of the values is empty"
        raise ValueError(f"{what}; write them with commas between, such as fast,slow")
    seen: set[str] = set()
    for value in values:
        value.encode()  # Half a surrogate pair, from a command line that is not UTF-8.
        if value in seen:
            raise ValueError(f"the value {value!r} is given twice; its tasks would be too")
        seen.add(value)
    return tuple(values)


class _Figure(msgspec.Struct, frozen=True):
    """A parameter's place among the others.

    Attributes:
        parameter: Itself.
        stride: How many tasks in a row have one value of it.
    """

    parameter: Parameter
    stride: int

    def column(self, first: int, end: int) -> list[str]:
        """The parameter's value for each of some ordinals."""
        count, wanted = len(self.parameter.values), end - first
        period = self.stride * count
        if period <= wanted:
            whole = [text for text in self.parameter.texts(0, count) for _ in range(self.stride)]
            start = first % period
            return (whole * (wanted // period + 2))[start : start + wanted]
        column: list[str] = []
        while first < end:
            index, within = first // self.stride % count, first % self.stride
            if self.stride == 1:
                texts = self.parameter.texts(index, min(index + end - first, count))
            else:
                times = min(self.stride - within, end - first)
                texts = self.parameter.texts(index, index + 1) * times
            column += texts
            first += len(texts)
        return column


class SweepSource:
    """A task for every combination of parameters' values.

    A template without an id gets one: the values in the order of the parameters, with hyphens
    between, such as ``17-fast``. It is the same whenever the sweep is read.
    """

    bytes_total: int | None = None
    bytes_read = 0

    def __init__(
        self, spec: SourceSpec, *, name: str, checker: Checker, tasks: range | None = None
    ) -> None:
        """Look at a sweep.

        Args:
            spec: With a template and at least one parameter.
            name: For messages.
            checker: Says what is a task.
            tasks: Which of its tasks are read, the first being task 0; None for all. Ordinals
                count those that are read; lines, from 1, count them all.

        Raises:
            SourceError: if it is no sweep.
        """
        self.name, self.checker = name, checker
        self.spec: SourceSpec | None = spec
        if spec.files:
            reason = "a sweep is no file's: give either files or --sweep"
            raise SourceError(spec.label, None, reason)
        if spec.template is None:
            reason = "gives parameters and no task; name a template by --template"
            raise SourceError(name, None, reason)
        parameters = [read_parameter(text, name=name) for text in spec.sweeps]
        names = [parameter.name for parameter in parameters]
        for each in names:
            if names.count(each) > 1:
                reason = f"the parameter {each!r} is given twice; put its values into one list"
                raise SourceError(name, None, reason)
        template = Template(
            spec.template,
            name=name if spec.name else spec.template_name,
            allow_unused=spec.allow_unused,
            id_unless_given="-".join(f"{{{each}}}" for each in names),
        )
        self._filler = template.on(names, of="the sweep", noun="parameter")
        counts = [len(parameter.values) for parameter in parameters]
        self.tasks_total = prod(counts)
        self._tasks = range(self.tasks_total) if tasks is None else tasks
        self._figures = [
            _Figure(parameter, prod(counts[number + 1 :]))
            for number, parameter in enumerate(parameters)
        ]

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        """See Source."""
        for block in self._blocks(done):
            await admit(block)
            await anyio.lowlevel.checkpoint()

    async def copy(self, to: IO[bytes]) -> None:
        """See Source; a task a line."""
        for block in self._blocks(None):
            to.writelines(item.body + b"\n" for item in block.items)

    def file_of(self, ordinal: int) -> str:  # noqa: ARG002 - as Source has it
        """See Source."""
        return self.name

    def where(self, ordinal: int, line: int) -> str:  # noqa: ARG002 - as Source has it
        """See Source."""
        task = self._tasks.start + ordinal
        values = ", ".join(
            f"{figure.parameter.name}={_short(figure.column(task, task + 1)[0])}"
            for figure in self._figures
        )
        return f"{self.name}: task {task + 1} ({values})"

    def close(self) -> None:
        """See Source: nothing is open."""

    def _blocks(self, done: Done | None) -> Iterator[Block]:
        size, count = self._filler.rows_max, len(self._tasks)
        for first in range(0, count, size):
            end = min(first + size, count)
            if done is None:
                yield self._block(range(first, end), first, end)
            elif done.settled.missing(first, end):
                left = [ordinal for ordinal in range(first, end) if ordinal not in done.settled]
                yield self._block(left, first, end)
            elif end == count:
                yield self._block([], end, end)

    def _block(self, ordinals: Sequence[int], first: int, end: int) -> Block:
        before = self._tasks.start
        by_name = {
            each.parameter.name: each.column(before + first, before + end) for each in self._figures
        }
        columns = [by_name[name] for name in self._filler.names]
        if len(ordinals) < end - first:
            columns = [[column[at - first] for at in ordinals] for column in columns]
        return to_sparse_block(
            self._filler.fill(columns, len(ordinals)),
            [before + ordinal + 1 for ordinal in ordinals],
            ordinals,
            checker=self.checker,
            after=Place(end, before + end, before + end + 1),
        )


def _short(value: str) -> str:
    if len(value) <= _SHOWN_LENGTH_MAX:
        return value
    return value[: _SHOWN_LENGTH_MAX - 1] + "…"
