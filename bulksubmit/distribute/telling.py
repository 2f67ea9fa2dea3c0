"""Events that travel: what a worker's observer was told, for the coordinator's."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from bulksubmit.core.events import Anomaly, Event, Held, LimitChanged, Noted, RequestEnded, Resumed

_EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Anomaly, Held, LimitChanged, Noted, RequestEnded, Resumed)
}


def told(events: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Event]:
    """Names and fields, as events again."""
    for name, fields in events:
        yield msgspec.convert(fields, _EVENTS[name])
