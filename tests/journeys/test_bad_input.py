"""Each kind of wrong input, in each dialect, against a real server: a clear refusal in the caller's own words, never an inside view."""

import json
import re
import socket
import struct
import time

import pytest
from huggingface_hub import HfApi

from running import running_server
from tiny_models import png, wav

LEAK = re.compile(
    r"Traceback|File \"|/src/|site-packages|/proc/|/tmp/|SELECT |INSERT |sqlite|psycopg|\.sock\b|0x[0-9a-f]{8}|\bpid\b", re.IGNORECASE
)
JSON = {"content-type": "application/json"}
SAID = [{"role": "user", "content": "hi"}]
CHAT = {"model": "talk", "messages": SAID}


@pytest.fixture(scope="module")
def cloud(server):
    for name, tasks in (("words", ["classify"]), ("talk", ["chat", "generate"]), ("vectors", ["embed"])):
        server.deploy("echo", name, options={"tasks": tasks})
    HfApi(endpoint=server.url, token=server.key).create_repo("acme/files")
    return server


def _openai(reply):
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error["message"]


def _huggingface(reply):
    body = reply.json()
    assert set(body) <= {"error", "error_type"}
    assert body.get("error_type") == "validation" or reply.status_code in {401, 404}
    return body["error"]


def _hub(reply):
    assert set(reply.json()) == {"error"}
    assert reply.headers["x-error-message"]
    return reply.json()["error"]


def _admin(reply):
    error = reply.json()["error"]
    assert set(error) == {"code", "message", "param", "request_id"}
    assert error["request_id"] == reply.headers["x-request-id"]
    return error["message"]


DIALECTS = {
    "/v1/chat/completions": _openai,
    "/v1/completions": _openai,
    "/v1/embeddings": _openai,
    "/v1/moderations": _openai,
    "/v1/audio/speech": _openai,
    "/v1/audio/transcriptions": _openai,
    "/v1/fine_tuning/jobs": _openai,
    "/models/words": _huggingface,
    "/models/words/pipeline/text-classification": _huggingface,
    "/models/talk": _huggingface,
    "/models/vectors": _huggingface,
    "/api/repos/create": _hub,
    "/api/repos/move": _hub,
    "/api/models/acme/files/preupload/main": _hub,
    "/api/models/acme/files/commit/main": _hub,
    "/api/models/acme/files/paths-info/main": _hub,
    "/api/models/acme/files/tag/main": _hub,
    "/acme/files.git/info/lfs/objects/batch": _hub,
    "/admin/deployments": _admin,
    "/admin/keys": _admin,
    "/admin/projects": _admin,
    "/admin/trainings": _admin,
    "/admin/evaluations": _admin,
}
JSON_ROUTES = [path for path in DIALECTS if "transcriptions" not in path]
STATUS = {_openai: 400, _huggingface: 422, _hub: 400, _admin: 400}


def _check(server, reply, path, *said, status=None):
    """The status, the dialect's shape, what the message must name, and that nothing of the inside shows."""
    form = DIALECTS[path] if path in DIALECTS else _dialect_of(path)
    assert reply.status_code == (status or STATUS[form]), reply.text
    message = form(reply)
    assert len(message) > 10
    for word in said:
        assert word in message, message
    assert not LEAK.search(reply.text), reply.text
    assert str(server.data) not in reply.text
    assert server.key not in reply.text


def _dialect_of(path):
    prefixes = {"/v1/": _openai, "/models/": _huggingface, "/admin/": _admin}
    return next((form for prefix, form in prefixes.items() if path.startswith(prefix)), _hub)


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize(
    "body", [b'{"cut":', b"\xff\xfe\x00", b"", b"[" * 50_000, b"nonsense", b'{"a":1}{"b":2}'], ids=lambda body: repr(body[:12])
)
def test_what_is_not_json_is_said_to_be_so(path, body, cloud):
    with cloud.client() as client:
        _check(cloud, client.post(path, content=body, headers=JSON), path)


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("body", [[], "text", 5, None, True], ids=repr)
def test_a_body_of_another_type_is_refused_with_the_type_it_should_have(path, body, cloud):
    with cloud.client() as client:
        reply = client.post(path, content=json.dumps(body), headers=JSON)
        _check(cloud, reply, path, "object")


