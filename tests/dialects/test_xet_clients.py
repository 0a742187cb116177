"""The real huggingface_hub with its Rust Xet client, and plain HTTP as an attacker would speak it, against a real server."""

import base64
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest

import xet_building as client
from hub_world import serve_hub
from yunmo.hub.xet.tokens import AccessTicket

PROGRAM = Path(__file__).parent / "xet_clients" / "transfer.py"
QUIET = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
WITHOUT_XET = {"HF_HUB_DISABLE_XET": "1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Incompressible, repetitive and numerical data, each larger than what travels inside a commit."""
    root = tmp_path_factory.mktemp("folder")
    dice = random.Random(7)
    noise = dice.randbytes(13_000_000)
    (root / "noise.bin").write_bytes(noise)
    (root / "again.bin").write_bytes(noise[:6_000_000] + b"a small change" + noise[6_000_000:])
    (root / "zeros.bin").write_bytes(bytes(15_000_000))
    (root / "model.safetensors").write_bytes(np.random.default_rng(7).standard_normal(3_000_000).astype(np.float32).tobytes())
    (root / "notes.txt").write_text("small")
    return root


@pytest.fixture(scope="module")
def pushed(served, folder, tmp_path_factory):
    """A repository that a real client pushed the folder to, and the requests that it took."""
    before = len(served.requests)
    run(served, tmp_path_factory.mktemp("home"), "folder", "acme/first", folder)
    return served.requests[before:]


def run(served, home, command, *arguments, token="acme", **environment):
    """Run the client with a cache of its own; the last line that it prints."""
    given = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": served.url,
        "HF_HOME": str(home),
        "HF_TOKEN": served.tokens[token],
        **QUIET,
        **environment,
    }
    command_line = [sys.executable, str(PROGRAM), command, *map(str, arguments)]
    done = subprocess.run(command_line, env=given, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.strip().rpartition("\n")[2]


def contents(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(root).iterdir() if path.name != ".gitattributes"}


def uses(requests, method, part):
    return [path for each, path in requests if each == method and part in path]


@pytest.mark.parametrize("environment", [{}, WITHOUT_XET], ids=["xet", "plain http"])
def test_a_pushed_folder_comes_back_as_it_was(served, folder, pushed, tmp_path, environment):
    assert uses(pushed, "POST", "/v2/shards")
    before = len(served.requests)
    assert contents(run(served, tmp_path, "snapshot", "acme/first", **environment)) == contents(folder)
    assert bool(uses(served.requests[before:], "GET", "/v2/reconstructions")) is not bool(environment)


def test_a_second_fresh_client_sends_no_data_again(served, folder, pushed, tmp_path):
    before = len(served.requests)
    run(served, tmp_path / "pusher", "folder", "acme/second", folder)
    requests = served.requests[before:]
    assert uses(requests, "GET", "/v1/chunks/")
    assert uses(requests, "POST", "/v2/shards")
    assert uses(requests, "POST", "/v1/xorbs/") == []
    assert contents(run(served, tmp_path / "reader", "snapshot", "acme/second")) == contents(folder)


def test_another_project_learns_nothing_of_private_data_and_sends_its_own_copy(served, folder, pushed, tmp_path):
    before = len(served.requests)
    run(served, tmp_path, "file", "other/copy", folder / "noise.bin", token="other")
    assert uses(served.requests[before:], "POST", "/v1/xorbs/"), "an answer would have told that the data is here"


@pytest.mark.parametrize(("command", "environment"), [("object", {}), ("file", WITHOUT_XET)])
@pytest.mark.parametrize("part_bytes", [None, 5_000_000], ids=["whole", "in parts"])
def test_files_sent_over_lfs_come_back_as_they_were(served, tmp_path, monkeypatch, command, environment, part_bytes):
    if part_bytes:
        monkeypatch.setattr("yunmo.hub.lfs.PART_BYTES", part_bytes)
    data = os.urandom(12_000_001)
    (tmp_path / "data").write_bytes(data)
    before = len(served.requests)
    name = f"acme/lfs-{command}-{part_bytes}"
    run(served, tmp_path / "home", command, name, tmp_path / "data", **environment)
    assert len(uses(served.requests[before:], "PUT", "/cas/lfs/")) == (3 if part_bytes else 1)
    assert Path(run(served, tmp_path / "reader", "fetch", name)).read_bytes() == data


@pytest.fixture
def http(served):
    with httpx.Client(base_url=served.url, timeout=30) as found:
        yield found


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def xet_token(http, served, repository="acme/first", token="acme", kind="read"):
    reply = http.get(f"/api/models/{repository}/xet-{kind}-token/main", headers=bearer(served.tokens[token]))
    assert reply.status_code == 200, reply.text
    assert reply.headers["X-Xet-Cas-Url"] == reply.json()["casUrl"] == f"{served.url}/cas/e1-f4e092d5"
    return reply.json()["accessToken"]


def find(http, served, path="noise.bin"):
    """The description of a large file in the pushed repository."""
    tree = http.get("/api/models/acme/first/tree/main", headers=bearer(served.tokens["acme"])).json()
    return next(entry for entry in tree if entry["path"] == path)


def test_a_private_file_is_closed_to_the_tokens_of_other_projects(http, served, pushed):
    entry = find(http, served)
    http.post("/api/repos/create", json={"name": "mine", "type": "model"}, headers=bearer(served.tokens["other"]))
    foreign = xet_token(http, served, "other/mine", "other", "write")
    assert http.get(f"/cas/e1-f4e092d5/v2/reconstructions/{entry['xetHash']}", headers=bearer(foreign)).status_code == 404
    for token in (served.tokens["other"], None):
        reply = http.get("/api/models/acme/first/xet-read-token/main", headers=bearer(token) if token else {})
        assert reply.status_code in {401, 404}
    own = xet_token(http, served)
    assert http.get(f"/cas/e1-f4e092d5/v2/reconstructions/{entry['xetHash']}", headers=bearer(own)).status_code == 200


def test_a_sha256_that_another_project_uploaded_cannot_be_claimed(http, served, pushed):
    entry = find(http, served)
    headers = bearer(served.tokens["other"])
    http.post("/api/repos/create", json={"name": "thief", "type": "model"}, headers=headers)
    wanted = {"oid": entry["lfs"]["oid"], "size": entry["size"]}
    lines = [{"key": "header", "value": {"summary": "steal"}}, {"key": "lfsFile", "value": {"path": "x.bin", "algo": "sha256", **wanted}}]
    commit = http.post("/api/models/other/thief/commit/main", content="\n".join(map(json.dumps, lines)), headers=headers)
    assert commit.status_code == 400
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [wanted]}
    answer = http.post("/other/thief.git/info/lfs/objects/batch", json=batch, headers=headers).json()
    assert "upload" in answer["objects"][0]["actions"], "saying 'already there' would give the file away"
    batch["operation"] = "download"
    answer = http.post("/other/thief.git/info/lfs/objects/batch", json=batch, headers=headers).json()
    assert answer["objects"][0]["error"]["code"] == 404
    mine = http.post("/acme/first.git/info/lfs/objects/batch", json=batch, headers=bearer(served.tokens["acme"])).json()
    fetched = http.get(mine["objects"][0]["actions"]["download"]["href"]).content
    assert hashlib.sha256(fetched).hexdigest() == entry["lfs"]["oid"]


