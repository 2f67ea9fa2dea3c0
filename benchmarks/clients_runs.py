"""Runs each client in a process of its own, and reads what it says, for ``benchmarks/clients.py``.

A client is given the same tasks, some seconds, and then an interrupt, as Ctrl-C sends it.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clients_cases import JOB_ID, Case, Trouble, emulator_of
from benchmarks.clients_verdict import Ran, Told
from bulksubmit.emulator import Emulator, Operation
from tests.clients.client import clean_environment
from tests.clients.published import CLIENTS as PUBLISHED
from tests.clients.published import ROOT, az

PARALLEL = 4  # Requests in flight, of the clients that ask for a number.
RUN_S_MAX = 55.0
OUTAGE_S = 25.0
_GRACE_S = 5.0  # To say something after the interrupt.
_POLL_S = 0.02
_TEXT_MAX = 160
_TASK_ID = re.compile(r"\bt\d{5}\b")  # As task_id() makes them.


@dataclass(frozen=True, slots=True)
class Started:
    """What a client's process is to be started with.

    Attributes:
        command: Its arguments.
        variables: More for its environment.
        typed: Its standard input.
    """

    command: Sequence[str]
    variables: Mapping[str, str]
    typed: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A client's process that ended.

    Attributes:
        exit_code: As the process ended; negative for a signal.
        output: What it wrote to standard output.
        errors: And to standard error.
        folder: Where it was told to write its files.
    """

    exit_code: int
    output: str
    errors: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Client:
    """A client, and how it is dealt with.

    Attributes:
        what: Its version, and the call.
        command: How it is run; makes its environment, if need be, or raises FileNotFoundError
            or RuntimeError if that cannot be.
        start: Given the command, an emulator, the tasks and a folder.
        read: What it says.
        ours: Whether it is.
    """

    what: str
    command: Callable[[], list[str]]
    start: Callable[[list[str], Emulator, list[dict[str, Any]], Path], Started]
    read: Callable[[Ended], Told]
    ours: bool = False


def run(name: str, case: Case, folder: Path) -> Ran:
    """Run a client in a case.

    Args:
        name: Of CLIENTS.
        case: What is to go wrong.
        folder: An empty one, for the files of the run.
    """
    client, trouble = CLIENTS[name], Trouble(case)
    emulator = emulator_of(case, trouble)
    with emulator:
        started = client.start(client.command(), emulator, case.source(), folder)
        began_s = time.monotonic()
        exit_code, stopped, struck_s, struck_requests = _watched(started, folder, trouble)
        seconds = time.monotonic() - began_s
    # The emulator is closed: nothing changes in it any more.
    output, errors = ((folder / name).read_text() for name in ("stdout", "stderr"))
    record = emulator.service.record
    adds = record.by_operation[Operation.ADD_TASK_COLLECTION]
    return Ran(
        case=case,
        client=name,
        told=client.read(Ended(exit_code, output, errors, folder)),
        held=frozenset(emulator.job(JOB_ID).task_ids()),
        adds=adds,
        others=record.requests - adds,
        seconds=seconds,
        stopped=stopped,
        struck_s=struck_s,
        struck_requests=struck_requests,
    )


def _watched(started: Started, folder: Path, trouble: Trouble) -> tuple[int, bool, float, int]:
    """Run a process until it ends or its time is over.

    Returns:
        Its exit code; whether it was ended; for how long it went on after the trouble began, in
        seconds, and how many requests it sent in that time.
    """
    (folder / "stdin").write_text(started.typed)
    with (
        (folder / "stdin").open("rb") as typed,
        (folder / "stdout").open("wb") as output,
        (folder / "stderr").open("wb") as errors,
        subprocess.Popen(
            started.command,
            cwd=ROOT,
            env={**clean_environment(), **started.variables},
            stdin=typed,
            stdout=output,
            stderr=errors,
        ) as process,
    ):
        began_s = time.monotonic()
        while (exit_code := process.poll()) is None:
            now_s = time.monotonic()
            outage_s = now_s - trouble.began_s if trouble.began_s and trouble.outage else 0.0
            if now_s - began_s > RUN_S_MAX or outage_s > OUTAGE_S:
                break
            time.sleep(_POLL_S)
        struck_s = time.monotonic() - trouble.began_s if trouble.began_s else 0.0
        sent = trouble.sent
        stopped = exit_code is None
        if exit_code is None:
            exit_code = _interrupted(process)
    return exit_code, stopped, struck_s, sent


