"""Models that spell what they hear, a letter or nothing for each 20 milliseconds (CTC): Wav2Vec2, HuBERT and their kin."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.metrics import wer
from yunmo.core.training import Recipe
from yunmo.engines.recordings import Samples
from yunmo.engines.trainer.adapting import bare
from yunmo.engines.trainer.learner import Batch, Example, Judge
from yunmo.engines.trainer.recordings import Recording, Recordings
from yunmo.engines.trainer.texts import IGNORED, load_tokenizer, pad

_MOST_LETTERS = 20_000
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The letters that a tokenizer knows, in upper case, in lower case or in both."""

    letters: frozenset[str]
    has_upper: bool
    has_lower: bool

    @classmethod
    def of(cls, tokenizer: Any) -> Self:
        letters = frozenset(letter for letter in tokenizer.get_vocab() if len(letter) == 1)
        return cls(letters, any(letter.isupper() for letter in letters), any(letter.islower() for letter in letters))

    def unknown(self, text: str) -> set[str]:
        """The signs of the text that cannot be spelt."""
        return {letter for letter in self._folded(text) if letter not in self.letters and not letter.isspace()}

    def kept(self, text: str) -> str:
        """What can be spelt of the text, in the case of the letters."""
        return " ".join("".join(letter for letter in self._folded(text) if letter in self.letters or letter.isspace()).split())

    def _folded(self, text: str) -> str:
        if self.has_upper and not self.has_lower:
            return text.upper()
        return text.lower() if self.has_lower and not self.has_upper else text


@dataclass(frozen=True, slots=True)
class Speller:
    """A model with letters of its own, or, if the base has none, with those of the rows."""

    model: Any
    tokenizer: Any
    alphabet: Alphabet
    recordings: Recordings
    notes: tuple[str, ...] = ()
    heads: tuple[str, ...] = ("lm_head",)

    @classmethod
    def load(cls, base: Path, recipe: Recipe, recordings: Recordings, heard: Sequence[Recording]) -> Self:
        """The base with a head for the letters."""
        if recipe.max_tokens is not None:
            raise InvalidRequest("This model spells what it hears and reads no tokens: leave max_tokens out.", param="max_tokens")
        tokenizer = _tokenizer(base, heard)
        model = _load(base, tokenizer)
        if hasattr(model, "freeze_feature_encoder"):
            model.freeze_feature_encoder()
        shortest = min((int(each.seconds * recordings.extractor.sampling_rate) for each in heard), default=0)
        if _frames(model, shortest) <= getattr(model.config, "mask_time_length", 0):
            model.config.apply_spec_augment = False  # a stretch that is to be hidden must be shorter than the recording
        alphabet = Alphabet.of(tokenizer)
        strange = sorted({letter for each in heard for letter in alphabet.unknown(each.text)})
        notes = (f"Signs that this model does not spell were left out of the texts: {' '.join(strange[:40])}",) if strange else ()
        return cls(model, tokenizer, alphabet, recordings, notes)

    def example(self, recording: Recording) -> Example:
        labels = self._spelt(recording)
        frames = _frames(bare(self.model), int(recording.seconds * self.recordings.extractor.sampling_rate))
        blanks = sum(one == other for one, other in pairwise(labels))  # between two of a kind
        if len(labels) + blanks > frames:
            raise InvalidRequest(
                f"{recording.medium.place}: {len(labels)} letters cannot be spelt in {recording.seconds:.2f} s of sound "
                f"({frames} steps): the text is not what is said there.",
                param="text",
            )
        return {"recording": recording, "labels": labels, "frames": frames, "is_cut": False}

    def length(self, example: Example) -> int:
        return int(example["frames"])

    def collate(self, examples: Sequence[Example]) -> Batch:
        features = self.recordings.features([example["recording"] for example in examples], padding=True)
        return {**features, "labels": pad([example["labels"] for example in examples], IGNORED)}

    def count(self, batch: Batch) -> int:
        """Steps that are heard; a model that is not told of the padding hears it too."""
        mask = batch.get("attention_mask")
        samples = mask.sum(1) if mask is not None else torch.tensor([batch["input_values"].shape[1]] * len(batch["labels"]))
        return int(bare(self.model)._get_feat_extract_output_lengths(samples).sum())  # noqa: SLF001 - the library's only name for it

    def judge(self) -> Judge:
        return _Judge(self)

    def spelt(self, logits: torch.Tensor, batch: Batch) -> list[str]:
        """The texts that the model spells."""
        ids = logits.argmax(-1)
        mask = batch.get("attention_mask")
        if mask is not None:
            frames = bare(self.model)._get_feat_extract_output_lengths(mask.sum(1))  # noqa: SLF001 - the library's only name for it
            ids = ids.masked_fill(torch.arange(ids.shape[1]) >= frames.unsqueeze(1), self.tokenizer.pad_token_id)
        return [str(text) for text in self.tokenizer.batch_decode(ids)]

    def answered(self, pipeline: Any, samples: Samples) -> tuple[str, str]:
        """The text that clients are answered, of no language that is known."""
        words = pipeline(samples, return_timestamps="word")["chunks"]
        return " ".join(word["text"] for word in words).strip(), ""

    def _spelt(self, recording: Recording) -> list[int]:
        kept = self.alphabet.kept(recording.text)
        if not kept:
            raise InvalidRequest(f"{recording.medium.place}: the text has no letter that this model spells.", param="text")
        return list(self.tokenizer(kept)["input_ids"])


