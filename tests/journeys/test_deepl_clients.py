"""DeepL's own library and command line, and a client that others wrote, with a real server and real (tiny) models."""

import os
import subprocess
import sys
import time
import uuid

import deepl
import httpx
import pytest
from deep_translator import DeeplTranslator

import deepl_replies
import tiny_translators
from running import running_server

FOX = "the quick brown fox"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    with running_server(data, {"YUNMO_TRANSLATION__DEEPL_KEY_IN_QUERY": "true"}) as started:
        for source, target in (("en", "de"), ("en", "zh"), ("pt", "en")):
            tiny_translators.push_pair(started, data, source, target)
        yield started


@pytest.fixture
def key(server):
    """A key of a project of its own."""
    return server.new_key(f"p{uuid.uuid4().hex[:8]}", "infer")


@pytest.fixture
def client(server, key):
    yield from watched(key, server.url)


def watched(key, url):
    """The official client; everything that it is answered is held against the specification."""
    made = deepl.DeepLClient(key, server_url=url)

    made._client._session.mount(url, deepl_replies.Watching())
    yield made
    made.close()


def refused(what, **options):
    return pytest.raises(deepl.DeepLException, match=what, **options)


def test_a_cold_model_answers_before_the_client_gives_up(server):
    started = time.monotonic()
    body = {"text": [FOX], "source_lang": "EN", "target_lang": "DE"}
    headers = {"authorization": f"DeepL-Auth-Key {server.key}"}
    with httpx.stream("POST", f"{server.url}/v2/translate", json=body, headers=headers, timeout=httpx.Timeout(10)) as reply:
        pieces = [(time.monotonic() - started, piece) for piece in reply.iter_raw()]
    assert pieces[0][0] < 8
    assert reply.status_code == 200
    assert reply.headers["x-trace-id"]
    assert b'"billed_characters":19' in b"".join(piece for _, piece in pieces)


def test_one_text_and_several(client):
    one = client.translate_text(FOX, source_lang="EN", target_lang="DE")
    assert isinstance(one.text, str)
    assert one.text != FOX
    assert (one.detected_source_lang, one.billed_characters, one.model_type_used) == ("EN", len(FOX), None)
    several = client.translate_text(["hello world", FOX, " … "], source_lang="en", target_lang="de", model_type="prefer_quality_optimized")
    assert [each.billed_characters for each in several] == [11, 19, 0]
    assert (several[1].text, several[2].text, several[0].model_type_used) == (one.text, " … ", "quality_optimized")


@pytest.mark.parametrize("base", ["", "/", "/deepl/", "/deepl"])  # from the last the client itself drops the prefix
def test_the_client_finds_us_at_the_root_and_below_a_prefix(base, server, key):
    for client in watched(key, server.url + base):
        assert client.translate_text("hello", source_lang="EN", target_lang="DE").text
        assert client.get_usage().character.count >= 5


def test_tags_stay_and_what_is_ignored_is_not_touched(client):
    text = 'hello <b>world</b>, <x id="1"></x>'
    found = client.translate_text(text, source_lang="EN", target_lang="DE", tag_handling="xml", ignore_tags="x").text
    assert '<x id="1"></x>' in found
    assert found.count("<b>") == found.count("</b>") == 1
    page = "<p>hello world</p><script>var a = 1 < 2;</script><p translate='no'>brown fox</p>"
    found = client.translate_text(page, source_lang="EN", target_lang="DE", tag_handling="html").text
    assert found.startswith("<p>")
    assert found.endswith("</p><script>var a = 1 < 2;</script><p translate='no'>brown fox</p>")
    assert "hello" not in found


def test_xml_that_is_not_well_formed_is_refused_in_the_second_version_only(client):
    options = {"source_lang": "EN", "target_lang": "DE", "tag_handling": "xml"}
    with refused("Tag handling parsing failed, please check input."):
        client.translate_text("hello <b> world", tag_handling_version="v2", **options)
    assert client.translate_text("hello <b> world", tag_handling_version="v1", **options).text
    assert client.translate_text(
        "<p>hello<br>world", source_lang="EN", target_lang="DE", tag_handling="html", tag_handling_version="v2"
    ).text


