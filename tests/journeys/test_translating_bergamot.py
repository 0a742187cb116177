"""Bergamot's models are pushed and translate; a damaged one fails with a reason and harms nobody."""

import shutil

import httpx
import pytest
from huggingface_hub import HfApi, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from starter_models import bergamot_directory

ORDER = "Where is my order? It was supposed to arrive yesterday."
ENCOMENDA = "Onde está a minha encomenda? Era para chegar ontem."
LETTER = "Dear Mr. Silva,\n\nthe train leaves at nine.  It will arrive on Jan. 5.\n\n"
CARTA = "Caro Sr. Silva,\n\no trem sai aos nove.  Chegará em 5 de janeiro.\n\n"
WEIGHTS, VOCABULARY = "model.enpt.intgemm.alphas.bin", "vocab.enpt.spm"


def push(server, directory, name):
    hub = HfApi(endpoint=server.url, token=server.key)
    hub.create_repo(f"admin/{name}")
    hub.upload_folder(folder_path=str(directory), repo_id=f"admin/{name}")


def client(server, name):
    return InferenceClient(model=f"{server.url}/models/admin/{name}", token=server.key, timeout=120)


@pytest.fixture(scope="module")
def english(server):
    push(server, bergamot_directory(), "en-pt")
    return client(server, "en-pt")


def test_a_pushed_model_translates_for_the_hub_client(server, english):
    assert english.translation(ORDER).translation_text == ENCOMENDA
    assert english.translation(LETTER, src_lang="en-US", tgt_lang="pt-BR").translation_text == CARTA
    assert server.deployment("admin/en-pt")["engine"] == "bergamot"


def test_both_directions_serve_side_by_side(server, english):
    push(server, bergamot_directory("pt", "en"), "pt-en")
    there = english.translation("The train to Lisbon leaves at nine o'clock.").translation_text
    assert "Lisboa" in there
    assert "Lisbon" in client(server, "pt-en").translation(there).translation_text


def test_many_texts_come_back_in_their_order(server, english):
    texts = [f"There are {number} books in this room." for number in range(2, 40)]
    reply = httpx.post(f"{server.url}/models/admin/en-pt", json={"inputs": texts}, headers=server.headers, timeout=120)
    assert reply.status_code == 200, reply.text
    assert [str(number) in each["translation_text"] for number, each in zip(range(2, 40), reply.json(), strict=True)] == [True] * 38


def test_another_language_and_a_wish_that_it_does_not_have_are_refused_in_the_clients_words(english):
    with pytest.raises(HfHubHTTPError, match="en to pt only") as refusal:
        english.translation(ORDER, src_lang="en", tgt_lang="zh")
    assert refusal.value.response.status_code in {400, 422}
    with pytest.raises(HfHubHTTPError, match="num_beams"):
        english.translation(ORDER, generate_parameters={"num_beams": 4})


def test_its_plans_are_measured_and_write_the_same(server, english):
    view = server.calibrate("admin/en-pt", 60)
    assert view["plan"]["engine"] == "bergamot"
    with server.client() as admin:
        trials = admin.get("/admin/deployments/admin%2Fen-pt/calibration").json()["calibration"]["trials"]
    assert {trial["plan"]["streams"] for trial in trials} >= {1}
    assert all(trial["drift"]["agreement"] == 1.0 for trial in trials[1:]), trials
    assert english.translation(ORDER).translation_text == ENCOMENDA


def test_a_damaged_file_is_a_failed_load_with_a_reason_and_the_others_go_on(server, english, tmp_path):
    directory = shutil.copytree(bergamot_directory(), tmp_path / "model")
    data = (directory / WEIGHTS).read_bytes()
    (directory / WEIGHTS).write_bytes(data[: len(data) // 2])
    push(server, directory, "damaged")
    with server.client() as admin:
        admin.post("/admin/deployments", json={"model": "admin/damaged", "name": "damaged"}).raise_for_status()
    assert f"{WEIGHTS} is damaged" in server.wait_for("damaged", "failed", 60)["reason"]
    assert english.translation(ORDER).translation_text == ENCOMENDA


def test_a_missing_vocabulary_is_told_before_anything_is_loaded(server, tmp_path):
    directory = shutil.copytree(bergamot_directory(), tmp_path / "model")
    (directory / VOCABULARY).unlink()
    push(server, directory, "wordless")
    with server.client() as admin:
        reply = admin.post("/admin/deployments", json={"model": "admin/wordless", "name": "wordless"})
    told = reply.text if reply.status_code >= 400 else str(server.wait_for("wordless", "failed", 60))
    assert "vocab" in told
