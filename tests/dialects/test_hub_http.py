"""The pitfalls of the Hub's wire, each as a client would meet it."""

import base64
import json
import os
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.utils import parse_ratelimit_headers
from safetensors.torch import save_file

from hub_world import ACME, ADMIN, OTHER, push, serve_hub
from yunmo.core.errors import EntryNotFound, RateLimited, every_error
from yunmo.core.identity import ANONYMOUS
from yunmo.hub import tensor_headers
from yunmo.hub.objects import blob_oid, pointer_text
from yunmo.web.dialects.hub.errors import error_reply


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def http(served):
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def key(served, name="acme"):
    return {"authorization": f"Bearer {served.tokens[name]}"}


@pytest.fixture(scope="module")
def repository(served):
    """acme/open with a small file, a folder, a binary of 3 MB and a branch with a slash."""

    async def make():
        made = await served.hub.repositories.create(ACME, "model", "acme/open")
        await push(served.hub, made, {"config.json": b"{}", "dir/sub/a b.txt": b"hello", "big.bin": BIG})
        await served.hub.refs.create(ACME, made, "refs/heads/", "dev/x", None)
        await served.hub.repositories.alias(ADMIN, "model", "open-alias", "acme/open")
        secret = await served.hub.repositories.create(ACME, "model", "acme/secret", is_private=True)
        await push(served.hub, secret, {"config.json": b"{}", "key.txt": b"secret"})
        gated = await served.hub.repositories.create(ACME, "model", "acme/gated")
        await push(served.hub, gated, {"weights.bin": b"gated"})
        await served.hub.repositories.change_settings(ACME, "model", "acme/gated", gated="manual")
        return made

    return served.run(make())


BIG = os.urandom(3_000_000)


def commit_body(*lines, summary="c"):
    return "\n".join(json.dumps({"key": k, "value": v}) for k, v in [("header", {"summary": summary, "description": ""}), *lines]).encode()


def in_base64(content):
    return base64.b64encode(content).decode()


# ---------------------------------------------------------------- routing


def test_a_revision_with_slashes_is_one_quoted_segment(http, repository):
    for name in ("acme/open", "open-alias"):
        assert http.get(f"/api/models/{name}/tree/dev%2Fx").status_code == 200
        assert http.get(f"/{name}/resolve/refs%2Fheads%2Fdev%2Fx/config.json").content == b"{}"


def test_a_tree_path_is_one_quoted_segment_and_plain_slashes_work_too(http, repository):
    for path in ("dir%2Fsub", "dir/sub"):
        assert [each["path"] for each in http.get(f"/api/models/acme/open/tree/main/{path}").json()] == ["dir/sub/a b.txt"]
    assert http.get("/acme/open/resolve/main/dir/sub/a%20b.txt").content == b"hello"


def test_every_address_that_the_server_gives_has_a_namespace(http, served, repository):
    assert http.get("/api/models/open-alias").json()["id"] == "acme/open"
    body = commit_body(("file", {"path": "x.txt", "content": in_base64(b"x"), "encoding": "base64"}))
    done = http.post("/api/models/open-alias/commit/main", content=body, headers=key(served)).json()
    assert done["commitUrl"] == f"{served.url}/acme/open/commit/{done['commitOid']}"
    assert done["success"] is True
    created = http.post("/api/repos/create", json={"name": "urls", "type": "dataset"}, headers=key(served)).json()
    assert created["url"] == f"{served.url}/datasets/acme/urls"


def test_addresses_follow_the_host_that_the_client_used(http, served, repository):
    port = served.url.rsplit(":", 1)[1]
    for headers, base in (
        ({"host": f"localhost:{port}"}, f"http://localhost:{port}"),
        ({"x-forwarded-host": "hub.example", "x-forwarded-proto": "https"}, "https://hub.example"),
    ):
        token = http.get("/api/models/acme/open/xet-read-token/main", headers=headers).json()
        assert token["casUrl"] == f"{base}/cas/e1-f4e092d5"


def test_spaces_and_kernels_are_politely_not_there(http):
    for path in ("/api/spaces/a/b", "/api/kernels/a/b/tree/main", "/spaces/a/b/resolve/main/x"):
        reply = http.get(path)
        assert reply.headers["x-error-code"] == "RepoNotFound"


# ---------------------------------------------------------------- errors


