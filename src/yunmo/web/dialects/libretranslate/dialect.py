"""What LibreTranslate's clients speak: below /libretranslate, and at the root of this server where nothing else is."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.responses import RedirectResponse, Response

from yunmo.apps.translate.languages import parse
from yunmo.apps.translate.translator import Translator
from yunmo.core.errors import Forbidden, InvalidRequest, Unauthenticated, YunmoError
from yunmo.web.dialects.libretranslate.errors import ANY_SITE, error_reply
from yunmo.web.dialects.libretranslate.translate import Translations, wire_code
from yunmo.web.dialects.libretranslate.wire import (
    BODY_LIMIT_BYTES,
    CHARACTERS_LIMIT,
    Choice,
    Choices,
    DetectBody,
    Detected,
    LanguageReply,
    SettingsReply,
    TranslateBody,
    TranslateReply,
)
from yunmo.web.parameters import read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Handler, Route

PREFIX = "/libretranslate"
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "86400",
}
_FRONTEND_MILLISECONDS = 500
_BEARER = "bearer"


class LibreTranslateDialect:
    """LibreTranslate's API for texts."""

    name = "libretranslate"

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    def routes(self) -> Sequence[Route]:
        """Every route below the prefix, and those of texts at the root."""
        translations = Translations(self._translator)
        both = [
            Route("POST", "/translate", translations.translate, "infer", "Translate texts (LibreTranslate)", TranslateBody, TranslateReply),
            Route("POST", "/detect", translations.detect, "infer", "Find out a text's language", DetectBody, list[Detected]),
            Route("GET", "/languages", self._languages, "infer", "Languages that can be translated", None, list[LanguageReply]),
            Route("GET", "/frontend/settings", self._settings, None, "What pages have to know of this server", None, SettingsReply),
            Route("POST", "/suggest", self._suggest, "infer", is_documented=False),
            Route("POST", "/translate_file", self._translate_file, "infer", is_documented=False),
        ]
        prefixed = [
            *both,
            Route("GET", "/health", self._health, None, is_documented=False),
            Route("GET", "/spec", _sent_on("/openapi.json"), None, is_documented=False),
            Route("GET", "/docs", _sent_on("/docs"), None, is_documented=False),
        ]
        found = [*both, *(replace(each, path=PREFIX + each.path, is_documented=False) for each in prefixed)]
        wrong = [Route("GET", each.path, _wrong_method, is_documented=False) for each in found if each.method == "POST"]
        asked_first = [Route("OPTIONS", each.path, _preflight, is_documented=False, serves_sites=True) for each in found]
        open_ones = [replace(each, handler=_open(each.handler), read_key=_key, serves_sites=True) for each in found]
        return [*open_ones, *asked_first, *wrong]

    def error(self, error: YunmoError, request: Request) -> Response:
        """The error in LibreTranslate's words."""
        del request
        if isinstance(error, Unauthenticated):
            return error_reply(Forbidden(f"{error.message} LibreTranslate's clients send it as 'api_key'."))
        return error_reply(error)

    async def _languages(self, request: Request) -> Response:
        targets: dict[str, set[str]] = {}
        for pair in await self._translator.pairs(request.principal):
            targets.setdefault(wire_code(pair.source), set()).add(wire_code(pair.target))
        return json_reply([LanguageReply(code, parse(code).name(), sorted(into)) for code, into in sorted(targets.items())])

    async def _settings(self, request: Request) -> Response:
        del request
        language = Choices(Choice("auto", "Auto Detect"), Choice("en", "English"))
        return json_reply(
            SettingsReply(
                char_limit=CHARACTERS_LIMIT,
                frontend_timeout=_FRONTEND_MILLISECONDS,
                api_keys=True,
                key_required=True,
                suggestions=False,
                files_translation=False,
                supported_files_format=[],
                language=language,
            )
        )

    async def _suggest(self, request: Request) -> Response:
        del request
        raise Forbidden("Suggestions are disabled on this server.")

    async def _translate_file(self, request: Request) -> Response:
        del request
        raise InvalidRequest("Invalid request: file format not supported")

    async def _health(self, request: Request) -> Response:
        del request
        return json_reply({"status": "ok"})


async def _key(request: Request) -> str | None:
    """The parameter `api_key`, or the header that the rest of this server takes."""
    given = (await read_parameters(request, BODY_LIMIT_BYTES)).get("api_key")
    if given:
        return str(given)
    scheme, _, key = request.headers.get("authorization", "").strip().partition(" ")
    if scheme and (scheme.lower() != _BEARER or not key.strip()):
        raise Unauthenticated("Invalid credentials in Authorization header")
    return key.strip() or None


def _open(handler: Handler) -> Handler:
    """The same for pages of other sites."""

    async def handle(request: Request) -> Response:
        reply = await handler(request)
        reply.headers.update(ANY_SITE)
        return reply

    return handle


async def _preflight(request: Request) -> Response:
    """What browsers ask before they send JSON."""
    del request
    return Response(status_code=204, headers=ANY_SITE | _PREFLIGHT)


async def _wrong_method(request: Request) -> Response:
    del request
    return json_reply({"error": "Method Not Allowed"}, 405, ANY_SITE | {"allow": "POST"})


def _sent_on(path: str) -> Handler:
    async def send(request: Request) -> Response:
        del request
        return RedirectResponse(path, 307)

    return send
