"""What the benchmarks share: the machine's facts, a load from wrk, servers to measure, results to keep."""

import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
sys.path.insert(0, str(ROOT / "tests"))

_LOAD_AT_THE_START = os.getloadavg()[0]
"""Taken when a benchmark begins: by its end it is its own load."""

READY_SECONDS = 300

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def machine() -> dict[str, Any]:
    """The processor, its cores and instruction sets, memory, Python: beside every figure."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.+)", text)
    flags = set((re.search(r"flags\s*:\s*(.+)", text) or [None, ""])[1].split())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": name[1] if name else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "instructions": sorted(flags & {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def keep(name: str, command: str, figures: dict[str, Any], *, is_quick: bool = False) -> None:
    """Write a result where the report finds it, and print it; a smoke run's figures are printed only."""
    result = {
        "name": name,
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"load_before": _LOAD_AT_THE_START},
        "figures": figures,
    }
    if not is_quick:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def load(url: str, clients: int, seconds: float, bodies: Sequence[dict[str, Any]], headers: dict[str, str]) -> dict[str, float]:
    """Closed-loop POSTs from wrk on one thread: requests/s, median and 99th percentile in ms, failed replies."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("The HTTP benchmarks need wrk: apt-get install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        lines = ",\n".join(json.dumps(json.dumps(body)) for body in bodies)
        sent = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
        script.write(
            f'local bodies = {{\n{lines}\n}}\nlocal at = 0\nwrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n{sent}\n'
        )
        script.write("function request()\n  at = at % #bodies + 1\n  return wrk.format(nil, nil, nil, bodies[at])\nend\n")
        script.flush()
        command = [wrk, "-t1", f"-c{clients}", f"-d{seconds:g}s", "--latency", "--timeout", "60s", "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if rate is None:
        raise SystemExit(f"wrk said:\n{text}")
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return {
        "requests_per_second": float(rate[1]),
        "p50_ms": _percentile(text, 50),
        "p99_ms": _percentile(text, 99),
        "failed": int(failed[1]) if failed else 0,
    }


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    return {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}


def processor_seconds(process: int) -> dict[tuple[int, int], float]:
    """The processor time so far of each thread, as (process, thread), of a process and all that it started."""
    import psutil

    found = {}
    root = psutil.Process(process)
    for each in (root, *root.children(recursive=True)):
        for task in Path(f"/proc/{each.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[each.pid, int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


@contextlib.contextmanager
def program(
    arguments: Sequence[str], url: str, environment: dict[str, str] | None = None, seconds: float = 120
) -> Iterator[subprocess.Popen[bytes]]:
    """A server of another kind, ready once `url` answers."""
    import httpx

    process = subprocess.Popen(arguments, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(url, timeout=2)
                break
            except httpx.TransportError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SystemExit(f"{arguments} did not start") from None
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def push_and_deploy(server: Any, name: str, directory: Path, **fields: Any) -> dict[str, Any]:
    """Push a repository to a running Yunmo and deploy it; large models may take minutes until they are ready."""
    from huggingface_hub import HfApi

    hub = HfApi(endpoint=server.url, token=server.key)
    hub.create_repo(name)
    hub.upload_folder(folder_path=str(directory), repo_id=name)
    with server.client() as client:
        client.post("/admin/deployments", json={"model": name, "name": name, **fields}).raise_for_status()
    return server.wait_for(name, "ready", READY_SECONDS)


def free_port() -> int:
    """A port that nobody has at the moment."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)", text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
