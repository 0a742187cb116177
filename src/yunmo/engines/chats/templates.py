"""Conversations as the model's prompt: the repository's chat template, rendered in a process that it can only bring down itself."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Message, Tool
from yunmo.core.tool_calls import parsed_schema
from yunmo.engines.chats.companion import Companion

_PROGRAM = Path(__file__).with_name("template_program.py")
_SECONDS = 3.0
_START_SECONDS = 20.0
_PROBE = Tool("yunmo_probe")


class Renderer:
    """Renders one template, and waits for that so many `seconds`. Safe for several threads."""

    def __init__(self, template: str, special_tokens: Mapping[str, str], *, seconds: float = _SECONDS) -> None:
        self.template = template
        self._special_tokens = dict(special_tokens)
        self._program = Companion(["-I", "-X", "utf8", str(_PROGRAM)], {"template": template}, max(_START_SECONDS, seconds), seconds)
        self._knows_tools: bool | None = None

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = (), *, begins_answer: bool = True) -> str:
        """The prompt, up to where the assistant speaks; without that if no answer begins. Raises InvalidRequest with the template's words if it refuses."""
        values = {
            **self._special_tokens,
            "messages": list(messages),
            "tools": [_tool(each) for each in tools] or None,
            "documents": None,
            "add_generation_prompt": begins_answer,
        }
        answer = self._program.ask(values) or {"error": "it did not end within its time and memory"}
        if "error" in answer:
            raise InvalidRequest(f"The model's chat template refuses this conversation: {answer['error']}", param="messages")
        return str(answer["text"])

    def knows_tools(self) -> bool:
        """Whether the template writes tools into the prompt; one that does not drops them without a word."""
        if self._knows_tools is None:
            try:
                self._knows_tools = _PROBE.name in self.render([{"role": "user", "content": "?"}], (_PROBE,))
            except InvalidRequest:
                self._knows_tools = False
        return self._knows_tools

    def begin(self) -> None:
        """Start the process, which the first rendering would wait for."""
        self._program.begin()

    def close(self) -> None:
        """End the process."""
        self._program.close()


def values_of(message: Message) -> dict[str, Any]:
    """A message as templates expect it. Raises Unsupported for pictures and recordings."""
    if message.media:
        raise Unsupported("This model reads text only: leave pictures and recordings out of the messages.", param="messages")
    made: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _parsed(call.arguments)}}
            for call in message.tool_calls
        ]
    made |= {name: value for name in ("tool_call_id", "name") if (value := getattr(message, name)) is not None}
    return made


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": parsed_schema(tool.parameters, "tools")}
    return {"type": "function", "function": function}


def _parsed(arguments: str) -> Any:
    """An object, as templates expect it; the text itself where it is not JSON."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
