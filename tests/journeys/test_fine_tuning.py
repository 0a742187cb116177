"""Trainings on a real server as people order them: with every major version of the official client, and from the command line."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
import yaml
from huggingface_hub import HfApi
from typer.testing import CliRunner

import tiny_decoders
from running import running_server, start_server
from tiny_texts import bert
from yunmo.cli import following, uploads
from yunmo.cli.main import app
from yunmo.cli.output import Failed, Output
from yunmo.cli.session import Session

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "dialects" / "openai_clients" / "fine_tuning.py"
PYTHONS = {f"openai-{major}": ROOT / ".clients" / f"openai-{major}" / "bin" / "python" for major in (1, 2, 3)}
WORDS = ("the", "cat", "dog", "sun", "is", "tea", "rain", "a", "big", "house")


def labelled(count, seed=1):
    """Texts whose last word is their label."""
    draw = random.Random(seed)
    labels = draw.choices(("good", "bad"), k=count)
    rows = [{"text": " ".join([*draw.choices(WORDS, k=draw.randint(2, 20)), label]), "label": label} for label in labels]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("yunmo")) as running:
        directory = tmp_path_factory.mktemp("base")
        bert("BertModel", hidden_dropout_prob=0.1)(directory)
        hub = HfApi(endpoint=running.url, token=running.key)
        hub.create_repo("acme/base")
        hub.upload_folder(folder_path=directory, repo_id="acme/base")
        yield running


@pytest.fixture(scope="module")
def key(server):
    return server.new_key("acme")


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(labelled(100))
    return path


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PYTHONS)
def test_the_official_clients_train_follow_and_call_a_model(server, rows, name):
    if not PYTHONS[name].exists():
        pytest.skip(f"there is no environment .clients/{name}")
    command = [str(PYTHONS[name]), str(PROGRAM), server.url, server.new_key(name), "acme/base", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert all(seen[step] for step in ("trained", "stopped", "refused"))
    assert seen["version"].startswith(name.removeprefix("openai-") + ".")


QUESTIONS = ("paris", "berlin", "the cat", "the fox", "the sun", "my dog", "the house", "a red car")
ANSWERS = ("france", "germany", "sleep in the sun", "jumps", "wonderful", "likes fish", "is wonderful", "on the street")
WHOLE = {"batch_size": 8, "learning_rate": 3e-3, "precision": "fp32", "warmup": 0.0}


def asked(question):
    return [{"role": "user", "content": f"what is {question}"}]


def said(answer):
    return [{"role": "assistant", "content": answer}]


def test_a_chat_model_learns_conversations_and_then_preferences_by_openais_own_methods(server, key, tmp_path):
    hub = HfApi(endpoint=server.url, token=server.key)
    hub.create_repo("acme/talks")
    hub.upload_folder(folder_path=tiny_decoders.build("llama", tmp_path / "llama", initializer_range=0.1), repo_id="acme/talks")
    talks = [{"messages": asked(question) + said(answer)} for question, answer in zip(QUESTIONS, ANSWERS, strict=True)]
    choices = [
        {"input": {"messages": asked(question)}, "preferred_output": said(worse), "non_preferred_output": said(better)}
        for question, better, worse in zip(QUESTIONS, ANSWERS, reversed(ANSWERS), strict=True)
    ]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key) as client:

        def trained(base, method, rows, epochs, **more):
            text = "".join(json.dumps(row) + "\n" for row in rows).encode()
            file = client.files.create(file=("rows.jsonl", text), purpose="fine-tune").id
            block = {"hyperparameters": {"n_epochs": epochs, **WHOLE, **more}}
            job = client.fine_tuning.jobs.create(
                model=base, training_file=file, validation_file=file, method={"type": method, method: block}, suffix=method
            )
            while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in {"succeeded", "failed", "cancelled"}:
                time.sleep(0.2)
            assert job.status == "succeeded", job
            return job

        def answers(model):
            replies = [
                client.chat.completions.create(model=model, messages=asked(each), temperature=0, max_tokens=16) for each in QUESTIONS
            ]
            return [reply.choices[0].message.content.strip() for reply in replies]

        first = trained("acme/talks", "supervised", talks * 30, 4)
        assert first.hyperparameters.n_epochs == 4
        assert answers(first.fine_tuned_model) == list(ANSWERS)
        metrics = client.fine_tuning.jobs.checkpoints.list(first.id).data[0].metrics
        assert metrics.full_valid_mean_token_accuracy == 1.0
        assert metrics.full_valid_loss < 0.1
        steps = [event.data for event in client.fine_tuning.jobs.list_events(first.id, limit=100) if event.type == "metrics"]
        assert any(step.get("train_mean_token_accuracy", 0) > 0.5 for step in steps)

        second = trained(first.fine_tuned_model, "dpo", choices, 3, beta=0.1)
        assert second.model == first.fine_tuned_model
        assert second.method.dpo.hyperparameters.beta == 0.1
        assert len(answers(second.fine_tuned_model)) == len(QUESTIONS)


# ------------------------------------------------------------ from the command line


@pytest.fixture
def yunmo(server, key, monkeypatch, tmp_path):
    """Run a command as the project acme; what it printed."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"YUNMO_URL": server.url, "YUNMO_KEY": key, "LANG": "C.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LC_ALL", raising=False)

    def run(*arguments, exit_code=0):
        done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == exit_code, done.output
        return done

    return run


