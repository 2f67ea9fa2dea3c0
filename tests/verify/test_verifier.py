"""What a verification finds is the difference, however the job lists and whatever fails."""

import io
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Literal
from unittest import mock

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.events import Event, Noted
from bulksubmit.core.wire import TaskPage, TaskSpan
from bulksubmit.errors import ServiceUnreachable, SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.source import AnySource
from bulksubmit.service.replies import Unavailable
from bulksubmit.settings import Settings
from bulksubmit.verify import census, spill, verifier
from bulksubmit.verify.difference import Difference, Kind
from bulksubmit.verify.report import Rows
from bulksubmit.verify.verifier import Sample, Verifier
from tests.verify.job import OddJob, numbered
from tests.virtual import run_virtual

NAMES = st.text("aAbB01-_", min_size=1, max_size=3)


def body(task_id: str, command: str = "true") -> bytes:
    return orjson.dumps({"id": task_id, "commandLine": command})


def compared(
    source: AnySource,
    job: OddJob,
    *,
    content: bool = False,
    left_out: Iterable[int] = (),
    rows: Rows | None = None,
    events: list[Event] | None = None,
    invalid: Literal["stop", "reject"] = "stop",
    retry_timeout_s: float = 1800.0,
) -> Difference:
    """The difference between a source and a job."""
    ordinals = Bitmap()
    for ordinal in left_out:
        ordinals.add(ordinal)

    async def look() -> Difference:
        asked = Settings(
            concurrency=4,
            retry_timeout_s=retry_timeout_s,
            invalid=invalid,
        )
        with (
            closing(open_source(source)) as tasks,
            closing(
                Verifier(
                    tasks,
                    job,
                    settings=asked,
                    content=content,
                    left_out=ordinals,
                    rows=rows,
                    observer=(events if events is not None else []).append,
                    random=Random(2),
                )
            ) as verifying,
        ):
            return await verifying.look()

    difference, _ = run_virtual(look)
    return difference


def folded(bodies: Mapping[str, bytes]) -> dict[str, bytes]:
    return {task_id.lower(): body for task_id, body in bodies.items()}


