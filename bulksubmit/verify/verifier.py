"""The straight line of a verification: source ─▶ disk ◀─ list of the job, compared part by part."""

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import IO, Protocol
from urllib.parse import quote

import anyio
import msgspec
from anyio import to_thread

from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.events import Noted, Observer
from bulksubmit.core.model import Invalid, Task
from bulksubmit.core.spans import Span, cut
from bulksubmit.core.taskcheck import JobFacts
from bulksubmit.core.taskfields import fields_of
from bulksubmit.core.taskspec import TaskAddParameter
from bulksubmit.core.wire import ListedTask
from bulksubmit.errors import OutputError, SourceError
from bulksubmit.intake import stopped_at
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Block, Done, Source
from bulksubmit.producer.spec import change_of, fingerprints
from bulksubmit.service.jobs import Jobs, find_job
from bulksubmit.settings import Settings
from bulksubmit.verify.census import PAGE_MAX, Census, Lister
from bulksubmit.verify.difference import (
    ASKED_MAX,
    Comparison,
    Difference,
    Kind,
    Tell,
    expected_record,
    found_record,
    left_out_record,
)
from bulksubmit.verify.report import Rows
from bulksubmit.verify.spill import PARTS, Spill, on_one_line

PLACES = 16  # Lists at the same time, unless the settings fix it.
SPAN_TASKS = 10 * PAGE_MAX  # Of a part of the list, as far as the source tells.
SPANS_MAX = 2000  # 5 kB of memory each.
SAMPLE_MAX = 16 * SPANS_MAX  # IDs of the source. 16 a part: most are within a quarter of the mean.

# A list may lag behind what was added. Those that it does not show are asked for, and it is made
# again if they are there: so often, with 1, 2, 4 and 8 s between.
LISTS_MAX = 5
PAUSE_S_MIN = 1.0

# Bodies of all pages in flight, as far as the tasks sent tell; a page is held some three times.
_PAGES_BYTES = 8 * 2**20
_SHOWN_BYTES = 1000  # What the service adds to a task, if everything is shown: about 900.

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Service(Jobs, Lister, Protocol):
    """The service as a verification needs it: a Transport, or a double in process."""


