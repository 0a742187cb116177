"""Habits of today's clients that a server must know: each of these broke some other registry."""

import contextlib
import hashlib
import http.server
import random
import re
import socket
import sys
import threading
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
from huggingface_hub import HfApi
from test_hub_clients import run

from hub_world import ADMIN, serve_hub

CHUNK = 10 * 1024 * 1024
"""huggingface_hub keeps a download in pieces of this size, and goes on after the last whole one."""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def api(served):
    return HfApi(endpoint=served.url, token=served.tokens["acme"])


@contextlib.contextmanager
def breaking_proxy(url, after_bytes):
    """A way to the server that breaks once, in the middle of the first answer that is larger than this; it keeps what was asked."""
    target = (urlsplit(url).hostname, urlsplit(url).port)
    seen = SimpleNamespace(asked=b"", has_broken=False)
    listener = socket.create_server(("127.0.0.1", 0))

    def forward(source, sink, note):
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                if note:
                    seen.asked += data
                elif passed > after_bytes and not seen.has_broken:
                    seen.has_broken = True
                    break
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(client):
        with client, socket.create_connection(target) as server:
            back = threading.Thread(target=forward, args=(server, client, False))
            back.start()
            forward(client, server, True)
            back.join()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                serving.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                serving[-1].start()

    serving = [threading.Thread(target=accept)]
    serving[0].start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{listener.getsockname()[1]}", seen=seen)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in serving:
            each.join(10)


def test_a_download_that_breaks_goes_on_after_its_last_whole_10_mib(served, api, tmp_path):
    content = random.Random(1).randbytes(25_000_000)
    api.create_repo("acme/broken")
    api.upload_file(path_or_fileobj=content, path_in_repo="weights.bin", repo_id="acme/broken")
    with breaking_proxy(served.url, 15_000_000) as proxy:
        through = SimpleNamespace(url=proxy.url, tokens=served.tokens)
        path = run(sys.executable, "../xet_clients/transfer.py", through, tmp_path, "fetch", "acme/broken", HF_HUB_DISABLE_XET="1").strip()
        assert proxy.seen.has_broken
        ranges = re.findall(rb"^range: bytes=(\d+)-\r$", proxy.seen.asked, re.IGNORECASE | re.MULTILINE)
    assert ranges == [str(CHUNK).encode()]
    with open(path, "rb") as file:  # noqa: PTH123 - the path is the client's word
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(content).digest()


def test_nothing_that_clients_read_is_sent_to_another_origin(served, api):
    """They follow redirects within an origin only, and send no key after one that leaves it: so there are none."""
    small, large = b"a,b\n1,2\n", random.Random(2).randbytes(300_000)
    for kind, name in (("model", "acme/first"), ("dataset", "acme/rows")):
        api.create_repo(name, repo_type=kind, private=True)
        for path, content in (("small.csv", small), ("large.bin", large)):
            api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=name, repo_type=kind)
    api.move_repo("acme/first", "acme/moved")
    served.run(served.hub.repositories.alias(ADMIN, "model", "first", "acme/moved"))
    headers = {"authorization": f"Bearer {served.tokens['acme']}"}
    with httpx.Client(base_url=served.url, headers=headers, follow_redirects=False) as http:
        for name in ("acme/moved", "first", "datasets/acme/rows"):
            kind, _, rest = name.partition("/")
            info = f"/api/datasets/{rest}" if kind == "datasets" else f"/api/models/{name}"
            for path in (info, f"{info}/revision/main", f"{info}/tree/main"):
                assert http.get(path).status_code == 200, path
            for path, content in (("small.csv", small), ("large.bin", large)):
                address = f"/{name}/resolve/main/{path}"
                assert http.head(address).status_code == 200, address
                reply = http.get(address)
                assert (reply.status_code, reply.content) == (200, content), address
                assert "location" not in reply.headers
                part = http.get(address, headers={"range": "bytes=1-3"})
                assert (part.status_code, part.content) == (206, content[1:4])


def test_a_data_set_with_a_bare_name_is_read_by_every_client_but_datasets_itself(served, api, tmp_path):
    """`datasets` refuses the name after it has found the repository, whatever a server does; its full name loads."""
    api.create_repo("acme/sums", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"a,b\n1,2\n3,4\n", path_in_repo="data/train.csv", repo_id="acme/sums", repo_type="dataset")
    served.run(served.hub.repositories.alias(ADMIN, "dataset", "sums", "acme/sums"))
    told = run(sys.executable, "datasets_bare.py", served, tmp_path, "sums", "acme/sums")
    assert re.search(r"^bare HfUriError .*must be 'namespace/name', got 'sums'", told)
    assert told.endswith("done\n")


@contextlib.contextmanager
def way_out():
    """A proxy for all that is not on this machine; it keeps what was asked for and lets nothing through."""
    asked = []

    class Refuse(http.server.BaseHTTPRequestHandler):
        def log_request(self, *_arguments):  # of every method, each refused
            asked.append(self.path)

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", asked=asked)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_transformers_sends_nobody_the_key_it_loads_pickled_weights_with(served, tmp_path):
    with way_out() as proxy:
        proxies = {"HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
        assert "loaded" in run(sys.executable, "pickled.py", served, tmp_path, "acme/pickled", **proxies)
        assert proxy.asked == []
    asked = [path for method, path in served.requests if method == "GET" and path.startswith("/api/models/acme/pickled/discussions")]
    assert "/api/models/acme/pickled/discussions" in asked, "transformers has another way now: look at it"
