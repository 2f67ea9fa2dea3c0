"""From an Attempt to a Reply, by way of HTTP.

What is asked, who signs it and what is made of the answer stands here; how the bytes go there and
back is plugged in (``Http``).
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar
from urllib.parse import parse_qsl, quote

import msgspec
from msgspec.structs import replace
from multidict import istr
from yarl import URL

from bulksubmit.core.events import Observer, RequestEnded
from bulksubmit.core.limits import API_VERSION
from bulksubmit.core.model import Attempt, Lost, Refused, Reply, Throttled
from bulksubmit.core.wire import (
    Job,
    ListedTask,
    TaskPage,
    TaskRange,
    TaskSpan,
    encode_collection,
    encode_job_patch,
)
from bulksubmit.errors import Refusal, ServiceRefused
from bulksubmit.service.endpoint import parse_endpoint
from bulksubmit.service.operations import Operation, extended, operation, url_of
from bulksubmit.service.replies import (
    Answer,
    Unavailable,
    created_in,
    deleted_in,
    done_in,
    job_in,
    one_line,
    reply_to,
    task_in,
    task_page_in,
)
from bulksubmit.service.session import Session

GET_TIMEOUT_MAX_S = 30  # REST reference: the most that ``timeout`` may be, but for adding.

# Those that differ from one request to the next; aiohttp need not fold these again and again.
_CLIENT_REQUEST_ID, _OCP_DATE = istr("client-request-id"), istr("ocp-date")
_CONTENT_LENGTH, _AUTHORIZATION = istr("content-length"), istr("authorization")

_T = TypeVar("_T")


class Credential(Protocol):
    """Proves who we are, anew for each request."""

    async def authorization(
        self,
        method: str,
        path: str,
        query: tuple[tuple[str, str], ...],
        headers: Mapping[str, str],
        /,
    ) -> str | Unavailable:
        """The value of the Authorization header, or why there is none for now.

        Args:
            method: In upper case.
            path: As encoded in the URL.
            query: Names and values, decoded.
            headers: As sent, names in lower case, Content-Length among them.

        Raises:
            ServiceRefused: if there will be none.
        """

    def renew(self, refused: str, /) -> bool:
        """Take note that the service refused this value.

        Returns:
            True if the next authorization() may do better; False if it is no use asking.
        """


class Http(Protocol):
    """HTTP to one origin, as an async context manager: as many connections as requests at once."""

    async def __aenter__(self) -> Self:
        """Be ready to exchange."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close every connection."""

    async def exchange(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes, /, *, timeout_s: float
    ) -> Answer | Unavailable:
        """One HTTP request and the whole of its answer; no redirect is followed.

        Args:
            method: In upper case.
            url: At this origin, as it goes on the wire.
            headers: As they go on the wire, but Host; names in lower case, Content-Length among
                them if there is a body.
            body: Empty for none.
            timeout_s: For all of it; a connection is given up after CONNECT_TIMEOUT_S.

        Returns:
            The answer; Unavailable for all that the network or the peer does instead.
        """


class _Request(msgspec.Struct, frozen=True, gc=False):
    operation: Operation
    client_request_id: str
    body: bytes = b""
    attempt: int = 0
    tasks: int = 0
    resent: int = 0
    renewed: bool = False  # Sent before, with a token that was refused.


