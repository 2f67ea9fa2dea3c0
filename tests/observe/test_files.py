"""The rejects and results files, row by row as users read them."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from bulksubmit.core.model import ErrorDetail, Outcome, Verdict
from bulksubmit.errors import OutputError
from bulksubmit.observe import written
from bulksubmit.observe.files import Files

BODY = b'{ "id" : "t1", "commandLine":"\\u00e4 \xc3\xa4", "n": 1.50 }'
ADDED = Outcome(0, 1, "t0", Verdict.ADDED, request_id="r-1", client_request_id="c-1")
REJECTED = Outcome(
    ordinal=1,
    line=3,
    task_id="t1",
    verdict=Verdict.REJECTED,
    attempts=2,
    in_doubt=True,
    code="InvalidPropertyValue",
    message="not like this",
    values=(ErrorDetail("PropertyName", "n"), ErrorDetail(None, None)),
    request_id="r-2",
    client_request_id="c-2",
    body=BODY,
)
ABANDONED = Outcome(2, 4, "t2", Verdict.ABANDONED, in_doubt=True, message="gave up", body=BODY)


def record(files: Files, outcomes: list[Outcome]) -> None:
    files.record(outcomes, [o for o in outcomes if o.verdict is not Verdict.ADDED])


class InLines:
    """Every item is a line of one file."""

    def file_of(self, _ordinal: int) -> str:
        return "tasks.jsonl"

    def where(self, _ordinal: int, line: int) -> str:
        return f"tasks.jsonl:{line}"


@pytest.fixture
def make_files(tmp_path: Path) -> Callable[..., Files]:
    def make(*, rejects: Path | None = None, results: Path | None = None) -> Files:
        default = tmp_path / "state" / "runs" / "run-1" / "rejects.ndjson"
        return Files(InLines(), rejects=rejects, rejects_default=default, results=results)

    return make


def test_a_row_of_the_rejects_file(tmp_path: Path, make_files: Callable[..., Files]) -> None:
    """Where the task stood, what the service said of it, and the task itself, byte for byte."""
    files = make_files(rejects=tmp_path / "rejects")
    record(files, [ADDED, REJECTED, ABANDONED])
    files.close()

    (row,) = (tmp_path / "rejects").read_bytes().splitlines()
    assert orjson.loads(row) == {
        "source": "tasks.jsonl",
        "line": 3,
        "where": "tasks.jsonl:3",
        "task_id": "t1",
        "code": "InvalidPropertyValue",
        "message": "not like this",
        "values": [{"key": "PropertyName", "value": "n"}, {"key": None, "value": None}],
        "request_id": "r-2",
        "client_request_id": "c-2",
        "attempts": 2,
        "in_doubt": True,
        "task": {"id": "t1", "commandLine": "\u00e4 \u00e4", "n": 1.5},
    }
    assert list(orjson.loads(row))[-1] == "task"
    assert row.endswith(b'"task":' + BODY + b"}")


def test_a_row_of_the_results_file(tmp_path: Path, make_files: Callable[..., Files]) -> None:
    """One row for each outcome, of whatever verdict."""
    files = make_files(results=tmp_path / "results")
    record(files, [ADDED, REJECTED])
    record(files, [])
    record(files, [ABANDONED])
    files.close()

    rows = [orjson.loads(row) for row in (tmp_path / "results").read_bytes().splitlines()]
    assert rows == [
        {"line": 1, "id": "t0", "verdict": "added", "attempts": 1, "code": None},
        {
            "line": 3,
            "id": "t1",
            "verdict": "rejected",
            "attempts": 2,
            "code": "InvalidPropertyValue",
        },
        {"line": 4, "id": "t2", "verdict": "abandoned", "attempts": 1, "code": None},
    ]


def test_the_default_rejects_file_is_made_when_needed(make_files: Callable[..., Files]) -> None:
    """Without a rejected task there is no file and no folder; it is for its owner only."""
    files = make_files()
    record(files, [ADDED])

    assert files.rejects_path is None

    record(files, [REJECTED])
    files.close()
    assert files.rejects_path is not None
    path = Path(files.rejects_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_was_asked_for_is_made_at_once(
    tmp_path: Path, make_files: Callable[..., Files]
) -> None:
    """It is there, empty, also if there is nothing to write; so a bad place is told early."""
    files = make_files(rejects=tmp_path / "new" / "rejects", results=tmp_path / "results")
    files.close()

    assert (tmp_path / "new" / "rejects").read_bytes() == b""
    assert (tmp_path / "results").read_bytes() == b""
    assert files.rejects_path is None, "nothing was rejected"


@pytest.mark.parametrize("name", ["rejects", "results"])
def test_what_holds_something_is_not_overwritten(
    tmp_path: Path, make_files: Callable[..., Files], name: str
) -> None:
    """It may be the only trace of an earlier run; an empty file is fine."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    make_files(**{name: path}).close()
    path.write_bytes(b"precious")

    with pytest.raises(OutputError, match="holds something already; name a new file"):
        make_files(**{name: path})
    assert path.read_bytes() == b"precious"


