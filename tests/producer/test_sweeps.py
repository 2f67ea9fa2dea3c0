"""Parameter sweeps: which tasks they are, in which order, and what is none."""

import asyncio
import io
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Done
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.producer.sweepfile import escape
from bulksubmit.producer.sweeps import SweepSource, read_parameter
from tests.producer.reading import read

CONFIGS = Path(__file__).parents[2] / "configs" / "sweeps"
COMMAND = '{"commandLine": "run"}'


def sweep(*parameters: str, template: str | None = COMMAND) -> SweepSource:
    """A sweep; COMMAND uses its parameters by the id that it is given."""
    spec = SourceSpec(template=template, sweeps=parameters)
    return SweepSource(spec, name="sweep", checker=Checker())


def values(text: str) -> list[str]:
    parameter = read_parameter(text, name="sweep")
    return parameter.texts(0, len(parameter.values))


def refusal(*parameters: str, template: str | None = COMMAND) -> str:
    with pytest.raises(SourceError) as raised:
        sweep(*parameters, template=template)
    return str(raised.value)


# --- Parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "run_through"),
    [
        ("i=1..3", ["1", "2", "3"]),
        ("i=3..3", ["3"]),
        ("i=3..1", ["3", "2", "1"]),
        ("i=-1..1", ["-1", "0", "1"]),
        ("i=0..10..5", ["0", "5", "10"]),
        ("i=0..9..5", ["0", "5"]),
        ("i=10..0..-5", ["10", "5", "0"]),
        ("i=10..0..5", ["10", "5", "0"]),
        ("i=08..10", ["08", "09", "10"]),
        ("i=1..003", ["001", "002", "003"]),
        ("i=-01..1", ["-01", "000", "001"]),
        ("mode=fast,slow", ["fast", "slow"]),
        ("mode=fast", ["fast"]),
        ("mode=a b,\u00e4=1, c", ["a b", "\u00e4=1", " c"]),
        (r"mode=a\,b,c", ["a,b", "c"]),
        (r"mode=C:\x\y,\\server,1.5,\.", [r"C:\x\y", r"\server", "1.5", r"\."]),
        (r"path=\../x", ["../x"]),
        ("path=../x,../y", ["../x", "../y"]),
    ],
)
def test_what_a_parameter_runs_through(text: str, run_through: list[str]) -> None:
    """
    Ranges are the shell's: both ends belong to them, steps and zeros in front are kept. Values
    have commas between; a backslash before a comma, two dots or itself takes their meaning.
    """
    assert values(text) == run_through


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("i", "'i' is no parameter; write name=1..1000 or name=fast,slow"),
        ("=1..3", "'=1..3' is no parameter"),
        ("a b=1..3", "'a b=1..3' is no parameter"),
        ("i=", "i=: there is no value"),
        ("i=a,,b", "i=a,,b: one of the values is empty"),
        ("i=a,b,", "i=a,b,: one of the values is empty"),
        ("i=a,b,a", "i=a,b,a: the value 'a' is given twice"),
        ("i=1..", "i=1..: is no range of whole numbers, such as 1..1000"),
        ("i=a..z", "i=a..z: is no range of whole numbers"),
        ("i=1.5..3", "i=1.5..3: is no range of whole numbers"),
        ("i=1..9999999999999999", "i=1..9999999999999999: is no range of whole numbers"),
        ("i=1..3,7", r"i=1..3,7: mixes a range with values; write all values, or 1\..3 if it is"),
        ("i=a\\\\,1..3", "i=a\\\\,1..3: mixes a range with values"),
        (
            "i=a,03..1..2",
            r"i=a,03..1..2: mixes a range with values; write all values, or 03\..1\..2",
        ),
        ("i=1..3..0", "i=1..3..0: the step is 0"),
        ("i=1..3..-1", "i=1..3..-1: the range is empty"),
        ("i=a,\udcff", "i=a,\udcff: 'utf-8' codec can't encode"),
    ],
)
def test_what_is_no_parameter(text: str, reason: str) -> None:
    """
    A parameter that would run through nothing, or one value twice, is refused, with its text.
    """
    assert refusal(text).startswith(f"sweep: {reason}")


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_escaped_values_are_values(texts: list[str]) -> None:
    """
    Whatever texts the values are, escaped and with commas between they are these values.
    """
    assert values("x=" + ",".join(map(escape, texts))) == texts


# --- The product -------------------------------------------------------------------------------


async def test_the_last_parameter_runs_quickest() -> None:
    """
    Every combination is a task, in the order of nested loops; without an id in the template it
    is the values with hyphens between. Lines are the tasks' numbers.
    """
    items = await read(sweep("i=1..3", "mode=fast,slow"))

    assert items.ids == ["1-fast", "1-slow", "2-fast", "2-slow", "3-fast", "3-slow"]
    assert [(task.ordinal, task.line) for task in items.tasks] == [(n, n + 1) for n in range(6)]
    assert items.tasks[3].body == b'{"id":"2-slow","commandLine":"run"}'


