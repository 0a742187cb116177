"""Documents translated as jobs by a real server: formats, reports, what has changed, faults, and kill -9."""

import io
import json
import time
import zipfile

import docx
import pytest
from typer.testing import CliRunner

from running import running_server, start_server
from yunmo.cli.main import app

ENDED = {"succeeded", "failed", "cancelled"}
DOCUMENTS = "/admin/translation/documents"
PAGE = '<!DOCTYPE html>\n<html lang="en"><body><p>Good <b>morning</b> world</p>\n<p>See you</p><p>See you</p></body></html>\n'


def route(server, model, source="en", target="de"):
    with server.client() as client:
        client.put(f"/admin/translation/routes/{source}/{target}/{model}", json={}).raise_for_status()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("yunmo")) as running:
        running.deploy("echo", "loud", options={"tasks": ["translate"]})
        running.deploy("echo", "picky", options={"tasks": ["translate"], "error_on": "bad words"})
        running.deploy("echo", "slow", options={"tasks": ["translate"], "delay_seconds": 0.3})
        for name in ("calm", "undisturbed"):
            running.deploy("echo", name, options={"tasks": ["translate"], "delay_seconds": 0.2})
        route(running, "loud")
        yield running


def upload(client, name, content):
    content = content.encode() if isinstance(content, str) else content
    reply = client.post("/v1/files", files={"file": (name, content)}, data={"purpose": "user_data"})
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


def submit(client, name, content, **order):
    body = {"file": upload(client, name, content), "target": "de", "source": "en", **order}
    reply = client.post(DOCUMENTS, json=body)
    assert reply.status_code == 201, reply.text
    return reply.json()


def wait(client, job, seconds=60):
    deadline = time.monotonic() + seconds
    while job["status"] not in ENDED:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
        job = client.get(f"{DOCUMENTS}/{job['id']}").json()
    return job


def fetch(client, job):
    reply = client.get(f"{DOCUMENTS}/{job['id']}/result")
    assert reply.status_code == 200, reply.text
    return reply


def translated(client, name, content, **order):
    job = wait(client, submit(client, name, content, **order))
    assert job["status"] == "succeeded", job
    return fetch(client, job), job["result"]


def word_file(*texts):
    document = docx.Document()
    for text in texts:
        document.add_paragraph(text)
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def paragraphs(count):
    return [f"kelvo {number} brint" for number in range(count)]


def sent_characters(client, model):
    """What the model was asked so far, by the server's own account."""
    rows = client.get("/admin/usage", params={"project": "admin", "group_by": "model"}).json()
    return sum(row["characters"] for row in rows if row["model"] == model)


def test_a_page_comes_back_translated_in_its_place_with_a_report(server):
    with server.client() as client:
        reply, result = translated(client, "page one.html", PAGE)
        assert "GOOD <b>MORNING</b> WORLD" in reply.text
        assert reply.text.count("SEE YOU") == 2
        assert '<html lang="de">' in reply.text
        assert reply.headers["content-type"].startswith("text/html")
        assert "page%20one.de.html" in reply.headers["content-disposition"]
        assert (result["units"], result["segments"], result["source"], result["issue_count"]) == (3, 2, "en", 0)
        assert result["characters"] == len("Good morning world") + len("See you")
        assert list(result["models"]) == ["loud"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "hello world\n\nsee you\n", "HELLO WORLD\n\nSEE YOU\n"),
        ("a.md", "# hello\n\nsee *you* there\n", "# HELLO\n\nSEE *YOU* THERE\n"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nhello there\n", "1\n00:00:01,000 --> 00:00:02,000\nHELLO THERE\n"),
        ("file", "<!doctype html><p>hello</p>", "<!doctype html><p>HELLO</p>"),
    ],
)
def test_texts_of_many_formats_keep_all_but_their_words(server, name, content, expected):
    with server.client() as client:
        assert translated(client, name, content)[0].text == expected


def test_the_words_of_one_column_or_field_alone_are_translated(server):
    with server.client() as client:
        assert translated(client, "a.csv", "id,text,note\nx,hello,stay\n", columns=["text"])[0].text == "id,text,note\nx,HELLO,stay\n"


