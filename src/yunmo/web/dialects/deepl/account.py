"""What a caller may ask of its languages and of its use."""

from datetime import UTC, datetime

from starlette.responses import Response

from yunmo.apps.translate.languages import Language, parse
from yunmo.apps.translate.routes import Pair
from yunmo.apps.translate.translator import Translator
from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import InvalidRequest
from yunmo.core.identity import Principal
from yunmo.web.dialects.deepl.codes import offered
from yunmo.web.dialects.deepl.glossaries import written_time
from yunmo.web.dialects.deepl.wire import (
    Feature,
    FeatureReply,
    LanguageOfResource,
    LanguagePair,
    LanguagePairs,
    LanguageReply,
    Resource,
    UsageReply,
)
from yunmo.web.parameters import read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

UNLIMITED = 1_000_000_000_000
"""What DeepL says for an account without a limit."""

_BODY_LIMIT_BYTES = 64 * 1024
_STABLE = Feature("stable")
_RESOURCES = [
    Resource(
        "translate_text",
        [
            FeatureReply("formality", needs_target_support=True),
            FeatureReply("tag_handling", needs_source_support=True, needs_target_support=True),
            FeatureReply("glossary", needs_source_support=True, needs_target_support=True),
            FeatureReply("auto_detection", needs_source_support=True),
            FeatureReply("style_rules", needs_target_support=True),
        ],
    ),
    *(Resource(name, []) for name in ("glossary", "translate_document", "voice", "write", "style_rules", "translation_memory")),
]


class AccountRoutes:
    """Languages, pairs for glossaries, and usage."""

    def __init__(self, cloud: Cloud, translator: Translator) -> None:
        self._cloud = cloud
        self._translator = translator

    def routes(self) -> list[Route]:
        """The routes that need no more than a key."""
        return [
            Route(
                "GET",
                "/v2/languages",
                self._languages,
                "infer",
                "Languages to translate from, or into (type=target)",
                None,
                list[LanguageReply],
            ),
            Route("GET", "/v2/glossary-language-pairs", self._glossary_pairs, "infer", "Pairs for glossaries", None, LanguagePairs),
            Route("GET", "/v2/usage", self._usage, "infer", "Characters translated this month", None, UsageReply),
            Route("GET", "/v3/languages", self._languages_of, "infer", "Languages (query: resource)", None, list[LanguageOfResource]),
            Route("GET", "/v3/languages/resources", self._resources, "infer", "What has languages", None, list[Resource]),
        ]

    async def _languages(self, request: Request) -> Response:
        """The client sends `type` as a form in the body of its GET, others in the query."""
        kind = (await read_parameters(request, _BODY_LIMIT_BYTES)).get("type", "source")
        if kind not in {"source", "target"}:
            raise InvalidRequest("Value for 'type' not supported. Use source or target.", param="type")
        pairs = await self._translator.pairs(request.principal)
        if kind == "source":
            return json_reply([LanguageReply(each.code.upper(), each.name()) for each in offered(pairs).sources])
        formal = await self._formal(request.principal, pairs)
        return json_reply([LanguageReply(each.code.upper(), each.name(), each.base in formal) for each in offered(pairs).targets])

    async def _glossary_pairs(self, request: Request) -> Response:
        found = {(parse(pair.source).base, parse(pair.target).base) for pair in await self._translator.pairs(request.principal)}
        return json_reply(LanguagePairs([LanguagePair(source, target) for source, target in sorted(found) if source != target]))

    async def _usage(self, request: Request) -> Response:
        principal, begin = request.principal, datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
        rows = await self._cloud.tenancy.ledger.query(principal.project, since=begin, group_by=("key", "task"))
        translated = [row for row in rows if row.task == "translate"]
        return json_reply(
            UsageReply(
                character_count=sum(row.characters for row in translated),
                character_limit=UNLIMITED,
                api_key_character_count=sum(row.characters for row in translated if row.key == principal.key_id),
                api_key_character_limit=UNLIMITED,
                start_time=written_time(begin),
                end_time=written_time(end),
            )
        )

    async def _languages_of(self, request: Request) -> Response:
        query = request.query_params
        if "product" in query:
            raise InvalidRequest("The parameter 'product' was renamed to 'resource'.", param="product")
        resource = query.get("resource", "")
        if resource not in {each.name for each in _RESOURCES}:
            raise InvalidRequest(
                f"Value for 'resource' not supported. Use one of {', '.join(each.name for each in _RESOURCES)}.", param="resource"
            )
        if resource not in {"translate_text", "translate_document", "glossary", "style_rules"}:
            return json_reply([])
        pairs = await self._translator.pairs(request.principal)
        if resource == "style_rules":
            told = await self._formal(request.principal, pairs)
            return json_reply([_language(parse(base), {}, is_source=False) for base in sorted(told)])
        if resource == "glossary":
            bases = {parse(code).base for pair in pairs for code in (pair.source, pair.target)}
            return json_reply([_language(parse(base), {}) for base in sorted(bases)])
        found = offered(pairs)
        formal = await self._formal(request.principal, pairs)
        sources, targets = {each.code for each in found.sources}, {each.code for each in found.targets}
        replies = []
        for code in sorted(sources | targets):
            features: dict[str, Feature] = {}
            if resource == "translate_text":
                features |= {"tag_handling": _STABLE, "glossary": _STABLE}
                features |= {"auto_detection": _STABLE} if code in sources else {}
                features |= {"formality": _STABLE, "style_rules": _STABLE} if code in targets and parse(code).base in formal else {}
            replies.append(_language(parse(code), features, is_source=code in sources, is_target=code in targets))
        return json_reply(replies)

    async def _resources(self, request: Request) -> Response:
        del request
        return json_reply(_RESOURCES)

    async def _formal(self, principal: Principal, pairs: tuple[Pair, ...]) -> set[str]:
        """Bases of the targets that a model writes which can be told how formal to be: one for chats."""
        served = await self._cloud.inference.models(principal)
        told = {name for each in served if "chat" in each.tasks and "translate" not in each.tasks for name in (each.name, each.repository)}
        return {parse(pair.target).base for pair in pairs if pair.models[-1] in told}


def _language(language: Language, features: dict[str, Feature], *, is_source: bool = True, is_target: bool = True) -> LanguageOfResource:
    return LanguageOfResource(language.code, language.name(), "stable", is_source, is_target, features)