def _interrupted(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


# --- The clients of tests/clients, and one of ours that is told what to do in the same way -------


def _told_what_to_do(
    command: list[str], emulator: Emulator, tasks: list[dict[str, Any]], folder: Path
) -> Started:
    del folder
    account = {
        "endpoint": emulator.endpoint,
        "account_name": emulator.account_name,
        "key": emulator.account_key,
    }
    calls = (
        {"do": "connect", **account},
        {"do": "add_tasks", "job_id": JOB_ID, "tasks": tasks, "parallel": PARALLEL},
    )
    return Started(command, {}, "".join(json.dumps(call) + "\n" for call in calls))


def _read_published(ended: Ended) -> Told:
    answer = _answer(ended)
    if answer is None:
        return Told(ended=_how(ended), text=_last_line(ended.errors))
    if "raised" in answer:
        raised = answer["raised"]
        in_ids, left_ids = _by_status(raised.get("failed", ()))
        return Told(
            ended=f"raised {raised['type']}",
            text=_text(raised) + _inner(raised.get("errors", ())),
            in_ids=in_ids,
            left_ids=left_ids | frozenset(raised.get("pending", ())),
            logged_ids=_logged(ended),
        )
    in_ids, left_ids = _by_status(answer["result"])
    alarm = bool(ended.errors.strip())
    return Told(
        ended="returned",
        well=True,
        text=_last_line(ended.errors) if alarm else "",
        alarm=alarm,
        in_ids=in_ids,
        left_ids=left_ids,
    )


def _submitting(
    command: list[str], emulator: Emulator, tasks: list[dict[str, Any]], folder: Path
) -> Started:
    given = _told_what_to_do(command, emulator, tasks, folder)
    files = [str(folder / "results"), str(folder / "rejects")]
    return Started([*command, *files], _state(folder), given.typed)


def _read_submit(ended: Ended) -> Told:
    answer = _answer(ended)
    if answer is None:  # What it wrote of each task stands, and says nothing of the others.
        return _by_report(_how(ended), {}, ended.folder, _last_line(ended.errors))
    if "raised" in answer:
        raised = answer["raised"]
        report = raised.get("report", {})
        return _by_report(f"raised {raised['type']}", report, ended.folder, _text(raised))
    report = answer["result"]
    return _by_report("returned", report, ended.folder, _counts(report), well=True)


def _answer(ended: Ended) -> dict[str, Any] | None:
    """What the second call gave; None if there is nothing."""
    lines = ended.output.splitlines()
    answer: dict[str, Any] = json.loads(lines[1]) if len(lines) > 1 else {}
    return answer or None


def _text(raised: Mapping[str, Any]) -> str:
    """The text of what was raised; the client for node has the language beside it."""
    text = raised["text"]
    return _short(text["value"] if isinstance(text, dict) else text)


def _inner(errors: Sequence[Mapping[str, Any]]) -> str:
    """The HTTP statuses of the errors that an exception holds, and how often each."""
    statuses = Counter(str(each.get("status", "no status")) for each in errors)
    shown = (f"{status} ({times})" for status, times in statuses.items())
    return f" Inside: {', '.join(shown)}." if statuses else ""


def _by_status(results: Iterable[Mapping[str, Any]]) -> tuple[frozenset[str], frozenset[str]]:
    """The IDs of the tasks that are in by their results, and of the others."""
    is_in = {
        each["taskId"]: each["status"].lower() == "success"
        or (each.get("error") or {}).get("code") == "TaskExists"
        for each in results
    }
    return (
        frozenset(name for name, there in is_in.items() if there),
        frozenset(name for name, there in is_in.items() if not there),
    )


# --- az batch ------------------------------------------------------------------------------------


def _az_task_create(
    command: list[str], emulator: Emulator, tasks: list[dict[str, Any]], folder: Path
) -> Started:
    path = folder / "tasks.json"
    path.write_text(json.dumps(tasks))
    typed = ("batch", "task", "create", "--job-id", JOB_ID, "--json-file", str(path))
    variables = {
        "HOME": str(folder),
        "AZURE_CONFIG_DIR": str(folder.parent / "azure"),  # Filled by the first run of all.
        "AZURE_CORE_COLLECT_TELEMETRY": "false",
        "AZURE_CORE_NO_COLOR": "true",
        "AZURE_BATCH_ACCOUNT": emulator.account_name,
        "AZURE_BATCH_ACCESS_KEY": emulator.account_key,
        "AZURE_BATCH_ENDPOINT": emulator.endpoint,
    }
    return Started([*command, *typed, "--output", "json"], variables)


def _read_az(ended: Ended) -> Told:
    if ended.exit_code:
        said = [line for line in ended.errors.splitlines() if line.startswith("ERROR")]
        text = _short(said[-1]) if said else _last_line(ended.errors)
        return Told(ended=_how(ended), text=text, logged_ids=_logged(ended))
    in_ids, left_ids = _by_status(json.loads(ended.output))
    return Told(ended="exit code 0", well=True, in_ids=in_ids, left_ids=left_ids)


# --- bulksubmit submit ---------------------------------------------------------------------------


def _bulksubmit() -> list[str]:
    return [sys.executable, "-m", "bulksubmit", "submit"]


def _submit_file(
    command: list[str], emulator: Emulator, tasks: list[dict[str, Any]], folder: Path
) -> Started:
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    files = ("--results", str(folder / "results"), "--rejects", str(folder / "rejects"))
    options = ("--job-id", JOB_ID, "--quiet", "--output", "json", *files)
    variables = emulator.environment | _state(folder)
    return Started([*command, str(path), *options], variables)


def _read_file_run(ended: Ended) -> Told:
    how = _how(ended)
    if not ended.output.strip():
        return Told(ended=how, text=_last_line(ended.errors))
    report = json.loads(ended.output)
    well = ended.exit_code == 0
    return _by_report(how, report, ended.folder, _counts(report), well=well)


def _by_report(
    how: str, report: Mapping[str, Any], folder: Path, text: str, *, well: bool = False
) -> Told:
    """What a report says, and the files of results and rejects that belong to it."""
    results, rejects = _rows(folder / "results"), _rows(folder / "rejects")
    added = {row["id"] for row in results if row["verdict"] in {"added", "existed"}}
    left = sum(report.get(name, 0) for name in ("rejected", "abandoned", "unsettled"))
    return Told(
        ended=how,
        well=well,
        text=text,
        in_ids=frozenset(added),
        left_ids=frozenset(row["task_id"] for row in rejects),
        left=left,
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _counts(report: Mapping[str, Any]) -> str:
    names = ("added", "existed", "rejected", "abandoned", "unsettled")
    return ", ".join(f"{name} {report[name]:,}" for name in names if report[name])


def _state(folder: Path) -> dict[str, str]:
    return {"BULKSUBMIT_STATE_DIR": str(folder / "state")}


# --- What all of them have in common -------------------------------------------------------------


def _how(ended: Ended) -> str:
    code = ended.exit_code
    return f"exit code {code}" if code >= 0 else f"died of {signal.Signals(-code).name}"


def _logged(ended: Ended) -> frozenset[str]:
    return frozenset(_TASK_ID.findall(ended.errors))


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return _short(lines[-1]) if lines else "says nothing"


def _short(text: str) -> str:
    """The first line, cut; fit for a table."""
    line = (text.strip().splitlines() or [""])[0].replace("|", "/")
    return line if len(line) <= _TEXT_MAX else f"{line[: _TEXT_MAX - 1]}…"


def _published(what: str, name: str) -> Client:
    return Client(what, PUBLISHED[name], _told_what_to_do, _read_published)


CLIENTS: Mapping[str, Client] = {
    "azure-batch-14": _published(
        f"azure-batch 14.2.0, `task.add_collection(threads={PARALLEL})`", "azure-batch-14"
    ),
    "azure-batch-15": _published(
        f"azure-batch 15.1.0, `create_tasks(max_concurrency={PARALLEL})`", "azure-batch-15"
    ),
    "azure-batch-15-aio": _published(
        f"azure-batch 15.1.0, the same of `azure.batch.aio` ({PARALLEL})", "azure-batch-15-aio"
    ),
    "az": Client(
        "azure-cli 2.91.0, `az batch task create --json-file`", az, _az_task_create, _read_az
    ),
    "azure-batch-10-for-node": _published(
        "@azure/batch 10.2.0, `task.addCollection` in a loop over parts of 100",
        "azure-batch-10-for-node",
    ),
    "bulksubmit.submit": Client(
        "`bulksubmit.submit()`",
        lambda: [sys.executable, "-m", "benchmarks.clients_submit"],
        _submitting,
        _read_submit,
        ours=True,
    ),
    "bulksubmit": Client(
        "`bulksubmit submit`", _bulksubmit, _submit_file, _read_file_run, ours=True
    ),
}