def test_a_word_document_comes_back_as_one(server):
    with server.client() as client:
        reply, _ = translated(client, "letter.docx", word_file("dear reader", "yours truly"))
        assert [each.text for each in docx.Document(io.BytesIO(reply.content)).paragraphs] == ["DEAR READER", "YOURS TRULY"]


def test_the_language_of_a_document_is_found_out(server):
    with server.client() as client:
        text = "The weather is fine today and we would like to go for a walk along the river with our friends.\n\n12 kg\n"
        assert translated(client, "a.txt", text, source=None)[1]["source"] == "en"


def test_a_document_of_another_kind_than_its_name_says_is_known_by_what_is_in_it(server):
    with server.client() as client:
        reply, result = translated(client, "page.html", word_file("dear reader"))
        assert result["filename"] == "page.de.docx"
        assert docx.Document(io.BytesIO(reply.content)).paragraphs[0].text == "DEAR READER"


def test_a_changed_document_is_translated_where_it_has_changed(server):
    with server.client() as client:
        texts = paragraphs(40)
        first = wait(client, submit(client, "a.txt", "\n\n".join(texts)))
        texts[7] = "kelvo anew"
        before = sent_characters(client, "loud")
        assert before >= first["result"]["characters"] > 0
        reply, result = translated(client, "a.txt", "\n\n".join(texts), previous=first["id"])
        assert reply.text == "\n\n".join(texts).upper()
        assert (result["reused"], result["characters"]) == (39, len(texts[7]))
        assert sent_characters(client, "loud") - before <= len(texts[7])
        _, other = translated(client, "a.txt", "\n\n".join(texts), previous=first["id"], kept=["brint"])
        assert other["reused"] == 0


def test_what_a_model_cannot_do_stays_as_it_is_and_is_told(server):
    with server.client() as client:
        reply, result = translated(client, "a.txt", "good words\n\nbad words\n\nother words\n", model="picky")
        assert reply.text == "GOOD WORDS\n\nbad words\n\nOTHER WORDS\n"
        assert result["issue_count"] == 1
        assert (result["issues"][0]["unit"], result["issues"][0]["kind"]) == ("2", "untranslated")


def encrypted_archive():
    written = io.BytesIO(word_file("secret"))
    with zipfile.ZipFile(written) as archive:
        offset = archive.start_dir
    data = bytearray(written.getvalue())
    data[offset + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.docx", b"PK\x03\x04 this is no archive at all", "archive"),
        ("a.docx", encrypted_archive(), "encrypted"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "password"),
        ("a.txt", b"%PDF-1.7 \x00\x01", "not text"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "no format"),
        ("a.exe", b"MZ\x00", "no format"),
        ("a.json", b'{"a": ', "JSON"),
        ("a.txt", b"12345 67\n", "nothing to translate"),
    ],
)
def test_a_file_that_cannot_be_translated_is_refused_before_it_is_queued(server, name, content, said):
    with server.client() as client:
        reply = client.post(DOCUMENTS, json={"file": upload(client, name, content), "target": "de", "source": "en"})
        assert reply.status_code == 400, reply.text
        assert said in reply.json()["error"]["message"]


def test_an_order_that_cannot_be_is_refused_before_it_is_queued(server):
    with server.client() as client:
        file = upload(client, "a.txt", "hello world")
        for change, status, said in [
            ({"target": "klingon"}, 400, "language"),
            ({"target": "sw"}, 400, "Nothing here translates"),
            ({"file": "file-none"}, 404, "no file"),
            ({"model": "no/such"}, 404, "no model"),
            ({"previous": "nothing"}, 404, "nothing"),
            ({"keep_seconds": 5}, 400, "kept"),
            ({"colour": "red"}, 400, "colour"),
        ]:
            reply = client.post(DOCUMENTS, json={"file": file, "target": "de", "source": "en"} | change)
            assert (reply.status_code, said in reply.json()["error"]["message"]) == (status, True), reply.text


