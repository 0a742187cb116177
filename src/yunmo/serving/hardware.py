"""What this machine offers to models."""

import hashlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

from yunmo.core.engine import Hardware, Plan

_TELLING = frozenset(
    {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "asimd", "i8mm", "bf16", "sve"}
)
_PROCESSORS = Path("/proc/cpuinfo")
_GIB = 1 << 30


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
    )


def fingerprint(hardware: Hardware, plans: Iterable[Plan]) -> str:
    """The same for the same kind of machine, the same plans to choose from and the same versions of what runs them."""
    told = (
        hardware.processor,
        hardware.cores,
        round(hardware.memory_bytes / _GIB),
        sorted(hardware.instructions),
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
