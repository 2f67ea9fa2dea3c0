"""The whole line on this machine, in a few seconds: what ``bulksubmit demo`` does."""

import base64
import os
import secrets
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import click
import orjson

from bulksubmit.cli import run_async
from bulksubmit.cli.flood import Output, Target, flood, print_report
from bulksubmit.cli.said import print_json
from bulksubmit.cli.spawned import emulator, leave_on_signals
from bulksubmit.core.events import Event
from bulksubmit.service.auth import SharedKey
from bulksubmit.service.listing import task_ids
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings

ACCOUNT, JOB = "demo", "demo-job"

# What the emulator does to us, and what that costs is to be seen in the report.
FAULTS = {
    "--latency-ms": "50",
    "--server-error": "0.01",
    "--drop-before": "0.004",
    "--drop-after": "0.004",
}


def show_off(*, tasks: int, seed: int, as_json: bool) -> int:
    """Make tasks, flood an emulator with them, and hold the report against its list.

    Args:
        tasks: How many.
        seed: Of the emulator's faults.
        as_json: One JSON object on standard output, not a table.

    Returns:
        The exit code.
    """
    # Until the flood heeds signals itself, and after it: what was made here is cleaned up.
    leave_on_signals()
    with tempfile.TemporaryDirectory(prefix="bulksubmit-demo-") as folder:
        os.environ["BULKSUBMIT_STATE_DIR"] = folder  # A demo's run is not worth keeping.
        path = Path(folder) / "tasks.jsonl"
        _say(f"writing {tasks:,} tasks")
        write_tasks(path, tasks)
        _say(f"  {path.stat().st_size / 1e6:,.1f} MB in {path}")
        key = base64.b64encode(secrets.token_bytes(64)).decode()
        faults = [part for pair in FAULTS.items() for part in pair]
        with emulator(ACCOUNT, key, "--job", JOB, "--seed", str(seed), *faults) as endpoint:
            _say(f"emulator at {endpoint}: {' '.join(f'{k} {v}' for k, v in FAULTS.items())}")
            target = Target(JOB, endpoint, SharedKey(ACCOUNT, key))
            code: int = run_async(_flood_and_check, path, target, as_json)
    return code


def write_tasks(path: Path, tasks: int) -> None:
    """Write tasks of a realistic shape, some 500 bytes each."""
    with path.open("wb") as file:
        for index in range(tasks):
            file.write(orjson.dumps(_task(index), option=orjson.OPT_APPEND_NEWLINE))


def _task(index: int) -> dict[str, object]:
    frame = f"{index:07d}"
    render = f"render --scene scene.blend --frame {index} --out {frame}.exr"
    storage = "https://renderfarm.blob.core.windows.net"
    return {
        "id": f"frame-{frame}",
        "displayName": f"Frame {index} of the demo",
        "commandLine": f"/bin/bash -c '{render}'",
        "environmentSettings": [
            {"name": "RENDER_THREADS", "value": "4"},
            {"name": "RENDER_FRAME", "value": str(index)},
        ],
        "resourceFiles": [
            {"httpUrl": f"{storage}/scenes/scene.blend", "filePath": "scene.blend"},
            {"httpUrl": f"{storage}/textures/{index % 100:02d}.tx", "filePath": "texture.tx"},
        ],
        "constraints": {"maxWallClockTime": "PT1H", "maxTaskRetryCount": 2},
    }


async def _flood_and_check(path: Path, target: Target, as_json: bool) -> int:  # noqa: FBT001 - by run_async
    """Flood, report, and hold the report against the emulator's own list.

    Returns:
        The exit code: the report's own, or 1 if the list says otherwise.
    """
    output = Output(lasting=False)
    report = await flood(str(path), target, Settings(), output)
    leave_on_signals()
    report = replace(report, journal_path=None)  # It goes with the folder.
    if not as_json:
        print_report(report, output)
    _say("listing the emulator's tasks")
    listed = await _count_listed(target)
    known = report.added + report.existed
    perhaps = report.in_doubt + report.abandoned
    agree = known <= listed <= known + perhaps
    words = f"{known:,} were added or existed" + (f", {perhaps:,} may exist" if perhaps else "")
    verdict = "as it should be" if agree else "WRONG"
    code = report.exit_code if agree else 1
    if as_json:
        values = replace(report, exit_code=code).as_dict() | {"listed": listed, "agree": agree}
        print_json(values)
    else:
        click.echo(f"check      the emulator lists {listed:,} different tasks; {words}: {verdict}")
    return code


async def _count_listed(target: Target) -> int:
    """How many different IDs the job lists."""
    ids: set[str] = set()
    transport = Transport(
        target.endpoint,
        target.job_id,
        target.credential,
        server_timeout_s=Settings().server_timeout_s,
        observer=_ignore,
    )
    async with transport:
        async for page in task_ids(transport, Random()):  # noqa: S311 - jitter
            ids.update(page)
    return len(ids)


def _ignore(event: Event, /) -> None:
    """Tell nobody."""


def _say(text: str) -> None:
    click.echo(text, err=True)
