"""A person pushes a model with the tools they have, and programs they have get answers from it."""

import asyncio
import os
import random
import subprocess
import sys
import time

import pytest
from huggingface_hub import HfApi, InferenceClient


@pytest.fixture(scope="module")
def project(server):
    """A key for the project `acme`."""
    return server.new_key("acme", "infer", "read", "write")


@pytest.fixture(scope="module")
def hub(server, project):
    return HfApi(endpoint=server.url, token=project)


def _push(hub, directory, repository, **options):
    hub.create_repo(repository, exist_ok=True, **options)
    return hub.upload_folder(folder_path=str(directory), repo_id=repository).oid


def test_a_pushed_classifier_answers_by_its_repository_name(server, hub, project, tiny_model):
    commit = _push(hub, tiny_model("classify"), "acme/first")
    client = InferenceClient(model=f"{server.url}/models/acme/first", token=project)
    answer = client.text_classification("a fine thing")
    assert abs(sum(label.score for label in client.text_classification("a fine thing", top_k=10)) - 1) < 1e-3
    assert answer[0].score >= answer[-1].score
    view = server.deployment("acme/first")
    assert view["revision"] == commit
    assert view["is_automatic"]
    assert view["tasks"]


def test_a_pushed_model_is_listed_before_anybody_has_called_it(server, hub, tiny_model):
    _push(hub, tiny_model("classify"), "acme/listed")
    with server.client() as client:
        ids = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert "acme/listed" in ids


def test_an_unknown_model_is_named_in_the_error(server):
    with server.client() as client:
        reply = client.post("/models/acme/nothing", json={"inputs": "x"})
        assert reply.status_code == 404
        assert "acme/nothing" in reply.json()["error"]


def test_a_pickle_only_repository_is_refused_with_the_way_to_convert_it(server, hub, tiny_model, tmp_path):
    import shutil

    import torch

    directory = tmp_path / "pickled"
    shutil.copytree(tiny_model("classify"), directory)
    (directory / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(3)}, directory / "pytorch_model.bin")
    _push(hub, directory, "acme/pickled")
    with server.client() as client:
        reply = client.post("/models/acme/pickled", json={"inputs": "x"})
    assert reply.status_code in {400, 422}
    assert "safetensors" in reply.json()["error"]


def test_a_private_model_answers_its_own_project_only(server, hub, project, tiny_model):
    _push(hub, tiny_model("classify"), "acme/secret", private=True)
    other = server.new_key("rival")
    with server.client() as client:
        body = {"inputs": "x"}
        assert client.post("/models/acme/secret", json=body, headers={"authorization": f"Bearer {project}"}).status_code == 200
        assert client.post("/models/acme/secret", json=body, headers={"authorization": f"Bearer {other}"}).status_code == 404
        names = client.get("/v1/models", headers={"authorization": f"Bearer {other}"}).text
        assert "acme/secret" not in names


def test_auto_deploy_can_be_turned_off(tmp_path, tiny_model):
    from running import running_server

    with running_server(tmp_path, {"YUNMO_SERVING__AUTO_DEPLOY": "false"}) as server:
        hub = HfApi(endpoint=server.url, token=server.key)
        _push(hub, tiny_model("classify"), "admin/manual")
        with server.client() as client:
            reply = client.post("/models/admin/manual", json={"inputs": "x"})
            assert reply.status_code == 404
            assert "yunmo deploy" in reply.json()["error"]
            server.deploy("admin/manual")
            assert client.post("/models/admin/manual", json={"inputs": "x"}).status_code == 200


async def test_a_new_revision_rolls_out_without_a_failed_request(server, hub, project, tiny_model):
    first = _push(hub, tiny_model("classify"), "acme/rolling")
    async with server.async_client() as client:
        assert (await client.post("/models/acme/rolling", json={"inputs": "warm"})).status_code == 200
        statuses = []
        is_over = asyncio.Event()

        async def load():
            while not is_over.is_set():
                statuses.append((await client.post("/models/acme/rolling", json={"inputs": "steady"})).status_code)

        clients = [asyncio.create_task(load()) for _ in range(4)]
        readme = b"---\npipeline_tag: text-classification\n---\nchanged\n"
        commit = await asyncio.to_thread(hub.upload_file, path_or_fileobj=readme, path_in_repo="README.md", repo_id="acme/rolling")
        assert commit.oid != first
        deadline = time.monotonic() + 60
        while True:
            view = await asyncio.to_thread(server.deployment, "acme/rolling")
            if {replica["revision"] for replica in view["replicas"]} == {commit.oid}:
                break
            assert time.monotonic() < deadline, view
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        is_over.set()
        await asyncio.gather(*clients)
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_a_server_begun_anew_at_the_same_address_takes_what_the_client_had_sent_to_the_old_one(tmp_path):
    from running import start_server

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(random.Random(7).randbytes(12_000_000))
    port = 0
    for begin in ("first", "second"):
        server = start_server(tmp_path / begin, port=port)
        try:
            port = int(server.url.rpartition(":")[2])
            environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_TOKEN": server.key, "HF_HOME": str(tmp_path / "home")}
            command = [sys.executable, "-m", "huggingface_hub.cli.hf", "upload", "admin/m", str(folder)]
            done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, (begin, done.stderr[-500:])
        finally:
            server.kill()
