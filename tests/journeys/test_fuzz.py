"""Schemathesis over the real server's own description: whatever is sent, no answer is a server error.

The description is given what it cannot know: names that exist (so that requests reach the code behind the routes), and a
body for routes whose vendor documents none.
"""

import copy
import os
from collections import Counter

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
KNOWN = {
    "namespace": ["acme"],
    "name": ["words", "talk", "vectors", "files", "acme/words"],
    "id": ["acme/talk", "acme/words"],
    "revision": ["main", "first", "refs/pr/1"],
    "path": ["README.md", "folder", "folder/large.bin", "../README.md"],
    "branch": ["main", "other"],
    "type": ["model", "dataset"],
    "epoch": ["e0"],
    "status": ["pending", "accepted", "rejected"],
    "owner": ["acme", "library"],
    "prefix": ["default", "default-merkledb"],
    "hash": ["0" * 64, "zz"],
}
FIELDS = (
    *("inputs", "parameters", "options", "stream", "paths", "expand", "files", "objects", "operation", "oid", "size", "tag"),
    *("message", "startingPoint", "summary", "private", "gated", "visibility", "repository", "target", "user", "status", "title"),
)
ANY_BODY = "any body"
ANYTHING = {"type": ["object", "array", "string", "number", "boolean", "null"]}
QUERIES = {
    "/admin/usage": ("group_by", "since", "until", "project"),
    "/admin/audit": ("limit", "before"),
    "/admin/keys": ("project",),
    "/api/models": ("limit", "cursor", "sort", "direction", "search", "filter", "author", "num_parameters", "expand"),
    "/api/datasets": ("limit", "cursor", "sort", "search", "filter", "author"),
    "/v2/languages": ("type",),
    "/v3/languages": ("resource", "product", "include"),
    "/v3/glossaries/{glossary_id}/entries": ("source_lang", "target_lang"),
    "/v3/style_rules": ("page", "page_size", "detailed"),
    "/v3/translation_memories": ("page", "page_size"),
    "/v3/translation_memories/{memory_id}/segments": ("page_size", "page_cursor", "filter_text", "filter_case_sensitive"),
}
FOLDER_QUERIES = ("limit", "cursor", "recursive", "expand", "blobs", "formatted")


@pytest.fixture(scope="module")
def fuzzed(server):
    for name, tasks in (("words", ["classify"]), ("talk", ["chat", "generate"]), ("vectors", ["embed"])):
        server.deploy("echo", f"acme/{name}", options={"tasks": tasks})
    with server.client() as client:
        for kind in ("model", "dataset"):
            client.post("/api/repos/create", json={"name": "files", "organization": "acme", "type": kind}).raise_for_status()
            commit = b'{"key":"header","value":{"summary":"first"}}\n{"key":"file","value":{"path":"folder/README.md","content":"aGk="}}\n'
            client.post(f"/api/{kind}s/acme/files/commit/main", content=commit).raise_for_status()
            client.post(f"/api/{kind}s/acme/files/tag/main", json={"tag": "first"}).raise_for_status()
        _keep_translations(client)
    return server


def _keep_translations(client):
    """A glossary, a style and a translation memory."""
    made = client.post("/v2/glossaries", json={"name": "words", "source_lang": "en", "target_lang": "de", "entries": "fox\tFuchs"})
    KNOWN["glossary_id"] = [made.json()["glossary_id"], "0" * 32]
    style = {"name": "ours", "language": "de", "custom_instructions": [{"label": "tone", "prompt": "Be brief."}]}
    made = client.post("/v3/style_rules", json=style).json()
    KNOWN["style_id"], KNOWN["instruction_id"] = [made["style_id"]], [made["custom_instructions"][0]["id"]]
    tmx = b"<tmx><body><tu><tuv lang='en'><seg>fox</seg></tuv><tuv lang='de'><seg>Fuchs</seg></tuv></tu></body></tmx>"
    begun = client.post("/v3/translation_memories/import", json={"source_file": {"file_name": "a.tmx", "content_length": len(tmx)}}).json()
    client.put(begun["upload_url"], content=tmx).raise_for_status()
    KNOWN["memory_id"] = [client.get("/v3/translation_memories").json()["translation_memories"][0]["translation_memory_id"]]
    KNOWN["job_id"] = [begun["job_id"]]


def _told(document):
    """The description with bodies for routes without, and with query parameters."""
    document = copy.deepcopy(document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            queries = QUERIES.get(path, FOLDER_QUERIES if method == "get" and path.startswith("/api/") else ())
            text = {"type": "string", "maxLength": 30}
            operation["parameters"] += [{"name": name, "in": "query", "schema": text} for name in queries]
            if method in {"post", "put"} and "requestBody" not in operation:
                body = {"type": "object", "properties": dict.fromkeys(FIELDS, ANYTHING)}
                operation["requestBody"] = {
                    "description": ANY_BODY,
                    "content": {"application/json": {"schema": {"anyOf": [body, ANYTHING]}}},
                }
    return document


def _paths(operation):
    """Values for the parameters in the path: mostly names that exist, else any text."""
    any_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
    return st.fixed_dictionaries({each.name: st.sampled_from(KNOWN.get(each.name, ["x"])) | any_text for each in operation.path_parameters})


def _operations(schema):
    """Reads before writes before deletions, so that what they work on is there for long."""
    order = {"get": 0, "head": 0, "post": 1, "put": 2, "patch": 2, "delete": 3}
    return sorted((result.ok() for result in schema.get_all_operations()), key=lambda each: (order[each.method], each.path))


def test_nothing_that_is_sent_to_a_documented_route_is_a_server_error(fuzzed):
    KNOWN["epoch"] = ["e0", fuzzed.cas_epoch]
    with fuzzed.client() as client:
        schema = schemathesis.openapi.from_dict(_told(client.get("/openapi.json").json()))
    session = requests.Session()
    session.trust_env = False
    statuses, failures = Counter(), []

    def fuzz(operation, mode):
        placeholders = {each.name: "x" for each in operation.path_parameters}

        @hypothesis.seed(20261123)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        @hypothesis.given(case=operation.as_strategy(mode, path_parameters=placeholders), path=_paths(operation))
        def send(case, path):
            case.path_parameters = path
            reply = case.call(base_url=fuzzed.url, session=session, headers=fuzzed.headers, timeout=20)
            statuses[reply.status_code] += 1
            if reply.status_code >= 500:
                failures.append(f"{operation.label}: {reply.status_code} {reply.text[:300]}\n    {case.as_curl_command()[:600]}")

        try:
            send()
        except hypothesis.errors.Unsatisfiable:  # nothing can be wrong in a request without parameters and body
            assert mode is GenerationMode.NEGATIVE, operation.label

    operations = _operations(schema)
    for operation in operations:
        fuzz(operation, GenerationMode.POSITIVE)
        if ANY_BODY not in str(operation.definition.raw):  # nothing is wrong where anything may be sent
            fuzz(operation, GenerationMode.NEGATIVE)
    assert not failures, "\n".join(failures)
    assert len(operations) > 100
    assert statuses.total() > 5 * len(operations)
    assert sum(count for status, count in statuses.items() if status < 300) > 100, statuses
    assert "Traceback" not in fuzzed.log()
