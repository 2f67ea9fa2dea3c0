"""The benchmarks run; what they measure is for people to read, and never asserted."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from benchmarks import clients, forms, pace
from benchmarks.clients_cases import CASES, task_id
from benchmarks.clients_verdict import Ran, Told
from benchmarks.job_digest import digest, swept, wanted
from benchmarks.measure import Usage
from benchmarks.pace_http import Pair
from benchmarks.pace_runs import Best, Figures, spans
from benchmarks.task_file import task_file
from benchmarks.task_forms import FORMS, bodies
from bulksubmit.cli.inputs import source_spec
from bulksubmit.producer import open_source
from bulksubmit.producer.spec import SourceSpec
from tests.producer.reading import read
from tests.scenarios.run import scenarios

ROOT = Path(__file__).parents[1]


def benchmark(name: str, *arguments: str) -> str:
    ended = ran(name, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def ran(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def table_rows(printed: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in printed.splitlines() if line[:2] == "| "]


def test_task_files_are_reused(tmp_path: Path) -> None:
    """
    A task file is written once; one that is cut off is written again, the same.
    """
    path = task_file(tmp_path, tasks=3, task_bytes=300)
    whole, written = path.read_bytes(), path.stat().st_mtime_ns

    assert [len(line) for line in whole.splitlines()] == [300] * 3
    assert task_file(tmp_path, tasks=3, task_bytes=300).stat().st_mtime_ns == written

    path.write_bytes(whole[:-1])

    assert task_file(tmp_path, tasks=3, task_bytes=300).read_bytes() == whole


@pytest.mark.thorough
def test_the_emulator_is_loaded() -> None:
    """
    A small load ends well, with a row for each case, signed or open to everybody: the emulator
    took every task.
    """
    printed = benchmark("emulator", *("small", "300-open", "--rounds", "1", "--requests", "20"))

    rows = table_rows(printed)
    assert [row[:3] for row in rows[1:]] == [["small", "76", "yes"], ["300-open", "300", "no"]]


def test_emulator_memory_is_told() -> None:
    """
    The emulator's memory is measured with as many tasks as were asked for.
    """
    assert "with 1,000 tasks of 100 bytes" in benchmark("emulator_memory", "--tasks", "1000")


@pytest.mark.thorough
def test_journal_is_measured(tmp_path: Path) -> None:
    """
    What the journal takes is measured to the end: by itself, in whole runs, and when a run goes
    on that was killed in its middle.
    """
    sizes = ("--tasks", "2000", "--tasks-resumed", "30000")
    printed = benchmark("journal", *sizes, "--rounds", "1", "--folder", str(tmp_path))

    wanted = [
        "CPU",
        "after the run",
        "the most",
        "CPU",
        "after the run",
        "the most",
        "whole",
        "first",
    ]
    lines = [line for line in printed.splitlines()[3:] if not line.endswith(":")]
    assert len(lines) == len(wanted)
    assert all(text in line for text, line in zip(wanted, lines, strict=True))


@pytest.mark.thorough
def test_validate_is_measured(tmp_path: Path) -> None:
    """
    The look for duplicate IDs and the validation of both kinds of tasks are measured to the end.
    """
    sizes = ("--tasks", "2000", "--ids", "70000", "--rounds", "1")
    printed = benchmark("validate", *sizes, "--folder", str(tmp_path))

    lines = [line.partition(":")[0] for line in printed.splitlines()[3:]]
    validated = [
        "  CPU a task, µs",
        "  tasks/s by the clock",
        "  of which for duplicates, µs a task",
    ]
    assert lines == [
        "70,000 IDs, for the look for duplicates alone",
        *("  CPU an ID while reading, µs", "  CPU an ID at the end, µs", "  memory, MB"),
        "bulksubmit validate, 2,000 tasks of 100 bytes",
        *(*validated, "  peak RSS, MB"),
        "bulksubmit validate, 2,000 tasks of 300 bytes",
        *(*validated, "  peak RSS, MB"),
    ]


@pytest.mark.thorough
def test_forms_are_flooded(tmp_path: Path) -> None:
    """
    Each form that was asked for is written, flooded, and found whole in the job; its files are
    removed.
    """
    asked = ("--tasks", "300", "--forms", "pretty.zst", "sweep")
    printed = benchmark("forms", *asked, "--folder", str(tmp_path))

    rows = table_rows(printed)
    assert [(row[0], row[-1]) for row in rows[1:]] == [("pretty.zst", "met"), ("sweep", "met")]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_is_of_the_same_tasks(tmp_path: Path, form: str) -> None:
    """
    What is written in each form is read as the very tasks, and there is a bar for each.
    """
    source, *options = FORMS[form](tmp_path, 20)
    template = Path(options[1]) if options else None
    spec = source_spec([source], template=template, sweeps=(), allow_unused_columns=False)
    items = await read(open_source(spec))

    read_tasks = [orjson.loads(task.body) for task in items.tasks]
    assert read_tasks == [orjson.loads(body) for body in bodies(20)]
    assert form in forms.RSS_MAX


def test_a_digest_tells_tasks_from_others() -> None:
    """
    One task less, or one that differs in a single member, has another digest; the order has none.
    """
    tasks = [*wanted(bodies(3))]
    changed = [*tasks[:2], tasks[2] | {"displayName": "x"}]

    assert digest(tasks[::-1]) == digest(tasks)
    assert len({digest(some) for some in (tasks, tasks[:2], changed)}) == 3


async def test_sweeps_are_told_plainly(tmp_path: Path) -> None:
    """
    The tasks of a sweep's file, as the benchmark has them, are those that are read from it.
    """
    path = tmp_path / "sweep.toml"
    path.write_text(
        '[sweep]\nmode = ["fast", "slow"]\nn = "08..10"\n'
        '[task]\nid = "{mode}-{n}"\ncommandLine = "render --{mode} {n}"\n'
    )
    items = await read(open_source(SourceSpec(files=(str(path),)).expanded()))

    assert [task.body for task in items.tasks] == [*swept(path)]
    assert len(items.tasks) == 6


def test_forms_miss_the_bar() -> None:
    """
    A flood that takes too much memory, or leaves something out, is none that meets the bar.
    """
    usage = Usage(cpu_s=1.0, rss_bytes=100_000_000, wall_s=1.0, exit_code=0, output=b"")
    verdicts = [
        forms.Flood("lines", 1, 1, usage, rss_max, wrong).verdict
        for rss_max, wrong in ((100, None), (99, None), (100, "one is missing"))
    ]

    assert verdicts == ["met", "NOT MET", "FAILED: one is missing"]


@pytest.mark.thorough
def test_pace_is_measured() -> None:
    """
    Each limit that was asked for has a column beside ours, each scenario a row; the exit code
    says whether all that is wanted of ours is so.
    """
    ended = ran("pace", "tiny-queue", "--seeds", "1", "--limits", "AIMD", "1")

    rows = table_rows(ended.stdout)
    assert [row[0] for row in rows[:4]] == ["limit", "ours", "AIMD", "fixed 1"], ended.stderr
    assert rows[4] == ["scenario", "best", "tasks/s", "ours", "AIMD", "1"]
    assert [row[0] for row in rows[5:12:2]] == ["tiny-queue"] * 4
    assert ended.returncode == ("NOT MET" in ended.stdout)


def test_pace_misses_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each scenario in which ours is not as is wanted is told, for each thing that is wanted; and
    where there is no knee, nothing is wanted of the throughput.
    """
    known = {scenario.name: scenario for scenario in scenarios()}
    good = Figures(95.0, 0.01, 0.1, 30.0, None, None, 5, 5)
    slow = replace(good, tasks_per_s=80.0, settles_s=math.inf, recovers_s=31.0, share=0.3)
    rows = [
        pace.Row(known[name], Best(16, 100.0, 100.0), {"ours": figures})
        for name, figures in (("limit-16", good), ("limit-2", slow), ("no-limit", slow))
    ]

    assert pace.show_bars(pace.bars(rows[:1]))
    assert not pace.show_bars(pace.bars(rows))
    missed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOT MET")]
    assert missed == [
        "NOT MET: limit-2: throughput, % of the best fixed limit's: 80",
        "NOT MET: limit-2: settles in, s: never",
        "NOT MET: no-limit: settles in, s: never",
        "NOT MET: limit-2: recovers in, s: 31",
        "NOT MET: no-limit: recovers in, s: 31",
        "NOT MET: limit-2: the smaller share of two submitters: 0.3",
        "NOT MET: no-limit: the smaller share of two submitters: 0.3",
    ]