async def test_a_template_with_an_id_keeps_it() -> None:
    """
    An id of the template's own is filled like any other field.
    """
    items = await read(sweep("a=1..2", "b=7,8", template='{"id": "x{b}{a}", "commandLine": "y"}'))

    assert items.ids == ["x71", "x81", "x72", "x82"]


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    size=st.integers(1, 50),
)
def test_ordinals_and_values_agree(counts: list[int], size: int) -> None:
    """
    However many parameters of however many values, in blocks of any size: the tasks are those of
    itertools.product, and where() names the values of each.
    """
    names = "abcd"[: len(counts)]
    ranges = [f"{name}=1..{count}" for name, count in zip(names, counts, strict=True)]
    source = sweep(*ranges)
    source._filler.rows_max = size  # noqa: SLF001 - blocks of a thousand would need as many tasks

    bodies = io.BytesIO()
    asyncio.run(source.copy(bodies))
    ids = [json.loads(line)["id"] for line in bodies.getvalue().splitlines()]

    expected = [*product(*[range(1, count + 1) for count in counts])]
    assert ids == ["-".join(map(str, each)) for each in expected]
    last = ", ".join(f"{name}={count}" for name, count in zip(names, counts, strict=True))
    assert source.where(len(ids) - 1, len(ids)) == f"sweep: task {len(ids)} ({last})"


async def test_a_task_that_is_none_is_named_by_its_values() -> None:
    """
    Values that make no task are told with the task's number, the values, the field and why.
    """
    source = sweep("slots=1,x", template='{"commandLine": "y", "requiredSlots": "{slots}"}')

    items = await read(source)

    assert items.ids == ["1"]
    (invalid,) = items.invalid
    assert source.where(invalid.ordinal, invalid.line) == "sweep: task 2 (slots=x)"
    assert invalid.problems[0].path == "requiredSlots"
    assert invalid.id == "x"


def test_long_values_are_cut_where_a_task_is_named() -> None:
    """
    A message names a task by at most forty characters of each value.
    """
    assert sweep("x=" + "v" * 100).where(0, 1) == f"sweep: task 1 (x={'v' * 39}\u2026)"


def test_what_is_no_sweep() -> None:
    """
    A parameter given twice or not used, an unknown placeholder, or no template at all.
    """
    assert refusal("i=1..2", "i=3..4") == (
        "sweep: the parameter 'i' is given twice; put its values into one list"
    )
    assert refusal("i=1..2", "j=1..2", template='{"id": "{i}"}') == (
        "template: does not use the parameter 'j' of the sweep; use it, or leave it out"
    )
    assert refusal("i=1..2", template='{"commandLine": "{j}"}').startswith(
        "template: commandLine: {j} is no parameter of the sweep. Its parameters: i; write"
    )
    assert refusal("i=1..2", template=None) == (
        "sweep: gives parameters and no task; name a template by --template"
    )


# --- Large ones, and reading again -------------------------------------------------------------


def test_a_large_sweep_is_arithmetic() -> None:
    """
    A million million tasks are counted, and any one of them named, without going through them.
    """
    source = sweep("i=1..1000000", "j=000001..1000000")
    assert source.tasks_total == 10**12

    assert source.where(10**12 - 1, 10**12) == "sweep: task 1000000000000 (i=1000000, j=1000000)"
    assert source.where(10**6, 10**6 + 1) == "sweep: task 1000001 (i=2, j=0000001)"


@pytest.mark.parametrize("left", [[0], [5, 6, 4_999], [], [999, 1_000, 2_500]])
async def test_what_is_settled_is_left_out(left: Sequence[int]) -> None:
    """
    Read again, a sweep is exactly what is not settled; the end is told all the same.
    """
    settled = Bitmap()
    settled.add_range(0, 5_000)
    for ordinal in left:
        number, place = divmod(ordinal, 65_536)
        bits = bytearray(settled.block(number) or b"")
        bits[place >> 3] &= ~(1 << (place & 7))
        settled.load(number, bytes(bits))
    whole = await read(sweep("i=1..2500", "j=1..2"))

    items = await read(sweep("i=1..2500", "j=1..2"), Done(settled, []))

    assert items.tasks == [whole.tasks[ordinal] for ordinal in left]
    assert items.places[-1] == whole.places[-1] == Place(5_000, 5_000, 5_001)


# --- Files -------------------------------------------------------------------------------------

