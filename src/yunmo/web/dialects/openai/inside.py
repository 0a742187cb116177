"""Requests that this server makes of itself: the same routes and errors as for those that come from outside."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from yunmo.core.errors import InternalError, YunmoError
from yunmo.core.identity import Principal
from yunmo.web.dialects.openai.batch_work import Answer
from yunmo.web.dialects.openai.errors import error_reply
from yunmo.web.request import Request
from yunmo.web.routing import Handler, Route


class Inside:
    """Asks the routes of a dialect without HTTP."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._handlers: dict[str, Handler] = {route.path: route.handler for route in routes if route.method == "POST"}

    async def ask(self, principal: Principal, path: str, body: bytes, request_id: str) -> Answer:
        """The answer to a POST that can wait; an error is an answer, too."""
        request = _request(principal, path, body, request_id)
        try:
            response = await self._handlers[path](request)
        except YunmoError as error:
            response = error_reply(error, request)
        if not isinstance(response.body, bytes):
            raise InternalError(f"{path} answered with a stream.")
        retry = response.headers.get("retry-after-ms")
        return Answer(response.status_code, response.body, None if retry is None else int(retry) / 1000)


def _request(principal: Principal, path: str, body: bytes, request_id: str) -> Request:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    request = Request({"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}, receive)
    request.params = {}
    request.principal = principal
    request.id = request_id
    request.can_wait = True
    return request
