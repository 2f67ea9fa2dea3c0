"""What OpenTelemetry is told, as its own SDK hands it on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bulksubmit.core.events import Anomaly, Held, LimitChanged, Progressed, RequestEnded
from bulksubmit.observe import otel
from bulksubmit.observe.otel import observer

URL = "https://myaccount.westeurope.batch.azure.com/jobs/night-1/addtaskcollection"


@dataclass
class Collected:
    """What was exported."""

    reader: InMemoryMetricReader
    exporter: InMemorySpanExporter
    options: dict[str, Any]

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def metrics(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """The points of each metric, by their attributes."""
        data = self.reader.get_metrics_data()
        assert data is not None
        ((scope,),) = (resource.scope_metrics for resource in data.resource_metrics)
        return {
            metric.name: {
                tuple(sorted((point.attributes or {}).items())): point
                for point in metric.data.data_points
            }
            for metric in scope.metrics
        }

    def sums(self, name: str) -> dict[str, Any]:
        """A counter's or gauge's values, by the value of its last attribute."""
        points = self.metrics()[name]
        return {str(key[-1][1]) if key else "": point.value for key, point in points.items()}


@pytest.fixture
def collected() -> Iterator[Collected]:
    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Collected(reader, exporter, {"tracer_provider": tracers, "meter_provider": meters})
    tracers.shutdown()
    meters.shutdown()


def ended(**values: Any) -> RequestEnded:
    usual: dict[str, Any] = {
        "operation": "add_task_collection",
        "method": "POST",
        "url": URL,
        "attempt": 3,
        "client_request_id": "c-1",
        "request_id": "r-1",
        "status": 200,
        "reply": "answered",
        "reason": None,
        "tasks": 100,
        "resent": 0,
        "bytes_sent": 5000,
        "latency_s": 0.25,
    }
    return RequestEnded(**usual | values)


def progressed(run_id: str = "run-1", **values: Any) -> Progressed:
    usual: dict[str, Any] = {
        "run_id": run_id,
        "job_id": "night-1",
        "total": 1000,
        "expected": None,
        "source_complete": False,
        "added": 0,
        "existed": 0,
        "rejected": 0,
        "abandoned": 0,
        "unsettled": 1000,
        "in_flight": 4,
        "limit": 8.0,
        "elapsed_s": 1.0,
        "tasks_per_s": 0.0,
        "ended": False,
    }
    return Progressed(**usual | values)


def test_a_request_is_a_span(collected: Collected) -> None:
    """
    A span of kind client, as long as the request took, with HTTP's attributes and both IDs; a
    child of the span around it.
    """
    tell = observer(attributes={"job": "night-1"}, **collected.options)
    tracer = collected.options["tracer_provider"].get_tracer("theirs")

    with tracer.start_as_current_span("night"):
        tell(ended(resent=7))

    span, around = collected.spans
    assert (span.name, span.kind) == ("POST add_task_collection", trace.SpanKind.CLIENT)
    assert span.parent is not None
    assert span.parent.span_id == around.context.span_id
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 250_000_000
    assert span.status.status_code is trace.StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "job": "night-1",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.request.body.size": 5000,
        "url.full": URL,
        "server.address": "myaccount.westeurope.batch.azure.com",
        "server.port": 443,
        "az.client_request_id": "c-1",
        "az.service_request_id": "r-1",
        "bulksubmit.operation": "add_task_collection",
        "bulksubmit.reply": "answered",
        "bulksubmit.attempt": 3,
        "bulksubmit.tasks": 100,
        "bulksubmit.tasks.resent": 7,
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "bulksubmit"


@pytest.mark.parametrize(
    ("values", "error_type", "description"),
    [
        ({"status": 429, "reply": "throttled", "reason": "429 Too many"}, "429", "429 Too many"),
        (
            {"status": None, "reply": "lost", "reason": "no answer in time"},
            "lost",
            "no answer in time",
        ),
        ({"status": 400, "reply": "refused", "reason": "BadValue: echo s3cret"}, "400", "BadValue"),
        # An answer that could not be read.
        ({"status": 200, "reply": "lost", "reason": "no JSON"}, "lost", "no JSON"),
    ],
)
def test_a_request_that_went_wrong(
    collected: Collected, values: dict[str, Any], error_type: str, description: str
) -> None:
    """
    An error with its type and the beginning of its reason, but not what the service says at
    length.
    """
    observer(**collected.options)(ended(**values))

    (span,) = collected.spans
    attributes = span.attributes or {}
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.status.description == description
    assert attributes["error.type"] == error_type
    assert attributes.get("http.response.status_code") == values["status"]
    assert "s3cret" not in span.to_json()


def test_a_request_without_an_answer_has_no_id_of_the_service(collected: Collected) -> None:
    """
    Only what is known is said.
    """
    observer(**collected.options)(ended(status=None, request_id=None, reply="lost"))

    (span,) = collected.spans
    assert {"az.service_request_id", "http.response.status_code"}.isdisjoint(span.attributes or {})


def test_requests_are_counted_and_timed(collected: Collected) -> None:
    """
    By operation, reply and status; how long they took, and how many bytes were sent.
    """
    tell = observer(**collected.options)
    for _ in range(3):
        tell(ended())
    tell(ended(status=429, reply="throttled", reason="429", resent=40))
    tell(ended(operation="get_job", method="GET", attempt=0, tasks=0, bytes_sent=0))
    tell(progressed())
    tell(ended())
    tell(progressed(ended=True))

    metrics = collected.metrics()
    requests = {
        (dict(key)["bulksubmit.operation"], dict(key)["bulksubmit.reply"]): point.value
        for key, point in metrics["bulksubmit.requests"].items()
    }
    assert requests == {
        ("add_task_collection", "answered"): 4,
        ("add_task_collection", "throttled"): 1,
        ("get_job", "answered"): 1,
    }
    durations = metrics["bulksubmit.request.duration"]
    assert durations.keys() == metrics["bulksubmit.requests"].keys()
    assert sum(point.sum for point in durations.values()) == pytest.approx(6 * 0.25)
    assert collected.sums("bulksubmit.sent") == {"": 25_000}
    assert collected.sums("bulksubmit.tasks.resent") == {"": 40}


def test_tasks_are_counted_once(collected: Collected) -> None:
    """
    What earlier processes of a run have settled is theirs; what two runs settle adds up, though
    each tells its own total again and again.
    """
    tell = observer(**collected.options)
    tell(progressed(added=600, unsettled=400))  # Resumed.
    tell(progressed("run-2"))
    tell(progressed(added=700, rejected=1, unsettled=299))
    tell(progressed("run-2", added=50, existed=5, unsettled=945))
    tell(progressed(added=700, rejected=1, unsettled=299))
    tell(progressed("run-2", added=60, existed=5, unsettled=935, ended=True, in_flight=0))
    tell(progressed(added=900, rejected=3, unsettled=95, abandoned=2, ended=True, in_flight=0))

    assert collected.sums("bulksubmit.tasks.settled") == {
        "added": 360,
        "existed": 5,
        "rejected": 3,
    }
    assert collected.sums("bulksubmit.tasks.unsettled") == {"": 97}
    assert collected.sums("bulksubmit.in_flight") == {"": 0}


def test_the_limit_and_what_is_odd(collected: Collected) -> None:
    """
    The limit as it moves, holds, and odd answers by kind.
    """
    tell = observer(attributes={"job": "night-1"}, **collected.options)
    tell(progressed())
    tell(LimitChanged(8.0, 4.0, "throttled"))
    tell(Held("429", 3.0))
    tell(Anomaly("missing_id", 3, "t1"))
    tell(Anomaly("missing_id", 3, "t2"))

    metrics = collected.metrics()
    assert collected.sums("bulksubmit.limit") == {"night-1": 4.0}
    assert collected.sums("bulksubmit.holds") == {"night-1": 1}
    assert [*metrics["bulksubmit.anomalies"]] == [
        (("bulksubmit.anomaly", "missing_id"), ("job", "night-1"))
    ]
    assert collected.sums("bulksubmit.anomalies") == {"night-1": 2}


def test_the_documented_metrics_are_those_that_there_are(collected: Collected) -> None:
    """
    The table in the module names every metric, with its unit.
    """
    tell = observer(**collected.options)
    for event in (ended(resent=1), progressed(), progressed(added=1), Held("", 0.0)):
        tell(event)
    tell(Anomaly("missing_id", 3, "t1"))
    told = otel.__doc__ or ""

    for name in collected.metrics():
        assert f"| ``{name}`` |" in told
    assert told.count("\n| ``") == len(collected.metrics())


def test_nobody_listens() -> None:
    """
    Where OpenTelemetry is not set up, nothing comes of it, and nothing goes wrong.
    """
    tell = observer()

    for event in (ended(), progressed(), Held("", 0.0)):
        tell(event)
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
