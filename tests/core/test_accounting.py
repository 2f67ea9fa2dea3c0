"""A1: whatever the service does, every task ends in exactly one state, and it is the true one."""

import math
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bulksubmit.core.model import Attempt, Converged, Reply, Send, Verdict, Wait
from tests.core.fake_service import HEALTHY, Auditor, Befalls, FakeService, Fate, Says
from tests.core.helpers import make_reconciler, make_task, make_tasks, sent_next, simulate

STRANGERS = ("taken", "Taken-Too")
IDS = st.none() | st.sampled_from(["same", "SAME", "taken", "taken-too"])
FATES = st.lists(
    st.builds(Fate, adds=st.booleans(), says=st.sampled_from(Says)), min_size=1, max_size=8
)
RETRY_AFTER_S_MAX = 40.0


class Accounting(RuleBasedStateMachine):
    """Any interleaving of reading, sending and replies of any kind, with the books compared."""

    def __init__(self) -> None:
        super().__init__()
        self.service, self.auditor = FakeService(STRANGERS), Auditor()
        self.in_flight: list[Attempt] = []
        self.now_s = 0.0

    @initialize(seed=st.integers(0, 99), tasks_max=st.integers(1, 12))
    def start(self, seed: int, tasks_max: int) -> None:
        self.reconciler = make_reconciler(
            sealed=False,
            tasks_max=tasks_max,
            bytes_max=600,
            # Without a retry timeout to wait for, a stuck run shows.
            retry_timeout_s=math.inf,
            random=Random(seed),
        )

    @precondition(lambda self: not self.reconciler.sealed)
    @rule(tasks=st.lists(st.tuples(IDS, st.integers(0, 700)), max_size=30))
    def admit(self, tasks: list[tuple[str | None, int]]) -> None:
        """Tasks are read; some IDs come twice, or are taken, and some tasks are too large."""
        first = len(self.auditor.tasks)
        block = [
            make_task(first + place, task_id=task_id, body_bytes=body_bytes)
            for place, (task_id, body_bytes) in enumerate(tasks)
        ]
        self.auditor.admitted(block)
        self.auditor.concluded(self.reconciler.admit(block))

    @rule()
    def seal(self) -> None:
        """The source ends."""
        self.reconciler.seal()

    @rule(later_s=st.sampled_from([0.0, 0.01, 0.2, 0.6, 5.0]), in_flight_max=st.integers(1, 8))
    def send(self, later_s: float, in_flight_max: int) -> None:
        """All that can be sent goes; when nothing can, asking twice says the same."""
        self.now_s += later_s
        while isinstance(step := self._next_step(in_flight_max), Send):
            self._sent(step.attempt)
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
        self.auditor.settled(attempt, befalls, outcomes)

    @rule()
    def land(self) -> None:
        """The service processes what was given up on."""
        self.service.land()

    @precondition(lambda self: self.reconciler.unsettled and not self.in_flight)
    @rule()
    def go_on(self) -> None:
        """With nothing in flight and tasks unsettled, something goes before long."""
        attempt, sent_s = sent_next(self.reconciler, self.now_s)
        # At most the backoff's and the probe's 30 s or the Retry-After; a grid, a linger, and
        # a second for the budget.
        assert sent_s - self.now_s <= RETRY_AFTER_S_MAX + 1.5
        self.now_s = sent_s
        self._sent(attempt)

    @invariant()
    def books_agree(self) -> None:
        reconciler, unsettled = self.reconciler, self.auditor.unsettled
        reconciler.check()
        assert reconciler.unsettled == len(unsettled)
        assert reconciler.unsettled_bytes == sum(len(task.body) for task in unsettled)
        assert reconciler.in_doubt == self.auditor.in_doubt
        assert reconciler.in_flight == len(self.in_flight)

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
            if not self.reconciler.unsettled:
                break
            self.go_on()
        assert isinstance(self._next_step(1), Converged)
        assert not self.auditor.unsettled

    def _next_step(self, in_flight_max: int) -> object:
        return self.reconciler.next_step(now_s=self.now_s, in_flight_max=in_flight_max)

    def _sent(self, attempt: Attempt) -> None:
        self.auditor.sent(attempt)
        self.in_flight.append(attempt)


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("seed", range(12))
def test_any_schedule_converges(seed: int) -> None:
    """
    A trickling source, 1 to 40 senders, replies that overtake each other, and a service that
    fails in every way, each run at rates of its own: every task is settled once, truly.
    """
    random = Random(seed)
    service, tasks = FakeService(), make_tasks(3_000)
    blocks = [tasks[first : first + 60] for first in range(0, 3_000, 60)]
    weights = [random.random() ** 3 for _ in Befalls]
    says_weights = [random.random() ** 3 for _ in Says]
    weights[0], says_weights[0] = 4.0, 8.0
    block_s = random.choice([0.0, 0.05, 0.5])
    reconciler = make_reconciler(sealed=False, retry_timeout_s=math.inf, random=Random(-seed))

    def serve(attempt: Attempt, _: float) -> tuple[float, Reply]:
        reconciler.check()
        (befalls,) = random.choices(list(Befalls), weights)
        fates = [
            Fate(adds=random.random() < 0.5, says=says)
            for says in random.choices(list(Says), says_weights, k=len(attempt.tasks))
        ]
        retry_after_s = random.choice([None, 0.0, 3.0])
        return random.expovariate(10.0), service.reply(attempt, befalls, fates, retry_after_s)

    run = simulate(
        reconciler,
        serve,
        in_flight_max=random.randint(1, 40),
        source=[(place * block_s, block) for place, block in enumerate(blocks)],
    )

    service.land()
    assert isinstance(run.ended, Converged)
    assert sorted(outcome.ordinal for outcome in run.outcomes) == list(range(3_000))
    for outcome in run.outcomes:
        holds = service.bodies.get(outcome.task_id)
        if outcome.verdict is Verdict.REJECTED:
            assert outcome.in_doubt or holds is None
        else:
            assert holds == tasks[outcome.ordinal].body
