"""Parts of DeepL's API that are not here: said in its shape, so that its clients say it to people."""

from collections.abc import Iterator

from starlette.responses import Response

from yunmo.core.errors import Unsupported
from yunmo.web.request import Request
from yunmo.web.routing import Handler, Route

_ABSENT = {
    "Texts are not improved here; a chat model can be asked to, at /v1/chat/completions": (
        ("POST", "/v2/write/rephrase"),
        ("POST", "/v2/write/correct"),
    ),
    "Translations are not judged here": (("POST", "/v1/quality-evaluation"), ("GET", "/v1/quality-evaluation/{job_id}")),
    "Speech is not translated over DeepL's API here; /v1/audio/translations writes it down in English": (
        ("POST", "/v1/jobs/voice/translate"),
        ("GET", "/v1/jobs/voice/translate/{job_id}"),
        ("POST", "/v3/voice/realtime"),
        ("GET", "/v3/voice/realtime"),
    ),
}


def absent_routes() -> Iterator[Route]:
    """Routes that refuse everybody who has a key."""
    for what, operations in _ABSENT.items():
        for method, path in operations:
            yield Route(method, path, _refusal(what), "infer", is_documented=False)


def _refusal(what: str) -> Handler:
    async def refuse(request: Request) -> Response:
        raise Unsupported(f"{what}. ({request.method} {request.url.path[:200]})")

    return refuse
