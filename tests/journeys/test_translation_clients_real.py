"""DeepL's and LibreTranslate's clients with a real model from English to Portuguese, and back."""

import deepl
import httpx
import pytest
from deep_translator import LibreTranslator
from huggingface_hub import HfApi
from libretranslatepy import LibreTranslateAPI

from starter_models import bergamot_directory

ORDER = "Where is my order? It was supposed to arrive yesterday."
ENCOMENDA = "Onde está a minha encomenda? Era para chegar ontem."


@pytest.fixture(scope="module")
def translating(server):
    hub = HfApi(endpoint=server.url, token=server.key)
    for source, target in (("en", "pt"), ("pt", "en")):
        hub.create_repo(f"admin/{source}-{target}")
        hub.upload_folder(folder_path=str(bergamot_directory(source, target)), repo_id=f"admin/{source}-{target}")
    return server


@pytest.fixture
def client(translating):
    return deepl.DeepLClient(translating.key, server_url=translating.url)


def test_a_text_is_translated(client):
    found = client.translate_text(ORDER, source_lang="EN", target_lang="PT-BR")
    assert (found.text, found.detected_source_lang, found.billed_characters) == (ENCOMENDA, "EN", len(ORDER))
    assert client.translate_text(ENCOMENDA, source_lang="PT", target_lang="EN-US").text.startswith("Where is my order?")


def test_the_other_clients_are_told_the_same(translating):
    assert LibreTranslateAPI(translating.url, api_key=translating.key).translate(ORDER, "en", "pt") == ENCOMENDA
    url = f"{translating.url}/libretranslate/"
    assert LibreTranslator(api_key=translating.key, source="en", target="pt", custom_url=url).translate(ORDER) == ENCOMENDA


def test_a_page_is_translated_between_its_tags(client):
    page = f"<html><body><h1>Your orders</h1><p>{ORDER}</p><script>var order = '{ORDER}';</script><p translate=no>{ORDER}</p></body></html>"
    found = client.translate_text(page, source_lang="EN", target_lang="PT-BR", tag_handling="html").text
    assert f"<p>{ENCOMENDA}</p><script>var order = '{ORDER}';</script><p translate=no>{ORDER}</p></body></html>" in found
    assert "Your orders" not in found


def test_what_weblate_marks_comes_through(client):
    text = 'You have <x id="0"></x> new messages from <x id="1"></x>.'
    found = client.translate_text(text, source_lang="EN", target_lang="PT-BR", tag_handling="xml", ignore_tags=["x"]).text
    assert found.count('<x id="0"></x>') == found.count('<x id="1"></x>') == 1
    assert "mensagens" in found


def test_many_texts_come_back_in_their_order(client):
    texts = [f"There are {number} books in this room." for number in range(2, 40)]
    found = client.translate_text(texts, source_lang="EN", target_lang="PT-BR")
    assert [str(number) in each.text for number, each in zip(range(2, 40), found, strict=True)] == [True] * 38


def test_the_language_is_found_out(client, translating):
    found = client.translate_text([ORDER, "Hello, how are you?"], target_lang="PT-BR")
    assert [each.detected_source_lang for each in found] == ["EN", "EN"]
    assert found[0].text == ENCOMENDA
    found = client.translate_text([ORDER, ENCOMENDA], target_lang="EN-US")
    assert [each.detected_source_lang for each in found] == ["EN", "PT"]
    assert (found[0].text, found[1].text[:18]) == (ORDER, "Where is my order?")
    body = {"q": [ORDER, "😀"], "source": "auto", "target": "pt", "api_key": translating.key}
    reply = httpx.post(f"{translating.url}/translate", json=body, timeout=60).json()
    assert [each["language"] for each in reply["detectedLanguage"]] == ["en", "en"]
    assert [each["confidence"] > 50 for each in reply["detectedLanguage"]] == [True, False]
    assert reply["translatedText"] == [ENCOMENDA, "😀"]


def test_terms_of_a_glossary_are_kept(client):
    glossary = client.create_glossary("terms", "EN", "PT", {"train": "comboio"})
    plain = client.translate_text("The train leaves at nine.", source_lang="EN", target_lang="PT-BR").text
    found = client.translate_text("The train leaves at nine.", source_lang="EN", target_lang="PT-BR", glossary=glossary).text
    assert "comboio" not in plain
    assert "comboio" in found


def test_formality_and_instructions_need_a_model_that_can_be_told(client):
    with pytest.raises(deepl.DeepLException, match="Target language 'PT-BR' doesn't support formality"):
        client.translate_text(ORDER, source_lang="EN", target_lang="PT-BR", formality="more")
    assert client.translate_text(ORDER, source_lang="EN", target_lang="PT-BR", formality="prefer_more").text == ENCOMENDA
    with pytest.raises(deepl.DeepLException, match="cannot be given instructions"):
        client.translate_text(ORDER, source_lang="EN", target_lang="PT-BR", custom_instructions=["Be brief."])
    style = client.create_style_rule("ours", "pt", {"numbers": {"decimal": "comma"}})
    with pytest.raises(deepl.DeepLException, match="cannot be given instructions"):
        client.translate_text(ORDER, source_lang="EN", target_lang="PT-BR", style_rule=style.style_id)
