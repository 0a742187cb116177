"""The web application: finds the route, asks who calls, runs the handler, and says every error in the caller's dialect.

Raw ASGI: nothing here reads the database or builds objects that the handler does not need.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import structlog
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import Forbidden, InternalError, NotFound, Overloaded, RateLimited, Unauthenticated, Unavailable, YunmoError
from yunmo.core.identity import ANONYMOUS, Principal
from yunmo.web.access_log import AccessLog
from yunmo.web.connection import CONNECTION, Connection
from yunmo.web.metrics import Metrics
from yunmo.web.request import ClientGone, Request
from yunmo.web.routing import Dialect, Match, Route, Router

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_REFUSALS = (RateLimited, Overloaded, Unavailable)
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_SAFE_ID = re.compile(r"[A-Za-z0-9._:=;-]{1,128}")
_log = structlog.get_logger()


class App:
    """The ASGI application over all dialects."""

    def __init__(
        self,
        cloud: Cloud,
        dialects: Sequence[Dialect],
        metrics: Metrics,
        public_url: str | None = None,
        log: AccessLog | None = None,
    ) -> None:
        self._cloud = cloud
        self._metrics = metrics
        self._public_url = public_url.rstrip("/") if public_url else None
        self._access_log = log
        self.router = Router(dialects)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            await self._refuse(scope, receive, send)
            return
        started = time.perf_counter()
        body = _Body(receive)
        request = Request(scope, body.receive)
        request.public_url = self._public_url
        raw_path = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.decode("latin-1").partition("?")[0]
        match = self.router.find(scope["method"], path)
        reply: Response | None
        if match is None:
            dialect, route = self.router.nearest(path), _NO_ROUTE
            request.id = _request_id(scope)
            reply = dialect.error(NotFound(f"There is no {scope['method']} {path} here. The routes are listed at /docs."), request)
        else:
            dialect, route = match.dialect, match.route
            reply = await self._handle(match, request, body)
        status = 499 if reply is None else reply.status_code
        self._metrics.count(dialect.name, route.path, status, time.perf_counter() - started)
        try:
            if reply is not None:
                reply.headers["x-request-id"] = request.id
                await reply(scope, body.receive, send)
        finally:
            if self._access_log is not None:
                took = time.perf_counter() - started
                asker = (request.principal.project, request.model)
                self._access_log.note((scope["method"], route.path), status, took, request.id, asker)

    async def _handle(self, match: Match, request: Request, body: "_Body") -> Response | None:
        """The handler's reply or its error's; None when the client has gone."""
        route = match.route
        request.params = match.params
        watch = _Watch(request.scope, body)
        try:
            await self._identify(request, route)
            if route.method not in _SAFE_METHODS and not route.serves_sites:
                _refuse_other_sites(request.scope)
            if route.scope is not None:
                request.principal.require(route.scope)
            return await route.handler(request)
        except ClientGone:
            return None
        except YunmoError as error:
            if isinstance(error, _REFUSALS):
                self._metrics.refuse(error.code)
            return match.dialect.error(error, request)
        except asyncio.CancelledError:
            if watch.has_fired:
                return None
            raise
        except Exception as error:  # boundary: web handler
            _log.exception("request_failed", request_id=request.id, route=route.path, error=type(error).__name__)
            return match.dialect.error(
                InternalError(f"Something went wrong on our side. The log has it under request id {request.id}."), request
            )
        finally:
            watch.stop()

    async def _identify(self, request: Request, route: Route) -> None:
        token = None
        request.id = ""
        for name, value in request.scope["headers"]:
            if name == b"authorization":
                token = value
            elif name in {b"x-request-id", b"x-amzn-trace-id"} and not request.id:
                request.id = _clean_id(value)
        if not request.id:
            request.id = _new_id()
        request.principal = ANONYMOUS
        if route.read_key is not None:
            key = await route.read_key(request)
            if key is not None:
                request.principal = await self._cloud.tenancy.keys.identify(key)
        elif token is not None and route.checks_key:
            request.principal = await self._principal(token)

    async def _principal(self, header: bytes) -> Principal:
        kind, _, token = header.decode("latin-1").strip().partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise Unauthenticated("Invalid credentials in Authorization header")
        return await self._cloud.tenancy.keys.identify(token.strip())

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        await send({"type": "websocket.close", "code": 1000})


async def _nothing(_request: Request) -> Response:
    return Response(status_code=404)


_NO_ROUTE = Route("GET", "(none)", _nothing)


class _Body:
    """Knows whether the request's body has been read to its end: only then may somebody else wait for the disconnect."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_complete = False

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if not message.get("more_body", False):
            self.is_complete = True
        return message


class _Watch:
    """Cancels the handler's task when its client goes away. A client that leaves before its body's end is the reader's to notice."""

    def __init__(self, scope: Scope, body: _Body) -> None:
        self._body = body
        self._task = asyncio.current_task()
        self._connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
        self.has_fired = False
        if self._connection is not None:
            self._connection.on_gone = self._fire

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.on_gone = None

    def _fire(self) -> None:
        if self._body.is_complete and self._task is not None:
            self.has_fired = True
            self._task.cancel()


def _refuse_other_sites(scope: Scope) -> None:
    """Raise Forbidden for a request that a web page of another site made a browser send.

    Only browsers send these headers, and pages cannot change them; other clients send none and pass.
    """
    origin, is_cross_site = b"", False
    hosts: set[bytes] = set()
    for name, value in scope["headers"]:
        if name == b"origin":
            origin = value.lower()
        elif name in {b"host", b"x-forwarded-host"}:
            hosts.update(part.strip().lower() for part in value.split(b","))
        elif name == b"sec-fetch-site":
            is_cross_site = value.strip().lower() == b"cross-site"
    if is_cross_site or (origin and origin.partition(b"://")[2] not in hosts):
        raise Forbidden(
            "Web pages of other sites may not change or run anything here. Send the request from a program, or from a page of this server."
        )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name in {b"x-request-id", b"x-amzn-trace-id"}:
            return _clean_id(value) or _new_id()
    return _new_id()


def _new_id() -> str:
    return f"{random.getrandbits(96):024x}"


def _clean_id(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if _SAFE_ID.fullmatch(text) else ""
