"""CI jobs log in without a stored key: the real client, a CI provider on loopback that mints its tokens, and OAuth's own words."""

import json
import os
import subprocess
import sys

import httpx
import pytest

from hub_world import serve_hub
from oidc_issuer import REQUEST_TOKEN, TokenIssuer, serving_issuer
from yunmo.tenancy.publishers import Publisher

QUIET = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture(scope="module")
def provider():
    with serving_issuer(TokenIssuer()) as running:
        yield running


@pytest.fixture(scope="module")
def offline():
    """An issuer that nobody can reach: the operator has its keys in a file."""
    return TokenIssuer("https://gitlab.internal", "ES256")


@pytest.fixture(scope="module")
def served(provider, offline, tmp_path_factory):
    jwks = tmp_path_factory.mktemp("keys") / "jwks.json"
    jwks.write_text(json.dumps(offline.jwks()))

    def publishers(url):
        return [
            Publisher(provider.url, url, {"repository": "acme/trainer", "ref": "refs/heads/*"}, "acme", ("read", "write")),
            Publisher(offline.url, url, {"project_path": "acme/*"}, "acme", ("read", "write"), jwks),
        ]

    with serve_hub(tmp_path_factory.mktemp("hub"), publishers=publishers) as running:
        yield running


@pytest.fixture
def job(served, provider, tmp_path):
    """A CI job that runs a program; it has no key."""

    def run(script, **changed):
        environment = {
            "PATH": os.environ["PATH"],
            "HF_ENDPOINT": served.url,
            "HF_HOME": str(tmp_path / "home"),
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{provider.url}/mint",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
            **QUIET,
            **changed,
        }
        environment = {name: value for name, value in environment.items() if value is not None}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def exchange(served):
    def post(subject_token, resource="acme/model", **changed):
        fields = {"grant_type": EXCHANGE, "subject_token_type": ID_TOKEN, "subject_token": subject_token, "resource": resource} | changed
        return httpx.post(f"{served.url}/oauth/token", json={name: value for name, value in fields.items() if value is not None})

    return post


def refusal(reply, status=400):
    assert reply.status_code == status, reply.text
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json()["error_description"]
    return reply.json()["error"]


PUSH = """
import huggingface_hub as hub, pathlib
pathlib.Path("model").mkdir()
pathlib.Path("model/config.json").write_text('{"made": "in CI"}')
pathlib.Path("model/weights.safetensors").write_bytes(bytes(range(256)) * 50_000)
api = hub.HfApi()
print("user", api.whoami()["name"])
api.create_repo(REPO, repo_type=TYPE, private=True, exist_ok=True)
api.upload_folder(repo_id=REPO, repo_type=TYPE, folder_path="model")
print("read", pathlib.Path(hub.hf_hub_download(REPO, "config.json", repo_type=TYPE)).read_text())
"""


@pytest.mark.parametrize(("resource", "type_"), [("acme/from-ci", "model"), ("datasets/acme/rows-from-ci", "dataset")])
def test_a_job_pushes_with_the_real_client_and_no_key(served, provider, job, resource, type_):
    repository = resource.removeprefix("datasets/")
    provider.asked.clear()
    code, said = job(PUSH.replace("REPO", repr(repository)).replace("TYPE", repr(type_)), HF_OIDC_RESOURCE=resource)
    assert code == 0, said
    assert "user acme" in said
    assert 'read {"made": "in CI"}' in said
    assert provider.asked.count("/mint") == 1
    (entry,) = [each for each in served.run(served.tenancy.audit.list()) if each.action == "key.created"][:1]
    assert (entry.project, entry.detail["subject"]) == ("acme", "repo:acme/trainer:ref:refs/heads/main")


def test_a_job_of_another_provider_brings_its_token_itself(served, offline, job):
    token = offline.token(project_path="acme/trainer", aud=served.url, sub="project_path:acme/trainer")
    script = "import huggingface_hub as hub; print(hub.whoami()['auth']['accessToken'])"
    for _ in range(2):  # every program of the job has the same token
        code, said = job(script, GITHUB_ACTIONS=None, HF_OIDC_RESOURCE="acme/model", HF_OIDC_ID_TOKEN=token)
        assert (code, "'role': 'write'" in said) == (0, True), said
        assert "CI project_path:acme/trainer" in said


