"""What a client says, against what the service holds, for ``benchmarks/clients.py``."""

from dataclasses import dataclass

from benchmarks.clients_cases import Case, task_id

HAMMERS_PER_S = 10.0  # Requests, at a service that is down.


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a client reports.

    Attributes:
        ended: How it ended: "returned", "raised HttpResponseError", "exit code 6".
        well: Nothing in how it ended says that anything is amiss.
        text: What else it says, in its own words.
        alarm: It wrote to standard error, though it ended well.
        in_ids: Of tasks that it says are in the job.
        left_ids: Of tasks of which it says that they are not, or may not be.
        left: How many it says are not; at least as many as it names.
        logged_ids: Of tasks that it names on standard error, whatever it says of them.
    """

    ended: str
    well: bool = False
    text: str = ""
    alarm: bool = False
    in_ids: frozenset[str] = frozenset()
    left_ids: frozenset[str] = frozenset()
    left: int = 0
    logged_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A client's run in a case.

    Attributes:
        case: Which.
        client: Its name.
        told: What it reports.
        held: The IDs that the service holds after it.
        adds: Requests that added a collection, or tried to.
        others: Its other requests.
        seconds: From the start of its process to its end.
        stopped: It still went on when its time was over, and was ended.
        struck_s: For so long the trouble went on, as far as the client saw it.
        struck_requests: How many requests it sent in that time.
    """

    case: Case
    client: str
    told: Told
    held: frozenset[str]
    adds: int
    others: int
    seconds: float
    stopped: bool
    struck_s: float
    struck_requests: int

    @property
    def missing(self) -> frozenset[str]:
        """The IDs of all tasks that are not in."""
        return frozenset(map(task_id, range(self.case.tasks))) - self.held

    @property
    def untold(self) -> int:
        """How many of these the client neither names nor counts."""
        counted = max(0, self.told.left - len(self.told.left_ids))
        return max(0, len(self.missing - self.told.left_ids) - counted)

    @property
    def made_up(self) -> int:
        """How many it says are in that are not."""
        return len(self.told.in_ids - self.held)

    @property
    def lost(self) -> bool:
        """Whether its user believes tasks to be in the job that are not."""
        return bool(self.made_up or (self.told.well and self.missing and self.untold))

    @property
    def requests_per_s(self) -> float:
        """While the trouble went on."""
        return self.struck_requests / self.struck_s if self.struck_s else 0.0

    @property
    def verdict(self) -> str:
        """In a few words; in bold what leaves its user in the belief that all is well."""
        if self.made_up:
            return f"**says of {self.made_up:,} that they are in, which are not**"
        if self.stopped:
            return self._going_on()
        if self.told.well:
            return self._content()
        if not self.missing - self.case.impossible:
            return self._whole()
        after = f" after {self.struck_s:.1f} s" if self.case.outage else ""
        return f"stops{after}: {len(self.missing):,} left, {self._named()}"

    def _going_on(self) -> str:
        rate = self.requests_per_s
        verb = "hammers" if rate > HAMMERS_PER_S else "keeps trying"
        shown = f"{rate:,.0f}" if rate > HAMMERS_PER_S else f"{rate:.2f}"
        left = f"{len(self.missing):,} left when ended, {self._named()}"
        return f"{verb}, {shown} requests/s; {left}"

    def _content(self) -> str:
        """It returned, or its exit code is 0."""
        if self.untold:
            told = len(self.missing) - self.untold
            but = f" ({told:,} more are told)" if told else ""
            how = "lost but for a traceback" if self.told.alarm else "lost silently"
            return f"**{how}: {self.untold:,}**{but}"
        if self.missing:
            return f"{len(self.missing):,} not in, only what it returns says so"
        return "all in"

    def _whole(self) -> str:
        """It says that something is amiss, and all that can be in is in."""
        if wrongly := len(self.told.left_ids & self.held):
            return f"all in, but it says that {wrongly:,} are not"
        if not self.missing:
            return "all in, but it ends as if not"
        return f"all others in, {self._named()}"

    def _named(self) -> str:
        """Whether it says what is left."""
        wrongly = len(self.told.left_ids & self.held)
        also = f" with {wrongly:,} that are in" if wrongly else ""
        named = len(self.missing & self.told.left_ids)
        if named == len(self.missing):
            return f"named{also}"
        if not self.untold:
            return f"counted{also}"
        if self.missing <= self.told.left_ids | self.told.logged_ids:
            return f"named in its log{also}"
        if named:
            return f"{named:,} of them named{also}"
        return "not said which"