def test_a_missing_repository_is_401_for_strangers_and_404_with_a_key(http, served, repository):
    for path in (
        "/api/models/acme/nope",
        "/acme/nope/resolve/main/x",
        "/api/models/acme/nope/tree/main",
        "/api/models/acme/secret",
        "/acme/secret/resolve/main/key.txt",
    ):
        for headers, status in (({}, 401), (key(served, "other"), 404)):
            reply = http.get(path, headers=headers)
            assert (reply.status_code, reply.headers["x-error-code"]) == (status, "RepoNotFound")
            assert reply.json()["error"]
            assert reply.headers["x-error-message"].isprintable()


def test_a_private_repository_looks_like_a_missing_one_word_for_word(http, served, repository):
    private = http.get("/api/models/acme/secret", headers=key(served, "other")).json()["error"]
    missing = http.get("/api/models/acme/nopppp", headers=key(served, "other")).json()["error"]
    assert private.replace("secret", "*") == missing.replace("nopppp", "*")


def test_missing_revisions_and_files_have_their_codes(http, repository):
    assert http.get("/api/models/acme/open/revision/nope").headers["x-error-code"] == "RevisionNotFound"
    for method in ("GET", "HEAD"):
        reply = http.request(method, "/acme/open/resolve/main/nope.py")
        assert (reply.status_code, reply.headers["x-error-code"]) == (404, "EntryNotFound")
        assert len(reply.headers["x-repo-commit"]) == 40
    tree = http.get("/api/models/acme/open/tree/main/nope")
    assert (tree.status_code, tree.headers["x-error-code"]) == (404, "EntryNotFound")


def test_a_bad_token_has_the_message_that_clients_look_for(http):
    reply = http.get("/api/whoami-v2", headers={"authorization": "Bearer hf_wrong"})
    assert (reply.status_code, reply.json()["error"]) == (401, "Invalid credentials in Authorization header")
    assert http.get("/api/whoami-v2").status_code == 401


def test_whoami_says_when_the_key_was_made(http, served):
    from datetime import UTC, datetime, timedelta

    said = http.get("/api/whoami-v2", headers=key(served)).json()["auth"]["accessToken"]["createdAt"]
    made = served.run(served.tenancy.keys.list("acme"))[0].created_at
    assert abs(datetime.fromisoformat(said) - made) < timedelta(milliseconds=1)
    assert datetime.now(UTC) - made < timedelta(hours=1)


def test_an_error_says_our_code_beside_the_hubs(http, repository):
    reply = http.get("/api/models/acme/open/revision/nope")
    assert (reply.headers["x-error-code"], reply.headers["x-yunmo-error"]) == ("RevisionNotFound", "revision_not_found")


def test_creating_what_exists_is_409_with_its_address(http, served, repository):
    reply = http.post("/api/repos/create", json={"name": "OPEN", "type": "model", "visibility": "public"}, headers=key(served))
    assert reply.status_code == 409
    assert reply.json()["url"] == f"{served.url}/acme/open"


def test_deleting_a_missing_file_says_so_with_a_code(http, served, repository):
    body = commit_body(("deletedFile", {"path": "missing.txt"}))
    reply = http.post("/api/models/acme/open/commit/main", content=body, headers=key(served))
    assert (reply.status_code, reply.headers["x-error-code"]) == (404, "EntryNotFound")
    assert reply.json()["error"].startswith("A file with this name doesn't exist")


def test_every_error_has_a_reply_with_a_single_line_message():
    for kind in every_error():
        error = kind("two\nlines\0 é 模型", commit="a" * 40) if kind is EntryNotFound else kind("two\nlines\0 é 模型")
        for who in (ANONYMOUS, ACME):
            reply = error_reply(error, SimpleNamespace(principal=who, headers={}))
            assert 400 <= reply.status_code < 600
            assert json.loads(reply.body)["error"] == "two\nlines\0 é 模型"
            assert reply.headers["x-error-message"].isprintable()


def test_a_disabled_repository_says_the_sentence_that_clients_look_for(http, served):
    async def make():
        await served.hub.repositories.create(ACME, "model", "acme/off")
        await served.hub.repositories.set_disabled(ADMIN, "model", "acme/off", is_disabled=True)

    served.run(make())
    reply = http.get("/api/models/acme/off")
    assert (reply.status_code, reply.headers["x-error-message"]) == (403, "Access to this resource is disabled.")


# ---------------------------------------------------------------- downloads