def test_a_file_that_cannot_be_made(tmp_path: Path, make_files: Callable[..., Files]) -> None:
    """The message names the file and the system's reason."""
    (tmp_path / "file").write_bytes(b"in the way")

    with pytest.raises(OutputError, match="file/rejects cannot be made: "):
        make_files(rejects=tmp_path / "file" / "rejects")


def test_a_full_disk(make_files: Callable[..., Files]) -> None:
    """The message names the file and the system's reason."""
    files = make_files(results=Path("/dev/full"))

    with pytest.raises(OutputError, match="/dev/full cannot be written: No space left"):
        record(files, [ADDED])
    files.close()


def test_a_full_disk_costs_no_rejected_task(
    tmp_path: Path, make_files: Callable[..., Files]
) -> None:
    """A rejected task is in the rejects file also if the results file cannot be written."""
    files = make_files(rejects=tmp_path / "rejects", results=Path("/dev/full"))

    with pytest.raises(OutputError):
        record(files, [REJECTED])
    files.close()

    assert b'"t1"' in (tmp_path / "rejects").read_bytes()


def test_what_is_recorded_is_with_the_system_at_once(
    tmp_path: Path, make_files: Callable[..., Files]
) -> None:
    """Rows can be read while the run goes on, however little the system takes at a time."""
    files = make_files(results=tmp_path / "results")
    record(files, [ADDED])

    assert (tmp_path / "results").read_bytes().count(b"\n") == 1
    files.close()


def test_short_writes_are_completed(
    tmp_path: Path, make_files: Callable[..., Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may take less than it was given; no row is cut."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    files = make_files(results=tmp_path / "results")
    record(files, [ADDED, REJECTED])
    files.close()

    rows = (tmp_path / "results").read_bytes().splitlines()
    assert [orjson.loads(row)["id"] for row in rows] == ["t0", "t1"]


def test_nothing_follows_a_row_that_was_cut(
    tmp_path: Path, make_files: Callable[..., Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last row of a file can be half a row, whatever happens to the disk."""
    sizes: list[int | OSError] = [100, OSError(28, "No space left on device"), 1000]
    taken = iter(sizes)
    write = os.write

    def write_or_not(file: int, data: bytes) -> int:
        size = next(taken)
        if isinstance(size, OSError):
            raise size
        return write(file, data[:size])

    monkeypatch.setattr(os, "write", write_or_not)
    files = make_files(results=tmp_path / "results")
    for _ in range(2):
        with pytest.raises(OutputError, match="No space left"):
            record(files, [ADDED, ADDED])
    files.close()

    *rows, last = (tmp_path / "results").read_bytes().split(b"\n")
    assert [orjson.loads(row)["id"] for row in rows] == ["t0"]
    assert last


# --- Pipes -----------------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe with a name."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_reader_gets_the_rows(pipe: Path, make_files: Callable[..., Files]) -> None:
    """A pipe that is read gets each row as it comes."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files = make_files(results=pipe)
    record(files, [ADDED])

    assert orjson.loads(os.read(reader, 1000))["id"] == "t0"
    files.close()
    os.close(reader)


def test_a_pipe_without_a_reader(pipe: Path, make_files: Callable[..., Files]) -> None:
    """It is not waited for: it would be for ever, perhaps."""
    with pytest.raises(OutputError, match="is a pipe that nobody reads; start its reader first"):
        make_files(results=pipe)


def test_a_reader_that_goes(pipe: Path, make_files: Callable[..., Files]) -> None:
    """Whoever reads a pipe may leave: that is an error like a full disk."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files = make_files(rejects=pipe)
    os.close(reader)

    with pytest.raises(OutputError, match="pipe cannot be written: Broken pipe"):
        record(files, [REJECTED])
    files.close()


def test_a_reader_that_takes_nothing(
    pipe: Path, make_files: Callable[..., Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for, but not for ever: all else waits, too."""
    monkeypatch.setattr(written, "READER_S", 0.05)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files = make_files(results=pipe)

    with pytest.raises(OutputError, match=r"its reader has taken nothing for 0\.05 s"):
        record(files, [ADDED] * 10_000)
    files.close()
    os.close(reader)