SWEEP = """
[sweep]
seed = "1..2"
mode = ["fast", "a,b"]
rate = [0.5, 1]
on = true

[task]
id = "{seed}-{on}"
commandLine = "render {mode} {rate}"

[[task.environmentSettings]]
name = "A"
value = "ä"
"""


def described(tmp_path: Path, text: str) -> str:
    path = tmp_path / "sweep.toml"
    path.write_text(text, "utf-8")
    return str(path.resolve())


def remove(path: str) -> None:
    Path(path).unlink()


def file_refusal(tmp_path: Path, text: str) -> str:
    path = described(tmp_path, text)
    with pytest.raises(SourceError) as raised:
        open_source(path)
    return str(raised.value).removeprefix(str(tmp_path) + "/")


async def test_a_file_describes_a_sweep(tmp_path: Path) -> None:
    """
    Parameters and task in TOML make the sweep that the flags would; messages name the file, and
    the journal keeps what it describes.
    """
    path = described(tmp_path, SWEEP)

    source = open_source(path)
    items = await read(source)

    assert len(items.tasks) == 8
    assert json.loads(items.tasks[3].body) == {
        "id": "1-true",
        "commandLine": "render a,b 1",
        "environmentSettings": [{"name": "A", "value": "ä"}],
    }
    assert source.where(3, 4) == f"{path}: task 4 (seed=1, mode=a,b, rate=1, on=true)"
    assert source.spec
    assert source.spec.files == ()
    assert source.spec.label == path

    remove(path)
    again = await read(open_source(SourceSpec.from_json(source.spec.to_json())))
    assert again.tasks == items.tasks


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_sweeps_that_come_along_make_tasks(path: Path) -> None:
    """
    Each file of configs/sweeps describes tasks that are right.
    """
    source = open_source(str(path))
    assert isinstance(source, SweepSource)
    block = next(source._blocks(None))  # noqa: SLF001 - ten million would take a while

    assert len(block.tasks) == min(source.tasks_total, block.after.ordinal)
    assert (block.invalid, block.warned) == ((), ())
    assert (source.tasks_total == 10_000_000) == (path.stem == "ten-million")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[sweep\n", "sweep.toml:1: not valid TOML: "),
        ('[sweep]\ni = "1..2"\n[task]\nx = \n', "sweep.toml:4: not valid TOML: "),
        ('[sweep]\ni = "1..2"\n', "sweep.toml: has no table [task]; it holds the task"),
        ('[task]\nid = "a"\n', "sweep.toml: has no table [sweep]; it holds its parameters"),
        ('[sweep]\n[task]\nid = "a"\n', "sweep.toml: has no table [sweep]"),
        ("[sweeps]\ni = 1\n", "sweep.toml: 'sweeps' is neither [sweep] nor [task]"),
        ('[sweep]\ni = {a = 1}\n[task]\nid = "{i}"', "sweep.toml: [sweep] i: {'a': 1} is neither"),
        ('[sweep]\ni = [[1]]\n[task]\nid = "{i}"', "sweep.toml: [sweep] i: [1] is neither text"),
        ('[sweep]\ni = []\n[task]\nid = "{i}"', "sweep.toml: i=: there is no value"),
        ('[sweep]\ni = "1..2"\n[task]\nid = "{j}"', "sweep.toml: id: {j} is no parameter"),
        (
            f'[sweep]\ni = "1..2"\n[task]\nid = {2**64}',
            "sweep.toml: [task]: Integer exceeds 64-bit range",
        ),
    ],
)
def test_what_describes_no_sweep(tmp_path: Path, text: str, reason: str) -> None:
    """
    A mistake in the file is told with the file, and with the line if it is one of TOML.
    """
    assert file_refusal(tmp_path, text).startswith(reason)


def test_a_sweep_stands_alone(tmp_path: Path) -> None:
    """
    A sweep's file goes with no other file, template or parameter; and parameters with no file.
    """
    path = described(tmp_path, SWEEP)
    for spec in (
        SourceSpec(files=("other.jsonl", path)),
        SourceSpec(files=(path,), template="{}"),
        SourceSpec(files=(path,), sweeps=("i=1..2",)),
    ):
        with pytest.raises(SourceError, match="describes a sweep and its task; it stands alone"):
            open_source(spec)
    with pytest.raises(SourceError, match="give either files or --sweep"):
        open_source(SourceSpec(files=("rows.csv",), template="{}", sweeps=("i=1..2",)))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """
    A file that is missing, or not UTF-8, is told as such.
    """
    with pytest.raises(SourceError, match="cannot be opened: No such file"):
        open_source(str(tmp_path / "missing.toml"))
    path = tmp_path / "sweep.toml"
    path.write_bytes(b'[sweep]\ni = "\xff"')
    with pytest.raises(SourceError, match="is not UTF-8"):
        open_source(str(path))
