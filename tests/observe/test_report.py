"""The account of a run, its exit code, and how they are shown."""

from dataclasses import replace

import orjson
import pytest

from bulksubmit.core.events import (
    Anomaly,
    Event,
    Held,
    LimitChanged,
    RequestEnded,
    Resumed,
    SourceRead,
)
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.errors import (
    BulkSubmitError,
    NotConverged,
    OutputError,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    SettingsError,
    SourceError,
)
from bulksubmit.observe.report import Report, Tally, exit_code
from bulksubmit.observe.table import report_table

# As README and requirements name them, in their order.
KEYS = [
    "run_id",
    "job_id",
    "converged",
    "total",
    "added",
    "existed",
    "rejected",
    "existed_own",
    "abandoned",
    "unsettled",
    "in_doubt",
    "source_complete",
    "requests",
    "retried_requests",
    "throttled_requests",
    "bytes_sent",
    "elapsed_s",
    "tasks_per_s",
    "limit",
    "limit_reason",
    "limit_raised",
    "limit_cut",
    "limited_by",
    "limited_share",
    "advice",
    "rejects_path",
    "journal_path",
    "exit_code",
]


def request_ended(reply: str = "answered", *, attempt: int = 1, resent: int = 0) -> RequestEnded:
    return RequestEnded(
        operation="add_task_collection" if attempt else "get_job",
        method="POST" if attempt else "GET",
        url="https://a.westeurope.batch.azure.com/jobs/j",
        attempt=attempt,
        client_request_id="c",
        request_id="r",
        status=200,
        reply=reply,
        reason=None,
        tasks=100,
        resent=resent,
        bytes_sent=5000,
        latency_s=0.1,
    )


def outcomes(verdict: Verdict, count: int, *, in_doubt: bool = False) -> list[Outcome]:
    return [Outcome(n, n + 1, f"t{n}", verdict, in_doubt=in_doubt) for n in range(count)]


def record(tally: Tally, told: list[Outcome]) -> None:
    tally.record(told, [o for o in told if o.verdict is not Verdict.ADDED])


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def report(total: int, *events: Event, elapsed_s: float = 10.0, **settled: int) -> Report:
    """The report of a run with so many tasks of each verdict."""
    clock = Clock()
    tally = Tally(clock)
    tally.counts.total = total
    for event in events:
        tally(event)
    for name, count in settled.items():
        record(tally, outcomes(Verdict(name), count))
    clock.now_s += elapsed_s
    unsettled = total - sum(settled.values())
    return tally.report(run_id="run-1", job_id="job-1", unsettled=unsettled)


# --- The account ---------------------------------------------------------------------------------


def test_the_keys_are_those_that_were_promised() -> None:
    """as_dict() has every key, in order; ``error`` only if there was one."""
    ended = report(10, SourceRead(10), added=10)

    assert list(ended.as_dict()) == KEYS
    assert list(replace(ended, error="why").as_dict()) == [*KEYS, "error"]
    assert orjson.loads(orjson.dumps(ended.as_dict())) == ended.as_dict()


def test_what_is_counted() -> None:
    """Attempts count as requests, other operations do not; each kind of reply has its place."""
    ended = report(
        1000,
        request_ended(attempt=0),
        request_ended(),
        request_ended("throttled", resent=3),
        request_ended("lost", resent=100),
        Anomaly("missing_id", 1, "t1"),
        SourceRead(1000),
        added=990,
        existed=6,
        rejected=4,
    )

    assert (ended.requests, ended.retried_requests, ended.throttled_requests) == (3, 2, 1)
    assert ended.bytes_sent == 3 * 5000
    assert (ended.elapsed_s, ended.tasks_per_s) == (10.0, 100.0)
    assert ended.converged
    assert ended.exit_code == 6


