"""POST /v2/translate: texts, with or without tags."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import UNSET
from starlette.responses import Response

from yunmo.apps.translate.glossaries import Glossaries, Pair
from yunmo.apps.translate.languages import Language
from yunmo.apps.translate.orders import Options, Order, SentenceSplitting, Translated
from yunmo.apps.translate.origins import UNKNOWN
from yunmo.apps.translate.styles import Styles
from yunmo.apps.translate.tagged import Tagged, TagRules, read_plain, read_tagged
from yunmo.apps.translate.translator import Translator
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.identity import Principal
from yunmo.web.dialects.deepl.codes import read_code, source_code
from yunmo.web.dialects.deepl.waiting import Flights, held
from yunmo.web.dialects.deepl.wire import (
    BODY_LIMIT_BYTES,
    GLOSSARIES_LIMIT,
    LISTS,
    TEXTS_LIMIT,
    Names,
    TranslateBody,
    TranslateReply,
    Translation,
)
from yunmo.web.parameters import converted, read_parameters
from yunmo.web.request import Request

_SPLITTING: dict[str, SentenceSplitting] = {"0": "off", "1": "all", "nonewlines": "no_newlines"}
_UNKNOWN_SOURCE = "EN"
"""What a text without words was written in: the client needs a language."""


class Translations:
    """Translates texts as DeepL's clients ask for it."""

    def __init__(self, translator: Translator, glossaries: Glossaries, styles: Styles) -> None:
        self._translator = translator
        self._glossaries = glossaries
        self._styles = styles
        self._flights = Flights()

    async def translate(self, request: Request) -> Response:
        """The texts' translations in their order. Somebody who asks the same again meanwhile is answered by the same work."""
        parameters = await read_parameters(request, BODY_LIMIT_BYTES, LISTS)
        asked = {name: value for name, value in parameters.items() if name in TranslateBody.__struct_fields__}
        body = _checked(asked)
        digest = hashlib.sha256(msgspec.json.encode(asked, order="sorted")).digest()
        principal = request.principal
        flight = self._flights.join((principal.key_id, digest), lambda: self._reply(principal, body))
        return await held(flight)

    async def _reply(self, principal: Principal, body: TranslateBody) -> TranslateReply:
        target = read_code(body.target_lang, "target_lang")
        source = read_code(body.source_lang, "source_lang") if body.source_lang else None
        texts = [body.text] if isinstance(body.text, str) else body.text
        tagged = [_read(text, body) for text in texts]
        options = await self._options(principal, body, source, target)
        segments = tuple(each for text in tagged for each in text.segments)
        translated: Sequence[Translated] = ()
        if segments:
            order = Order(segments, target.code, None if source is None else source.code, options)
            translated = await self._translated(principal, order, body)
        left = iter(translated)
        return TranslateReply([_translation(each, [next(left) for _ in each.segments], source, body) for each in tagged])

    async def _translated(self, principal: Principal, order: Order, body: TranslateBody) -> Sequence[Translated]:
        """What the model says, and its refusals in DeepL's words."""
        try:
            return await self._translator.translate(principal, order)
        except Unsupported as error:
            if error.param != "formality":
                raise
            raise Unsupported(
                f"Target language '{body.target_lang.upper()}' doesn't support formality. {error.message}", param="formality"
            ) from error
        except InvalidRequest as error:
            if error.param not in {"source", "target"}:
                raise
            raise InvalidRequest(f"Value for '{error.param}_lang' not supported. {error.message}", param=f"{error.param}_lang") from error

    async def _options(self, principal: Principal, body: TranslateBody, source: Language | None, target: Language) -> Options:
        ids = [body.glossary_id] if body.glossary_id else _names(body.glossary_ids)
        if ids and source is None:
            raise InvalidRequest("Use of a glossary requires the source_lang parameter to be specified.", param="source_lang")
        pair = Pair("" if source is None else source.base, target.base)
        terms = await self._glossaries.merged_terms(principal.project, ids, pair) if ids else {}
        default = "nonewlines" if body.tag_handling == "html" else "1"
        return Options(
            formality=body.formality,
            context=body.context,
            terms=terms,
            instructions=(*await self._style(principal, body.style_id, target), *body.custom_instructions),
            splitting=_SPLITTING[body.split_sentences or default],
            model=body.model or None,
            memory=body.translation_memory_id,
            memory_threshold=body.translation_memory_threshold,
        )

    async def _style(self, principal: Principal, style_id: str | None, target: Language) -> tuple[str, ...]:
        """What the model is told of a style."""
        if not style_id:
            return ()
        style = await self._styles.get(principal.project, style_id)
        if style.language != target.base:
            raise InvalidRequest(
                f"The style '{style.id}' is for {style.language.upper()}. Name one for {target.base.upper()}.", param="style_id"
            )
        return style.told()


def _checked(asked: dict[str, object]) -> TranslateBody:
    """The body. Raises InvalidRequest for what is missing, too much, or contradicts itself."""
    for name in ("text", "target_lang"):
        if not asked.get(name):
            raise InvalidRequest(f"Parameter '{name}' not specified.", param=name)
    split = asked.get("split_sentences")
    try:
        body = converted({**asked, "split_sentences": split if split is None else str(split)}, TranslateBody)
    except InvalidRequest as error:
        raise InvalidRequest(f"Value for '{error.param}' not supported. {error.message}", param=error.param) from error
    if len(body.text) > TEXTS_LIMIT and not isinstance(body.text, str):
        raise InvalidRequest(f"A request may have {TEXTS_LIMIT} texts; this one has {len(body.text)}. Send several.", param="text")
    if len(_names(body.glossary_ids)) > GLOSSARIES_LIMIT:
        raise InvalidRequest(f"A request may name {GLOSSARIES_LIMIT} glossaries.", param="glossary_ids")
    if body.glossary_id and body.glossary_ids:
        raise InvalidRequest("Give 'glossary_id' or 'glossary_ids', not both.", param="glossary_ids")
    return body


def _read(text: str, body: TranslateBody) -> Tagged:
    if body.tag_handling is None:
        return read_plain(text)
    names = [frozenset(_names(each)) for each in (body.splitting_tags, body.non_splitting_tags, body.ignore_tags)]
    if body.tag_handling == "html":
        names = [frozenset(name.lower() for name in each) for each in names]
    return read_tagged(text, TagRules(body.tag_handling, body.tag_handling_version == "v2", body.outline_detection, *names))


def _names(given: Names) -> list[str]:
    """Names in a list or divided by commas, or both."""
    listed = [given] if isinstance(given, str) else given
    return [name.strip() for each in listed for name in each.split(",") if name.strip()]


def _translation(text: Tagged, translated: Sequence[Translated], source: Language | None, body: TranslateBody) -> Translation:
    reply = Translation(
        detected_source_language=_detected(translated) if source is None else source.base.upper(),
        text=text.write([each.segment for each in translated]),
        billed_characters=sum(each.characters for each in translated),
    )
    if body.model_type is not None:
        reply.model_type_used = body.model_type.removeprefix("prefer_")
    reply.tag_handling_version = UNSET if body.tag_handling is None else (body.tag_handling_version or "v1")
    return reply


def _detected(translated: Sequence[Translated]) -> str:
    """The language of most of the text."""
    counted: Counter[str] = Counter()
    for each in translated:
        if each.source != UNKNOWN:
            counted[source_code(each.source)] += each.characters
    return counted.most_common(1)[0][0] if counted else _UNKNOWN_SOURCE
