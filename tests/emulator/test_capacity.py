"""How much the service can do at once, and what it says to what is more."""

import statistics
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from math import inf
from random import Random
from typing import Any

import pytest

from bulksubmit.emulator import Capacity, Fault, Faults, Phase, Service
from bulksubmit.emulator.capacity import SILENCE_S, Bottleneck, Turn
from tests.emulator.calls import (
    ADD,
    NOW_S,
    VERSION,
    add,
    answer_of,
    call,
    error_of,
    make_body,
    make_service,
    statuses,
)


def capable(**values: Any) -> Bottleneck:
    """A service at rest, which needs 0.1 s for a request unless told otherwise."""
    return Bottleneck([Phase(0.0, Capacity(**values))])


def take(
    bottleneck: Bottleneck, *at_s: float, tasks: int = 10, body_bytes: int = 1000
) -> list[Turn]:
    """The turns of requests that come at these times."""
    random = Random(1)
    return [bottleneck.take(tasks, body_bytes, now_s=now_s, random=random) for now_s in at_s]


def after_s(turns: list[Turn]) -> list[float | None]:
    """How long each takes; None for one that is refused."""
    return [round(each.after_s, 6) if each.fault is None else None for each in turns]


def serving(capacity: Capacity, *changes: Phase, faults: Faults | None = None) -> Service:
    """A whole service of that capacity, with the job j1."""
    return make_service(phases=(Phase(0.0, capacity), *changes), faults=faults)


def test_more_than_the_slots_is_refused() -> None:
    """
    Two slots take two requests; a third is refused, until one of them is done.
    """
    turns = take(capable(parallel=2), 0.0, 0.0, 0.05, 0.1)

    assert after_s(turns) == [0.1, 0.1, None, 0.1]
    assert turns[2].fault is Fault.THROTTLED_BARE
    assert turns[2].after_s == pytest.approx(0.02)


def test_a_line_is_as_long_as_it_may_be() -> None:
    """
    With one slot and room for two to wait, a fourth request is refused; who waits has the slot
    in its turn, and makes room for another as soon as it does.
    """
    turns = take(capable(parallel=1, waits=2), 0.0, 0.0, 0.0, 0.0, 0.1)

    assert after_s(turns) == [0.1, 0.2, 0.3, None, 0.3]


def test_an_endless_line_refuses_nobody() -> None:
    """
    A hundred requests at once to one slot: the last one takes a hundred times as long.
    """
    turns = take(capable(parallel=1, waits=inf), *[0.0] * 100)

    assert after_s(turns) == [round(0.1 * place, 6) for place in range(1, 101)]


def test_others_take_slots() -> None:
    """
    Of three slots, two that others have are none for us.
    """
    turns = take(capable(parallel=3, others_parallel=2), 0.0, 0.0)

    assert after_s(turns) == [0.1, None]


def test_tasks_cost_tokens() -> None:
    """
    A hundred tasks a second with a burst of 0.2 s: two requests of ten at once, then one each
    0.1 s; a refused one costs nothing.
    """
    turns = take(capable(tasks_per_s=100, burst_s=0.2), 0.0, 0.0, 0.0, 0.0, 0.1, 0.15, 0.2)

    assert after_s(turns) == [0.1, 0.1, None, None, 0.1, None, 0.1]


def test_who_waits_for_tokens_waits_in_turn() -> None:
    """
    The same in a line: each request begins 0.1 s after the one before.
    """
    turns = take(capable(tasks_per_s=100, burst_s=0.2, waits=inf), 0.0, 0.0, 0.0, 0.0)

    assert after_s(turns) == [0.1, 0.1, 0.2, 0.3]


def test_a_request_beyond_the_burst_goes_when_the_bucket_is_full() -> None:
    """
    A hundred tasks at once where a burst is ten: allowed, and paid for afterwards.
    """
    turns = take(capable(tasks_per_s=100, burst_s=0.1, waits=inf), 0.0, 0.0, tasks=100)

    assert after_s(turns) == [0.1, 1.1]


def test_bodies_pass_the_link_one_after_the_other() -> None:
    """
    A million bytes a second: bodies of 100 kB arrive 0.1 s apart, whatever the slots.
    """
    turns = take(capable(link_mb_per_s=1), 0.0, 0.0, 1.0, body_bytes=100_000)

    assert after_s(turns) == [0.2, 0.3, 0.2]


