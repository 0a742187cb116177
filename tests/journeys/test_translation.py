"""Machine translation on a real server: texts over HTTP and from the command line, by models that were pushed with the Hub's own client."""

import json

import httpx
import pytest
from huggingface_hub import HfApi

import tiny_translators
from starter_models import bergamot_directory

PATH = "/admin/translation/texts"
ROUTES = "/admin/translation/routes"


@pytest.fixture(scope="module")
def acme(server, tmp_path_factory):
    """The key of a project with models from en into de and zh into en, and a chat that repeats what it is told."""
    key = server.new_key("acme")
    hub = HfApi(endpoint=server.url, token=key)
    directory = tiny_translators.build("marian", tmp_path_factory.mktemp("marian"))
    tokenizer = json.loads((directory / "tokenizer_config.json").read_text())
    for source, target in (("en", "de"), ("zh", "en")):
        (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"source_lang": source, "target_lang": target}))
        hub.create_repo(f"acme/{source}-{target}")
        hub.upload_folder(folder_path=str(directory), repo_id=f"acme/{source}-{target}")
    server.deploy("echo", "talker", options={"tasks": ["chat"]})
    return key


@pytest.fixture
def client(server, acme):
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {acme}"}, timeout=120) as opened:
        yield opened


def test_texts_are_translated_over_a_third_language_and_metered_by_who_translated(client):
    reply = client.post(PATH, json={"texts": ["one two three", "hello {name}", "42"], "source": "zh", "target": "de"})
    assert reply.status_code == 200, reply.text
    first, second, number = reply.json()["translations"]
    assert first["models"] == ["acme/zh-en", "acme/en-de"]
    assert (first["source"], first["confidence"], first["characters"]) == ("zh", 1.0, 13)
    assert "{name}" in second["text"]
    assert (number["text"], number["models"]) == ("42", [])
    middle = client.post("/models/acme/zh-en", json={"inputs": "one two three"}).json()[0]["translation_text"]
    assert first["text"] == client.post("/models/acme/en-de", json={"inputs": middle.strip()}).json()[0]["translation_text"].strip()
    used = {row["model"]: row for row in client.get("/admin/usage?group_by=model,task").json()}
    assert {"acme/zh-en", "acme/en-de"} <= used.keys()
    assert used["acme/zh-en"]["task"] == "translate"


def test_the_command_line_translates_and_tells_the_routes(yunmo, acme, client):
    wanted = client.post(PATH, json={"texts": ["hello world"], "source": "en", "target": "de"}).json()["translations"][0]
    mine = ("--key", acme)
    assert yunmo("translate", "text", "hello world", "--from", "en", "--to", "de", *mine).rstrip("\n") == wanted["text"]
    told = json.loads(yunmo("translate", "text", "--from", "en", "--to", "de", "--json", *mine, given="hello world"))
    assert told == wanted
    lines = yunmo("translate", "routes", *mine).splitlines()
    assert lines[0].split() == ["FROM", "INTO", "MODEL", "PRIORITY", "BY"]
    assert ["en", "de", "acme/en-de"] in [line.split()[:3] for line in lines]


def test_routes_are_added_and_removed_by_projects_and_by_the_operator(yunmo, acme, client):
    yunmo("translate", "routes", "add", "en", "sw", "talker")
    assert yunmo("translate", "text", "Good morning", "--from", "en", "--to", "sw", "--key", acme).strip() == "Good morning"
    mine = json.loads(yunmo("translate", "routes", "add", "eng", "DE", "talker", "--priority", "5", "--key", acme, "--json"))
    assert mine == {"source": "en", "target": "de", "model": "talker", "priority": 5, "project": "acme"}
    assert json.loads(yunmo("translate", "routes", "--json", "--key", acme))["told"][0] == mine
    assert client.post(PATH, json={"texts": ["hello"], "source": "en", "target": "de"}).json()["translations"][0]["models"] == ["talker"]
    refused = yunmo("translate", "routes", "remove", "en", "sw", "talker", "--key", acme, "--json", exit_code=1)
    assert json.loads(refused.stdout)["error"]["code"] == "not_found"
    yunmo("translate", "routes", "remove", "en", "de", "talker", "--key", acme)
    yunmo("translate", "routes", "remove", "en", "sw", "talker")
    assert json.loads(yunmo("translate", "routes", "--json"))["told"] == []
    assert "translation_route.removed" in yunmo("audit")


