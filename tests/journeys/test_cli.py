"""The command line against a real server."""

import json
import os
import re
import shutil
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from starter_models import CACHE


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


def test_another_projects_model_is_listed_without_its_details(yunmo):
    yunmo("deploy", "echo", "--name", "cli-seen")
    stranger = yunmo("key", "create", "--project", "cli-stranger", "--scope", "infer", "--scope", "read").strip()
    line = next(line for line in yunmo("ps", "--key", stranger).splitlines() if line.startswith("cli-seen "))
    assert line.split() == ["cli-seen", "ready", "echo@builtin", "echo", "classify"]
    assert next(line for line in yunmo("ps").splitlines() if line.startswith("cli-seen ")).split()[5] == "1/1"
    yunmo("undeploy", "cli-seen")


def test_deploying_without_waiting_answers_at_once_and_the_same_again_changes_options(yunmo, server):
    assert json.loads(yunmo("deploy", "echo", "--name", "cli-later", "--no-wait", "--json"))["state"] != "failed"
    server.wait_for("cli-later", "ready")
    assert json.loads(yunmo("deploy", "echo", "--name", "cli-later", "--replicas", "2", "--json"))["replicas_wanted"] == 2
    limited = json.loads(yunmo("deploy", "echo", "--name", "cli-later", "--pin", "--limit", "requests_per_minute=60", "--json"))
    assert (limited["replicas_wanted"], limited["is_pinned"], limited["limits"]["requests_per_minute"]) == (2, True, 60)
    same = json.loads(yunmo("deploy", "echo", "--name", "cli-later", "--json"))
    assert {name: same[name] for name in ("is_pinned", "limits", "replicas_wanted")} == {
        name: limited[name] for name in ("is_pinned", "limits", "replicas_wanted")
    }
    free = json.loads(yunmo("deploy", "echo", "--name", "cli-later", "--unpin", "--limit", "requests_per_minute=null", "--json"))
    assert (free["is_pinned"], free["limits"]["requests_per_minute"]) == (False, None)
    yunmo("undeploy", "cli-later")


