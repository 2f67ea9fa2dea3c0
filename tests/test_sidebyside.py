"""The comparison of clients runs; what it measures is for people to read, and never asserted."""

import json
import subprocess
import sys
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.sidebyside.bars import Bar, bars_of, table
from benchmarks.sidebyside.clients import AZURE_AIO, BULKSUBMIT, CLIENTS, IDEAL, IMPORTS
from benchmarks.sidebyside.results import Results, from_json
from benchmarks.sidebyside.runs import Case, Run, Seen, Server
from benchmarks.sidebyside.sections import CPU, RESUMED, RICH, SECTIONS, SMALL
from benchmarks.sidebyside.tables import section
from benchmarks.task_file import make_rich, make_small
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.wire import decode_results

ROOT = Path(__file__).parents[1]


def compared(folder: Path, *arguments: str) -> str:
    output = ("--output", str(folder / "results"), "--folder", str(folder))
    command = [sys.executable, "-m", "benchmarks.sidebyside", *arguments, *output]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.thorough
@pytest.mark.timeout(600)  # The first time, the clients' environments are made.
def test_all_is_compared(tmp_path: Path) -> None:
    """
    At a tiny size all sections are run but the one whose process is killed in its middle, which it
    does not have then; that one has a flood of a second. Each has its table and its figures, and
    the pictures are SVG.
    """
    few = [name for name in CLIENTS if name in {IDEAL, IMPORTS} or name.startswith(BULKSUBMIT)]
    printed = compared(tmp_path, "--rounds", "1", "--tasks-max", "300", "--clients", *few)
    assert f"### {SECTIONS[RESUMED].what}" not in printed
    asked = ("--only", RESUMED, "--rounds", "1", "--tasks-max", "400000")
    printed = compared(tmp_path, *asked)

    results = tmp_path / "results"
    read = from_json((results / "sidebyside.json").read_bytes())
    assert {run.section for run in read.runs} == set(SECTIONS)
    assert {run.client for run in read.runs} == set(few)
    assert all(each.what in printed for each in SECTIONS.values())
    assert printed in (results / "sidebyside.md").read_text() + "\n"
    pictures = sorted(results.glob("*.svg"))
    assert [path.stem.removeprefix("sidebyside-") for path in pictures] == [
        "cpu",
        "in-flight-0-ms",
        "in-flight-100-ms",
        "memory",
    ]
    assert all(ET.parse(path).getroot().tag.endswith("svg") for path in pictures)  # noqa: S314  Our own.


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_each_client_floods(tmp_path: Path) -> None:
    """
    Each client adds every task of each size; without wrk that one is left out.
    """
    compared(tmp_path, "--only", "cpu", "--rounds", "1", "--tasks-max", "250")

    read = from_json((tmp_path / "results" / "sidebyside.json").read_bytes())
    wanted = {client for client, _ in SECTIONS[CPU].runs}
    assert wanted - {run.client for run in read.runs} <= {"wrk"}


def test_tasks_of_the_comparison_are_right() -> None:
    """
    They have the sizes that are told, no fault, and nothing that is only warned of.
    """
    bodies = [make_small(12), make_rich(12)]

    assert [len(body) for body in bodies] == [SMALL.task_bytes, RICH.task_bytes]
    assert Checker().check(bodies) == (["task-00000012"] * 2, {})


def test_the_lean_server_answers(tmp_path: Path) -> None:
    """
    It finds each task, says what the service would, fails as many as it is told to, and counts.
    """
    tasks = [make_small(number) for number in range(3)]
    body = b'{"value":[' + b",".join(tasks) + b"]}"

    with Server(replace(SMALL, server_error=0.5), tmp_path) as server:
        answers = [decode_results(posted(server.endpoint, body)) for _ in range(20)]
        seen, later = server.seen(), server.seen()

    assert [[result.task_id for result in each] for each in answers] == [
        ["task-00000000", "task-00000001", "task-00000002"]
    ] * 20
    statuses = [result.status.lower() for each in answers for result in each]
    assert set(statuses) == {"success", "servererror"}
    assert seen.added == statuses.count("success")
    assert (seen.requests, seen.tasks, seen.connections, seen.at_once_max) == (20, 60, 20, 1)
    assert later.requests == 0