def test_a_job_that_names_the_project_alone_may_read_and_not_write(job):
    script = "import huggingface_hub as hub; print(hub.whoami()['auth']['accessToken']['role']); hub.create_repo('acme/refused')"
    code, said = job(script, HF_OIDC_RESOURCE="acme")
    assert code != 0
    assert "read" in said
    assert "403" in said


def test_the_clients_own_function_gets_what_oauth_promises(served, job):
    script = """
import json
from huggingface_hub._oidc import oidc_login
print(json.dumps(oidc_login(resource="acme/model")))
"""
    code, said = job(script)
    assert code == 0, said
    given = json.loads(said)
    principal = served.run(served.tenancy.keys.identify(given.pop("access_token")))
    assert (principal.project, principal.scopes) == ("acme", {"read", "write"})
    assert given == {"token_type": "bearer", "expires_in": 3600, "scope": "read write", "issued_token_type": ACCESS_TOKEN}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"HF_OIDC_RESOURCE": "other/model"}, "invalid_target: This job may not log in for 'other/model'"),
        ({"HF_OIDC_RESOURCE": "spaces/acme/x"}, "invalid_target: There are no spaces here"),
        ({"HF_OIDC_RESOURCE": "acme/model", "HF_OIDC_ID_TOKEN": "no token"}, "invalid_grant: The subject token is not a JWT"),
    ],
)
def test_the_real_client_shows_why_it_is_refused(job, changed, why):
    code, said = job("import huggingface_hub as hub; hub.whoami()", **changed)
    assert code != 0
    assert why in said


def test_the_real_client_shows_how_to_spell_the_servers_address(served, offline, job):
    token = offline.token(project_path="acme/trainer", aud="http://localhost")
    code, said = job("import huggingface_hub as hub; hub.whoami()", HF_OIDC_RESOURCE="acme/model", HF_OIDC_ID_TOKEN=token)
    assert code != 0
    assert f"Have it minted for '{served.url}'" in said


def test_a_form_does_as_well_as_json_and_nothing_of_the_reply_is_kept(served, offline):
    token = offline.token(project_path="acme/trainer", aud=served.url)
    form = {"grant_type": EXCHANGE, "subject_token_type": ID_TOKEN, "subject_token": token, "resource": "acme/model"}
    reply = httpx.post(f"{served.url}/oauth/token", data=form, headers={"authorization": "Bearer ym_stale"})
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.json()["access_token"].startswith("ym_")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token": ["x"]}, "invalid_request"),
        ({"subject_token": "x" * 17_000}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"scope": "admin"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"resource": None}, "invalid_request"),
        ({"resource": 5}, "invalid_request"),
        ({"resource": "acme/../admin"}, "invalid_target"),
        ({"resource": "acme/model\u0000"}, "invalid_target"),
        ({"resource": "other/model"}, "invalid_target"),
        ({"subject_token": "a.b.c"}, "invalid_grant"),
    ],
)
def test_what_cannot_be_exchanged_is_refused_in_oauths_own_words(served, offline, exchange, changed, error):
    token = offline.token(project_path="acme/trainer", aud=served.url)
    assert refusal(exchange(**{"subject_token": token} | changed)) == error


def test_an_issuer_that_is_away_is_a_matter_of_time(served, provider, exchange, monkeypatch):
    issuer = served.tenancy.publishers._issuers[provider.url]
    monkeypatch.setattr(issuer, "_fresh_until", float("-inf"))
    monkeypatch.setattr(issuer, "_next_read_at", float("-inf"))
    monkeypatch.setitem(provider.pages, "/keys", lambda: (500, {}))
    reply = exchange(provider.token(aud=served.url))
    assert refusal(reply, 503) == "temporarily_unavailable"
    assert reply.headers["retry-after"] == "10"


def test_tokens_for_another_server_do_not_become_ours_by_the_name_that_a_request_calls_us(served, provider):
    form = {"grant_type": EXCHANGE, "subject_token_type": ID_TOKEN, "resource": "acme/model"}
    form["subject_token"] = provider.token(aud="http://victim.example.com")
    for headers in ({"host": "victim.example.com"}, {"x-forwarded-host": "victim.example.com"}):
        assert refusal(httpx.post(f"{served.url}/oauth/token", data=form, headers=headers)) == "invalid_grant"
