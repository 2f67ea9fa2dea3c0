"""Numbers and booleans that come as texts, such as ``"maxTaskRetryCount": "5"``.

The service reads requests by the library Microsoft.Data.OData: its maintainers quote a log line
that names it (Azure/azure-batch-cli-extensions issue 119). That library turns a text into whatever
the property holds (OData/odata.net, ODataJsonLightReaderUtils, ConvertStringValue), by the rules of
.NET's ``Int32.Parse`` and ``Boolean.Parse``. ``az batch`` counts on it: it sends the numbers of its
flags as texts. That the service takes them is inferred from the two.
"""

import re
from typing import Any

import orjson

from bulksubmit.core.taskfields import fields_of
from bulksubmit.core.taskspec import TaskAddParameter
from bulksubmit.core.taskterms import Definition, FieldKind

_WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,10}\s*")
_BOOLEANS = {"true": True, "false": False}


def plain(text: str, kind: FieldKind) -> int | str:
    """The number or boolean in a text, if a field of that kind takes one; otherwise the text."""
    if kind is FieldKind.INT and _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    if kind is FieldKind.BOOL:
        return _BOOLEANS.get(text.strip().lower(), text)
    return text


def plain_task(body: bytes) -> bytes:
    """A task's JSON, with numbers and booleans in the place of texts that hold them.

    Without any such texts it is given back as it came.
    """
    try:
        task = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return orjson.dumps(task) if _make_plain(task, TaskAddParameter) else body


def _make_plain(value: Any, definition: type[Definition]) -> bool:
    """Convert an object's texts in place; say whether there were any."""
    if not isinstance(value, dict):
        return False
    changed = False
    for name, field in fields_of(definition).items():
        inner = value.get(name)
        if isinstance(inner, str):
            value[name] = plain(inner, field.kind)
            changed |= value[name] is not inner
        elif field.definition is not None:
            for each in inner if isinstance(inner, list) else [inner]:
                changed |= _make_plain(each, field.definition)
    return changed
