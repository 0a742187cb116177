"""Bodies of requests: decoded once; only when that fails, a closer look finds the words that name the field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.web.request import Request, invalid_field

T = TypeVar("T")

_UNKNOWN = "Object contains unknown field `"
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a field of the vendor's API is not served, and the values of it that change nothing."""

    reason: str
    harmless: tuple[Any, ...] = ()


Refusals = Mapping[str, Refusal]


async def read(request: Request, kind: type[T], refused: Refusals) -> T:
    """The JSON body as this struct, which forbids unknown fields. Raises InvalidRequest or Unsupported that names the field."""
    return decode(await request.bytes(), kind, refused)


def decode(body: bytes, kind: type[T], refused: Refusals) -> T:
    """`body` as this struct; unknown fields that are null or harmless are dropped, others refused by name."""
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        if not str(error).startswith(_UNKNOWN):
            raise invalid_field(error) from error
        return _decode_without_extras(body, kind, refused)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error


def convert(values: Mapping[str, Any], kind: type[T], refused: Refusals) -> T:
    """A form's values (texts) as this struct. Raises InvalidRequest or Unsupported that names the field."""
    kept = {name: value for name, value in values.items() if name in _names(kind) or _is_refused(name, value, refused)}
    try:
        return msgspec.convert(kept, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from error


def raw_object(raw: msgspec.Raw, param: str) -> str | None:
    """A JSON object kept as its text; None if it was left out or null. Raises InvalidRequest for any other value."""
    text = bytes(raw)
    if text in {b"", b"null"}:
        return None
    try:
        msgspec.json.decode(text, type=dict[str, Any])
        return text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"'{param}' must be a JSON object: {error}.", param=param) from error


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


def _decode_without_extras(body: bytes, kind: type[T], refused: Refusals) -> T:
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        names = _names(kind)
        kept = {name: raw for name, raw in fields.items() if name in names or _is_refused(name, msgspec.json.decode(raw), refused)}
        return _decoder(kind).decode(msgspec.json.encode(kept))
    except msgspec.ValidationError as error:
        raise _nested(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error


def _is_refused(name: str, value: Any, refused: Refusals) -> bool:
    """Raise for an extra field that would change the answer; False for one that may be dropped."""
    if value is None:
        return False
    refusal = refused.get(name)
    if refusal is None:
        raise InvalidRequest(f"Unknown argument '{name}'. Remove it, or check its spelling.", param=name)
    if value in refusal.harmless:
        return False
    raise Unsupported(f"'{name}' is not supported: {refusal.reason}", param=name)


def _names(kind: Any) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


def _nested(error: msgspec.ValidationError) -> InvalidRequest:
    text = str(error)
    if not text.startswith(_UNKNOWN):
        return invalid_field(error)
    name, _, path = text.removeprefix(_UNKNOWN).rpartition("` - at `$")
    param = f"{path.rstrip('`').lstrip('.')}.{name}"
    return InvalidRequest(f"Unknown argument '{param}'. Remove it, or check its spelling.", param=param)