def test_pace_is_measured_while_the_service_stays_as_it_is() -> None:
    """
    An outage is left out, as is the time in which the pace is looked for.
    """
    known = {scenario.name: scenario for scenario in scenarios()}

    assert [span.settled_s for span in spans(known["limit-16"])] == [(30, 60)]
    assert [span.settled_s for span in spans(known["outage-502"])] == [(10, 20), (80, 110)]
    assert [span.settled_s for span in spans(known["two-submitters"])] == [(7.5, 15), (45, 75)]


@pytest.mark.thorough
def test_pace_is_drawn(tmp_path: Path) -> None:
    """
    A picture is drawn of each scenario that was asked for, with one submitter or two.
    """
    asked = ("capacity-halves", "two-submitters", "--tasks-max", "200")
    benchmark("pace", *asked, "--pictures", str(tmp_path))

    drawn = sorted(tmp_path.iterdir())
    assert [path.name for path in drawn] == ["capacity-halves.png", "two-submitters.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


@pytest.mark.thorough
def test_pace_over_http_is_compared() -> None:
    """
    A scenario is run over real HTTP and on virtual time, and each figure of both is shown.
    """
    ended = ran("pace", "limit-2", "--http", "--tasks-max", "20")

    rows = table_rows(ended.stdout)
    assert [row[1] for row in rows] == ["figure", "seconds", "requests", "throttled, %", "limit"]
    assert ended.returncode == ("NOT MET" in ended.stdout), ended.stderr


def test_pace_over_http_agrees() -> None:
    """
    Two figures agree if they are no more than 15 % apart; shares also if by two in a hundred, and
    limits if so much beyond those of all seeds.
    """
    apart = [("seconds", 114.0), ("seconds", 116.0), ("throttled", 84.0), ("limit", 124.0)]
    pairs = [Pair("tiny", name, http, [90.0, 110.0]) for name, http in apart]

    assert [pair.agrees for pair in pairs] == [True, False, False, True]
    assert Pair("tiny", "throttled", 1.9, [0.0, 0.0]).agrees
    assert not Pair("tiny", "throttled", 2.1, [0.0, 0.0]).agrees


@pytest.mark.thorough
@pytest.mark.timeout(300)  # The first time, the client's environment is made.
def test_clients_are_compared() -> None:
    """
    A client that was asked for has a column, a case a row; what each came to is one of the
    verdicts, and the exit code says that ours lost nothing.
    """
    asked = ("--clients", "azure-batch-15", "bulksubmit", "--cases", "server-error", "missing")
    printed = benchmark("clients", *asked, "--tasks-max", "200")

    rows = table_rows(printed)
    assert rows[0] == ["case", "azure-batch-15", "bulksubmit"]
    assert rows[1] == [
        "ServerError once for one task",
        "1 not in, only what it returns says so",
        "all in",
    ]
    assert rows[2][1].startswith("**lost silently: ")
    assert rows[2][2] == "all in"
    assert [row[5] for row in rows if row[1] == "bulksubmit"] == ["200 of 200"] * 2


def ids(*numbers: int) -> frozenset[str]:
    return frozenset(map(task_id, numbers))


IN_0_1 = ids(0, 1)


@pytest.mark.parametrize(
    ("held", "told", "verdict", "lost"),
    [
        (ids(0, 1, 2, 3), Told(ended="returned", well=True), "all in", False),
        (IN_0_1, Told(ended="returned", well=True), "**lost silently: 2**", True),
        (
            IN_0_1,
            Told(ended="returned", well=True, alarm=True),
            "**lost but for a traceback: 2**",
            True,
        ),
        (
            IN_0_1,
            Told(ended="returned", well=True, left_ids=ids(2)),
            "**lost silently: 1** (1 more are told)",
            True,
        ),
        (
            IN_0_1,
            Told(ended="returned", well=True, left_ids=ids(2, 3)),
            "2 not in, only what it returns says so",
            False,
        ),
        (
            IN_0_1,
            Told(ended="exit code 6", in_ids=ids(0, 1, 2)),
            "**says of 1 that they are in, which are not**",
            True,
        ),
        (IN_0_1, Told(ended="raised"), "stops: 2 left, not said which", False),
        (IN_0_1, Told(ended="raised", left=2), "stops: 2 left, counted", False),
        (
            IN_0_1,
            Told(ended="raised", left_ids=ids(1, 2, 3)),
            "stops: 2 left, named with 1 that are in",
            False,
        ),
        (
            IN_0_1,
            Told(ended="raised", left_ids=ids(2)),
            "stops: 2 left, 1 of them named",
            False,
        ),
        (
            IN_0_1,
            Told(ended="raised", left_ids=ids(2), logged_ids=ids(0, 3)),
            "stops: 2 left, named in its log",
            False,
        ),
        (
            ids(0, 1, 2, 3),
            Told(ended="raised", left_ids=ids(2)),
            "all in, but it says that 1 are not",
            False,
        ),
        (ids(0, 1, 2, 3), Told(ended="raised"), "all in, but it ends as if not", False),
    ],
)
def test_what_a_client_says_is_judged(
    held: frozenset[str], told: Told, verdict: str, *, lost: bool
) -> None:
    """
    The verdict follows from what it says and what the service holds; lost is what its user
    believes to be in.
    """
    ran = came_to(held, told)

    assert (ran.verdict, ran.lost) == (verdict, lost)


def came_to(held: frozenset[str], told: Told) -> Ran:
    return Ran(
        case=replace(CASES["nothing"], tasks=4),
        client="bulksubmit",
        told=told,
        held=held,
        adds=1,
        others=0,
        seconds=1.0,
        stopped=False,
        struck_s=0.0,
        struck_requests=0,
    )


def test_what_no_service_takes_is_no_loss_if_it_is_told() -> None:
    """
    Whoever names the one task that cannot be in is right, whoever is content with it has lost it.
    """
    case = CASES["oversize"].shrunk(4)
    named = Told(ended="exit code 6", left_ids=ids(2))
    told = [named, Told(ended="raised"), Told(ended="returned", well=True)]
    runs = [replace(came_to(ids(0, 1, 3), each), case=case) for each in told]

    assert case.impossible == ids(2)
    assert len(case.source()[2]["environmentSettings"][0]["value"]) == 1_200_000
    assert [ran.verdict for ran in runs] == [
        "all others in, named",
        "all others in, not said which",
        "**lost silently: 1**",
    ]


@pytest.mark.parametrize(
    ("requests", "words"),
    [(2_500, "hammers, 100 requests/s"), (10, "keeps trying, 0.40 requests/s")],
)
def test_a_client_that_goes_on_is_told_apart_from_one_that_hammers(
    requests: int, words: str
) -> None:
    """
    What counts is how many requests it sent while the service was down.
    """
    told = Told(ended="exit code 130", left=2)
    ran = replace(
        came_to(IN_0_1, told),
        case=CASES["outage"].shrunk(4),
        stopped=True,
        struck_s=25.0,
        struck_requests=requests,
    )

    assert ran.verdict == f"{words}; 2 left when ended, counted"


def test_a_client_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without node the command says so in one line and fails, unless that client was left out.
    """
    monkeypatch.setenv("PATH", "")
    name = "azure-batch-10-for-node"

    assert [*clients.missing_clients(["bulksubmit"])] == []
    (line,) = clients.missing_clients(["bulksubmit", name])
    assert line.startswith(f"{name} cannot be had: node is missing: ")


@pytest.mark.thorough
def test_verify_prints_its_bars(tmp_path: Path) -> None:
    """
    The benchmark of verify looks at a job in process and at one over HTTP, by IDs and content.
    """
    printed = benchmark("verify", "--tasks", "300", "--ids", "3000", "--folder", str(tmp_path))

    assert printed.count("peak RSS, MB") == 3
    assert "3,000 IDs of 21 characters, in process" in printed
    assert "bulksubmit verify --content, 300 tasks over HTTP" in printed


@pytest.mark.thorough
def test_progress_ends_with_a_table(tmp_path: Path) -> None:
    """
    What showing progress costs, without and with latency.
    """
    printed = benchmark("progress", "--tasks", "500", "--folder", str(tmp_path))

    rows = table_rows(printed)
    assert [row[0] for row in rows] == ["latency", "0 ms", "50 ms"]
    assert all(float(row[-1].removesuffix(" %")) >= 0 for row in rows[1:])
