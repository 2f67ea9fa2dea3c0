"""The library: ``submit_sync()``, all by default but for the requests in flight."""

import sys
from typing import Any

from bulksubmit import Settings, SharedKey, submit_sync


def main(endpoint: str, path: str, in_flight: str, *options: str) -> None:
    """Submit the file, and say how many tasks are in.

    Args:
        endpoint: The account's.
        path: Of the tasks.
        in_flight: Requests at a time, or ``auto``.
        options: More settings, as ``name=value``; the value is false, true, or text.
    """
    words: dict[str, Any] = {"false": False, "true": True}
    more: dict[str, Any] = {
        name: words.get(value, int(value) if value.isdigit() else value)
        for name, _, value in (o.partition("=") for o in options)
    }
    concurrency = in_flight if in_flight == "auto" else int(in_flight)
    settings = Settings(**{"concurrency": concurrency, "on_unfinished": "new"} | more)
    credential = SharedKey("devaccount", "YSBrZXkgZm9yIGJlbmNobWFya3M=")
    report = submit_sync(
        path, job_id="bench", endpoint=endpoint, credential=credential, settings=settings
    )
    print(report.added + report.existed)


if __name__ == "__main__":
    main(*sys.argv[1:])
