"""LibreTranslate's clients with a real server and real (tiny) models."""

import json
import urllib.error
import uuid

import httpx
import pytest
from deep_translator import LibreTranslator
from libretranslatepy import LibreTranslateAPI

import tiny_translators
from running import running_server

FOX = "the quick brown fox"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    with running_server(data) as started:
        for source, target in (("en", "es"), ("en", "zh"), ("pt", "en")):
            tiny_translators.push_pair(started, data, source, target)
        LibreTranslateAPI(started.url, api_key=started.key).translate(FOX)  # the first one waits for its model
        yield started


@pytest.fixture
def key(server):
    return server.new_key(f"p{uuid.uuid4().hex[:8]}", "infer")


@pytest.fixture
def http(server, key):
    with httpx.Client(base_url=server.url, timeout=60, params={"api_key": key}) as client:
        yield client


@pytest.mark.parametrize("base", ["", "/", "/libretranslate", "/libretranslate/"])
def test_its_own_client_translates_detects_and_lists(base, server, key):
    client = LibreTranslateAPI(server.url + base, api_key=key)
    assert client.translate(FOX) != FOX
    assert client.translate("fox", source="pt", target="es"), "by way of English"
    found = client.detect("Der schnelle braune Fuchs springt über den faulen Hund.")
    assert found[0]["language"] == "de"
    assert 50 < found[0]["confidence"] <= 100
    assert [(each["code"], each["name"], each["targets"]) for each in client.languages()] == [
        ("en", "English", ["es", "zh-Hans"]),
        ("pt", "Portuguese", ["en", "es", "zh-Hans"]),
    ]


def test_a_client_that_puts_all_into_the_query_translates(server, key):
    translator = LibreTranslator(api_key=key, source="en", target="es", custom_url=f"{server.url}/libretranslate/")
    assert translator.translate(FOX) != FOX
    with pytest.raises(Exception, match="Unauthorized access"):
        LibreTranslator(api_key="nobody", source="en", target="es", custom_url=f"{server.url}/").translate(FOX)


@pytest.mark.parametrize("form", ["json", "data", "params"])
def test_parameters_may_be_json_a_form_or_in_the_query(form, server, key):
    reply = httpx.post(f"{server.url}/translate", **{form: {"q": FOX, "source": "en", "target": "es", "api_key": key, "other": "x"}})
    assert reply.status_code == 200
    assert set(reply.json()) == {"translatedText"}


def test_lists_are_answered_by_lists(http):
    reply = http.post(
        "/translate", json={"q": ["hello", FOX, "😀 …"], "source": "EN", "target": "ES", "alternatives": 2, "api_key": None}
    ).json()
    assert len(reply["translatedText"]) == 3
    assert reply["translatedText"][2] == "😀 …"
    assert reply["alternatives"] == [[], [], []], "there are none, which is fewer than were asked for"
    assert "detectedLanguage" not in reply


def test_a_text_without_words_is_answered_as_it_is(http):
    reply = http.post("/translate", json={"q": "😀", "source": "auto", "target": "es"})
    assert reply.json() == {"translatedText": "😀", "detectedLanguage": {"confidence": 0, "language": "en"}}
    assert http.post("/detect", json={"q": "😀"}).json() == [{"confidence": 0, "language": "en"}]


def test_html_keeps_its_tags(http):
    text = "<p>hello <b>world</b></p><!-- note --><pre>brown fox</pre>"
    found = http.post("/translate", json={"q": text, "source": "en", "target": "es", "format": "html"}).json()["translatedText"]
    assert found.startswith("<p>")
    assert "</p><!-- note --><pre>" in found
    assert found.count("<b>") == found.count("</b>") == 1