@settings(max_examples=60, deadline=None)
@given(
    source=st.lists(st.tuples(NAMES, st.booleans()), min_size=1, max_size=30),
    job=st.dictionaries(NAMES, st.booleans(), max_size=30),
    page_max=st.integers(1, 5),
    failing=st.sampled_from([0.0, 0.3]),
    order=st.sampled_from([str, lambda text: text[::-1], lambda text: text.replace("-", "")]),
    shuffled=st.booleans(),
    content=st.booleans(),
    hidden=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_it_is_the_difference(
    *,
    source: list[tuple[str, bool]],
    job: dict[str, bool],
    page_max: int,
    failing: float,
    order: Callable[[str], Any],
    shuffled: bool,
    content: bool,
    hidden: int,
    seed: int,
) -> None:
    """
    Whatever the pages, their order, the failures and the lag: what is missing, extra, changed and
    repeated is what two dictionaries say.
    """
    held = {name: body(name, str(word)) for name, word in folded_first(job).items()}
    odd = OddJob(
        held,
        order=order,
        shuffled=shuffled,
        page_max=page_max,
        failing=failing,
        retry_after_s=3.0,
        unseen={name.lower(): 1 for name in list(held)[:hidden]},
        random=Random(seed),
    )

    with (
        mock.patch.object(census, "SPLIT_PAGES_MIN", 2),
        mock.patch.object(verifier, "SPAN_TASKS", 3),
    ):
        found = compared([body(name, str(word)) for name, word in source], odd, content=content)

    ours: dict[str, set[str]] = {}
    for name, word in source:
        ours.setdefault(name.lower(), set()).add(str(word))
    theirs = {name.lower(): str(word) for name, word in folded_first(job).items()}
    seen = theirs.keys() - ({n.lower() for n in list(held)[:hidden]} - ours.keys())
    assert found.expected == len(ours)
    assert found.repeated == len(source) - len(ours)
    assert found.counts[Kind.MISSING] == len(ours.keys() - theirs.keys())
    assert len(found.missing) == found.counts[Kind.MISSING]
    # An extra one that the list does not show yet cannot be known.
    assert len(seen - ours.keys()) <= found.counts[Kind.EXTRA] <= len(theirs.keys() - ours.keys())
    other = [name for name in ours.keys() & theirs.keys() if theirs[name] not in ours[name]]
    assert found.counts[Kind.CHANGED] == (len(other) if content else 0)
    assert odd.in_flight_peak <= 4


def folded_first(job: Mapping[str, bool]) -> dict[str, bool]:
    """The first of those that are one ID."""
    first: dict[str, str] = {}
    for name in job:
        first.setdefault(name.lower(), name)
    return {name: job[name] for name in first.values()}


def test_a_long_foreign_part_is_split() -> None:
    """
    10,000 tasks that the source does not have are listed side by side, few of them more than
    twice; each is found once.
    """
    job = OddJob(numbered(range(10_000)), page_max=100, random=Random(3))

    with mock.patch.object(census, "SPLIT_PAGES_MIN", 4):
        found = compared([body("a")], job)

    assert found.counts == {Kind.MISSING: 1, Kind.EXTRA: 10_000, Kind.CHANGED: 0}
    assert job.in_flight_peak == 4
    assert len(job.queries) > 10
    assert job.requests < 2.5 * 10_000 / 100  # A page is now and then a short one.


def test_every_row_is_in_the_file(tmp_path: Path) -> None:
    """
    The file of differences has each once, though they were looked for twice; the examples are
    the first ones.
    """
    tasks = numbered(range(2000))
    source = [tasks[f"T-{n:06}"] for n in range(1000)]
    job = OddJob({name: tasks[name] for name in list(tasks)[500:]}, unseen={"t-000700": 1})
    path = tmp_path / "rows.ndjson"

    with closing(Rows(path, lambda ordinal, line: f"source:{line} ({ordinal})")) as rows:
        found = compared(source, job, rows=rows)

    written = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    missing = sorted(row["id"] for row in written if row["difference"] == "missing")
    assert missing == [f"T-{n:06}" for n in range(500)]
    assert sum(row["difference"] == "extra" for row in written) == 1000
    assert len(written) == 1500
    (first,) = [row for row in written if row["id"] == "T-000000"]
    assert first["where"] == "source:1 (0)"
    assert [one.task_id for one in found.examples[Kind.MISSING]] == [f"T-{n:06}" for n in range(10)]
    assert [one.task_id for one in found.examples[Kind.EXTRA]] == [
        f"T-{n:06}" for n in range(1000, 1010)
    ]


def test_a_list_that_lags_is_made_again() -> None:
    """
    If more is missing than is asked for one by one, and some of that is there, the list lags: it
    is made again, and says so.
    """
    tasks = numbered(range(3000))
    job = OddJob(tasks, unseen={task_id.lower(): 2 for task_id in tasks})
    events: list[Event] = []

    found = compared(tasks.values(), job, events=events)

    assert found.counts[Kind.MISSING] == 0
    assert any(isinstance(event, Noted) and event.what == "lag" for event in events)


def test_what_is_missing_is_not_asked_for_without_end() -> None:
    """
    If all of a large source is missing, 1,000 of it are asked for.
    """
    tasks = numbered(range(5000))
    job = OddJob({})

    found = compared(tasks.values(), job)

    assert found.counts[Kind.MISSING] == 5000
    assert job.requests < 1000 + 100


def test_left_out_items_may_be_there_or_not() -> None:
    """
    What the run rejected is neither missing nor extra nor changed; unless another item has its
    ID, which counts as ever.
    """
    source = [body("a"), body("b"), body("c", "mine"), body("d"), body("D", "second")]
    job = OddJob({"b": body("b"), "c": body("c", "theirs")})

    found = compared(source, job, content=True, left_out=[0, 2, 4])

    assert found.expected == 2
    assert found.counts == {Kind.MISSING: 1, Kind.EXTRA: 0, Kind.CHANGED: 0}
    assert found.some_missing == ["d"]
    assert found.repeated == 0


def test_items_that_are_no_tasks() -> None:
    """
    They stop it, or are left out.
    """
    source = [body("a"), b'{"id":"b"}']

    with pytest.raises(SourceError, match="commandLine missing"):
        compared(source, OddJob({"a": body("a")}))
    found = compared(source, OddJob({"a": body("a"), "b": body("b")}), invalid="reject")

    assert (found.expected, found.found) == (1, 2)
    assert not any(found.counts.values())


def test_hashes_that_collide_hide_nothing() -> None:
    """
    If all IDs had one hash, the difference would be the same.
    """
    tasks = numbered(range(300))
    job = OddJob({name: tasks[name] for name in list(tasks)[100:]})

    with mock.patch.object(spill, "xxh3_64_intdigest", return_value=7):
        found = compared(list(tasks.values())[:200], job)

    assert found.counts == {Kind.MISSING: 100, Kind.EXTRA: 100, Kind.CHANGED: 0}


def test_odd_ids_of_the_service_are_told() -> None:
    """
    An ID that no service should have does not mix up the others.
    """
    odd = {"a\tb\n": b"{}", "\u2028": b"{}", "é": b"{}"}

    found = compared([body("a")], OddJob({"a": body("a"), **odd}))

    assert found.counts[Kind.EXTRA] == 3
    assert [one.task_id for one in found.examples[Kind.EXTRA]] == ["%E2%80%A8", "a%09b%0A", "é"]


def test_a_service_that_is_down_ends_it() -> None:
    """
    After the retry timeout without a good answer it gives up, with the last reason; by then it has
    asked now and then, and not flooded it.
    """
    tasks = numbered(range(8000))  # Enough for each list that may be made at the same time.
    job = OddJob(tasks, failing=1.0)

    with pytest.raises(ServiceUnreachable, match=r"no usable answer for .* s: 503"):
        compared(tasks.values(), job, retry_timeout_s=60.0)

    assert job.requests < 30


def test_pages_that_are_too_large_shrink() -> None:
    """
    With content, a page that cannot be had is asked for with fewer tasks.
    """

    class Narrow(OddJob):
        async def _fails(self) -> None:
            self.requests += 1

        async def list_tasks(
            self, link: str | None = None, *, within: TaskSpan | None = None
        ) -> TaskPage | Unavailable:
            if within is not None and within.page_max > 40:
                return Unavailable("the answer is too long", sent=True)
            return await super().list_tasks(link, within=within)

    tasks = numbered(range(300))

    found = compared(tasks.values(), Narrow(tasks), content=True)

    assert found.expected == found.found == 300
    assert not any(found.counts.values())


def test_what_is_missing_can_be_written(tmp_path: Path) -> None:
    """
    In order of the source, one a line, whatever the source looked like.
    """
    tasks = numbered(range(50))
    path = tmp_path / "tasks.json"
    path.write_bytes(b"[\n" + b",\n".join(b.replace(b",", b",\n ") for b in tasks.values()) + b"]")
    job = OddJob({name: tasks[name] for name in list(tasks)[::2]})
    written = io.BytesIO()

    async def look() -> int:
        with (
            closing(open_source(path)) as source,
            closing(
                Verifier(
                    source,
                    job,
                    settings=Settings(),
                    content=False,
                    left_out=None,
                    observer=lambda _: None,
                    random=Random(2),
                )
            ) as verifying,
        ):
            await verifying.look()
            count = await verifying.write_missing(written)
            path.write_bytes(path.read_bytes() + b" ")
            with pytest.raises(SourceError, match="is not what it was"):
                await verifying.write_missing(io.BytesIO())
            return count

    count, _ = run_virtual(look)

    lines = written.getvalue().splitlines()
    assert count == len(lines) == 25
    assert [orjson.loads(line)["id"] for line in lines] == list(tasks)[1::2]


def test_samples_are_even() -> None:
    """
    A sample has from each stretch as much as from any other, and no more than it may.
    """
    sample = Sample()
    ids = [f"{n:06}" for n in range(100_000)]
    for begin in range(0, len(ids), 777):
        sample.add(ids[begin : begin + 777])

    steps = {int(b) - int(a) for a, b in zip(sample.ids, sample.ids[1:], strict=False)}
    assert steps == {4}
    assert len(sample.ids) == 25_000