def test_a_training_is_ordered_watched_and_called_from_the_command_line(server, key, yunmo, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "_PART_BYTES", 1000)
    recipe = {"method": "classification", "epochs": 3, "learning_rate": 0.001, "batch_size": 16}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    validation = tmp_path / "validation.csv"
    validation.write_text("sentence,label\nthe cat is good,good\nthe tea is bad,bad\n")
    options = ["--base", "acme/base", "--validation", validation, "--recipe", tmp_path / "recipe.yaml", "--epochs", 1]
    options += ["--set", "warmup=0.2", "--to", "acme/from-cli", "--wait", "--column", "text=sentence", "--column", "label=label"]
    renamed = rows.read_bytes().replace(b'"text"', b'"sentence"')
    rows.write_bytes(renamed)
    done = yunmo("train", "classification", rows, *options)
    assert "acme/from-cli is there: 7 steps" in done.stdout
    assert "accuracy" in done.stdout
    assert f"curl {server.url}/models/acme/from-cli" in done.stdout
    assert "100 + 2 to validate" in done.stderr
    assert "7 × 16 (1 epochs)" in done.stderr
    assert "Epoch 1, validation" in done.stderr
    with server.client() as client:
        client.headers["authorization"] = f"Bearer {key}"
        answered = client.post("/models/acme/from-cli", json={"inputs": "the cat is good"}).json()
        assert {each["label"] for each in answered[0]} == {"good", "bad"}
        [job] = [each for each in client.get("/v1/fine_tuning/jobs").json()["data"] if each["fine_tuned_model"] == "acme/from-cli"]
        shown = job["method"]["classification"]["hyperparameters"]
        assert (shown["n_epochs"], shown["batch_size"], shown["warmup"], shown["learning_rate"]) == (1, 16, 0.2, 0.001)
        assert client.get(f"/admin/trainings/{job['id'].removeprefix('ftjob-')}").json()["order"]["repository"] == "acme/from-cli"


def test_a_server_that_is_killed_while_somebody_watches_is_waited_for(tmp_path):
    server = start_server(tmp_path / "data")
    try:
        (tmp_path / "base").mkdir()
        hub = HfApi(endpoint=server.url, token=server.key)
        hub.create_repo("acme/base")
        bert("BertModel")(tmp_path / "base")
        hub.upload_folder(folder_path=tmp_path / "base", repo_id="acme/base")
        (tmp_path / "rows.jsonl").write_bytes(labelled(40))
        program = "from yunmo.cli.main import main; main()"
        options = ["--base", "acme/base", "--epochs", "2", "--batch-size", "8", "--to", "acme/again", "--wait", "--url", server.url]
        command = [sys.executable, "-c", program, "train", "classification", str(tmp_path / "rows.jsonl"), *options, "--key", server.key]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            for line in watching.stderr:
                if "one step is tried" in line:
                    break
            server.kill()
            time.sleep(1)
            server = start_server(tmp_path / "data", port=int(server.url.rpartition(":")[2]))
            said, remarks = watching.communicate(timeout=200)
        assert watching.returncode == 0, remarks
        assert "acme/again is there: 10 steps" in said
    finally:
        server.kill()


