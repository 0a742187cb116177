"""Who stays in memory: the pinned, the busy, the much used; then who was used last."""

import pytest

from yunmo.core.errors import Unavailable
from yunmo.serving.memory import Claim, MemoryBudget
from yunmo.serving.use import Use


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Models:
    """Claims on one budget of 100 bytes; what was evicted is remembered."""

    def __init__(self, warm_share=0.5):
        self.clock = Clock()
        self.budget = MemoryBudget(100, warm_share)
        self.uses = {}
        self.evicted = []

    async def load(self, name, size, *, requests=0, is_evictable=True):
        use = self.uses[name] = Use(self.clock)
        for _ in range(requests):
            use.note()
        claim = Claim(name, size, use, lambda: is_evictable, lambda: self._evict(claim))
        await self.budget.take(claim, 0.05)
        self.clock.now += 1

    async def _evict(self, claim):
        self.evicted.append(claim.name)
        await self.budget.release(claim)


async def test_who_was_used_least_recently_gives_way():
    models = Models()
    await models.load("old", 40, requests=10)
    await models.load("new", 40, requests=1)
    await models.load("next", 40)
    assert models.evicted == ["old"]


async def test_a_model_that_is_used_much_gives_way_last():
    models = Models()
    await models.load("much used", 40, requests=50)
    await models.load("used once", 40, requests=1)
    await models.load("next", 40)
    assert models.evicted == ["used once"]
    await models.load("another", 80)
    assert models.evicted == ["used once", "next", "much used"], "it gives way all the same when there is no other room"


async def test_who_may_not_give_way_does_not():
    models = Models()
    await models.load("pinned", 80, is_evictable=False)
    with pytest.raises(Unavailable, match="pinned 0 MiB"):
        await models.load("next", 40)


async def test_the_most_used_stay_warm_as_many_as_their_share_holds():
    models = Models()
    await models.load("third", 20, requests=30)
    await models.load("first", 25, requests=100)
    await models.load("second", 25, requests=50)
    await models.load("rarely", 5, requests=3)
    assert [name for name in models.uses if models.budget.keeps_warm(name)] == ["first", "second"]
    assert not models.budget.keeps_warm("never loaded")


async def test_without_a_share_none_stays_warm():
    models = Models(warm_share=0)
    await models.load("first", 10, requests=100)
    assert not models.budget.keeps_warm("first")


async def test_every_hour_half_of_the_use_is_forgotten():
    models = Models()
    await models.load("model", 10, requests=100)
    models.clock.now += 2 * 3600
    assert models.uses["model"].requests == pytest.approx(25, rel=0.01)
    assert models.budget.keeps_warm("model")
    models.clock.now += 3600
    assert not models.budget.keeps_warm("model")
    models.uses["model"].note()
    assert models.uses["model"].requests == pytest.approx(13.5, rel=0.01)
    assert models.uses["model"].idle_seconds == 0
