"""Measures pushing and pulling one large file with the real huggingface_hub against a real server on this machine.

    python bench/hub_transfer.py [--megabytes 1000] [--data DIRECTORY]

Prints MB/s up and down (client, server and all hashing share the machine), the growth of the server's peak memory, the
processor seconds that both used, and how many bytes a second, fresh client sends when it pushes the same file.
Goals: up >= 70 MB/s, down >= 150 MB/s, growth < 200 MB, second push < 1 %.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import keep

MEGABYTE = 1_000_000
QUIET = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
CLIENT = """
import json, os, sys, time
from huggingface_hub import HfApi, hf_hub_download
import hf_xet
action, repository, path = sys.argv[1:]
api = HfApi()
if action == "push":
    api.create_repo(repository, exist_ok=True)
started = time.perf_counter()
if action == "push":
    api.upload_file(path_or_fileobj=path, path_in_repo="model.safetensors", repo_id=repository)
else:
    hf_hub_download(repository, "model.safetensors", local_dir=path)
print(json.dumps(time.perf_counter() - started))
"""


@dataclass
class Server:
    """The started server."""

    url: str
    key: str
    pid: int

    def status_kilobytes(self, name: str) -> int:
        return int(re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())[1])

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(data: Path) -> Iterator[Server]:
    """A real `yunmo serve` over an empty directory."""
    program = "from yunmo.cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            for line in process.stdout:
                if found := re.search(r"ready at (http://\S+)", line):
                    break
            else:
                sys.exit("the server did not start")
            yield Server(found[1], (data / "secrets" / "admin-key").read_text().strip(), process.pid)
        finally:
            process.terminate()


def transfer(server: Server, url: str, home: Path, action: str, repository: str, path: Path) -> float:
    """Seconds of one push or pull by a client with an empty cache."""
    environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": url, "HF_HOME": str(home), "HF_TOKEN": server.key, **QUIET}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, action, repository, str(path)], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def count_sent(server: Server, home: Path, repository: str, path: Path) -> int:
    """Bytes that a push sends, counted by a relay between client and server."""

    async def main() -> int:
        host, port = server.url.removeprefix("http://").split(":")
        sent = 0

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))

            async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counts: bool) -> None:
                nonlocal sent
                with contextlib.suppress(ConnectionError):
                    while data := await source.read(1 << 18):
                        sent += len(data) if counts else 0
                        target.write(data)
                        await target.drain()
                target.close()

            await asyncio.gather(copy(reader, upstream_writer, counts=True), copy(upstream_reader, writer, counts=False))

        listener = await asyncio.start_server(relay, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with listener:
            await asyncio.to_thread(transfer, server, url, home, "push", repository, path)
        return sent

    return asyncio.run(main())


def children_seconds() -> float:
    """Processor time of the clients that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_weights(path: Path, megabytes: int) -> None:
    """Numbers as in a model: 32-bit floats around zero."""
    dice = np.random.default_rng(20261124)
    with path.open("wb") as file:
        left = megabytes * MEGABYTE
        while left > 0:
            block = (dice.standard_normal(min(left, 40 * MEGABYTE) // 4) * 0.02).astype(np.float32)
            left -= file.write(block.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=None, help="where the server keeps its data; a temporary directory if not given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.data) as scratch:
        root = Path(scratch)
        weights = root / "model.safetensors"
        write_weights(weights, arguments.megabytes)
        with served(root / "server") as server:
            resting = server.status_kilobytes("VmRSS")
            figures: dict[str, object] = {"megabytes": arguments.megabytes}
            for action, name in (("push", "up"), ("pull", "down")):
                busy, client = server.processor_seconds(), children_seconds()
                seconds = transfer(
                    server, server.url, root / f"home-{action}", action, "bench/first", weights if action == "push" else root / "out"
                )
                busy, client = server.processor_seconds() - busy, children_seconds() - client
                figures[f"{name}, MB/s"] = round(arguments.megabytes / seconds)
                print(
                    f"{name}: {arguments.megabytes / seconds:.0f} MB/s ({seconds:.1f} s, processor seconds: server {busy:.1f}, client {client:.1f})",
                    flush=True,
                )
            if (root / "out" / "model.safetensors").stat().st_size != weights.stat().st_size:
                sys.exit("the file came back with another size")
            figures["server memory growth, MB"] = round((server.status_kilobytes("VmHWM") - resting) / 1000)
            print(f"server memory: {(server.status_kilobytes('VmHWM') - resting) / 1000:.0f} MB above its {resting / 1000:.0f} MB at rest")
            started = time.perf_counter()
            sent = count_sent(server, root / "home-second", "bench/second", weights)
            print(f"second push: {sent:,} bytes = {sent / weights.stat().st_size:.3%} in {time.perf_counter() - started:.1f} s")
            figures["second push from a fresh client, share of the bytes sent"] = f"{sent / weights.stat().st_size:.3%}"
    keep("hub_transfer", "python bench/hub_transfer.py", figures)


if __name__ == "__main__":
    main()