class _Judge(Judge):
    def __init__(self, speller: Speller) -> None:
        self._speller = speller
        self._found: list[str] = []
        self._right: list[str] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        tokenizer = self._speller.tokenizer
        labels = batch["labels"].masked_fill(batch["labels"] == IGNORED, tokenizer.pad_token_id)
        self._found += self._speller.spelt(outputs.logits, batch)
        self._right += tokenizer.batch_decode(labels, group_tokens=False)

    def verdict(self) -> dict[str, float]:
        return {"wer": wer(self._found, self._right)}


def _tokenizer(base: Path, heard: Sequence[Recording]) -> Any:
    """The base's letters; those of the rows where it has none."""
    from transformers import Wav2Vec2CTCTokenizer

    if (base / "vocab.json").is_file() or (base / "tokenizer.json").is_file():
        return load_tokenizer(base)
    letters = sorted({letter for each in heard for letter in each.text} - {" ", "|"})
    if len(letters) > _MOST_LETTERS:
        raise InvalidRequest(f"The texts have {len(letters)} different letters; at most {_MOST_LETTERS} can be spelt.", param="text")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({letter: number for number, letter in enumerate((*_SPECIAL, *letters))}), "utf-8")
        return Wav2Vec2CTCTokenizer(str(path))


def _load(base: Path, tokenizer: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCTC

    try:
        config = AutoConfig.from_pretrained(str(base), local_files_only=True)
        is_speller = str((config.architectures or [""])[0]).endswith("ForCTC")
        size = max(tokenizer.get_vocab().values()) + 1
        model = AutoModelForCTC.from_pretrained(
            str(base),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            vocab_size=max(size, config.vocab_size) if is_speller else size,
            pad_token_id=tokenizer.pad_token_id,
            ctc_loss_reduction="mean",
            ctc_zero_infinity=True,
            ignore_mismatched_sizes=True,  # a head of other letters is drawn anew
        )
    except (OSError, ValueError, AttributeError) as error:
        raise InvalidRequest(
            f"This base cannot be trained to write down speech: begin with a Whisper, a Wav2Vec2 or a HuBERT. {error}", param="model"
        ) from error
    if model.main_input_name != "input_values" or not hasattr(model, "_get_feat_extract_output_lengths"):
        raise InvalidRequest(
            f"Models of the type {model.config.model_type} cannot be trained here: begin with a Whisper, a Wav2Vec2 or a HuBERT.",
            param="model",
        )
    return model


def _frames(model: Any, samples: int) -> int:
    return int(model._get_feat_extract_output_lengths(samples))  # noqa: SLF001 - the library's only name for it
