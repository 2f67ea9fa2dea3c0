"""The scripts that people write: all tasks in memory, a hundred a request, nothing checked.

What was answered with an error is sent again, in a request of its own. Runs in an environment
with these libraries, so nothing of ours is imported.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_TASKS_MAX = 100
_PATH = "/jobs/bench/addtaskcollection?api-version=2024-07-01.20.0&timeout=30"
_HEADERS = {
    "Authorization": "Bearer a-token",
    "Content-Type": "application/json; odata=minimalmetadata",
}

Task = dict[str, Any]
Loads = Callable[[bytes | str], Any]


def _chunks(path: str, loads: Loads) -> list[list[Task]]:
    with Path(path).open("rb") as file:
        tasks = [loads(line) for line in file]
    return [tasks[start : start + _TASKS_MAX] for start in range(0, len(tasks), _TASKS_MAX)]


def _failed(chunk: Sequence[Task], results: Sequence[Task]) -> list[Task]:
    again = {result["taskId"] for result in results if result["status"] != "Success"}
    return [task for task in chunk if task["id"] in again] if again else []


async def _aiohttp(
    url: str, path: str, in_flight: int, loads: Loads, dumps: Callable[[Any], bytes]
) -> int:
    aiohttp = importlib.import_module("aiohttp")
    few = asyncio.Semaphore(in_flight)

    async def post(session: Any, chunk: list[Task]) -> int:
        tasks = len(chunk)
        async with few:
            while chunk:
                body = dumps({"value": chunk})
                async with session.post(url, data=body, headers=_HEADERS) as response:
                    response.raise_for_status()
                    chunk = _failed(chunk, loads(await response.read())["value"])
        return tasks

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        return sum(await asyncio.gather(*(post(session, chunk) for chunk in _chunks(path, loads))))


async def _httpx(url: str, path: str, in_flight: int) -> int:
    httpx = importlib.import_module("httpx")
    few = asyncio.Semaphore(in_flight)

    async def post(client: Any, chunk: list[Task]) -> int:
        tasks = len(chunk)
        async with few:
            while chunk:
                response = await client.post(url, json={"value": chunk}, headers=_HEADERS)
                response.raise_for_status()
                chunk = _failed(chunk, response.json()["value"])
        return tasks

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        chunks = _chunks(path, json.loads)
        return sum(await asyncio.gather(*(post(client, chunk) for chunk in chunks)))


def _requests(url: str, path: str, in_flight: int) -> int:
    requests = importlib.import_module("requests")
    adapters = importlib.import_module("requests.adapters")
    session = requests.Session()
    adapter = adapters.HTTPAdapter(pool_maxsize=in_flight)
    session.mount(url.partition("/")[0] + "//", adapter)

    def post(chunk: list[Task]) -> int:
        tasks = len(chunk)
        while chunk:
            response = session.post(url, json={"value": chunk}, headers=_HEADERS, timeout=60)
            response.raise_for_status()
            chunk = _failed(chunk, response.json()["value"])
        return tasks

    with ThreadPoolExecutor(in_flight) as threads:
        return sum(threads.map(post, _chunks(path, json.loads)))


def main(flavour: str, endpoint: str, path: str, asked: str) -> None:
    """Flood, and say how many tasks were added."""
    url, in_flight = endpoint + _PATH, int(asked)
    match flavour:
        case "aiohttp":
            plain = _aiohttp(url, path, in_flight, json.loads, lambda x: json.dumps(x).encode())
            added = asyncio.run(plain)
        case "aiohttp-quick":
            orjson = importlib.import_module("orjson")
            quick = _aiohttp(url, path, in_flight, orjson.loads, orjson.dumps)
            added = importlib.import_module("uvloop").run(quick)
        case "httpx":
            added = asyncio.run(_httpx(url, path, in_flight))
        case _:
            added = _requests(url, path, in_flight)
    print(added)


if __name__ == "__main__":
    main(*sys.argv[1:])