def test_a_pair_without_a_route_says_how_to_add_one(yunmo, acme):
    refused = yunmo("translate", "text", "hello", "--from", "en", "--to", "fi", "--key", acme, exit_code=1)
    assert "yunmo translate routes add en fi MODEL" in refused.stderr


def test_a_real_model_keeps_what_must_come_through(server, client, acme):
    directory = bergamot_directory("en", "pt")
    hub = HfApi(endpoint=server.url, token=acme)
    hub.create_repo("acme/ours")
    hub.upload_folder(folder_path=str(directory), repo_id="acme/ours")
    texts = {
        "Your order %(id)s of 1,250.50 dollars arrives on January 5.": "Seu pedido %(id)s de 1.250,50 dólares chega em 5 de janeiro.",
        "Dear customer,\n\nwe have received your letter.  Please wait 3 days.\n": (
            "Caro cliente,\n\nnós recebemos a sua carta.  Por favor, aguarde 3 dias.\n"
        ),
        "Where is my order?": "Onde está a minha encomenda?",
        "Onde está a minha encomenda?": "Onde está a minha encomenda?",
    }
    found = client.post(PATH, json={"texts": list(texts), "target": "pt-BR"}).json()["translations"]
    assert [each["text"] for each in found] == list(texts.values())
    assert [each["models"] for each in found] == [["acme/ours"]] * 3 + [[]]
    assert [each["source"] for each in found] == ["en"] * 3 + ["pt"]
    assert not any(each["issues"] for each in found)
    terms = client.post(PATH, json={"texts": ["The cloud is safe."], "source": "en", "target": "pt", "terms": {"cloud": "Nuvem Acme"}})
    assert "Nuvem Acme" in terms.json()["translations"][0]["text"]


BAD = {
    "no texts": {"texts": [], "target": "de"},
    "too many texts": {"texts": ["x"] * 1001, "target": "de"},
    "no target": {"texts": ["x"]},
    "a language that is none": {"texts": ["x"], "target": "nonsense"},
    "a language with a null": {"texts": ["x"], "target": "d\0e", "source": "en"},
    "a formality that is none": {"texts": ["x"], "target": "de", "formality": "very"},
    "an unknown field": {"texts": ["x"], "target": "de", "tone": "x"},
    "formality for a model that has none": {"texts": ["hello"], "source": "en", "target": "de", "formality": "less"},
    "instructions for a model that takes none": {"texts": ["hello"], "source": "en", "target": "de", "instructions": ["x"]},
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_told_what_is_wrong(name, client):
    reply = client.post(PATH, json=BAD[name])
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["en/nonsense/talker", "en/de/no-such-model", "e%00n/de/talker", "en/de/acme%00x", "%2A/%2A/" + "x" * 300])
def test_a_route_that_cannot_be_is_refused(path, client):
    assert client.put(f"{ROUTES}/{path}", json={}).status_code in {400, 404}
    assert client.delete(f"{ROUTES}/{path}").status_code in {400, 404}


STRANGE = ("\0", "😀" * 50, "a" * 5000, "<x1>" * 50, "[1][2][/1]", "{" * 500, "\u202e abc", "𝒜" * 300)


@pytest.mark.parametrize("text", STRANGE, ids=lambda text: repr(text[:6]))
def test_strange_texts_get_an_answer(text, client):
    reply = client.post(PATH, json={"texts": [text], "source": "en", "target": "de"})
    assert reply.status_code in {200, 400}, reply.text
