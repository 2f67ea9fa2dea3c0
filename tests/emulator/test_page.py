"""The page that shows what the emulator does."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from random import Random
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.emulator import Access, Answer, Fault, Faults, Job, Operation, Service, TaskFault
from bulksubmit.emulator.page import PATH, Page
from bulksubmit.emulator.record import SECONDS_KEPT, Recent, Seen
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.snapshot import JOBS_MAX, REQUESTS_MAX
from bulksubmit.emulator.switches import Switches
from tests.emulator.calls import ADD, NOW_S, VERSION, call, make_body, make_service

ENDPOINT = "http://127.0.0.1:1234"
EMPTY_TAGS = {"input", "line", "link", "meta", "rect"}


class Reader(HTMLParser):
    """Reads HTML strictly.

    Attributes:
        texts: Of each element, in order.
        tags: Each element's name and attributes.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY_TAGS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data)


def get(
    service: Service, query: str = "", *, now_s: float = NOW_S, since_s: float = NOW_S
) -> Answer:
    page = Page(service, since_s=since_s, endpoint=ENDPOINT)
    return page("GET", f"{PATH}{query}", {}, b"", now_s=now_s)


def read_page(service: Service, **times: Any) -> Reader:
    answer = get(service, **times)
    assert answer.status == 200
    return Reader(answer.body.decode())


def read_json(service: Service, **times: Any) -> dict[str, Any]:
    answer = get(service, "?format=json", **times)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    told: dict[str, Any] = orjson.loads(answer.body)
    return told


def see(service: Service, *, now_s: float = NOW_S, **what: Any) -> None:
    """Have a request seen."""
    plain: dict[str, Any] = {
        "operation": Operation.GET_JOB,
        "status": 200,
        "fault": None,
        "body_bytes": 0,
    }
    plain |= {"tasks": 0, "client_request_id": None, "job_id": "j1"}
    service.record.add(Seen(time_s=now_s, **(plain | what)))


def flooded() -> Service:
    """A service of which much can be told."""
    faults = Faults(busy=0.001, run_tasks=True)
    script = [None, Fault.THROTTLED, Fault.DROP_AFTER, None]
    service = make_service(
        access=None,
        faults=faults,
        script=script,
        task_script=lambda task_id: TaskFault("ServerError", "X") if task_id == "bad" else None,
    )
    names = iter(("first", "second", "third", "fourth"))
    for ids in (("a", "b", "bad"), ("c",), ("d",), ("e",)):
        call(service, "POST", ADD, make_body(*ids), headers={"client-request-id": next(names)})
    call(service, "GET", f"/jobs/none?{VERSION}")
    return service


def test_it_tells_what_was_seen() -> None:
    """
    Counts of requests and tasks, by operation, by status and by fault; the newest request first;
    each job with its counts.
    """
    told = read_json(flooded(), now_s=NOW_S + 1, since_s=NOW_S - 60)

    assert told["endpoint"] == ENDPOINT
    assert (told["since"], told["now"]) == ("2025-06-27T04:52:20.5Z", "2025-06-27T04:53:21.5Z")
    assert (told["up_s"], told["account"]) == (61.0, None)
    assert (told["requests"], told["tasks"]) == (5, 5)
    assert told["by_operation"] == {"add_task_collection": 4, "get_job": 1}
    assert told["by_status"] == {"200": 2, "429": 1, "none": 1, "404": 1}
    assert told["faults"] == [
        {"kind": "drop_after", "of": "request", "rate": 0.0, "injected": 1},
        {"kind": "throttled", "of": "request", "rate": 0.0, "injected": 1},
        {"kind": "busy", "of": "request", "rate": 0.001, "injected": 0},
        {"kind": "server_error", "of": "task", "rate": 0.0, "injected": 1},
    ]
    (job,) = told["jobs"]
    assert (job["id"], job["state"], job["on_all_tasks_complete"]) == ("j1", "active", "noaction")
    assert (job["tasks"], job["active"], job["completed"]) == (4, 0, 4)
    seen = [(each["operation"], each["job_id"], each["status"]) for each in told["last_requests"]]
    assert seen[:2] == [("get_job", "none", 404), ("add_task_collection", "j1", 200)]
    assert [each["fault"] for each in told["last_requests"]][2:4] == ["drop_after", "throttled"]
    assert told["last_requests"][-1]["client_request_id"] == "first"


def test_the_page_says_the_same() -> None:
    """
    Each of the numbers and names that a program is told stands on the page, which is whole HTML
    and asks to be fetched again every two seconds.
    """
    service = flooded()
    told, page = read_json(service), read_page(service)

    texts = set(page.texts)
    assert {"http://127.0.0.1:1234", "open to everybody", "5 in all", "peak 0"} <= texts
    for name in ("by_operation", "by_status"):
        words = {"no answer" if word == "none" else word for word in told[name]}
        assert words <= texts
    assert {each["kind"] for each in told["faults"]} <= texts
    assert {each["client_request_id"] for each in told["last_requests"]} - {None} <= texts
    assert ("meta", {"http-equiv": "refresh", "content": "2"}) in page.tags


