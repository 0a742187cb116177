"""The command line against a real server."""

import json

import httpx
import pytest
from typer.testing import CliRunner

from starter_models import CACHE
from yunmo.cli.main import app


@pytest.fixture
def yunmo(server, monkeypatch, tmp_path):
    """Run a command as the operator on the server's machine; what it printed on standard output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YUNMO_URL", server.url)
    monkeypatch.setenv("YUNMO_DATA", str(server.data))
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.delenv("YUNMO_KEY", raising=False)
    monkeypatch.delenv("LC_ALL", raising=False)

    def run(*arguments, exit_code=0):
        done = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
        assert done.exit_code == exit_code, done.output
        return done if exit_code else done.stdout

    return run


def test_a_key_made_for_a_new_project_is_that_project(yunmo, server):
    made = json.loads(yunmo("key", "create", "--project", "cli-acme", "--scope", "infer", "--scope", "read", "--scope", "write", "--json"))
    who = httpx.get(f"{server.url}/api/whoami-v2", headers={"authorization": f"Bearer {made['key']}"})
    assert who.json()["name"] == "cli-acme"
    assert made["scopes"] == ["infer", "read", "write"]


def test_a_key_for_people_is_alone_on_standard_output(yunmo):
    assert yunmo("key", "create", "--project", "cli-shell").strip().startswith("ym_")
    assert len(yunmo("key", "create", "--project", "cli-shell").splitlines()) == 1


def test_a_revoked_key_is_listed_as_such_and_refused(yunmo):
    made = json.loads(yunmo("key", "create", "--project", "cli-revoked", "--requests-per-minute", "5", "--json"))
    listed = json.loads(yunmo("key", "list", "--project", "cli-revoked", "--json"))
    assert listed[0]["limits"]["requests_per_minute"] == 5
    yunmo("key", "revoke", made["id"])
    assert json.loads(yunmo("key", "list", "--project", "cli-revoked", "--json"))[0]["revoked_at"]
    refused = yunmo("ps", "--key", made["key"], "--json", exit_code=1)
    assert json.loads(refused.stdout)["error"]["code"] == "unauthenticated"


def test_the_echo_model_is_deployed_called_listed_and_undeployed(yunmo, server):
    view = json.loads(yunmo("deploy", "echo", "--name", "cli-echo", "--pin", "--json"))
    assert (view["state"], view["is_pinned"]) == ("ready", True)
    reply = httpx.post(f"{server.url}/models/cli-echo", json={"inputs": "hello"}, headers=server.headers)
    assert reply.status_code == 200
    line = next(line for line in yunmo("ps").splitlines() if line.startswith("cli-echo "))
    assert line.split()[1:3] == ["ready", "echo@builtin"]
    assert "cli-echo" in json.loads(yunmo("logs", "cli-echo", "--json"))["name"]
    assert any(row["model"] == "cli-echo" for row in json.loads(yunmo("usage", "--group-by", "model,task", "--json")))
    assert "deployment.create" in yunmo("audit")
    yunmo("undeploy", "cli-echo")
    assert "cli-echo" not in {row["name"] for row in json.loads(yunmo("ps", "--json"))}


def test_deploying_without_waiting_answers_at_once_and_the_same_again_changes_options(yunmo, server):
    assert json.loads(yunmo("deploy", "echo", "--name", "cli-later", "--no-wait", "--json"))["state"] != "failed"
    server.wait_for("cli-later", "ready")
    assert json.loads(yunmo("deploy", "echo", "--name", "cli-later", "--replicas", "2", "--json"))["replicas_wanted"] == 2
    yunmo("undeploy", "cli-later")


def test_a_model_that_cannot_be_served_ends_with_the_reason(yunmo, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("nothing to run\n")
    yunmo("push", "empty", "cli-acme/empty")
    refused = yunmo("deploy", "cli-acme/empty", exit_code=1)
    assert "empty" in refused.stderr
    assert "There is no model 'cli-acme/nothing'" in yunmo("deploy", "cli-acme/nothing", exit_code=1).stderr


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_what_is_pushed_is_pulled_again_byte_for_byte(yunmo, tmp_path, kind):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "rows.jsonl").write_text('{"text": "hello"}\n')
    (source / "deep" / "weights.bin").write_bytes(bytes(range(256)) * 100)
    pushed = json.loads(yunmo("push", "source", f"cli-acme/{kind}-copy", "--type", kind, "--private", "-m", "first", "--json"))
    assert len(pushed["revision"]) == 40
    pulled = json.loads(yunmo("pull", f"cli-acme/{kind}-copy", "--type", kind, "--json"))
    target = tmp_path / pulled["directory"]
    for file in ("rows.jsonl", "deep/weights.bin"):
        assert (target / file).read_bytes() == (source / file).read_bytes()
    again = json.loads(yunmo("push", "source", f"cli-acme/{kind}-copy", "--type", kind, "--json"))
    assert again["revision"] == pushed["revision"]


def test_an_alias_leads_to_its_repository_until_it_is_removed(yunmo, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "config.json").write_text("{}")
    yunmo("push", "files", "cli-acme/aliased")
    yunmo("alias", "set", "cli-alias", "cli-acme/aliased")
    assert {"type": "model", "name": "cli-alias", "repository": "cli-acme/aliased"} in json.loads(yunmo("alias", "list", "--json"))
    yunmo("pull", "cli-alias", "here")
    assert (tmp_path / "here" / "config.json").read_text() == "{}"
    yunmo("alias", "remove", "cli-alias")
    assert "cli-alias" not in yunmo("alias", "list")
    assert "cli-alias" in yunmo("alias", "remove", "cli-alias", exit_code=1).stderr


def test_a_starter_model_is_installed_once_and_its_call_shown(yunmo):
    first = json.loads(yunmo("starter", "install", "all-MiniLM-L6-v2", "--cache", str(CACHE), "--json"))
    assert first == [{"name": "all-MiniLM-L6-v2", "repository": "library/all-MiniLM-L6-v2", "installed": True}]
    shown = yunmo("starter", "install", "all-MiniLM-L6-v2", "--cache", str(CACHE))
    assert "/v1/embeddings" in shown
    assert "client.embeddings.create" in shown
    again = json.loads(yunmo("starter", "install", "library/all-MiniLM-L6-v2", "--cache", "nowhere", "--json"))
    assert again[0]["installed"] is False


def test_an_unknown_starter_model_names_the_known_ones_and_none_is_a_wrong_use(yunmo):
    assert "whisper-base" in yunmo("starter", "install", "gpt-9", exit_code=1).stderr
    assert "--all" in yunmo("starter", "install", exit_code=2).stderr


def test_doctor_finds_the_server_and_its_key_good_and_a_bad_key_wrong(yunmo):
    found = {finding["name"]: finding["verdict"] for finding in json.loads(yunmo("doctor", "--json"))["findings"]}
    assert (found["server"], found["key"]) == ("good", "good")
    bad = json.loads(yunmo("doctor", "--key", "ym_wrong", "--json", exit_code=1).stdout)
    assert {finding["name"]: finding["verdict"] for finding in bad["findings"]}["key"] == "wrong"
