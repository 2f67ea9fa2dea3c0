"""Records on disk: what is put in comes out, by parts that keep one ID together."""

import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.errors import OutputError
from bulksubmit.verify.spill import PARTS, Spill, on_one_line


def all_records(spill: Spill) -> dict[int, list[bytes]]:
    found = defaultdict(list)
    for number in range(PARTS):
        for offset, record in spill.part(number):
            assert spill.read(offset, len(record)) == record
            found[number].append(record)
    return found


@given(
    st.lists(st.lists(st.tuples(st.text("aAbB", min_size=1, max_size=3), st.binary(max_size=9)))),
    st.integers(1, 100),
)
def test_what_is_put_in_comes_out(blocks: list[list[tuple[str, bytes]]], chunk_bytes: int) -> None:
    """
    Every record comes out once, those of one ID in one part and in order, however they were
    written.
    """
    spill = Spill(chunk_bytes=chunk_bytes)
    added: dict[str, list[bytes]] = defaultdict(list)
    for block in blocks:
        records = [(name, name.lower().encode() + on_one_line(body)) for name, body in block]
        spill.add(records)
        for name, record in records:
            added[name.lower()].append(record)
    spill.flush()

    found = all_records(spill)
    spill.close()

    assert sum(map(len, found.values())) == sum(map(len, added.values()))
    for records_of_one in added.values():
        (part,) = [records for records in found.values() if records_of_one[0] in records]
        assert [record for record in part if record in records_of_one] == records_of_one


def test_one_line_is_the_same_value() -> None:
    """
    White space between JSON's tokens becomes blanks; what stands in strings is escaped, and stays.
    """
    assert on_one_line(b'{\r\n\t"a": "\\n\\t"}') == b'{   "a": "\\n\\t"}'


def test_the_file_has_no_name(tmp_path: Path) -> None:
    """
    Whatever ends the process, nothing is left.
    """
    spill = Spill(tmp_path, chunk_bytes=1)
    spill.add([("a", b"record")])

    assert os.listdir(tmp_path) == []  # noqa: PTH208 - there may be no more than names
    spill.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """
    The error names the folder, and how to have another.
    """
    with pytest.raises(OutputError, match=r"nowhere cannot be made: .*TMPDIR"):
        Spill(tmp_path / "nowhere")
