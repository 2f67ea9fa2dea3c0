"""Events as metrics and spans of OpenTelemetry.

| metric | kind, unit | attributes | |
|---|---|---|---|
| ``bulksubmit.tasks.settled`` | counter, ``{task}`` | ``bulksubmit.verdict`` | by this process |
| ``bulksubmit.tasks.resent`` | counter, ``{task}`` | | sent, and not for the first time |
| ``bulksubmit.tasks.unsettled`` | gauge, ``{task}`` | | read, and not settled |
| ``bulksubmit.requests`` | counter, ``{request}`` | as below | |
| ``bulksubmit.request.duration`` | histogram, ``s`` | as below | |
| ``bulksubmit.sent`` | counter, ``By`` | | the bodies of collections |
| ``bulksubmit.in_flight`` | gauge, ``{request}`` | | that await their reply |
| ``bulksubmit.limit`` | gauge, ``{request}`` | | how many may |
| ``bulksubmit.holds`` | counter, ``{hold}`` | | times that all sending was held back |
| ``bulksubmit.anomalies`` | counter, ``{anomaly}`` | ``bulksubmit.anomaly`` | odd answers |

Requests have the attributes ``bulksubmit.operation``, ``bulksubmit.reply``,
``http.request.method``, ``server.address``, ``server.port`` and, if there was an answer,
``http.response.status_code``; if it was no good one, ``error.type``.

Each request is a span of kind client, named ``POST add_task_collection`` and the like, with the
semantic conventions' attributes for HTTP, the two request IDs as azure-core names them
(``az.client_request_id``, ``az.service_request_id``), and ``bulksubmit.attempt``,
``bulksubmit.tasks``, ``bulksubmit.tasks.resent``. It is a child of the span in which the run was
begun. A span holds no credential and nothing of a task's content; the URL of a request for one
task ends with the task's ID.

To count with the SDK takes about 7 µs, and a request of 100 tasks 1,000 in all. So what is counted
is handed on once a second, with Progressed, and nothing but its duration with each request. Of a
request that is not sampled, no span is filled in.
"""

import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bulksubmit.core.events import (
    Anomaly,
    Event,
    Held,
    LimitChanged,
    Observer,
    Progressed,
    RequestEnded,
)
from bulksubmit.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

_Attributes = dict[str, str | int]

_NAME = "bulksubmit"
_ERROR_STATUS_MIN = 400

# The semantic conventions' advice for http.client.request.duration, and up to what a request to
# the service may take.
_DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)


def observer(
    *,
    attributes: Mapping[str, str] | None = None,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
) -> Observer:
    """An observer that reports to OpenTelemetry; where to, its SDK decides.

    Several runs may share one, but its gauges then show the run that spoke last: give each run
    one of its own, with attributes that tell them apart.

    Args:
        attributes: Go with each metric and each span; few values, such as the job's ID.
        tracer_provider: None for the one that OpenTelemetry was set up with.
        meter_provider: Likewise.

    Raises:
        SettingsError: if opentelemetry-api is not installed.
    """
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra
    except ImportError as error:
        reason = f"to report to OpenTelemetry, install bulksubmit[otel] ({error})"
        raise SettingsError(reason) from error
    release = version(_NAME)
    common: _Attributes = {**(attributes or {})}
    count = _Metrics(metrics.get_meter(_NAME, release, meter_provider), common)
    follow = _Spans(trace.get_tracer(_NAME, release, tracer_provider), common)

    def observe(event: Event, /) -> None:
        count(event)
        if isinstance(event, RequestEnded):
            follow(event)

    return observe


