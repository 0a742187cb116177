"""What LibreTranslate's clients send and are answered, field by field. Fields that nobody knows are passed over."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

BODY_LIMIT_BYTES = 1024 * 1024
CHARACTERS_LIMIT = 100_000
TEXTS_LIMIT = 1000
ALTERNATIVES_LIMIT = 100


class TranslateBody(msgspec.Struct, kw_only=True):
    """The parameters of POST /translate. `model`, which LibreTranslate does not have, names the deployment that is to translate."""

    q: str | list[str]
    source: str
    target: str
    format: Literal["text", "html"] = "text"
    alternatives: Annotated[int, Meta(ge=0, le=ALTERNATIVES_LIMIT)] = 0
    api_key: str | None = None
    model: str | None = None


class Detected(msgspec.Struct, frozen=True):
    """A language that a text may be in, and how likely (0 to 100) it is."""

    confidence: float
    language: str


class TranslateReply(msgspec.Struct, kw_only=True, rename="camel"):
    """The reply of POST /translate: lists for a list. Languages are told where they had to be found, alternatives where they were asked for."""

    translated_text: str | list[str]
    detected_language: Detected | list[Detected] | UnsetType = UNSET
    alternatives: list[Any] | UnsetType = UNSET


class DetectBody(msgspec.Struct):
    """The parameters of POST /detect."""

    q: str
    api_key: str | None = None


class LanguageReply(msgspec.Struct):
    """A language to translate from, and those that it is translated into."""

    code: str
    name: str
    targets: list[str]


class Choice(msgspec.Struct):
    """A language with its name."""

    code: str
    name: str


class Choices(msgspec.Struct):
    """What a page offers first."""

    source: Choice
    target: Choice


class SettingsReply(msgspec.Struct, rename="camel"):
    """What a page has to know of this server; times are in milliseconds."""

    char_limit: int
    frontend_timeout: int
    api_keys: bool
    key_required: bool
    suggestions: bool
    files_translation: bool
    supported_files_format: list[str]
    language: Choices