def test_a_refused_body_has_used_the_link() -> None:
    """
    What is refused behind a link was sent all the same.
    """
    turns = take(capable(link_mb_per_s=1, parallel=1, latency_ms=500), 0.0, 0.0, body_bytes=200_000)

    assert after_s(turns) == [0.7, None]
    assert turns[1].after_s == pytest.approx(0.4 + 0.02)


def test_tasks_and_bytes_take_their_time() -> None:
    """
    Work is the latency, and something for each task and each million bytes.
    """
    bottleneck = capable(latency_ms=100, per_task_ms=5, per_mb_ms=400)

    (turn,) = take(bottleneck, 0.0, tasks=20, body_bytes=500_000)

    assert turn.after_s == pytest.approx(0.1 + 0.1 + 0.2)


def test_latency_is_lognormal() -> None:
    """
    The median is as given, and the spread is that of the logarithm.
    """
    took_s = [each.after_s for each in take(capable(latency_spread=0.5), *[0.0] * 4000)]
    low, median, high = (statistics.quantiles(took_s, n=100)[at] for at in (15, 49, 83))

    assert median == pytest.approx(0.1, rel=0.05)
    # One standard deviation on either side.
    assert low == pytest.approx(0.1 / 2.718**0.5, rel=0.07)
    assert high == pytest.approx(0.1 * 2.718**0.5, rel=0.07)


def changing(*changes: Mapping[str, Any], start: Mapping[str, Any]) -> Bottleneck:
    """A service that changes at 1 s, 2 s and so on; its requests take 0.5 s."""
    capacity = Capacity(latency_ms=500, **start)
    phases = [Phase(0.0, capacity)]
    for at_s, values in enumerate(changes, start=1):
        phases.append(Phase(float(at_s), replace(phases[-1].capacity, **values)))
    return Bottleneck(phases)


def test_changes_count_from_the_first_request() -> None:
    """
    A second slot after one second: one that has passed since the first request.
    """
    bottleneck = changing({"parallel": 2}, start={"parallel": 1})

    assert after_s(take(bottleneck, 100.0, 100.6, 100.9)) == [0.5, 0.5, None]
    assert after_s(take(bottleneck, 101.2, 101.2, 101.2)) == [0.5, 0.5, None]


def test_fewer_slots_let_finish_what_has_begun() -> None:
    """
    From three slots to one: the three at work go on, and the next begins when the last of them
    is done.
    """
    bottleneck = changing({"parallel": 1}, start={"parallel": 3, "waits": inf})

    assert after_s(take(bottleneck, 0.0, 0.7, 0.8, 0.9)) == [0.5, 0.5, 0.5, 0.5]
    assert after_s(take(bottleneck, 1.0)) == [0.9]  # From 1.4, when the one of 0.9 is done.


def test_a_limit_may_come_and_go() -> None:
    """
    No limit, one slot, and none again.
    """
    bottleneck = changing({"parallel": 1}, {"parallel": inf}, start={})

    assert after_s(take(bottleneck, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0)) == [0.5] * 3 + [None] + [0.5] * 2


def test_a_pace_may_come_and_go() -> None:
    """
    Any number of tasks, 10 a second, and any again: the old pace leaves no debt.
    """
    bottleneck = changing({"tasks_per_s": 10}, {"tasks_per_s": inf}, start={})

    assert after_s(take(bottleneck, 0.0, 0.0, 1.0, 1.0, 2.0)) == [0.5, 0.5, 0.5, None, 0.5]


@pytest.mark.parametrize(
    ("values", "status", "retry_after"),
    [
        ({}, 429, None),
        ({"retry_after_s": 30}, 429, "30"),
        ({"throttle": 503}, 503, None),
        ({"throttle": 503, "retry_after_s": 2}, 503, "2"),
        ({"outage": "429", "retry_after_s": 30}, 429, "30"),
        ({"outage": "503"}, 503, None),
        ({"outage": "500"}, 500, None),
        ({"outage": "502"}, 502, None),
    ],
)
def test_refusals_have_their_words(
    values: Mapping[str, Any], status: int, retry_after: str | None
) -> None:
    """
    A refusal has the status and the Retry-After that were asked for, and adds nothing.
    """
    service = serving(Capacity(parallel=1, **values))
    if "outage" not in values:
        add(service, make_body("first"))

    answer = answer_of(service, "POST", ADD, make_body("a", "b"))

    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)
    assert all(service.job("j1").task(task_id) is None for task_id in ("a", "b"))


def test_a_date_counts_from_the_refusal() -> None:
    """
    Retry-After as a date is so many seconds after the answer.
    """
    service = serving(Capacity(outage="429", retry_after_s=30, retry_after_date=True))

    answer = answer_of(service, "POST", ADD, make_body("a"))

    until = parsedate_to_datetime(answer.headers["Retry-After"])
    assert until.timestamp() == int(NOW_S + 0.02 + 30)


