"""Events to a log, one line each, as text or JSON."""

from typing import Any, TextIO, get_args

import orjson
import structlog

from bulksubmit.core.events import Anomaly, Event, Held, Noted, Observer, RequestEnded
from bulksubmit.core.redact import redacted


def log_to(file: TextIO, *, as_json: bool) -> Observer:
    """An observer that writes each event to a file.

    The event's name is its type in snake case (``request_ended``), its fields are the type's.
    Secrets are taken out. What the operator should look at is a warning: requests that were not
    answered well, holds, and oddities in answers.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_to_json)
        if as_json
        else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    )
    log = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[
            _redacted,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=True,
    )

    forms = {kind: _form(kind) for kind in get_args(Event)}

    def observe(event: Event, /) -> None:
        name, names = forms[type(event)]
        values = {name: _rounded(getattr(event, name)) for name in names}
        (log.warning if _is_warning(event) else log.info)(name, **values)

    return observe


def _rounded(value: object) -> object:
    """Seconds to the microsecond: what is beyond is no news, and hard to read."""
    return round(value, 6) if isinstance(value, float) else value


def _redacted(_log: object, _name: str, fields: structlog.typing.EventDict) -> dict[str, Any]:
    """The service and the libraries quote URLs in what they say, and those may be signed."""
    return {name: redacted(value) for name, value in fields.items()}


def _is_warning(event: Event) -> bool:
    match event:
        case Held() | Anomaly() | Noted():
            return True
        case RequestEnded(reply=reply):
            return reply != "answered"
        case _:
            return False


def _form(kind: type[Event]) -> tuple[str, tuple[str, ...]]:
    """An event type's name in the log, and the names of its fields."""
    name = "".join(f"_{char.lower()}" if char.isupper() else char for char in kind.__name__)
    return name.lstrip("_"), kind.__struct_fields__


def _to_json(fields: dict[str, object], **_: object) -> str:
    return orjson.dumps(fields).decode()
