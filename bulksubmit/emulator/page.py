"""The emulator's page, for whoever wants to see what it is doing: ``GET /_emulator``.

It is no part of Batch, needs no credential, and shows none: no key, no token, no task. Plain HTML
that loads nothing and runs nothing; the browser fetches it again every two seconds.
``GET /_emulator?format=json`` says the same to a program.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from html import escape
from urllib.parse import parse_qsl, urlsplit

import orjson

from bulksubmit.emulator.answers import http_date
from bulksubmit.emulator.exchange import Answer
from bulksubmit.emulator.front import is_loopback
from bulksubmit.emulator.service import Service
from bulksubmit.emulator.snapshot import (
    RATE_SECONDS,
    FaultLine,
    JobLine,
    RequestLine,
    Snapshot,
    take,
)

PATH = "/_emulator"

_REFRESH_S = 2
_STATUS_WORDS = {2: "good", 4: "odd", 5: "bad"}  # By the first digit.
_CHART_HEIGHT, _BAR_WIDTH = 48, 10
_TENTHS_BELOW = 10  # A second.

_STYLE = """
:root { color-scheme: light dark; --back: #f6f7f9; --card: #fff; --line: #dfe3e8; --text: #1b2430;
  --faint: #5c6877; --bar: #2f6fde; --good: #1c7a45; --odd: #9a6200; --bad: #c0322b; }
@media (prefers-color-scheme: dark) {
  :root { --back: #12161c; --card: #1b2129; --line: #323b47; --text: #e6eaf0; --faint: #98a4b3;
    --bar: #6a9df5; --good: #5ec48b; --odd: #e0a94a; --bad: #ff7d74; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; background: var(--back);
  color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.3rem; }
h2 { margin: 0 0 .5rem; font-size: 1rem; }
h2 small, .faint { color: var(--faint); font-weight: normal; }
.facts { display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: .2rem 0 1rem; color: var(--faint); }
.facts b { color: var(--text); font-weight: 600; overflow-wrap: anywhere; }
section, .tiles > div { border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  background: var(--card); }
section { margin-top: 1rem; }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.tiles b { display: block; font-size: 1.6rem; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.three { display: grid; gap: 0 1rem; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
svg { display: block; width: 100%; height: 4rem; }
svg rect { fill: var(--bar); }
svg line { stroke: var(--line); }
.ends { display: flex; justify-content: space-between; color: var(--faint); font-size: .85rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--faint); font-size: .85rem; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: baseline; }
tr:last-child td { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
.n + :not(.n) { padding-left: 1rem; }
.st { white-space: nowrap; }
.id { overflow-wrap: anywhere; }
.mono { font: .85em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.good { color: var(--good); } .odd { color: var(--odd); } .bad { color: var(--bad); }
p { margin: 0; }
@media (max-width: 50rem) {
  body { padding: .6rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .6rem; }
  .tiles > div { padding: .5rem .7rem; }
  section { padding: .7rem; margin-top: .6rem; }
  .rows thead { display: none; }
  .rows tr { display: flex; flex-wrap: wrap; gap: 0 .9rem; padding: .4rem 0;
    border-bottom: 1px solid var(--line); }
  .rows tr:last-child { border-bottom: 0; }
  .rows td, .rows .n + td { border: 0; padding: 0; text-align: left; }
  .rows td:empty { display: none; }
  .rows td[data-of]::before { content: attr(data-of) " "; color: var(--faint); font-size: .85rem; }
}
"""

# All that the page may load is its own style; and an icon that is none, which keeps a browser from
# asking the service for one.
_POLICY = (
    "default-src 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_COMMON_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """A door beside the service, behind which it can be looked at.

    Attributes:
        endpoint: Where the service listens, to be told; to be set once that is known.
    """

    def __init__(self, service: Service, *, since_s: float, endpoint: str = "") -> None:
        """Show a service.

        Args:
            service: Which.
            since_s: Since when it listens, as POSIX time.
            endpoint: Where.
        """
        self.endpoint = endpoint
        self._service = service
        self._since_s = since_s

    def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, now_s: float
    ) -> Answer:
        """Answer a request; arguments as of ``exchange.Door``."""
        del body
        if not _is_here(headers.get("host", "")):
            # A page elsewhere whose name someone has pointed at this machine is not to read it.
            return _text(403, "This page is for this machine only.\n", now_s)
        path, _, query = target.partition("?")
        if path != PATH:
            return _text(404, f"There is nothing here but {PATH}.\n", now_s)
        if method != "GET":
            # What answers a HEAD has no body.
            text = "" if method == "HEAD" else "This page is for GET only.\n"
            return _text(405, text, now_s, {"Allow": "GET"})
        wanted = dict(parse_qsl(query)).get("format", "html")
        if wanted not in {"html", "json"}:
            return _text(400, "The format is html or json.\n", now_s)
        snapshot = take(self._service, endpoint=self.endpoint, since_s=self._since_s, now_s=now_s)
        if wanted == "json":
            return _answer(200, "application/json", orjson.dumps(snapshot), now_s)
        return _answer(200, "text/html; charset=utf-8", render(snapshot).encode(), now_s)


def _is_here(host: str) -> bool:
    """Whether a Host header names this machine, or nothing, as that of HTTP/1.0."""
    name = urlsplit(f"//{host}").hostname
    return name is None or is_loopback(name)


def render(snapshot: Snapshot) -> str:
    """The page as HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{_REFRESH_S}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><title>bulksubmit emulator</title>'
        f"<style>{_STYLE}</style></head><body>\n"
        f"{_head(snapshot)}\n{_tiles(snapshot)}\n{_chart(snapshot)}\n{_jobs(snapshot)}\n"
        f'<div class="three">{_operations(snapshot)}{_statuses(snapshot)}{_faults(snapshot)}</div>'
        f"\n{_requests(snapshot)}\n</body></html>\n"
    )


def _head(snapshot: Snapshot) -> str:
    account = snapshot.account
    facts = {
        "at": snapshot.endpoint,
        "account": "open to everybody" if account is None else account,
        "since": _day_and_time(snapshot.since),
        "up": str(timedelta(seconds=int(snapshot.up_s))),
        "now": f"{_clock(snapshot.now, seconds_only=True)} UTC",
    }
    shown = "".join(f"<span>{name} <b>{escape(fact)}</b></span>" for name, fact in facts.items())
    return f'<h1>bulksubmit emulator</h1><p class="facts">{shown}</p>'


def _tiles(snapshot: Snapshot) -> str:
    struck = Counter[str]()
    for line in snapshot.faults:
        struck[line.of] += line.injected
    tiles = (
        ("Tasks a second", _rate(snapshot.tasks_per_s), f"{snapshot.tasks:,} in all"),
        ("Requests a second", _rate(snapshot.requests_per_s), f"{snapshot.requests:,} in all"),
        ("In flight", f"{snapshot.in_flight:,}", f"peak {snapshot.in_flight_peak:,}"),
        ("Received", _size(snapshot.body_bytes), "bodies of requests"),
        ("Connections", f"{snapshot.connections:,}", "opened in all"),
        ("Faults injected", f"{struck['request']:,}", f"requests; {struck['task']:,} tasks"),
    )
    cells = "".join(
        f'<div>{name}<b>{value}</b><span class="faint">{more}</span></div>'
        for name, value, more in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _chart(snapshot: Snapshot) -> str:
    """A bar a second of the last minute."""
    counts = snapshot.tasks_of_each_second
    most = max(counts)
    bars = []
    for place, count in enumerate(counts):
        height = round(count / most * _CHART_HEIGHT, 1) if most else 0
        if height:
            x, y = place * _BAR_WIDTH, round(_CHART_HEIGHT - height, 1)
            bars.append(f'<rect x="{x}" y="{y}" width="{_BAR_WIDTH - 2}" height="{height}"/>')
    width, foot = len(counts) * _BAR_WIDTH, _CHART_HEIGHT + 1
    said = f"at most {most:,} in a second" if most else "none"
    return (
        f"<section><h2>Tasks in each second of the last minute <small>{said}; the rates above "
        f"are of the last {RATE_SECONDS} s</small></h2>"
        f'<svg viewBox="0 0 {width} {foot}" preserveAspectRatio="none" role="img" '
        f'aria-label="Tasks in each second of the last minute: {said}">'
        f'<line x1="0" y1="{foot - 0.5}" x2="{width}" y2="{foot - 0.5}"/>{"".join(bars)}</svg>'
        f'<p class="ends"><span>{len(counts)} s ago</span><span>now</span></p></section>'
    )


def _jobs(snapshot: Snapshot) -> str:
    rows = [_job_row(job) for job in snapshot.jobs]
    more = snapshot.jobs_in_all - len(rows)
    after = f'<p class="faint">… and {more:,} more, older than these.</p>' if more else ""
    heads = ("Job", "State", "#Tasks", "#Active", "#Completed", "onAllTasksComplete", "Created")
    said = f"{snapshot.jobs_in_all:,}"
    return _section("Jobs", heads, rows, said=said, none="No job yet.", after=after, wide=True)


def _job_row(job: JobLine) -> str:
    state = "" if job.state == "active" else ' class="odd"'
    return (
        f'<tr><td class="id"><b>{escape(job.id)}</b></td><td{state}>{escape(job.state)}</td>'
        f"{_number(job.tasks, 'tasks')}{_number(job.active, 'active')}"
        f"{_number(job.completed, 'completed')}"
        f'<td data-of="on all tasks complete">{escape(job.on_all_tasks_complete)}</td>'
        f'<td data-of="created">{escape(_day_and_time(job.created))}</td></tr>'
    )


def _operations(snapshot: Snapshot) -> str:
    rows = [
        f"<tr><td>{escape(name)}</td>{_number(count)}</tr>"
        for name, count in snapshot.by_operation.items()
    ]
    return _section("Requests by operation", ("Operation", "#Requests"), rows)


def _statuses(snapshot: Snapshot) -> str:
    rows = [
        f"<tr>{_status(None if name == 'none' else int(name))}{_number(count)}</tr>"
        for name, count in snapshot.by_status.items()
    ]
    return _section("Requests by status", ("Status", "#Requests"), rows)


def _faults(snapshot: Snapshot) -> str:
    rows = [_fault_row(line) for line in snapshot.faults]
    heads = ("Fault", "Of a", "#Rate", "#Injected")
    return _section("Faults", heads, rows, none="None is set to strike, and none did.")


def _fault_row(line: FaultLine) -> str:
    rate = "" if line.rate is None else f"{line.rate:.4g}"
    return (
        f"<tr><td>{escape(line.kind)}</td><td>{line.of}</td>"
        f'<td class="n">{rate}</td>{_number(line.injected)}</tr>'
    )


def _requests(snapshot: Snapshot) -> str:
    rows = [_request_row(line) for line in snapshot.last_requests]
    heads = ("Time, UTC", "Status", "Operation", "Job", "#Tasks", "#Bytes", "Fault", "Client's ID")
    return _section("Last requests", heads, rows, said="newest first", wide=True)


def _request_row(line: RequestLine) -> str:
    return (
        f"<tr><td>{_clock(line.time)}</td>{_status(line.status)}"
        f'<td>{escape(line.operation)}</td><td class="id">{escape(line.job_id)}</td>'
        f"{_number(line.tasks, 'tasks')}{_number(line.body_bytes, 'bytes')}"
        f'<td class="odd">{escape(line.fault or "")}</td>'
        f'<td class="mono">{escape(line.client_request_id or "")}</td></tr>'
    )


def _section(
    title: str,
    heads: Sequence[str],
    rows: Iterable[str],
    *,
    said: str = "",
    none: str = "None yet.",
    after: str = "",
    wide: bool = False,
) -> str:
    """A table with its title.

    Args:
        title: Its title.
        heads: Of its columns; one that begins with # is of numbers.
        rows: As HTML.
        said: Beside the title.
        none: Instead of a table without rows.
        after: Below it, as HTML.
        wide: On a narrow screen each row becomes a few lines, without heads.
    """
    shown = "".join(rows)
    if not shown:
        return f'<section><h2>{title}</h2><p class="faint">{none}</p></section>'
    cells = "".join(
        f'<th class="n">{head[1:]}</th>' if head.startswith("#") else f"<th>{head}</th>"
        for head in heads
    )
    kind = ' class="rows"' if wide else ""
    table = f"<table{kind}><thead><tr>{cells}</tr></thead><tbody>{shown}</tbody></table>"
    return f"<section><h2>{title} <small>{said}</small></h2>{table}{after}</section>"


def _status(status: int | None) -> str:
    if status is None:
        return '<td class="st bad">no answer</td>'
    return f'<td class="st {_STATUS_WORDS.get(status // 100, "odd")}">{status}</td>'


def _number(value: int, of: str = "") -> str:
    label = f' data-of="{of}"' if of else ""
    return f'<td class="n"{label}>{value:,}</td>'


def _rate(per_s: float) -> str:
    return f"{per_s:,.1f}" if 0 < per_s < _TENTHS_BELOW else f"{per_s:,.0f}"


def _size(size_bytes: int) -> str:
    for unit, most in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= most:
            return f"{size_bytes / most:,.1f} {unit}"
    return f"{size_bytes} B"


def _clock(time: str, *, seconds_only: bool = False) -> str:
    """The time of the day out of an ISO 8601 time, to the millisecond or the second."""
    seconds, _, fraction = time[11:-1].partition(".")
    return seconds if seconds_only else f"{seconds}.{fraction[:3]:0<3}"


def _day_and_time(time: str) -> str:
    return f"{time[:10]} {_clock(time, seconds_only=True)}"


def _text(status: int, text: str, now_s: float, headers: Mapping[str, str] | None = None) -> Answer:
    return _answer(status, "text/plain; charset=utf-8", text.encode(), now_s, headers)


def _answer(
    status: int, kind: str, body: bytes, now_s: float, headers: Mapping[str, str] | None = None
) -> Answer:
    own = {
        "Content-Length": str(len(body)),
        "Content-Type": kind,
        "Date": http_date(now_s),
        "Server": "bulksubmit-emulator",
    }
    return Answer(status, {**own, **_COMMON_HEADERS, **(headers or {})}, body)
