"""What this machine offers to models."""

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil
import structlog

from yunmo.core.engine import Hardware, Plan

_TELLING = frozenset(
    {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "asimd", "i8mm", "bf16", "sve"}
)
_PROCESSORS = Path("/proc/cpuinfo")
_MIB = 1 << 20
_GIB = 1 << 30
_GPU_SECONDS = 30.0
_log = structlog.get_logger()


def find_hardware() -> Hardware:
    """Cores that this process may use, the memory of the machine, its processor and what that is good at."""
    text = _PROCESSORS.read_text() if _PROCESSORS.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return Hardware(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        processor=name[1] if name else platform.processor() or platform.machine(),
        instructions=_TELLING & frozenset(flags[1].split() if flags else ()),
        gpu_memory_bytes=_gpu_memory_bytes(),
    )


def _gpu_memory_bytes() -> int:
    """The first NVIDIA GPU's memory, as its driver's own program tells it; 0 where there is no GPU, or none that answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=_GPU_SECONDS).stdout  # noqa: S603 - the driver's
        return int(told.splitlines()[0]) * _MIB
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        _log.warning("gpu_not_read", error=str(error))
        return 0


def fingerprint(hardware: Hardware, plans: Iterable[Plan]) -> str:
    """The same for the same kind of machine, the same plans to choose from and the same versions of what runs them."""
    told = (
        hardware.processor,
        hardware.cores,
        round(hardware.memory_bytes / _GIB),
        sorted(hardware.instructions),
        round(hardware.gpu_memory_bytes / _GIB),
        [repr(plan) for plan in plans],
        _versions(),
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def _versions() -> list[tuple[str, str]]:
    """Of every installed library that an engine's extra names."""
    found = set()
    for requirement in importlib.metadata.requires("yunmo") or ():
        name, _, marker = requirement.partition(";")
        if "extra" in marker and "dev" not in marker:
            library = re.split(r"[^A-Za-z0-9._-]", name.strip())[0]
            try:
                found.add((library, importlib.metadata.version(library)))
            except importlib.metadata.PackageNotFoundError:
                continue
    return sorted(found)