def test_head_and_get_agree_and_nothing_is_compressed(http, repository):
    for path, content in (("config.json", b"{}"), ("big.bin", BIG)):
        head = http.head(f"/acme/open/resolve/main/{path}", headers={"accept-encoding": "identity"})
        got = http.get(f"/acme/open/resolve/main/{path}", headers={"accept-encoding": "gzip, deflate, br"})
        assert got.content == content
        assert "content-encoding" not in got.headers
        for reply in (head, got):
            assert reply.headers["content-length"] == str(len(content))
            assert reply.headers["etag"] == f'"{blob_oid(content)}"'
            assert len(reply.headers["x-repo-commit"]) == 40
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["content-disposition"].startswith("attachment")
            assert "sandbox" in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        ("bytes=2999990-", 2_999_990, 3_000_000),
        ("bytes=-7", 2_999_993, 3_000_000),
        ("bytes=5-99999999", 5, 3_000_000),
        ("bytes=-9999999", 0, 3_000_000),
    ],
)
def test_a_single_range_is_served(http, repository, wanted, start, end):
    reply = http.get("/acme/open/resolve/main/big.bin", headers={"range": wanted})
    assert reply.status_code == 206
    assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/3000000"
    assert reply.content == BIG[start:end]


@pytest.mark.parametrize("wanted", ["bytes=3000000-", "bytes=-0", "bytes=9999999-99999999"])
def test_a_range_outside_the_file_is_416_with_the_length(http, repository, wanted):
    reply = http.get("/acme/open/resolve/main/big.bin", headers={"range": wanted})
    assert (reply.status_code, reply.headers["content-range"]) == (416, "bytes */3000000")


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=-", "bytes=9-3", "items=0-1", "bytes=a-b"])
def test_other_ranges_are_ignored(http, repository, wanted):
    assert http.get("/acme/open/resolve/main/config.json", headers={"range": wanted}).status_code == 200


def test_an_unchanged_file_is_304_and_if_range_protects_a_resume(http, repository):
    etag = http.head("/acme/open/resolve/main/big.bin").headers["etag"]
    assert http.get("/acme/open/resolve/main/big.bin", headers={"if-none-match": etag}).status_code == 304
    assert http.get("/acme/open/resolve/main/big.bin", headers={"range": "bytes=0-9", "if-range": etag}).status_code == 206
    assert http.get("/acme/open/resolve/main/big.bin", headers={"range": "bytes=0-9", "if-range": '"other"'}).status_code == 200


def test_raw_gives_a_file_as_git_has_it(http, repository):
    assert http.get("/acme/open/raw/main/config.json").content == b"{}"


def test_head_of_a_data_set_script_is_404(http, served):
    served.run(served.hub.repositories.create(ACME, "dataset", "acme/table"))
    assert http.head("/datasets/acme/table/resolve/main/table.py").status_code == 404


# ---------------------------------------------------------------- uploads


def preupload(http, served, *files):
    wanted = [{"path": path, "size": size, "sample": in_base64(sample)} for path, size, sample in files]
    return http.post(
        "/api/models/acme/open/preupload/main", json={"files": wanted, "gitIgnore": "*.tmp\n!keep.tmp\nbuild/"}, headers=key(served)
    )


def test_preupload_decides_and_every_answer_has_should_ignore(http, served, repository):
    files = [
        ("config.json", 2, b"{}"), ("w.safetensors", 100, b"text"), ("image.dat", 50, b"\0\1\2"), ("new.txt", 20_000_000, b"text"), ("utf8.txt", 4096, "é".encode() * 255 + b"\xc3"),
        ("latin.txt", 9, b"caf\xe9 noir"), ("a.tmp", 1, b"a"), ("keep.tmp", 1, b"a"), ("build/x/y.txt", 1, b"a"), ("empty.bin", 0, b""),
    ]  # fmt: skip
    answers = {each["path"]: each for each in preupload(http, served, *files).json()["files"]}
    modes = {path: each["uploadMode"] for path, each in answers.items()}
    assert modes == {
        "config.json": "regular", "w.safetensors": "lfs", "image.dat": "lfs", "new.txt": "lfs", "utf8.txt": "regular", "latin.txt": "lfs",
        "a.tmp": "regular", "keep.tmp": "regular", "build/x/y.txt": "regular", "empty.bin": "regular",
    }  # fmt: skip
    assert {path for path, each in answers.items() if each["shouldIgnore"]} == {"a.tmp", "build/x/y.txt"}
    assert answers["config.json"]["oid"] == blob_oid(b"{}")
    assert "oid" not in answers["new.txt"]


