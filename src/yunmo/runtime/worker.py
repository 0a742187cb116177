"""A worker process: `python -m yunmo.runtime.worker FD [MEMORY_LIMIT_BYTES]`, FD being its end of a socket pair."""

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import NoReturn

import structlog
import uvloop

from yunmo.runtime.replica import Replica
from yunmo.runtime.sandbox import enter_sandbox


def main() -> None:
    """Be the worker that the arguments tell."""
    work(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else None)


def work(end: socket.socket, memory_limit_bytes: int | None) -> NoReturn:
    """Close this process in and serve one engine until the gateway goes away."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    enter_sandbox(memory_limit_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the gateway's to handle
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(end))
    sys.stdout.flush()
    os._exit(0)  # a model library's threads must not hold up the end


async def _serve(end: socket.socket) -> None:
    replica = Replica()
    await asyncio.get_running_loop().create_connection(lambda: replica.wire, sock=end)
    await replica.run()


if __name__ == "__main__":
    main()
