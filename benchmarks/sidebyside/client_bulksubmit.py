"""The library: ``submit_sync()``, all by default but for the requests in flight."""

import sys
from typing import Any

from bulksubmit import Settings, SharedKey, submit_sync


def main(endpoint: str, path: str, in_flight: str, *options: str) -> None:
    """Submit the file, and say how many tasks were added.

    Args:
        endpoint: The account's.
        path: Of the tasks.
        in_flight: Requests at a time, or ``auto``.
        options: More settings, as ``name=value``; the value is false, true, or text.
    """
    words: dict[str, Any] = {"false": False, "true": True}
    more = {name: words.get(value, value) for name, _, value in (o.partition("=") for o in options)}
    settings = Settings(
        concurrency="auto" if in_flight == "auto" else int(in_flight), on_unfinished="new", **more
    )
    credential = SharedKey("devaccount", "YSBrZXkgZm9yIGJlbmNobWFya3M=")
    report = submit_sync(
        path, job_id="bench", endpoint=endpoint, credential=credential, settings=settings
    )
    print(report.added)


if __name__ == "__main__":
    main(*sys.argv[1:])
