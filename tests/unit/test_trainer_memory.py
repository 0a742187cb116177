"""What a training may hold, and how a want of memory is told."""

import os

import pytest

from yunmo.engines.trainer.memory import is_shortage, keep_few_kernels

CACHE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.parametrize("said", ["could not create a primitive", "can't start new thread", "[enforce fail] not enough memory: you tried"])
def test_a_library_that_fails_for_want_of_memory_is_understood(said):
    assert is_shortage(RuntimeError(said))
    assert not is_shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_trainer_keeps_few_compiled_kernels_unless_the_operator_says_otherwise(monkeypatch):
    monkeypatch.delenv(CACHE, raising=False)
    keep_few_kernels()
    assert int(os.environ[CACHE]) < 100
    monkeypatch.setenv(CACHE, "1024")
    keep_few_kernels()
    assert os.environ[CACHE] == "1024"
