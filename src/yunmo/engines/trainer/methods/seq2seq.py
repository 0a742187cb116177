"""Fine-tuning of encoder–decoders on pairs of texts: translation and summarization."""

from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Recipe
from yunmo.engines.trainer import pairs
from yunmo.engines.trainer.adapting import adapted
from yunmo.engines.trainer.architectures import mute_padding
from yunmo.engines.trainer.corpora import Material
from yunmo.engines.trainer.learner import Learner
from yunmo.engines.trainer.texts import limit_of, load_tokenizer
from yunmo.engines.trainer.workspace import Workspace


class Seq2Seq:
    """Trains all of a model that reads one text and writes another, or low-rank adapters of it."""

    learning_rate = 5e-5
    lora_learning_rate = 5e-4
    batch_size = 32
    epochs = 3

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `Rewritten`s."""
        tokenizer = load_tokenizer(base)
        model = load_encoder_decoder(base)
        limit = limit_of(model.config, tokenizer, recipe)
        rows = list(workspace.rows(recipe.method))
        validation = list(workspace.rows(recipe.method, is_validation=True))
        mute_padding(model)
        return pairs.learner(Material(adapted(model, recipe, "SEQ_2_SEQ_LM"), tokenizer, recipe, limit, rows, validation))


method = Seq2Seq()


def load_encoder_decoder(base: Path) -> Any:
    """The base's model. Raises InvalidRequest for one that does not read one text and write another."""
    from transformers import AutoModelForSeq2SeqLM

    try:
        return AutoModelForSeq2SeqLM.from_pretrained(str(base), local_files_only=True, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"This base is no encoder–decoder that can be loaded: {error}", param="model") from error