def test_languages_are_listed_as_the_client_may_ask_for_them(client):
    assert [(each.code, each.name) for each in client.get_source_languages()] == [("EN", "English"), ("PT", "Portuguese")]
    targets = client.get_target_languages()
    assert {each.code for each in targets} >= {"DE", "EN", "EN-GB", "EN-US", "ZH", "ZH-HANS"}
    assert all(each.supports_formality is False for each in targets)
    for code in ("EN-US", "en-gb"):
        assert client.translate_text("fox", source_lang="PT", target_lang=code).text
    assert client.translate_text("fox", source_lang="EN", target_lang="ZH-HANS").text
    pairs = {(each.source_lang, each.target_lang) for each in client.get_glossary_languages()}
    assert pairs >= {("en", "de"), ("en", "zh"), ("pt", "en"), ("pt", "de")}


def test_usage_is_what_was_translated(client):
    assert client.get_usage().character.count == 0
    client.translate_text(["hello", "brown fox"], source_lang="EN", target_lang="DE")
    usage = client.get_usage()
    assert usage.character.count == 14
    assert not usage.any_limit_reached


def test_glossaries_of_one_pair(client):
    made = client.create_glossary("words", "EN", "DE", {"fox": "Fuchs", "hello": "hallo"})
    assert (made.name, made.ready, made.source_lang, made.target_lang, made.entry_count) == ("words", True, "EN", "DE", 2)
    assert client.get_glossary(made.glossary_id).creation_time == made.creation_time
    assert client.get_glossary_entries(made) == {"fox": "Fuchs", "hello": "hallo"}
    table = client.create_glossary_from_csv("table", "EN", "DE", 'a,b,en,de\n"c, d",e,en,de\nf,g,en,fr\n')
    assert client.get_glossary_entries(table) == {"a": "b", "c, d": "e"}
    assert [each.name for each in client.list_glossaries()] == ["words", "table"]
    assert client.translate_text_with_glossary("hello fox", made).text
    client.delete_glossary(made)
    for act in (client.get_glossary, client.delete_glossary, client.get_glossary_entries):
        with pytest.raises(deepl.GlossaryNotFoundException):
            act(made.glossary_id)


def test_glossaries_of_several_pairs(client):
    entries = deepl.api_data.MultilingualGlossaryDictionaryEntries
    made = client.create_multilingual_glossary("words", [entries("EN", "DE", {"fox": "Fuchs"}), entries("de", "en-US", {"Fuchs": "fox"})])
    assert {(each.source_lang, each.target_lang, each.entry_count) for each in made.dictionaries} == {("EN", "DE", 1), ("DE", "EN", 1)}
    changed = client.update_multilingual_glossary_dictionary(made.glossary_id, entries("EN", "DE", {"fox": "Füchsin", "sky": "Himmel"}))
    assert {each.entry_count for each in changed.dictionaries} == {1, 2}
    found = client.get_multilingual_glossary_entries(made.glossary_id, "en", "de").dictionaries
    assert [deepl.util.convert_tsv_to_dict(each.entries) for each in found] == [{"fox": "Füchsin", "sky": "Himmel"}]
    replaced = client.replace_multilingual_glossary_dictionary(made.glossary_id, entries("EN", "DE", {"sea": "Meer"}))
    assert replaced.entry_count == 1
    assert client.update_multilingual_glossary_name(made.glossary_id, "more").name == "more"
    assert client.list_glossaries() == [], "it has two dictionaries, which /v2 does not know"
    client.delete_multilingual_glossary_dictionary(made, source_lang="DE", target_lang="EN")
    assert [each.glossary_id for each in client.list_glossaries()] == [made.glossary_id]
    with refused("detail: Row 2 has the source term 'a' again") as error:
        body = {
            "name": "twice",
            "dictionaries": [{"source_lang": "en", "target_lang": "de", "entries": "a\tb\na\tc", "entries_format": "tsv"}],
        }
        client._raise_for_status(*client._api_call("v3/glossaries", json=body), glossary=True)
    assert "Invalid glossary entries provided" in str(error.value)
    client.delete_multilingual_glossary(made.glossary_id)
    assert client.list_multilingual_glossaries() == []


def test_several_glossaries_may_be_used_and_need_the_source(client):
    ids = [client.create_glossary(f"g{n}", "EN", "DE", {f"t{n}": "x"}) for n in range(2)]
    assert client.translate_text("hello", source_lang="EN", target_lang="DE", glossary_ids=ids).text
    with refused("No glossary given has a dictionary from 'en' to 'zh'"):
        client.translate_text("hello", source_lang="EN", target_lang="ZH", glossary_ids=ids)
    headers = {"authorization": client.headers["Authorization"]}
    body = {"text": ["hello"], "target_lang": "DE", "glossary_id": ids[0].glossary_id}
    for changes, what in (
        ({}, "Use of a glossary requires the source_lang parameter"),
        ({"source_lang": "EN", "glossary_id": "x"}, "UUID"),
        ({"source_lang": "EN", "glossary_ids": [ids[1].glossary_id]}, "not both"),
    ):
        reply = httpx.post(f"{client.server_url}/v2/translate", json=body | changes, headers=headers)
        assert reply.status_code == 400
        assert what in reply.json()["message"]