@pytest.mark.parametrize("code", ["zh", "zh-Hans", "ZH-HANS", "zh_CN"])
def test_chinese_goes_by_any_of_its_codes(code, http):
    assert http.post("/translate", json={"q": FOX, "source": "en", "target": code}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"q": ""}, "Invalid request: missing q parameter"),
        ({"q": None}, "Invalid request: missing q parameter"),
        ({"source": None}, "Invalid request: missing source parameter"),
        ({"target": ""}, "Invalid request: missing target parameter"),
        ({"target": "zz"}, "zz is not supported"),
        ({"source": "zz"}, "zz is not supported"),
        ({"q": "x" * 100_001}, "Invalid request: request (100001) exceeds text limit (100000)"),
        ({"q": ["x"] * 1001}, "Invalid request: request (1001) exceeds batch limit (1000)"),
        ({"format": "pdf"}, None),
        ({"alternatives": -1}, None),
        ({"q": {"a": 1}}, None),
        ({"target": "fr"}, None),
    ],
)
def test_what_cannot_be_is_said(changes, what, http):
    reply = http.post("/translate", json={"q": FOX, "source": "en", "target": "es"} | changes)
    assert reply.status_code == 400, reply.text
    assert reply.headers["access-control-allow-origin"] == "*"
    message = reply.json()["error"]
    assert message == what if what else isinstance(message, str)


def test_a_key_is_needed_and_told_by_403(server):
    for api_key in (None, "", "nobody"):
        body = {"q": FOX, "source": "en", "target": "es", "api_key": api_key}
        reply = httpx.post(f"{server.url}/translate", json=body)
        assert reply.status_code == 403
        assert "api_key" in reply.json()["error"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        LibreTranslateAPI(server.url).languages()
    assert httpx.get(f"{server.url}/languages", headers=server.headers).status_code == 200


def test_too_many_requests_are_told_to_slow_down(server):
    key = server.new_key("slow", "infer", limits={"requests_per_minute": 20})
    body = {"q": FOX, "source": "en", "target": "es", "api_key": key}
    replies = [httpx.post(f"{server.url}/translate", json=body, timeout=60) for _ in range(21)]
    assert [replies[0].status_code, replies[-1].status_code] == [200, 429]
    assert replies[-1].json()["error"].startswith("Slowdown:")
    assert int(replies[-1].headers["retry-after"]) >= 1


def test_settings_say_what_is_here(server):
    found = httpx.get(f"{server.url}/frontend/settings").json()
    assert found["charLimit"] == 100_000
    assert (found["keyRequired"], found["apiKeys"], found["suggestions"], found["filesTranslation"]) == (True, True, False, False)
    assert found["supportedFilesFormat"] == []
    assert set(found["language"]) == {"source", "target"}
    assert httpx.get(f"{server.url}/libretranslate/health").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/libretranslate/spec", follow_redirects=True).json()["openapi"]


def test_what_is_not_here_is_refused(http):
    assert http.post("/suggest", data={"q": "a", "s": "b", "source": "en", "target": "es"}).status_code == 403
    reply = http.post("/translate_file", files={"file": ("a.docx", b"x")}, data={"source": "en", "target": "es"})
    assert (reply.status_code, reply.json()["error"]) == (400, "Invalid request: file format not supported")


def test_pages_of_other_sites_may_ask_with_a_key_that_they_were_given(server, key):
    page = {"origin": "https://other.test", "sec-fetch-site": "cross-site"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    for path in ("/translate", "/libretranslate/translate"):
        first = httpx.options(server.url + path, headers=page | asked)
        assert first.status_code == 204
        assert first.headers["access-control-allow-origin"] == "*"
        assert "content-type" in first.headers["access-control-allow-headers"]
        reply = httpx.post(server.url + path, json={"q": FOX, "source": "en", "target": "es", "api_key": key}, headers=page)
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "*")
        assert httpx.post(server.url + path, json={"q": FOX, "source": "en", "target": "es"}, headers=page).status_code == 403
    assert httpx.post(f"{server.url}/v1/embeddings", json={}, headers=page | server.headers).status_code == 403


def test_a_wrong_method_is_refused(server):
    for path in ("/translate", "/detect"):
        reply = httpx.get(server.url + path)
        assert reply.status_code == 405
        assert isinstance(json.loads(reply.content)["error"], str)
