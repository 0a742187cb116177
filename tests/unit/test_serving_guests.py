"""The adapters that a base carries: how many, which revisions, and how long a failure is remembered."""

import datetime as dt
from pathlib import Path

import pytest

from yunmo.core.engine import ModelDescription
from yunmo.core.errors import Conflict, EntryNotFound
from yunmo.serving.guests import Guests
from yunmo.serving.specification import DeploymentSpec


class _Models:
    """Describes and lays out adapters of a thousand bytes; some of them are gone."""

    def __init__(self, *gone):
        self.gone = gone

    async def describe(self, spec):
        return ModelDescription(spec.repository, spec.revision, {"adapter_config.json": 10, "adapter_model.safetensors": 1000})

    async def lay_out(self, spec, files, directory):
        if spec.revision in self.gone:
            raise EntryNotFound("gone")


def _spec(name, revision="r1"):
    return DeploymentSpec(name, "acme", name, revision, dt.datetime.now(dt.UTC))


async def _carried(guests, *gone):
    return await guests.lay_out(_Models(*gone), Path("/cache"))


async def test_a_base_carries_32_adapters_and_refuses_the_next():
    guests = Guests()
    for number in range(32):
        assert guests.add(_spec(f"acme/{number}", f"r{number}"))
    with pytest.raises(Conflict, match="32 adapters already"):
        guests.add(_spec("acme/33", "r33"))
    assert not guests.add(_spec("acme/3", "r3"))
    assert guests.add(_spec("acme/3", "newer")), "a new commit of one that is carried"
    guests.remove("acme/0")
    assert guests.add(_spec("acme/33", "r33"))


async def test_a_revision_that_another_follows_is_carried_once_more():
    guests = Guests()
    guests.add(_spec("acme/one", "r1"))
    guests.add(_spec("acme/one", "r2"))
    assert (await _carried(guests)).names == {"r1", "r2"}
    assert (await _carried(guests)).names == {"r2"}


async def test_memory_counts_each_revision_once_in_32_bits():
    guests = Guests()
    for name, revision in (("acme/one", "r1"), ("named", "r1"), ("acme/two", "r2")):
        guests.add(_spec(name, revision))
    carried = await _carried(guests)
    assert (len(carried.adapters), carried.memory_bytes) == (2, 4000)


async def test_one_whose_files_are_gone_keeps_no_other_from_being_carried():
    guests = Guests()
    guests.add(_spec("acme/one", "r1"))
    guests.add(_spec("acme/two", "r2"))
    assert (await _carried(guests, "r1")).names == {"r2"}


async def test_a_failure_is_remembered_until_another_adapter_comes():
    guests = Guests()
    guests.add(_spec("acme/one", "r1"))
    assert guests.problem == ""
    guests.failed("too little memory")
    assert guests.problem == "too little memory"
    guests.add(_spec("acme/two", "r2"))
    assert guests.problem == ""