def test_styles_are_kept_with_their_rules_and_instructions(client):
    made = client.create_style_rule(
        "ours", "de", {"dates_and_times": {"calendar_era": "use_bc_and_ad"}}, [{"label": "tone", "prompt": "Be brief."}]
    )
    assert (made.name, made.language, made.version) == ("ours", "de", 1)
    assert made.configured_rules.dates_and_times == {"calendar_era": "use_bc_and_ad"}
    assert [(each.label, each.prompt, each.source_language) for each in made.custom_instructions] == [("tone", "Be brief.", "de")]
    added = client.create_style_rule_custom_instruction(made, "names", "Keep names.", "en")
    assert client.get_style_rule_custom_instruction(made, added.id).prompt == "Keep names."
    assert client.update_style_rule_custom_instruction(made, added.id, "names", "Keep all names.").source_language == "de"
    client.delete_style_rule_custom_instruction(made, made.custom_instructions[0].id)
    assert client.update_style_rule_configured_rules(made, {"numbers": {"decimal": "comma"}}).configured_rules.numbers == {
        "decimal": "comma"
    }
    found = client.update_style_rule_name(made, "yours")
    assert (found.name, found.version, [each.prompt for each in found.custom_instructions]) == ("yours", 6, ["Keep all names."])
    assert found.updated_time > found.creation_time
    assert [each.custom_instructions for each in client.get_all_style_rules()] == [[]]
    assert [len(each.custom_instructions) for each in client.get_all_style_rules(page=0, page_size=1, detailed=True)] == [1]
    assert client.get_all_style_rules(page=1, page_size=1) == []
    with refused("is for DE"):
        client.translate_text("hello", source_lang="EN", target_lang="ZH", style_rule=made.style_id)
    with refused("page_size"):
        client.get_all_style_rules(page_size=26)
    client.delete_style_rule(made)
    for act in (client.get_style_rule, client.delete_style_rule):
        with refused("Not found"):
            act(made)


@pytest.fixture
def chatty(server):
    """A chat model that is to translate into French, as long as a test needs it."""
    server.deploy("echo", "chatty", options={"tasks": ["chat"]})
    with server.client() as http:
        http.put("/admin/translation/routes/en/fr/chatty", json={}).raise_for_status()
        yield
        http.delete("/admin/translation/routes/en/fr/chatty").raise_for_status()


def test_a_chat_model_is_told_how_formal_to_be_and_in_which_style(server, chatty):
    for client in watched(server.key, server.url):
        formal = {each.code: each.supports_formality for each in client.get_target_languages()}
        assert (formal["FR"], formal["DE"]) == (True, False)
        style = client.create_style_rule("ours", "fr", custom_instructions=[{"label": "tone", "prompt": "Be brief."}])
        options = {"formality": "more", "style_rule": style, "custom_instructions": ["Be kind."]}
        assert client.translate_text(FOX, source_lang="EN", target_lang="FR", **options).text
        listed = languages_of(server, "translate_text")
        assert listed["fr"]["features"].keys() >= {"formality", "style_rules"}
        assert list(languages_of(server, "style_rules")) == ["fr"]
        for option in ({"formality": "more"}, {"custom_instructions": ["Be kind."]}):
            with refused("doesn't support formality|cannot be given instructions"):
                client.translate_text(FOX, source_lang="EN", target_lang="DE", **option)


def languages_of(server, resource):
    reply = httpx.get(f"{server.url}/v3/languages", params={"resource": resource}, headers=server.headers)
    return {each["lang"]: each for each in reply.json()}


MEMORY = """<?xml version="1.0"?>
<tmx version="1.4"><header srclang="en-US" datatype="plaintext" segtype="sentence" o-tmf="x" adminlang="en" creationtool="x" creationtoolversion="1"/><body>
<tu><tuv xml:lang="en-US"><seg>the quick brown fox</seg></tuv><tuv xml:lang="de"><seg>der schnelle braune Fuchs</seg></tuv></tu>
<tu><tuv xml:lang="en-US"><seg>There are 3 books.</seg></tuv><tuv xml:lang="de"><seg>Es gibt 3 Bücher.</seg></tuv><tuv xml:lang="fr"><seg>Il y a 3 livres.</seg></tuv></tu>
<tu><tuv xml:lang="de"><seg>nur deutsch</seg></tuv><tuv xml:lang="fr"><seg>allemand seulement</seg></tuv></tu>
</body></tmx>"""


