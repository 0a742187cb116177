"""/v2/glossaries (one dictionary each) and /v3/glossaries (several): two views of the same glossaries."""

from datetime import datetime

from starlette.responses import Response

from yunmo.apps.translate.glossaries import Dictionary, DictionaryInfo, Glossaries, Glossary, Pair, read_terms, written
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.web.dialects.deepl.codes import read_base
from yunmo.web.dialects.deepl.errors import NotAcceptable
from yunmo.web.dialects.deepl.wire import (
    DictionaryBody,
    DictionaryReply,
    EntriesList,
    EntriesReply,
    GlossaryBody,
    GlossaryChange,
    GlossaryList,
    GlossaryReply,
    MultilingualGlossaryBody,
    MultilingualGlossaryList,
    MultilingualGlossaryReply,
)
from yunmo.web.parameters import T, converted, read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_BODY_LIMIT_BYTES = 20 * 1024 * 1024
_TSV = "text/tab-separated-values"
_ID = "/{glossary_id}"


class GlossaryRoutes:
    """The glossaries of the caller's project."""

    def __init__(self, glossaries: Glossaries) -> None:
        self._glossaries = glossaries

    def routes(self) -> list[Route]:
        """Both versions' routes."""
        two, three = "/v2/glossaries", "/v3/glossaries"
        return [
            Route("POST", two, self._create_one, "infer", "Make a glossary of one pair of languages", GlossaryBody, GlossaryReply),
            Route("GET", two, self._list_ones, "infer", "List glossaries of one pair of languages", None, GlossaryList),
            Route("GET", two + _ID, self._get_one, "infer", "Look at a glossary", None, GlossaryReply),
            Route("GET", two + _ID + "/entries", self._entries_of_one, "infer", "A glossary's terms as tab-separated values"),
            Route("DELETE", two + _ID, self._delete, "infer", "Delete a glossary"),
            Route("POST", three, self._create, "infer", "Make a glossary", MultilingualGlossaryBody, MultilingualGlossaryReply),
            Route("GET", three, self._list, "infer", "List glossaries", None, MultilingualGlossaryList),
            Route("GET", three + _ID, self._get, "infer", "Look at a glossary", None, MultilingualGlossaryReply),
            Route("PATCH", three + _ID, self._change, "infer", "Rename it, add terms", GlossaryChange, MultilingualGlossaryReply),
            Route("DELETE", three + _ID, self._delete, "infer", "Delete a glossary"),
            Route(
                "GET",
                three + _ID + "/entries",
                self._entries,
                "infer",
                "A dictionary's terms (query: source_lang, target_lang)",
                None,
                EntriesList,
            ),
            Route("PUT", three + _ID + "/dictionaries", self._replace, "infer", "Replace a dictionary", DictionaryBody, DictionaryReply),
            Route(
                "DELETE",
                three + _ID + "/dictionaries",
                self._delete_dictionary,
                "infer",
                "Delete a dictionary (query: source_lang, target_lang)",
            ),
        ]

    async def _create_one(self, request: Request) -> Response:
        body = await _read(request, GlossaryBody)
        made = await self._glossaries.create(request.principal.project, body.name, [_dictionary(body)])
        return json_reply(_one(made), 201)

    async def _list_ones(self, request: Request) -> Response:
        found = await self._glossaries.list(request.principal.project)
        return json_reply(GlossaryList([_one(each) for each in found if len(each.dictionaries) == 1]))

    async def _get_one(self, request: Request) -> Response:
        return json_reply(_one(await self._found(request)))

    async def _entries_of_one(self, request: Request) -> Response:
        accepted = request.headers.get("accept", _TSV).lower()
        if not any(kind in accepted for kind in (_TSV, "*/*", "text/*")):
            raise NotAcceptable(f"Terms are given as {_TSV} only. Accept that.")
        found = await self._found(request)
        terms = await self._glossaries.terms(request.principal.project, found.id, _single(found).pair)
        return Response(written(terms), media_type=f"{_TSV}; charset=utf-8")

    async def _create(self, request: Request) -> Response:
        body = await _read(request, MultilingualGlossaryBody)
        made = await self._glossaries.create(request.principal.project, body.name, [_dictionary(each) for each in body.dictionaries])
        return json_reply(_several(made), 201)

    async def _list(self, request: Request) -> Response:
        return json_reply(MultilingualGlossaryList([_several(each) for each in await self._glossaries.list(request.principal.project)]))

    async def _get(self, request: Request) -> Response:
        return json_reply(_several(await self._found(request)))

    async def _change(self, request: Request) -> Response:
        body = await _read(request, GlossaryChange)
        if len(body.dictionaries) > 1:
            raise InvalidRequest("One dictionary can be changed at a time. Send a request for each.", param="dictionaries")
        dictionary = _dictionary(body.dictionaries[0]) if body.dictionaries else None
        return json_reply(_several(await self._glossaries.change(*_named(request), body.name, dictionary)))

    async def _entries(self, request: Request) -> Response:
        await self._found(request)
        pair = _asked_pair(request)
        terms = await self._glossaries.terms(*_named(request), pair)
        return json_reply(EntriesList([EntriesReply(pair.source, pair.target, written(terms))]))

    async def _replace(self, request: Request) -> Response:
        body = await _read(request, DictionaryBody)
        return json_reply(_info(await self._glossaries.replace(*_named(request), _dictionary(body))))

    async def _delete(self, request: Request) -> Response:
        await self._glossaries.delete(*_named(request))
        return Response(status_code=204)

    async def _delete_dictionary(self, request: Request) -> Response:
        await self._found(request)
        await self._glossaries.delete_dictionary(*_named(request), _asked_pair(request))
        return Response(status_code=204)

    async def _found(self, request: Request) -> Glossary:
        return await self._glossaries.get(*_named(request))


async def _read(request: Request, kind: type[T]) -> T:
    return converted(await read_parameters(request, _BODY_LIMIT_BYTES), kind)


def _named(request: Request) -> tuple[str, str]:
    return request.principal.project, request.params["glossary_id"]


def _asked_pair(request: Request) -> Pair:
    given = {name: request.query_params.get(name, "") for name in ("source_lang", "target_lang")}
    return Pair(*(read_base(code, name) for name, code in given.items()))


def _dictionary(body: DictionaryBody) -> Dictionary:
    pair = Pair(read_base(body.source_lang, "source_lang"), read_base(body.target_lang, "target_lang"))
    return Dictionary(pair, read_terms(body.entries, body.entries_format, pair))


def _single(glossary: Glossary) -> DictionaryInfo:
    """The dictionary of a glossary that has one only: /v2 knows no others."""
    if len(glossary.dictionaries) != 1:
        raise NotFound(f"The glossary '{glossary.id}' has {len(glossary.dictionaries)} dictionaries. Ask /v3/glossaries for it.")
    return glossary.dictionaries[0]


def _one(glossary: Glossary) -> GlossaryReply:
    info = _single(glossary)
    return GlossaryReply(
        glossary.id, glossary.name, True, info.pair.source, info.pair.target, written_time(glossary.created_at), info.entry_count
    )


def _several(glossary: Glossary) -> MultilingualGlossaryReply:
    infos = [_info(each) for each in glossary.dictionaries]
    return MultilingualGlossaryReply(glossary.id, glossary.name, written_time(glossary.created_at), infos)


def _info(info: DictionaryInfo) -> DictionaryReply:
    return DictionaryReply(info.pair.source, info.pair.target, info.entry_count)


def written_time(moment: datetime) -> str:
    """A moment with a fraction, which the client's reader asks for."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
