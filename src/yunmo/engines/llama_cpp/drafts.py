"""The GGUF of a model that proposes tokens for another one, and whether the two mean the same by them."""

from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.engine import Draft, Progress
from yunmo.core.errors import InvalidRequest
from yunmo.engines import making
from yunmo.engines.llama_cpp.derive import derive

_PRECISION = "Q8_0"
"""Of a draft that is converted: what it says need not be exact, only soon."""

_TOKENS = ("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens")


def derive_draft(draft: Draft, model: Path, progress: Progress) -> Path:
    """The draft's file, made first if need be. Raises InvalidRequest if its tokens are not the model's."""
    directory, derived = Path(draft.directory), Path(draft.derived)
    is_converted = not any(directory.rglob("*.gguf"))
    plan = msgspec.structs.replace(draft.plan, precision=_PRECISION) if is_converted else draft.plan
    file, _ = derive(directory, derived, plan, making.within(progress, 0.9, 0.95))
    if _tokens(file) != _tokens(model):
        raise InvalidRequest(
            f"'{draft.repository}' cannot propose tokens for this model, since its vocabulary is another one. Choose a smaller model of "
            "the same family as `draft`, or leave the option out.",
            param="draft",
        )
    return file


def _tokens(file: Path) -> list[Any]:
    """What tells a GGUF's vocabulary from others, as it is written in the file."""
    import gguf

    fields = gguf.GGUFReader(file).fields
    return [b"".join(bytes(part) for part in fields[name].parts) if name in fields else None for name in _TOKENS]
