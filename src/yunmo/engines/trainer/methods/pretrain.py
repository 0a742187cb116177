"""Pre-training: a Transformer learns a language from plain texts or pairs of them, from nothing or from where its base is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Family, Objective, Pretraining, Recipe
from yunmo.engines.trainer import causal, denoising, masked, pairs
from yunmo.engines.trainer.adapting import adapted
from yunmo.engines.trainer.architectures import build, mute_padding
from yunmo.engines.trainer.corpora import Material
from yunmo.engines.trainer.learner import Learner
from yunmo.engines.trainer.texts import limit_of, load_tokenizer
from yunmo.engines.trainer.tokenizing import train_tokenizer
from yunmo.engines.trainer.workspace import Workspace


@dataclass(frozen=True, slots=True)
class _Kind:
    """An objective: families that it trains from nothing, transformers' loader and peft's name of the others, and what learns."""

    families: tuple[Family, ...]
    loader: str
    task: str
    learner: Callable[[Material], Learner]


_KINDS: Mapping[Objective, _Kind] = {
    "masked": _Kind(("bert",), "AutoModelForMaskedLM", "FEATURE_EXTRACTION", masked.learner),
    "causal": _Kind(("llama", "gpt2"), "AutoModelForCausalLM", "CAUSAL_LM", causal.learner),
    "denoising": _Kind(("t5",), "AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM", denoising.learner),
    "parallel": _Kind(("marian", "t5"), "AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM", pairs.learner),
}


@dataclass(frozen=True, slots=True)
class Pretrain:
    """Trains by one of four objectives; the rates of a model that begins with nothing are not those of one that knows something."""

    learning_rate: float
    lora_learning_rate: float = 2e-4
    batch_size: int = 32
    epochs: int = 1

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `Written`, of the objective parallel `Rewritten`."""
        wish = _checked(recipe)
        kind = _KINDS[wish.objective]
        rows = list(workspace.rows(recipe.method, wish.objective))
        validation = list(workspace.rows(recipe.method, wish.objective, is_validation=True))
        if not rows:
            raise InvalidRequest("There are no rows to learn from.", param="rows")
        if wish.architecture is None:
            tokenizer = load_tokenizer(base)
            model = adapted(_load(base, kind), recipe, kind.task)
        else:
            tokenizer = _tokenizer(base, wish, rows)
            model = build(wish.architecture, tokenizer)
        mute_padding(model)
        return kind.learner(Material(model, tokenizer, recipe, limit_of(model.config, tokenizer, recipe), rows, validation))


method = Pretrain(learning_rate=5e-4)
continuing = Pretrain(learning_rate=5e-5)


def _checked(recipe: Recipe) -> Pretraining:
    wish = recipe.pretraining
    if wish is None:
        raise InvalidRequest('Pre-training needs its objective: "pretraining": {"objective": "causal"}.', param="pretraining")
    if wish.architecture is None:
        if wish.tokenizer is not None:
            raise InvalidRequest("A base keeps its tokenizer: a new one needs a new architecture.", param="pretraining.tokenizer")
        return wish
    families = _KINDS[wish.objective].families
    if wish.architecture.family not in families:
        raise InvalidRequest(
            f"The objective '{wish.objective}' does not train the family {wish.architecture.family}, only {' and '.join(families)}.",
            param="pretraining.architecture.family",
        )
    if recipe.lora is not None:
        raise InvalidRequest("A model that begins with nothing has no base for adapters: leave out 'lora'.", param="lora")
    return wish


def _tokenizer(base: Path, wish: Pretraining, rows: Sequence[Any]) -> Any:
    """A tokenizer trained on the rows, or the base's own."""
    assert wish.architecture is not None
    if wish.tokenizer is None:
        try:
            return load_tokenizer(base)
        except InvalidRequest as error:
            raise InvalidRequest(
                'There is no tokenizer for a new architecture: have one trained, as in "tokenizer": {"kind": "bpe", "size": 16000}.',
                param="pretraining.tokenizer",
            ) from error
    return train_tokenizer(_texts(rows, wish.objective), wish.tokenizer, wish.architecture.family, wish.architecture.positions)


def _texts(rows: Sequence[Any], objective: Objective) -> list[str]:
    """What a tokenizer is trained on; of pairs one side after the other, so that every so-manieth of them is of both."""
    if objective != "parallel":
        return [row.text for row in rows]
    return [*(row.source for row in rows), *(row.target for row in rows)]


def _load(base: Path, kind: _Kind) -> Any:
    import transformers

    try:
        return getattr(transformers, kind.loader).from_pretrained(
            str(base), local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"This base cannot be trained by that objective: {error}", param="model") from error
