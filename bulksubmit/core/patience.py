"""Whether anything may be sent now, and when the run gives up."""

import math
from random import Random

from bulksubmit.core.backoff import Hold
from bulksubmit.core.events import Held, Observer, Resumed
from bulksubmit.core.model import GiveUp, Why

LONGER_S_MIN = 1.0  # What a hold must grow by to be told again: each reply in flight adds a little.


class Patience:
    """The hold, told to the observer, and the time without a single task settled.

    Attributes:
        hold: Whether sending is held back; tell it of each reply.
        give_up: Why the run has given up, once it has.
    """

    def __init__(self, retry_timeout_s: float, random: Random, observer: Observer) -> None:
        """Start with nothing held.

        Args:
            retry_timeout_s: The run gives up after so long without a single task settled.
            random: For the jitter of probes.
            observer: Told when sending is held back, and when it goes on.
        """
        self._retry_timeout_s, self._observer = retry_timeout_s, observer
        self.hold = Hold(random)
        self._held_until_s: float | None = None  # What the observer was told last.
        self._progress_s = 0.0  # When a task was last settled, or sending began.
        self._barred = False  # When last asked, nothing could be tried.
        self.give_up: GiveUp | None = None

    def settled(self, now_s: float) -> None:
        """A task was settled."""
        self._progress_s = now_s

    def ends_s(self, now_s: float, *, idle: bool, barred: bool) -> float:
        """When the run gives up if nothing is settled before; then ``give_up`` says why.

        Args:
            now_s: Now.
            idle: Nothing is being tried: the source is slow.
            barred: Nothing can be tried from now on, until this is asked again: the consumer
                is slow, to whom the others with a place hand their outcomes, or all that is
                left may still land.
        """
        if self._barred or barred or idle:
            self._progress_s = now_s
        self._barred = barred
        if now_s >= self._progress_s + self._retry_timeout_s and not self.give_up:
            last = self.hold.reason or "no reply"
            self.give_up = GiveUp(
                f"no task was settled for {self._retry_timeout_s:g} s; last: {last}"
            )
        return self._progress_s + self._retry_timeout_s

    def opens_s(self, now_s: float) -> float:
        """When the next request may go: now, later, or never before the probe's reply."""
        opens_s = self.hold.opens_s(now_s)
        if opens_s > now_s and math.isfinite(opens_s) and self._is_news(opens_s, now_s):
            self._held_until_s = opens_s
            self._observer(Held(self.hold.reason, for_s=opens_s - now_s))
        return opens_s

    def _is_news(self, opens_s: float, now_s: float) -> bool:
        told_s = self._held_until_s
        return told_s is None or now_s >= told_s or opens_s >= told_s + LONGER_S_MIN

    @property
    def why(self) -> Why:
        """Why nothing may go, if so."""
        return Why.ASKED if self.hold.asked else Why.HELD

    def sent(self, number: int) -> None:
        """A request has gone."""
        self.hold.sent(number)
        if self._held_until_s is not None and not self.hold.probing:
            self._held_until_s = None
            self._observer(Resumed())

    def keep_off(self, reason: str, retry_after_s: float | None, now_s: float) -> None:
        """The service asks all senders to wait, if it says so."""
        if retry_after_s is None:
            return
        self.hold.floor(now_s + retry_after_s, reason)
        if retry_after_s > self._retry_timeout_s and not self.give_up:
            self.give_up = GiveUp(
                f"the service asks to come back in {retry_after_s:g} s, later than the retry "
                f"timeout of {self._retry_timeout_s:g} s; go on after that ({reason})"
            )
