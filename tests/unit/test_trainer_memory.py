"""What a training may hold, and how a want of memory is told."""

import os
import subprocess
import sys

import pytest

from yunmo.engines.trainer.memory import is_shortage, keep_few_kernels

CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
PROGRAM = """
import sys
from pathlib import Path
from yunmo.engines.trainer.memory import keep_few_kernels
if sys.argv[1] == "few":
    keep_few_kernels()
import torch
torch.set_num_threads(2)
layers = torch.nn.ModuleList([torch.nn.Linear(256, 1024), torch.nn.Linear(1024, 256)])
def held():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")) // 1024
for rows in range(100, 240):
    with torch.autocast("cpu", torch.bfloat16):
        out = torch.randn(rows, 256)
        for layer in layers:
            out = torch.nn.functional.gelu(layer(out))
    out.float().sum().backward()
    if rows == 120:
        before = held()
print(held() - before)
"""


def grown(kept):
    """MiB that steps of ever new lengths add to a process."""
    environment = {name: value for name, value in os.environ.items() if name not in CACHES}
    command = [sys.executable, "-c", PROGRAM, kept]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=200).stdout)


def test_steps_of_ever_new_lengths_in_bf16_hold_no_ever_more_memory():
    usual = grown("many")
    if usual < 150:
        pytest.skip(f"on this processor bf16 is computed without kernels that are kept: {usual} MiB")
    assert grown("few") < usual / 5


def test_an_operator_may_keep_more(monkeypatch):
    monkeypatch.setenv(CACHES[0], "1024")
    monkeypatch.delenv(CACHES[1], raising=False)
    keep_few_kernels()
    assert os.environ[CACHES[0]] == "1024"
    assert int(os.environ[CACHES[1]]) < 100


@pytest.mark.parametrize("said", ["could not create a primitive", "can't start new thread", "[enforce fail] not enough memory: you tried"])
def test_a_library_that_fails_for_want_of_memory_is_understood(said):
    assert is_shortage(RuntimeError(said))
    assert not is_shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
