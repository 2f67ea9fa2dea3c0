"""What the emulator's page says, as plain values: the page and a program are told the same.

It is made when someone looks, from counters; no task is looked at, however many there are.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice

from bulksubmit.core.wire import timestamp, to_ticks
from bulksubmit.emulator.record import SECONDS_KEPT, Seen
from bulksubmit.emulator.service import Service
from bulksubmit.emulator.store import Job

JOBS_MAX = 100  # The newest; of an account with thousands nobody reads more.
REQUESTS_MAX = 30
RATE_SECONDS = 10
_TEXT_CHARS_MAX = 64  # Of what a client may choose freely; a job's ID is never longer.
_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job.

    Attributes:
        id: As it was created.
        state: JobState, as the REST reference spells it.
        tasks: How many it has.
        active: How many of them are not complete.
        completed: How many are.
        on_all_tasks_complete: ``noaction`` or ``terminatejob``.
        created: When, in UTC, as ISO 8601.
    """

    id: str
    state: str
    tasks: int
    active: int
    completed: int
    on_all_tasks_complete: str
    created: str


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A request that came to its end.

    Attributes:
        time: When, in UTC, as ISO 8601.
        operation: What was asked.
        job_id: Of the job that its path names; empty if it names none.
        status: The answer's; None if the connection was cut instead.
        tasks: How many it held; 0 if they were not looked at.
        body_bytes: The size of its body.
        fault: What went wrong with it; None for nothing.
        client_request_id: The client's name for it; None if it has none.
    """

    time: str
    operation: str
    job_id: str
    status: int | None
    tasks: int
    body_bytes: int
    fault: str | None
    client_request_id: str | None


@dataclass(frozen=True, slots=True)
class FaultLine:
    """A fault.

    Attributes:
        kind: Its name, as that of its rate.
        of: Whether it strikes a ``request`` or a ``task``.
        rate: How often it is set to strike by chance; None for a fault that only a script makes.
        injected: How often it struck, be it by chance, by a script, or for a lack of capacity.
    """

    kind: str
    of: str
    rate: float | None
    injected: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An emulator at one moment.

    Attributes:
        endpoint: Where it listens.
        account: The account's name; None if it is open to everybody.
        since: When it began to listen, in UTC, as ISO 8601.
        now: The moment itself, likewise.
        up_s: The seconds in between.
        requests: How many came to their end.
        requests_per_s: The same a second, over the last RATE_SECONDS whole seconds.
        tasks: How many came in, each as often as it was sent.
        tasks_per_s: The same a second.
        tasks_of_each_second: Over the last minute, oldest first, without the second that is not
            over yet.
        in_flight: Requests that are being answered.
        in_flight_peak: The most there ever were at once.
        connections: How many were opened, those of who looks at the page among them.
        body_bytes: Of all bodies.
        by_operation: Requests by operation, the most frequent first.
        by_status: By status, ``none`` for no answer, the most frequent first.
        faults: Those that are set to strike or did.
        jobs_in_all: How many jobs there are.
        jobs: The newest JOBS_MAX of them, newest first.
        last_requests: The newest REQUESTS_MAX, newest first.
    """

    endpoint: str
    account: str | None
    since: str
    now: str
    up_s: float
    requests: int
    requests_per_s: float
    tasks: int
    tasks_per_s: float
    tasks_of_each_second: list[int]
    in_flight: int
    in_flight_peak: int
    connections: int
    body_bytes: int
    by_operation: dict[str, int]
    by_status: dict[str, int]
    faults: list[FaultLine]
    jobs_in_all: int
    jobs: list[JobLine]
    last_requests: list[RequestLine]


def take(service: Service, *, endpoint: str, since_s: float, now_s: float) -> Snapshot:
    """Look at a service.

    Args:
        service: Which.
        endpoint: Where it listens.
        since_s: Since when, as POSIX time.
        now_s: The time, as POSIX time.
    """
    record = service.record
    by_second = record.recent.whole_seconds(now_s)
    # An emulator that has just begun is not slow: it is new.
    seconds = min(RATE_SECONDS, max(1, int(now_s) - int(since_s)), SECONDS_KEPT)
    latest = by_second[-seconds:]
    jobs_in_all, newest, ticks = 0, deque[Job](maxlen=JOBS_MAX), to_ticks(now_s)
    for job in service.jobs():
        if job.gone_ticks is None or job.gone_ticks > ticks:  # Removed when someone asks for it.
            jobs_in_all += 1
            newest.append(job)
    statuses = {str(status or "none"): n for status, n in record.by_status.most_common()}
    return Snapshot(
        endpoint=endpoint,
        account=None if service.access is None else service.access.account_name,
        since=_time(since_s),
        now=_time(now_s),
        up_s=round(now_s - since_s, 3),
        requests=record.requests,
        requests_per_s=sum(requests for requests, _ in latest) / seconds,
        tasks=record.tasks,
        tasks_per_s=sum(tasks for _, tasks in latest) / seconds,
        tasks_of_each_second=[tasks for _, tasks in by_second],
        in_flight=record.in_flight,
        in_flight_peak=record.in_flight_peak,
        connections=record.connections,
        body_bytes=record.body_bytes,
        by_operation={str(name): n for name, n in record.by_operation.most_common()},
        by_status=statuses,
        faults=_faults(service),
        jobs_in_all=jobs_in_all,
        jobs=[_job(job, ticks) for job in reversed(newest)],
        last_requests=[_request(seen) for seen in islice(reversed(record.log), REQUESTS_MAX)],
    )


def _faults(service: Service) -> list[FaultLine]:
    record, faults = service.record, service.faults
    lines = [
        FaultLine(str(fault), "request", rate, record.by_fault[fault])
        for fault, rate in faults.rates()
    ]
    rates = {"server_error": faults.server_error, "server_error_added": faults.server_error_added}
    kinds = dict.fromkeys([*rates, *record.by_task_fault])
    lines += [
        FaultLine(_printable(kind), "task", rates.get(kind), record.by_task_fault[kind])
        for kind in kinds
    ]
    return [line for line in lines if line.rate or line.injected]


def _job(job: Job, ticks: int) -> JobLine:
    job.settle(ticks=ticks)  # What has been due since before someone looks has happened.
    active = job.counts.active
    return JobLine(
        id=job.id,
        state=str(job.state),
        tasks=len(job),
        active=active,
        completed=len(job) - active,
        on_all_tasks_complete=job.on_all_tasks_complete,
        created=timestamp(job.created_ticks),
    )


def _request(seen: Seen) -> RequestLine:
    name = seen.client_request_id
    return RequestLine(
        time=_time(seen.time_s),
        operation=str(seen.operation),
        job_id=_printable(seen.job_id),
        status=seen.status,
        tasks=seen.tasks,
        body_bytes=seen.body_bytes,
        fault=None if seen.fault is None else str(seen.fault),
        client_request_id=None if name is None else _printable(name),
    )


def _time(posix_s: float) -> str:
    return timestamp(to_ticks(round(posix_s, 3)))


def _printable(text: str) -> str:
    """A client's text, short, and without what moves the writing around or is no character."""
    cut = text if len(text) <= _TEXT_CHARS_MAX else f"{text[: _TEXT_CHARS_MAX - 1]}…"
    return "".join(each if each.isprintable() else _UNPRINTABLE for each in cut)