def test_a_model_that_cannot_be_served_ends_with_the_reason(yunmo, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("nothing to run\n")
    yunmo("push", "empty", "cli-acme/empty")
    refused = yunmo("deploy", "cli-acme/empty", exit_code=1)
    assert "empty" in refused.stderr
    assert "There is no model 'cli-acme/nothing'" in yunmo("deploy", "cli-acme/nothing", exit_code=1).stderr


def test_a_name_is_promoted_and_goes_back(yunmo, tiny_model, tmp_path):
    shutil.copytree(tiny_model("classify"), tmp_path / "model")
    yunmo("push", "model", "cli-acme/promoted")
    (tmp_path / "model" / "notes.md").write_text("the second\n")
    yunmo("push", "model", "cli-acme/promoted")
    second = json.loads(yunmo("promote", "cli-promoted", "cli-acme/promoted", "--json"))
    assert (second["model"], second["previous"]) == (f"cli-acme/promoted@{second['commit']}", None)
    assert "has not been promoted" in yunmo("promote", "cli-promoted", "--back", exit_code=1).stderr
    yunmo("promote", "cli-promoted", "cli-acme/promoted@main", "--force")
    first = json.loads(yunmo("promote", "cli-promoted", f"cli-acme/promoted@{_parent(second['commit'])}", "--json"))
    assert first["previous"] == second["model"]
    shown = yunmo("promote", "cli-promoted")
    assert f"cli-promoted stands for {first['model']}." in shown
    assert f"Before, it was {second['model']}: 'yunmo promote cli-promoted --back' goes back." in shown
    assert json.loads(yunmo("promote", "cli-promoted", "--back", "--json"))["model"] == second["model"]
    assert "deployment.promoted_back" in yunmo("audit")
    assert yunmo("promote", "cli-promoted", "x/y", "--back", exit_code=2).exit_code == 2
    yunmo("undeploy", "cli-promoted")


def test_a_model_is_evaluated_on_rows_of_a_file(yunmo, tiny_model, tmp_path):
    shutil.copytree(tiny_model("classify"), tmp_path / "model")
    yunmo("push", "model", "cli-acme/evaluated")
    rows = [{"text": f"text {number}", "label": "a label that it does not have"} for number in range(5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = yunmo("evaluate", "cli-acme/evaluated", "classification", "rows.jsonl")
    assert "5 rows:" in told
    assert re.search(r"accuracy +0\.0000", told)
    assert re.search(r"in the file file-\w+", told)
    job = json.loads(yunmo("evaluate", "cli-acme/evaluated", "classification", "rows.jsonl", "--json"))
    assert (job["kind"], job["status"], job["result"]["rows"]) == ("evaluate", "succeeded", 5)
    refused = yunmo("evaluate", "cli-acme/nothing", "classification", "rows.jsonl", exit_code=1)
    assert "There is no model 'cli-acme/nothing'" in refused.stderr
    assert "no answers to compare" in yunmo("evaluate", "cli-acme/evaluated", "dpo", "rows.jsonl", exit_code=1).stderr


def _parent(commit):
    """The commit before this one of the model that the test pushes."""
    commits = HfApi(endpoint=os.environ["YUNMO_URL"], token=_operator_key()).list_repo_commits("cli-acme/promoted")
    ids = [each.commit_id for each in commits]
    return ids[ids.index(commit) + 1]


def _operator_key():
    return (Path(os.environ["YUNMO_DATA"]) / "secrets" / "admin-key").read_text().strip()


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


def test_pushing_to_a_bare_name_leaves_nothing_behind(yunmo, tmp_path):
    (tmp_path / "bare").mkdir()
    refused = yunmo("push", "bare", "cli-bare", "--json", exit_code=1)
    assert json.loads(refused.stdout)["error"]["code"] == "invalid_request"
    assert "cli-bare" not in httpx.get(f"{os.environ['YUNMO_URL']}/api/models").text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("pull", "cli-acme/nothing"), "repository_not_found"),
        (("pull", "cli-acme/there", "--revision", "nowhere"), "revision_not_found"),
        (("push", "there", "cli-acme/there", "--branch", "a..b"), "revision_not_found"),
        (("push", "there", "cli-acme/there", "--key", "ym_wrong"), "unauthenticated"),
        (("pull", "cli-acme/there", "--key", "ym_wrong"), "unauthenticated"),
        (("push", "there", "cli-acme/not -- allowed"), "invalid_request"),
    ],
)
def test_machines_get_the_servers_own_code_when_a_push_or_pull_fails(yunmo, tmp_path, arguments, code):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text("{}")
    yunmo("push", "there", "cli-acme/there")
    refused = yunmo(*arguments, "--json", exit_code=1)
    assert json.loads(refused.stdout)["error"]["code"] == code, refused.stdout


