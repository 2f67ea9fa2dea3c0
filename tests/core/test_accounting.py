"""A1: whatever the service does, every task ends in exactly one state, and it is the true one."""

import math
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bulksubmit.core.model import (
    Attempt,
    Converged,
    OnExists,
    ReadBack,
    Reading,
    Reply,
    Send,
    Verdict,
    Wait,
)
from tests.core.fake_service import HEALTHY, Auditor, Befalls, FakeService, Fate, Finds, Says
from tests.core.helpers import (
    columns,
    make_reconciler,
    make_task,
    make_tasks,
    next_request,
    simulate,
)

# Somebody else's tasks under our IDs: some with the content that ours have, too.
STRANGERS = {
    "taken": b'{"id":"taken","commandLine":"a stranger"}',
    "Taken-Too": b'{"id":"Taken-Too","commandLine":"a stranger"}',
    **{task.id: task.body for task in make_tasks(60)[::7]},
    **{f"t{n}": b'{"id":"t%d","commandLine":"a stranger"}' % n for n in range(3, 60, 11)},
}
IDS = st.none() | st.sampled_from(["same", "SAME", "taken", "taken-too"])
MODES: list[OnExists] = ["verify", "accept", "reject"]
FATES = st.lists(
    st.builds(Fate, adds=st.booleans(), says=st.sampled_from(Says)), min_size=1, max_size=8
)
RETRY_AFTER_S_MAX = 40.0


