"""What a worker process may not do: reach a network, gain privileges, outgrow its memory, outlive the gateway."""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import sys

import structlog

_CLONE_NEWNET = 0x40000000
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_log = structlog.get_logger()


def enter_sandbox(memory_limit_bytes: int | None) -> bool:
    """Close this process in; called once, before any model library is imported.

    The memory limit is on private data (RLIMIT_DATA), so memory-mapped weights do not count. True when the network is
    really gone; where the kernel refuses (no user namespaces), the worker runs on and `yunmo doctor` says so.
    """
    if memory_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit_bytes, memory_limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.unshare(_CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        _raise_loopback()
        return True
    _log.warning("network_not_closed", error=os.strerror(ctypes.get_errno()))
    return False


def _raise_loopback() -> None:
    """Let the process talk with itself: torch.distributed, which vLLM sets up for a single process too, wants an interface."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    except OSError as error:
        _log.warning("loopback_not_raised", error=str(error))
