"""From this vendor's chat body to our task."""

import base64
import binascii
import re

import msgspec

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, MediaPart, Message, OutputFormat, Tool, ToolCall
from yunmo.web.dialects.openai.chat_wire import (
    ChatBody,
    ChosenTool,
    ImagePart,
    MessageBody,
    Part,
    RefusalPart,
    ResponseFormat,
    TextPart,
    ToolCallBody,
)
from yunmo.web.dialects.openai.fields import raw_object
from yunmo.web.dialects.openai.sampling import sampling

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_CHOICE_WORDS = frozenset({"auto", "none", "required"})


def chat_request(body: ChatBody) -> Chat:
    """The task. Raises InvalidRequest or Unsupported that names the field."""
    tools = _tools(body)
    return Chat(
        messages=tuple(_message(message, f"messages[{index}]") for index, message in enumerate(body.messages)),
        tools=tools,
        tool_choice=_tool_choice(body, tools),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        sampling=sampling(body, body.max_completion_tokens or body.max_tokens),
        choices=body.n or 1,
        top_logprobs=_top_logprobs(body),
        output_format=_output_format(body.response_format),
    )


def _message(body: MessageBody, param: str) -> Message:
    if body.function_call is not None:
        raise Unsupported(f"'{param}.function_call' was replaced by 'tool_calls'.", param=f"{param}.function_call")
    if body.audio is not None:
        raise Unsupported("Earlier spoken answers are not kept. Send their words as 'content'.", param=f"{param}.audio")
    if body.tool_calls and body.role != "assistant":
        raise InvalidRequest(f"Only an assistant's message has 'tool_calls', not a {body.role}'s.", param=f"{param}.tool_calls")
    if (body.tool_call_id is None) == (body.role == "tool"):
        raise InvalidRequest(
            "A tool's message, and only that, needs 'tool_call_id': the call that it answers.", param=f"{param}.tool_call_id"
        )
    content, media = _content(body, param)
    if content is None and not media and not body.tool_calls:
        raise InvalidRequest("The message has no 'content'.", param=f"{param}.content")
    return Message(
        role="system" if body.role == "developer" else body.role,
        content=content,
        media=media,
        tool_calls=tuple(_tool_call(call) for call in body.tool_calls or ()),
        tool_call_id=body.tool_call_id,
        name=body.name,
    )


def _content(body: MessageBody, param: str) -> tuple[str | None, tuple[MediaPart, ...]]:
    if body.content is None:
        return body.refusal, ()
    if isinstance(body.content, str):
        return body.content, ()
    texts: list[str] = []
    media: list[MediaPart] = []
    for index, part in enumerate(body.content):
        found = _part(part, f"{param}.content[{index}]")
        if isinstance(found, str):
            texts.append(found)
        elif body.role == "user":
            media.append(found)
        else:
            raise InvalidRequest(f"Only a user's message can have an {found.kind}, not a {body.role}'s.", param=f"{param}.content[{index}]")
    return "\n".join(texts) if texts else None, tuple(media)


def _part(part: Part, param: str) -> str | MediaPart:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, RefusalPart):
        return part.refusal
    if isinstance(part, ImagePart):
        return MediaPart("image", _picture(part.image_url.url, f"{param}.image_url.url"))
    return MediaPart("audio", _base64(part.input_audio.data, f"{param}.input_audio.data"))


def _picture(url: str, param: str) -> bytes:
    prefix = _DATA_URL.match(url)
    if prefix is None:
        raise Unsupported(
            "Pictures must come inside the request, as 'data:image/png;base64,…'; the server fetches nothing from the network.", param=param
        )
    return _base64(url[prefix.end() :], param)


def _base64(text: str, param: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"'{param}' is not valid base64: {error}.", param=param) from error
    if not data:
        raise InvalidRequest(f"'{param}' is empty.", param=param)
    return data


def _tool_call(call: ToolCallBody) -> ToolCall:
    arguments = call.function.arguments
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    return ToolCall(call.id, call.function.name, arguments)


def _tools(body: ChatBody) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    names: set[str] = set()
    for index, tool in enumerate(body.tools or ()):
        function = tool.function
        if function.name in names or function.name in _CHOICE_WORDS:
            what = "is given twice" if function.name in names else "is a word of 'tool_choice'"
            raise InvalidRequest(f"The tool name '{function.name}' {what}. Rename it.", param=f"tools[{index}].function.name")
        names.add(function.name)
        parameters = raw_object(function.parameters, f"tools[{index}].function.parameters")
        tools.append(Tool(function.name, function.description or "", parameters or '{"type":"object","properties":{}}'))
    return tuple(tools)


def _tool_choice(body: ChatBody, tools: tuple[Tool, ...]) -> str:
    choice = body.tool_choice or "auto"
    if isinstance(choice, str) and choice != "required":
        return choice
    if not tools:
        raise InvalidRequest("'tool_choice' asks for a tool, but 'tools' is empty.", param="tool_choice")
    if not isinstance(choice, ChosenTool):
        return choice
    name = choice.function.name
    if all(tool.name != name for tool in tools):
        raise InvalidRequest(f"'tool_choice' names '{name}', which is not among 'tools'.", param="tool_choice")
    return name


def _top_logprobs(body: ChatBody) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs:
        raise InvalidRequest("'top_logprobs' needs 'logprobs': true.", param="top_logprobs")
    return None


def _output_format(body: ResponseFormat | None) -> OutputFormat | None:
    if body is None or body.type == "text":
        return None
    if body.type == "json_schema":
        schema = raw_object(body.json_schema.schema, "response_format.json_schema.schema") if body.json_schema else None
        schema = schema or raw_object(body.value, "response_format.value")
        if schema is None:
            raise InvalidRequest(
                "'response_format' of type json_schema needs 'json_schema.schema'.", param="response_format.json_schema.schema"
            )
        return OutputFormat("json_schema", schema)
    if body.type == "regex":
        return OutputFormat("regex", _expression(body.value))
    schema = raw_object(body.value, "response_format.value")
    return OutputFormat("json") if schema is None else OutputFormat("json_schema", schema)


def _expression(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw or b"null", type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest("'response_format' of type regex needs a text as 'value'.", param="response_format.value") from error
