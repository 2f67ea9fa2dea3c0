"""The account on disk: whatever a client was told is there after a restart."""

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.cli.emulator import emulator
from bulksubmit.emulator import Answer, Faults, JobState, Service, State, StateError, Switches
from tests.emulator.calls import ADD, NOW_S, VERSION, add, answer_of, call, make_body, statuses

FILE = "account.db"

# Where syncing costs nothing, for what is opened and closed a thousand times.
IN_MEMORY = next((each for each in ("/dev/shm",) if Path(each).is_dir()), None)  # noqa: S108


def crashed(path: Path, folder: Path) -> Path:
    """What a kill of the process would leave of a file that is open: a copy of it, in a folder."""
    folder.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        shutil.copyfile(each, folder / each.name)
    return folder / path.name


# --- Any operations, any restarts ------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """A request."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True)
class Act:
    """What a test does to a job without a request: one of ``ACTS``."""

    name: str
    job_id: str


@dataclass(frozen=True)
class Wait:
    """Time goes by, in seconds."""

    wait_s: float


@dataclass(frozen=True)
class Restart:
    """The process ends, and another one goes on from its file."""

    killed: bool


Step: TypeAlias = Ask | Act | Wait | Restart

ACTS: dict[str, Callable[[Service, str], None]] = {
    "complete": lambda service, job_id: service.job(job_id).complete_tasks(ticks=10**18),
    "activate": lambda service, job_id: setattr(service.job(job_id), "state", JobState.ACTIVE),
    "create": lambda service, job_id: setattr(service.create_job(job_id), "end_reason", "x"),
}

POOL = {"poolInfo": {"poolId": "p"}}
TERMINATE: dict[str, Any] = {"onAllTasksComplete": "terminatejob"}
JOBS: list[dict[str, Any]] = [
    POOL,
    {**POOL, **TERMINATE, "jobManagerTask": {"id": "m"}},
    {**POOL, "displayName": "\u00e4\u2028", "metadata": [{"name": "n", "value": 1.5}]},
]

# What is asked how often, and with one of which bodies.
TASK, JOB = "/jobs/{job}/tasks/{task}", "/jobs/{job}"
ASKS: list[tuple[int, str, str, list[dict[str, Any] | None]]] = [
    (8, "PUT", TASK, [{"constraints": {"maxTaskRetryCount": 2}}, {}]),
    (8, "POST", f"{TASK}/terminate", [None]),
    (8, "POST", f"{TASK}/reactivate", [None]),
    (8, "DELETE", TASK, [None]),
    (2, "GET", "/jobs", [None]),
    (2, "GET", f"{JOB}/taskcounts", [None]),
    (1, "PATCH", JOB, [{"priority": 7}, TERMINATE]),
    (1, "PUT", JOB, [POOL, {**POOL, "priority": 3}]),
    (1, "POST", f"{JOB}/disable", [{"disableTasks": "requeue"}]),
    (3, "POST", f"{JOB}/enable", [None]),
    (1, "POST", f"{JOB}/terminate", [None, {"terminateReason": "enough"}]),
    (2, "DELETE", JOB, [None]),
]


def make_step(random: Random) -> Step:
    """The next thing to happen; jobs and tasks are few, so that most of it has an effect."""
    job_id = random.choice("aaaAb")
    kinds = {"add": 16, "create": 6, "act": 2, "wait": 8, "restart": 8, "ask": 45}
    match random.choices(list(kinds), list(kinds.values())):
        case ["add"]:
            tasks = [make_task(random) for _ in range(random.randrange(1, 5))]
            sent = orjson.dumps({"value": tasks})
            return Ask("POST", f"/jobs/{job_id}/addtaskcollection", sent)
        case ["create"]:
            return Ask("POST", "/jobs", orjson.dumps({"id": job_id, **random.choice(JOBS)}))
        case ["act"]:
            return Act(random.choice(sorted(ACTS)), job_id)
        case ["wait"]:
            return Wait(random.choice([0.01, 0.3, 1.0, 3.0]))
        case ["restart"]:
            return Restart(killed=random.random() < 0.5)
    ((_, method, path, bodies),) = random.choices(ASKS, [weight for weight, *_ in ASKS])
    path, body = path.format(job=job_id, task=make_id(random)), random.choice(bodies)
    return Ask(method, path, b"" if body is None else orjson.dumps(body))