class Transport:
    """A connection pool to one job, as an async context manager."""

    def __init__(
        self,
        endpoint: str,
        job_id: str,
        credential: Credential,
        *,
        server_timeout_s: int,
        observer: Observer,
        api_version: str = API_VERSION,
    ) -> None:
        """Prepare for one job.

        Args:
            endpoint: The account's, as parse_endpoint() takes it.
            job_id: The job's ID.
            credential: Asked before each request; to be closed by its owner.
            server_timeout_s: The longest that the service may work on one collection: the
                reference's ``timeout``, 120 at most.
            observer: Told of each request as it ends.
            api_version: The service's.

        Raises:
            SettingsError: if the endpoint is not usable, or the proxy for it, with this client.
        """
        origin = parse_endpoint(endpoint)
        job_path = f"/jobs/{quote(job_id, safe='')}"
        of_job = partial(operation, origin=origin, api_version=api_version)
        add_path, look_s = f"{job_path}/addtaskcollection", min(server_timeout_s, GET_TIMEOUT_MAX_S)
        self._add = of_job("add_task_collection", "POST", path=add_path, timeout_s=server_timeout_s)
        self._get = of_job("get_job", "GET", path=job_path, timeout_s=look_s)
        self._list = of_job("list_tasks", "GET", path=f"{job_path}/tasks", timeout_s=look_s)
        self._http: Http = Session(origin)
        self._credential = credential
        self._observer = observer
        self._clock: Callable[[], float] = time.monotonic
        self._date = _Date()

    async def __aenter__(self) -> Self:
        self._clock = asyncio.get_running_loop().time
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(exc_type, exc_value, traceback)

    async def add(self, attempt: Attempt) -> Reply:
        """Post one collection.

        Returns:
            What became of it; whatever the network does is a Lost.

        Raises:
            ServiceRefused: if the service will take no task at all.
        """
        body = encode_collection(attempt.tasks)
        request = _Request(
            self._add,
            attempt.client_request_id,
            body,
            attempt.number,
            len(attempt.tasks),
            attempt.resent,
        )
        reply = await self._ask(request, reply_to)
        if isinstance(reply, Unavailable):
            return Lost(reply.reason, sent=reply.sent, by_load=reply.timed_out)
        return reply

    async def get_job(self) -> Job | Unavailable:
        """Get the job.

        Raises:
            ServiceRefused: if it does not exist, or we may not ask.
        """
        return await self._ask(_Request(self._get, str(uuid.uuid4())), job_in)

    async def patch_job(self, on_all_tasks_complete: str) -> Unavailable | None:
        """Set the job's onAllTasksComplete.

        Returns:
            None when it is set.

        Raises:
            ServiceRefused: if it does not exist or takes no change, or we may not ask.
        """
        patch = replace(self._get, name="patch_job", method="PATCH", headers=self._add.headers)
        body = encode_job_patch(on_all_tasks_complete)
        return await self._ask(_Request(patch, str(uuid.uuid4()), body), done_in)

    async def create_job(self, job: bytes) -> bool | Unavailable:
        """Create the job, which is not there yet.

        Args:
            job: As encode_new_job() makes it, of the transport's own ID.

        Returns:
            True when it is created; False if there is one of its ID.

        Raises:
            ServiceRefused: if the service does not create it, or we may not ask.
        """
        query, origin = self._get.query, str(self._get.url.origin())
        place = self._get.at("/jobs", query, url_of(origin, "/jobs", query))
        create = replace(place, name="create_job", method="POST", headers=self._add.headers)
        return await self._ask(_Request(create, str(uuid.uuid4()), job), created_in)

    async def delete_job(self) -> Unavailable | None:
        """Delete the job and all its tasks.

        Returns:
            None when the service has begun to, or if there is no such job.

        Raises:
            ServiceRefused: if it does not, or we may not ask.
        """
        # Signed, and so to be said, also where there is no body.
        headers = self._get.headers | {"content-length": "0"}
        delete = replace(self._get, name="delete_job", method="DELETE", headers=headers)
        return await self._ask(_Request(delete, str(uuid.uuid4())), deleted_in)

    async def list_tasks(
        self, link: str | None = None, *, within: TaskRange | TaskSpan | None = None
    ) -> TaskPage | Unavailable:
        """Get a page of the job's tasks.

        Args:
            link: The page that another page's link names; None for the first page.
            within: For the first page: what the list is restricted to; None for the IDs of all
                tasks.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
        """
        page = self._list
        if link is None:
            page = extended(page, within.query if within else (("$select", "id"),))
        else:
            try:
                url = URL(link, encoded=True)
                here = url.origin() == page.url.origin()
            except ValueError:
                here = False
            if not here:
                # Never sign a request to a host that an answer names.
                reason = one_line(f"the list goes on at another host: {link.partition('?')[0]}")
                return Unavailable(reason, sent=False)
            query = tuple(parse_qsl(url.raw_query_string, keep_blank_values=True))
            page = page.at(url.raw_path, query, url)
        return await self._ask(_Request(page, str(uuid.uuid4())), task_page_in)

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        """Get one task; None if there is none of this ID.

        Raises:
            ServiceRefused: if the job does not exist, or we may not ask.
        """
        one = extended(self._list, (), name="get_task", below=f"/{quote(task_id, safe='')}")
        return await self._ask(_Request(one, str(uuid.uuid4())), task_in)

    async def _ask(self, request: _Request, read: Callable[[Answer], _T]) -> _T | Unavailable:
        """Send a request, read its answer, tell the observer; again if there is a newer token."""
        started_s = self._clock()
        answer: Answer | Unavailable | None = None
        ended: tuple[str, str | None] = "lost", "cancelled"
        headers: dict[str, str] = {}
        try:
            headers = self._headers(request)
            answer = await self._exchange(request, headers)
            reply = read(answer) if isinstance(answer, Answer) else answer
            ended = _in_words(reply)
        except ServiceRefused as refused:
            renewed = (
                refused.refusal is Refusal.AUTHENTICATION
                and not request.renewed
                and "authorization" in headers
                and self._credential.renew(headers["authorization"])
            )
            ended = ("refused" if renewed else "ended"), str(refused)
            if not renewed:
                raise
        else:
            return reply
        finally:
            answered = answer if isinstance(answer, Answer) else None
            self._observer(
                RequestEnded(
                    operation=request.operation.name,
                    method=request.operation.method,
                    url=request.operation.shown_url,
                    attempt=request.attempt,
                    client_request_id=request.client_request_id,
                    request_id=answered.request_id if answered else None,
                    status=answered.status if answered else None,
                    reply=ended[0],
                    reason=ended[1],
                    tasks=request.tasks,
                    resent=request.resent,
                    bytes_sent=len(request.body),
                    latency_s=self._clock() - started_s,
                )
            )
        return await self._ask(replace(request, renewed=True), read)

    async def _exchange(self, request: _Request, headers: dict[str, str]) -> Answer | Unavailable:
        """One HTTP request and the whole of its answer; ``headers`` are signed on the way.

        Raises:
            ServiceRefused: if there is no credential to send it with.
        """
        operation = request.operation
        authorization = await self._credential.authorization(
            operation.method, operation.path, operation.query, headers
        )
        if isinstance(authorization, Unavailable):
            return authorization
        headers[_AUTHORIZATION] = authorization
        return await self._http.exchange(
            operation.method, operation.url, headers, request.body, timeout_s=operation.timeout_s
        )

    def _headers(self, request: _Request) -> dict[str, str]:
        """All headers but Authorization, names in lower case."""
        headers = request.operation.headers.copy()
        headers[_CLIENT_REQUEST_ID] = request.client_request_id
        headers[_OCP_DATE] = self._date.now()
        if request.body:
            headers[_CONTENT_LENGTH] = str(len(request.body))
        return headers


class _Date:
    """The time of day as headers have it, made once a second."""

    def __init__(self) -> None:
        self._second, self._text = 0, ""

    def now(self) -> str:
        """Now."""
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


def _in_words(reply: object) -> tuple[str, str | None]:
    """A reply's name and reason, as RequestEnded has them."""
    match reply:
        case Throttled(reason=reason):
            return "throttled", reason
        case Refused(code=code, message=message):
            return "refused", f"{code}: {message}"
        case Lost(reason=reason) | Unavailable(reason=reason):
            return "lost", reason
        case _:
            return "answered", None