class _Metrics:
    """Counts events."""

    def __init__(self, meter: "Meter", common: _Attributes) -> None:
        self._common = common
        self._before: dict[str, Progressed] = {}  # By run: what was told of it last.
        # Since then: requests by their attributes, tasks sent again, bytes sent.
        self._requests_since: dict[tuple[object, ...], tuple[_Attributes, list[int]]] = {}
        self._resent_since = self._sent_since = 0
        self._settled = meter.create_counter("bulksubmit.tasks.settled", "{task}")
        self._resent = meter.create_counter("bulksubmit.tasks.resent", "{task}")
        self._unsettled = meter.create_gauge("bulksubmit.tasks.unsettled", "{task}")
        self._requests = meter.create_counter("bulksubmit.requests", "{request}")
        self._duration_s = meter.create_histogram(
            "bulksubmit.request.duration",
            "s",
            explicit_bucket_boundaries_advisory=_DURATIONS_S,
        )
        self._sent = meter.create_counter("bulksubmit.sent", "By")
        self._in_flight = meter.create_gauge("bulksubmit.in_flight", "{request}")
        self._limit = meter.create_gauge("bulksubmit.limit", "{request}")
        self._holds = meter.create_counter("bulksubmit.holds", "{hold}")
        self._anomalies = meter.create_counter("bulksubmit.anomalies", "{anomaly}")

    def __call__(self, event: Event) -> None:
        match event:
            case RequestEnded():
                self._request(event)
            case Progressed():
                self._progress(event)
            case LimitChanged(new=new):
                self._limit.set(new, self._common)
            case Held():
                self._holds.add(1, self._common)
            case Anomaly(what=what):
                self._anomalies.add(1, self._common | {"bulksubmit.anomaly": what})

    def _request(self, ended: RequestEnded) -> None:
        key = (ended.operation, ended.reply, ended.status, _of_server(ended.url))
        known = self._requests_since.get(key)
        if known is None:
            known = self._requests_since[key] = (self._common | _of_request(ended), [0])
        attributes, count = known
        self._duration_s.record(ended.latency_s, attributes)
        count[0] += 1
        if ended.attempt:
            self._resent_since += ended.resent
            self._sent_since += ended.bytes_sent

    def _flush(self) -> None:
        for attributes, (count,) in self._requests_since.values():
            self._requests.add(count, attributes)
        self._resent.add(self._resent_since, self._common)
        self._sent.add(self._sent_since, self._common)
        self._requests_since.clear()
        self._resent_since = self._sent_since = 0

    def _progress(self, now: Progressed) -> None:
        """What was settled since the event before; the first one has what earlier processes did."""
        self._flush()
        before = self._before.get(now.run_id, now)
        for verdict in ("added", "existed", "rejected"):
            if newly := getattr(now, verdict) - getattr(before, verdict):
                self._settled.add(newly, self._common | {"bulksubmit.verdict": verdict})
        self._unsettled.set(now.unsettled + now.abandoned, self._common)
        self._in_flight.set(now.in_flight, self._common)
        if now.limit is not None:
            self._limit.set(now.limit, self._common)
        if now.ended:
            self._before.pop(now.run_id, None)
        else:
            self._before[now.run_id] = now


class _Spans:
    """A span for each request, made when it has ended."""

    def __init__(self, tracer: "Tracer", common: _Attributes) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra

        self._tracer, self._common = tracer, common
        self._kind, self._error = trace.SpanKind.CLIENT, trace.StatusCode.ERROR

    def __call__(self, ended: RequestEnded) -> None:
        ended_ns = time.time_ns()
        attributes = _of_request(ended)
        span = self._tracer.start_span(
            f"{ended.method} {ended.operation}",
            kind=self._kind,
            attributes=attributes,
            start_time=ended_ns - round(ended.latency_s * 1e9),
        )
        if span.is_recording():
            self._fill_in(span, ended)
            if "error.type" in attributes:
                # Its beginning only, a code or a kind: the service's words might quote a task.
                span.set_status(self._error, (ended.reason or "").partition(":")[0])
        span.end(ended_ns)

    def _fill_in(self, span: "Span", ended: RequestEnded) -> None:
        attributes = self._common | {
            "url.full": ended.url,
            "az.client_request_id": ended.client_request_id,
            "bulksubmit.tasks": ended.tasks,
        }
        if ended.request_id is not None:
            attributes["az.service_request_id"] = ended.request_id
        if ended.attempt:
            attributes["bulksubmit.attempt"] = ended.attempt
            attributes["bulksubmit.tasks.resent"] = ended.resent
            attributes["http.request.body.size"] = ended.bytes_sent
        span.set_attributes(attributes)


def _of_request(ended: RequestEnded) -> _Attributes:
    """Attributes that take few values, for metrics and spans alike."""
    address, port = _of_server(ended.url)
    attributes: _Attributes = {
        "bulksubmit.operation": ended.operation,
        "bulksubmit.reply": ended.reply,
        "http.request.method": ended.method,
        "server.address": address,
        "server.port": port,
    }
    if ended.status is not None:
        attributes["http.response.status_code"] = ended.status
    if ended.status is not None and ended.status >= _ERROR_STATUS_MIN:
        attributes["error.type"] = str(ended.status)
    elif ended.reply != "answered":
        attributes["error.type"] = ended.reply
    return attributes


@lru_cache(maxsize=256)  # All attempts have one URL.
def _of_server(url: str) -> tuple[str, int]:
    """The server's name and port."""
    split = urlsplit(url)
    return split.hostname or "", split.port or {"https": 443, "http": 80}.get(split.scheme, 0)