def test_tokens_expire_are_bound_to_reading_and_are_no_keys(http, served, pushed):
    entry = find(http, served)
    past = AccessTicket(int(time.time()) - 1, 1, "acme", "k", True, True, True)
    reading = xet_token(http, served, token="reader")
    for token, status in ((served.hub.large.signer.seal(past), 401), ("nonsense", 401), (served.tokens["acme"], 401), (reading, 200)):
        assert http.get(f"/cas/e1-f4e092d5/v2/reconstructions/{entry['xetHash']}", headers=bearer(token)).status_code == status
    assert http.post(f"/cas/e1-f4e092d5/v1/xorbs/default/{'0' * 64}", content=b"x", headers=bearer(reading)).status_code == 403
    assert http.post("/cas/e1-f4e092d5/v2/shards", content=b"x", headers=bearer(reading)).status_code == 403
    assert http.get("/api/whoami-v2", headers=bearer(reading)).status_code == 401
    assert http.get("/api/models/acme/first/xet-write-token/main", headers=bearer(served.tokens["reader"])).status_code == 403


def test_xorb_links_need_no_key_and_open_only_their_range(http, served, pushed):
    entry = find(http, served)
    answer = http.get(f"/cas/e1-f4e092d5/v1/reconstructions/{entry['xetHash']}", headers=bearer(xet_token(http, served))).json()
    fetch = next(iter(answer["fetch_info"].values()))[0]
    low, high = fetch["url_range"]["start"], fetch["url_range"]["end"]
    reply = http.get(fetch["url"], headers={"Range": f"bytes={low}-{high}"})
    assert (reply.status_code, len(reply.content)) == (206, high - low + 1)
    assert reply.headers["content-range"].startswith(f"bytes {low}-{high}/")
    assert http.get(fetch["url"], headers={"Range": f"bytes={low + 5}-{low + 9}"}).content == reply.content[5:10]
    assert http.get(fetch["url"], headers={"Range": f"bytes={high + 1}-"}).status_code == 403
    assert http.get(fetch["url"][:-4] + "AAAA").status_code == 403
    assert http.get(fetch["url"], headers={"Range": "bytes=" + "0-," * 10_000 + "0-"}).status_code == 400


def test_a_range_after_the_end_of_a_file_is_answered_416(http, served, pushed):
    entry = find(http, served)
    headers = bearer(xet_token(http, served)) | {"Range": f"bytes={entry['size']}-{entry['size'] + 9}"}
    for version in ("v1", "v2"):
        assert http.get(f"/cas/e1-f4e092d5/{version}/reconstructions/{entry['xetHash']}", headers=headers).status_code == 416


