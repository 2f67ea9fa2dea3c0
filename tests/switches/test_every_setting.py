"""bulksubmit converges under every setting of every switch, and under every two of them.

Pairs of two defaults, or of a default and another, are the settings alone.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import orjson
import pytest

from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.emulator import Fault, Operation, Switches
from bulksubmit.observe.report import ExitCode
from tests.shell.doubles import assert_adds_up
from tests.switches.flood import (
    JOB_ID,
    REQUESTS_MAX,
    SECONDS_MAX,
    TOKEN_LIVES_S,
    Ended,
    flood,
    source,
)

Setting = tuple[str, object]


OTHERS_TASKS = [body for body in source() if b"other-" in body]
OTHERS: list[Setting] = [
    (name, setting) for name, settings in Switches.settings().items() for setting in settings[1:]
]


def switched(*settings: Setting) -> Switches:
    named: dict[str, Any] = dict(settings)
    return Switches(**named)


def pairs_of(first: Setting) -> Iterator[tuple[Setting, ...]]:
    """The setting alone, and with each other one of a later switch."""
    yield (first,)
    names = list(Switches.settings())
    for second in OTHERS:
        if names.index(first[0]) < names.index(second[0]):
            yield first, second


def check(ended: Ended, switches: Switches) -> None:
    """Each task is accounted for, and the service holds what the outcomes say."""
    bodies = source()
    assert ended.outcomes.keys() == set(range(len(bodies)))
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in ended.outcomes.values():
        by_kind[outcome.task_id.split("-")[0].lower()].append(outcome)
    accepts_unknown = switches.unknown_properties == "accept"
    codes = {
        "plain": None,
        "secret": None,
        "bad": "InvalidPropertyValue",
        "unknown": None if accepts_unknown else "UnsupportedProperty",
        "large": None if switches.task_bytes_max is None else "RequestBodyTooLarge",
    }
    for kind, code in codes.items():
        for each in by_kind.pop(kind):
            taken = code is None
            assert (each.verdict in {Verdict.ADDED, Verdict.EXISTED}) == taken, each
            assert (each.code, held(ended, each)) == (code, bodies[each.ordinal] if taken else None)
    check_taken_ids(ended, by_kind.pop("same"), by_kind.pop("other"), by_kind.pop("twice"))
    assert not by_kind
    check_report(ended)
    # It never asks for what it need not: no packed body, no time-out of zero, no empty or
    # overfull request, none too large, no ID twice in one.
    record = ended.service.record
    assert record.by_status[413] == 0
    assert record.by_status[400] == 0 or switches.unknown_properties == "request"


def held(ended: Ended, outcome: Outcome) -> bytes | None:
    """The bytes that the service holds under a task's ID."""
    task = ended.service.job(JOB_ID).task(outcome.task_id)
    return None if task is None else task.body


def check_taken_ids(
    ended: Ended, same: list[Outcome], other: list[Outcome], twice: list[Outcome]
) -> None:
    """Of those whose ID was taken, by others or by one another, no content was changed."""
    bodies = source()
    for each in same:
        assert each.verdict is Verdict.EXISTED, each
        assert orjson.loads(held(ended, each) or b"") == orjson.loads(bodies[each.ordinal])
    for each in other:
        assert (each.verdict, each.code) == (Verdict.REJECTED, "TaskExists"), each
        assert b"walk" in (held(ended, each) or b"")
    # Whichever came first is there.
    (first,) = [each for each in twice if each.verdict is not Verdict.REJECTED]
    assert held(ended, first) == bodies[first.ordinal]
    assert Counter(each.code for each in twice) == {None: 1, "TaskExists": 2}


def check_report(ended: Ended) -> None:
    """The account is right, and the run was no longer than it need be."""
    report, job = ended.report, ended.service.job(JOB_ID)
    verdicts = Counter(each.verdict for each in ended.outcomes.values())
    assert_adds_up(report)
    assert (report.converged, report.error, report.unsettled) == (True, None, 0)
    assert report.exit_code == ExitCode.REJECTED
    assert report.total == len(source())
    assert (report.added, report.existed, report.rejected) == tuple(
        verdicts[verdict] for verdict in (Verdict.ADDED, Verdict.EXISTED, Verdict.REJECTED)
    )
    assert len(job) == report.added + report.existed + len(OTHERS_TASKS)
    assert job.on_all_tasks_complete == "terminatejob"
    assert ended.service.record.requests <= REQUESTS_MAX
    assert ended.seconds <= SECONDS_MAX


@pytest.mark.parametrize("first", [None, *OTHERS], ids=str)
def test_it_converges(first: Setting | None) -> None:
    """
    Whatever the service does where nobody knows.
    """
    for settings in pairs_of(first) if first else [()]:
        switches, seed = switched(*settings), crc32(repr(settings).encode())
        try:
            check(flood(switches, seed=seed), switches)
        except Exception as error:
            error.add_note(f"under {dict(settings) or 'the defaults'}, seed {seed}")
            raise


OTHERWISE: dict[Setting, Callable[[Ended], bool]] = {
    ("unknown_properties", "request"): lambda ended: ended.service.record.by_status[400] > 3,
    ("unknown_properties", "accept"): lambda ended: ended.report.rejected == 7,
    ("disabled_job", "accept"): lambda ended: ended.service.record.by_status[409] == 0,
    ("list_lag_s", 5.0): lambda ended: asked(ended, Operation.GET_TASK) > 0,
    ("expired_token_status", 403): lambda ended: ended.service.record.by_status[403] > 0,
    ("task_bytes_max", 65_536): lambda ended: ended.report.rejected == 11,
    ("auto_terminate", "revocable"): lambda ended: asked(ended, Operation.PATCH_JOB) == 2,
}


@pytest.mark.parametrize("setting", OTHERWISE, ids=str)
def test_the_flood_meets_it(setting: Setting) -> None:
    """
    What a switch decides happens in the flood, and makes it go another way.
    """
    otherwise = OTHERWISE[setting]

    assert otherwise(flood(switched(setting), seed=1))
    assert not otherwise(flood(switched(), seed=1))


def test_what_was_added_by_a_429_is_found() -> None:
    """
    Where nothing else goes wrong, what exists of ours was added by requests that were throttled.
    """
    existed = {}
    for setting in ("none", "some"):
        switches = switched(("throttled_adds", setting))
        ended = flood(switches, seed=1, faults=[Fault.THROTTLED, Fault.BUSY_RETRY_AFTER])
        plain = [each for each in ended.outcomes.values() if each.task_id.startswith("plain-")]
        existed[setting] = [each for each in plain if each.verdict is Verdict.EXISTED]

    assert existed["none"] == []
    assert existed["some"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_expired_is_renewed_once(status: int) -> None:
    """
    However many requests are refused because of it, one asks for the next, and each is sent again.
    """
    ended = flood(switched(("expired_token_status", status)), seed=1)

    lifetimes = ended.seconds / TOKEN_LIVES_S
    assert 2 <= ended.tokens <= 1 + lifetimes
    assert ended.service.record.by_status[status] >= ended.tokens - 1
    assert ended.report.converged


def asked(ended: Ended, operation: Operation) -> int:
    return ended.service.record.by_operation[operation]
