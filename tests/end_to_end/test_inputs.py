"""Every form of input gives the same tasks in the job; what is wrong is told by its place."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from bulksubmit.producer.spec import SourceSpec
from tests.end_to_end.account import flood, listening, make_service, read_rows
from tests.end_to_end.commands import submit

TASKS = 20_000

TEMPLATE = '{"id":"frame-{n}","commandLine":"render {n}","constraints":{"maxTaskRetryCount":"{r}"}}'


def task(number: int) -> bytes:
    """What each form comes to."""
    return b'{"id":"frame-%d","commandLine":"render %d","constraints":{"maxTaskRetryCount":%d}}' % (
        number,
        number,
        number % 3,
    )


def lines(count: int = TASKS) -> bytes:
    return b"".join(task(n) + b"\n" for n in range(count))


def array(count: int = TASKS) -> bytes:
    return b"[" + b",".join(task(n) for n in range(count)) + b"]"


def pretty(count: int = TASKS) -> bytes:
    tasks = [orjson.loads(task(n)) for n in range(count)]
    return orjson.dumps({"value": tasks}, option=orjson.OPT_INDENT_2)


def rejects(count: int = TASKS) -> bytes:
    rows = ({"source": "x", "line": n, "task": orjson.Fragment(task(n))} for n in range(count))
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def rows(count: int = TASKS) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["n", "r"])
    writer.writerows([n, n % 3] for n in range(count))
    return text.getvalue().encode()


def columns(count: int = TASKS) -> bytes:
    table = pa.table({"n": list(range(count)), "r": [n % 3 for n in range(count)]})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=3000)
    return file.getvalue()


FORMS: dict[str, Callable[[], bytes]] = {
    "tasks.jsonl": lines,
    "array.json": array,
    "value.json": pretty,
    "rejects.ndjson": rejects,
    "tasks.jsonl.gz": lambda: gzip.compress(lines(), 1),
    "array.json.gz": lambda: gzip.compress(array(), 1),
    "value.json.zst": lambda: zstandard.compress(pretty(), 1),
    "rows.csv": rows,
    "rows.parquet": columns,
}


@pytest.mark.parametrize("name", FORMS)
async def test_every_form_gives_the_same_tasks(tmp_path: Path, name: str) -> None:
    """A file of 20,000 tasks, in each form that is read, ends as the same tasks in the job."""
    path = tmp_path / name
    path.write_bytes(FORMS[name]())
    template = TEMPLATE if name.startswith("rows") else None
    async with listening(make_service()) as account:
        run = await flood(account, SourceSpec(files=(str(path),), template=template))

        assert run.error is None
        assert run.report.added == TASKS
        account.assert_holds([task(n) for n in range(TASKS)])


async def test_several_files_and_patterns(tmp_path: Path) -> None:
    """Files in order, a pattern's in the order of their names: one run, one journal."""
    for part in range(4):
        body = b"".join(task(n) + b"\n" for n in range(100 * part, 100 * part + 100))
        (tmp_path / f"part-{part}.jsonl").write_bytes(body)
    async with listening(make_service()) as account:
        ended = await submit(account, tmp_path / "part-3.jsonl", str(tmp_path / "part-[012].jsonl"))

        assert ended.exit_code == 0
        assert ended.report["added"] == 400
        account.assert_holds([task(n) for n in range(400)])


async def test_a_pattern_that_stands_for_other_files_later(tmp_path: Path) -> None:
    """A run of a pattern is not gone on with when there are more files: tasks would move."""
    for part in (1, 2):
        (tmp_path / f"{part}.jsonl").write_bytes(task(part) + b"\n" + b"no task\n" * (part - 1))
    pattern = str(tmp_path / "[0-9].jsonl")
    async with listening(make_service()) as account:
        first = await submit(account, pattern)
        (tmp_path / "0.jsonl").write_bytes(task(0) + b"\n")
        (tmp_path / "2.jsonl").write_bytes(task(2) + b"\n")
        refused = await submit(account, pattern, "--resume")
        anew = await submit(account, pattern)

        assert (first.exit_code, first.report["added"]) == (5, 1)
        assert refused.exit_code == 2
        assert "stands for other files now" in refused.report["error"]
        assert first.report["run_id"] in anew.stderr
        assert (anew.report["added"], anew.report["existed"]) == (2, 1)


async def test_a_sweep_of_flags(tmp_path: Path) -> None:
    """--template and --sweep describe tasks without any file of tasks."""
    template = tmp_path / "task.json"
    template.write_text('{"id":"{mode}-{n}","commandLine":"render --mode {mode} {n}"}')
    flags = ("--template", template, "--sweep", "n=1..50", "--sweep", "mode=fast,slow")
    async with listening(make_service()) as account:
        ended = await submit(account, *flags)

        assert ended.report["added"] == 100
        account.assert_holds(
            [
                b'{"id":"%s-%d","commandLine":"render --mode %s %d"}' % (mode, n, mode, n)
                for n in range(1, 51)
                for mode in (b"fast", b"slow")
            ]
        )


