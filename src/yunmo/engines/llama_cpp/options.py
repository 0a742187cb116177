"""The options of a plan, and what it is like without any."""

from typing import Annotated, Literal

import msgspec

SLOTS = 8
CONTEXT_TOKENS = 4096
PROMPT_CACHE_MIB = 256


class LlamaCppOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan, as llama.cpp calls them; `file` is the GGUF to open, of a split model its first part.

    With the `speculation` "prompt_lookup" a text goes on, on trial, as it went on before where its last words stood
    already; what the model would not have said is taken back, so that only the pace differs. `draft` names the model that
    proposes instead.
    """

    file: str | None = None
    embedding: bool = False
    pooling: Literal["none", "mean", "cls", "last"] | None = None
    batch_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**20)] | None = None
    kv_unified: bool = False
    speculation: Literal["prompt_lookup"] | None = None
    draft: str | None = None
    prompt_cache_mib: Annotated[int, msgspec.Meta(ge=0, le=2**20)] = PROMPT_CACHE_MIB
