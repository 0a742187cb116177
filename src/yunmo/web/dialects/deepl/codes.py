"""Languages as DeepL spells them: in capitals, a source without its variant (`ZH`), a target with it (`ZH-HANS`, `EN-GB`)."""

from collections.abc import Iterable
from dataclasses import dataclass

from yunmo.apps.translate.languages import Language, parse
from yunmo.apps.translate.routes import Pair
from yunmo.core.errors import InvalidRequest

_TARGETS = {"en": ("en", "en-GB", "en-US"), "pt": ("pt", "pt-BR", "pt-PT"), "zh": ("zh", "zh-Hans")}
"""Targets for which the client asks where a model names a language alone; it refuses to ask for plain EN and PT."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The languages that a caller can have translated: bases of sources, and targets with their variants, sorted by code."""

    sources: tuple[Language, ...]
    targets: tuple[Language, ...]


def read_code(code: str, field: str) -> Language:
    """The language of a code in any spelling. Raises InvalidRequest in DeepL's words."""
    try:
        return parse(code)
    except InvalidRequest as error:
        raise InvalidRequest(f"Value for '{field}' not supported. {error.message}", param=field) from error


def read_base(code: str, field: str) -> str:
    """The base of a language, as glossaries have it."""
    return read_code(code, field).base


def source_code(code: str) -> str:
    """How a source is told: `ZH` for Chinese of any kind."""
    return parse(code).base.upper()


def offered(pairs: Iterable[Pair]) -> Offered:
    """What pairs come to."""
    sources: set[str] = set()
    targets: set[str] = set()
    for pair in pairs:
        sources.add(parse(pair.source).base)
        target = parse(pair.target)
        targets.update(_TARGETS.get(target.code, (target.code,)))
    return Offered(tuple(parse(code) for code in sorted(sources)), tuple(parse(code) for code in sorted(targets)))