def test_another_project_neither_sees_nor_fetches_a_document(server):
    with server.client() as mine, server.client() as theirs:
        theirs.headers["authorization"] = f"Bearer {server.new_key('strangers')}"
        job = wait(mine, submit(mine, "a.txt", "hello world"))
        for path in (f"{DOCUMENTS}/{job['id']}", f"{DOCUMENTS}/{job['id']}/result", f"/v1/files/{job['result']['file']}/content"):
            assert mine.get(path).status_code == 200
            assert theirs.get(path).status_code == 404
        order = {"file": job["input"]["file"], "target": "de", "source": "en"}
        assert theirs.post(DOCUMENTS, json=order).status_code == 404
        own = {"file": upload(theirs, "b.txt", "hello"), "target": "de", "source": "en", "previous": job["id"], "model": "loud"}
        assert theirs.post(DOCUMENTS, json=own).status_code == 404


def test_a_translation_is_cancelled_within_five_seconds_and_leaves_nothing(server):
    with server.client() as client:
        job = submit(client, "long.txt", "\n\n".join(paragraphs(2000)), model="slow")
        while not (job.get("progress") or {}).get("done"):
            time.sleep(0.05)
            job = client.get(f"{DOCUMENTS}/{job['id']}").json()
        assert client.get(f"{DOCUMENTS}/{job['id']}/result").status_code == 409
        asked = time.monotonic()
        client.post(f"/admin/jobs/{job['id']}/cancel").raise_for_status()
        job = wait(client, job)
        assert time.monotonic() - asked < 5
        assert (job["status"], job["result"]) == ("cancelled", {})
        assert not [each for each in client.get("/v1/files").json()["data"] if each["filename"].startswith("long.de")]


def test_a_translation_is_paused_and_goes_on_without_translating_again(server):
    with server.client() as client:
        texts = paragraphs(400)
        job = submit(client, "a.txt", "\n\n".join(texts), model="calm")
        while not (job.get("progress") or {}).get("done"):
            time.sleep(0.05)
            job = client.get(f"{DOCUMENTS}/{job['id']}").json()
        client.post(f"/admin/jobs/{job['id']}/pause").raise_for_status()
        while client.get(f"{DOCUMENTS}/{job['id']}").json()["status"] != "paused":
            time.sleep(0.05)
        assert 0 < client.get(f"{DOCUMENTS}/{job['id']}").json()["progress"]["done"] < sum(map(len, texts))
        client.post(f"/admin/jobs/{job['id']}/resume").raise_for_status()
        job = wait(client, job)
        assert fetch(client, job).text == "\n\n".join(texts).upper()
        translated(client, "a.txt", "\n\n".join(texts), model="undisturbed")
        assert sent_characters(client, "calm") == sent_characters(client, "undisturbed") > 0


def test_a_document_goes_on_after_kill_9_with_nothing_translated_twice(tmp_path):
    server = start_server(tmp_path)
    try:
        server.deploy("echo", "slow", options={"tasks": ["translate"], "delay_seconds": 0.2})
        route(server, "slow")
        texts = paragraphs(600)
        total, in_flight = sum(map(len, texts)), 4 * 2000
        with server.client() as client:
            job = submit(client, "a.txt", "\n\n".join(texts))
            done_before = 0
            for _ in range(2):
                done = 0
                while not done_before + 4000 < done:
                    assert job["status"] not in ENDED, "it ended before it was killed"
                    time.sleep(0.05)
                    job = client.get(f"{DOCUMENTS}/{job['id']}").json()
                    done = (job.get("progress") or {}).get("done") or 0
                done_before = done
                server.kill()
                server = start_server(tmp_path, port=int(server.url.rpartition(":")[2]))
                resumed = client.get(f"{DOCUMENTS}/{job['id']}").json()
                assert resumed["status"] not in ENDED
            job = wait(client, resumed, 120)
            assert job["status"] == "succeeded", job
            assert fetch(client, job).text == "\n\n".join(texts).upper()
            assert 0 < sent_characters(client, "slow") <= total + 2 * in_flight
            assert job["attempt"] == 3
            assert not list((tmp_path / "documents").iterdir())
    finally:
        server.kill()


