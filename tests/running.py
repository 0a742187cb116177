"""A real `yunmo serve` for tests: started in a directory of its own, on a free port, killed at the end."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_QUIET = {"YUNMO_SERVING__CALIBRATE": "false"}
"""A minute of measuring beside each test says nothing; its own tests turn it on."""

_READY = re.compile(r"ready at (http://\S+)")


@dataclass
class Running:
    """A started server. `key` is the operator's."""

    url: str
    key: str
    data: Path
    process: subprocess.Popen[bytes]

    @property
    def cas_epoch(self) -> str:
        """What the address of its content-addressed store ends with."""
        from yunmo.hub.xet.tokens import Signer

        return f"e1-{Signer((self.data / 'secrets' / 'signing').read_bytes()).key_for('cas address')[:4].hex()}"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=60, **options)

    def async_client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers=self.headers,
            timeout=60,
            limits=httpx.Limits(max_connections=500, max_keepalive_connections=500),
            **options,
        )

    def deploy(self, model: str, name: str | None = None, **fields: Any) -> dict[str, Any]:
        """Deploy and wait until it is ready."""
        with self.client() as client:
            reply = client.post("/admin/deployments", json={"model": model, "name": name or model, **fields})
            assert reply.status_code == 201, reply.text
            return self.wait_for(name or model, "ready")

    def deployment(self, name: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/admin/deployments/{name.replace('/', '%2F')}", headers=self.headers)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def wait_for(self, name: str, state: str, timeout_seconds: float = 60) -> dict[str, Any]:
        """Poll until the deployment is in this state."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            view = self.deployment(name)
            if view["state"] == state:
                return view
            time.sleep(0.05)
        raise AssertionError(f"{name} is {view['state']}, not {state}: {view['reason']}")

    def calibrate(self, name: str, seconds: float = 120) -> dict[str, Any]:
        """Have the deployment's plans measured, and wait until the best one serves."""
        path = f"/admin/deployments/{name.replace('/', '%2F')}"
        deadline = time.monotonic() + 3 * seconds
        with self.client() as client:
            client.post(f"{path}/calibration", json={"seconds": seconds}).raise_for_status()
            while (view := client.get(f"{path}/calibration").raise_for_status().json())["state"] == "running":
                assert time.monotonic() < deadline, f"the calibration of {name} does not end: {view['step']}"
                time.sleep(0.5)
            assert view["state"] == "done", f"{name} could not be calibrated: {view['step']}"
            while (serving := client.get(path).raise_for_status().json()).get("plan") != view["chosen"]:
                assert time.monotonic() < deadline, f"{name} does not serve with its calibrated plan {view['chosen']}"
                time.sleep(0.2)
        return self.wait_for(serving["name"], "ready")

    def new_key(self, project: str, *scopes: str, **fields: Any) -> str:
        with self.client() as client:
            reply = client.post("/admin/keys", json={"project": project, "scopes": list(scopes) or ["infer", "read", "write"], **fields})
            assert reply.status_code == 201, reply.text
            return reply.json()["key"]

    def log(self) -> str:
        return (self.data / "server.log").read_text()

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def start_server(data: Path, environment: Mapping[str, str] | None = None, timeout_seconds: float = 40, port: int = 0) -> Running:
    """Start a server over `data`, which may hold an earlier one's."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "server.log"
    begin = log.stat().st_size if log.exists() else 0
    clean = {name: value for name, value in os.environ.items() if not name.startswith("YUNMO_")}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", "from yunmo.cli.main import main; main()", "serve", "--data", str(data), "--port", str(port)],
            stdout=out,
            stderr=out,
            env=clean | _QUIET | dict(environment or {}),
            cwd=data,
        )
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        found = _READY.search(log.read_text()[begin:])
        if found:
            return Running(found[1], (data / "secrets" / "admin-key").read_text().strip(), data, process)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"the server did not start:\n{log.read_text()[begin:]}")


@contextlib.contextmanager
def running_server(data: Path, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A server for the length of a block."""
    running = start_server(data, environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(20)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait(5)