@pytest.mark.parametrize("path", ["../../etc/passwd", "/abs", "a/../b", "a\\b", "..%2fx", "nul", ".git/hooks/x", "a\u0000b", "C:/x"])
def test_bad_paths_are_refused_in_preupload_and_in_commit(http, served, repository, path):
    assert preupload(http, served, (path, 1, b"a")).status_code == 400
    body = commit_body(("file", {"path": path, "content": "", "encoding": "base64"}))
    assert http.post("/api/models/acme/open/commit/main", content=body, headers=key(served)).status_code == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"{}", commit_body(), commit_body(("file", {"path": "a", "content": "***"})), commit_body(("file", {"path": "a"})), commit_body(("explode", {"path": "a"})), b"[" * 100_000,
     commit_body(("lfsFile", {"path": "a", "oid": "zz", "algo": "sha256"})), commit_body(("lfsFile", {"path": "a", "oid": "a" * 64, "algo": "md5"})), commit_body(summary="")],
)  # fmt: skip
def test_a_broken_commit_is_a_400_and_changes_nothing(http, served, repository, body):
    before = http.get("/api/models/acme/open").json()["sha"]
    reply = http.post("/api/models/acme/open/commit/main", content=body, headers=key(served))
    assert reply.status_code == 400 or body == commit_body()
    if body != commit_body():
        assert http.get("/api/models/acme/open").json()["sha"] == before


def test_a_retried_commit_answers_with_the_first_one(http, served, repository):
    body = commit_body(("file", {"path": "retry.txt", "content": in_base64(b"r"), "encoding": "base64"}), summary="retry")
    first, second = (http.post("/api/models/acme/open/commit/main", content=body, headers=key(served)).json() for _ in range(2))
    assert first == second


def test_a_pointer_sent_as_a_small_file_does_not_open_a_file_of_others(http, served, repository):
    body = commit_body(("file", {"path": "stolen.bin", "content": in_base64(pointer_text("a" * 64, 5)), "encoding": "base64"}))
    reply = http.post("/api/models/acme/open/commit/main", content=body, headers=key(served))
    assert reply.status_code == 400
    assert "was not uploaded" in reply.json()["error"]


def test_a_commit_of_many_megabytes_costs_the_server_little_memory(http, served):
    served.run(served.hub.repositories.create(ACME, "model", "acme/heavy"))

    def body():
        yield commit_body() + b"\n"
        for number in range(12):
            content = in_base64(os.urandom(8_000_000))
            yield (
                json.dumps({"key": "file", "value": {"path": f"f{number}.bin", "content": content, "encoding": "base64"}}).encode() + b"\n"
            )

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = http.post("/api/models/acme/heavy/commit/main", content=body(), headers=key(served))
    assert reply.status_code == 200, reply.text
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 150, f"96 MB in 12 files took {grown:.0f} MiB (client and server together)"


def test_a_commit_over_the_limit_is_413(http, served, repository, monkeypatch):
    monkeypatch.setattr("yunmo.web.dialects.hub.commits.BODY_LIMIT_BYTES", 1000)
    body = commit_body(("file", {"path": "x", "content": in_base64(b"x" * 2000), "encoding": "base64"}))
    assert http.post("/api/models/acme/open/commit/main", content=body, headers=key(served)).status_code == 413


def test_readme_checks_accept_good_yaml_and_explain_bad_yaml(http):
    good = http.post("/api/validate-yaml", json={"content": "---\nlicense: mit\n---\nx", "repoType": "model"})
    assert (good.status_code, good.json()["errors"]) == (200, [])
    bad = http.post("/api/validate-yaml", json={"content": "---\na: [\n---\nx", "repoType": "model"})
    assert bad.status_code == 400
    assert bad.json()["errors"][0]["message"]


TRICKS = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%252e%252e%252f",
    "..%5c",
    "%2Fetc%2Fpasswd",
    "%00",
    "a%00b",
    "C:%2Fx",
    "%23",
    "%3F",
    "file:%2F%2Fx",
    "a" * 3000,
    "%ff%fe",
    "\uff0e\uff0e",
    "refs%2F..%2Fheads",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_in_an_address_is_answered_with_anything_but_a_refusal(http, served, repository, trick):
    addresses = [
        ("GET", f"/api/models/acme/{trick}"), ("GET", f"/api/models/{trick}"), ("GET", f"/api/models/acme/open/revision/{trick}"), ("GET", f"/api/models/acme/open/tree/{trick}"),
        ("GET", f"/api/models/acme/open/tree/main/{trick}"), ("GET", f"/acme/open/resolve/main/{trick}"), ("GET", f"/acme/open/resolve/{trick}/config.json"), ("HEAD", f"/acme/open/raw/main/{trick}"),
        ("GET", f"/api/models/acme/open/commits/{trick}"), ("DELETE", f"/api/models/acme/open/branch/{trick}"), ("DELETE", f"/api/models/acme/open/tag/{trick}"), ("POST", f"/api/models/acme/open/super-squash/{trick}"),
        ("GET", f"/api/models/acme/open/user-access-request/{trick}"),
    ]  # fmt: skip
    for method, address in addresses:
        reply = http.request(method, address, headers=key(served), json={} if method == "POST" else None)
        assert 400 <= reply.status_code < 500, (method, address, reply.status_code, reply.text[:200])
    created = http.post(f"/api/models/acme/open/branch/{trick}", headers=key(served))
    if created.status_code == 201:
        assert trick in {"%23", "\uff0e\uff0e", "%ff%fe"}
        http.delete(f"/api/models/acme/open/branch/{trick}", headers=key(served))