def test_files_beyond_the_projects_limit_are_refused_and_the_job_waits_for_room(tmp_path):
    with running_server(tmp_path, {"YUNMO_JOBS__PROJECT_BYTES": "4000"}) as server:
        server.deploy("echo", "loud", options={"tasks": ["translate"]})
        route(server, "loud")
        with server.client() as client:
            job = submit(client, "a.txt", "\n\n".join(paragraphs(40))[:3500])
            while job["status"] != "paused":
                assert job["status"] not in ENDED, job
                time.sleep(0.05)
                job = client.get(f"{DOCUMENTS}/{job['id']}").json()
            assert "project_bytes" in job["error"]["message"]
            reply = client.post("/v1/files", files={"file": ("b.txt", b"x" * 3000)}, data={"purpose": "user_data"})
            assert reply.status_code >= 400


# ------------------------------------------------------------ from the command line


@pytest.fixture
def yunmo(server, monkeypatch, tmp_path):
    """Run `yunmo translate file` as the operator in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YUNMO_URL", server.url)
    monkeypatch.setenv("YUNMO_DATA", str(server.data))
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)

    def run(*arguments, exit_code=0):
        done = CliRunner().invoke(app, ["translate", "file", *arguments, "--from", "en", "--to", "de"], catch_exceptions=False)
        assert done.exit_code == exit_code, done.output
        return done

    return run


def test_documents_are_translated_beside_their_sources(yunmo, tmp_path):
    (tmp_path / "a.md").write_text("# good morning\n")
    (tmp_path / "b.html").write_text(PAGE)
    said = yunmo("a.md", "b.html").stdout
    assert (tmp_path / "a.de.md").read_text() == "# GOOD MORNING\n"
    assert "SEE YOU" in (tmp_path / "b.de.html").read_text()
    assert "a.de.md: 1 units from en into de" in said
    (tmp_path / "out").mkdir()
    yunmo("a.md", "--output", "out")
    assert (tmp_path / "out" / "a.de.md").exists()


def test_the_same_command_again_fetches_the_same_and_a_changed_document_what_has_changed(server, yunmo, tmp_path):
    texts = paragraphs(10)
    (tmp_path / "again.txt").write_text("\n\n".join(texts))
    first = json.loads(yunmo("again.txt", "--json").stdout)[0]
    (tmp_path / "again.de.txt").unlink()
    second = json.loads(yunmo("again.txt", "--json").stdout)[0]
    assert second == first
    assert (tmp_path / "again.de.txt").exists()
    (tmp_path / "again.txt").write_text("\n\n".join([*texts, "one more"]))
    third = json.loads(yunmo("again.txt", "--json").stdout)[0]
    assert (third["result"]["reused"], third["result"]["characters"]) == (10, len("one more"))
    (tmp_path / "terms.tsv").write_text("paragraph\tAbsatz\n")
    other = json.loads(yunmo("again.txt", "--json", "--glossary", "terms.tsv").stdout)[0]
    assert other["result"]["reused"] == 0


def test_a_document_that_is_not_waited_for_is_fetched_by_the_same_command_later(yunmo, tmp_path):
    (tmp_path / "later.txt").write_text("good morning")
    queued = json.loads(yunmo("later.txt", "--no-wait", "--json").stdout)[0]
    assert not (tmp_path / "later.de.txt").exists()
    assert json.loads(yunmo("later.txt", "--json").stdout)[0]["job"] == queued["job"]
    assert (tmp_path / "later.de.txt").read_text() == "GOOD MORNING"


def test_what_cannot_be_translated_is_told_and_the_rest_is(yunmo, tmp_path):
    (tmp_path / "good.txt").write_text("good morning")
    (tmp_path / "bad.exe").write_bytes(b"MZ\0")
    (tmp_path / "terms.tsv").write_text("no tab here\n")
    said = yunmo("good.txt", "bad.exe", "none.txt", exit_code=1).output
    assert (tmp_path / "good.de.txt").read_text() == "GOOD MORNING"
    assert "bad.exe is not translated: The file" in said
    assert "none.txt cannot be read" in said
    assert "Line 1" in yunmo("good.txt", "--glossary", "terms.tsv", exit_code=1).output
    assert "directory" in yunmo("good.txt", "bad.exe", "--output", "x.txt", exit_code=1).output
    assert "cannot be written" in yunmo("good.txt", "--output", "no/such/folder.txt", exit_code=1).output