@pytest.fixture
def memory(client, tmp_path):
    """An imported memory's job."""
    (tmp_path / "words.tmx").write_text(MEMORY)
    return client.import_translation_memory_from_filepath(tmp_path / "words.tmx", display_name="words", timeout_s=60)


def test_memories_come_and_go_as_tmx(client, memory, tmp_path):
    assert (memory.status, memory.result.skipped_segment_count) == ("completed", 1)
    found = client.get_translation_memory(memory.result.translation_memory_id)
    assert (found.name, found.source_language, found.target_languages, found.segment_count) == ("words", "en-US", ["de", "fr"], 2)
    assert [each.translation_memory_id for each in client.list_translation_memories(page=0, page_size=25)] == [found.translation_memory_id]
    first = client.list_translation_memory_segments(found, page_size=1)
    assert [each.source_text for each in first.segments] == [FOX]
    rest = client.list_translation_memory_segments(found, page_size=1, page_cursor=first.next_page_cursor)
    assert {(each.target_language, each.target_text) for each in rest.segments[0].targets} == {
        ("de", "Es gibt 3 Bücher."),
        ("fr", "Il y a 3 livres."),
    }
    assert rest.next_page_cursor is None
    assert len(client.list_translation_memory_segments(found, filter_text="BÜCHER").segments) == 1
    assert client.list_translation_memory_segments(found, filter_text="BÜCHER", filter_case_sensitive=True).segments == []
    exported = client.export_translation_memory_to_filepath(found, tmp_path / "out.tmx", timeout_s=60)
    assert exported.status == "completed"
    text = (tmp_path / "out.tmx").read_text()
    assert "der schnelle braune Fuchs" in text
    assert 'srclang="en-US"' in text
    assert client.create_translation_memory_export(found).reused_existing
    client.delete_translation_memory(found)
    with refused("Not found"):
        client.get_translation_memory(found)
    assert httpx.get(exported.result.download_url).status_code == 404


def test_a_memory_answers_before_any_model(client, memory):
    options = {"source_lang": "EN", "target_lang": "DE", "translation_memory": memory.result.translation_memory_id}
    found = client.translate_text([FOX, "There are 25 books.", "hello"], **options)
    assert [each.text for each in found[:2]] == ["der schnelle braune Fuchs", "Es gibt 25 Bücher."]
    assert found[2].text not in {"", "hello"}
    with refused("is from en-US into de, fr"):
        client.translate_text(FOX, **options | {"target_lang": "ZH"})
    with refused("Not found"):
        client.translate_text(FOX, **options | {"translation_memory": str(uuid.uuid4())})


def test_what_is_no_tmx_fails_its_import_and_leaves_nothing(client):
    for content, what in ((b"<html/>", "not TMX"), (b"<tmx", "damaged"), (b'<tmx version="1.4"><body/></tmx>', "no text in two languages")):
        begun = client.create_translation_memory_import("a.tmx", len(content))
        assert client.get_translation_memory_job(begun.job_id).result.required_action
        client.upload_translation_memory_file(begun, content)
        ended = client.get_translation_memory_job(begun.job_id)
        assert (ended.status, ended.ok) == ("failed", False)
        assert what in ended.result.error_message
    assert client.list_translation_memories() == []
    with refused("bytes"):
        client.create_translation_memory_import("a.tmx", 10**12)


