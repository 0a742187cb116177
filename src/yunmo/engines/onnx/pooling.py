"""What follows the network in a sentence-transformers repository: pooling, dense layers, normalising.

A plain encoder has none of it: its vector is the mean of its tokens'.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yunmo.core.errors import Unsupported
from yunmo.engines.onnx.families import SENTENCE_MODULES, module_names
from yunmo.engines.onnx.network import Floats

_MODES: dict[str, Callable[[Floats], Floats]] = {
    "cls": lambda rows: rows[0],
    "lasttoken": lambda rows: rows[-1],
    "max": lambda rows: rows.max(axis=0),
    "mean": lambda rows: rows.mean(axis=0),
    "mean_sqrt_len_tokens": lambda rows: rows.sum(axis=0) / np.float32(np.sqrt(len(rows))),
    "weightedmean": lambda rows: np.average(rows, axis=0, weights=np.arange(1, len(rows) + 1)).astype(np.float32),
}
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """How one vector is made of the tokens' vectors, and how a text is prepared."""

    modes: tuple[str, ...] = ("mean",)
    dense: tuple["Dense", ...] = ()
    normalizes: bool = False
    prefix: str = ""
    is_lowercased: bool = False
    is_stripped: bool = False
    max_tokens: int | None = None

    def prepared(self, text: str) -> str:
        """The text as the model was trained to read it."""
        text = self.prefix + (text.strip() if self.is_stripped else text)
        return text.lower() if self.is_lowercased else text

    def pooled(self, rows: Floats) -> Floats:
        """One vector of the tokens' vectors, before normalising."""
        vector = np.concatenate([_MODES[mode](rows) for mode in self.modes])
        for layer in self.dense:
            vector = layer.apply(vector)
        return vector


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer with an activation; `weight` is (out, in)."""

    weight: Floats
    bias: Floats | None
    is_tanh: bool

    def apply(self, vector: Floats) -> Floats:
        product: Floats = self.weight @ vector
        if self.bias is not None:
            product = product + self.bias
        return np.tanh(product) if self.is_tanh else product


def read_pooling(directory: Path) -> Pooling:
    """The pooling of the repository laid out in `directory`."""
    modules = _json(directory / "modules.json")
    if not modules:
        return Pooling()
    folders = list(zip(module_names(modules), (directory / module["path"] for module in modules), strict=True))
    unknown = [name for name, _ in folders if name not in SENTENCE_MODULES]
    if unknown:
        raise Unsupported(f"modules.json has the module {unknown[0]}; this engine knows {', '.join(sorted(SENTENCE_MODULES))}.")
    first = folders[0][1]
    sentence = _json(first / "sentence_bert_config.json") or _json(directory / "sentence_bert_config.json") or {}
    settings = _json(directory / "config_sentence_transformers.json") or {}
    pooling = next((_json(folder / "config.json") for name, folder in folders if name == "Pooling"), None)
    return Pooling(
        modes=_modes(pooling or {}),
        dense=tuple(_dense(folder) for name, folder in folders if name == "Dense"),
        normalizes=any(name == "Normalize" for name, _ in folders),
        prefix=(settings.get("prompts") or {}).get(settings.get("default_prompt_name") or "", ""),
        is_lowercased=bool(sentence.get("do_lower_case")),
        is_stripped=True,
        max_tokens=sentence.get("max_seq_length"),
    )


def _modes(config: Mapping[str, Any]) -> tuple[str, ...]:
    named = config.get("pooling_mode")
    if named:
        modes = tuple(named) if isinstance(named, list) else (str(named),)
    else:
        modes = tuple(mode for flag, mode in _FLAGS.items() if config.get(flag))
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown:
        raise Unsupported(f"The pooling mode {unknown[0]!r} is not known; this engine has {', '.join(_MODES)}.")
    return modes or ("mean",)


def _dense(folder: Path) -> Dense:
    from safetensors.numpy import load_file

    config = _json(folder / "config.json") or {}
    activation = str(config.get("activation_function", "Identity")).rsplit(".", 1)[-1]
    if activation not in {"Identity", "Tanh"}:
        raise Unsupported(f"The dense layer in {folder.name} has the activation {activation}; this engine knows Identity and Tanh.")
    weights = load_file(folder / "model.safetensors")
    bias = weights.get("linear.bias")
    return Dense(
        weights["linear.weight"].astype(np.float32), None if bias is None else bias.astype(np.float32), is_tanh=activation == "Tanh"
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
