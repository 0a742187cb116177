"""Documents by DeepL's own library and command line, unmodified."""

import io
import os
import subprocess
import sys
import time

import deepl
import docx
import httpx
import pytest

import deepl_replies
from running import running_server

PAIR = {"source_lang": "EN", "target_lang": "DE"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("data")) as started:
        started.deploy("echo", "loud", options={"tasks": ["translate"]})
        started.deploy("echo", "slow", options={"tasks": ["translate"], "delay_seconds": 1.0})
        with started.client() as client:
            client.put("/admin/translation/routes/en/de/loud", json={}).raise_for_status()
        yield started


@pytest.fixture
def key(server):
    return server.key


@pytest.fixture
def client(server, key):
    made = deepl.DeepLClient(key, server_url=server.url)

    made._client._session.mount(server.url, deepl_replies.Watching())
    yield made
    made.close()


def raw(server, key, path, **options):
    return httpx.post(f"{server.url}{path}", headers={"authorization": f"DeepL-Auth-Key {key}"}, timeout=60, **options)


def until_done(client, handle, seconds=60):
    deadline = time.monotonic() + seconds
    while not (status := client.translate_document_get_status(handle)).done:
        assert status.ok, status.error_message
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return status


def test_a_file_is_translated_from_path_to_path(client, tmp_path):
    source = tmp_path / "letter – 信.docx"
    document = docx.Document()
    document.add_paragraph("dear reader")
    document.save(str(source))
    status = client.translate_document_from_filepath(source, tmp_path / "out.docx", **PAIR)
    assert status.done
    assert status.billed_characters == len("dear reader")
    assert [each.text for each in docx.Document(str(tmp_path / "out.docx")).paragraphs] == ["DEAR READER"]


def test_a_file_without_a_name_is_known_by_what_is_in_it(client):
    given, taken = io.BytesIO(b"<!doctype html><p>hello</p>"), io.BytesIO()
    client.translate_document(given, taken, **PAIR)
    assert taken.getvalue() == b"<!doctype html><p>HELLO</p>"


def test_a_translation_is_fetched_once_and_nothing_of_it_stays(server, client):
    handle = client.translate_document_upload("good morning", filename="a.txt", **PAIR)
    assert (len(handle.document_id), len(handle.document_key)) == (32, 64)
    assert int(handle.document_id, 16) + int(handle.document_key, 16)
    assert handle.document_id + handle.document_key == (handle.document_id + handle.document_key).upper()
    until_done(client, handle)
    taken = io.BytesIO()
    client.translate_document_download(handle, taken)
    assert taken.getvalue() == b"GOOD MORNING"
    with pytest.raises(deepl.DeepLException, match="Not found"):
        client.translate_document_download(handle, io.BytesIO())
    assert client.translate_document_get_status(handle).done
    with server.client() as http:
        assert not [each for each in http.get("/v1/files").json()["data"] if each["filename"].startswith("a.")]


def test_a_document_that_is_not_done_is_not_ready(server, key, client):
    handle = client.translate_document_upload("good morning", filename="a.txt", extra_body_parameters={"model": "slow"}, **PAIR)
    reply = raw(server, key, f"/v2/document/{handle.document_id}/result", data={"document_key": handle.document_key})
    assert (reply.status_code, "not translated yet" in reply.json()["message"]) == (503, True)
    taken = io.BytesIO()
    client.translate_document_download(handle, taken)  # it asks again by itself
    assert taken.getvalue() == b"GOOD MORNING"


def test_a_document_is_its_senders_alone(server, client):
    handle = client.translate_document_upload("good morning", filename="a.txt", **PAIR)
    for wrong in (
        deepl.DocumentHandle(handle.document_id, "0" * 64),
        deepl.DocumentHandle("0" * 32, handle.document_key),
        deepl.DocumentHandle("x", handle.document_key),
    ):
        for act in (client.translate_document_get_status, lambda wrong: client.translate_document_download(wrong, io.BytesIO())):
            with pytest.raises(deepl.DeepLException, match=r"(?i)not found|no job"):
                act(wrong)
    stranger = deepl.DeepLClient(server.new_key("strangers", "infer"), server_url=server.url)
    with pytest.raises(deepl.DeepLException, match="no job"):
        stranger.translate_document_get_status(handle)
    stranger.close()
    until_done(client, handle)


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("a.exe", b"MZ\0", {}, "Invalid file"),
        ("a.docx", b"PK\x03\x04 damaged", {}, "Invalid file"),
        ("a.docx", b"\xd0\xcf\x11\xe0" + bytes(100), {}, "Invalid file"),
        ("a.txt", b"\0\1 no text", {}, "Invalid file"),
        ("a.txt", b"hello", {"target_lang": "XX"}, "target_lang"),
        ("a.txt", b"hello", {"target_lang": "SW"}, "target_lang"),
        ("a.txt", b"hello", {"output_format": "docx"}, "output_format"),
        ("a.txt", b"hello", {"glossary": "8a9f9f1e-3b4f-4ad8-94a8-4e6fd5d0d3a1"}, "8a9f9f1e"),
    ],
)
def test_what_cannot_be_translated_is_refused_at_once(client, name, content, options, said):
    with pytest.raises(deepl.DeepLException, match=said):
        client.translate_document_upload(content, filename=name, **PAIR | options)


def test_a_form_that_lacks_something_is_refused(server, key):
    for files, data in (({}, {"target_lang": "DE"}), ({"file": ("a.txt", b"hello")}, {})):
        reply = raw(server, key, "/v2/document", files=files or {"other": ("a", b"b")}, data=data)
        assert (reply.status_code, "not specified" in reply.json()["message"]) == (400, True)


def test_the_glossary_of_a_document_is_kept_with_its_order(server, client):
    glossary = client.create_glossary("words", "EN", "DE", {"morning": "Morgen"})
    handle = client.translate_document_upload("good morning", filename="a.txt", glossary=glossary, **PAIR)
    until_done(client, handle)
    with server.client() as http:
        job = http.get(f"/admin/jobs/{handle.document_id[:24].lower()}").json()
    assert job["input"]["order"]["terms"] == {"morning": "Morgen"}
    assert handle.document_key not in str(job)


def test_the_command_line_translates_a_document(server, key, tmp_path):
    (tmp_path / "a.txt").write_text("good morning")
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "deepl", "document", "--from", "EN", "--to", "DE", str(tmp_path / "a.txt"), str(tmp_path / "out")]
    environment = {**os.environ, "DEEPL_AUTH_KEY": key, "DEEPL_SERVER_URL": server.url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "a.txt").read_text() == "GOOD MORNING"


def test_a_full_project_is_told_as_a_used_up_quota(tmp_path):
    with running_server(tmp_path, {"YUNMO_JOBS__PROJECT_BYTES": "100"}) as server:
        server.deploy("echo", "loud", options={"tasks": ["translate"]})
        client = deepl.DeepLClient(server.key, server_url=server.url)
        with pytest.raises(deepl.QuotaExceededException):
            client.translate_document_upload("hello " * 100, filename="a.txt", extra_body_parameters={"model": "loud"}, **PAIR)
        client.close()
