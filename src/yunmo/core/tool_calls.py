"""Tool calls for models whose chat template knows none: the tools go into the system message, a schema holds the answer to its form."""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Message, TextDelta, TokenLogprob, Tool, ToolCallDelta

Json = dict[str, Any]

_NAMED_TOOL_CHOICES = ("auto", "none", "required")
_RULES_CALL = 'To call functions, answer with a JSON object: {"tool_calls": [{"name": …, "arguments": {…}}]}.'
_MOST_CALLS = 4
"""Small models repeat a call until they run out of tokens."""

_DECODER = json.JSONDecoder()
_LENIENT = json.JSONDecoder(strict=False)
_CALL = re.compile(r'\{\s*"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')
_RESPONSE = re.compile(r'\s*\{\s*"response"\s*:\s*"')
_LONGEST_ESCAPE = 13
"""A character outside the basic plane is two escapes of six."""

_RULES_SAY = 'To answer yourself, answer with a JSON object: {"response": "…"}.'


def chosen_tools(request: Chat) -> tuple[tuple[Tool, ...], str]:
    """The tools that the model may call, and auto or required: choosing a tool by name leaves it alone on the list."""
    if not request.tools or request.tool_choice == "none":
        return (), "none"
    if request.tool_choice in _NAMED_TOOL_CHOICES:
        return request.tools, request.tool_choice
    named = tuple(tool for tool in request.tools if tool.name == request.tool_choice)
    if not named:
        known = ", ".join(tool.name for tool in request.tools)
        raise InvalidRequest(f"`tool_choice` names “{request.tool_choice}”, but the tools are: {known}.", param="tool_choice")
    return named, "required"


def parsed_schema(text: str, param: str) -> Any:
    """A JSON schema given as text; raises InvalidRequest if it is not JSON or no schema."""
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"The JSON schema is not valid JSON: {error}.", param=param) from None
    if not isinstance(schema, dict | bool):
        raise InvalidRequest("A JSON schema is an object (or true or false).", param=param)
    return schema


@dataclass(slots=True)
class Rewriting:
    """One such chat: `conversation` and `schema` take the place of its messages and tools, `read` that of the answer's deltas.

    An answer can only be told once it is whole.
    """

    tools: tuple[Tool, ...]
    required: bool
    parallel: bool
    messages: tuple[Message, ...]
    answers: dict[int, "_Growing"] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Chat) -> "Rewriting":
        """Raises Unsupported if the request also wants another form of answer."""
        if request.output_format is not None:
            raise Unsupported("With this model, tools and a response format cannot be asked for together.", param="response_format")
        tools, choice = chosen_tools(request)
        return cls(tools, choice == "required", request.parallel_tool_calls and request.tool_choice != tools[0].name, request.messages)

    def conversation(self) -> list[Json]:
        """The messages with the tools written out, each with its role and content."""
        return _with_system(self._instructions(), [_plain(message) for message in self.messages])

    def schema(self) -> Json:
        """The JSON schema that holds the answer to its form."""
        parameters = {
            f"tool{number}": _moved(parsed_schema(tool.parameters, "tools"), f"#/$defs/tool{number}")
            for number, tool in enumerate(self.tools)
        }
        calls = [
            _object({"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{place}"}}, ("name", "arguments"))
            for tool, place in zip(self.tools, parameters, strict=True)
        ]
        most = _MOST_CALLS if self.parallel else 1
        listed = {"type": "array", "items": calls[0] if len(calls) == 1 else {"anyOf": calls}, "minItems": 1, "maxItems": most}
        call = _object({"tool_calls": listed}, ("tool_calls",))
        form = call if self.required else {"anyOf": [call, _object({"response": {"type": "string"}}, ("response",))]}
        return form | {"$defs": parameters}

    def read(self, delta: TextDelta) -> TextDelta | None:
        """Keep a delta; the choice's last one comes back as the whole answer."""
        growing = self.answers.setdefault(delta.choice, _Growing())
        growing.text.append(delta.text)
        growing.reasoning.append(delta.reasoning)
        growing.logprobs.extend(delta.logprobs)
        if delta.finish_reason is None:
            return None
        whole = msgspec.structs.replace(delta, reasoning="".join(growing.reasoning), logprobs=tuple(growing.logprobs))
        return _told("".join(growing.text), whole)

    def _instructions(self) -> str:
        listed = "\n".join(
            json.dumps(
                {"name": tool.name, "description": tool.description, "parameters": parsed_schema(tool.parameters, "tools")},
                ensure_ascii=False,
            )
            for tool in self.tools
        )
        rules = _RULES_CALL if self.required else f"{_RULES_CALL} {_RULES_SAY}"
        return f"You can call these functions:\n{listed}\n{rules}"


