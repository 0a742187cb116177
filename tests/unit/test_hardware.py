"""What is known of the machine."""

import dataclasses

import pytest

from yunmo.core.engine import Hardware
from yunmo.serving.hardware import find_hardware, fingerprint

TWO_GPUS = "#!/bin/sh\nprintf '46068\\n24564\\n'\n"


@pytest.mark.parametrize(
    ("program", "expected"),
    [(TWO_GPUS, 46068 << 20), ("#!/bin/sh\necho 'No devices were found'\n", 0), ("#!/bin/sh\nexit 9\n", 0), ("#!/bin/sh\n", 0)],
)
def test_the_first_gpus_memory_is_what_the_drivers_program_tells(tmp_path, monkeypatch, program, expected):
    driver = tmp_path / "nvidia-smi"
    driver.write_text(program)
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_hardware().gpu_memory_bytes == expected


def test_without_the_drivers_program_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_hardware().gpu_memory_bytes == 0


def test_with_another_gpu_a_model_is_calibrated_again():
    plain = Hardware(cores=2, memory_bytes=8 << 30)
    assert fingerprint(plain, ()) != fingerprint(dataclasses.replace(plain, gpu_memory_bytes=24 << 30), ())
