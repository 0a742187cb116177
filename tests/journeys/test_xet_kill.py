"""kill -9 in the middle of a push: what is stored afterwards is whole, and the next push succeeds."""

import hashlib
import os
import random
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from running import start_server
from yunmo.core.errors import InvalidRequest
from yunmo.hub.xet.xorbs import XorbCheck

CLIENTS = Path(__file__).parents[1] / "dialects" / "xet_clients"
PROGRAM = CLIENTS / "transfer.py"


def client(running, home, *arguments, program=PROGRAM):
    environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": running.url, "HF_HOME": str(home), "HF_TOKEN": running.key}
    quiet = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, str(program), *map(str, arguments)]
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


def test_every_commit_that_was_acknowledged_before_the_servers_death_is_there_after_it(tmp_path):
    data = tmp_path / "server"
    first = start_server(data)
    pushing = client(first, tmp_path / "home", "acme/acknowledged", program=CLIENTS / "commits.py")
    try:
        acknowledged = dict(pushing.stdout.readline().split() for _ in range(7))
        begun = first.log().count("/preupload/")
        deadline = time.monotonic() + 20
        while first.log().count("/preupload/") == begun:  # in the middle of the next one
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        first.kill()
        pushing.kill()
        rest, _ = pushing.communicate()
    acknowledged |= dict(re.findall(r"^(\d+) ([0-9a-f]{40})$", rest, re.MULTILINE))
    second = start_server(data)
    try:
        api = HfApi(endpoint=second.url, token=second.key)
        history = [commit.commit_id for commit in api.list_repo_commits("acme/acknowledged")]
        for number, oid in acknowledged.items():
            assert oid in history
            path = api.hf_hub_download("acme/acknowledged", f"file-{number}", revision=oid, cache_dir=tmp_path / "cache")
            assert Path(path).read_bytes() == content_of(int(number))
        newest = {f"file-{number}" for number in acknowledged}
        assert newest <= set(api.list_repo_files("acme/acknowledged"))
        assert api.upload_file(path_or_fileobj=b"more", path_in_repo="more", repo_id="acme/acknowledged").oid not in history
    finally:
        second.kill()


def content_of(number):
    return runpy.run_path(str(CLIENTS / "commits.py"))["content"](number)