@dataclass(slots=True)
class _Growing:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)


def _told(text: str, last: TextDelta) -> TextDelta:
    """What the JSON answer says: calls or text. Of one that was cut off, what had been said until then."""
    try:
        answer = json.loads(text)
    except ValueError:
        return _told_in_part(text, last)
    if isinstance(answer, dict) and isinstance(answer.get("tool_calls"), list):
        said = [(call["name"], json.dumps(call["arguments"], ensure_ascii=False)) for call in answer["tool_calls"]]
        return msgspec.structs.replace(last, text="", tool_calls=_calls(said), finish_reason="tool_calls")
    response = answer.get("response") if isinstance(answer, dict) else None
    return msgspec.structs.replace(last, text=response if isinstance(response, str) else text)


def _told_in_part(text: str, last: TextDelta) -> TextDelta:
    """The beginning of the form that the schema holds the answer to; the last call's arguments may end anywhere."""
    response = _RESPONSE.match(text)
    if response:
        return msgspec.structs.replace(last, text=_unquoted(text[response.end() :]))
    if not text.lstrip().startswith("{"):
        return msgspec.structs.replace(last, text=text)
    said: list[tuple[str, str]] = []
    at = 0
    while call := _CALL.search(text, at):
        try:
            _, at = _DECODER.raw_decode(text, call.end())
        except ValueError:
            at = len(text)
        said.append((json.loads(call["name"]), text[call.end() : at]))
    return msgspec.structs.replace(last, text="", tool_calls=_calls(said))


def _calls(said: Sequence[tuple[str, str]]) -> tuple[ToolCallDelta, ...]:
    """A delta for each call, given as name and arguments."""
    return tuple(ToolCallDelta(index, f"call_{secrets.token_hex(12)}", name, arguments) for index, (name, arguments) in enumerate(said))


def _unquoted(begun: str) -> str:
    """The text of a JSON string without its end; an escape that was cut off is left out."""
    for end in range(len(begun), max(-1, len(begun) - _LONGEST_ESCAPE), -1):
        try:
            said = str(_LENIENT.decode(f'"{begun[:end]}"'))
            said.encode()  # half of a pair of escapes is no character
        except ValueError:
            continue
        return said
    return ""


def _object(properties: dict[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _moved(schema: Any, place: str) -> Any:
    """A schema whose references to itself still hold where it is part of another one, at `place`."""
    if isinstance(schema, list):
        return [_moved(each, place) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: place + value[1:] if name == "$ref" and isinstance(value, str) and value.startswith("#") else _moved(value, place)
        for name, value in schema.items()
    }


def _plain(message: Message) -> Json:
    """A turn without the roles and fields that such a template does not know."""
    if message.tool_calls:
        calls = [{"name": call.name, "arguments": _parsed(call.arguments)} for call in message.tool_calls]
        return {"role": "assistant", "content": json.dumps({"tool_calls": calls}, ensure_ascii=False)}
    if message.role == "tool":
        return {"role": "user", "content": f"The function answered: {message.content or ''}"}
    return {"role": message.role, "content": message.content or ""}


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _with_system(instructions: str, messages: list[Json]) -> list[Json]:
    if messages and messages[0]["role"] in {"system", "developer"}:
        first = {"role": "system", "content": f"{messages[0]['content']}\n\n{instructions}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": instructions}, *messages]