@pytest.mark.timeout(400)
def test_a_server_killed_in_mid_epoch_goes_on_with_the_same_curve(tmp_path):
    server = start_server(tmp_path / "data")
    try:
        (tmp_path / "base").mkdir()
        hub = HfApi(endpoint=server.url, token=server.key)
        hub.create_repo("acme/base")
        bert("BertModel", hidden_dropout_prob=0.1)(tmp_path / "base")
        hub.upload_folder(folder_path=tmp_path / "base", repo_id="acme/base")
        with server.client() as client:
            file = client.post("/v1/files", files={"file": ("rows.jsonl", labelled(200))}, data={"purpose": "fine-tune"}).json()["id"]
            recipe = {"method": "classification", "seed": 3, "epochs": 2, "batch_size": 2, "accumulation": 1, "precision": "fp32"}
            order = {"base": "acme/base", "recipe": {**recipe, "checkpoint_seconds": 0.1}, "rows": {"file": file}, "validation_share": 0.1}
            undisturbed = ended(client, client.post("/admin/trainings", json=order).raise_for_status().json()["id"])
            job = client.post("/admin/trainings", json=order).raise_for_status().json()["id"]
        folder = tmp_path / "data" / "training" / job / "checkpoints"
        until = time.monotonic() + 120
        while len(kept := sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        step = int(kept[-1].name.rpartition("-")[2])
        server.kill()
        assert step % 90 != 0, "it was killed within an epoch"
        server = start_server(tmp_path / "data", port=int(server.url.rpartition(":")[2]))
        with server.client() as client:
            again = ended(client, job)
            assert again["attempt"] > undisturbed["attempt"]
            assert losses(client, again) == losses(client, undisturbed)
    finally:
        server.kill()


def ended(client, job):
    until = time.monotonic() + 200
    while (view := client.get(f"/admin/jobs/{job}").raise_for_status().json())["status"] not in {"succeeded", "failed", "cancelled"}:
        assert time.monotonic() < until, view
        time.sleep(0.2)
    assert view["status"] == "succeeded", view["error"]
    return view


def losses(client, view):
    """The step and the loss of every line of the table of results."""
    table = client.get(f"/v1/files/{view['result']['result_file']}/content").raise_for_status().text.splitlines()
    assert table[0].startswith("step,train_loss")
    return [line.split(",")[:2] for line in table[1:]]


def test_watching_ends_when_a_server_stays_away(monkeypatch):
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.1)
    session = Session("http://127.0.0.1:1", None, "ym_x", Output(as_json=True))
    training = {"id": "1", "phase": "running", "progress": None}
    with pytest.raises(Failed, match=r"127\.0\.0\.1:1"):
        following.follow(session, training)


def test_a_training_that_is_not_waited_for_is_a_job_like_others(yunmo, rows):
    ordered = json.loads(yunmo("train", "classification", rows, "--base", "acme/base", "--no-wait", "--json").stdout)
    assert ordered["phase"] == "validating"
    assert ordered["order"]["recipe"]["method"] == "classification"
    yunmo("jobs", "cancel", ordered["id"])
    assert "queued" in yunmo("train", "classification", rows, "--base", "acme/base", "--no-wait").stdout
    for job in json.loads(yunmo("jobs", "list", "--json").stdout):
        if job["status"] not in {"succeeded", "failed", "cancelled"}:
            yunmo("jobs", "cancel", job["id"])


