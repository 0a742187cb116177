"""What DeepL's clients speak, at the root of this server and below /deepl/ (where its URL has to end with the slash)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.responses import Response

from yunmo.apps.translate.glossaries import Glossaries
from yunmo.apps.translate.memories import Memories
from yunmo.apps.translate.styles import Styles
from yunmo.apps.translate.translations import Documents
from yunmo.apps.translate.translator import Translator
from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import Unauthenticated, YunmoError
from yunmo.web.dialects.deepl.absent import absent_routes
from yunmo.web.dialects.deepl.account import AccountRoutes
from yunmo.web.dialects.deepl.detection import detect
from yunmo.web.dialects.deepl.documents import DocumentRoutes
from yunmo.web.dialects.deepl.errors import error_reply
from yunmo.web.dialects.deepl.glossaries import GlossaryRoutes
from yunmo.web.dialects.deepl.memories import MemoryRoutes
from yunmo.web.dialects.deepl.styles import StyleRoutes
from yunmo.web.dialects.deepl.translate import Translations
from yunmo.web.dialects.deepl.wire import DetectBody, Detections, TranslateBody, TranslateReply
from yunmo.web.request import Request
from yunmo.web.routing import Handler, Route

PREFIX = "/deepl"
_SCHEMES = frozenset({"deepl-auth-key", "bearer"})
_BAD_KEY = "Invalid credentials in Authorization header. It takes 'DeepL-Auth-Key <key>'; make a key with 'yunmo key create'."


@dataclass(frozen=True, slots=True)
class Kept:
    """What projects keep for their translations."""

    glossaries: Glossaries
    styles: Styles
    memories: Memories
    documents: Documents


class DeepLDialect:
    """DeepL's API for texts, documents, glossaries, styles and translation memories.

    With `takes_key_in_query` a key may also be the parameter `auth_key`, as DeepL itself allowed once: proxies write such addresses down.
    """

    name = "deepl"

    def __init__(self, cloud: Cloud, translator: Translator, kept: Kept, *, takes_key_in_query: bool = False) -> None:
        self._cloud = cloud
        self._translator = translator
        self._kept = kept
        self._takes_key_in_query = takes_key_in_query

    def routes(self) -> Sequence[Route]:
        """Every route twice; those at the root are documented."""
        translate = Translations(self._translator, self._kept.glossaries, self._kept.styles).translate
        memories = MemoryRoutes(self._kept.memories)
        found = [
            Route("POST", "/v2/translate", translate, "infer", "Translate texts (DeepL)", TranslateBody, TranslateReply),
            Route("GET", "/v2/translate", translate, "infer", "Translate texts (DeepL's old way)", is_documented=False),
            Route("POST", "/v3/detect/language", detect, "infer", "Find out what texts are written in", DetectBody, Detections),
            *DocumentRoutes(self._cloud, self._kept.documents, self._kept.glossaries).routes(),
            *GlossaryRoutes(self._kept.glossaries).routes(),
            *StyleRoutes(self._kept.styles).routes(),
            *memories.routes(),
            *AccountRoutes(self._cloud, self._translator).routes(),
            *absent_routes(),
        ]
        own = [replace(each, handler=_traced(each.handler), read_key=self._key) for each in found]
        own += [replace(each, handler=_traced(each.handler)) for each in memories.file_routes()]
        return [*own, *(replace(each, path=PREFIX + each.path, is_documented=False) for each in own)]

    def error(self, error: YunmoError, request: Request) -> Response:
        """The error in DeepL's words."""
        return error_reply(error, request)

    async def _key(self, request: Request) -> str | None:
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, key = header.strip().partition(" ")
            if scheme.lower() not in _SCHEMES or not key.strip():
                raise Unauthenticated(_BAD_KEY)
            return key.strip()
        return request.query_params.get("auth_key") if self._takes_key_in_query else None


def _traced(handler: Handler) -> Handler:
    """The same with the header by which DeepL's clients tell of a request."""

    async def handle(request: Request) -> Response:
        reply = await handler(request)
        reply.headers["x-trace-id"] = request.id
        return reply

    return handle