def make_id(random: Random) -> str:
    return random.choice(["t1", "T1", "t2", "0"])


def make_task(random: Random) -> dict[str, Any]:
    slots = random.choice([{}, {}, {"requiredSlots": 1}, {"requiredSlots": 3}])
    return {"id": make_id(random), "commandLine": str(random.random()), **slots}


class Twins:
    """Two services that are asked the same: one in memory, one that is restarted."""

    def __init__(self, folder: Path, *, run_tasks: bool) -> None:
        self._folder, self._restarts = folder, 0
        self._now_s = NOW_S
        self._run_tasks = run_tasks
        self._path = folder / FILE
        # Chance goes on where it was, so that even the request-ids have to be the same.
        self._randoms = Random(1), Random(1)
        self._state = State(self._path)
        self._plain, self._kept = self._make(0, None), self._make(1, self._state)
        self._ask(Ask("POST", "/jobs", orjson.dumps({"id": "a", **POOL})))

    def close(self) -> None:
        self._state.close()

    def take(self, step: Step) -> None:
        """Do it to both."""
        match step:
            case Ask():
                self._ask(step)
            case Act(name, job_id):
                assert self._act(self._plain, name, job_id) == self._act(self._kept, name, job_id)
            case Wait(wait_s):
                self._now_s += wait_s
            case Restart(killed):
                self._restart(killed=killed)

    def compare(self) -> None:
        """All that either can say of itself is the same, also of the time to come."""
        for later_s in (0.0, 0.1, 2.0, 5.0):
            self._now_s += later_s
            self._ask(Ask("GET", "/jobs"))
            for job_id in ("a", "b"):
                for path in ("", "/tasks", "/taskcounts"):
                    self._ask(Ask("GET", f"/jobs/{job_id}{path}"))
        assert _content(self._kept) == _content(self._plain)

    def _make(self, which: int, state: State | None) -> Service:
        return Service(
            random=self._randoms[which],
            faults=Faults(
                server_error_added=0.05, drop_after=0.05, timed_out=0.05, run_tasks=self._run_tasks
            ),
            switches=Switches(job_change_s=1.0, counts_lag_s=2.0, disabled_job="accept"),
            state=state,
        )

    def _ask(self, ask: Ask) -> None:
        assert self._call(self._kept, ask) == self._call(self._plain, ask)

    def _call(self, service: Service, ask: Ask) -> Answer | None:
        headers = {"content-length": str(len(ask.body))}
        target = f"{ask.path}?{VERSION}"
        return call(service, ask.method, target, ask.body, headers=headers, now_s=self._now_s)

    def _act(self, service: Service, name: str, job_id: str) -> str:
        """The error's code; empty if it was done."""
        try:
            ACTS[name](service, job_id)
        except Exception as error:  # noqa: BLE001  Whatever it is, both raise it.
            return repr(error)
        return ""

    def _restart(self, *, killed: bool) -> None:
        if killed:
            # What was done without a request is written with the next request, or at the end.
            for job_id in ("a", "b"):
                self._ask(Ask("GET", f"/jobs/{job_id}"))
            self._restarts += 1
            path = crashed(self._path, self._folder / str(self._restarts))
            self._state.close()
            self._path = path
        else:
            self._state.close()
        self._state = State(self._path)
        self._kept = self._make(1, self._state)


def _content(service: Service) -> list[tuple[str, list[bytes], list[str]]]:
    """Of each job, in order, the tasks in both of their orders."""
    return [(job.id, list(job.bodies()), list(job.task_ids())) for job in service.jobs()]


