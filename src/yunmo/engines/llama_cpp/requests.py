"""Our requests in the words of llama.cpp's server (its OpenAI-shaped chat and completion bodies)."""

from collections.abc import Sequence
from typing import Any

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Generate, Message, OutputFormat, Sampling, Tool
from yunmo.core.tool_calls import Rewriting, chosen_tools, parsed_schema

Body = dict[str, Any]

_SEEDS = 2**32 - 1
"""llama.cpp's seeds are 32 bits, the last one meaning "a random one"."""

_SAME_NAME = ("temperature", "top_p", "top_k", "min_p", "typical_p", "frequency_penalty", "presence_penalty")


def chat_body(request: Chat) -> Body:
    """The body of a chat. Raises Unsupported or InvalidRequest for what llama.cpp does not do."""
    if not request.messages:
        raise InvalidRequest("The conversation has no message; send at least one.", param="messages")
    body: Body = {
        "messages": [_message(message) for message in request.messages],
        **_sampling(request.sampling),
        **_chat_format(request.output_format),
    }
    tools, choice = chosen_tools(request)
    if tools:
        body |= {
            "tools": [_tool(tool) for tool in tools],
            "tool_choice": choice,
            "parallel_tool_calls": request.parallel_tool_calls,
        }
    if request.top_logprobs is not None:
        # asked for none, llama.cpp leaves out the chosen token's too; the surplus is cut off in `answers`
        body |= {"logprobs": True, "top_logprobs": max(1, request.top_logprobs)}
    return body


def generate_body(request: Generate, prompt: str | Sequence[int]) -> Body:
    """The body of a generation from `prompt` (which may be the request's, shortened). Raises as `chat_body`."""
    if not prompt:
        raise InvalidRequest("The prompt is empty; send at least one character or token.", param="prompt")
    if request.echo and request.top_logprobs is not None:
        raise Unsupported("This engine has no log probabilities of the prompt: leave out `echo` or `logprobs`.", param="echo")
    body: Body = {"prompt": prompt, **_sampling(request.sampling), **_generate_format(request.output_format)}
    if request.top_logprobs is not None:
        body["logprobs"] = max(1, request.top_logprobs)
    return body


def with_tools_written_out(body: Body, rewriting: Rewriting) -> Body:
    """The chat's body for a template that knows no tools."""
    plain = {key: value for key, value in body.items() if key not in {"tools", "tool_choice", "parallel_tool_calls"}}
    form = {"type": "json_schema", "json_schema": {"schema": rewriting.schema()}}
    return plain | {"messages": rewriting.conversation(), "response_format": form}


def with_seed(body: Body, sampling: Sampling, offset: int) -> Body:
    """The body with the request's seed, moved by `offset` so that further choices differ; without one if it has none."""
    return body if sampling.seed is None else body | {"seed": (sampling.seed + offset) % _SEEDS}


_WHOLE_TEXT = 1 << 16
"""Penalties count the last so many tokens: the whole text, as OpenAI does; llama.cpp's own default is 64."""


def _sampling(sampling: Sampling) -> Body:
    if sampling.beams is not None and sampling.beams != 1:
        raise Unsupported("This engine has no beam search: leave `beams` out.", param="beams")
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        raise InvalidRequest("`max_tokens` must be at least 1.", param="max_tokens")
    body: Body = {name: value for name in _SAME_NAME if (value := getattr(sampling, name)) is not None}
    if sampling.max_tokens is not None:
        body["max_tokens"] = sampling.max_tokens
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.repetition_penalty is not None:
        body["repeat_penalty"] = sampling.repetition_penalty
    if any((sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty)):
        body["repeat_last_n"] = _WHOLE_TEXT
    if sampling.logit_bias:
        body["logit_bias"] = [[_token_id(token), bias] for token, bias in sampling.logit_bias.items()]
    return body


def _token_id(token: str) -> int:
    try:
        return int(token)
    except ValueError:
        raise InvalidRequest(f"`logit_bias` has the key “{token}”; its keys are token ids.", param="logit_bias") from None


def _chat_format(form: OutputFormat | None) -> Body:
    match form:
        case None:
            return {}
        case OutputFormat(kind="json"):
            return {"response_format": {"type": "json_object"}}
        case OutputFormat(kind="json_schema"):
            schema = parsed_schema(form.value, "response_format")
            return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
        case _:
            return _grammar(form)


def _generate_format(form: OutputFormat | None) -> Body:
    match form:
        case None:
            return {}
        case OutputFormat(kind="json"):
            return {"json_schema": {"type": "object"}}
        case OutputFormat(kind="json_schema"):
            return {"json_schema": parsed_schema(form.value, "output_format")}
        case _:
            return _grammar(form)


def _grammar(form: OutputFormat) -> Body:
    if form.kind == "regex":
        raise Unsupported("This engine does not hold text to a regular expression; write a GBNF grammar instead.", param="output_format")
    if not form.value.strip():
        raise InvalidRequest("The grammar is empty.", param="output_format")
    if form.value.lstrip().startswith("%"):
        # Lark grammars go to another library, which on a fault generates without any grammar
        raise InvalidRequest("The grammar must be GBNF.", param="output_format")
    return {"grammar": form.value}


def _message(message: Message) -> Body:
    if message.media:
        raise Unsupported("This model reads text only: leave images and recordings out.", param="messages")
    body: Body = {"role": message.role, "content": message.content}
    if message.name is not None:
        body["name"] = message.name
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    elif message.content is None:
        body["content"] = ""
    return body


def _tool(tool: Tool) -> Body:
    parameters = parsed_schema(tool.parameters, "tools")
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": parameters}}
