"""What limits a run, on a virtual clock: each cause is named, while it lasts and at the end."""

from collections.abc import Callable
from contextlib import closing

import anyio

from bulksubmit.consumer import running
from bulksubmit.core.account import Counts
from bulksubmit.core.model import Attempt, Lost, Reply, Throttled
from bulksubmit.journal import NoJournal
from bulksubmit.observe.report import Report
from bulksubmit.producer.source import Source
from bulksubmit.runs import Run, new_run_id, run_folder
from bulksubmit.settings import MIB, Settings
from tests.core.helpers import make_tasks
from tests.shell.doubles import Blocks, FakeService, adds, make_submission, rejects, take_all
from tests.virtual import START_S, run_virtual


def run(
    source: Source,
    service: FakeService,
    settings: Settings | None = None,
    *,
    work: Run | None = None,
    pause_s: float = 0.0,
    cpu_s: Callable[[], float] = lambda: 0.0,
    look_s: float = 5.0,
) -> tuple[str | None, Report]:
    """Run a submission to its end.

    Args:
        source: What to submit.
        service: Where to.
        settings: How.
        work: The run; None for one without a journal.
        pause_s: How long the consumer takes for each outcome.
        cpu_s: How long a core was busy.
        look_s: When to look at the progress.

    Returns:
        What limits it then, and the report at its end.
    """

    async def submit() -> tuple[str | None, Report]:
        seen: list[str] = []
        submission = make_submission(source, service, settings, work=work, cpu_s=cpu_s)

        async def look(_: object) -> None:
            await anyio.sleep(look_s)
            limited = submission.progress.limited_by
            seen.append(limited.cause.value if limited else "nothing")
            await anyio.sleep_forever()

        async with running(submission) as outcomes:
            await take_all(outcomes, look, pause_s)
        return (seen[0] if seen else None), outcomes.report

    with closing(source):
        return run_virtual(submit)[0]


def blocks(count: int, *, pause_s: float = 0.0, body_bytes: int = 0) -> Blocks:
    """So many blocks of 100 tasks, each after a pause."""
    made = ((pause_s, make_tasks(100, first=100 * n, body_bytes=body_bytes)) for n in range(count))
    return Blocks(made)


# --- The user's bounds -------------------------------------------------------------------------


def test_a_fixed_limit() -> None:
    """Twenty requests of a second each, two at a time: the limit is all that stands in the way."""
    now, report = run(blocks(20), FakeService(), Settings(concurrency=2))

    assert now == report.limited_by == "concurrency"
    assert report.limited_share is not None
    assert report.limited_share >= 0.9
    assert report.advice == "raise --concurrency (now 2)"
    assert (report.limit, report.limit_reason, report.limit_cut) == (2, None, {})


def test_the_most_that_is_allowed() -> None:
    """The adaptive limit goes up to what the user allows, and then that is the bound."""
    now, report = run(blocks(60), FakeService(), Settings(concurrency_max=4), look_s=12.0)

    assert now == report.limited_by == "concurrency"
    assert report.advice == "raise --concurrency-max (now 4)"
    assert (report.limit, report.limit_raised, report.limit_cut) == (4, 2, {})


def test_the_rate() -> None:
    """500 tasks a second at most, of a service that would take more."""
    now, report = run(blocks(50), FakeService(reply_s=0.1), Settings(max_rate=500.0))

    assert now == report.limited_by == "max_rate"
    assert report.advice == "raise --max-rate (now 500)"


def test_memory() -> None:
    """8 MiB hold eight tasks of 1 MB, though twenty could be in flight."""
    source = Blocks((0.0, [task]) for task in make_tasks(60, body_bytes=990_000))
    settings = Settings(concurrency=20, buffer_bytes_max=8 * MIB)

    now, report = run(source, FakeService(), settings)

    assert now == report.limited_by == "buffer"
    assert report.advice == "raise --max-buffer (now 8 MiB)"


# --- The service -------------------------------------------------------------------------------


def test_throttling() -> None:
    """More than two at once are throttled: the limit is cut, and that is what it says."""
    service, refused = FakeService(), set[int]()

    def look_at(attempt: Attempt) -> float:
        """When it arrives it is decided; a refusal is quick. No two replies come at one time."""
        if service.in_flight > 2:
            refused.add(attempt.number)
            return 0.01
        return 0.1 + attempt.number % 7 / 1000

    def two_at_once(attempt: Attempt, now_s: float) -> Reply:
        return Throttled(None, "429") if attempt.number in refused else adds(attempt, now_s)

    service.reply, service.reply_s = two_at_once, look_at
    now, report = run(blocks(300), service)

    assert now == report.limited_by == "throttled"
    assert set(report.limit_cut) == {"throttled"}
    assert report.limit is not None
    assert report.limit < 3
    assert report.limit_reason


