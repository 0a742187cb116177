"""How a repository makes one vector of a text's tokens: read as sentence-transformers writes it, and written the same way."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
}
_KNOWN = ("Transformer", "Pooling", "Normalize")
_TYPE = "sentence_transformers.models."


@dataclass(frozen=True, slots=True)
class Sentences:
    """One text, one vector. A base that says nothing gets the mean of its tokens' vectors, of length 1."""

    mode: str = "mean"
    normalizes: bool = True
    prefix: str = ""
    is_lowercased: bool = False
    is_stripped: bool = True
    most_tokens: int | None = None

    def prepared(self, text: str) -> str:
        """The text as it is read where the model is served."""
        text = self.prefix + (text.strip() if self.is_stripped else text)
        return text.lower() if self.is_lowercased else text

    def pooled(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The texts' vectors (texts, width), not normalised, of their tokens' (texts, tokens, width) where the mask is 1."""
        states = states.float()
        if self.mode == "cls":
            return states[:, 0]
        if self.mode == "lasttoken":
            return states[torch.arange(len(states)), mask.sum(1) - 1]
        if self.mode == "max":
            return states.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(1)
        weights = mask.unsqueeze(-1).float()
        return (states * weights).sum(1) / weights.sum(1)


def read_sentences(base: Path) -> Sentences:
    """How this base does it. Raises InvalidRequest for modules that are not known here."""
    modules = _json(base / "modules.json")
    if not modules:
        return Sentences()
    folders = {str(module["type"]).rsplit(".", 1)[-1]: base / module["path"] for module in modules}
    strange = next((name for name in folders if name not in _KNOWN), None)
    if strange:
        raise InvalidRequest(
            f"The base's modules.json has the module {strange}, which cannot be trained here; a base has {', '.join(_KNOWN)}.",
            param="model",
        )
    settings = _json(base / "config_sentence_transformers.json") or {}
    sentence = _json(base / "sentence_bert_config.json") or {}
    return Sentences(
        mode=_mode(_json(folders["Pooling"] / "config.json") or {}) if "Pooling" in folders else "mean",
        normalizes="Normalize" in folders,
        prefix=(settings.get("prompts") or {}).get(settings.get("default_prompt_name") or "", ""),
        is_lowercased=bool(sentence.get("do_lower_case")),
        most_tokens=sentence.get("max_seq_length"),
    )


def write_sentences(base: Path, folder: Path, width: int, most_tokens: int) -> None:
    """Make the repository in `folder` one of sentence-transformers: with the base's own modules if it has them."""
    modules = _json(base / "modules.json")
    if modules:
        for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
            if (base / name).is_file():
                shutil.copyfile(base / name, folder / name)
        for module in modules:
            source = base / module["path"] / "config.json"
            (folder / module["path"]).mkdir(exist_ok=True)
            if module["path"] and source.is_file():
                shutil.copyfile(source, folder / module["path"] / "config.json")
        return
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    listed = [{"idx": index, "name": str(index), "path": paths[name], "type": _TYPE + name} for index, name in enumerate(_KNOWN)]
    for name in ("Pooling", "Normalize"):
        (folder / paths[name]).mkdir()
    _write(folder / "modules.json", listed)
    _write(
        folder / paths["Pooling"] / "config.json",
        {"word_embedding_dimension": width, **{flag: mode == "mean" for flag, mode in _FLAGS.items()}},
    )
    _write(folder / paths["Normalize"] / "config.json", {})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": most_tokens, "do_lower_case": False})


def _mode(config: dict[str, Any]) -> str:
    named = config.get("pooling_mode")
    chosen = [named] if isinstance(named, str) else named or [mode for flag, mode in _FLAGS.items() if config.get(flag)]
    others = [flag for flag, value in config.items() if flag.startswith("pooling_mode_") and value and flag not in _FLAGS]
    if others or len(chosen) > 1 or not set(chosen) <= set(_FLAGS.values()):
        raise InvalidRequest(
            f"The base pools its tokens' vectors in a way that cannot be trained here ({', '.join([*chosen, *others])}); "
            f"one of {', '.join(_FLAGS.values())} can.",
            param="model",
        )
    return str(chosen[0]) if chosen else "mean"


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