@settings(max_examples=40)
@given(st.randoms(use_true_random=True), st.sampled_from([False, False, True]))
def test_a_restart_changes_no_answer(random: Random, run_tasks: bool) -> None:  # noqa: FBT001
    """
    Whatever is done to an account, and whenever its process is killed or ended, the answers are
    those of a service that was never restarted, to the byte; and so are the tasks' two orders.
    """
    with (
        TemporaryDirectory(dir=IN_MEMORY) as folder,
        closing(Twins(Path(folder), run_tasks=run_tasks)) as twins,
    ):
        for _ in range(60):
            twins.take(make_step(random))
        twins.compare()
        twins.take(Restart(killed=False))
        twins.compare()


# --- One thing each --------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE


def served(state: State, **options: Any) -> Service:
    return Service(random=Random(1), state=state, **options)


def with_tasks(path: Path, *task_ids: str) -> None:
    """Leave a file with the job j1, and these tasks in it."""
    with State(path) as state:
        service = served(state)
        service.create_job("j1", now_s=NOW_S)
        add(service, make_body(*task_ids))


def ids_of(state: State) -> list[str]:
    """The IDs of the tasks of j1, in the order in which they were added; none without a job."""
    job = state.account.find("j1")
    return [] if job is None else [orjson.loads(body)["id"] for body in job.bodies()]


def test_any_part_of_the_log_is_a_prefix(path: Path, tmp_path: Path) -> None:
    """
    However many bytes of the write-ahead log reached the disk, what is read back is what the
    account was after one of the requests: each is there whole, or not at all.
    """
    with State(path) as state:
        service = served(state)
        service.create_job("j1", now_s=NOW_S)
        prefixes = [[], ids_of(state)]
        for number in range(12):
            add(service, make_body(*(f"t-{number}-{each}" for each in range(5))))
            prefixes.append(ids_of(state))
            answer_of(service, "DELETE", f"/jobs/j1/tasks/t-{number}-1?{VERSION}")
            prefixes.append(ids_of(state))
        copy = crashed(path, tmp_path / "copy")
    base, log = copy.read_bytes(), copy.with_name(f"{FILE}-wal").read_bytes()

    seen = []
    for size in (*range(0, len(log), 4999), len(log)):
        copy.write_bytes(base)
        copy.with_name(f"{FILE}-wal").write_bytes(log[:size])
        with State(copy) as state:
            seen.append(ids_of(state))

    assert [each for each in seen if each not in prefixes] == []
    assert (seen[0], seen[-1]) == ([], prefixes[-1])
    assert len({len(each) for each in seen}) > 5


def test_only_its_owner_can_read_it(path: Path) -> None:
    """
    A key is in it: neither the file nor the log beside it can be read by others.
    """
    with State(path) as state:
        served(state).create_job("j1", now_s=NOW_S)
        files = sorted(path.parent.iterdir())
        modes = [stat.S_IMODE(each.stat().st_mode) for each in files]

    assert [each.name for each in files] == [FILE, f"{FILE}-wal"]
    assert modes == [0o600, 0o600]
    assert [each.name for each in path.parent.iterdir()] == [FILE]


def test_its_key_is_made_once(path: Path, tmp_path: Path) -> None:
    """
    The key is the same after a restart, and another one in another file.
    """
    keys = []
    for each in (path, path, tmp_path / "other"):
        with State(each) as state:
            keys.append(state.key)

    assert len(keys[0]) == 64
    assert keys[0] == keys[1] != keys[2]


