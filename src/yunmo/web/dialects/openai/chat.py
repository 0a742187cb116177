"""POST /v1/chat/completions: a conversation in, an answer or its deltas out."""

import time
from collections.abc import AsyncIterator, Iterable, Iterator

from msgspec import UNSET
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Answering
from yunmo.core.errors import InternalError, InvalidRequest, YunmoError
from yunmo.core.tasks import Choice, Choices, Output, TextDelta, TokenLogprob, ToolCallDelta
from yunmo.web.dialects.openai.chat_request import chat_request
from yunmo.web.dialects.openai.chat_wire import (
    CHAT_REFUSED,
    ChatBody,
    ChatCompletion,
    ChoiceReply,
    ChunkChoice,
    Delta,
    FunctionCall,
    LikelyToken,
    LogprobsReply,
    MessageReply,
    TokenReply,
    ToolCallPiece,
    ToolCallReply,
)
from yunmo.web.dialects.openai.errors import error_event
from yunmo.web.dialects.openai.fields import read
from yunmo.web.dialects.openai.headers import answer_headers
from yunmo.web.dialects.openai.sampling import includes_usage
from yunmo.web.dialects.openai.streams import DONE, Frame, begin_streaming, deltas
from yunmo.web.dialects.openai.wire import fingerprint, finite, new_id, token_usage
from yunmo.web.replies import event_reply, json_reply
from yunmo.web.request import Request
from yunmo.web.waiting import ask, comments

_ANY_MODEL = frozenset({"", "dummy", "tgi"})
"""What Hugging Face's clients send as `model` when the URL names it."""


async def chat_handler(cloud: Cloud, request: Request) -> Response:
    """The model is named in the body."""
    body = await read(request, ChatBody, CHAT_REFUSED)
    if not body.model:
        raise InvalidRequest("'model' is missing. GET /v1/models lists what may be asked.", param="model")
    return await chat_reply(cloud, request, body.model, body)


async def model_chat_handler(cloud: Cloud, request: Request) -> Response:
    """The model is named in the path; the body may repeat it or say a placeholder."""
    name = "/".join(request.params[part] for part in ("namespace", "name") if part in request.params)
    body = await read(request, ChatBody, CHAT_REFUSED)
    if body.model not in _ANY_MODEL | {name, name.partition("@")[0]}:
        raise InvalidRequest(f"The path asks for '{name}', the body for '{body.model}'. Name one model.", param="model")
    return await chat_reply(cloud, request, name, body)


async def chat_reply(cloud: Cloud, request: Request, model: str, body: ChatBody) -> Response:
    """The answer of `model`, streamed if the body says so."""
    started = time.perf_counter()
    chat = chat_request(body)
    has_usage = includes_usage(body)
    if body.stream:
        answering = await begin_streaming(cloud, request, model, chat)
        events = _events(answering, chat.choices, has_usage=has_usage)
        return event_reply(events, answer_headers(request, started, answering), closing=answering.close)
    answering = await ask(cloud, request, model, chat)
    output = await answering.whole()
    return json_reply(_completion(answering, output), headers=answer_headers(request, started, answering))


def _completion(answering: Answering, output: Output) -> ChatCompletion:
    if not isinstance(output, Choices):
        raise InternalError(f"The model answered a chat with {type(output).__name__}.")
    return ChatCompletion(
        id=new_id("chatcmpl"),
        created=int(time.time()),
        model=answering.served.name,
        choices=[_choice(index, choice) for index, choice in enumerate(output.choices)],
        usage=token_usage(answering.usage),
        system_fingerprint=fingerprint(answering.served.revision),
    )


def _choice(index: int, choice: Choice) -> ChoiceReply:
    message = MessageReply(choice.text or (None if choice.tool_calls else ""))
    if choice.tool_calls:
        message.tool_calls = [ToolCallReply(call.id, FunctionCall(call.name, call.arguments)) for call in choice.tool_calls]
    if choice.reasoning:
        message.reasoning_content = choice.reasoning
    return ChoiceReply(index, message, _logprobs(choice.logprobs), choice.finish_reason)


async def _events(answering: Answering, choices: int, *, has_usage: bool) -> AsyncIterator[bytes]:
    served = answering.served
    frame = Frame("chat.completion.chunk", new_id("chatcmpl"), served.name, fingerprint(served.revision), has_usage=has_usage)
    unfinished = set(range(choices))
    try:
        async for comment in comments(answering):
            yield comment
        for index in range(choices):
            yield frame.chunk(ChunkChoice(index, Delta(role="assistant", content="", refusal=None)))
        async for delta in deltas(answering):
            for choice in _chunk_choices(delta):
                yield frame.chunk(choice)
            if delta.finish_reason is not None:
                unfinished.discard(delta.choice)
    except YunmoError as error:
        yield error_event(error)
        return
    for index in sorted(unfinished):
        yield frame.chunk(ChunkChoice(index, Delta(), finish_reason="stop"))
    if has_usage:
        yield frame.usage(token_usage(answering.usage))
    yield DONE


def _chunk_choices(delta: TextDelta) -> Iterator[ChunkChoice]:
    """The delta's news, and apart from it, as clients know it, the end."""
    if delta.text or delta.reasoning or delta.tool_calls or delta.logprobs:
        news = Delta(content=delta.text or UNSET, reasoning_content=delta.reasoning or UNSET)
        if delta.tool_calls:
            news.tool_calls = [_piece(call) for call in delta.tool_calls]
        yield ChunkChoice(delta.choice, news, _logprobs(delta.logprobs))
    if delta.finish_reason is not None:
        yield ChunkChoice(delta.choice, Delta(), finish_reason=delta.finish_reason)


def _piece(call: ToolCallDelta) -> ToolCallPiece:
    piece = ToolCallPiece(call.index, FunctionCall(call.name or UNSET, call.arguments))
    if call.id is not None:
        piece.id = call.id
        piece.type = "function"
    return piece


def _logprobs(tokens: Iterable[TokenLogprob]) -> LogprobsReply | None:
    content = [
        TokenReply(each.token, finite(each.logprob), list(each.token.encode()), [_likely(other) for other in each.top]) for each in tokens
    ]
    return LogprobsReply(content) if content else None


def _likely(token: TokenLogprob) -> LikelyToken:
    return LikelyToken(token.token, finite(token.logprob), list(token.token.encode()))
