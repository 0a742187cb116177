"""A decoder that chats and generates, on vLLM's continuous batching. `library.prepare` comes before this is imported."""

import json
from pathlib import Path
from typing import Any

from yunmo.core.engine import Plan, Progress, read_options
from yunmo.core.errors import EngineFailed
from yunmo.core.tasks import Chat, Generate
from yunmo.engines.chats.engine import ChatEngine
from yunmo.engines.chats.text import Text
from yunmo.engines.chats.trials import Trials
from yunmo.engines.vllm.decoders import decoder_of
from yunmo.engines.vllm.kind import CONTEXT_TOKENS, VllmOptions
from yunmo.engines.vllm.requests import check, parameters_of
from yunmo.engines.vllm.running import Running

_TRIALS = "yunmo.engines.vllm.grammar_trial"


class VllmEngine(ChatEngine):
    """One model in vLLM's engine."""

    @classmethod
    def load(cls, directory: Path, plan: Plan, progress: Progress) -> "VllmEngine":
        """Load the repository's model. Raises EngineFailed for a repository that this engine does not run."""
        decoder = decoder_of(json.loads((directory / "config.json").read_text("utf-8")))
        if decoder is None:
            raise EngineFailed("Its config.json is of no decoder that vLLM is known to run.")
        progress("loading", 0.3)
        context_tokens = min(plan.context_tokens or CONTEXT_TOKENS, decoder.context_tokens)
        text = Text(directory, decoder.vocabulary)
        running = Running(directory, decoder, plan, read_options(plan, VllmOptions), context_tokens)
        progress("loading", 1.0)
        ends = ",".join(map(str, sorted(text.ends)))
        return cls(running, text, Trials(_TRIALS, (str(directory), str(decoder.vocabulary), ends)), context_tokens)

    def _check(self, request: Chat | Generate) -> None:
        check(request)

    def _config(self, request: Chat | Generate, room: int, choice: int) -> Any:
        return parameters_of(request, self._text, room, choice)
