"""What this machine offers to models."""

import os

import psutil

from yunmo.core.engine import Hardware


def find_hardware() -> Hardware:
    """Cores that this process may use and the memory of the machine."""
    return Hardware(cores=len(os.sched_getaffinity(0)), memory_bytes=psutil.virtual_memory().total)
