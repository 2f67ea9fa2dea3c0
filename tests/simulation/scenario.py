"""What a seed stands for: a workload, a weather at the service, and how each life ends."""

import json
import math
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random
from typing import Any

from bulksubmit.core.model import Task
from bulksubmit.emulator.faults import Fault, Faults
from bulksubmit.emulator.switches import Switches
from bulksubmit.settings import Settings

LIVES_MAX = 6
_FAULTS_SUM_MAX = 0.7  # Of the rates a request: the rest gets through.


class Ending(Enum):
    """How a life ends, unless it ends by itself before."""

    KILL = "kill -9: what was written stays written"
    POWER_CUT = "the machine dies: what was not synced may be lost"
    STOP = "stopped in order"
    CUT = "stopped in order, and then told not to wait for answers"
    LEAVE = "its consumer leaves"
    CANCEL = "the library's call is cancelled"
    DISK_FULL = "the journal cannot be written any more, or not for a while"
    NATURAL = "by itself: converged, given up, or refused by the service"


@dataclass(frozen=True, slots=True)
class Life:
    """One process that works on the run.

    Attributes:
        ending: How it ends.
        at_s: When, from its start; infinite if a step says so.
        full_for: How many statements the full disk refuses before there is room again.
        at_step: Or at which of the points where what is on record changes: each of the
            journal's statements is one, and each request.
        faults: The service's weather.
        switches: How the service behaves where nobody knows.
        unsent: The share of requests that find no connection.
        refused: The share of requests that the service answers by ending the run.
        lag: The share of tasks that a list leaves out, as if it did not know them yet.
        disabled_s: From when to when the job takes no tasks, from the life's start.
        settings: Of this process.
    """

    ending: Ending
    at_s: float
    at_step: int
    full_for: int
    faults: Faults
    switches: Switches
    unsent: float
    refused: float
    lag: float
    disabled_s: tuple[float, float]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a seed decides beforehand.

    Attributes:
        seed: The seed.
        tasks: What is to be submitted; their IDs tell what must become of them.
        planted: What somebody else added under some of the IDs before, as it was sent.
        source: The source's bytes.
        lives: Those with weather, before it heals.
        healthy: The settings of the last life.
        heal_s: When, in the last life, the service gets well; it goes on with the weather until
            then.
        latency_s: The network's, each way, at most.
        read_s: How long reading a block takes, at most.
        pause_s: How long the consumer takes for an outcome.
        block_bytes: The source is read in blocks of so many.
        bitmap_bytes: The journal's bitmaps have so many a block.
        stride_min: The mark goes at least so many tasks ahead.
        checkpoint_pages: SQLite moves its log into the file when it has so many.
    """

    seed: int
    tasks: list[Task]
    planted: dict[str, bytes] = field(repr=False)
    source: bytes = field(repr=False)
    lives: list[Life]
    healthy: Settings
    heal_s: float
    latency_s: float
    read_s: float
    pause_s: float
    block_bytes: int
    bitmap_bytes: int
    stride_min: int
    checkpoint_pages: int


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(f"{seed} scenario")
    count = int(_log_uniform(random, 20, 1500))
    base = _settings(random, count)
    tasks, source = _workload(random, count, base.request_bytes_max)
    latency_s = _log_uniform(random, 0.002, 1.0)
    requests = max(count / base.tasks_per_request_max, len(source) / base.request_bytes_max)
    lasts_s = 2 * latency_s * (1 + requests / in_flight_max(base))
    weather = _faults(random, tasks)
    lives = []
    for _ in range(random.randint(1, LIVES_MAX)):
        weather = weather if random.random() < 0.7 else _faults(random, tasks)
        lives.append(_life(random, base, weather, lasts_s, count))
    return Scenario(
        seed=seed,
        tasks=tasks,
        planted=_plant(tasks),
        source=source,
        lives=lives,
        healthy=base,
        heal_s=random.choice((0.0, 0.0, lasts_s * random.random())),
        latency_s=latency_s,
        read_s=random.choice((0.0, 0.001, 0.05)),
        pause_s=random.choice((0.0, 0.0, 0.0, 0.001)),
        block_bytes=int(_log_uniform(random, 500, 50_000)),
        bitmap_bytes=random.choice((4, 16, 64)),
        stride_min=random.choice((1, 10, 50, 200)),
        checkpoint_pages=random.choice((1000, 1000, 40, 8)),
    )


def kind(task_id: str) -> str:
    """What an ID says of its task.

    ``ok`` tasks end ADDED or EXISTED; ``bad`` ones are refused by the service, whenever they
    are sent, and ``huge`` ones must never be sent: both end REJECTED. Under the IDs of ``same``
    and ``other`` ones somebody else has added a task, with the same content or with another.
    """
    return task_id.partition("-")[0]


def _workload(random: Random, count: int, bytes_max: int) -> tuple[list[Task], bytes]:
    bad = random.choice((0.0, 0.0, 0.01, 0.1))
    huge = random.choice((0.0, 0.0, 0.02)) if bytes_max < 100_000 else 0.0
    same = random.choice((0.0, 0.0, 0.02, 0.3, 1.0))
    other = random.choice((0.0, 0.0, 0.02, 0.3))
    body_max = max(150, min(int(_log_uniform(random, 100, 5_000)), bytes_max // 3))
    end = random.choice((b"\n", b"\n", b"\r\n"))
    lines: list[bytes] = []
    tasks: list[Task] = []
    for ordinal in range(count):
        while random.random() < 0.02:
            lines.append(b"")
        names = random.choices(("bad", "huge", "other", "same"), (bad, huge, other, same or 1e-9))
        name = names[0] if random.random() < bad + huge + other + same else "ok"
        task_id = f"{name}-{ordinal}" if random.random() < 0.5 else f"{name}-{ordinal}-Aa"
        size = bytes_max + 1 if name == "huge" else random.randint(80, body_max)
        head = b'{"id":"%s","commandLine":"' % task_id.encode()
        body = head + b"x" * max(1, size - len(head) - 2) + b'"}'
        lines.append(body)
        tasks.append(Task(ordinal, len(lines), task_id, body))
    start = b"\xef\xbb\xbf" if random.random() < 0.1 else b""
    tail = end if random.random() < 0.7 else b""
    return tasks, start + end.join(lines) + tail


def _plant(tasks: list[Task]) -> dict[str, bytes]:
    """What lies under the IDs of others' tasks: ours as a service may keep it, or another."""
    planted = {}
    for task in tasks:
        body, spelled = json.loads(task.body), task.id.swapcase()
        if kind(task.id) == "same":
            planted[spelled] = json.dumps(body | {"id": spelled, "requiredSlots": 1}).encode()
        elif kind(task.id) == "other":
            another = {"id": spelled, "commandLine": body["commandLine"][:-1] + "y"}
            planted[spelled] = json.dumps(another).encode()
    return planted


