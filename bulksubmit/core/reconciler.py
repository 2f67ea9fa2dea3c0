"""What becomes of every task: what is unsettled, what goes next, what a reply settles.

Pure: time comes in as ``now_s``, randomness as a Random. The decision table, one case each:

    reply       task                           then
    ---------   ----------------------------   ------------------------------------------------
    Answered    success                        ADDED
                servererror                    in doubt; again soon, same ID and bytes
                clienterror TaskExists         read back (by default; see OnExists)
                any other clienterror          REJECTED; if in doubt, held and read back
                a status that is none of       in doubt; again; reported
                these; one ID, two statuses
                missing                        in doubt; again; reported
                (an ID we did not send; one    ignored; reported
                ID twice alike)
    Throttled   all                            in doubt; again, not before Retry-After
    Refused     more than one                  halve; both halves go out as they are
                exactly one                    REJECTED; if in doubt, held and read back
    Lost        all, if it was sent            in doubt; again
                all, if it was not             again

A task in doubt may have been added: servererror can be a time-out that added it, and nobody
promises that a 429 added nothing. What is read back, and what becomes of it then, is the table of
``suspects``. The run gives up only after a long time without a single task settled; what was tried
is ABANDONED then.

Replies that settle nothing are pressure: see ``backoff``. Tasks due again are cut first, then
fresh ones: see ``backlog``.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

from bulksubmit.core.backlog import Backlog
from bulksubmit.core.backoff import PRESSURE_BACKOFF, SERVER_ERROR_BACKOFF, BytesBound, on_grid
from bulksubmit.core.events import Anomaly, Observer
from bulksubmit.core.limits import FRAME_BYTES, TASKS_MAX
from bulksubmit.core.matching import AllAdded, all_added, by_folded_id
from bulksubmit.core.model import (
    AddStatus,
    Answered,
    Attempt,
    BatchError,
    Bounds,
    Converged,
    Lost,
    OnExists,
    Outcome,
    ReadBack,
    Reading,
    Refused,
    Reply,
    Send,
    Step,
    Task,
    TaskResult,
    Throttled,
    Trouble,
    Verdict,
    Wait,
    Why,
)
from bulksubmit.core.outcomes import TOO_LARGE, abandoned, read_back, replied, too_large
from bulksubmit.core.partitioner import halve, request_bytes
from bulksubmit.core.patience import Patience
from bulksubmit.core.suspects import TASK_EXISTS, Suspect, Suspects
from bulksubmit.core.tasks import bytes_of
from bulksubmit.core.troubles import NO_TROUBLE, Troubles


class Reconciler:
    """Decides what becomes of every task.

    Call admit() as tasks are read and seal() at the end of the source; ask next_step(), do what
    it says, and settle() each attempt, settle_read_back() each read-back once.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        guid: str,
        random: Random,
        observer: Observer = lambda _: None,
        doubt_below: int = 0,
        on_exists: OnExists = "verify",
        tasks_at: Callable[[float], int] = lambda _: TASKS_MAX,
    ) -> None:
        """Start with nothing.

        Args:
            bounds: What to keep to.
            guid: A random GUID of this run. Its last twelve digits are replaced by the
                attempt's number, so that each attempt has a GUID that a person can place.
            random: For jitter.
            observer: Told when sending is held back, and of oddities in replies.
            doubt_below: Tasks of a lower ordinal may have been sent by an earlier process.
            on_exists: What to do with a task whose ID is taken: ``verify`` it, ``accept`` it
                unread, or ``reject`` it unless it may be ours.
            tasks_at: How many tasks the pace allows in a request at a time.
        """
        self._bounds, self._random, self._observer = bounds, random, observer
        self._guid_prefix, self._doubt_below = guid[:24], doubt_below
        self._on_exists, self._tasks_at = on_exists, tasks_at
        self._backlog = Backlog()
        self._in_flight: dict[int, Attempt] = {}
        self._suspects = Suspects()
        self._troubles = Troubles()
        self._attempts = self._read_backs = 0
        self._patience = Patience(bounds.retry_timeout_s, random, observer)
        self._bytes = BytesBound(bounds.bytes_max)
        self._began_s: float | None = None  # When the first step was asked for.
        self.sealed = False
        self.unsettled = self.unsettled_bytes = 0

    # --- In --------------------------------------------------------------------------------

    def admit(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Take responsibility for tasks.

        Returns:
            One REJECTED outcome for each task that no request can hold; it is settled, and
            never sent.
        """
        assert not self.sealed
        body_max = self._bounds.bytes_max - FRAME_BYTES
        oversized: list[Task] = []
        if bytes_of(tasks) > body_max:
            oversized = [task for task in tasks if len(task.body) > body_max]
        if oversized:
            tasks = [task for task in tasks if len(task.body) <= body_max]
        self._troubles.doubt(tasks, self._doubt_below)
        self.unsettled += len(tasks)
        self.unsettled_bytes += bytes_of(tasks)
        self._backlog.fresh.extend(tasks)
        below = self._doubt_below
        return [too_large(t, self._bounds.bytes_max, in_doubt=t.ordinal < below) for t in oversized]

    def seal(self) -> None:
        """The source is exhausted: nothing more will be admitted."""
        self.sealed = True

    def others_settled(self, now_s: float) -> None:
        """Somebody else's tasks of this run were settled: there is no reason to give up."""
        self._patience.settled(now_s)

    @property
    def fresh(self) -> int:
        """How many tasks have never been sent."""
        return len(self._backlog.fresh)

    @property
    def in_flight(self) -> int:
        """How many attempts and read-backs await their reply."""
        return len(self._in_flight) + self._suspects.read_backs

    @property
    def sent_before(self) -> tuple[int, int]:
        """How many tasks were sent, and wait to be sent again; and how many are read back."""
        flying, read = sum(len(a.tasks) for a in self._in_flight.values()), len(self._suspects)
        return self.unsettled - self.fresh - flying - read, read

    @property
    def in_doubt(self) -> int:
        """How many unsettled tasks may have been added; those in flight or read back are."""
        flying = (task.ordinal for attempt in self._in_flight.values() for task in attempt.tasks)
        suspected = (suspect.task.ordinal for suspect in self._suspects)
        return len(self._troubles.doubted().union(flying, suspected))

    # --- Next ------------------------------------------------------------------------------

    def next_step(self, *, now_s: float, in_flight_max: int, opens_s: float = -math.inf) -> Step:
        """What to do now: exactly one thing.

        Args:
            now_s: Never less than in an earlier call.
            in_flight_max: How many attempts and read-backs may be in flight; may be none, or less.
            opens_s: Nothing may be sent before; the pace wants it so.
        """
        if self._began_s is None:
            self._began_s = now_s
        if not self.unsettled:
            return Converged() if self.sealed else Wait(math.inf, Why.SOURCE)
        gives_up_s = self._gives_up_s(now_s, in_flight_max)
        if self._patience.give_up:
            return self._patience.give_up
        if self.in_flight >= in_flight_max:
            return Wait(gives_up_s, Why.PLACES)
        holds_s = self._patience.opens_s(now_s)
        if max(opens_s, holds_s) > now_s:
            why = Why.PACE if opens_s > holds_s else self._patience.why
            return Wait(min(max(opens_s, holds_s), gives_up_s), why)
        if self._suspects.full(now_s):
            return self._read_back()
        backlog, bytes_max = self._backlog, self._bytes.value
        tasks_max = min(self._bounds.tasks_max, self._tasks_at(now_s))
        ready_s = backlog.ready_s(
            now_s, tasks_max=tasks_max, bytes_max=bytes_max, sealed=self.sealed
        )
        if ready_s <= now_s:
            tasks = backlog.next(now_s, tasks_max=tasks_max, bytes_max=bytes_max)
            return Send(self._start(tasks, now_s))
        # With nothing to send there is no better use of a place in flight, few as they may be.
        read_s = self._suspects.ready_s(now_s)
        if read_s <= now_s:
            return self._read_back()
        why = Why.REPLIES if ready_s == read_s == math.inf else Why.RETRIES
        return Wait(min(ready_s, read_s, gives_up_s), why if self.sealed else Why.SOURCE)

    def _gives_up_s(self, now_s: float, in_flight_max: int) -> float:
        """When the run gives up if nothing is settled before."""
        if self.in_flight:
            return self._patience.ends_s(now_s, idle=False, barred=False)
        sent_before = self.unsettled - self.fresh
        barred = in_flight_max < 1 or 0 < self._suspects.resting(now_s) == sent_before
        return self._patience.ends_s(now_s, idle=not sent_before, barred=barred)

    def _start(self, tasks: Sequence[Task], now_s: float) -> Attempt:
        self._attempts += 1
        troubles, number = self._troubles, self._attempts
        attempt = Attempt(
            number=number,
            client_request_id=f"{self._guid_prefix}{number:012x}",
            tasks=tasks,
            resent=sum([task.ordinal in troubles for task in tasks]) if troubles else 0,
            sent_s=now_s,
        )
        self._in_flight[number] = attempt
        self._patience.sent(number)
        return attempt

    def _read_back(self) -> ReadBack:
        self._read_backs += 1
        read = self._suspects.begin(-self._read_backs)
        self._patience.sent(read.number)
        return read

    # --- Out -------------------------------------------------------------------------------

    def settle(self, attempt: Attempt, reply: Reply, *, now_s: float) -> Sequence[Outcome]:
        """Take in the reply to an attempt.

        After calling this method, record the outcomes, then ask next_step() again: tasks may
        have come free to send.

        Returns:
            One outcome per task settled by this reply, in no set order; a task settles once
            and is never sent again. Tasks left out are unsettled and will be in a later
            attempt, under the same ID.
        """
        assert attempt.number in self._in_flight
        outcomes: Sequence[Outcome] = []
        match reply:
            case Answered():
                outcomes = self._settle_each(attempt, reply, now_s)
            case Throttled() | Lost():
                self._press(attempt, reply, now_s)
            case Refused() if len(attempt.tasks) == 1:
                word = self._reject(attempt, attempt.tasks[0], reply)
                if isinstance(word, Suspect):
                    self._suspect([word], now_s)
                else:
                    outcomes = [word]
                self._patience.hold.clean()
            case Refused():
                self._halve(attempt, reply)
                self._patience.hold.clean()
        del self._in_flight[attempt.number]
        self._count(outcomes, now_s)
        return outcomes

    def _count(self, outcomes: Sequence[Outcome], now_s: float) -> None:
        if outcomes:
            self._patience.settled(now_s)
            self.unsettled -= len(outcomes)

    def _settle_each(self, attempt: Attempt, reply: Answered, now_s: float) -> Sequence[Outcome]:
        """Settle by results; they come in any order, and perhaps not one for each task."""
        if not attempt.resent and all_added(attempt, reply):
            self._worked(attempt)
            self.unsettled_bytes -= (size := bytes_of(attempt.tasks))
            return AllAdded(attempt, reply.request_id, size)
        results = by_folded_id(reply.results, attempt.number, self._observer)
        outcomes: list[Outcome] = []
        suspects: list[Suspect] = []
        again: list[Task] = []
        code: str | None = None
        for task in attempt.tasks:
            result = results.pop(task.id.lower(), None)
            word = self._settle_one(attempt, task, result, reply.request_id)
            if isinstance(word, Outcome):
                outcomes.append(word)
            elif word:
                suspects.append(word)
            else:
                again.append(task)
                code = code or (result and result.error and result.error.code) or None
        for task_id in results:
            self._observer(Anomaly("unknown_id", attempt.number, task_id))
        if not (outcomes or suspects):
            reason = f"no task was settled by an answer ({code or 'no code'})"
            self._press(attempt, Lost(reason, sent=True), now_s)
            return []
        self._worked(attempt)
        self._suspect(suspects, now_s)
        self._again(attempt, again, now_s, in_doubt=True, pressed=False)
        return outcomes

    def _worked(self, attempt: Attempt) -> None:
        self._patience.hold.clean()
        self._backlog.budget.earn(resent=attempt.resent > 0)
        self._bytes.clean(attempt.tasks)

    def _settle_one(
        self, attempt: Attempt, task: Task, result: TaskResult | None, request_id: str | None
    ) -> Outcome | Suspect | None:
        """An outcome, a task to be read back, or None if it is to be sent again."""
        if result is None:
            self._observer(Anomaly("missing_id", attempt.number, task.id))
            return None
        match result.status.lower():
            case AddStatus.SUCCESS:
                return self._close(attempt, task, Verdict.ADDED, request_id)
            case AddStatus.CLIENT_ERROR:
                return self._settle_client_error(attempt, task, result, request_id)
            case status if status != AddStatus.SERVER_ERROR:
                self._observer(Anomaly("unknown_status", attempt.number, task.id))
        return None

    def _settle_client_error(
        self, attempt: Attempt, task: Task, result: TaskResult, request_id: str | None
    ) -> Outcome | Suspect:
        error = result.error or BatchError()
        refused = Refused(error.code or "", error.text, error.values or (), request_id)
        if refused.code.lower() != TASK_EXISTS:
            return self._reject(attempt, task, refused)
        match self._on_exists:
            case "accept":
                return self._close(attempt, task, Verdict.EXISTED, request_id)
            case "reject" if not self._troubles.of(task.ordinal).in_doubt:
                return self._close(attempt, task, Verdict.REJECTED, request_id, refused)
            case _:
                return Suspect(task, refused, True, attempt.client_request_id)  # noqa: FBT003

    def _reject(self, attempt: Attempt, task: Task, refused: Refused) -> Outcome | Suspect:
        """For good, unless an earlier attempt of it may still land."""
        if self._troubles.of(task.ordinal).in_doubt:
            return Suspect(task, refused, False, attempt.client_request_id)  # noqa: FBT003
        return self._close(attempt, task, Verdict.REJECTED, refused.request_id, refused)

    def _close(
        self,
        attempt: Attempt,
        task: Task,
        verdict: Verdict,
        request_id: str | None,
        refused: Refused | None = None,
    ) -> Outcome:
        self.unsettled_bytes -= len(task.body)
        trouble = self._troubles.pop(task.ordinal, NO_TROUBLE)
        return replied(attempt, task, verdict, trouble, request_id=request_id, refused=refused)

    def _suspect(self, suspects: Sequence[Suspect], now_s: float) -> None:
        """Let tasks wait to be read back: now, or when no attempt of them can land any more."""
        for suspect in suspects:
            trouble = self._troubles.setdefault(suspect.task.ordinal, Trouble())
            trouble.attempts += 1
            sent_s = max(trouble.doubtful_s, self._began_s or 0.0)
            over_s = on_grid(sent_s + self._bounds.server_timeout_s)  # So that they go together.
            due_s = now_s if suspect.exists else over_s
            one_by_one = suspect.exists and trouble.absences > 0
            self._suspects.add([suspect], due_s=due_s, one_by_one=one_by_one)

    def _halve(self, attempt: Attempt, refused: Refused) -> None:
        if refused.code == TOO_LARGE:
            self._bytes.refused(request_bytes(attempt.tasks))
        for task in attempt.tasks:
            self._troubles.setdefault(task.ordinal, Trouble()).attempts += 1
        self._backlog.add_halves(halve(attempt.tasks))

    def _press(self, attempt: Attempt, reply: Throttled | Lost, now_s: float) -> None:
        """Nothing was settled: take it as pressure, and send the tasks again later."""
        reason, retry_after_s = reply.reason, reply.retry_after_s
        in_doubt = isinstance(reply, Throttled) or reply.sent
        self._patience.hold.pressure(attempt.number, reason, in_flight=self.in_flight, now_s=now_s)
        again_s = retry_after_s or 0.0
        self._again(attempt, attempt.tasks, now_s, in_doubt=in_doubt, pressed=True, least_s=again_s)
        self._patience.keep_off(reason, retry_after_s, now_s)

    def _again(
        self,
        attempt: Attempt,
        tasks: Sequence[Task],
        now_s: float,
        *,
        in_doubt: bool,
        pressed: bool,
        least_s: float = 0.0,
    ) -> None:
        """Let tasks wait for their next attempt, all of a reply alike, so that they travel on."""
        if not tasks:
            return
        streak = self._patience.hold.streak
        failures = self._troubles.fail(
            attempt, tasks, in_doubt=in_doubt, pressed=pressed, streak=streak
        )
        backoff = PRESSURE_BACKOFF if pressed else SERVER_ERROR_BACKOFF
        delay_s = max(backoff.delay_s(failures, self._random), least_s)
        self._backlog.wait(tasks, now_s + delay_s, pressed=pressed)

    def settle_read_back(self, read: ReadBack, reading: Reading, *, now_s: float) -> list[Outcome]:
        """Take in what a read-back has found.

        Returns:
            As settle() does: one outcome per task settled by it.
        """
        in_flight = self.in_flight
        findings = self._suspects.end(read, reading)
        lost = reading.lost or Lost("tasks were left out of a read-back", sent=True)
        if findings.judged or findings.absent:
            self._patience.hold.clean()
        else:
            self._patience.hold.pressure(read.number, lost.reason, in_flight=in_flight, now_s=now_s)
        self._miss([suspect.task for suspect in findings.absent], now_s)
        if findings.unread:
            delay_s = PRESSURE_BACKOFF.delay_s(max(1, self._patience.hold.streak), self._random)
            self._suspects.add(findings.unread, due_s=now_s + delay_s, one_by_one=read.one_by_one)
            self._patience.keep_off(lost.reason, lost.retry_after_s, now_s)
        outcomes = []
        for judged in findings.judged:
            task = judged.suspect.task
            outcomes.append(read_back(judged, self._troubles.pop(task.ordinal)))
            self.unsettled_bytes -= len(task.body)
        self._count(outcomes, now_s)
        return outcomes

    def _miss(self, tasks: Sequence[Task], now_s: float) -> None:
        """They are said to exist, and are not there: send them again; a list may lag."""
        for task in tasks:
            trouble = self._troubles[task.ordinal]
            trouble.absences += 1
            trouble.in_doubt = True
            delay_s = PRESSURE_BACKOFF.delay_s(trouble.absences, self._random)
            self._backlog.wait([task], now_s + delay_s, pressed=False)

    # --- The end ---------------------------------------------------------------------------

    def abandon(self, reason: str) -> list[Outcome]:
        """Stop trying: one ABANDONED outcome for each unsettled task that was ever sent.

        Fresh tasks stay unsettled. Nothing may be asked of the reconciler afterwards but its
        counts.
        """
        outcomes = []
        flying = {t.ordinal: t for a in self._in_flight.values() for t in a.tasks}
        for suspect in self._suspects:
            # It exists under its ID, or may; whose it is, is not known.
            self._troubles[suspect.task.ordinal].in_doubt = True
        suspects = [suspect.task for suspect in self._suspects]
        for task in [*flying.values(), *suspects, *self._backlog.again()]:
            trouble = self._troubles.pop(task.ordinal, Trouble())
            outcomes.append(abandoned(task, trouble, reason, in_flight=task.ordinal in flying))
            self.unsettled_bytes -= len(task.body)
        self._in_flight.clear()
        self._suspects = Suspects()
        self.unsettled -= len(outcomes)
        return outcomes

    def check(self) -> None:
        """Assert every invariant; after each step in simulation, it is slow."""
        self._backlog.check()
        self._suspects.check()
        again = list(self._backlog.again())
        flying = [task for attempt in self._in_flight.values() for task in attempt.tasks]
        suspects = [suspect.task for suspect in self._suspects]
        held = [*self._backlog.fresh, *again, *flying, *suspects]
        assert len(held) == len({task.ordinal for task in held}) == self.unsettled
        assert sum(len(task.body) for task in held) == self.unsettled_bytes
        assert {task.ordinal for task in [*again, *suspects]} <= set(self._troubles)
        tried = {task.ordinal for task in [*again, *flying, *suspects]}
        assert all(o in tried or o < self._doubt_below for o in self._troubles)
        for attempt in self._in_flight.values():
            assert 1 <= len(attempt.tasks) <= self._bounds.tasks_max
            assert len({task.id.lower() for task in attempt.tasks}) == len(attempt.tasks)
            assert request_bytes(attempt.tasks) <= self._bounds.bytes_max
