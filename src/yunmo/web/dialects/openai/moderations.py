"""POST /v1/moderations: a text classifier's labels as categories.

The categories are the classifier's own labels. A label is a hit from a score of one half; labels that say that all is well
("safe", "not toxic" …) are listed but never flag.
"""

import re
import time
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Answering
from yunmo.core.errors import InternalError, InvalidRequest, ModelNotFound, Unsupported
from yunmo.core.tasks import Classify, Label, Labels
from yunmo.web.dialects.openai.chat_wire import ImagePart, TextPart
from yunmo.web.dialects.openai.fields import Refusals, read
from yunmo.web.dialects.openai.headers import answer_headers
from yunmo.web.dialects.openai.sampling import ModelName
from yunmo.web.dialects.openai.wire import new_id
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.waiting import ask

INPUTS_LIMIT = 256
DEFAULT_MODEL = "moderation"
THRESHOLD = 0.5

_REFUSED: Refusals = {}
_ALL_IS_WELL = re.compile(
    r"(safe|ok|okay|neutral|normal|clean|none|harmless|benign|acceptable|appropriate|sfw|ham|nontoxic"
    r"|no[tn]?[ _-](?!safe|ok|normal|clean|harmless|benign|acceptable|appropriate|sfw).*)",
    re.IGNORECASE,
)


class ModerationBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/moderations; without a model the one named "moderation" answers."""

    input: str | Annotated[list[str | TextPart | ImagePart], Meta(min_length=1, max_length=INPUTS_LIMIT)]
    model: ModelName | None = None
    user: str | None = None


class ModerationResult(msgspec.Struct):
    """What the classifier says of one text."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationReply(msgspec.Struct):
    """The reply of POST /v1/moderations."""

    id: str
    model: str
    results: list[ModerationResult]


async def moderation_handler(cloud: Cloud, request: Request) -> Response:
    """One result per text; a list of parts is one input."""
    started = time.perf_counter()
    body = await read(request, ModerationBody, _REFUSED)
    task = Classify(texts=_texts(body.input))
    answering = await _begin(cloud, request, body.model, task)
    output = await answering.whole()
    if not isinstance(output, Labels):
        raise InternalError(f"The model classified with {type(output).__name__}.")
    reply = ModerationReply(new_id("modr"), answering.served.name, [_result(row) for row in output.rows])
    return json_reply(reply, headers=answer_headers(request, started, answering))


async def _begin(cloud: Cloud, request: Request, model: str | None, task: Classify) -> Answering:
    try:
        return await ask(cloud, request, model or DEFAULT_MODEL, task)
    except ModelNotFound as error:
        if model:
            raise
        raise InvalidRequest(
            f"'model' is missing, and there is no deployment named '{DEFAULT_MODEL}'. Name a text classifier.", param="model"
        ) from error


def _texts(body: str | list[str | TextPart | ImagePart]) -> tuple[str, ...]:
    if isinstance(body, str):
        return (body,)
    if any(isinstance(each, ImagePart) for each in body):
        raise Unsupported("Pictures cannot be moderated. Send texts.", param="input")
    texts = tuple(each for each in body if isinstance(each, str))
    if len(texts) == len(body):
        return texts
    if texts:
        raise InvalidRequest("'input' mixes texts and parts. Send one kind.", param="input")
    return ("\n".join(each.text for each in body if isinstance(each, TextPart)),)


def _result(row: tuple[Label, ...]) -> ModerationResult:
    categories = {each.label: each.score >= THRESHOLD for each in row}
    return ModerationResult(
        flagged=any(is_hit and not _ALL_IS_WELL.fullmatch(label) for label, is_hit in categories.items()),
        categories=categories,
        category_scores={each.label: each.score for each in row},
        category_applied_input_types={each.label: ["text"] for each in row},
    )
