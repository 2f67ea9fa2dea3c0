"""OpenTelemetry in whole runs: of the library, and of the command line as its wrapper starts it."""

from pathlib import Path

import orjson
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bulksubmit import SharedKey, submit
from bulksubmit.emulator.faults import Faults
from bulksubmit.observe.otel import observer
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    listening,
    make_service,
    make_tasks,
    write_lines,
)
from tests.end_to_end.commands import as_user_of, assert_no_secret, bulksubmit

TASKS = make_tasks(1000)

# What ``opentelemetry-instrument`` does: it sets the SDK up before the program begins.
SITE_CUSTOMIZE = """
import os
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

def line(data):
    return data.to_json(indent=None) + "\\n"

spans = ConsoleSpanExporter(out=open(os.environ["SPANS"], "w"), formatter=line)
points = ConsoleMetricExporter(out=open(os.environ["METRICS"], "w"), formatter=line)
tracers = TracerProvider()
tracers.add_span_processor(BatchSpanProcessor(spans))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(points)]))
"""


async def test_a_run_of_the_library() -> None:
    """
    A span for each request that the service has seen, by the same ID, below the user's own span;
    the counters agree with the report. Nothing holds a secret or what a task says.
    """
    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    meters, tracers = MeterProvider([reader]), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    tell = observer(tracer_provider=tracers, meter_provider=meters)

    async with listening(make_service(Faults(server_error=0.1, drop_after=0.1))) as account:
        with tracers.get_tracer("theirs").start_as_current_span("night") as night:
            report = await submit(
                TASKS,
                job_id=JOB_ID,
                endpoint=account.endpoint,
                credential=SharedKey(NAME, KEY),
                observer=tell,
            )
        seen = [one.client_request_id for one in account.service.record.log]

    *spans, _ = exporter.get_finished_spans()
    data = reader.get_metrics_data()
    meters.shutdown()
    tracers.shutdown()
    assert data is not None
    text = data.to_json() + "".join(span.to_json() for span in spans)
    ids = {(span.attributes or {})["az.client_request_id"] for span in spans}
    assert len(ids) == len(spans)
    assert set(seen) <= ids
    assert {span.context.trace_id for span in spans} == {night.get_span_context().trace_id}
    settled = {
        dict(point.attributes or {})["bulksubmit.verdict"]: getattr(point, "value", None)
        for resource in data.resource_metrics
        for metric in resource.scope_metrics[0].metrics
        if metric.name == "bulksubmit.tasks.settled"
        for point in metric.data.data_points
    }
    assert settled == {
        verdict: count
        for verdict, count in (("added", report.added), ("existed", report.existed))
        if count
    }
    assert_no_secret(text)
    assert "/bin/echo" not in text


async def test_a_run_of_the_command_line(tmp_path: Path) -> None:
    """
    Where the SDK is set up around the program, it reports without being told to, to its last
    request and task.
    """
    (tmp_path / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    source = write_lines(tmp_path / "tasks.jsonl", TASKS)
    async with listening(make_service()) as account:
        done = await bulksubmit(
            *("submit", source, "--job-id", JOB_ID, "--quiet"),
            env=as_user_of(account)
            | {
                "PYTHONPATH": str(tmp_path),
                "SPANS": str(tmp_path / "spans"),
                "METRICS": str(tmp_path / "metrics"),
            },
        )
        seen = {one.client_request_id for one in account.service.record.log}

    assert done.exit_code == 0, done.stderr
    spans = [*map(orjson.loads, (tmp_path / "spans").read_text().splitlines())]
    assert {span["attributes"]["az.client_request_id"] for span in spans} == seen
    last = orjson.loads((tmp_path / "metrics").read_text().splitlines()[-1])
    metrics = last["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    points = {metric["name"]: metric["data"]["data_points"] for metric in metrics}
    assert [point["value"] for point in points["bulksubmit.tasks.settled"]] == [1000]
    assert sum(point["value"] for point in points["bulksubmit.requests"]) == len(seen)