def test_what_cannot_be_written_is_told_to_nobody(path: Path) -> None:
    """
    On a full disk a request is answered with 500, as one whose tasks may have been added; once
    there is room again, all is written that was left.
    """
    with State(path) as state:
        service = served(state)
        service.create_job("j1", now_s=NOW_S)
        db = state._db  # noqa: SLF001  A disk cannot be filled otherwise.
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        body = make_body(*(f"t{each}" for each in range(100)))
        full = answer_of(service, "POST", ADD, body)
        at_once = crashed(path, path.parent / "at-once")
        db.execute("PRAGMA max_page_count = 100000")
        again = statuses(add(service, body))
        later = crashed(path, path.parent / "later")

    assert full.status == 500
    assert "disk is full" in full.body.decode()
    assert set(again.values()) == {"TaskExists"}
    with State(at_once) as state:
        assert ids_of(state) == []
    with State(later) as state:
        assert ids_of(state) == [f"t{each}" for each in range(100)]


def test_jobs_keep_their_order(path: Path) -> None:
    """
    Jobs are gone through in the order in which they were created, also after a restart.
    """
    with State(path) as state:
        for job_id in ("b", "C", "a"):
            served(state).create_job(job_id, now_s=NOW_S)
    with State(path) as state:
        assert [job.id for job in served(state).jobs()] == ["b", "C", "a"]


# --- What is refused -------------------------------------------------------------------------


def changed(statement: str) -> Callable[[Path], None]:
    """Change a file by SQL."""

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(statement)

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8192])


def overwritten(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(b"tasks, tasks" * 99), "holds no emulator's state"),
        (changed("PRAGMA application_id = 7"), "holds no emulator's state"),
        (changed("PRAGMA user_version = 2"), "made by a newer version: its format is 2"),
        (changed("UPDATE account SET name = 'other'"), "is of the account other, not of dev"),
        (cut, "is damaged"),
        (overwritten, "is damaged"),
        (changed("DELETE FROM account"), "is damaged"),
        (changed("UPDATE jobs SET state = 'lost'"), "is damaged"),
        (changed("UPDATE jobs SET properties = '{'"), "is damaged"),
        (changed("UPDATE jobs SET gone_ticks = 'soon'"), "is damaged"),
        (changed("UPDATE tasks SET stored = 7"), "is damaged"),
        (changed("UPDATE tasks SET stored = x''"), "is damaged"),
        (changed("UPDATE changes SET change = x'ff'"), "is damaged"),
        (changed("UPDATE counts SET active = 'few'"), "is damaged"),
        (changed("DROP TABLE counts"), "no such table"),
    ],
)
def test_a_file_that_is_not_right(path: Path, change: Callable[[Path], None], message: str) -> None:
    """
    It is named with what is wrong, at start, and it stays as it was found.
    """
    with_tasks(path, *(f"t{each}" for each in range(100)))
    with State(path) as state:
        answer_of(served(state), "POST", f"/jobs/j1/tasks/t1/terminate?{VERSION}")
    change(path)
    before = path.read_bytes()

    with pytest.raises(StateError) as caught:
        State(path)

    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert path.read_bytes() == before


def test_another_database_is_left_alone(path: Path) -> None:
    """
    A SQLite file of somebody else is not even switched to another mode.
    """
    changed("CREATE TABLE t (x)")(path)
    before = path.read_bytes()

    with pytest.raises(StateError, match="holds no emulator's state"):
        State(path)

    assert path.read_bytes() == before


def test_one_process_at_a_time(path: Path) -> None:
    """
    A file in use is refused, and can be had once it is let go of.
    """
    with State(path), pytest.raises(StateError, match="in use by another emulator"):
        State(path)
    with_tasks(path, "a")


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    """
    The path is named, and why.
    """
    with pytest.raises(StateError, match="cannot be made: No such file"):
        State(tmp_path / "missing" / FILE)


def test_the_command_line_says_what_is_wrong(path: Path) -> None:
    """
    A file of another account is refused with exit code 2, before anything listens.
    """
    with_tasks(path, "a")

    result = CliRunner().invoke(emulator, ["--state", str(path), "--account-name", "mine"])

    assert result.exit_code == 2
    assert "is of the account devaccount, not of mine" in " ".join(result.output.split())
