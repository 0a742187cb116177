"""kill -9 in the middle of a push: what is stored afterwards is whole, and the next push succeeds."""

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from running import start_server
from yunmo.core.errors import InvalidRequest
from yunmo.hub.xet.xorbs import XorbCheck

PROGRAM = Path(__file__).parents[1] / "dialects" / "xet_clients" / "transfer.py"


def client(running, home, *arguments):
    environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": running.url, "HF_HOME": str(home), "HF_TOKEN": running.key}
    quiet = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, env=environment | quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def is_whole(path):
    check = XorbCheck()
    body = memoryview(path.read_bytes())
    used = 0
    while (step := check.feed(body[used : used + 1_000_000])) > 0:
        used += step
    try:
        return check.finish(path.name) is not None
    except InvalidRequest:
        return False


@pytest.mark.parametrize("moment", ["**/staging/xorb-*", "**/xorbs/*/*/*"], ids=["while a xorb comes in", "when a xorb has been stored"])
def test_a_push_survives_the_servers_death(tmp_path, moment):
    data = random.Random(moment).randbytes(75_000_000)
    (tmp_path / "weights").write_bytes(data)
    first = start_server(tmp_path / "server")
    data_directory = tmp_path / "server"
    push = client(first, tmp_path / "home", "file", "acme/model", tmp_path / "weights")
    try:
        deadline = time.monotonic() + 60
        while not list(data_directory.glob(moment)):
            assert time.monotonic() < deadline
            assert push.poll() is None, push.stdout.read()
            time.sleep(0.001)
    finally:
        first.kill()
        push.kill()
        push.communicate()
    stored = list(data_directory.glob("**/xorbs/*/*/*"))
    assert all(is_whole(path) for path in stored)
    second = start_server(tmp_path / "server")
    try:
        for arguments in (("file", "acme/model", tmp_path / "weights"), ("fetch", "acme/model")):
            run = client(second, tmp_path / "home", *arguments)
            output, _ = run.communicate(timeout=120)
            assert run.returncode == 0, output
        fetched = Path(output.strip().rpartition("\n")[2])
        assert hashlib.sha256(fetched.read_bytes()).digest() == hashlib.sha256(data).digest()
        assert all(is_whole(path) for path in data_directory.glob("**/xorbs/*/*/*"))
    finally:
        second.kill()
