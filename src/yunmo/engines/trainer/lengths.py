"""Batches of rows of similar length: what padding costs is the most that there is to win on a processor."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

_MEGABATCH = 50


class LengthGrouped(Sampler[int]):  # type: ignore[misc]  # torch has no types
    """The order of one epoch: rows at random, sorted by length inside of megabatches; batches stay at random.

    It is made by the seed and the epoch's number alone, so that a training that goes on in the middle of an epoch finds the same order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        super().__init__()
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self._seed, self._epoch()))
        order = random.permutation(len(self._lengths))
        size = self._batch_size
        batches: list[np.ndarray] = []
        for start in range(0, len(order), size * _MEGABATCH):
            mega = order[start : start + size * _MEGABATCH]
            mega = mega[np.argsort(-self._lengths[mega], kind="stable")]
            batches += [mega[at : at + size] for at in range(0, len(mega), size)]
        whole, rest = [batch for batch in batches if len(batch) == size], [batch for batch in batches if len(batch) < size]
        random.shuffle(whole)
        for batch in (*whole, *rest):
            yield from batch.tolist()
