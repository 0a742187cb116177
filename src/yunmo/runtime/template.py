"""A process that workers are forked from: `python -m yunmo.runtime.template FD SERVER_PID MODULE…`.

It imports the modules, says on FD (a Unix socket that keeps messages apart) what it costs, and forks a worker for each
request. It must have no thread: one that holds a lock at the fork would hold it in the worker for ever.

A worker is the server's child, not the template's: the server gets to know how it ends, it ends with the server, and it
outlives the template. To that end it is forked twice, and the server adopts it when the process in between is gone.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from yunmo.core import plugins
from yunmo.runtime.sandbox import enter_sandbox
from yunmo.runtime.worker import work

MESSAGE_BYTES = 64 * 1024
_PID_BYTES = 8
_FIRST_FD = 3
_KIB = 1024


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Template → server, first: the modules are imported. `private_bytes` is what nobody else shares."""

    private_bytes: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Template → server: no fork, and why."""

    reason: str


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Server → template, with two descriptors: the worker's end of its wire, and the log that its output goes to."""

    directory: str
    environment: dict[str, str]
    memory_limit_bytes: int | None = None


class Forked(msgspec.Struct, frozen=True, tag=True):
    """Template → server: the worker is there, and is the server's child by now."""

    pid: int


FromTemplate = Ready | Refused | Forked
_decode_fork = msgspec.msgpack.Decoder(Fork).decode
_encode = msgspec.msgpack.Encoder().encode


def main() -> None:
    """Be the template that the arguments tell, until the server goes away."""
    control, server_pid, modules = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3:]
    enter_sandbox(None)
    if os.getppid() != server_pid:
        return  # the server died before its end could have been this process's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    problem = _prepare(modules)
    if problem is not None:
        control.send(_encode(Refused(problem)))
        return
    control.send(_encode(Ready(_private_bytes())))
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return
        try:
            answer: FromTemplate = _fork(_decode_fork(message), descriptors, server_pid)
        except OSError as error:
            answer = Refused(f"no process could be forked: {error}")
        finally:
            for each in descriptors:
                os.close(each)
        control.send(_encode(answer))


def _prepare(modules: list[str]) -> str | None:
    """Import everything; why nothing can be forked from this process, if so."""
    plugins.engines()
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            return f"{name} cannot be imported: {error}"
    gc.collect()
    gc.freeze()  # a collection in a worker would write to these pages, and no longer share them
    threads = len(list(Path("/proc/self/task").iterdir()))
    return f"importing {', '.join(modules)} left {threads - 1} threads behind" if threads > 1 else None


def _private_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * _KIB for line in lines if line.startswith("Private_"))


def _fork(wanted: Fork, descriptors: list[int], server_pid: int) -> Forked:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as told:
        try:
            between = os.fork()
            if between == 0:
                _end_with(lambda: _fork_again(writer, wanted, descriptors, server_pid))
        finally:
            os.close(writer)
        os.waitpid(between, 0)  # once it is gone, the server has adopted the worker
        pid = told.read(_PID_BYTES)
    if not pid:
        raise OSError("the process in between could not fork")
    return Forked(int.from_bytes(pid, "little"))


def _fork_again(writer: int, wanted: Fork, descriptors: list[int], server_pid: int) -> None:
    between = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        _end_with(lambda: _become_worker(between, wanted, descriptors, server_pid))
    os.write(writer, pid.to_bytes(_PID_BYTES, "little"))


def _become_worker(between: int, wanted: Fork, descriptors: list[int], server_pid: int) -> None:
    select.select([between], [], [])  # a parent's death must not be this process's until the parent is the server
    if os.getppid() != server_pid:
        return
    os.setsid()
    wire, log = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, number)
    os.closerange(_FIRST_FD, wire)
    os.closerange(wire + 1, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(wanted.environment)
    os.chdir(wanted.directory)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # or every worker would draw the same numbers
    work(socket.socket(fileno=wire), wanted.memory_limit_bytes)


def _end_with(step: Callable[[], None]) -> NoReturn:
    """Whatever happens in a forked process, it never goes on as if it were the template."""
    try:
        step()
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main()