def test_a_new_emulator_has_a_page() -> None:
    """
    Without a job, a request or a fault the page says so.
    """
    page = read_page(Service(random=Random(1)))

    assert "No job yet." in page.texts
    assert page.texts.count("None yet.") == 3
    assert "None is set to strike, and none did." in page.texts


def test_it_loads_nothing_and_runs_nothing() -> None:
    """
    No script, no handler, no address of anything; the policy allows the page's own style alone,
    and that one by its hash.
    """
    answer = get(flooded())

    html = answer.body.decode()
    page = Reader(html)
    for tag, attributes in page.tags:
        assert tag not in {"script", "img", "iframe", "object", "form", "a"}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("href", "data:,") == "data:,"
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


HOSTILE = '<script>alert("x")</script>&amp;\u202e\x00\ud800'


def test_what_a_client_says_is_escaped() -> None:
    """
    Markup in a client-request-id or a path is shown as text, without characters that turn the
    writing around or are none, and cut.
    """
    service = make_service()
    see(service, client_request_id=HOSTILE, job_id="<b>" + "j" * 100)
    html = get(service).body.decode()

    page = Reader(html)
    assert '<script>alert("x")</script>&amp;\N{REPLACEMENT CHARACTER}' in "".join(page.texts)
    assert "<b>" + "j" * 60 + "…" in page.texts
    assert "<script" not in html
    assert "\u202e" not in html
    assert read_json(service)["last_requests"][0]["job_id"].startswith("<b>j")


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_is_shown(name: str, job_id: str) -> None:
    """
    Whatever the text, half of a surrogate pair too: the page stays whole HTML with the same
    elements, and the JSON stays JSON.
    """
    service = make_service()
    see(service, client_request_id="plain", job_id="plain")
    elements = [tag for tag, _ in read_page(service).tags]
    service.record.log.clear()
    see(service, client_request_id=name, job_id=job_id)

    assert [tag for tag, _ in read_page(service).tags] == elements
    assert len(read_json(service)["last_requests"]) == 1


def judge(token: str, /, *, now_s: float) -> str | None:  # noqa: ARG001  As of Bearer.
    return None if token == "the-token" else "another token"


def test_no_secret_is_shown() -> None:
    """
    Neither the key, nor a signature or a token that was sent, nor anything of a task.
    """
    service = make_service(access=Access("mine", b"the key", judge))
    body = b'{"value":[{"id":"t1","commandLine":"the-command https://x/?sig=the-signature"}]}'
    target = f"{ADD}&sig=the-signature"
    for authorization in ("Bearer the-token", "SharedKey mine:the-signature"):
        call(service, "POST", target, body, headers={"authorization": authorization})
    assert service.record.by_status == {200: 1, 403: 1}

    for query in ("", "?format=json"):
        shown = get(service, query).body.decode()
        assert "mine" in shown
        for secret in ("the key", base64.b64encode(b"the key").decode(), "the-"):
            assert secret not in shown


def test_thousands_of_jobs_stay_short() -> None:
    """
    The newest hundred jobs are shown, the newest first, and how many more there are; of the
    requests the newest thirty.
    """
    service = Service(random=Random(1))
    for number in range(3000):
        service.create_job(f"job-{number}", now_s=NOW_S)
        see(service, client_request_id=f"request-{number}")
    told, page = read_json(service), read_page(service)

    ids = [f"job-{number}" for number in range(2999, 2999 - JOBS_MAX, -1)]
    assert [job["id"] for job in told["jobs"]] == ids
    assert told["jobs_in_all"] == 3000
    assert [text for text in page.texts if text.startswith("job-")] == ids
    assert "… and 2,900 more, older than these." in page.texts
    assert sum(text.startswith("request-") for text in page.texts) == REQUESTS_MAX


def test_what_is_due_has_happened() -> None:
    """
    A job that was being disabled is disabled once its time has come, and a deleted one is gone,
    though nobody asked for it in between.
    """
    service = make_service(switches=Switches(job_change_s=5.0))
    service.create_job("j2", now_s=NOW_S)
    call(service, "POST", f"/jobs/j1/disable?{VERSION}", b'{"disableTasks":"wait"}')
    call(service, "DELETE", f"/jobs/j2?{VERSION}")

    def states(now_s: float) -> dict[str, str]:
        return {job["id"]: job["state"] for job in read_json(service, now_s=now_s)["jobs"]}

    assert states(NOW_S + 4) == {"j1": "disabling", "j2": "deleting"}
    assert states(NOW_S + 5) == {"j1": "disabled"}