def test_addresses_of_files_are_signed_and_for_one_thing(client, memory, server):
    begun = client.create_translation_memory_import("a.tmx", len(MEMORY.encode()))
    job = client.create_translation_memory_export(memory.result.translation_memory_id).job_id
    download = client.get_translation_memory_job(job).result.download_url
    assert httpx.get(download).status_code == 200
    for method, url in (
        ("GET", begun.upload_url),
        ("PUT", download),
        ("PUT", begun.upload_url[:-1] + ("0" if begun.upload_url[-1] != "0" else "1")),
        ("GET", f"{server.url}/v3/translation_memory_files/export-{job}-{'0' * 64}"),
        ("GET", f"{server.url}/v3/translation_memory_files/x"),
    ):
        assert httpx.request(method, url, content=b"x" if method == "PUT" else None).status_code == 403
    for content, status in ((MEMORY.encode() + b"x", 413), (b"x", 400)):
        assert httpx.put(begun.upload_url, content=content).status_code == status
    assert client.get_translation_memory_job(begun.job_id).status == "awaiting_input"
    for _ in range(2):  # a client that did not hear the answer sends it again
        assert httpx.put(begun.upload_url, content=MEMORY.encode()).status_code == 200
    assert len(client.list_translation_memories()) == 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"target_lang": "QQ"}, "Value for 'target_lang' not supported."),
        ({"target_lang": "FR"}, "Value for 'target_lang' not supported."),
        ({"target_lang": "DE", "source_lang": "klingon"}, "Value for 'source_lang' not supported."),
        ({"target_lang": "DE", "formality": "very"}, "Value for 'formality' not supported."),
        ({"target_lang": "DE", "split_sentences": "maybe"}, "Value for 'split_sentences' not supported."),
        ({"target_lang": "DE", "tag_handling": "markdown"}, "Value for 'tag_handling' not supported."),
        ({"target_lang": "DE", "style_rule": "x"}, "no id of a style"),
        ({"target_lang": "DE", "custom_instructions": ["x" * 301]}, "custom_instructions"),
        ({"target_lang": "DE", "custom_instructions": ["x"] * 11}, "custom_instructions"),
        ({"target_lang": "DE", "extra_body_parameters": {"translation_memory_threshold": 101}}, "translation_memory_threshold"),
    ],
)
def test_what_cannot_be_is_said_in_a_text(client, options, what):
    with refused(what):
        client.translate_text("hello", **{"source_lang": "EN", **options})


def test_formality_that_is_preferred_only_is_never_an_error(client):
    for formality in ("default", "prefer_more", "prefer_less"):
        assert client.translate_text("hello", source_lang="EN", target_lang="DE", formality=formality).text


def test_limits_of_a_request_are_said(client, server):
    with refused("may have 50 texts"):
        client.translate_text(["x"] * 51, source_lang="EN", target_lang="DE")
    headers = {"authorization": client.headers["Authorization"]}
    reply = httpx.post(f"{server.url}/v2/translate", json={"text": ["x" * 200_000], "target_lang": "DE"}, headers=headers)
    assert reply.status_code == 413
    assert isinstance(reply.json()["message"], str)
    for body in ({"target_lang": "DE"}, {"text": [], "target_lang": "DE"}, {"text": ["x"]}, {"text": [1], "target_lang": "DE"}, []):
        reply = httpx.post(f"{server.url}/v2/translate", json=body, headers=headers)
        assert reply.status_code == 400
        assert isinstance(reply.json()["message"], str)


def test_a_wrong_key_is_refused_and_no_other_key_is_taken(server):
    for wrong in ("nobody", "DeepL-Auth-Key", "ym_x"):
        for client in watched(wrong, server.url):
            with pytest.raises(deepl.AuthorizationException):
                client.get_usage()
    for header in ("", "Basic YTpi", "DeepL-Auth-Key"):
        assert httpx.get(f"{server.url}/v2/usage", headers={"authorization": header} if header else {}).status_code == 403
    assert httpx.get(f"{server.url}/v2/usage", headers=server.headers).status_code == 200


def test_too_many_requests_are_told_when_to_come_back(server):
    key = server.new_key("limited", "infer", limits={"requests_per_minute": 20})
    headers = {"authorization": f"DeepL-Auth-Key {key}"}
    replies = []
    for n in range(21):  # a translation that is repaired asks its model more than once
        body = {"text": [f"hello {n}"], "source_lang": "EN", "target_lang": "DE"}
        replies.append(httpx.post(f"{server.url}/v2/translate", json=body, headers=headers, timeout=60))
    assert [replies[0].status_code, replies[-1].status_code] == [200, 429]
    assert int(replies[-1].headers["retry-after"]) >= 1
    assert isinstance(replies[-1].json()["message"], str)