class Sample:
    """Some of the IDs of a source, evenly.

    Attributes:
        ids: At most SAMPLE_MAX.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._stride, self._skip = 1, 0

    def add(self, ids: Sequence[str]) -> None:
        """Take in the next IDs."""
        taken = ids[self._skip :: self._stride]
        self.ids += taken
        self._skip += len(taken) * self._stride - len(ids)
        while len(self.ids) > SAMPLE_MAX:
            self.ids = self.ids[::2]
            self._stride *= 2


class Verifier:
    """Compares a source with a job.

    Attributes:
        difference: The last one found; None before.
        items: How many items of the source were read.
        invalid: How many of them are no tasks, and were left out.
        left_out: How many others were left out, since they are not expected.
        asked: How many missing tasks were asked for one by one.
    """

    def __init__(
        self,
        source: Source,
        service: Service,
        *,
        settings: Settings,
        content: bool,
        left_out: Bitmap | None,
        rows: Rows | None = None,
        observer: Observer,
        random: Random,
        folder: Path | None = None,
    ) -> None:
        """Compare nothing yet.

        Args:
            source: Not read before.
            service: That has the job.
            settings: How to read, and how patiently to ask.
            content: Whether to compare what the tasks say, too.
            left_out: Ordinals of items that may be there or not.
            rows: Told of each difference, anew each time that all are looked for.
            observer: Told of each request and more.
            random: For jitter.
            folder: Where temporary files go; None for the platform's usual place.

        Raises:
            OutputError: if the temporary files cannot be made.
        """
        self._source, self._service, self._settings = source, service, settings
        self._content, self._left_out = content, left_out or Bitmap()
        self._rows, self._observer, self._random = rows, observer, random
        self._expected, self._found = Spill(folder), Spill(folder)
        places = PLACES if settings.concurrency == "auto" else settings.concurrency
        self._places = places
        self._census = Census(
            service,
            places=places,
            retry_timeout_s=settings.retry_timeout_s,
            random=random,
            observer=observer,
        )
        self._sample, self._fields, self._files = Sample(), {"id"}, ""
        self._bodies_bytes = 0
        self._comparison: Comparison | None = None
        self._phase = "looking at the job"
        self.difference: Difference | None = None
        self.items = self.invalid = self.left_out = self.asked = 0

    @property
    def requests(self) -> int:
        """How many requests were sent, but for the first look at the job."""
        return self._census.requests

    async def look(self) -> Difference:
        """Read the source, list the job, and compare.

        Raises:
            SourceError: if the source cannot be read, or an item of it is no task.
            OutputError: if a file cannot be written.
            ServiceRefused: if the job does not exist, or we may not ask.
            ServiceUnreachable: if nothing answers, patiently asked.
        """
        job = await find_job(
            self._service, retry_timeout_s=self._settings.retry_timeout_s, random=self._random
        )
        self._source.checker.job = JobFacts(job.uses_task_dependencies, job.on_task_failure)
        self._phase = "reading"
        if self._source.spec is not None:
            self._files = fingerprints(self._source.spec)
        await self._source.read(self._admit)
        self._expected.flush()
        self._ask_for_content()
        return await self._look_until_settled()

    async def look_again(self) -> Difference:
        """Compare anew, after missing tasks were submitted. Raises what look() does."""
        assert self.difference is not None
        if self.difference.counts[Kind.MISSING] <= ASKED_MAX:
            await self._ask_each(self.difference.some_missing)
            return await self._compare()
        return await self._look_until_settled()

    async def _look_until_settled(self) -> Difference:
        for lists in range(1, LISTS_MAX + 1):
            await self._list()
            difference = await self._compare()
            missing, asked = difference.counts[Kind.MISSING], difference.some_missing
            shown = await self._ask_each(asked)
            if not shown:
                break
            difference = await self._compare()
            if missing <= len(asked):
                break
            await self._wait_for_list(lists, f"{shown:,} of {len(asked):,}")
        return difference

    async def _wait_for_list(self, lists: int, how_many: str) -> None:
        lags = f"the list lags: {how_many} tasks that it does not show are there"
        if lists == LISTS_MAX:
            lags += "; after so many lists, not all that is called missing may be so"
            self._observer(Noted("warning", lags))
            return
        pause_s = PAUSE_S_MIN * 2 ** (lists - 1)
        self._observer(Noted("lag", f"{lags}; it is made again in {pause_s:g} s"))
        await anyio.sleep(pause_s)

    # --- The source's side -------------------------------------------------------------------

    async def _admit(self, block: Block) -> None:
        records: list[tuple[str, bytes]] = []
        for invalid in block.invalid:
            self._leave_out(invalid, records)
        left_out = len(self._left_out) > 0
        for task in block.tasks:
            if left_out and task.ordinal in self._left_out:
                self.left_out += 1
                records.append((task.id, left_out_record(task.id)))
                continue
            body = b""
            if self._content:
                body = on_one_line(task.body)
                self._fields |= _members.decode(body).keys()
                self._bodies_bytes += len(body)
            records.append((task.id, expected_record(task.id, task.ordinal, task.line, body)))
        self._expected.add(records)
        self._sample.add([task.id for task in block.tasks])
        self.items = block.after.ordinal

    def _leave_out(self, invalid: Invalid, records: list[tuple[str, bytes]]) -> None:
        if invalid.ordinal not in self._left_out and self._settings.invalid == "stop":
            raise stopped_at(self._source, invalid)
        self.invalid += 1
        if invalid.id:
            task_id = _quoted(invalid.id)
            records.append((task_id, left_out_record(task_id)))

    async def write_missing(self, to: IO[bytes]) -> int:
        """Write the tasks that are missing, one a line, in order of the source.

        The source must be one that can be opened again.

        Returns:
            How many.

        Raises:
            SourceError: if it cannot be read, or is not what it was.
            OutputError: if they cannot be written.
        """
        assert self.difference is not None
        spec = self._source.spec
        assert spec is not None
        if change := change_of(spec, spec.to_json(), self._files):
            raise SourceError(self._source.name, None, f"is not what it was: {change}")
        others, missing = Bitmap(), self.difference.missing
        others.add_range(0, self.items)
        others.remove(missing)
        written = 0

        async def write(block: Block) -> None:
            nonlocal written
            wanted: list[Task] = [task for task in block.tasks if task.ordinal in missing]
            try:
                to.writelines(on_one_line(task.body) + b"\n" for task in wanted)
            except OSError as error:
                raise OutputError(f"a temporary file cannot be written: {error}") from error
            written += len(wanted)

        with closing(open_source(spec, self._source.checker)) as again:
            await again.read(write, Done(others, ()))
        return written

    # --- The job's side ----------------------------------------------------------------------

    def _ask_for_content(self) -> None:
        if not self._content:
            return
        known = fields_of(TaskAddParameter)
        # Who knows whether a list can select what the model does not have.
        shows_all = not self._fields <= known.keys()
        self._census.fields = None if shows_all else tuple(sorted(self._fields))
        shown_bytes = 2 * self._bodies_bytes // max(1, self.items) + _SHOWN_BYTES
        page_max = _PAGES_BYTES // self._places // shown_bytes
        self._census.page_max = min(PAGE_MAX, max(1, page_max))

    def _spans(self) -> list[Span]:
        parts = max(math.ceil(self.items / SPAN_TASKS), min(self._places, self.items // PAGE_MAX))
        sample = [task_id.lower() for task_id in self._sample.ids]
        return cut(sample, max(1, min(parts, SPANS_MAX)))

    async def _list(self) -> None:
        self._phase = "listing"
        await self._census.list_all(self._spans(), self._take)

    async def _ask_each(self, ids: Sequence[str]) -> int:
        """Ask for tasks by their IDs; how many there are."""
        if not ids:
            return 0
        self._phase = f"asking for {len(ids):,} tasks that no list shows"
        shown = 0

        def take(tasks: Sequence[ListedTask]) -> None:
            nonlocal shown
            shown += len(tasks)
            self._take(tasks)

        await self._census.get_each(ids, take)
        self.asked = len(ids)
        return shown

    def _take(self, tasks: Sequence[ListedTask]) -> None:
        ids = [_quoted(each.id) for each in tasks]
        bodies = [on_one_line(each.body) if self._content else b"" for each in tasks]
        records = map(found_record, ids, bodies)
        self._found.add(zip(ids, records, strict=True))

    async def _compare(self) -> Difference:
        self._phase = "comparing"
        self._found.flush()
        tell: Tell | None = None
        if self._rows:
            self._rows.restart()
            tell = self._rows.tell
        self._comparison = Comparison(self._expected, self._found, content=self._content, tell=tell)
        self.difference = await to_thread.run_sync(self._comparison.run, abandon_on_cancel=True)
        return self.difference

    @property
    def progress(self) -> str:
        """How far it is, in one line."""
        match self._phase:
            case "reading":
                return f"reading {self._source.name}: {self.items:,} tasks"
            case "listing":
                listed = self._census.listed
                percent = min(99, 100 * listed // self.items) if self.items else 99
                return f"{percent:3d}% · {listed:,} listed, {self.items:,} expected"
            case "comparing":
                done = self._comparison.parts_done if self._comparison else 0
                return f"comparing: {100 * done // PARTS}%"
            case phase:
                return phase

    def close(self) -> None:
        """Remove the temporary files."""
        self._expected.close()
        self._found.close()


def _quoted(task_id: str) -> str:
    """An ID as a record can hold it. No valid one changes."""
    return task_id if task_id.isprintable() else quote(task_id, errors="replace")