def test_existed_own_is_what_an_earlier_attempt_took() -> None:
    """A task that exists after a lost answer is our own; one that did before is not."""
    tally = Tally(lambda: 0.0)
    record(tally, outcomes(Verdict.EXISTED, 3, in_doubt=True))
    record(tally, outcomes(Verdict.EXISTED, 2))
    record(tally, outcomes(Verdict.ADDED, 2, in_doubt=True))

    ended = tally.report(run_id=None, job_id="job-1")

    assert (ended.existed, ended.existed_own, ended.added) == (5, 3, 2)
    assert ended.tasks_per_s == 0.0


@pytest.mark.parametrize(
    ("complete", "abandoned", "unsettled", "converged"),
    [
        (True, 0, 0, True),
        (False, 0, 0, False),
        (True, 1, 0, False),
        (True, 0, 1, False),
    ],
)
def test_converged(*, complete: bool, abandoned: int, unsettled: int, converged: bool) -> None:
    """Read to its end and nothing unsettled or abandoned; anything less is exit 5."""
    events = [SourceRead(10)] if complete else []
    total = 10 + abandoned + unsettled

    ended = report(total, *events, added=10, abandoned=abandoned)

    assert ended.converged is converged
    assert ended.exit_code == (0 if converged else 5)


@pytest.mark.parametrize(
    ("error", "requests", "rejected", "code"),
    [
        (None, 10, 0, 0),
        (None, 10, 1, 6),
        (None, 0, 1, 6),
        (ValueError("a bug"), 10, 0, 1),
        (SettingsError("no"), 10, 0, 2),
        (SourceError("f", 1, "no"), 0, 0, 2),
        (SourceError("f", 1, "no"), 1, 0, 5),
        (OutputError("full"), 0, 0, 2),
        (OutputError("full"), 1, 0, 5),
        (ServiceRefused(Refusal.NOT_FOUND, "JobNotFound", "no"), 0, 0, 3),
        (ServiceRefused(Refusal.AUTHENTICATION, "AuthenticationFailed", "no"), 9, 0, 4),
        (ServiceRefused(Refusal.JOB_CLOSED, "JobCompleted", "no"), 9, 5, 7),
        (ServiceRefused(Refusal.REQUEST, "InvalidUri", "no"), 0, 0, 2),
        (ServiceRefused(Refusal.REQUEST, "InvalidUri", "no"), 1, 0, 5),
        (ServiceUnreachable("no", name_unknown=True), 0, 0, 3),
        (ServiceUnreachable("no", name_unknown=False), 0, 0, 5),
        (NotConverged("gave up"), 10, 1, 5),
        (NotConverged("interrupted", exit_code=130), 10, 0, 130),
        (NotConverged("interrupted", exit_code=143), 0, 0, 143),
        (BulkSubmitError("other"), 1, 0, 5),
    ],
)
def test_exit_codes(error: Exception | None, requests: int, rejected: int, code: int) -> None:
    """The table of the README, row by row."""
    assert exit_code(error, requests=requests, rejected=rejected) == code


def test_an_error_without_words_is_named() -> None:
    """An exception with an empty message shows at least its type."""
    tally = Tally(lambda: 0.0)

    ended = tally.report(run_id=None, job_id="j", error=AssertionError())

    assert ended.error == "AssertionError"
    assert ended.exit_code == 1


def test_how_long_the_hold_is() -> None:
    """It runs down to zero, and is over when sending goes on."""
    clock = Clock()
    tally = Tally(clock)
    told = [tally.holding_s]
    tally(Held("429", 20.0))
    for passes_s in (2.0, 30.0):
        clock.now_s += passes_s
        told.append(tally.holding_s)
    tally(Resumed())

    assert [*told, tally.holding_s] == [None, 18.0, 0.0, None]


# --- The table for a person ----------------------------------------------------------------------


