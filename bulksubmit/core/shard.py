"""Shards: slices of a source, each submitted by a process of its own.

In a journal, an item of a sharded source is known by its shard and its place in it, as one number:
nobody knows how many items the shards before it hold until they are read.
"""

from enum import StrEnum

import msgspec

# Items a shard, at most: more than fit into a file of a terabyte.
SHARD_BITS = 40


class Unit(StrEnum):
    """What the bounds of a shard count."""

    BYTES = "bytes"  # Of a file of lines; both bounds are at line ends.
    GROUPS = "groups"  # Row groups of a Parquet file.
    TASKS = "tasks"  # Of a sweep.
    WHOLE = "whole"  # The file from end to end: nothing in it can be begun at but its beginning.


class Shard(msgspec.Struct, frozen=True):
    """A slice of a source.

    Attributes:
        number: 0-based, in the order of the source.
        file: 0-based number of the file among all of the source; 0 for a sweep.
        unit: What ``begin`` and ``end`` count.
        begin: Where it begins.
        end: Where the next one does.
        bytes: How much of the input it is, for progress; 0 for a sweep.
        line: The 1-based line (row, task) that it begins at, if that is known beforehand; it is of
            row groups and sweeps, and of what begins a file.
    """

    number: int
    file: int
    unit: Unit
    begin: int
    end: int
    bytes: int
    line: int | None

    @property
    def base(self) -> int:
        """The ordinal of its first item in a journal."""
        return self.number << SHARD_BITS

    def __str__(self) -> str:
        """``bytes 67,108,864 to 134,217,728``, for a person."""
        if self.unit is Unit.WHOLE:
            return "the whole file"
        return f"{self.unit.value} {self.begin:,} to {self.end:,}"


def number_of(ordinal: int) -> int:
    """The shard of an item of a sharded source."""
    return ordinal >> SHARD_BITS


def place_of(ordinal: int) -> int:
    """The item's 0-based place in its shard."""
    return ordinal & ((1 << SHARD_BITS) - 1)