def test_a_retry_after() -> None:
    """The service asks all to wait for twenty seconds."""
    service = FakeService(
        lambda attempt, now_s: (
            Throttled(20.0, "429") if now_s < START_S + 2 else adds(attempt, now_s)
        )
    )
    now, report = run(blocks(4), service, Settings(concurrency=2))

    assert now == report.limited_by == "throttled"
    assert report.advice is not None
    assert report.advice.startswith("it asked to wait (Retry-After), ")


def test_an_outage() -> None:
    """For half a minute nothing gets through but a gateway's word."""
    service = FakeService(
        lambda attempt, now_s: (
            Lost("502", sent=True) if now_s < START_S + 30 else adds(attempt, now_s)
        ),
        reply_s=0.1,
    )
    now, report = run(blocks(20), service, look_s=20.0)

    assert now == report.limited_by == "failing"


def test_the_last_replies() -> None:
    """All that there is is in flight at once."""
    now, report = run(blocks(4), FakeService(reply_s=8.0), Settings(concurrency=16))

    assert now == report.limited_by == "replies"


def test_the_last_retries() -> None:
    """
    A task that was refused after its first reply was lost is read back when the first attempt
    cannot land any more, 30 s later; until then nothing else is left.
    """

    def refuses(attempt: Attempt, now_s: float) -> Reply:
        return rejects(attempt, now_s) if attempt.resent else Lost("reset", sent=True)

    now, report = run(Blocks([(0.0, make_tasks(1))]), FakeService(refuses, reply_s=0.1))

    assert now == report.limited_by == "retries"
    assert report.rejected == 1


# --- Before and behind -------------------------------------------------------------------------


def test_a_slow_source() -> None:
    """A block a second, of which each is sent and answered before the next one has come."""
    now, report = run(blocks(20, pause_s=1.0), FakeService(reply_s=0.2))

    assert now == report.limited_by == "source"
    assert report.advice is not None
    assert report.advice.startswith("it delivered 9")


def test_a_slow_consumer() -> None:
    """Whoever takes a tenth of a second for each outcome is waited for."""
    now, report = run(blocks(200), FakeService(reply_s=0.01), Settings(concurrency=2), pause_s=0.01)

    assert now == report.limited_by == "consumer"


# --- The machine -------------------------------------------------------------------------------


def test_a_busy_core() -> None:
    """A core that is busy all the time is what limits it, whatever is waited for."""
    now, report = run(
        blocks(20),
        FakeService(),
        Settings(concurrency=2),
        cpu_s=lambda: 0.97 * anyio.current_time(),
    )

    assert now == report.limited_by == "cpu"


class SlowJournal(NoJournal):
    """Writes for half of the time."""

    def commit_if_due(self, counts: Counts) -> None:  # noqa: ARG002
        self.wrote_s = 0.5 * (anyio.current_time() - START_S)


def test_a_slow_disk() -> None:
    """Half of the time goes into the journal."""
    run_id = new_run_id()
    work = Run(run_id, run_folder(run_id), SlowJournal())

    now, report = run(blocks(20), FakeService(), Settings(concurrency=2), work=work)

    assert now == report.limited_by == "disk"


# --- Not at all --------------------------------------------------------------------------------


def test_a_short_run_says_nothing() -> None:
    """A second is not enough to tell."""
    now, report = run(blocks(3), FakeService(reply_s=0.3), look_s=0.6)

    assert now == "nothing"
    assert (report.limited_by, report.limited_share, report.advice) == (None, None, None)


def test_a_fast_consumer_of_many_small_replies() -> None:
    """
    However many replies come at one moment, their outcomes are taken in at once: none of the
    hundred places stays taken, and each second has its hundred requests.
    """
    source = Blocks((0.0, make_tasks(5, first=5 * n)) for n in range(1000))
    settings = Settings(concurrency=100, tasks_per_request_max=5)

    now, report = run(source, FakeService(), settings)

    assert now == report.limited_by == "concurrency"
    assert report.elapsed_s == 10