def test_no_task_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The page is made without any of a job's tasks: with ten million of them it costs the same.
    """
    service = flooded()
    expected = read_json(service)

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a task was looked at")

    for name in ("task", "task_ids", "bodies"):
        monkeypatch.setattr(Job, name, refuse)
    monkeypatch.setattr(service.job("j1"), "_tasks", Closed(4))

    assert read_json(service) == expected


class Closed(dict[str, bytes]):
    """A dict that says how long it is, and nothing else."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Any:
        pytest.fail("the tasks were gone through")

    def values(self) -> Any:
        pytest.fail("the tasks were gone through")

    items = keys = values


def test_rates_are_of_the_last_whole_seconds() -> None:
    """
    Ten seconds count, without the one that is not over; of an emulator that is younger, those
    that it has been there.
    """
    service = Service(random=Random(1))
    start_s = float(int(NOW_S))
    for second in range(20):
        see(service, now_s=start_s + second, tasks=100 if second < 15 else 0)
    told = read_json(service, now_s=start_s + 19.5, since_s=start_s)

    assert (told["requests_per_s"], told["tasks_per_s"]) == (1.0, 60.0)
    young = read_json(service, now_s=start_s + 4.5, since_s=start_s)
    assert (young["requests_per_s"], young["tasks_per_s"]) == (1.0, 100.0)


@given(st.lists(st.tuples(st.integers(0, 3 * SECONDS_KEPT), st.integers(0, 100)), max_size=50))
def test_each_second_is_counted(steps: list[tuple[int, int]]) -> None:
    """
    The ring says of each of the last whole seconds what counting by hand says, whatever the gaps.
    """
    recent, second, counts = Recent(), 10**9, dict[int, tuple[int, int]]()
    for step, tasks in steps:
        second += step // 3 if step % 2 else 0
        recent.add(second + 0.25, tasks)
        requests, before = counts.get(second, (0, 0))
        counts[second] = (requests + 1, before + tasks)

    seconds = range(second + 1 - SECONDS_KEPT, second + 1)
    expected = [counts.get(each, (0, 0)) for each in seconds]
    assert recent.whole_seconds(second + 1.5) == expected


def test_the_chart_has_a_bar_a_second() -> None:
    """
    Bars stand in order, the highest for the second with most tasks, none for one without.
    """
    service = Service(random=Random(1))
    start_s = float(int(NOW_S))
    for second, tasks in ((0, 10), (1, 40), (3, 20)):
        see(service, now_s=start_s + second, tasks=tasks)
    page = read_page(service, now_s=start_s + 4, since_s=start_s)

    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    heights = [float(bar["height"] or 0) for bar in bars]
    places = [float(bar["x"] or 0) for bar in bars]
    assert heights == [12.0, 48.0, 24.0]
    assert [after - before for before, after in pairwise(places)] == [10.0, 20.0]


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_other_methods(method: str) -> None:
    """
    The page is for GET; a HEAD is answered without a body.
    """
    answer = Page(make_service(), since_s=NOW_S)(method, PATH, {}, b"", now_s=NOW_S)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert (answer.body == b"") == (method == "HEAD")


@pytest.mark.parametrize("target", [f"{PATH}/", f"{PATH}/jobs", f"{PATH}2?format=json"])
def test_other_paths(target: str) -> None:
    """
    There is nothing below the page.
    """
    page = Page(make_service(), since_s=NOW_S)

    assert page("GET", target, {}, b"", now_s=NOW_S).status == 404


def test_other_formats() -> None:
    """
    HTML may be asked for by name; what is neither is refused.
    """
    assert get(make_service(), "?format=html").headers["Content-Type"].startswith("text/html")
    assert get(make_service(), "?format=xml").status == 400


async def test_over_http() -> None:
    """
    Every server has the page; it says where that one listens, needs no credential, is no request
    to the service, and leaves the connection open.
    """
    service = make_service(access=Access("mine", b"key"))
    async with (
        serve(service, clock=lambda: NOW_S) as server,
        aiohttp.ClientSession(server.endpoint, timeout=aiohttp.ClientTimeout(10)) as http,
    ):
        for method, path, status in (
            ("GET", PATH, 200),
            ("HEAD", PATH, 405),
            ("POST", PATH, 405),
            ("GET", f"{PATH}/x", 404),
        ):
            async with http.request(method, path, data=b"x" if method == "POST" else None) as got:
                html = await got.text()
            assert got.status == status
        async with http.get(f"{PATH}?format=json") as got:
            told = orjson.loads(await got.read())
        async with http.get(PATH) as got:
            html = await got.text()

        assert told["endpoint"] == server.endpoint
        assert server.endpoint in Reader(html).texts
        assert (told["requests"], told["in_flight"], told["connections"]) == (0, 0, 1)
        assert service.record.requests == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:80", 200), ("[::1]:80", 200), ("localhost", 200), ("evil.test", 403)],
)
def test_only_this_machine_looks(host: str, status: int) -> None:
    """A name elsewhere that someone points here reads nothing."""
    page = Page(make_service(), since_s=NOW_S)

    assert page("GET", PATH, {"host": host}, b"", now_s=NOW_S).status == status
