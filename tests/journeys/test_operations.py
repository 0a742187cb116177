"""What an operator sees of a running server: its key, its files, its pages, its metrics and its log of requests."""

import json
import re
import stat
import time

import httpx
import pytest
from huggingface_hub import HfApi

from running import running_server, start_server

OWN_KEY = "ym_chosen-by-the-operator"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    environment = {"YUNMO_ADMIN_KEY": OWN_KEY, "YUNMO_LOG_FORMAT": "json", "YUNMO_SERVING__QUEUE_LIMIT": "1"}
    with running_server(tmp_path_factory.mktemp("yunmo"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def pushed(server, tmp_path_factory):
    """A public and a private model, and a data set."""
    directory = tmp_path_factory.mktemp("pushed")
    (directory / "README.md").write_text("---\ntags: ['<b>bold</b>']\npipeline_tag: text-classification\n---\nSecret words of the card.\n")
    (directory / "it's & more.json").write_text("{}")
    hub = HfApi(endpoint=server.url, token=server.key)
    for name, options in (("acme/seen", {}), ("acme/hidden", {"private": True}), ("acme/rows", {"repo_type": "dataset"})):
        hub.create_repo(name, **options)
        kind = {"repo_type": options["repo_type"]} if "repo_type" in options else {}
        hub.upload_folder(folder_path=directory, repo_id=name, **kind)
    return hub


def requests_logged(server):
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "request_answered"]


def logged(server, request_id):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = [line for line in requests_logged(server) if line["request_id"] == request_id]
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{request_id} is not in the log")


def metric(server, name, **labels):
    text = httpx.get(f"{server.url}/metrics", headers=server.headers).raise_for_status().text
    shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    found = re.search(rf"^{re.escape(f'{name}{{{shown}}}' if shown else name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def test_the_operators_own_key_is_in_force_and_kept_for_the_local_commands(server):
    assert server.key == OWN_KEY
    assert httpx.get(f"{server.url}/admin/keys", headers={"authorization": f"Bearer {OWN_KEY}"}).status_code == 200


def test_what_is_secret_is_readable_by_its_owner_only(server):
    files = [path for path in (server.data / "secrets").iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"admin-key", "pepper", "signing"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((server.data / "secrets").stat().st_mode) == 0o700


def test_another_operators_key_takes_the_place_of_the_first(tmp_path):
    first = start_server(tmp_path, {"YUNMO_ADMIN_KEY": "ym_the-first-of-two"})
    first.kill()
    with running_server(tmp_path, {"YUNMO_ADMIN_KEY": "ym_the-second-of-two"}) as second:
        assert second.key == "ym_the-second-of-two"
        statuses = [
            httpx.get(f"{second.url}/admin/keys", headers={"authorization": f"Bearer {key}"}).status_code for key in (first.key, second.key)
        ]
        assert statuses == [401, 200]
        assert stat.S_IMODE((tmp_path / "secrets" / "admin-key").stat().st_mode) == 0o600


def test_the_first_page_says_what_this_is_in_two_languages_and_runs_no_script(server):
    page = httpx.get(f"{server.url}/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="/docs"' in page.text
    assert "push a model, get an API" in page.text
    assert "推送模型" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_public_repositorys_address_shows_its_facts_escaped(server, pushed):
    page = httpx.get(f"{server.url}/acme/seen")
    assert page.status_code == 200
    for fact in ("acme/seen", "text-classification", "&lt;b&gt;bold", "it&#x27;s &amp; more.json", f"curl {server.url}/models/acme/seen"):
        assert fact in page.text, fact
    assert "<b>" not in page.text
    assert pushed.model_info("acme/seen").sha in page.text
    link = next(each for each in re.findall(r'href="([^"]+)"', page.text) if "README.md" in each)
    assert "Secret words" in httpx.get(server.url + link, follow_redirects=True).text
    assert "load_dataset" in httpx.get(f"{server.url}/datasets/acme/rows").text


def test_the_addresses_that_clients_print_after_a_push_show_the_repository(server, pushed):
    commit = pushed.upload_file(path_or_fileobj=b"{}", path_in_repo="more.json", repo_id="acme/seen")
    for address in (commit.commit_url, str(commit.repo_url), f"{server.url}/acme/seen/tree/main"):
        page = httpx.get(address)
        assert page.status_code == 200, address
        assert commit.oid in page.text


@pytest.mark.parametrize(
    "path", ["/acme/hidden", "/acme/nothing", "/acme/hidden/tree/main", "/datasets/acme/hidden", "/acme/seen/tree/nowhere"]
)
@pytest.mark.parametrize("has_key", [False, True])
def test_what_not_everybody_may_see_looks_like_nothing_and_the_page_says_to_use_a_key(server, pushed, path, has_key):
    page = httpx.get(server.url + path, headers=server.headers if has_key else {})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "HF_TOKEN" in page.text
    assert "more.json" not in page.text


def test_an_unknown_route_of_a_vendor_is_still_told_in_its_own_words(server):
    assert httpx.get(f"{server.url}/v1/nonsense").json()["error"]["code"] == "not_found"
    assert isinstance(httpx.get(f"{server.url}/api/nonsense").json()["error"], str)


def test_each_request_is_one_line_of_the_log_with_ids_and_without_what_was_said(server):
    server.deploy("echo", "logged")
    body = {"inputs": "do not write this down"}
    reply = httpx.post(
        f"{server.url}/models/logged?secret=question", json=body, headers=server.headers | {"x-request-id": "id-of-this-one"}
    )
    (line,) = logged(server, reply.headers["x-request-id"])
    assert line.pop("milliseconds") > 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request_answered",
        "level": "info",
        "method": "POST",
        "route": "/models/{name}",
        "status": 200,
        "request_id": "id-of-this-one",
        "project": "admin",
        "model": "logged",
    }
    for secret in ("write this down", "secret=question", OWN_KEY):
        assert secret not in server.log()


def test_openai_requests_name_their_model_and_a_hostile_name_stays_inside_its_line(server):
    hostile = 'no"such\nmodel {"event":"request_answered"}'
    reply = httpx.post(f"{server.url}/v1/embeddings", json={"model": hostile, "input": "x"}, headers=server.headers)
    (line,) = logged(server, reply.headers["x-request-id"])
    assert (line["model"], line["status"]) == (hostile, 404)


def test_an_unknown_route_and_a_caller_without_key_are_logged_too(server):
    (missing,) = logged(server, httpx.get(f"{server.url}/nowhere").headers["x-request-id"])
    assert (missing["route"], missing["status"], missing["project"]) == ("(none)", 404, "")
    refused = httpx.post(f"{server.url}/models/x", json={"inputs": "x"})
    assert logged(server, refused.headers["x-request-id"])[0]["status"] == 401


@pytest.mark.parametrize("environment", [{"YUNMO_LOG_REQUESTS": "false"}, {"YUNMO_LOG_LEVEL": "warning"}], ids=["off", "warning"])
def test_requests_are_not_logged_where_the_operator_does_not_want_them(tmp_path, environment):
    with running_server(tmp_path, environment) as quiet:
        httpx.get(f"{quiet.url}/health").raise_for_status()
        quiet.process.terminate()
        quiet.process.wait(20)
        assert "request_answered" not in quiet.log()


def test_lines_for_people_are_whole_at_a_stop(tmp_path):
    with running_server(tmp_path) as spoken:
        ids = [httpx.get(f"{spoken.url}/health").headers["x-request-id"] for _ in range(5)]
        spoken.process.terminate()
        spoken.process.wait(20)
        lines = [line for line in spoken.log().splitlines() if "request_answered" in line]
    assert [re.search(r"request_id=(\S+)", line)[1] for line in lines] == ids
    assert all(re.search(r"method=GET route=/health status=200 milliseconds=[\d.]+", line) for line in lines)


async def test_the_metrics_answer_an_operators_questions(server):
    view = server.deploy("echo", "measured", options={"delay_seconds": 0.5, "slots": 1})
    assert metric(server, "yunmo_deployments", state="ready") >= 1
    assert metric(server, "yunmo_replicas", deployment="measured") == len(view["replicas"]) == 1
    assert metric(server, "yunmo_replica_restarts_total", deployment="measured") == 0
    claimed, total = metric(server, "yunmo_model_memory_claimed_bytes"), metric(server, "yunmo_model_memory_bytes")
    assert view["memory_bytes"] <= claimed <= total
    before = metric(server, "yunmo_refusals_total", reason="overloaded")
    async with server.async_client() as client:
        import asyncio

        asks = [asyncio.create_task(client.post("/models/measured", json={"inputs": "one two three"})) for _ in range(4)]
        seen = set()
        while not all(ask.done() for ask in asks):
            text = (await client.get("/metrics")).text
            names = ("requests_in_work", "requests_waiting")
            seen.add(tuple(float(re.search(rf'^yunmo_{name}{{deployment="measured"}} (\S+)$', text, re.MULTILINE)[1]) for name in names))
        statuses = sorted([(await ask).status_code for ask in asks])
    assert statuses == [200, 200, 503, 503]
    assert (1.0, 1.0) in seen
    assert metric(server, "yunmo_refusals_total", reason="overloaded") - before == 2
    assert metric(server, "yunmo_tokens_total", model="measured", task="classify", direction="in") == 6


def test_refusals_of_a_keys_own_limit_are_counted_by_their_reason(server):
    server.deploy("echo", "limited")
    key = server.new_key("limited-project", limits={"requests_per_minute": 1})
    statuses = [
        httpx.post(f"{server.url}/models/limited", json={"inputs": "x"}, headers={"authorization": f"Bearer {key}"}).status_code
        for _ in range(3)
    ]
    assert statuses == [200, 429, 429]
    assert metric(server, "yunmo_refusals_total", reason="rate_limited") == 2


def test_metrics_are_for_the_operator_only(server):
    key = server.new_key("curious")
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    assert httpx.get(f"{server.url}/metrics", headers={"authorization": f"Bearer {key}"}).status_code == 403
