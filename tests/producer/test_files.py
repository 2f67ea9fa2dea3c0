"""Several files, one after the other, as one source."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.files import FileSource
from bulksubmit.producer.source import Block, Done
from bulksubmit.producer.spec import SourceSpec
from tests.producer.reading import line, read, read_until_error

COUNT = 600  # Tasks a file: of two blocks, if they are as long as this.
EXTRA = f',"displayName":"{"x" * 500}"'


def bodies(letter: str, count: int = COUNT) -> list[bytes]:
    return [line(f"{letter}{number}", EXTRA) for number in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of three forms, and an empty one in the middle."""
    (tmp_path / "1.jsonl").write_bytes(b"\n\n".join(bodies("a")))
    (tmp_path / "2.jsonl").write_bytes(b"\n")
    (tmp_path / "3.json").write_bytes(b"[\n" + b",\n".join(bodies("b")) + b"\n]\n")
    (tmp_path / "4.json").write_bytes(b'{\n"id": "c0",\n"commandLine": "true"\n}\n')
    return tmp_path


def paths_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def open_all(folder: Path) -> FileSource:
    source = open_source(SourceSpec(files=(str(folder / "*"),)), Checker())
    assert isinstance(source, FileSource)
    return source


async def test_files_are_read_in_order(folder: Path) -> None:
    """Ordinals go on from file to file, lines begin anew in each, and each has its form."""
    source = open_all(folder)

    items = await read(source)

    assert items.ids == [f"{letter}{n}" for letter in "ab" for n in range(COUNT)] + ["c0"]
    assert [task.ordinal for task in items.tasks] == list(range(2 * COUNT + 1))
    assert [task.line for task in items.tasks] == [
        *range(1, 2 * COUNT, 2),
        *range(2, COUNT + 2),
        1,
    ]
    paths = paths_in(folder)
    assert source.bytes_total == source.bytes_read == sum(path.stat().st_size for path in paths)
    for at, path, where in (
        (0, 0, ":1"),
        (COUNT - 1, 0, f":{2 * COUNT - 1}"),
        (COUNT, 2, ": item 1 (line 2)"),
        (2 * COUNT, 3, ": item 1"),
    ):
        assert source.file_of(at) == str(paths[path])
        assert source.where(at, items.tasks[at].line).startswith(f"{paths[path]}{where}")


async def test_each_files_beginning_is_a_place(folder: Path) -> None:
    """A resume knows where a file begins, even if nothing of it was read."""
    items = await read(open_all(folder))

    begins = [*dict.fromkeys(each for each in items.places if each.offset == 0 and each.file)]
    assert begins == [Place(COUNT, 0, 1, 1), Place(COUNT, 0, 1, 2), Place(2 * COUNT, 0, 1, 3)]
    order = [(place.file, place.offset) for place in items.places]
    assert order == sorted(order)


async def test_whatever_is_left_of_any_file_comes_again(folder: Path) -> None:
    """However far the places reach, what is not settled is read again, and nothing else."""
    items = await read(open_all(folder))
    total = len(items.tasks)
    borders = {place.ordinal for place in items.places}
    ordinals = {0, total - 1, COUNT, *borders, *(border - 1 for border in borders)} & {
        *range(total)
    }

    for left in ordinals:
        settled = Bitmap()
        settled.add_range(0, left)
        settled.add_range(left + 1, total)
        for known in range(len(items.places) + 1):
            again = await read(open_all(folder), Done(settled, items.places[:known]))

            assert again.tasks == [items.tasks[left]]
            assert again.places[-1] == items.places[-1]


async def test_a_resume_goes_on_in_the_middle_of_a_file(folder: Path) -> None:
    """Whatever the place it goes on from: what was not read comes, numbered as it was."""
    items = await read(open_all(folder))

    for before, place in pairwise([BEGINNING, *items.places]):
        settled = Bitmap()
        settled.add_range(0, place.ordinal)
        places = [known for known in items.places if known.ordinal <= before.ordinal]

        again = await read(open_all(folder), Done(settled, places))

        assert again.tasks == items.tasks[place.ordinal :]


async def test_files_that_are_done_are_not_opened(folder: Path) -> None:
    """A resume in the last of a thousand files begins there."""
    items = await read(open_all(folder))
    settled = Bitmap()
    settled.add_range(0, 2 * COUNT)
    source = open_all(folder)
    for path in paths_in(folder)[:3]:
        path.unlink()

    again = await read(source, Done(settled, items.places))

    assert again.ids == ["c0"]
    assert source.bytes_read == source.bytes_total
    assert source.where(2 * COUNT, 1).startswith(str(folder / "4.json"))


async def test_an_error_names_the_file_and_counts_its_items_alone(folder: Path) -> None:
    """Whatever came before it in other files."""
    (folder / "3.json").write_bytes(b"[" + line("b") + b",\n{nonsense]]")

    items = await read_until_error(open_all(folder))

    assert len(items.tasks) == COUNT + 1
    assert items.error
    assert items.error.startswith(f"{folder / '3.json'}: item 2 (line 2): not valid JSON")


def test_a_missing_file_among_many_is_found_at_once(folder: Path) -> None:
    """Not hours later, when its turn has come."""
    files = (str(folder / "1.jsonl"), str(folder / "nowhere.jsonl"), str(folder / "3.json"))

    with pytest.raises(SourceError, match="No such file") as raised:
        open_source(SourceSpec(files=files))

    assert raised.value.path == files[1]


async def test_files_without_a_task(tmp_path: Path) -> None:
    """One empty file among others is fine; nothing at all is a mistake."""
    for name in ("1.jsonl", "2.json"):
        (tmp_path / name).write_bytes(b"\n" if name == "1.jsonl" else b"[]\n")

    with pytest.raises(SourceError, match="2 files: holds no task"):
        await read(open_all(tmp_path))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("1.jsonl", "1.jsonl"), "is named twice"),
        (("1.jsonl", "*.jsonl"), "is named twice"),
        (("*.csv",), "no file fits this pattern"),
        (("1.jsonl", "-"), "standard input stands alone"),
    ],
)
def test_names_that_cannot_be_meant(
    folder: Path, names: tuple[str, ...], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file twice would be read twice; a pattern that fits nothing is a slip."""
    monkeypatch.chdir(folder)

    with pytest.raises(SourceError, match=reason):
        open_source(SourceSpec(files=names))


async def test_files_are_named_as_the_user_did(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the path that was given; those of a pattern by the whole one."""
    monkeypatch.chdir(folder)
    source = open_source(SourceSpec(files=("1.jsonl", "4*")))
    await read(source)

    assert source.file_of(0) == "1.jsonl"
    assert source.file_of(COUNT) == str(folder / "4.json")


async def test_a_line_that_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    """It is no task, but that is not what is wrong: the file was changed."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(line("a") + b"\n" + line("b") + b"\n")
    source = open_source(path)

    async def admit(_: Block) -> None:
        os.truncate(path, len(line("a")) + 5)
        error = SourceError(str(path), 2, "not valid JSON")
        error.of_item = True
        raise error

    with pytest.raises(SourceError, match="was changed while it was read"):
        await source.read(admit)


async def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """Tasks may be missing then, and nobody would know."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(line("a") + b"\n")
    source = open_source(path)

    async def admit(_: Block) -> None:
        path.write_bytes(line("a") + b"\n" + line("b") + b"\n")

    with pytest.raises(SourceError, match="was changed while it was read"):
        await source.read(admit)
