"""The whole model or low-rank adapters in its place, and either as a repository."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Recipe


def adapted(model: Any, recipe: Recipe, task: str | None, heads: Sequence[str] = ()) -> Any:
    """The model with low-rank adapters (peft), if the recipe has them. `task` is peft's name of the kind, such as CAUSAL_LM.

    `heads` are names of the model's parts that are new, and so are learnt whole.
    """
    if recipe.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type=task,
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=list(recipe.lora.targets) or _linear_layers(model, heads),
        exclude_modules=rf"(.*\.)?({'|'.join(map(re.escape, heads))})(\..*)?" if heads else None,
        modules_to_save=list(heads) or None,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise InvalidRequest(f"These layers cannot be given adapters: {error}", param="lora.targets") from error


def _linear_layers(model: Any, heads: Sequence[str]) -> list[str] | str:
    """What adapters are given to: peft's own choice, or all linear layers below the heads, which it would take for embeddings."""
    import torch
    from transformers.pytorch_utils import Conv1D

    if not heads:
        return "all-linear"
    layers = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)]
    return [name for name in layers if name.partition(".")[0] not in heads]


def merged(recipe: Recipe) -> Recipe:
    """The recipe whose result is a whole model: for kinds of models whose adapters cannot be served beside their base."""
    return recipe if recipe.lora is None else msgspec.structs.replace(recipe, lora=msgspec.structs.replace(recipe.lora, merge=True))


def notes_of_merging(recipe: Recipe) -> tuple[str, ...]:
    """What to tell of a recipe that leaves its adapters apart, where they are merged all the same."""
    if recipe.lora is None or recipe.lora.merge:
        return ()
    return (
        "Adapters of such a model cannot be served beside their base: at the end they are merged into it, and the result is a whole model.",
    )


def bare(model: Any) -> Any:
    """The model itself, below what peft puts around it; its adapters are at work."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def name_base(model: Any, name: str) -> None:
    """Have the model's adapters, if it has some, name their base as the hub does (`project/name@commit`), and not by its folder here."""
    repository, _, revision = name.partition("@")
    for config in getattr(model, "peft_config", {}).values() if repository else ():
        config.base_model_name_or_path, config.revision = repository, revision or None


def save_model(model: Any, tokenizer: Any, folder: Path, recipe: Recipe) -> None:
    """Write the model as a repository: whole (adapters merged into it), or the adapters alone where the recipe leaves them apart."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if recipe.lora is not None and recipe.lora.merge:
        import copy

        copy.deepcopy(model).merge_and_unload().save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # peft's, without a word about this training
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
