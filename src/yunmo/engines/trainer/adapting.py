"""The whole model or low-rank adapters in its place, and either as a repository."""

import shutil
from pathlib import Path
from typing import Any

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Recipe


def adapted(model: Any, recipe: Recipe, task: str) -> Any:
    """The model with low-rank adapters (peft), if the recipe has them. `task` is peft's name of the kind, such as CAUSAL_LM."""
    if recipe.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type=task,
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=list(recipe.lora.targets) or "all-linear",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise InvalidRequest(f"These layers cannot be given adapters: {error}", param="lora.targets") from error


def save_model(model: Any, tokenizer: Any, folder: Path, recipe: Recipe) -> None:
    """Write the model as a repository: whole (adapters merged into it), or the adapters alone where the recipe leaves them apart."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if recipe.lora is not None and recipe.lora.merge:
        import copy

        copy.deepcopy(model).merge_and_unload().save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