# ---------------------------------------------------------------- rights


def test_only_who_may_write_can_write(http, served, repository):
    body = commit_body(("file", {"path": "x.txt", "content": "", "encoding": "base64"}))
    expectations = {"other": 403, "reader": 403, None: 401}
    for name, status in expectations.items():
        headers = key(served, name) if name else {}
        assert http.post("/api/models/acme/open/commit/main", content=body, headers=headers).status_code == status
        assert http.get("/api/models/acme/open/xet-write-token/main", headers=headers).status_code == status
        assert http.post("/api/models/acme/open/preupload/main", json={"files": []}, headers=headers).status_code == status
        assert http.post("/api/models/acme/open/branch/b", headers=headers).status_code == status
        assert http.put("/api/models/acme/open/settings", json={"private": True}, headers=headers).status_code == status


def test_a_private_repository_shows_in_no_list_and_gives_no_token(http, served, repository):
    for headers in ({}, key(served, "other")):
        for query in ("", "?author=acme", "?search=secret", "?full=true", "?expand=private"):
            assert "acme/secret" not in [each["id"] for each in http.get(f"/api/models{query}", headers=headers).json()]
        for tail in ("xet-read-token/main", "refs", "commits/main", "tree/main", "auth-check", "lfs-files", "discussions"):
            assert http.get(f"/api/models/acme/secret/{tail}", headers=headers).headers["x-error-code"] == "RepoNotFound"
    assert "acme/secret" in [each["id"] for each in http.get("/api/models", headers=key(served, "reader")).json()]
    assert http.get("/acme/secret/resolve/main/key.txt", headers=key(served, "reader")).content == b"secret"


def test_a_gated_repository_is_open_in_its_metadata_only(http, served, repository):
    for headers, status in (({}, 401), (key(served, "other"), 403)):
        assert http.get("/api/models/acme/gated", headers=headers).json()["gated"] == "manual"
        for path in (
            "/acme/gated/resolve/main/weights.bin",
            "/acme/gated/raw/main/weights.bin",
            "/api/models/acme/gated/xet-read-token/main",
            "/api/models/acme/gated/auth-check",
        ):
            reply = http.get(path, headers=headers)
            assert (reply.status_code, reply.headers["x-error-code"]) == (status, "GatedRepo")


def test_access_is_asked_for_granted_and_withdrawn(http, served, repository):
    theirs, owner = key(served, "other"), key(served)
    assert http.post("/acme/gated/ask-access", headers=theirs).json() == {"status": "pending"}
    (pending,) = http.get("/api/models/acme/gated/user-access-request/pending", headers=owner).json()
    assert pending["user"]["user"] == "other"
    handle = "/api/models/acme/gated/user-access-request/handle"
    assert http.post(handle, json={"requestId": pending["requestId"], "status": "accepted"}, headers=theirs).status_code == 403
    assert http.post(handle, json={"requestId": pending["requestId"], "status": "accepted"}, headers=owner).status_code == 200
    assert http.get("/acme/gated/resolve/main/weights.bin", headers=theirs).content == b"gated"
    assert http.post(handle, json={"user": "other", "status": "rejected", "rejectionReason": "no"}, headers=owner).status_code == 200
    assert http.get("/acme/gated/resolve/main/weights.bin", headers=theirs).status_code == 403
    assert http.post("/api/models/acme/gated/user-access-request/grant", json={"user": "other"}, headers=owner).status_code == 200
    assert http.get("/acme/gated/resolve/main/weights.bin", headers=theirs).status_code == 200


