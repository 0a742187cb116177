"""A decoder that chats and generates, on OpenVINO GenAI's continuous batching."""

from pathlib import Path
from typing import Any

from yunmo.core.engine import Plan, Progress, read_options
from yunmo.core.tasks import Chat, Generate
from yunmo.engines.chats.engine import ChatEngine
from yunmo.engines.chats.text import Text
from yunmo.engines.openvino_genai.derive import derive
from yunmo.engines.openvino_genai.kind import CONTEXT_TOKENS, OpenVinoGenAiOptions
from yunmo.engines.openvino_genai.requests import check, config_of
from yunmo.engines.openvino_genai.running import Running
from yunmo.engines.openvino_genai.sources import source
from yunmo.engines.openvino_genai.trials import trials_beside


class OpenVinoGenAiEngine(ChatEngine):
    """One model as an OpenVINO graph."""

    @classmethod
    def load(cls, directory: Path, derived: Path, plan: Plan, progress: Progress) -> "OpenVinoGenAiEngine":
        """Load the repository's model, converted first if need be."""
        options = read_options(plan, OpenVinoGenAiOptions)
        read = source(directory, derived, options.file, progress)
        context_tokens = min(plan.context_tokens or CONTEXT_TOKENS, read.decoder.context_tokens)
        text = Text(read.texts, read.decoder.vocabulary)
        graph = derive(read, derived, plan.precision or "int8", text.ends, progress)
        progress("loading", 0.9)
        text.begin()
        running = Running(graph, plan, context_tokens)
        progress("loading", 1.0)
        return cls(running, text, trials_beside(graph, text.ends), context_tokens)

    def _check(self, request: Chat | Generate) -> None:
        check(request)

    def _config(self, request: Chat | Generate, room: int, choice: int) -> Any:
        return config_of(request, self._text, room, choice)
