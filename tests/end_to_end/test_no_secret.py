"""No output of any command holds a secret, whoever quotes it: the service, a proxy, a mistake."""

import base64
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.cli import main
from bulksubmit.core.model import ErrorDetail
from bulksubmit.emulator.exchange import Answer, Call
from bulksubmit.emulator.faults import TaskFault
from tests.end_to_end.account import JOB_ID, KEY, listening, make_service, read_rows, write_lines
from tests.end_to_end.commands import as_user_of, bulksubmit, bulksubmit_here

URL = "https://farm.blob.core.windows.net/scenes/a.blend?sv=2024-11-04&sr=b&sig={}&sp=r"


def make_secrets(seed: int) -> Iterator[str]:
    """Signatures as they stand in a URL."""
    random = Random(seed)
    while True:
        yield quote(base64.b64encode(random.randbytes(32)).decode(), safe="")


def make_body(number: int, secret: str) -> bytes:
    return orjson.dumps(
        {
            "id": f"t-{number}",
            "commandLine": f"curl '{URL.format(secret)}'",
            "resourceFiles": [{"httpUrl": URL.format(secret), "filePath": "a.blend"}],
        }
    )


def quoting(status: int, secret: str) -> Answer:
    """An answer that quotes what it was sent."""
    said = f"cannot take {URL.format(secret)}, nor SharedKey other:{secret}; Bearer {secret}"
    error = {
        "code": "OperationTimedOut",
        "message": {"lang": "en-us", "value": said},
        "values": [{"key": "Url", "value": URL.format(secret)}],
    }
    return Answer(status, {"Content-Type": "application/json"}, orjson.dumps(error))


async def test_no_output_of_a_run(tmp_path: Path) -> None:
    """
    The service quotes each task's signed URL when it refuses it, and whatever else when it fails:
    neither screen, log, report nor journal holds it. The rejects file has the task as it was.
    """
    secrets = [secret for _, secret in zip(range(40), make_secrets(7), strict=False)]
    source = write_lines(tmp_path / "t.jsonl", [make_body(*each) for each in enumerate(secrets)])
    numbers = count()

    def fail_twice(_: Call) -> Answer | None:
        number = next(numbers)
        return quoting(500, secrets[number]) if number in {0, 2} else None

    def refuse(task_id: str) -> TaskFault | None:
        url = URL.format(secrets[int(task_id.removeprefix("t-"))])
        return TaskFault("ClientError", "InvalidPropertyValue", values=(ErrorDetail("Url", url),))

    log = tmp_path / "log"
    async with listening(make_service(script=fail_twice, task_script=refuse)) as account:
        env = as_user_of(account)
        command = ("submit", source, "--job-id", JOB_ID, "--log-file", log, "--server-timeout", "1")
        ran = await bulksubmit(*command, "--output", "json", env=env)
    assert ran.exit_code == 6, ran.stderr
    told = [
        await bulksubmit("runs", *words)
        for words in (
            ("show", "last"),
            ("show", "last", "--output", "json"),
            ("show", "last", "--task", "t-3"),
            ("list", "--output", "json"),
            ("report", "last", "--output", "json"),
            ("report", "last", "-o", "-"),
        )
    ]
    assert [each.exit_code for each in told] == [0] * len(told)
    assert '"flag"' in told[-2].stdout  # Where its settings come from, in the run's own words.
    folder = Path(ran.report["journal_path"]).parent
    journal = b"".join(path.read_bytes() for path in folder.glob("run.db*"))
    said = "".join(each.stdout + each.stderr for each in (ran, *told))
    said += log.read_text("utf-8") + journal.decode("latin-1")

    assert "sig=***" in ran.stderr
    assert "sig=***" in log.read_text("utf-8")
    assert [secret for secret in secrets if secret in said or secret[:20] in said] == []
    assert KEY not in said
    rejects = read_rows(ran.report["rejects_path"])
    assert all(secret in str(row["task"]) for row, secret in zip(rejects, secrets, strict=True))


MISTAKES = [
    '{{"id":"a","commandLine":"x","resourceFiles":[{{"httpUrl":"{url}","filePath":3}}]}}',
    '{{"id":"{url}","commandLine":"x"}}',
    '{{"id":"a","commandLine":"x","constraints":{{"maxWallClockTime":"{url}"}}}}',
    '{{"id":"a","commandLine":"x","environmentSettings":"Bearer {secret}"}}',
    '{{"id":"a","commandLine":"x","containerSettings":{{"registry":{{"password":"{secret}"}}}}}}',
    '{{"id":"a","commandLine":"x","applicationPackageReferences":["/c?sig={secret}"]}}',
    '{{"id":"a","commandLine":"x","{url}":1}}',
    '{{"id":"a","{url}"',
]


@settings(max_examples=20)
@given(
    mistake=st.sampled_from(MISTAKES),
    secret=st.binary(min_size=32, max_size=32).map(
        lambda raw: quote(base64.b64encode(raw).decode(), safe="")
    ),
    output=st.sampled_from(["table", "json"]),
)
def test_validate_shows_none(
    tmp_path_factory: pytest.TempPathFactory, mistake: str, secret: str, output: str
) -> None:
    """
    Whatever is wrong about a value that is signed, it is told without the signature.
    """
    path = tmp_path_factory.mktemp("source") / "t.jsonl"
    path.write_text(mistake.format(url=URL.format(secret), secret=secret), "utf-8")

    ended = bulksubmit_here("validate", path, "--output", output, env={})

    assert ended.exit_code == 2
    assert secret not in ended.stdout + ended.stderr
    assert secret[:20] not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("submit", "x", "--job-id", "j", "--account-endpoint", "https://h/?sig={}"),
        ("submit", "https://h/t.jsonl?sig={}", "--job-id", "j"),
        ("submit", "x", "--job-id", "sig={}"),
        ("submit", "x", "--job-id", "j", "--max-rejects", "sig={}"),
        ("submit", "x", "--job-id", "j", "--invalid", "sig={}"),
        ("submit", "x", "--job-id", "j", "--account-key-file", "sig={}"),
        ("submit", "x", "--job-id", "j", "--template", "https://h/?sig={}"),
        ("submit", "x", "--job-id", "j", "--profile", "sig={}"),
        ("submit", "--show-settings", "--rejects", "sig={}"),
        ("submit", "--show-settings", "--account-endpoint", "https://me:{}@h/", "--output", "json"),
        ("validate", "https://h/t.jsonl?sig={}", "--output", "json"),
        ("runs", "show", "sig={}"),
        ("runs", "export", "last", "--to", "sig={}/x"),
        ("sig={}",),
        ("submit", "--sig={}"),
    ],
)
def test_no_mistake_shows_one(
    args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A secret where it does not belong is not shown either.
    """
    secret = next(make_secrets(3))
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AZURE_BATCH_ACCOUNT", "dev")
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", KEY)
    monkeypatch.setattr("sys.argv", ["bulksubmit", *(arg.format(secret) for arg in args)])
    monkeypatch.setattr("bulksubmit.cli.signal.getsignal", lambda _: None)  # Ctrl-C is pytest's.

    with pytest.raises(SystemExit) as ended:
        main()

    said = capsys.readouterr()
    assert ended.value.code in {None, 0, 2}
    assert said.out + said.err
    assert secret not in said.out + said.err
    assert KEY not in said.out + said.err