def test_a_models_discussions_are_listed_only_with_a_filter_so_that_no_token_leaves_the_house(http, served, repository):
    discussions = "/api/models/acme/open/discussions"
    for query in ("", "?p=0", "?p=1&limit=9", "?status=&type="):
        assert http.get(f"{discussions}{query}", headers=key(served)).status_code == 403
    for query in ("?status=all", "?p=0&type=pull_request", "?author=nobody"):
        assert http.get(f"{discussions}{query}", headers=key(served)).json()["count"] >= 0
    for query in ("?status=merged", "?type=all&status=%00", "?author=%00"):
        assert http.get(f"{discussions}{query}", headers=key(served)).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("discussions", {"title": "no"}, 400),
        ("discussions", {"title": 5}, 400),
        ("discussions", {"title": "fine", "description": "a" * 70_000}, 400),
        ("discussions/0/comment", {"comment": "to nothing"}, 404),
        ("discussions/99999999999999999999/comment", {"comment": "to nothing"}, 404),
        ("discussions/x/comment", {"comment": "to nothing"}, 404),
        ("discussions/١/comment", {"comment": "to nothing"}, 404),
        ("discussions/1/comment/zz/edit", {"content": "of nothing"}, 404),
        ("discussions/1/comment/ffffffffffffffffffffffffffffffff/hide", None, 404),
        ("discussions/1/status", {"status": "merged"}, 400),
        ("discussions/1/merge", {"comment": 5}, 400),
        ("discussions/1/merge", None, 400),
    ],
)
def test_what_cannot_be_done_to_a_discussion_is_refused_in_words(http, served, repository, path, body, status):
    made = http.post("/api/models/acme/open/discussions", json={"title": "A thread"}, headers=key(served))
    assert made.json()["url"].endswith(f"/acme/open/discussions/{made.json()['num']}")
    reply = http.post(f"/api/models/acme/open/{path}", json=body, headers=key(served))
    assert reply.status_code == status
    assert len(reply.json()["error"]) > 10


@pytest.mark.parametrize("revision", ["refs%2Fpr%2Fx", "refs%2Fpr%2F", "refs%2Fpr%2F9999", "refs%2Fpr%2F99999999999999999999"])
def test_a_pull_request_that_is_not_there_cannot_be_committed_to(http, served, repository, revision):
    body = commit_body(("file", {"path": "a.txt", "content": in_base64(b"a")}))
    reply = http.post(f"/api/models/acme/open/commit/{revision}", content=body, headers=key(served, "other"))
    assert (reply.status_code, reply.headers["x-error-code"]) == (404, "RevisionNotFound")


def test_the_diff_of_a_gated_repository_is_for_those_who_may_read_its_files(http, served, repository):
    http.post("/api/repos/create", json={"name": "shut"}, headers=key(served)).raise_for_status()
    http.put("/api/models/acme/shut/settings", json={"gated": "manual"}, headers=key(served)).raise_for_status()
    body = commit_body(("file", {"path": "a.txt", "content": in_base64(b"hidden words")}))
    assert http.post("/api/models/acme/shut/commit/main?create_pr=1", content=body, headers=key(served, "other")).status_code == 403
    made = http.post("/api/models/acme/shut/commit/main?create_pr=1", content=body, headers=key(served)).json()
    assert made["pullRequestUrl"].endswith("/acme/shut/discussions/1")
    details = "/api/models/acme/shut/discussions/1?diff=1"
    assert "+hidden words" in http.get(details, headers=key(served)).json()["diff"]
    for headers in ({}, key(served, "other")):
        reply = http.get(details, headers=headers)
        assert (reply.status_code, reply.json()["diff"]) == (200, None)
        assert "hidden words" not in reply.text


def test_the_token_route_says_the_same_in_headers_and_body(http, served, repository):
    reply = http.get("/api/models/acme/open/xet-write-token/None?create_pr=1", headers=key(served))
    body = reply.json()
    assert body == {
        "casUrl": reply.headers["x-xet-cas-url"],
        "exp": int(reply.headers["x-xet-token-expiration"]),
        "accessToken": reply.headers["x-xet-access-token"],
    }
    assert not body["casUrl"].endswith("/")


def test_the_command_line_finds_no_harnesses(http):
    assert http.get("/api/agent-harnesses").json() == {"standardEnvVars": [], "harnesses": {}}


# ---------------------------------------------------------------- lists


def test_paths_info_takes_forms_and_json_and_leaves_out_what_is_missing(http, repository):
    form = http.post("/api/models/acme/open/paths-info/main", data={"paths": ["dir", "config.json", "nope"], "expand": "True"}).json()
    assert [(each["type"], each["path"]) for each in form] == [("directory", "dir"), ("file", "config.json")]
    assert form[1]["lastCommit"]["id"]
    assert form[1]["securityFileStatus"]["status"] == "safe"
    assert [each["path"] for each in http.post("/api/models/acme/open/paths-info/main", json={"paths": ["config.json"]}).json()] == [
        "config.json"
    ]


class Runs:
    def __reduce__(self):
        return os.system, ("id",)


