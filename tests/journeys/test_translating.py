"""Encoder-decoders that are pushed: CTranslate2 serves what converts, transformers what does not, and calibration measures."""

import time

import pytest
from huggingface_hub import HfApi, InferenceClient

import tiny_translators
from running import running_server

TEXTS = ("the quick brown fox", "hello world", "one two three")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("data")) as started:
        yield started


def push(server, directory, name):
    hub = HfApi(endpoint=server.url, token=server.key)
    hub.create_repo(f"admin/{name}")
    hub.upload_folder(folder_path=str(directory), repo_id=f"admin/{name}")


def translate(server, name):
    client = InferenceClient(model=f"{server.url}/models/admin/{name}", token=server.key, timeout=240)
    return [client.translation(text).translation_text for text in TEXTS]


def test_a_model_serves_converted_and_says_the_same_as_the_general_engine(server, tmp_path):
    push(server, tiny_translators.build("marian", tmp_path / "marian"), "translator")
    found = translate(server, "translator")
    assert server.deployment("admin/translator")["engine"] == "ctranslate2"
    server.deploy("admin/translator", "plain", options={"engine": "transformers"})
    plain = InferenceClient(model=f"{server.url}/models/plain", token=server.key, timeout=240)
    assert found == [plain.translation(text).translation_text for text in TEXTS]
    assert server.deployment("plain")["engine"] == "transformers"


def test_its_plans_are_measured_and_held_to_what_fp32_writes(server):
    with server.client() as client:
        path = "/admin/deployments/admin%2Ftranslator/calibration"
        assert client.post(path, json={"seconds": 120}).status_code < 300
        deadline = time.monotonic() + 240
        while (view := client.get(path).json())["state"] == "running" and time.monotonic() < deadline:
            time.sleep(0.2)
    assert view["state"] == "done", view
    trials = view["calibration"]["trials"]
    assert {trial["plan"]["precision"] for trial in trials} == {"fp32", "int8"}
    assert view["calibration"]["unit"] == "tokens/s"
    assert trials[0]["verdict"] == "fit"
    assert all(trial["pace"]["per_second"] > 0 for trial in trials if trial["verdict"] == "fit")
    fp32 = [trial for trial in trials[1:] if trial["plan"]["precision"] == "fp32"]
    assert all(trial["drift"]["agreement"] > 0.99 for trial in fp32), trials
    assert all(trial["drift"]["agreement"] >= 0.9 for trial in trials[1:] if trial["verdict"] == "fit")


def test_a_model_that_comes_out_otherwise_is_served_by_the_general_engine(server, tmp_path):
    import torch
    from transformers import AutoModelForSeq2SeqLM

    directory = tiny_translators.build("marian", tmp_path / "marian")
    model = AutoModelForSeq2SeqLM.from_pretrained(directory)
    with torch.no_grad():
        model.get_input_embeddings().weight[model.config.pad_token_id].fill_(1.0)
    model.save_pretrained(directory)
    push(server, directory, "strange")
    assert all(isinstance(text, str) for text in translate(server, "strange"))
    assert server.deployment("admin/strange")["engine"] == "transformers"
    with server.client() as client:
        assert client.get("/health").status_code == 200
