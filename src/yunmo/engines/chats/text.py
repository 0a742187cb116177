"""A repository's own tokenizer, chat template and defaults: what goes into the model, and what its tokens spell."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Generate, Tool
from yunmo.engines.chats import thoughts
from yunmo.engines.chats.templates import Renderer
from yunmo.engines.chats.tools import BEGIN

_TOKENS_OF_MARK = 16
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


class Text:
    """Reads requests as tokens. Safe for several threads."""

    def __init__(self, directory: Path, vocabulary: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.defaults = _document(directory, "generation_config.json")
        self.vocabulary = vocabulary
        settings = _document(directory, "tokenizer_config.json")
        special = {name: token for name in _SPECIAL if (token := _content(settings.get(name)))}
        self.ends = self._ends(directory, special)
        template = _template(directory, settings)
        self._renderer = Renderer(template, special) if template else None

    def begin(self) -> None:
        """Start the renderer's process, which the first conversation would wait for."""
        if self._renderer is not None:
            self._renderer.begin()

    @property
    def chats(self) -> bool:
        """Whether the model has a template for conversations."""
        return self._renderer is not None

    def writes_calls(self) -> bool:
        """Whether the template teaches the model to write calls of tools in the form that is read here."""
        return self._renderer is not None and BEGIN in self._renderer.template and self._renderer.knows_tools()

    def thought_at(self, prompt: Sequence[int]) -> thoughts.Begin | None:
        """Where thoughts may begin in what follows the prompt; None if the template knows none."""
        if self._renderer is None or thoughts.BEGIN not in self._renderer.template or thoughts.END not in self._renderer.template:
            return None
        return "thought" if self.spelled(prompt[-_TOKENS_OF_MARK:]).rstrip().endswith(thoughts.BEGIN) else "start"

    def chat_ids(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = ()) -> list[int]:
        """The tokens of a conversation. Raises InvalidRequest for one that the template refuses."""
        if self._renderer is None:
            raise Unsupported("This model has no chat template: use the task “generate”.")
        return list(self.tokenizer.encode(self._renderer.render(messages, tools), add_special_tokens=False).ids)

    def prompt_ids(self, request: Generate) -> list[int]:
        """The tokens to continue. Raises InvalidRequest for ids that there are not."""
        ids = self._ids(request.prompt)
        return ids if request.truncate_prompt_tokens is None else ids[-max(1, request.truncate_prompt_tokens) :]

    def spelled(self, prompt: str | Sequence[int]) -> str:
        """A prompt as text."""
        return prompt if isinstance(prompt, str) else str(self.tokenizer.decode(list(prompt), skip_special_tokens=False))

    def close(self) -> None:
        """End the renderer's process."""
        if self._renderer is not None:
            self._renderer.close()

    def _ids(self, prompt: str | Sequence[int]) -> list[int]:
        if isinstance(prompt, str):
            return list(self.tokenizer.encode(prompt).ids)
        strange = next((each for each in prompt if not 0 <= each < self.vocabulary), None)
        if strange is not None:
            raise InvalidRequest(f"The prompt has the token id {strange}; this model's go from 0 to {self.vocabulary - 1}.", param="prompt")
        return list(prompt)

    def _ends(self, directory: Path, special: dict[str, str]) -> frozenset[int]:
        found: set[int] = set()
        for stated in (self.defaults.get("eos_token_id"), _document(directory, "config.json").get("eos_token_id")):
            found.update(each for each in (stated if isinstance(stated, list) else [stated]) if isinstance(each, int) and each >= 0)
        named = self.tokenizer.token_to_id(special["eos_token"]) if "eos_token" in special else None
        return frozenset(found if named is None else found | {named})


def _document(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _content(token: Any) -> str | None:
    return token if isinstance(token, str) else token.get("content") if isinstance(token, dict) else None


def _template(directory: Path, settings: dict[str, Any]) -> str | None:
    """The template for chats; the one called default where there are several."""
    file = directory / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        template = next((each["template"] for each in template if each.get("name") == "default"), None)
    return template if isinstance(template, str) else None
