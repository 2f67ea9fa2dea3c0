"""The library with everything shown: progress on a terminal, and metrics counted by OpenTelemetry.

All else is as in ``client_bulksubmit``, and so are the arguments.
"""

import asyncio
import sys
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from benchmarks.progress import terminal
from bulksubmit import Settings, SharedKey, stream
from bulksubmit.core.events import Event
from bulksubmit.loop import run_async
from bulksubmit.observe.otel import observer
from bulksubmit.observe.screen import Screen


async def _flood(account: dict[str, Any], path: str, in_flight: int, screen: Screen) -> int:
    metrics = observer(meter_provider=MeterProvider([InMemoryMetricReader()]))

    def tell(event: Event, /) -> None:
        screen(event)
        metrics(event)

    settings = Settings(concurrency=in_flight, on_unfinished="new")
    async with stream(path, **account, settings=settings, observer=tell) as outcomes:

        async def show() -> None:
            while True:
                await asyncio.sleep(screen.period_s)
                screen.progress(outcomes.progress)

        shown = asyncio.create_task(show())
        await outcomes.drain()
        shown.cancel()
    return outcomes.report.added


def main(endpoint: str, path: str, in_flight: str) -> None:
    """Submit the file, and say how many tasks were added."""
    credential = SharedKey("devaccount", "YSBrZXkgZm9yIGJlbmNobWFya3M=")
    account = {"job_id": "bench", "endpoint": endpoint, "credential": credential}
    with terminal() as out:
        added = run_async(_flood, account, path, int(in_flight), Screen(out, quiet=False))
    print(added)


if __name__ == "__main__":
    main(*sys.argv[1:])
