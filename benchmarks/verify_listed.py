"""Verifies a sweep of many tasks against a job in process, which lists all of them but one.

To be measured from outside, in a process of its own: see ``verify``.
"""

import json
import sys
import time
from contextlib import closing
from random import Random

import anyio

from bulksubmit.core.wire import Job, ListedTask, TaskPage, TaskSpan
from bulksubmit.producer import SourceSpec, open_source
from bulksubmit.settings import Settings
from bulksubmit.verify.difference import Kind
from bulksubmit.verify.verifier import Verifier

_TEMPLATE = '{"id":"Frame-{n}-render","commandLine":"render --frame {n}"}'
_LATENCY_S = 0.001


class _Numbered:
    """A job of so many tasks, of which it makes a page at a time; the last one is missing."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._rest: dict[str, tuple[int, int]] = {}

    async def get_job(self) -> Job:
        return Job("job", "active")

    async def list_tasks(
        self, link: str | None = None, *, within: TaskSpan | None = None
    ) -> TaskPage:
        await anyio.sleep(_LATENCY_S)
        if within is None:
            first, end = self._rest.pop(str(link))
        else:
            first, end = self._at_or_after(within.low, 1), self._at_or_after(within.high, None)
        page_end = min(end, first + 1000)
        page = [ListedTask(_name(n), b"{}") for n in range(first, page_end)]
        next_link = None
        if page_end < end:
            next_link = str(page_end)
            self._rest[next_link] = page_end, end
        return TaskPage(page, next_link)

    def _at_or_after(self, bound: str | None, otherwise: int | None) -> int:
        if bound is None:
            return otherwise or self._tasks
        digits = bound.removeprefix("frame-")[:8]
        if not digits.isdigit():
            raise ValueError(f"cut at {bound}, which is no ID of the source")
        number = int(digits.ljust(8, "0"))
        return min(self._tasks, number if bound <= _name(number).lower() else number + 1)

    async def get_task(self, task_id: str) -> ListedTask | None:
        number = int(task_id[6:14])
        return ListedTask(task_id, b"{}") if number < self._tasks else None


def _name(number: int) -> str:
    return f"Frame-{number:08}-render"


async def _verify(tasks: int) -> dict[str, float]:
    spec = SourceSpec(template=_TEMPLATE, sweeps=(f"n=00000001..{tasks:08}",))
    with (
        closing(open_source(spec)) as source,
        closing(
            Verifier(
                source,
                _Numbered(tasks),
                settings=Settings(),
                content=False,
                left_out=None,
                observer=lambda _: None,
                random=Random(1),  # noqa: S311 - jitter
            )
        ) as verifier,
    ):
        found = await verifier.look()
        return {
            "expected": found.expected,
            "missing": found.counts[Kind.MISSING],
            "extra": found.counts[Kind.EXTRA],
            "requests": verifier.requests,
        }


def main() -> None:
    """Verify so many; print what was found."""
    print(json.dumps(anyio.run(_verify, int(sys.argv[1])) | {"cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()