def in_flight_max(settings: Settings) -> int:
    """The most requests that the settings allow at once."""
    return settings.concurrency_max if settings.concurrency == "auto" else settings.concurrency


def _settings(random: Random, count: int) -> Settings:
    return Settings(
        concurrency=random.choice((1, 2, 4, 16, "auto")),
        # So that a run has some 200 requests at most.
        tasks_per_request_max=max(random.choice((1, 3, 10, 100, 100)), min(100, count // 200 + 1)),
        request_bytes_max=random.choice((1_000_000, 1_000_000, 20_000, 4_000)),
        on_unfinished=random.choice(("new", "resume")),
        on_exists=random.choice(("verify", "verify", "verify", "accept", "reject")),
    )


def _life(random: Random, base: Settings, faults: Faults, lasts_s: float, count: int) -> Life:
    weights = {
        Ending.KILL: 5,
        Ending.POWER_CUT: 5,
        Ending.STOP: 2,
        Ending.CUT: 1,
        Ending.LEAVE: 1,
        Ending.CANCEL: 1,
        Ending.DISK_FULL: 1,
        Ending.NATURAL: 1,
    }
    (ending,) = random.choices(list(weights), list(weights.values()))
    by_step = random.random() < 0.5 or ending is Ending.DISK_FULL
    at_s = lasts_s * random.choice((random.random(), _log_uniform(random, 0.001, 10.0)))
    closed_s = lasts_s * random.random() if random.random() < 0.1 else math.inf
    return Life(
        ending=ending,
        at_s=math.inf if by_step or ending is Ending.NATURAL else at_s,
        at_step=random.randint(1, 20 + count // 4),
        full_for=random.choice((1, 5, 10**9)),
        faults=faults,
        switches=_switches(random),
        unsent=random.choice((0.0, 0.0, 0.0, 0.05, 0.5)),
        refused=random.choice((0.0, 0.0, 0.0, 0.01)),
        lag=random.choice((0.0, 0.0, 0.1, 0.5)),
        disabled_s=(closed_s, closed_s + 15.0),
        settings=replace(
            base,
            server_timeout_s=random.choice((1, 10, 30)),
            retry_timeout_s=random.choice((5.0, 60.0, 1800.0)),
            drain_s=random.choice((0.0, 1.0, 10.0)),
            max_duration_s=random.choice((None, None, None, 5 * lasts_s + 0.1)),
        ),
    )


def _faults(random: Random, tasks: list[Task]) -> Faults:
    """Each fault is there or not, and strong or weak: a swarm."""
    present = random.choice((0.0, 0.2, 0.4, 0.6))
    rates: dict[str, Any] = {
        fault.value: _log_uniform(random, 0.01, 0.5) for fault in Fault if random.random() < present
    }
    scale = min(1.0, _FAULTS_SUM_MAX / sum(rates.values())) if rates else 1.0
    largest = max(len(task.body) for task in tasks if kind(task.id) != "huge")
    proxied = random.random() < 0.1
    return Faults(
        **{name: rate * scale for name, rate in rates.items()},
        server_error=random.choice((0.0, 0.01, 0.2)) if random.random() < present else 0.0,
        server_error_added=random.choice((0.0, 0.01, 0.1)) if random.random() < present else 0.0,
        missing_share=random.choice((0.3, 0.6, 1.0)),
        retry_after_s=random.choice((0, 1, 3, 10)),
        slow_s=_log_uniform(random, 0.1, 60.0),
        late_s=_log_uniform(random, 0.1, 60.0),
        latency_s=_log_uniform(random, 0.001, 0.5),
        proxy_bytes_max=largest + random.randint(100, 20_000) if proxied else None,
        everywhere=random.random() < 0.2,
    )


def _switches(random: Random) -> Switches:
    """Those that make no difference to what must become of a task."""
    return Switches(
        throttled_adds="some" if random.random() < 0.7 else "none",
        server_error_code=random.choice(("any", "InternalError", "OperationTimedOut")),
        list_lag_s=random.choice((0.0, 0.0, 0.0, 1.0, 10.0)),
        empty_collection="refuse",
        duplicate_ids=random.choice(("first", "none", "request")),
        unknown_properties=random.choice(("task", "request")),
        secrets=random.choice(("shown", "hidden")),
    )


def _log_uniform(random: Random, least: float, most: float) -> float:
    return math.exp(random.uniform(math.log(least), math.log(most)))
