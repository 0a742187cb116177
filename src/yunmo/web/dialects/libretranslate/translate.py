"""POST /translate and /detect."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from msgspec import UNSET
from starlette.responses import Response

from yunmo.apps.translate.identification import identify
from yunmo.apps.translate.languages import parse
from yunmo.apps.translate.orders import Options, Order, Translated
from yunmo.apps.translate.origins import UNKNOWN
from yunmo.apps.translate.tagged import Tagged, TagRules, read_plain, read_tagged
from yunmo.apps.translate.translator import Translator
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.identity import Principal
from yunmo.web.dialects.libretranslate.wire import (
    BODY_LIMIT_BYTES,
    CHARACTERS_LIMIT,
    TEXTS_LIMIT,
    DetectBody,
    Detected,
    TranslateBody,
    TranslateReply,
)
from yunmo.web.parameters import T, converted, read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request

AUTO = "auto"
_NOTHING = Detected(0, "en")
_HTML = TagRules("html")


class Translations:
    """Translates texts as LibreTranslate's clients ask for it."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    async def translate(self, request: Request) -> Response:
        """A text or a list of texts."""
        body = await _read(request, TranslateBody, ("q", "source", "target"))
        texts = [body.q] if isinstance(body.q, str) else body.q
        if len(texts) > TEXTS_LIMIT:
            raise InvalidRequest(f"Invalid request: request ({len(texts)}) exceeds batch limit ({TEXTS_LIMIT})", param="q")
        _check_length(texts)
        source, target = None if body.source == AUTO else wire_language(body.source, "source"), wire_language(body.target, "target")
        tagged = [read_tagged(text, _HTML) if body.format == "html" else read_plain(text) for text in texts]
        segments = tuple(segment for text in tagged for segment in text.segments)
        order = Order(
            segments, target, source, Options(splitting="no_newlines" if body.format == "html" else "all", model=body.model or None)
        )
        translated = await self._translated(request.principal, order) if segments else ()
        return json_reply(_reply(tagged, translated, body))

    async def detect(self, request: Request) -> Response:
        """The languages that a text may be in, likeliest first."""
        body = await _read(request, DetectBody, ("q",))
        _check_length([body.q])
        guesses = await asyncio.to_thread(identify, body.q)
        return json_reply([_detected(guess.language, guess.confidence) for guess in guesses] or [_NOTHING])

    async def _translated(self, principal: Principal, order: Order) -> Sequence[Translated]:
        try:
            return await self._translator.translate(principal, order)
        except Unsupported:
            raise
        except InvalidRequest as error:
            raise InvalidRequest(f"Invalid request: {error.message}", param=error.param) from error


def wire_language(code: str, field: str) -> str:
    """The canonical code. Raises InvalidRequest in LibreTranslate's words."""
    try:
        return parse(code).code
    except InvalidRequest as error:
        raise InvalidRequest(f"{code[:40]} is not supported", param=field) from error


def wire_code(code: str) -> str:
    """How a language is told: Chinese with its script."""
    canonical = parse(code).code
    return "zh-Hans" if canonical == "zh" else canonical


async def _read(request: Request, kind: type[T], needed: Sequence[str]) -> T:
    parameters = await read_parameters(request, BODY_LIMIT_BYTES)
    for name in needed:
        if not parameters.get(name):
            raise InvalidRequest(f"Invalid request: missing {name} parameter", param=name)
    try:
        return converted(parameters, kind)
    except InvalidRequest as error:
        raise InvalidRequest(f"Invalid request: {error.message}", param=error.param) from error


def _check_length(texts: Sequence[str]) -> None:
    characters = sum(map(len, texts))
    if characters > CHARACTERS_LIMIT:
        raise InvalidRequest(f"Invalid request: request ({characters}) exceeds text limit ({CHARACTERS_LIMIT})", param="q")


def _reply(tagged: Sequence[Tagged], translated: Sequence[Translated], body: TranslateBody) -> TranslateReply:
    left = iter(translated)
    texts: list[str] = []
    languages: list[Detected] = []
    for each in tagged:
        own = [next(left) for _ in each.segments]
        texts.append(each.write([found.segment for found in own]))
        languages.append(_written_in(own))
    is_one = isinstance(body.q, str)
    reply = TranslateReply(translated_text=texts[0] if is_one else texts)
    if body.source == AUTO:
        reply.detected_language = languages[0] if is_one else languages
    reply.alternatives = UNSET if not body.alternatives else [] if is_one else [[] for _ in texts]
    return reply


def _written_in(translated: Sequence[Translated]) -> Detected:
    """The language of most of a text."""
    counted: Counter[str] = Counter()
    for each in (each for each in translated if each.source != UNKNOWN):
        counted[each.source] += max(1, each.characters)
    if not counted:
        return _NOTHING
    language, characters = counted.most_common(1)[0]
    sure = sum(each.confidence * max(1, each.characters) for each in translated if each.source == language)
    return _detected(language, sure / characters)


def _detected(language: str, confidence: float) -> Detected:
    return Detected(round(100 * confidence, 1), wire_code(language))