@pytest.mark.parametrize("form", [lines, array, lambda n: gzip.compress(lines(n))])
async def test_standard_input_in_any_form(form: Callable[[int], bytes]) -> None:
    """The form is told by the bytes: a pipe has no name."""
    async with listening(make_service()) as account:
        ended = await submit(account, "-", stdin=form(300))

        assert ended.report["added"] == 300
        account.assert_holds([task(n) for n in range(300)])


async def test_a_pipe_of_any_form_is_spooled() -> None:
    """--spool keeps the bytes as they came, so that a run of them can be resumed."""
    async with listening(make_service()) as account:
        ended = await submit(account, "-", "--spool", stdin=gzip.compress(array(300)))

        assert ended.report["added"] == 300
        assert ended.report["journal_path"]


# --- What is wrong in one ------------------------------------------------------------------------


async def test_an_invalid_line_stops_before_its_block(tmp_path: Path) -> None:
    """
    By default a line that is no task stops the run: with what is wrong, all of it, and both ways
    on. Mended and submitted again, the tasks that exist already are told.
    """
    path = tmp_path / "tasks.jsonl"
    wrong = b'{"id":"frame-x","commandline":"render","constraints":{"maxTaskRetryCount":-2}}\n'
    path.write_bytes(lines(10_000) + wrong + lines(10_100).split(b"\n", 10_000)[-1])
    async with listening(make_service()) as account:
        ended = await submit(account, path)
        sent = len(account.job)

        assert ended.exit_code == 5
        error = ended.report["error"]
        assert f"{path}:10001: 3 errors" in error
        assert "commandline: unknown field; did you mean commandLine?" in error
        assert "commandLine missing" in error
        assert "constraints.maxTaskRetryCount is -2" in error
        assert f"{sent:,} tasks were added before" in error
        assert f"bulksubmit runs resume {ended.report['run_id']} --invalid reject" in error

        path.write_bytes(lines(10_100))
        mended = await submit(account, path)

        assert mended.exit_code == 0
        assert mended.report["existed"] == sent
        assert mended.report["added"] == 10_100 - sent
        account.assert_holds([task(n) for n in range(10_100)])


async def test_invalid_lines_are_rejected_and_mended(tmp_path: Path) -> None:
    """
    With --invalid=reject they go to the rejects file, each with its place and all that is wrong,
    and the rest goes on; the rejects file, mended, is a source itself.
    """
    path, rejected = tmp_path / "tasks.jsonl", tmp_path / "rejects.ndjson"
    wrong = b'{"id":"frame-x","commandLine":"render","requiredSlots":0}\n'
    path.write_bytes(lines(100) + wrong + b"no json\n\xff\n" + lines(200)[len(lines(100)) :])
    async with listening(make_service()) as account:
        ended = await submit(account, path, "--invalid", "reject", "--rejects", rejected)

        assert ended.exit_code == 6
        assert (ended.report["added"], ended.report["rejected"]) == (200, 3)
        slots, text, other = read_rows(rejected)
        assert slots["line"] == 101
        assert slots["code"] == "Invalid"
        assert "requiredSlots is 0" in slots["message"]
        assert slots["task"]["requiredSlots"] == 0
        assert (text["line"], text["text"]) == (102, "no json")
        assert (other["line"], other["text"]) == (103, "\\xff")

        mended = dict(slots, task={**slots["task"], "requiredSlots": 1})
        rejected.write_bytes(orjson.dumps(mended) + b"\n")
        again = await submit(account, rejected)

        assert again.report["added"] == 1
        assert len(account.job) == 201


async def test_invalid_lines_are_passed_over_by_a_resume(tmp_path: Path) -> None:
    """A run that an invalid line stopped goes on without it by --invalid reject."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines(5_000) + b'{"id":"frame-x"}\n' + lines(5_100).split(b"\n", 5_000)[-1])
    async with listening(make_service()) as account:
        run_id = (await submit(account, path)).report["run_id"]
        ended = await submit(account, path, "--resume", "--invalid", "reject")

        assert ended.exit_code == 6
        assert ended.report["run_id"] == run_id
        assert (ended.report["total"], ended.report["rejected"]) == (5_101, 1)
        account.assert_holds([task(n) for n in range(5_100)])


async def test_unknown_fields(tmp_path: Path) -> None:
    """--allow-unknown passes them on as they are; whether the service takes them is its matter."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b'{"id":"a","commandLine":"c","later":{"x":[1.50]}}\n')
    async with listening(make_service()) as account:
        stopped = await submit(account, path)
        ended = await submit(account, path, "--allow-unknown", "--rejects", tmp_path / "rejects")

        assert stopped.exit_code == 2
        assert "later: unknown field" in stopped.report["error"]
        assert ended.exit_code == 6
        (row,) = read_rows(tmp_path / "rejects")
        assert row["code"] == "UnsupportedProperty"
        assert row["task"] == {"id": "a", "commandLine": "c", "later": {"x": [1.5]}}