@pytest.mark.parametrize(("outage", "seconds"), [("drop", 0.02), ("silence", SILENCE_S)])
def test_an_outage_without_an_answer(outage: Any, seconds: float) -> None:
    """
    The connection is cut, soon or after longer than anybody waits; nothing is added.
    """
    service = serving(Capacity(outage=outage))
    plan = service.plan("POST", ADD, {"content-length": "1"}, now_s=NOW_S)

    plan = service.schedule(plan, make_body("a"), now_s=NOW_S)

    assert plan.process_after_s == seconds
    assert service.answer(plan, make_body("a"), now_s=NOW_S + seconds) is None
    assert service.job("j1").task("a") is None


def test_server_errors_for_a_while() -> None:
    """
    Every task is answered ServerError and not added, and a second later added.
    """
    well = Capacity()
    service = serving(replace(well, server_error=1.0), Phase(1.0, well))
    body = make_body("a", "b")

    bad = add(service, body)
    answer = answer_of(service, "POST", ADD, body, now_s=NOW_S + 1)

    assert {each["status"] for each in bad} == {"ServerError"}
    assert answer.body.count(b"Success") == 2


def test_server_errors_beside_those_by_chance() -> None:
    """
    A share of the capacity and a rate of the faults add up, to no more than all.
    """
    service = serving(Capacity(server_error=0.9), faults=Faults(server_error_added=0.5))

    results = add(service, make_body("a", "b", "c"))

    assert {each["status"] for each in results} == {"ServerError"}


def test_only_add_collection_costs() -> None:
    """
    Looking at a job needs no slot, and gets through an outage.
    """
    service = serving(Capacity(outage="502"))

    assert answer_of(service, "GET", f"/jobs/j1?{VERSION}").status == 200


def test_what_a_fault_throttles_takes_no_slot() -> None:
    """
    A request that is refused by chance leaves the one slot to the next.
    """
    service = make_service(
        phases=[Phase(0.0, Capacity(parallel=1))], script=[Fault.THROTTLED_BARE, None, None]
    )

    answers = [call(service, "POST", ADD, make_body(task_id)) for task_id in "abc"]

    assert [each and each.status for each in answers] == [429, 200, 429]


def test_a_malformed_request_is_answered_like_any() -> None:
    """
    A body that is no collection takes its turn, and is told what is wrong.
    """
    service = serving(Capacity(tasks_per_s=10))

    assert error_of(answer_of(service, "POST", ADD, b"{"))[:2] == (400, "InvalidRequestBody")


def test_without_capacity_nothing_changes() -> None:
    """
    A service of no set capacity hands the very same plan back.
    """
    service = make_service()
    plan = service.plan("POST", ADD, {}, now_s=NOW_S)

    assert service.schedule(plan, make_body("a"), now_s=NOW_S) is plan
    assert statuses(add(service, make_body("a"))) == {"a": "Success"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parallel": 2.5}, "parallel is 2.5; a whole number or inf"),
        ({"waits": -1.0}, "waits is -1; it must not be below 0"),
        ({"latency_ms": float("nan")}, "latency_ms is nan; a number is wanted"),
        ({"latency_ms": inf}, "latency_ms is inf; 0 to 600,000 is wanted"),
        ({"refusal_ms": 1e308}, r"refusal_ms is 1e\+308; 0 to 600,000 is wanted"),
        ({"burst_s": 0.0}, "burst_s is 0; more is wanted"),
        ({"parallel": 0.0}, "parallel is 0; at least 1 is wanted"),
        ({"others_parallel": 2}, "others_parallel is 2 where parallel has no limit; set"),
        ({"retry_after_date": True}, "without retry_after_s; set this, too"),
        (
            {"retry_after_date": True, "retry_after_s": 1, "throttle": 503},
            "where throttle is 503; only a 429 has dates",
        ),
        ({"tasks_per_s": 0.0}, "tasks_per_s is 0; more is wanted, or inf"),
        ({"parallel": 2.0, "others_parallel": 2}, "at least one must be left"),
        ({"server_error": 1.5}, "server_error is 1.5; 0 to 1 is wanted"),
    ],
)
def test_values_that_make_no_sense(values: Mapping[str, Any], message: str) -> None:
    """
    They are refused, by name.
    """
    with pytest.raises(ValueError, match=message):
        Capacity(**values)