def test_pickles_are_judged_by_what_they_import_and_one_in_disguise_is_unsafe(http, served):
    files = {
        "a.bin": pickle.dumps({"weights": [1.0]}),
        "b.safetensors": pickle.dumps({}),
        "c.txt": b"text",
        "d.pkl": pickle.dumps(Runs(), 0),
        "e.pt": pickle.dumps(Runs())[:-1],
        "f.bin": bytes(100),
        "g.bin": pickle.dumps(Runs(), 0),
    }

    async def make():
        made = await served.hub.repositories.create(ACME, "model", "acme/pickles")
        await push(served.hub, made, files)

    served.run(make())
    listed = {each["path"]: each["securityFileStatus"] for each in http.get("/api/models/acme/pickles/tree/main?expand=true").json()}
    statuses = {path: found["status"] for path, found in listed.items() if path in files}
    unsafe = {"b.safetensors": "unsafe", "e.pt": "unsafe"}
    suspicious = {"d.pkl": "suspicious", "g.bin": "suspicious"}
    assert statuses == {"a.bin": "safe", "c.txt": "safe", "f.bin": "safe"} | unsafe | suspicious
    scan = listed["d.pkl"]["pickleImportScan"]
    assert scan["imports"] == [f"{os.name}.system"]
    assert f"{os.name}.system" in scan["message"]
    assert "cannot be checked" in listed["e.pt"]["pickleImportScan"]["message"]
    whole = http.get("/api/models/acme/pickles?securityStatus=true").json()["securityRepoStatus"]
    issues = {issue["path"]: issue["level"] for issue in whole["filesWithIssues"]}
    assert (whole["scansDone"], issues) == (True, unsafe | suspicious)


def test_a_card_larger_than_a_mebibyte_is_refused_with_the_reason(http):
    reply = http.post("/api/validate-yaml", json={"content": "x" * 1024 * 1024, "repoType": "model"})
    assert reply.status_code == 413
    assert "README.md is larger than 1 MiB" in reply.json()["error"]
    assert http.post("/api/validate-yaml", json={"content": "x" * 1000_000, "repoType": "model"}).status_code == 200


def pages(http, path):
    found = []
    while path:
        reply = http.get(path)
        assert reply.status_code == 200, reply.text
        found.append(reply.json())
        path = reply.links.get("next", {}).get("url")
    return found


def test_trees_histories_and_lists_come_in_pages_that_keep_their_filters(http, served):
    async def make():
        made = await served.hub.repositories.create(ACME, "model", "acme/pages")
        for number in range(4):
            await push(served.hub, made, {f"d/f{number}-{each}.txt": b"x" for each in range(3)})
        for number in range(5):
            await served.hub.repositories.create(OTHER, "model", f"other/paged-{number}")

    served.run(make())
    tree = pages(http, "/api/models/acme/pages/tree/main?recursive=true&limit=5")
    assert [len(page) for page in tree] == [5, 5, 4]
    assert len({each["path"] for page in tree for each in page}) == 14
    history = pages(http, "/api/models/acme/pages/commits/main?limit=2")
    assert [len(page) for page in history] == [2, 2, 1]
    listed = pages(http, "/api/models?author=other&search=paged&limit=2&sort=createdAt&direction=1")
    assert [each["id"] for page in listed for each in page] == [f"other/paged-{number}" for number in range(5)]


def test_expand_gives_only_what_was_asked_for(http, repository):
    shape = http.get("/api/models/acme/open?expand=downloads&expand=tags").json()
    assert set(shape) == {"_id", "id", "modelId", "downloads", "tags"}


def test_reads_go_on_while_many_clients_commit(http, served):
    served.run(served.hub.repositories.create(ACME, "model", "acme/busy"))

    def client(number):
        for turn in range(4):
            body = commit_body(("file", {"path": f"{number}/{turn}.txt", "content": in_base64(b"x"), "encoding": "base64"}))
            assert http.post("/api/models/acme/busy/commit/main", content=body, headers=key(served)).status_code == 200
            assert http.get(f"/acme/busy/resolve/main/{number}/{turn}.txt").content == b"x"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    files = [each for each in http.get("/api/models/acme/busy/tree/main?recursive=true").json() if each["type"] == "file"]
    assert len(files) == 33


def test_filters_and_orders_that_are_not_known_here_are_refused_and_not_passed_over(http, served, repository):
    for query in ("apps=vllm", "inference=warm", "inference_provider=any", "sort=beauty", "num_parameters=many"):
        for kind in ("models", "datasets"):
            reply = http.get(f"/api/{kind}?{query}")
            assert reply.status_code == 400, query
            assert query.split("=")[0] in reply.json()["error"] or "bound" in reply.json()["error"]
    for sort in ("likes", "trendingScore", "lastModified", "createdAt", "downloads", "num_parameters"):
        assert "acme/open" in [each["id"] for each in http.get(f"/api/models?sort={sort}").json()]


