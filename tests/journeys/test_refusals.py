"""What is wrong is refused clearly, in the caller's own dialect; what is private stays so; a worker is shut in."""

import json
import re
from pathlib import Path

import psutil
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


def test_every_documented_route_wants_a_key_but_a_few(echo):
    import httpx

    public = {"/health", "/openapi.json", "/docs"}
    with httpx.Client(base_url=echo.url, timeout=30) as client:
        paths = client.get("/openapi.json").json()["paths"]
        assert len(paths) > 50
        for path, operations in paths.items():
            for method in operations:
                filled = re.sub(r"\{[^}]+\}", "x", path)
                if filled in public or method == "parameters":
                    continue
                reply = client.request(method, filled, content=b"{}" if method in {"post", "put", "patch"} else None)
                assert reply.status_code in {400, 401, 403, 404, 405, 422} or _is_open_to_read(method, path), (
                    method,
                    path,
                    reply.status_code,
                )
        for trick in ("//admin/keys", "/admin/keys/", "/ADMIN/keys", "/x/../admin/keys", "/admin%2fkeys"):
            assert client.get(trick).status_code in {401, 404}


def _is_open_to_read(method, path):
    """Public repositories are listed and read without a key; a hub client asks some things before it logs in."""
    return (method in {"get", "head"} and path.startswith(("/api/", "/models/{", "/hf-inference"))) or path.startswith(
        ("/api/validate-yaml", "/cas/", "/v1/telemetry", "/api/agent-harnesses")
    )


@pytest.mark.parametrize("header", ["Bearer", "Bearer ' OR 1=1 --", "Basic abc", "Bearer " + "x" * 20_000, "Bearer %27", "Bearer \xff\xfe"])
def test_a_strange_authorization_is_a_401(echo, header):
    import httpx

    reply = httpx.get(f"{echo.url}/v1/models", headers={"authorization": header.encode("latin-1")})
    assert reply.status_code == 401
    assert not LEAK.search(reply.text)


def test_another_project_sees_nothing_private(echo, tiny_model):
    from huggingface_hub import HfApi

    mine, other = echo.new_key("mine"), echo.new_key("theirs")
    hub = HfApi(endpoint=echo.url, token=mine)
    hub.create_repo("mine/secret", private=True, exist_ok=True)
    hub.upload_folder(folder_path=str(tiny_model("classify")), repo_id="mine/secret")
    with echo.client() as client:
        headers = {"authorization": f"Bearer {mine}"}
        client.post("/admin/deployments", json={"model": "mine/secret", "name": "mine-secret"}, headers=headers).raise_for_status()
        theirs = {"authorization": f"Bearer {other}"}
        for method, path in [
            ("GET", "/api/models/mine/secret"),
            ("GET", "/api/models/mine/secret/tree/main"),
            ("GET", "/api/models/mine/secret/commits/main"),
            ("GET", "/api/models/mine/secret/refs"),
            ("GET", "/mine/secret/resolve/main/config.json"),
            ("GET", "/api/models/mine/secret/xet-read-token/main"),
            ("POST", "/api/models/mine/secret/preupload/main"),
            ("POST", "/models/mine/secret"),
            ("POST", "/models/mine-secret"),
            ("GET", "/admin/deployments/mine-secret"),
            ("GET", "/admin/deployments/mine-secret/logs"),
            ("DELETE", "/admin/deployments/mine-secret"),
        ]:
            reply = client.request(method, path, headers=theirs, json={"inputs": "x", "files": []} if method == "POST" else None)
            assert reply.status_code in {403, 404}, (method, path, reply.status_code, reply.text)
        assert "secret" not in client.get("/api/models", headers=theirs).text
        assert "secret" not in client.get("/admin/deployments", headers=theirs).text
        assert "secret" not in client.get("/admin/usage", headers=theirs).text


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


def test_a_worker_has_no_network_and_no_secret_of_the_gateway(echo):
    pid = echo.deployment("words")["replicas"][0]["pid"]
    assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
    assert echo.key not in environment
    assert "YUNMO_" not in environment


def test_only_the_gateway_listens(echo):
    gateway = psutil.Process(echo.process.pid)
    family = [gateway, *gateway.children(recursive=True)]
    listening = {each.laddr for process in family for each in process.net_connections() if each.status == psutil.CONN_LISTEN}
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert len(listening) == 1


def test_no_key_stands_in_a_log_or_in_the_data_directory(echo):
    key = echo.new_key("quiet")
    with echo.client() as client:
        client.post(
            "/models/words", json={"inputs": "a very private prompt"}, headers={"authorization": f"Bearer {key}"}
        ).raise_for_status()
    for path in echo.data.rglob("*"):
        if path.is_file() and path.name != "admin-key":
            content = path.read_bytes()
            assert key.encode() not in content, path
            if path.name != "server.log":  # it prints the new admin key once, for the operator
                assert echo.key.encode() not in content, path
            assert b"a very private prompt" not in content, path