def test_a_key_that_may_not_write_is_told_so_by_its_code(yunmo, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text("{}")
    stranger = yunmo("key", "create", "--project", "cli-reader", "--scope", "read").strip()
    refused = yunmo("push", "there", "cli-acme/there", "--key", stranger, "--json", exit_code=1)
    assert json.loads(refused.stdout)["error"]["code"] == "forbidden", refused.stdout


def test_what_is_public_is_pulled_without_a_key_and_what_is_private_asks_for_one(yunmo, tmp_path, monkeypatch):
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "config.json").write_text("{}")
    yunmo("push", "open", "cli-acme/open")
    yunmo("push", "open", "cli-acme/closed", "--private")
    monkeypatch.setenv("YUNMO_DATA", str(tmp_path / "not-the-servers"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_another_hub")
    yunmo("pull", "cli-acme/open", "mine")
    assert (tmp_path / "mine" / "config.json").read_text() == "{}"
    assert "YUNMO_KEY" in yunmo("pull", "cli-acme/closed", exit_code=1).stderr


def test_a_pickled_model_is_converted_by_the_command_that_its_refusal_names(yunmo, server, tmp_path, tiny_model):
    directory = pickled(tiny_model("chat"), tmp_path / "pickled")
    yunmo("push", str(directory), "cli-acme/pickled")
    body = {"inputs": "hello", "parameters": {"max_new_tokens": 3, "do_sample": False}}
    refused = httpx.post(f"{server.url}/models/cli-acme/pickled", json=body, headers=server.headers, timeout=60)
    assert refused.status_code == 422
    command = re.search(r"`yunmo ([^`]+)`", refused.json()["error"])[1].split()
    made = json.loads(yunmo(*command, "--json"))
    assert made["files"] == ["model.safetensors"]
    yunmo("push", str(tiny_model("chat")), "cli-acme/never-pickled")
    texts = [
        httpx.post(f"{server.url}/models/cli-acme/{name}", json=body, headers=server.headers, timeout=120).json()
        for name in ("pickled", "never-pickled")
    ]
    assert texts[0] == texts[1]
    assert "generated_text" in texts[0][0]


def test_parts_of_a_pickled_model_are_converted_part_by_part(yunmo, tmp_path, tiny_model):
    import torch
    from safetensors.torch import load_file

    directory = pickled(tiny_model("llama"), tmp_path / "parts")
    tensors = torch.load(directory / "pytorch_model.bin", weights_only=True)
    (directory / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for part, kept in parts.items():
        torch.save({name: tensors[name] for name in kept}, directory / part)
    weight_map = {name: part for part, kept in parts.items() for name in kept}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    yunmo("push", str(directory), "cli-acme/parts")
    yunmo("convert", "cli-acme/parts")
    yunmo("pull", "cli-acme/parts", "converted")
    index = json.loads((tmp_path / "converted" / "model.safetensors.index.json").read_text())
    assert sorted(index["weight_map"]) == names
    for name, part in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / "converted" / part)[name], tensors[name])


@pytest.mark.parametrize("has_model", [False, True], ids=["alone", "beside-a-model"])
def test_an_adapters_pickled_weights_are_converted(has_model, yunmo, tmp_path, tiny_model):
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    name = f"cli-acme/adapter-{has_model}"
    directory = pickled(tiny_model("llama"), tmp_path / "model") if has_model else tmp_path / "adapter"
    directory.mkdir(exist_ok=True)
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{layer}.lora_A.weight": torch.randn(4, 16), f"{layer}.lora_B.weight": torch.randn(4, 16).T}  # the second not contiguous
    torch.save(tensors, directory / "adapter_model.bin")
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"]}))
    yunmo("push", str(directory), name)
    told = json.loads(yunmo("convert", name, "--json"))
    assert told["files"] == [*(["model.safetensors"] if has_model else []), "adapter_model.safetensors"]
    yunmo("pull", name, "converted")
    made = load_file(tmp_path / "converted" / "adapter_model.safetensors")
    assert made.keys() == tensors.keys()
    assert all(torch.equal(made[key], value) for key, value in tensors.items())
    with safe_open(tmp_path / "converted" / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}  # which PEFT asks for
    assert (tmp_path / "converted" / "adapter_model.bin").exists()


def test_an_adapter_that_holds_more_than_weights_keeps_the_model_beside_it_from_being_pushed(yunmo, tmp_path):
    import torch

    (tmp_path / "mixed").mkdir()
    torch.save({"weight": torch.zeros(2)}, tmp_path / "mixed" / "pytorch_model.bin")
    torch.save({"weight": torch.zeros(2), "more": [1]}, tmp_path / "mixed" / "adapter_model.bin")
    pushed = json.loads(yunmo("push", "mixed", "cli-acme/mixed", "--json"))
    assert "adapter_model.bin" in yunmo("convert", "cli-acme/mixed", exit_code=1).stderr
    assert httpx.get(f"{os.environ['YUNMO_URL']}/api/models/cli-acme/mixed").json()["sha"] == pushed["revision"]


def test_a_pickle_that_holds_more_than_weights_is_not_opened_and_nothing_is_pushed(yunmo, tmp_path):
    import torch

    class Program:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "it-ran",))

    (tmp_path / "evil").mkdir()
    torch.save({"weight": Program()}, tmp_path / "evil" / "pytorch_model.bin")
    pushed = json.loads(yunmo("push", "evil", "cli-acme/evil", "--json"))
    refused = yunmo("convert", "cli-acme/evil", exit_code=1)
    assert "more than weights" in refused.stderr
    assert not (tmp_path / "it-ran").exists()
    info = httpx.get(f"{os.environ['YUNMO_URL']}/api/models/cli-acme/evil").json()
    assert info["sha"] == pushed["revision"]


def test_what_has_no_pickled_weights_is_not_converted(yunmo, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.json").write_text("{}")
    yunmo("push", "none", "cli-acme/none")
    assert "config.json" in yunmo("convert", "cli-acme/none", exit_code=1).stderr


def pickled(source, directory):
    """The model with its weights in torch's old format."""
    import torch
    from safetensors.torch import load_file

    shutil.copytree(source, directory)
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    return directory


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