def test_forms_are_read_as_well(server, key):
    headers = {"authorization": f"DeepL-Auth-Key {key}"}
    form = {
        "text": ["hello", FOX],
        "target_lang": "de",
        "source_lang": "en",
        "preserve_formatting": "1",
        "split_sentences": "0",
        "ignore_tags": "a,b",
    }
    reply = httpx.post(f"{server.url}/v2/translate", data=form, headers=headers)
    assert [each["billed_characters"] for each in reply.json()["translations"]] == [5, 19]
    parts = [(name, (None, value)) for name, value in (("text", "hello"), ("target_lang", "DE"), ("source_lang", "EN"))]
    assert httpx.post(f"{server.url}/v2/translate", files=parts, headers=headers).status_code == 200
    for options in (
        {"params": {"type": "target"}},
        {"content": b"type=target", "headers": {"content-type": "application/x-www-form-urlencoded"}},
    ):
        found = httpx.request("GET", f"{server.url}/v2/languages", **options | {"headers": headers | options.get("headers", {})})
        assert "supports_formality" in found.json()[0]


def test_languages_of_the_third_version(server, key):
    with httpx.Client(base_url=server.url, headers={"authorization": f"DeepL-Auth-Key {key}"}) as http:
        for path in ("/v3/languages", "/v3/languages?resource=bogus", "/v3/languages?product=translate_text"):
            assert http.get(path).status_code == 400
        resources = http.get("/v3/languages/resources").json()
        assert {each["name"] for each in resources} >= {"translate_text", "translate_document", "voice", "write", "glossary"}
        for each in resources:
            reply = http.get("/v3/languages", params={"resource": each["name"]})
            deepl_replies.check("GET", "/v3/languages", reply.status_code, reply.headers, reply.content)
        found = {each["lang"]: each for each in http.get("/v3/languages?resource=translate_text").json()}
    assert found["en"]["usable_as_source"]
    assert found["de"]["usable_as_target"]
    assert "zh-Hans" in found


def test_languages_of_texts_are_found(server, key):
    texts = ["Der schnelle braune Fuchs springt über den faulen Hund.", "敏捷的棕色狐狸跳过了懒狗。", "12 … 34"]
    reply = httpx.post(f"{server.url}/v3/detect/language", json={"text": texts}, headers={"authorization": f"DeepL-Auth-Key {key}"})
    deepl_replies.check("POST", "/v3/detect/language", reply.status_code, reply.headers, reply.content)
    assert reply.json()["results"] == [
        {"detection_status": "success", "detected_language": "de"},
        {"detection_status": "success", "detected_language": "zh-Hans"},
        {"detection_status": "none"},
    ]
    for text in ([], ["x"] * 51, "x"):
        reply = httpx.post(f"{server.url}/v3/detect/language", json={"text": text}, headers={"authorization": f"DeepL-Auth-Key {key}"})
        assert reply.status_code == 400


def test_what_is_not_here_is_said_in_deepls_shape(client):
    for act in (
        lambda: client.rephrase_text("hello"),
        lambda: client.correct_text("hello"),
    ):
        with refused(" here"):
            act()


def test_the_command_line_translates_and_lists(server, key, tmp_path):
    environment = {**os.environ, "DEEPL_AUTH_KEY": key, "DEEPL_SERVER_URL": server.url}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "deepl", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert run("text", "--from", "EN", "--to", "DE", "hello world").strip()
    assert "DE: German" in run("languages")
    assert "Characters: 11 of" in run("usage")
    table = tmp_path / "terms.tsv"
    table.write_text("fox\tFuchs\n")
    made = run("glossary", "create", "--name", "words", "--from", "EN", "--to", "DE", "--file", str(table))
    assert "words" in made
    assert "words" in run("glossary", "list")


def test_an_old_client_may_send_its_key_in_the_query(server, key, monkeypatch):
    translator = DeeplTranslator(api_key=key, source="en", target="de")
    monkeypatch.setattr(translator, "_base_url", f"{server.url}/v2/")
    assert translator.translate(FOX)
    wrong = DeeplTranslator(api_key="nobody", source="en", target="de")
    monkeypatch.setattr(wrong, "_base_url", f"{server.url}/v2/")
    with pytest.raises(Exception, match="Unauthorized access"):
        wrong.translate(FOX)


def test_no_key_is_taken_from_a_query_unless_it_is_allowed(tmp_path):
    with running_server(tmp_path) as server:
        assert httpx.get(f"{server.url}/v2/usage", params={"auth_key": server.key}).status_code == 403


def test_pages_of_other_sites_may_not_translate(server, key):
    headers = {"authorization": f"DeepL-Auth-Key {key}", "origin": "https://other.test", "sec-fetch-site": "cross-site"}
    reply = httpx.post(f"{server.url}/v2/translate", json={"text": ["x"], "target_lang": "DE"}, headers=headers)
    assert reply.status_code == 403
    assert "access-control-allow-origin" not in reply.headers
