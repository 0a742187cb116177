"""Translation over our own HTTP: texts, and which model translates which pair of languages."""

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from yunmo.apps.translate.orders import Formality, IssueKind, Options, Order, SentenceSplitting, Translated
from yunmo.apps.translate.routes import Route as TranslationRoute
from yunmo.apps.translate.segments import segment
from yunmo.apps.translate.translator import Translator
from yunmo.cloud.cloud import Cloud
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_TEXTS_LIMIT = 1000
_TERMS_LIMIT = 10_000

Texts = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=_TEXTS_LIMIT)]
Terms = Annotated[dict[str, str], msgspec.Meta(max_length=_TERMS_LIMIT)]


class TranslateTexts(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to translate into `target`, from `source` or from what each is found to be written in.

    `terms` is a glossary, `kept` are words that stay as they are, `context` helps and is not translated. `model` takes the routes' place.
    """

    texts: Texts
    target: str
    source: str | None = None
    model: str | None = None
    formality: Formality = "default"
    context: str = ""
    instructions: tuple[str, ...] = ()
    terms: Terms = {}
    kept: tuple[str, ...] = ()
    splitting: SentenceSplitting = "all"


class IssueView(msgspec.Struct, frozen=True):
    """What did not come through."""

    kind: IssueKind
    what: str


class TranslatedText(msgspec.Struct, frozen=True):
    """A text's translation; `models` are two where it went through a third language, none where there was nothing to translate."""

    text: str
    source: str
    confidence: float
    characters: int
    models: tuple[str, ...]
    issues: tuple[IssueView, ...]


class TranslatedTexts(msgspec.Struct, frozen=True):
    """The translations in the texts' order."""

    translations: list[TranslatedText]


class PutRoute(msgspec.Struct, forbid_unknown_fields=True):
    """The highest priority is taken first. An operator's route is everybody's, unless it names a project."""

    priority: int = 0
    project: str | None = None


class RouteView(msgspec.Struct, frozen=True):
    """A route that was told; `project` is empty for everybody's."""

    source: str
    target: str
    model: str
    priority: int
    project: str


class FoundView(msgspec.Struct, frozen=True):
    """What a model says of itself: each of the sources into each of the targets."""

    model: str
    sources: list[str]
    targets: list[str]


class RouteList(msgspec.Struct, frozen=True):
    """All routes that the caller has: what was told goes before what was found."""

    told: list[RouteView]
    found: list[FoundView]


class TranslationRoutes:
    """Translate; look at routes, add and remove them."""

    def __init__(self, cloud: Cloud, translator: Translator) -> None:
        self._cloud = cloud
        self._translator = translator

    def routes(self) -> list[Route]:
        """The routes of this group."""
        every = "/admin/translation/routes"
        one = every + "/{source}/{target}/{model}"
        return [
            Route("POST", "/admin/translation/texts", self._translate, "infer", "Translate texts", TranslateTexts, TranslatedTexts),
            Route("GET", every, self._list, "read", "Which model translates which pair of languages", None, RouteList),
            Route("PUT", one, self._put, "write", "Let a model translate a pair of languages; '*' is every one", PutRoute, RouteView),
            Route("DELETE", one, self._delete, "write", "Forget a route of translation", None, RouteView),
        ]

    async def _translate(self, request: Request) -> Response:
        wanted = await request.struct(TranslateTexts)
        options = Options(
            formality=wanted.formality,
            context=wanted.context,
            terms=wanted.terms,
            kept=wanted.kept,
            instructions=wanted.instructions,
            splitting=wanted.splitting,
            model=wanted.model,
        )
        order = Order(tuple(segment([text]) for text in wanted.texts), wanted.target, wanted.source, options)
        translated = await self._translator.translate(request.principal, order)
        return json_reply(TranslatedTexts([_view(each) for each in translated]))

    async def _list(self, request: Request) -> Response:
        table = await self._translator.routing.table(request.principal)
        found = [FoundView(each.model, sorted(each.sources), sorted(each.targets)) for each in table.found]
        return json_reply(RouteList([_route_view(each) for each in table.told], found))

    async def _put(self, request: Request) -> Response:
        wanted = await request.struct(PutRoute)
        route = await self._translator.routing.add(request.principal, _route(request, wanted.priority, wanted.project))
        await self._record(request, "translation_route.set", route, {"priority": route.priority})
        return json_reply(_route_view(route))

    async def _delete(self, request: Request) -> Response:
        wanted = _route(request, 0, request.query_params.get("project"))
        route = await self._translator.routing.remove(request.principal, wanted)
        await self._record(request, "translation_route.removed", route, {})
        return json_reply(_route_view(route))

    async def _record(self, request: Request, action: str, route: TranslationRoute, detail: dict[str, Any]) -> None:
        target = f"{route.source}/{route.target}/{route.model}"
        await self._cloud.tenancy.audit.record(request.principal, action, target, detail | {"project": route.project})


def _route(request: Request, priority: int, project: str | None) -> TranslationRoute:
    return TranslationRoute(request.params["source"], request.params["target"], request.params["model"], priority, project or "")


def _route_view(route: TranslationRoute) -> RouteView:
    return RouteView(route.source, route.target, route.model, route.priority, route.project)


def _view(translated: Translated) -> TranslatedText:
    issues = tuple(IssueView(issue.kind, issue.what) for issue in translated.issues)
    return TranslatedText(
        translated.segment.source, translated.source, translated.confidence, translated.characters, translated.models, issues
    )
