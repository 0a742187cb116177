"""Workers as processes of this machine: each crashes alone, in its own memory limit, without a network."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process

from yunmo.runtime.link import Worker, WorkerSpec
from yunmo.runtime.placement.placement import OnProgress

_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "TMPDIR")
"""All that a worker gets of the gateway's environment: no key, no password."""

_QUIET_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning take the cores from other replicas
    "PYTHONUNBUFFERED": "1",
}


class PlacedProcess:
    """A worker process."""

    def __init__(self, process: Process, worker: Worker) -> None:
        self.worker = worker
        self._process = process

    async def stop(self, grace_seconds: float) -> None:
        """Close its wire, wait, then kill its whole process group."""
        self.worker.close()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self._kill_group()
        await self._process.wait()

    def _kill_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class ProcessPlacement:
    """Starts `python -m yunmo.runtime.worker` with one end of a socket pair."""

    name = "process"

    async def start(self, spec: WorkerSpec, on_progress: OnProgress) -> PlacedProcess:
        """Start the process in a group of its own; its output goes to the log file."""
        ours, theirs = socket.socketpair()
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        environment |= _QUIET_ENVIRONMENT | {"HOME": str(spec.derived), "HF_HOME": str(spec.derived / "hf")}
        arguments = [str(theirs.fileno())]
        if spec.memory_limit_bytes is not None:
            arguments.append(str(spec.memory_limit_bytes))
        spec.derived.mkdir(parents=True, exist_ok=True)
        with spec.log.open("ab") as log, theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "yunmo.runtime.worker",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd=spec.derived,
                env=environment,
            )
        worker = Worker(on_progress)
        await asyncio.get_running_loop().create_connection(lambda: worker.wire, sock=ours)
        worker.pid = process.pid
        return PlacedProcess(process, worker)