def test_a_limit_that_is_used_up_is_said_in_the_form_that_the_client_reads(http, served):
    request = SimpleNamespace(principal=ANONYMOUS, headers={})
    reply = error_reply(RateLimited("This key may make 1 request a minute.", retry_after_seconds=6.2), request)
    found = parse_ratelimit_headers(reply.headers)
    assert (reply.status_code, reply.headers["retry-after"], found.remaining, found.reset_in_seconds) == (429, "7", 0, 7)


def test_a_data_set_is_found_by_what_its_card_says(served):
    card = "---\nlanguage: [zh]\nsize_categories: [n<1K]\ntask_ids: [sentiment]\nmultilinguality: monolingual\n---\n"
    api = HfApi(endpoint=served.url, token=served.tokens["acme"])
    api.create_repo("acme/carded", repo_type="dataset")
    api.upload_file(repo_id="acme/carded", repo_type="dataset", path_in_repo="README.md", path_or_fileobj=card.encode())
    said = {"language": "zh", "size_categories": "n<1K", "task_ids": "sentiment", "multilinguality": "monolingual"}
    assert [each.id for each in api.list_datasets(**said)] == ["acme/carded"]
    assert list(api.list_datasets(**said | {"language": "en"})) == []


def test_the_headers_of_a_sharded_model_come_in_one_answer(served, tmp_path, monkeypatch):
    api = HfApi(endpoint=served.url, token=served.tokens["acme"])
    api.create_repo("acme/sharded", private=True)
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for tensor, name in names.items():
        save_file({tensor: torch.zeros(2, 3)}, tmp_path / name)
    index = {"metadata": {"total_size": 48}, "weight_map": names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    bad = {"none": {}, "escape": {"weight_map": {"a": "../../secret"}}, "missing": {"weight_map": {"a": "x.safetensors"}}}
    bad |= {"other": {"weight_map": {"a": "model.safetensors.index.json"}}, "number": {"weight_map": {"a": 5}}, "list": []}
    for name, content in bad.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    api.upload_folder(repo_id="acme/sharded", folder_path=tmp_path)
    found = api.get_sharded_safetensors_metadata("acme/sharded")
    assert found.weight_map == names
    assert found.files_metadata[names["b"]].tensors["b"].shape == [2, 3]
    assert found == api.get_safetensors_metadata("acme/sharded")
    address = "/api/models/acme/sharded/safetensors-metadata"
    with httpx.Client(base_url=served.url, headers=key(served)) as http:
        statuses = {name: http.get(f"{address}/{name}.json").status_code for name in (*bad, "nothing")}
        assert statuses == {name: 404 if name in {"escape", "missing", "nothing"} else 400 for name in statuses}
        assert http.get(f"{address}/model-00001-of-00002.safetensors").status_code == 400
        monkeypatch.setattr(tensor_headers, "HEADERS_LIMIT_BYTES", 100)
        assert http.get(f"{address}/model.safetensors.index.json").status_code == 413
        monkeypatch.setattr(tensor_headers, "SHARDS_LIMIT", 1)
        assert http.get(f"{address}/model.safetensors.index.json").status_code == 413
    assert httpx.get(f"{served.url}{address}/model.safetensors.index.json").status_code == 401


def test_the_tags_in_use_are_listed_by_type_and_private_ones_are_not(served):
    api = HfApi(endpoint=served.url, token=served.tokens["acme"])
    for name, tag in (("tagged", "in-the-open"), ("hidden", "in-secret")):
        api.create_repo(f"acme/{name}", private=name == "hidden")
        card = f"---\nlicense: mit\nlanguage: en\npipeline_tag: text-classification\nlibrary_name: transformers\ntags: [{tag}]\n---\n"
        api.upload_file(repo_id=f"acme/{name}", path_in_repo="README.md", path_or_fileobj=card.encode())
    found = api.get_model_tags()
    assert {"type": "license", "id": "license:mit", "label": "mit"} in found["license"]
    ids = {type_: {each["id"] for each in tags} for type_, tags in found.items()}
    assert "text-classification" in ids["pipeline_tag"]
    assert "transformers" in ids["library"]
    assert "in-the-open" in ids["other"]
    assert "in-secret" not in str(found)
    assert isinstance(api.get_dataset_tags(), dict)