def test_routes_that_we_do_not_have_are_404_so_that_clients_try_others(http, served, pushed):
    headers = bearer(xet_token(http, served, kind="write"))
    unknown = [("POST", f"/v1/xorb-grants/default/{'0' * 64}"), ("GET", f"/v2/file-chunk-hashes/{'0' * 64}"), ("PUT", "/v3/shards")]
    for method, path in [*unknown, ("GET", "/v2/reconstructions/" + "0" * 64), ("GET", "/v1/chunks/default/" + "0" * 64)]:
        assert (
            http.request(method, f"/cas/e1-f4e092d5{path}", headers=headers, content=b"{}" if method != "GET" else None).status_code == 404
        )
    assert http.get(f"/cas/e2-f4e092d5/v2/reconstructions/{'0' * 64}", headers=headers).status_code == 404
    assert http.post("/v1/telemetry", json={"any": "thing"}).status_code == 200


def test_a_pushed_shard_is_answered_in_lines_and_a_bad_one_with_400(http, served, pushed):
    headers = bearer(xet_token(http, served, kind="write"))
    dice = random.Random(99)
    xorb = client.xorb_of([dice.randbytes(40_000) for _ in range(20)])
    file = client.File([(xorb, 0, 20)])
    answers = [http.post(f"/cas/e1-f4e092d5/v1/xorbs/default/{xorb.name}", content=xorb.body, headers=headers).json() for _ in range(2)]
    assert answers == [{"was_inserted": True}, {"was_inserted": False}]
    reply = http.post("/cas/e1-f4e092d5/v2/shards", content=client.shard_of(file), headers=headers)
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert lines[0] == {"type": "validating", "verified": 800_000, "total": 800_000}
    assert lines[-1] == {"type": "result"}
    assert http.post("/cas/e1-f4e092d5/v1/shards", content=client.shard_of(file), headers=headers).json() == {"result": 1}
    for bad in (b"", b"junk", client.shard_of(file, sha256="d" * 64), client.shard_of(client.File([(xorb, 0, 21)]))):
        assert http.post("/cas/e1-f4e092d5/v2/shards", content=bad, headers=headers).status_code == 400


HOSTILE = [
    "..",
    "../../etc/passwd",
    "..%2f..",
    "%2e%2e",
    "a#b",
    "?",
    "\\..\\",
    "C:/x",
    "file:///etc/passwd",
    "a" * 5000,
    "\0",
    "\uff0e\uff0e",
    "'; DROP TABLE xet_xorb; --",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_hashes_and_tickets_are_refused_on_every_route(http, served, pushed, value):
    headers = bearer(xet_token(http, served, kind="write"))
    text = quote(value, safe="")
    paths = [
        ("GET", f"/cas/e1-f4e092d5/v1/chunks/{text}/{text}"),
        ("POST", f"/cas/e1-f4e092d5/v1/xorbs/default/{text}"),
        ("GET", f"/cas/e1-f4e092d5/v1/reconstructions/{text}"),
    ]
    paths += [
        ("GET", f"/cas/e1-f4e092d5/v2/reconstructions/{text}"),
        ("GET", f"/cas/e1-f4e092d5/xorbs/{text}"),
        ("PUT", f"/cas/lfs/{text}"),
        ("POST", f"/cas/lfs/{text}"),
    ]
    for method, path in paths:
        assert http.request(method, path, headers=headers, content=b"x" if method != "GET" else None).status_code in {400, 403, 404}
    batch = {"operation": "upload", "objects": [{"oid": value, "size": 3}]}
    reply = http.post("/acme/first.git/info/lfs/objects/batch", json=batch, headers=bearer(served.tokens["acme"]))
    assert "error" in reply.json()["objects"][0]


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(http, served, pushed):
    token = xet_token(http, served, kind="write")
    xorb = client.xorb_of([random.Random(5).randbytes(100_000) for _ in range(30)])
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /cas/e1-f4e092d5/v1/xorbs/default/{xorb.name} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(xorb.body)}\r\n\r\n"
        connection.sendall(head.encode() + xorb.body[:2_500_000])
        _wait_for(lambda: list(served.hub.large._blobs.staging.glob("xorb-*")))
    _wait_for(lambda: not list(served.hub.large._blobs.staging.glob("xorb-*")))
    reply = http.post(f"/cas/e1-f4e092d5/v1/xorbs/default/{xorb.name}", content=xorb.body, headers=bearer(token))
    assert reply.json() == {"was_inserted": True}


def test_what_the_first_bytes_of_an_oid_say_in_the_tree_is_the_sha256(http, served, folder, pushed):
    for path in ("noise.bin", "zeros.bin", "model.safetensors"):
        assert find(http, served, path)["lfs"]["oid"] == hashlib.sha256((folder / path).read_bytes()).hexdigest()


def test_a_preupload_names_large_files_by_the_sha256_they_have(http, served, folder, pushed):
    sample = base64.b64encode((folder / "noise.bin").read_bytes()[:512]).decode()
    body = {"files": [{"path": "noise.bin", "size": 13_000_000, "sample": sample}]}
    reply = http.post("/api/models/acme/first/preupload/main", json=body, headers=bearer(served.tokens["acme"])).json()
    assert reply["files"][0]["uploadMode"] == "lfs"
    assert reply["files"][0]["oid"] == find(http, served)["lfs"]["oid"]


def _wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