class Accounting(RuleBasedStateMachine):
    """Any interleaving of reading, sending and replies of any kind, with the books compared."""

    def __init__(self) -> None:
        super().__init__()
        self.service = FakeService(STRANGERS)
        self.in_flight: list[Attempt] = []
        self.reading: list[ReadBack] = []
        self.now_s = 0.0

    @initialize(
        seed=st.integers(0, 99),
        tasks_max=st.integers(1, 12),
        on_exists=st.sampled_from(MODES),
        server_timeout_s=st.sampled_from([1.0, 30.0]),
    )
    def start(
        self, seed: int, tasks_max: int, on_exists: OnExists, server_timeout_s: float
    ) -> None:
        self.auditor = Auditor(on_exists)
        self.reconciler = make_reconciler(
            sealed=False,
            tasks_max=tasks_max,
            bytes_max=600,
            # Without a retry timeout to wait for, a stuck run shows.
            retry_timeout_s=math.inf,
            server_timeout_s=server_timeout_s,
            on_exists=on_exists,
            random=Random(seed),
        )

    @precondition(lambda self: not self.reconciler.sealed)
    @rule(tasks=st.lists(st.tuples(IDS, st.integers(0, 700)), max_size=30), plain=st.booleans())
    def admit(self, tasks: list[tuple[str | None, int]], *, plain: bool) -> None:
        """Tasks are read; some IDs come twice, or are taken, and some tasks are too large."""
        first = len(self.auditor.tasks)
        block = [
            make_task(first + place, task_id=task_id, body_bytes=body_bytes)
            for place, (task_id, body_bytes) in enumerate(tasks)
        ]
        self.auditor.admitted(block)
        self.auditor.concluded(self.reconciler.admit(columns(block) if plain else block))

    @rule()
    def seal(self) -> None:
        """The source ends."""
        self.reconciler.seal()

    @rule(later_s=st.sampled_from([0.0, 0.01, 0.2, 0.6, 5.0]), in_flight_max=st.integers(1, 8))
    def send(self, later_s: float, in_flight_max: int) -> None:
        """All that can be sent goes; when nothing can, asking twice says the same."""
        self.now_s += later_s
        while isinstance(step := self._next_step(in_flight_max), Send | ReadBack):
            self._sent(step)
        if isinstance(step, Wait):
            assert step.until_s > self.now_s
            assert self._next_step(in_flight_max) == step

    @precondition(lambda self: self.in_flight)
    @rule(
        place=st.integers(0, 7),
        befalls=st.sampled_from(Befalls) | st.just(Befalls.ANSWERED),
        fates=FATES,
        retry_after_s=st.none() | st.floats(0.0, RETRY_AFTER_S_MAX),
    )
    def reply(
        self, place: int, befalls: Befalls, fates: list[Fate], retry_after_s: float | None
    ) -> None:
        """Any attempt in flight gets any reply."""
        attempt = self.in_flight.pop(place % len(self.in_flight))
        reply = self.service.reply(attempt, befalls, fates, retry_after_s)
        outcomes = self.reconciler.settle(attempt, reply, now_s=self.now_s)
        self.auditor.settled(attempt, befalls, reply, outcomes)

    @precondition(lambda self: self.reading)
    @rule(place=st.integers(0, 7), finds=st.sampled_from(Finds) | st.just(Finds.TRUTH))
    def find(self, place: int, finds: Finds) -> None:
        """Any read-back under way finds what there is, or not."""
        read = self.reading.pop(place % len(self.reading))
        reading = self.service.show(read, finds)
        outcomes = self.reconciler.settle_read_back(read, reading, now_s=self.now_s)
        self.auditor.read(read, reading, outcomes)

    @rule()
    def land(self) -> None:
        """The service processes what was given up on."""
        self.service.land()

    @precondition(lambda self: self.reconciler.unsettled and not (self.in_flight or self.reading))
    @rule()
    def go_on(self) -> None:
        """With nothing in flight and tasks unsettled, something goes before long."""
        request, sent_s = next_request(self.reconciler, self.now_s)
        # At most the backoff's and the probe's 30 s, the service's time-out of as many, or the
        # Retry-After; a grid, a linger, and a second for the budget.
        assert sent_s - self.now_s <= RETRY_AFTER_S_MAX + 1.5
        self.now_s = sent_s
        self._sent(Send(request) if isinstance(request, Attempt) else request)

    @invariant()
    def books_agree(self) -> None:
        reconciler, unsettled = self.reconciler, self.auditor.unsettled
        reconciler.check()
        assert reconciler.unsettled == len(unsettled)
        assert reconciler.unsettled_bytes == sum(len(task.body) for task in unsettled)
        assert reconciler.in_doubt == self.auditor.in_doubt
        assert reconciler.in_flight == len(self.in_flight) + len(self.reading)

    def teardown(self) -> None:
        """Stop here, or heal and converge: either way the books agree with the service."""
        if not hasattr(self, "reconciler"):
            return
        if len(self.auditor.tasks) % 4 == 3:
            self.auditor.concluded(self.reconciler.abandon("stopped"))
            assert self.reconciler.unsettled == self.reconciler.fresh
        else:
            self._converge()
        assert self.reconciler.unsettled == len(self.auditor.unsettled)
        self.service.land()
        self.auditor.compare(self.service)

    def _converge(self) -> None:
        self.reconciler.seal()
        while True:
            while self.in_flight:
                self.reply(0, Befalls.ANSWERED, list(HEALTHY), None)
            self.service.land()
            while self.reading:
                self.find(0, Finds.TRUTH)
            if not self.reconciler.unsettled:
                break
            self.go_on()
        assert isinstance(self._next_step(1), Converged)
        assert not self.auditor.unsettled

    def _next_step(self, in_flight_max: int) -> object:
        return self.reconciler.next_step(now_s=self.now_s, in_flight_max=in_flight_max)

    def _sent(self, step: Send | ReadBack) -> None:
        if isinstance(step, ReadBack):
            self.reading.append(step)
            return
        self.auditor.sent(step.attempt)
        self.in_flight.append(step.attempt)


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("seed", range(12))
def test_any_schedule_converges(seed: int) -> None:
    """
    A trickling source, 1 to 40 senders, replies that overtake each other, a service that fails
    in every way, each run at rates of its own, and strangers' tasks under every 50th ID: every
    task is settled once, truly.
    """
    random = Random(seed)
    on_exists = MODES[seed % 3]
    tasks = make_tasks(3_000)
    strangers = {task.id: task.body for task in tasks[10::100]}
    strangers |= {task.id: b'{"id":"%s"}' % task.id.encode() for task in tasks[60::100]}
    service = FakeService(strangers)
    blocks = [tasks[first : first + 60] for first in range(0, 3_000, 60)]
    weights = [random.random() ** 3 for _ in Befalls]
    says_weights = [random.random() ** 3 for _ in Says]
    weights[0], says_weights[0] = 4.0, 8.0
    block_s = random.choice([0.0, 0.05, 0.5])
    reconciler = make_reconciler(
        sealed=False, retry_timeout_s=math.inf, random=Random(-seed), on_exists=on_exists
    )

    def serve(attempt: Attempt, _: float) -> tuple[float, Reply]:
        reconciler.check()
        (befalls,) = random.choices(list(Befalls), weights)
        fates = [
            Fate(adds=random.random() < 0.5, says=says)
            for says in random.choices(list(Says), says_weights, k=len(attempt.tasks))
        ]
        retry_after_s = random.choice([None, 0.0, 3.0])
        return random.expovariate(10.0), service.reply(attempt, befalls, fates, retry_after_s)

    def show(read: ReadBack, _: float) -> tuple[float, Reading]:
        reconciler.check()
        service.land()  # What was sent so long ago is over.
        (finds,) = random.choices(list(Finds), [4, 1, 1, 1])
        return random.expovariate(10.0), service.show(read, finds)

    run = simulate(
        reconciler,
        serve,
        show,
        in_flight_max=random.randint(1, 40),
        source=[(place * block_s, block) for place, block in enumerate(blocks)],
    )

    assert isinstance(run.ended, Converged)
    assert sorted(outcome.ordinal for outcome in run.outcomes) == list(range(3_000))
    for outcome in run.outcomes:
        holds, ours = service.bodies.get(outcome.task_id), tasks[outcome.ordinal].body
        match outcome.verdict:
            case Verdict.ADDED:
                assert holds == ours
                assert outcome.task_id not in strangers
            case Verdict.EXISTED:
                assert holds == ours or (holds and on_exists == "accept")
            case _:
                # One that a stranger added alike may be refused before its ID is looked at.
                assert outcome.in_doubt or outcome.task_id in strangers or holds != ours
    if on_exists == "verify":
        taken = [o for o in run.outcomes if o.ordinal % 100 == 60]
        assert {o.verdict for o in taken} == {Verdict.REJECTED}
