"""What this model's template and sampler can be held to: found out by asking llama.cpp, since it would stay silent."""

from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.engines.llama_cpp.server import Server

_FORBIDDEN = "~"
"""A character that no JSON text begins with."""

_OVERWHELMING = 1e6
_REMEMBERED = 256

_PROBE_TOOL = {
    "type": "function",
    "function": {"name": "yunmo_probe", "description": "", "parameters": {"type": "object", "properties": {}}},
}


class Constraints:
    """Checks before a request. Blocking; answers are remembered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._template_has_tools: bool | None = None
        self._enforced: dict[bytes, bool] = {}

    @property
    def template_has_tools(self) -> bool:
        """Whether the model's chat template writes the tools into the prompt; llama.cpp drops them without a word if not."""
        if self._template_has_tools is None:
            chat = {"messages": [{"role": "user", "content": "?"}]}
            self._template_has_tools = "yunmo_probe" in self._server.prompt(chat | {"tools": [_PROBE_TOOL]})
        return self._template_has_tools

    def check_schema(self, schema: Any) -> None:
        """Raise InvalidRequest for a schema that a generation would not be held to.

        For generations llama.cpp gives the schema to LLGuidance and goes on without it if that cannot use it. So one token
        is generated under a bias that only a working constraint withstands.
        """
        key = msgspec.json.encode(schema)
        if key not in self._enforced:
            if len(self._enforced) >= _REMEMBERED:
                self._enforced.clear()
            self._enforced[key] = self._is_enforced(schema)
        if not self._enforced[key]:
            raise InvalidRequest(
                "The engine cannot hold text to this JSON schema; it uses something unsupported (`not`, `uniqueItems`, "
                "references to other documents, patterns with look-around …). Simplify it.",
                param="output_format",
            )

    def _is_enforced(self, schema: Any) -> bool:
        chunks: list[bytes] = []

        def keep(data: bytes) -> bool:
            chunks.append(data)
            return False

        body = {
            "prompt": _FORBIDDEN,
            "max_tokens": 1,
            "json_schema": schema,
            "logit_bias": [[token, _OVERWHELMING] for token in self._server.tokens(_FORBIDDEN, special=False)],
            "temperature": 0,
            "stream": True,
            **self._server.selected(None),
        }
        self._server.generate(msgspec.json.encode(body), keep)
        return not any(_FORBIDDEN.encode() in data or b'"error"' in data for data in chunks)
