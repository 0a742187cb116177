"""What a conversion leaves in the derived directory: the files' names, and the facts about it."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import msgspec

FORMAT = 1
"""Raised when a conversion of an older version must be made again."""

FLOATS = ("F32", "F16", "BF16")
QUANTISED = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""What the quantisers of the `gguf` package write; llama.cpp's own (Q4_K_M …) are not part of xllamacpp."""

_LIBRARIES = ("xllamacpp", "gguf", "tokenizers", "transformers", "torch")

Proof = Literal["tokens and logits", "tokens"]


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a GGUF that was made of safetensors, or why none could be made (`problem`).

    `proof` is what was held against the repository's own: token ids always, logits where transformers is installed and
    its reference fits into the memory. `error` is the largest difference of log probabilities (root mean square over the
    likeliest tokens, as a share of the logits' standard deviation). `normalizes` says that texts are put into Unicode's
    composed form first, which llama.cpp does not do.
    """

    format: int
    proof: Proof = "tokens"
    error: float | None = None
    unproven: str = ""
    texts: int = 0
    normalizes: bool = False
    versions: dict[str, str] = {}
    problem: str | None = None


def facts_path(file: Path) -> Path:
    """Where the facts of a converted file are."""
    return file.with_suffix(".json")


def read_facts(file: Path) -> Converted | None:
    """The facts of a file of this format, or of a failure with these very libraries; None if it has to be tried."""
    try:
        facts = msgspec.json.decode(facts_path(file).read_bytes(), type=Converted)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    is_current = facts.format == FORMAT and (facts.problem is None or facts.versions == versions())
    return facts if is_current and (facts.problem or file.is_file()) else None


def versions() -> dict[str, str]:
    """The libraries whose change may change what a conversion ends in."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def chat_template(directory: Path) -> str | None:
    """The repository's template for chats; the one called default where there are several."""
    file = directory / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    for name in ("tokenizer_config.json", "chat_template.json"):
        template = document(directory, name).get("chat_template")
        if isinstance(template, list):
            template = next((each["template"] for each in template if each.get("name") == "default"), None)
        if isinstance(template, str):
            return template
    return None


def document(directory: Path, name: str) -> dict[str, Any]:
    """A JSON file of the repository; empty if there is none."""
    path = directory / name
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found
