"""Decoders that chat: loaded to be trained, asked for their likeliest answer, and left as repositories that stop where an answer ends."""

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.lora import read_lora
from yunmo.core.rows import Turn
from yunmo.core.tasks import Chat, Choices, FinishReason, Output, Sampling, TextDelta, fold
from yunmo.core.training import ParitySample, Recipe
from yunmo.engines.chats.thoughts import BEGIN, END, ThoughtReader
from yunmo.engines.trainer.adapting import adapted, save_model
from yunmo.engines.trainer.conversations import Conversations, message_of
from yunmo.engines.trainer.learner import Batch, Example
from yunmo.engines.trainer.texts import IGNORED, load_tokenizer, pad

_READING_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
_SAMPLE_TOKENS = 64
_PARITY_PROMPTS = 16
_PARITY = Sampling(temperature=0.0, max_tokens=24, repetition_penalty=1.0)
_TOLD_CHARACTERS = 200


class Decoder:
    """A decoder with its tokenizer and the adapters of the recipe."""

    def __init__(self, base: Path, recipe: Recipe, *, drops_out: bool = True) -> None:
        """Load it whole, in fp32. Raises InvalidRequest for a base that is no decoder."""
        self.tokenizer = load_tokenizer(base)
        self._has_new_template = not self.tokenizer.chat_template
        whole = _load(base)
        if not drops_out:
            for module in whole.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        self.model = adapted(whole, recipe, "CAUSAL_LM")
        self.conversations = Conversations(self.tokenizer, _ends(whole, self.tokenizer))
        self._base = base
        self._recipe = recipe
        self._prompts: list[tuple[Chat, list[int]]] = []

    @property
    def notes(self) -> list[str]:
        """What people should know before the training."""
        return [*self.conversations.notes, *self._unservable()]

    def ask_later(self, conversations: Sequence[Sequence[Turn]]) -> None:
        """Keep the beginnings of these conversations, up to the first answer, to be asked when something has been learnt."""
        for turns in conversations[:_PARITY_PROMPTS]:
            first = next((place for place, turn in enumerate(turns) if turn.role == "assistant"), len(turns))
            request = Chat(messages=tuple(message_of(turn) for turn in turns[:first]), sampling=_PARITY)
            with contextlib.suppress(InvalidRequest):  # a template may refuse to begin with an answer
                prompt = self.conversations.prompt(request.messages)
                if len(prompt) + _SAMPLE_TOKENS <= _positions(self.model):
                    self._prompts.append((request, prompt))

    def sample(self) -> str:
        """The last words of the first conversation that was kept, and what the model answers; nothing where none was."""
        if not self._prompts:
            return ""
        request, prompt = self._prompts[0]
        told = request.messages[-1].content or ""
        return f"{told[:_TOLD_CHARACTERS]} -> {self._text(self._answer(prompt, _SAMPLE_TOKENS)[0])}"

    def parity(self) -> list[ParitySample]:
        """The likeliest answers to the conversations that were kept."""
        return [ParitySample(request, self._told(request, prompt), tuple(prompt)) for request, prompt in self._prompts]

    def save(self, folder: Path) -> None:
        """Leave it as a repository that stops at the ends that its template has, too."""
        save_model(self.model, None, folder, self._recipe)
        for name in _READING_FILES:  # as they are: a tokenizer that a library writes again is not always the same
            if (self._base / name).exists():
                shutil.copyfile(self._base / name, folder / name)
        if self._has_new_template:
            (folder / "chat_template.jinja").write_text(self.conversations.renderer.template, "utf-8")
        path = folder / "generation_config.json"
        if self.conversations.new_ends and path.exists():
            generation = json.loads(path.read_text("utf-8"))
            known = generation.get("eos_token_id")
            known = [] if known is None else [known] if isinstance(known, int) else known
            generation["eos_token_id"] = [*known, *sorted(self.conversations.new_ends - set(known))]
            path.write_text(json.dumps(generation, indent=2) + "\n", "utf-8")

    def _told(self, request: Chat, prompt: list[int]) -> Choices:
        """As the engines of decoders tell it: thoughts apart, where the template knows them."""
        ids, reason = self._answer(prompt, request.sampling.max_tokens or 1)
        delta = TextDelta(text=self._text(ids), finish_reason=reason)
        template = self.conversations.renderer.template
        deltas: list[Output] = [delta]
        if BEGIN in template and END in template:
            is_open = self.tokenizer.decode(prompt[-16:]).rstrip().endswith(BEGIN)
            deltas = list(ThoughtReader("thought" if is_open else "start").read(delta))
        told = fold(request, deltas)
        assert isinstance(told, Choices)
        return told

    def _answer(self, prompt: list[int], most: int) -> tuple[list[int], FinishReason]:
        """The likeliest tokens to follow, without the one that ends them."""
        from transformers import GenerationConfig

        ends = _ends(self.model, self.tokenizer) | self.conversations.new_ends
        config = GenerationConfig(
            do_sample=False, num_beams=1, repetition_penalty=1.0, max_new_tokens=most, eos_token_id=sorted(ends) or None, pad_token_id=0
        )
        inputs = torch.tensor([prompt])
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            ids = self.model.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs), generation_config=config)[0]
        self.model.train(was_training)
        written = ids[len(prompt) :].tolist()
        return (written[:-1], "stop") if written and written[-1] in ends else (written, "length")

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _unservable(self) -> list[str]:
        """What would keep the adapters from answering on their base as they have learnt to."""
        if self._recipe.lora is None or self._recipe.lora.merge:
            return []
        found = []
        try:
            written = json.dumps(self.model.peft_config["default"].to_dict(), default=list)
            read_lora(json.loads(written) | {"base_model_name_or_path": "base"})
        except InvalidRequest as error:
            found.append(f"These adapters could not be served on their base: {error.message}")
        if self.conversations.new_ends:
            ends = ", ".join(self.tokenizer.convert_ids_to_tokens(sorted(self.conversations.new_ends)))
            found.append(f"The chat template ends an answer with {ends}, and the base does not stop there, with these adapters neither.")
        return [f'{each} Set "lora": {{"merge": true}}.' for each in found]


