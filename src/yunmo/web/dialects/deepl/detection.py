"""POST /v3/detect/language: what texts are written in."""

import asyncio

from starlette.responses import Response

from yunmo.apps.translate.identification import identify
from yunmo.core.errors import InvalidRequest
from yunmo.web.dialects.deepl.wire import BODY_LIMIT_BYTES, DetectBody, Detection, Detections
from yunmo.web.parameters import converted, read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request

_SURE = 0.5
"""What is less likely than not is not told."""


async def detect(request: Request) -> Response:
    """Each text's language, where it is sure enough, and why there is none."""
    parameters = await read_parameters(request, BODY_LIMIT_BYTES, ("text",))
    if not parameters.get("text"):
        raise InvalidRequest("Parameter 'text' not specified.", param="text")
    body = converted(parameters, DetectBody)
    return json_reply(Detections(await asyncio.to_thread(lambda: [_detection(text) for text in body.text])))


def _detection(text: str) -> Detection:
    guesses = identify(text)
    if not guesses:
        return Detection("none")
    if guesses[0].confidence < _SURE:
        return Detection("insufficient_confidence")
    return Detection("success", guesses[0].language)
