"""The service's REST API by the standard library alone: to make a job, and to list its tasks."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from email.utils import formatdate
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.kills.service import KEY, NAME

_API_VERSION = "2024-07-01.20.0"
_CONTENT_TYPE = "application/json; odata=minimalmetadata"


def create_job(endpoint: str, job_id: str, planted: list[dict[str, Any]]) -> None:
    """Make a job that has these tasks already, each added by a call of its own."""
    job = {"id": job_id, "poolInfo": {"poolId": "pool"}}
    _call("POST", f"{endpoint}/jobs?api-version={_API_VERSION}", json.dumps(job).encode())
    url = f"{endpoint}/jobs/{job_id}/tasks?api-version={_API_VERSION}"
    for task in planted:
        _call("POST", url, json.dumps(task).encode())


def list_tasks(endpoint: str, job_id: str) -> Iterator[dict[str, Any]]:
    """Every task of a job, with all that the service shows of it."""
    url = f"{endpoint}/jobs/{job_id}/tasks?api-version={_API_VERSION}"
    while url:
        page = json.loads(_call("GET", url))
        yield from page["value"]
        url = page.get("odata.nextLink", "")


def _call(method: str, url: str, body: bytes | None = None) -> bytes:
    parts = urlsplit(url)
    headers = {"Date": formatdate(usegmt=True)}
    if body is not None:
        headers |= {"Content-Type": _CONTENT_TYPE, "Content-Length": str(len(body))}
    headers["Authorization"] = f"SharedKey {NAME}:{_signature(method, url, headers)}"
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port)
    connection.request(method, f"{parts.path}?{parts.query}", body, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status in (200, 201), (response.status, answer)
    return answer


def _signature(method: str, url: str, headers: dict[str, str]) -> str:
    """As the reference page "Authenticate requests to Azure Batch" has it."""
    parts = urlsplit(url)
    signed = ["", "", headers.get("Content-Length", ""), "", headers.get("Content-Type", "")]
    signed += [headers["Date"], "", "", "", "", ""]
    query = [f"{name.lower()}:{value}" for name, value in sorted(parse_qsl(parts.query))]
    text = "\n".join([method, *signed, f"/{NAME}{parts.path}", *query])
    digest = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()