def batch_of(examples: Sequence[Example]) -> Batch:
    """Sequences with their labels, padded at the end by what is neither read nor learnt."""
    return {
        "input_ids": pad([example["input_ids"] for example in examples], 0),
        "attention_mask": pad([[1] * len(example["input_ids"]) for example in examples], 0),
        "labels": pad([example["labels"] for example in examples], IGNORED),
        "use_cache": False,
    }


def token_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[int, int]:
    """How many labelled tokens the model would have chosen, of how many: logits (rows, tokens, vocabulary), labels (rows, tokens)."""
    wanted = labels[:, 1:]
    learnt = wanted != IGNORED
    return int((logits[:, :-1][learnt].argmax(-1) == wanted[learnt]).sum()), int(learnt.sum())


def _load(base: Path) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            str(base), local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"This base is no decoder that can be loaded: {error}", param="model") from error
    missing = sorted(report["missing_keys"])
    is_encoder = model.config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(model.config, "is_decoder", False)
    if missing or is_encoder:
        lacks = "it reads texts, and writes none" if is_encoder else f"it has no weights for {missing[0]}"
        raise InvalidRequest(f"This base cannot learn to answer: {lacks}. Begin with a decoder (Llama, Qwen, SmolLM …).", param="model")
    return model


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens at which the model stops when it is served."""
    found: set[int] = set()
    for stated in (model.generation_config.eos_token_id, getattr(model.config, "eos_token_id", None), tokenizer.eos_token_id):
        found.update(each for each in (stated if isinstance(stated, list) else [stated]) if isinstance(each, int))
    return frozenset(found)


def _positions(model: Any) -> int:
    config = model.config
    return int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 10**9)