def test_the_table() -> None:
    """What a person wants to know, one line each, in one column."""
    ended = report(1234567, SourceRead(1234567), request_ended(resent=2), added=5, rejected=2)
    ended = replace(
        ended, existed=7, existed_own=3, unsettled=1234553, in_doubt=9, rejects_path="/r", error="e"
    )

    table = report_table(ended)

    rows = {line[:11].strip(): line[13:] for line in table.splitlines()}
    assert table.endswith("\n")
    assert rows["job"] == "job-1"
    assert rows["converged"] == "no"
    assert rows["tasks read"] == "1,234,567"
    assert rows["added"] == "5"
    assert rows["existed"] == "7, 3 by earlier attempts of this run"
    assert rows["unsettled"] == "1,234,553, 9 of them may have been added"
    assert rows["requests"] == "1, 1 with tasks sent before"
    assert rows["rejects"] == "/r"
    assert rows["ended by"] == "e"
    assert "submit the tasks again" in rows["next"]


def test_the_limit_in_the_report_and_the_table() -> None:
    """What it came to, how often it was raised and cut, and why."""
    changes = [(1.0, 2.0, "doubling"), (2.0, 4.0, "doubling"), (4.0, 3.42, "throttled")]
    changes += [(3.42, 3.2, "throttled"), (3.2, 3.1, "timed out"), (3.1, 3.45, "headroom")]
    ended = report(9, request_ended(), *[LimitChanged(*change) for change in changes], added=9)

    assert (ended.limit, ended.limit_reason, ended.limit_raised) == (3.45, "headroom", 3)
    assert ended.limit_cut == {"throttled": 2, "timed out": 1}
    told = "3.5 in flight (headroom); raised 3 times; cut: throttled 2 times, timed out once"
    assert f"\nlimit        {told}\n" in report_table(ended)


def test_a_limit_that_never_changed_in_the_table() -> None:
    """A bare number; none at all if nothing was sent."""
    ended = report(9, request_ended(), added=9)

    assert "\nlimit        16 in flight\n" in report_table(replace(ended, limit=16))
    assert "\nlimit" not in report_table(replace(ended, limit=16, requests=0))
    assert "\nlimit" not in report_table(ended)


def test_what_limited_it_in_the_table() -> None:
    """What, for how much of the time, and one piece of advice; nothing if it is not known."""
    ended = report(9, request_ended(), added=9)
    limited = replace(
        ended, limited_by="concurrency", limited_share=0.82, advice="raise --concurrency (now 2)"
    )

    told = "limited by your limit on requests in flight for 82 % of the time"
    assert f"\nspeed        {told}: raise --concurrency (now 2)\n" in report_table(limited)
    assert "\nspeed" not in report_table(ended)


@pytest.mark.parametrize(
    ("code", "advice"), [(0, None), (2, "nothing was sent"), (6, "mend what the rejects file")]
)
def test_the_table_says_what_to_do_next(code: int, advice: str | None) -> None:
    """Only if there is something to do."""
    table = report_table(replace(report(1, SourceRead(1), added=1), exit_code=code))

    assert (advice in table) if advice else ("\nnext" not in table)


def test_what_is_of_this_process_is_told() -> None:
    """
    Of a resumed run the counts are of all processes, but time, rate and limit of the last one:
    without a word they would not add up.
    """
    ended = report(9, request_ended(), added=9)
    resumed = replace(ended, resumed=True, tasks_per_s=4.0, limit=16, exit_code=0)

    table = report_table(resumed)
    assert " 4 tasks/s (this process)\n" in table
    assert "\nlimit        16 in flight (this process)\n" in table
    assert "(this process)" not in report_table(replace(resumed, resumed=False))
    assert "resumed" not in resumed.as_dict()


def test_nothing_was_left_to_do() -> None:
    """A run that had converged already is not said to have taken its time for nothing."""
    ended = report(9, request_ended(), SourceRead(9), added=9)

    table = report_table(replace(ended, resumed=True, tasks_per_s=0.0, limit=16))
    assert ": nothing was left to do\n" in table
    assert "\nlimit" not in table


def test_what_stopped_by_its_rejects_can_go_on() -> None:
    """Also if all that was read was rejected, there is more to be read."""
    ended = replace(report(9, rejected=9), exit_code=5, run_id="r1", journal_path="x/run.db")

    assert "\nnext         bulksubmit runs resume r1\n" in report_table(ended)
