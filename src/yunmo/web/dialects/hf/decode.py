"""From the bytes of a body to its fields: JSON that is refused by the field's name, raw media, and base64."""

import binascii
from typing import TypeVar

import msgspec

from yunmo.core.errors import InvalidRequest, TooLarge, Unsupported
from yunmo.web.request import JSON_LIMIT_BYTES, invalid_field

T = TypeVar("T")

_UNKNOWN = "Object contains unknown field `"


def read_json(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body as the decoder's type. Raises InvalidRequest that names the field, Unsupported for one that we do not know."""
    if len(body) > JSON_LIMIT_BYTES:  # recordings may be larger, but decoding them from JSON would hold everybody up
        raise TooLarge(f"As JSON a file may take {JSON_LIMIT_BYTES >> 20} MiB. Send it as the body itself, without JSON and base64.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refusal(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error}. This task takes a JSON object with 'inputs' and 'parameters'."
        ) from error


def is_json(body: bytes) -> bool:
    """Whether a body that may be raw media is a JSON object; no picture or recording starts with a brace."""
    return body[:64].lstrip()[:1] == b"{"


def media(text: str) -> bytes:
    """The bytes of base64 text, with or without a `data:` prefix."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("'inputs' must be the file in base64, or send the file itself as the body.", param="inputs") from error
    if not data:
        raise InvalidRequest("'inputs' is empty: send the file in base64, or the file itself as the body.", param="inputs")
    return data


def refuse(parameters: msgspec.Struct, names: tuple[str, ...]) -> None:
    """Raise Unsupported for the first of these parameters that is set: it would change the answer and no engine has it."""
    for name in names:
        if getattr(parameters, name) is not None:
            raise Unsupported(f"The parameter '{name}' is not supported. Leave it out.", param=name)


def _refusal(error: msgspec.ValidationError) -> InvalidRequest:
    text = str(error)
    if not text.startswith(_UNKNOWN):
        return invalid_field(error)
    name, _, rest = text.removeprefix(_UNKNOWN).rpartition("`") if "` - at `$" not in text else _name_and_place(text)
    place = f" in '{rest}'" if rest else ""
    return Unsupported(
        f"The field '{name}'{place} is not known for this task. Leave it out, or see /docs for the fields that are.", param=name
    )


def _name_and_place(text: str) -> tuple[str, str, str]:
    name, _, path = text.removeprefix(_UNKNOWN).rpartition("` - at `$")
    return name, "", path.rstrip("`").lstrip(".")
