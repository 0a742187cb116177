"""Whisper, which writes what it hears: its prompt, its labels, and how well it does."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.metrics import wer
from yunmo.core.rows import WITHOUT_SPACES
from yunmo.core.training import Recipe
from yunmo.engines.recordings import Samples
from yunmo.engines.trainer.adapting import bare
from yunmo.engines.trainer.learner import Batch, Example, Judge
from yunmo.engines.trainer.recordings import Recording, Recordings
from yunmo.engines.trainer.texts import IGNORED, load_tokenizer, pad

_HEARD_FOR_LANGUAGE = 8
_SECONDS_OF_TIMESTAMP = 0.02


@dataclass(frozen=True, slots=True)
class Writer:
    """A Whisper that learns to write a text with the times of its beginning and its end, which is how it is asked where it is served."""

    model: Any
    tokenizer: Any
    recordings: Recordings
    language: str | None
    most_tokens: int
    notes: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()

    @classmethod
    def load(cls, base: Path, recipe: Recipe, recordings: Recordings, heard: Sequence[Recording]) -> Self:
        """The base, asked for one language: the one of its generation config, or the one that it hears in most of the first recordings."""
        from transformers import WhisperForConditionalGeneration

        try:
            model = WhisperForConditionalGeneration.from_pretrained(
                str(base), local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"The base cannot be loaded as a Whisper: {error}", param="model") from error
        language, notes = _language(model, recordings, heard)
        most = model.config.max_target_positions
        if recipe.max_tokens is not None and recipe.max_tokens > most:
            raise InvalidRequest(f"This model writes at most {most} tokens, not {recipe.max_tokens}.", param="max_tokens")
        return cls(model, load_tokenizer(base), recordings, language, recipe.max_tokens or most, notes)

    def example(self, recording: Recording) -> Example:
        """What is to be written; of a text that is too long the beginning, without an end."""
        settings = self._settings
        timestamps = getattr(settings, "no_timestamps_token_id", None)
        text = recording.text.strip()
        written = self.tokenizer(text if WITHOUT_SPACES.match(text) else f" {text}", add_special_tokens=False)["input_ids"]
        prompt = [settings.lang_to_id[self.language], settings.task_to_id["transcribe"]] if self.language else []
        ids = [*prompt, *written]
        if timestamps is not None:
            last = timestamps + 1 + round(recording.seconds / _SECONDS_OF_TIMESTAMP)
            ids = [*prompt, timestamps + 1, *written, last]
        ids.append(bare(self.model).config.eos_token_id)
        return {"recording": recording, "labels": ids[: self.most_tokens], "is_cut": len(ids) > self.most_tokens}

    def length(self, example: Example) -> int:
        return len(example["labels"])

    def collate(self, examples: Sequence[Example]) -> Batch:
        features = self.recordings.features([example["recording"] for example in examples])
        return {"input_features": features["input_features"], "labels": pad([example["labels"] for example in examples], IGNORED)}

    def count(self, batch: Batch) -> int:
        return int((batch["labels"] != IGNORED).sum())

    def judge(self) -> Judge:
        return _Judge(self)

    def written(self, features: torch.Tensor) -> list[str]:
        """The texts that the model writes by itself."""
        options = {"language": self.language, "task": "transcribe"} if self.language else {}
        ids = bare(self.model).generate(features, num_beams=1, return_timestamps=True, **options)
        return [str(text).strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def answered(self, pipeline: Any, samples: Samples) -> tuple[str, str]:
        """The text and the language that clients are answered who say no language."""
        options: dict[str, Any] = {"num_beams": 1}
        named: dict[str, Any] = {}
        if getattr(self._settings, "lang_to_id", None):
            options["task"] = "transcribe"
            named["return_language"] = True
        chunks = pipeline(samples, return_timestamps=True, generate_kwargs=options, **named)["chunks"]
        language = next((chunk["language"] for chunk in chunks if chunk.get("language") and chunk["text"]), "")
        return "".join(chunk["text"] for chunk in chunks).strip(), _code(language) if language else ""

    @property
    def _settings(self) -> Any:
        return bare(self.model).generation_config


class _Judge(Judge):
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._found: list[str] = []
        self._right: list[str] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        del outputs  # what it would write after what is right says little
        labels = batch["labels"].masked_fill(batch["labels"] == IGNORED, bare(self._writer.model).config.eos_token_id)
        self._found += self._writer.written(batch["input_features"])
        self._right += self._writer.tokenizer.batch_decode(labels, skip_special_tokens=True)

    def verdict(self) -> dict[str, float]:
        return {"wer": wer(self._found, self._right)}


def _language(model: Any, recordings: Recordings, heard: Sequence[Recording]) -> tuple[str | None, tuple[str, ...]]:
    """The token of the language that is written, None for a model that has one only; and what to tell of it."""
    settings = model.generation_config
    tokens = getattr(settings, "lang_to_id", None)
    if not tokens or getattr(settings, "is_multilingual", True) is False:
        return None, ()
    stated = getattr(settings, "language", None)
    if stated:
        token = f"<|{_code(str(stated))}|>"
        if token not in tokens:
            raise InvalidRequest(
                f"The base's generation_config.json names the language {stated!r}, which it has no token for.", param="model"
            )
        return token, ()
    model.eval()
    with torch.inference_mode():
        features = recordings.features(heard[:_HEARD_FOR_LANGUAGE])["input_features"] if heard else torch.zeros(0)
        found = model.detect_language(features).tolist() if heard else list(tokens.values())[:1]
    names = {number: token for token, number in tokens.items()}
    token = names[Counter(found).most_common(1)[0][0]]
    note = (
        f"The language is taken to be '{token.strip('<|>')}', which the base hears in most of the first {len(heard[:_HEARD_FOR_LANGUAGE])} "
        "recordings. To learn another, set `language` in the base's generation_config.json."
    )
    return token, (note,)


def _code(language: str) -> str:
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    lowered = language.strip("<|>").lower()
    return str(TO_LANGUAGE_CODE.get(lowered, lowered))
