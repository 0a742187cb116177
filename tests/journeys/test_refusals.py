"""What is wrong is refused clearly, in the caller's own dialect."""

import json
import re

import pytest

CHAT = {"messages": [{"role": "user", "content": "hi"}], "model": "talk"}
LEAK = re.compile(r"Traceback|/src/|site-packages|sqlite|SELECT |INSERT |\.sock|File \"")


@pytest.fixture(scope="module")
def echo(server):
    server.deploy("echo", "words")
    server.deploy("echo", "talk", options={"tasks": ["chat", "generate"]})
    return server


def _openai(reply):
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error["message"]


def _plain(reply):
    error = reply.json()["error"]
    return error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/chat/completions", b"{not json", 400, "JSON"),
        ("/v1/chat/completions", {"model": "talk"}, 400, "messages"),
        ("/v1/chat/completions", CHAT | {"temperature": "hot"}, 400, "temperature"),
        ("/v1/chat/completions", CHAT | {"temperature": 9}, 400, "temperature"),
        ("/v1/chat/completions", CHAT | {"prediction": {"type": "content", "content": "x"}}, 400, "prediction"),
        ("/v1/chat/completions", CHAT | {"bananas": 1}, 400, "bananas"),
        ("/v1/chat/completions", CHAT | {"n": 10_000}, 400, "n"),
        ("/v1/chat/completions", CHAT | {"model": "nobody/nothing"}, 404, "nobody/nothing"),
        ("/v1/embeddings", {"model": "talk", "input": "x"}, 400, "embed"),
        ("/v1/chat/completions", b"[" * 100_000, 400, "Expected"),
    ],
)
def test_openai_says_what_is_wrong(echo, path, body, status, said):
    with echo.client() as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = client.post(path, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == status, reply.text
    assert said in _openai(reply)
    assert not LEAK.search(reply.text)


@pytest.mark.parametrize(
    ("path", "body", "statuses", "said"),
    [
        ("/models/words", b"{not json", {400, 422}, ""),
        ("/models/words", b'{"inputs": 5}', {400, 422}, "inputs"),
        ("/models/words", b'{"inputs": "x", "parameters": {"bananas": 1}}', {400, 422}, "bananas"),
        ("/models/words/pipeline/translation", b'{"inputs": "x"}', {400, 422}, "translat"),
        ("/models/nobody", b'{"inputs": "x"}', {404}, "nobody"),
        ("/models/..%2f..%2fetc%2fpasswd", b'{"inputs": "x"}', {400, 404, 422}, ""),
        ("/admin/deployments", b'{"model": "echo", "replicas": 0}', {400}, "replicas"),
        ("/admin/deployments", b'{"model": "echo", "name": "../up"}', {400}, "name"),
        ("/admin/deployments", b'{"model": "echo", "colour": "red"}', {400}, "colour"),
        ("/admin/keys", b'{"project": "-bad-"}', {400}, ""),
        ("/api/repos/create", b'{"name": "a..b", "type": "model"}', {400}, "a..b"),
    ],
)
def test_the_other_dialects_say_what_is_wrong(echo, path, body, statuses, said):
    with echo.client() as client:
        reply = client.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code in statuses, reply.text
    assert said in _plain(reply)
    assert not LEAK.search(reply.text)


def test_a_body_over_the_limit_is_refused_without_being_read(echo):
    with echo.client() as client:
        reply = client.post("/v1/chat/completions", content=b" " * (21 * 1024 * 1024))
        assert reply.status_code == 413
        assert "20 MiB" in _openai(reply)


@pytest.mark.parametrize("audio", [b"", b"not a recording", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_a_broken_recording_is_refused(echo, audio, tiny_model):
    from huggingface_hub import HfApi

    hub = HfApi(endpoint=echo.url, token=echo.key)
    hub.create_repo("ears/whisper", exist_ok=True)
    hub.upload_folder(folder_path=str(tiny_model("whisper")), repo_id="ears/whisper")
    with echo.client() as client:
        reply = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", audio)}, data={"model": "ears/whisper"})
    assert reply.status_code == 400, reply.text
    assert not LEAK.search(reply.text)


@pytest.mark.parametrize("path", ["../x", "a/../x", "/etc/passwd", "a//b", ".git/config", "a\\b", "a\0b", "..%2fx", "con", "x" * 300])
def test_a_path_that_leaves_its_repository_is_refused(echo, path):
    with echo.client() as client:
        client.post("/api/repos/create", json={"name": "paths", "type": "model"})
        lines = [
            {"key": "header", "value": {"summary": "x"}},
            {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}},
        ]
        reply = client.post(
            "/api/models/admin/paths/commit/main",
            content="\n".join(map(json.dumps, lines)),
            headers={"content-type": "application/x-ndjson"},
        )
        assert reply.status_code == 400, reply.text
