"""The memory of a training: what a library may keep of it, and a want of it told as what it is, with what would need less."""

import contextlib
import os
from collections.abc import Iterator

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import WHOLE_BATCHES, Recipe

_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "Cannot allocate memory",
    "could not create a primitive",
    "can't start new thread",
)

_KERNELS = 64
"""How many compiled kernels are kept. There is one for each product and number of rows, which in bf16 takes some 2 MiB, and the
libraries' own limit of 1,024 would take more memory than the training: of its steps hardly two have as many rows."""

_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Of oneDNN, and of what torch has between itself and oneDNN: what either keeps stays."""


def keep_few_kernels() -> None:
    """Bound what torch keeps of compiled kernels; called before it has computed anything."""
    for name in _CACHES:
        os.environ.setdefault(name, str(_KERNELS))


def is_shortage(error: BaseException) -> bool:
    """Whether a library failed for want of memory; each says so in a way of its own."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS)


@contextlib.contextmanager
def memory_told(recipe: Recipe) -> Iterator[None]:
    """Raise InvalidRequest with a smaller setting where memory ran out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise InvalidRequest(f"The training ran out of memory. {smaller(recipe)}", param="batch_size") from error


def smaller(recipe: Recipe) -> str:
    """What to ask for instead, the change that costs least first."""
    rows = max(1, (recipe.batch_size or 1) // (recipe.accumulation or 1))
    if rows > 1 and recipe.method not in WHOLE_BATCHES:
        return f"Compute fewer rows at a time: accumulation {2 * (recipe.accumulation or 1)} keeps the batch size of {recipe.batch_size}."
    if recipe.batch_size and recipe.batch_size > 2 and (recipe.batch_size > rows or recipe.method in WHOLE_BATCHES):
        return f"Set batch_size to {recipe.batch_size // 2}."
    if not recipe.recomputes:
        return "Set recomputes to true: layers are computed twice and not kept."
    if recipe.lora is None:
        return 'Train low-rank adapters: "lora": {"rank": 16}.'
    return f"Set max_tokens to {max(8, (recipe.max_tokens or 512) // 2)}, begin with a smaller model, or give Yunmo more memory."
