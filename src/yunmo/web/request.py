"""A request as handlers see it: who asks, the path's parameters, and a body that cannot grow past its limit."""

import builtins
import re
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest

from yunmo.core.errors import InvalidRequest, TooLarge, YunmoError
from yunmo.core.identity import ANONYMOUS, Principal

T = TypeVar("T")

JSON_LIMIT_BYTES = 20 * 1024 * 1024
UPLOAD_LIMIT_BYTES = 200 * 1024 * 1024
_FORM_FIELDS = 1000
_NAMED_FIELD = re.compile(r"(?:missing required|contains unknown) field `(.+)`")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class ClientGone(YunmoError):
    """The client closed the connection before it had sent or read everything; nobody reads the reply."""

    code = "client_gone"


class Request(StarletteRequest):
    """One HTTP request. `params` are the path's parameters, unquoted exactly once; `id` is its X-Request-Id.

    `public_url` is the setting `http.public_url`: the base of the addresses that replies name. `model` is the name that an
    inference is asked of, for the access log. One that `can_wait` is a batch's: it gives way to people who wait.
    """

    params: dict[str, str]
    principal: Principal = ANONYMOUS
    id: str = ""
    model: str = ""
    can_wait: bool = False
    public_url: str | None = None

    async def bytes(self, limit: int = JSON_LIMIT_BYTES) -> bytes:
        """The whole body. Raises TooLarge past `limit` bytes without reading on."""
        declared = self.headers.get("content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        while not self._stream_consumed:  # not through `pieces`: two nested generators cost the fast lane a fifth of its time
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("The client left during its upload.")
            self._stream_consumed = not message.get("more_body", False)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def struct(self, kind: type[T], limit: int = JSON_LIMIT_BYTES) -> T:
        """The body as JSON of this type. Raises InvalidRequest that names the field."""
        body = await self.bytes(limit)
        decoder = _decoders.get(kind)
        if decoder is None:
            decoder = _decoders[kind] = msgspec.json.Decoder(kind)
        try:
            return decoder.decode(body)  # type: ignore[no-any-return]
        except msgspec.ValidationError as error:
            raise invalid_field(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"The body is not valid JSON: {error}.") from error

    async def fields(self, limit: int = UPLOAD_LIMIT_BYTES) -> FormData:
        """The body as a form (multipart or url-encoded); files are spooled to disk past 1 MiB."""
        declared = self.headers.get("content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        self._cap(limit)
        try:
            return await self._get_form(max_files=_FORM_FIELDS, max_fields=_FORM_FIELDS, max_part_size=JSON_LIMIT_BYTES)
        except YunmoError:
            raise
        except ClientDisconnect as error:
            raise ClientGone("The client left during its upload.") from error
        except Exception as error:  # boundary: python-multipart and Starlette raise many kinds for a bad form
            raise InvalidRequest(f"The form cannot be read: {str(getattr(error, 'detail', error)).rstrip('.')}.") from error

    async def pieces(self) -> AsyncIterator[builtins.bytes]:
        """The body as it comes. Raises ClientGone when the client leaves before its end."""
        try:
            async for part in self.stream():
                if part:
                    yield part
        except ClientDisconnect as error:
            raise ClientGone("The client left during its upload.") from error

    def _cap(self, limit: int) -> None:
        receive = self._receive
        size = 0

        async def capped() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            return message

        self._receive = capped


def invalid_field(error: msgspec.ValidationError) -> InvalidRequest:
    """The field's name and what is wrong, from msgspec's "… - at `$.messages[0].role`"."""
    text, _, path = str(error).partition(" - at `$")
    param = path.rstrip("`").lstrip(".") or None
    where = f" (field '{param}')" if param else ""
    named = _NAMED_FIELD.search(text)
    if named is not None:
        param = f"{param}.{named[1]}" if param else named[1]
    return InvalidRequest(f"{text}{where}.", param=param)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit // (1024 * 1024)} MiB, which is the limit for this route.")