WRONG = [
    ("/v1/chat/completions", {"model": "talk"}, "messages"),
    ("/v1/chat/completions", CHAT | {"messages": "hi"}, "messages"),
    ("/v1/chat/completions", CHAT | {"temperature": "hot"}, "temperature"),
    ("/v1/chat/completions", CHAT | {"temperature": 9}, "temperature"),
    ("/v1/chat/completions", CHAT | {"max_tokens": -1}, "max_tokens"),
    ("/v1/chat/completions", CHAT | {"n": 10_000}, "'n'"),
    ("/v1/chat/completions", CHAT | {"stop": ["x"] * 1000}, "stop"),
    ("/v1/chat/completions", CHAT | {"seed": 2**70}, "seed"),
    ("/v1/chat/completions", CHAT | {"bananas": 1}, "bananas"),
    ("/v1/chat/completions", CHAT | {"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ("/v1/chat/completions", {"model": "talk", "messages": [{"role": "king", "content": "x"}]}, "role"),
    ("/v1/chat/completions", {"model": "words", "messages": SAID}, "classify"),
    ("/v1/completions", {"model": "talk"}, "prompt"),
    ("/v1/completions", {"model": "talk", "prompt": "x", "suffix": 5}, "suffix"),
    ("/v1/embeddings", {"model": "vectors", "input": {"a": 1}}, "input"),
    ("/v1/embeddings", {"model": "vectors", "input": "x", "dimensions": 0}, "dimensions"),
    ("/v1/embeddings", {"model": "talk", "input": "x"}, "embed"),
    ("/models/words", {"inputs": 5}, "inputs"),
    ("/models/words", {}, "inputs"),
    ("/models/words", {"inputs": "x", "parameters": {"bananas": 1}}, "bananas"),
    ("/models/words", {"inputs": "x", "parameters": {"top_k": "all"}}, "top_k"),
    ("/models/words", {"inputs": "x", "bananas": 1}, "bananas"),
    ("/models/words/pipeline/translation", {"inputs": "x"}, "translation"),
    ("/models/words/pipeline/no-such-task", {"inputs": "x"}, "no-such-task"),
    ("/models/talk", {"inputs": "x", "parameters": {"max_new_tokens": -1}}, "max_new_tokens"),
    ("/api/repos/create", {"name": "a..b"}, "a..b"),
    ("/api/repos/create", {"name": "ok", "type": "planet"}, "planet"),
    ("/api/repos/create", {"name": "ok", "private": "perhaps"}, "private"),
    ("/api/models/acme/files/preupload/main", {"files": [{"path": "a"}]}, "size"),
    ("/api/models/acme/files/tag/main", {"tag": "a..b"}, "a..b"),
    ("/admin/deployments", {"model": "echo", "replicas": 0}, "replicas"),
    ("/admin/deployments", {"model": "echo", "replicas": "two"}, "replicas"),
    ("/admin/deployments", {"model": "echo", "name": "../up"}, "name"),
    ("/admin/deployments", {"model": "echo", "colour": "red"}, "colour"),
    ("/admin/deployments", {"model": "echo", "name": "new", "options": {"tasks": 5}}, "tasks"),
    ("/admin/deployments", {"model": "echo", "name": "new", "options": {"tasks": ["dance"]}}, "tasks"),
    ("/admin/deployments", {"model": "echo", "name": "new", "options": {"delay_seconds": "x"}}, "delay_seconds"),
    ("/admin/deployments", {"model": "echo", "name": "new", "options": {"memory_bytes": -1}}, "memory_bytes"),
    ("/admin/deployments", {"model": "echo", "name": "new", "options": {"colour": "red"}}, "colour"),
    ("/admin/deployments", {"model": "echo", "name": "new", "options": {"slots": -1}}, "slots"),
    ("/admin/deployments", {"model": "echo", "name": "new", "limits": {"requests_per_minute": 0}}, "requests_per_minute"),
    ("/admin/keys", {"project": "-bad-"}, "-bad-"),
    ("/admin/keys", {"project": "good", "scopes": ["king"]}, "king"),
    ("/admin/keys", {"project": "good", "limits": {"tokens_per_minute": -5}}, "tokens_per_minute"),
    ("/admin/keys", {"project": "good", "expires_at": "2030-01-01T00:00:00"}, "time zone"),
    ("/admin/keys", {"project": "good", "expires_at": "9999-12-31T23:59:59-23:59"}, "9999"),
]


@pytest.mark.parametrize(("path", "body", "said"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_or_unknown_field_is_refused_by_its_name(path, body, said, cloud):
    with cloud.client() as client:
        _check(cloud, client.post(path, json=body), path, said)


MISSING = [
    ("POST", "/v1/chat/completions", CHAT | {"model": "acme/nothing"}),
    ("POST", "/v1/embeddings", {"model": "acme/nothing", "input": "x"}),
    ("GET", "/v1/models/acme%2Fnothing", None),
    ("POST", "/models/acme/nothing", {"inputs": "x"}),
    ("GET", "/api/models/acme/nothing", None),
    ("GET", "/acme/nothing/resolve/main/config.json", None),
    ("POST", "/admin/deployments", {"model": "acme/nothing"}),
    ("GET", "/admin/deployments/acme%2Fnothing", None),
]


@pytest.mark.parametrize(("method", "path", "body"), MISSING, ids=lambda value: value if isinstance(value, str) else "")
def test_a_model_that_is_not_there_is_named(method, path, body, cloud):
    with cloud.client() as client:
        _check(cloud, client.request(method, path, json=body), path, "acme/nothing", status=404)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/models/words", "/api/repos/create", "/admin/deployments"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_refused_with_the_limit(path, is_chunked, cloud):
    size = 21 * 1024 * 1024
    piece = b" " * 65536
    with cloud.client() as client:
        reply = client.post(path, content=(piece for _ in range(size // len(piece))) if is_chunked else b" " * size, headers=JSON)
        _check(cloud, reply, path, "20 MiB", status=413)


PATHS = ["../x", "a/../x", "/etc/passwd", "a//b", ".git/config", "a\\b", "a\0b", "..%2fx", "con", "x" * 300, "\u202egpj.exe", "a/./b", "x."]


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_path_that_leaves_its_repository_or_hurts_a_client_is_refused(path, cloud):
    lines = [{"key": "header", "value": {"summary": "x"}}, {"key": "file", "value": {"path": path, "content": "eA=="}}]
    with cloud.client() as client:
        route = "/api/models/acme/files/commit/main"
        _check(cloud, client.post(route, content="\n".join(map(json.dumps, lines))), route, "path")
        assert client.get("/api/models/acme/files/tree/main").json()[0]["path"] == ".gitattributes"


# ---------------------------------------------------------------- real models


@pytest.fixture(scope="module")
def pushed(cloud, tiny_model):
    """Pushes a tiny model and returns its repository; each once."""
    hub, done = HfApi(endpoint=cloud.url, token=cloud.key), set()

    def push(name):
        if name not in done:
            hub.create_repo(f"tiny/{name}")
            hub.upload_folder(folder_path=str(tiny_model(name)), repo_id=f"tiny/{name}")
            done.add(name)
        return f"tiny/{name}"

    return push


def test_a_prompt_longer_than_the_context_is_refused_in_numbers(cloud, pushed):
    body = {"model": pushed("chat"), "messages": [{"role": "user", "content": "hello " * 20_000}]}
    with cloud.client() as client:
        reply = client.post("/v1/chat/completions", json=body)
        _check(cloud, reply, "/v1/chat/completions", "tokens")
        assert reply.json()["error"]["code"] == "context_length_exceeded"
        streamed = client.post("/v1/chat/completions", json=body | {"stream": True})
        _check(cloud, streamed, "/v1/chat/completions", "tokens")
        plain = client.post(f"/models/{pushed('chat')}", json={"inputs": "hello " * 20_000})
        _check(cloud, plain, "/models/", "tokens")
        short = client.post("/v1/chat/completions", json=body | {"messages": SAID, "max_tokens": 3})
        assert short.status_code == 200, short.text


BROKEN_SOUNDS = {
    "empty": b"",
    "text": b"this is no recording",
    "header only": b"RIFF\x00\x00\x00\x00WAVEfmt ",
    "cut": wav(0.5)[:30],
    "zeros": bytes(1000),
    "no channels": wav(0.1)[:22] + struct.pack("<H", 0) + wav(0.1)[24:],
}


@pytest.mark.parametrize("sound", BROKEN_SOUNDS)
def test_a_broken_recording_is_refused_and_the_model_lives(sound, cloud, pushed):
    model, content = pushed("whisper"), BROKEN_SOUNDS[sound]
    with cloud.client() as client:
        reply = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", content)}, data={"model": model})
        _check(cloud, reply, "/v1/audio/transcriptions")
        _check(cloud, client.post(f"/models/{model}", content=content, headers={"content-type": "audio/wav"}), "/models/")
        fine = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav(0.5))}, data={"model": model})
        assert fine.status_code == 200, fine.text
    assert cloud.deployment(model)["restarts"] == 0


def _bomb():
    """A PNG that claims 50,000 × 50,000 pixels."""
    import zlib

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


BROKEN_PICTURES = {
    "empty": b"",
    "text": b"no picture",
    "cut": png()[:60],
    "half": png()[: len(png()) // 2],
    "bomb": _bomb(),
    "svg": b"<svg/>",
}


@pytest.mark.parametrize("picture", BROKEN_PICTURES)
def test_a_broken_picture_is_refused_and_the_model_lives(picture, cloud, pushed):
    model = pushed("vit")
    with cloud.client() as client:
        reply = client.post(f"/models/{model}", content=BROKEN_PICTURES[picture], headers={"content-type": "image/png"})
        _check(cloud, reply, "/models/")
        fine = client.post(f"/models/{model}", content=png(), headers={"content-type": "image/png"})
        assert fine.status_code == 200, fine.text
    assert cloud.deployment(model)["restarts"] == 0


# ---------------------------------------------------------------- the wire


def test_half_sent_headers_are_told_so_and_closed(tmp_path):
    with running_server(tmp_path, {"YUNMO_HTTP__HEADER_SECONDS": "0.5"}) as server:
        host, port = server.url.removeprefix("http://").split(":")
        started = time.monotonic()
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ")
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        assert time.monotonic() - started < 3
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"0.5 s" in answer


def test_nothing_that_was_sent_here_was_a_bug_of_ours(cloud):
    """Runs last: every refusal above was meant."""
    assert "request_failed" not in cloud.log()