def test_rows_that_cannot_be_learnt_from_end_the_command_with_their_lines(yunmo, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": 3, "label": "x"}\n{"txt": "a"}\n')
    done = yunmo("train", "classification", "bad.jsonl", "--base", "acme/base", "--wait", exit_code=1)
    assert "Line 2, field 'text'" in done.stderr
    assert "Line 3" in done.stderr
    told = json.loads(yunmo("train", "classification", "bad.jsonl", "--base", "acme/base", "--wait", "--json", exit_code=1).stdout)
    assert told["error"]["code"] == "invalid_request"
    assert "Line 2" in told["error"]["message"]


def test_an_order_that_cannot_be_is_refused_with_its_reason(yunmo, rows):
    assert "acme/none" in yunmo("train", "classification", rows, "--base", "acme/none", exit_code=1).stderr
    assert "other/mine" in yunmo("train", "classification", rows, "--base", "acme/base", "--to", "other/mine", exit_code=1).stderr
    assert "model" in yunmo("train", "classification", rows, exit_code=1).stderr


def test_the_same_idempotency_key_orders_one_training(server, key):
    with server.client() as client:
        client.headers["authorization"] = f"Bearer {key}"
        file = client.post("/v1/files", files={"file": ("rows.jsonl", labelled(4))}, data={"purpose": "fine-tune"}).json()["id"]
        order = {"base": "acme/base", "recipe": {"method": "classification"}, "rows": {"file": file}}
        replies = [client.post("/admin/trainings", json=order, headers={"idempotency-key": "once"}) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [201] * 3
        [identity] = {reply.json()["id"] for reply in replies}
        client.post(f"/admin/jobs/{identity}/cancel")
        refused = client.post("/admin/trainings", json=order | {"colour": "red"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")
        assert client.get("/admin/trainings/none").status_code == 404
        strangers = {"authorization": f"Bearer {server.new_key('strangers')}"}
        assert client.get(f"/admin/trainings/{identity}", headers=strangers).status_code == 404
        assert client.get(f"/admin/trainings/{identity}", headers=server.headers).status_code == 200


# ------------------------------------------------------------ from OpenAI


def exported(folder, jobs):
    """An account's jobs and files as the script of the guide writes them."""
    folder.mkdir()
    (folder / "jobs.json").write_text(json.dumps([{"object": "fine_tuning.job", "created_at": n, **job} for n, job in enumerate(jobs)]))
    (folder / "files.json").write_text(
        json.dumps({"object": "list", "data": [{"object": "file", "id": "file-b", "filename": "talks.jsonl"}]})
    )
    talk = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    (folder / "file-a.jsonl").write_text(json.dumps(talk) + "\n")
    (folder / "talks.jsonl").write_text(json.dumps(talk) + "\n\n")
    return folder


def test_an_account_at_openai_is_imported_once(server, key, yunmo, tmp_path):
    mini = {"id": "ftjob-1", "model": "gpt-4o-mini-2024-07-18", "status": "succeeded", "training_file": "file-a", "seed": 42}
    mini |= {"hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}, "method": None}
    mini |= {"user_provided_suffix": "support", "metadata": {"team": "a"}, "fine_tuned_model": "ft:gpt-4o-mini-2024-07-18:acme:support:x"}
    large = {"id": "ftjob-2", "model": "gpt-4o", "status": "succeeded", "training_file": "file-a", "validation_file": "file-b"}
    large |= {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": "auto"}}}}
    lost = {"id": "ftjob-3", "model": "gpt-4o", "status": "succeeded", "training_file": "file-lost"}
    failed = {"id": "ftjob-4", "model": "gpt-4o", "status": "failed", "training_file": "file-a"}
    folder = exported(tmp_path / "export", [mini, large, lost, failed])
    command = ("import", "openai", folder, "--base", "acme/base", "--map", "gpt-4o-mini=acme/base", "--json")

    done = json.loads(yunmo(*command, exit_code=1).stdout)
    assert [each["state"] for each in done] == ["made", "made", "impossible", "skipped"]
    assert "file-lost" in done[2]["reason"]
    with server.client() as client:
        client.headers["authorization"] = f"Bearer {key}"

        def files():
            return {file["id"]: file["bytes"] for file in client.get("/v1/files", params={"purpose": "fine-tune"}).json()["data"]}

        sent = files()
        first, second = (client.get(f"/v1/fine_tuning/jobs/{each['job']}").json() for each in done[:2])
        assert (first["model"], first["seed"]) == ("acme/base", 42)
        assert first["metadata"] == {"team": "a", "openai_job_id": "ftjob-1"}
        asked = client.get(f"/admin/trainings/{done[0]['job'].removeprefix('ftjob-')}").json()["order"]
        assert asked["suffix"] == "support"
        assert asked["recipe"]["learning_rate_multiplier"] == 1.8
        assert (asked["recipe"]["method"], asked["recipe"]["epochs"], asked["recipe"]["batch_size"]) == ("supervised", 3, 1)
        assert (second["method"]["type"], second["method"]["dpo"]["hyperparameters"]["beta"]) == ("dpo", 0.2)
        assert first["training_file"] == second["training_file"] != second["validation_file"]
        assert sent[second["validation_file"]] == sent[first["training_file"]] + 1

        again = json.loads(yunmo(*command, exit_code=1).stdout)
        assert [each["state"] for each in again] == ["there", "there", "impossible", "skipped"]
        assert [each["job"] for each in again[:2]] == [each["job"] for each in done[:2]]
        assert files() == sent
        for each in done[:2]:
            client.post(f"/v1/fine_tuning/jobs/{each['job']}/cancel")


@pytest.mark.parametrize("guide", ["guide.md", "guide.zh-CN.md"])
def test_the_guides_script_takes_along_what_the_import_reads(server, yunmo, tmp_path, guide):
    """Run against this server, which speaks the API that the script asks."""
    mover = server.new_key(guide.replace(".", "-"))
    with server.client() as client:
        client.headers["authorization"] = f"Bearer {mover}"
        file = client.post("/v1/files", files={"file": ("rows.jsonl", b"no rows\n")}, data={"purpose": "fine-tune"}).json()["id"]
        job = client.post("/v1/fine_tuning/jobs", json={"model": "acme/base", "training_file": file, "suffix": "x"}).json()["id"]
    text = (ROOT / "docs" / guide).read_text()
    [script] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "openai-export" in block]
    environment = os.environ | {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": mover}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, timeout=60, check=True)
    command = ("import", "openai", tmp_path / "openai-export", "--base", "acme/base", "--all", "--dry-run", "--json")
    [told] = json.loads(yunmo(*command).stdout)
    assert (told["id"], told["state"]) == (job, "possible")
    assert Path(told["files"]["training_file"]).read_bytes() == b"no rows\n"