def posted(endpoint: str, body: bytes) -> bytes:
    """A body in two pieces, over a connection of its own."""
    connection = HTTPConnection(endpoint.removeprefix("http://"))
    connection.putrequest("POST", "/jobs/bench/addtaskcollection?api-version=2024-07-01.20.0")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:50])
    connection.send(body[50:])
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read()
    connection.close()
    return text


def made(client: str, case: Case, number: int, cpu_s: float, *, start_up: bool = False) -> Run:
    """A run whose flood lasted a second for each second of CPU."""
    requests = case.tasks // 100
    seen = Seen(requests, case.tasks, case.tasks, 16, 16, 1.0, 1.0 + cpu_s, 0.25 * cpu_s)
    return Run(CPU, number, start_up, client, case, cpu_s, 50_000_000, 2.0, 0.5, 0.1, seen)


@pytest.fixture
def results() -> Results:
    """Three rounds, the second one on a machine that is twice as busy."""
    cpu_s: dict[str, float] = {BULKSUBMIT: 1.0, IDEAL: 0.8, AZURE_AIO: 20.0}
    small = replace(SMALL, tasks=100_100)
    runs: list[Run] = []
    for number, busy in enumerate((1, 2, 1)):
        for client, each_s in cpu_s.items():
            runs.append(made(client, SMALL.start_up, number, 0.5, start_up=True))
            runs.append(made(client, small, number, 0.5 + each_s * busy))
    return Results("a machine", runs, {CPU: "today"})


def test_start_up_is_left_out(results: Results) -> None:
    """
    CPU a task is that of all tasks but as many as a start-up has, less the start-up's.
    """
    own = results.of(CPU, BULKSUBMIT, SMALL)

    assert [results.cpu_us(run) for run in own] == pytest.approx([10.0, 20.0, 10.0])


def test_ratios_are_of_one_round(results: Results) -> None:
    """
    A round on a busy machine has the same ratio as the others.
    """
    own, azure = (results.of(CPU, client, SMALL) for client in (BULKSUBMIT, AZURE_AIO))

    assert results.ratio(results.cpu_us, own, azure) == pytest.approx(0.05)
    assert results.ratio(results.cpu_us, own, []) is None


def test_bars_are_met_or_not(results: Results) -> None:
    """
    A bar is met, or not, or was not measured.
    """
    found = {bar.what: bar for bar in bars_of(results)}

    assert found["CPU a task ÷ azure-batch 15.1 aio, 76 B"].met is True
    assert found["CPU a task ÷ azure-batch 15.1 aio, 1,200 B"].met is None
    assert found["CPU a task ÷ the ideal loop, 76 B"].met is None  # Of a section that did not run.
    bars = [
        Bar("low", 2.0, 2.0),
        Bar("high", 2.0, 2.5, at_least=True),
        Bar("unknown", None, 1),
    ]
    assert table(bars).splitlines()[4:] == [
        "| low | ≤ 2 | 2 | met |",
        "| high | ≥ 2.5 | 2 | **not met** |",
        "| unknown | ≤ 1 |  | not measured |",
    ]


def test_a_row_has_median_and_spread(results: Results) -> None:
    """
    A row a client: what it did, its figures with the least and the most, and the server's share.
    """
    row = section(results, CPU).splitlines()[2].strip("| ").split(" | ")

    assert row[:4] == ["76 B, 16 in flight", "100,100", BULKSUBMIT, "10.00 (10.00 to 20.00)"]
    assert row[4:6] == ["0.0500", "1.25"]
    assert row[-1] == "75%"


def test_results_are_kept(results: Results) -> None:
    """
    What was written is read back, so that tables can be made again.
    """
    text = results.to_json()

    assert from_json(text) == results
    assert json.loads(text)["machine"] == "a machine"
