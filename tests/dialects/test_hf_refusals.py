"""What Hugging Face's dialect refuses, and in which words: each error has its status and the headers its client reads."""

import asyncio
import json
from types import SimpleNamespace

import httpx
import pytest
from hf_cloud import ALL_TASKS, KEY, make_cloud
from huggingface_hub.inference._client import MODEL_KWARGS_NOT_USED_REGEX
from huggingface_hub.utils._http import parse_ratelimit_headers

from yunmo.core import errors
from yunmo.core.tasks import Label, Labels, TextDelta, TokenLogprob, Transcript
from yunmo.web.app import App
from yunmo.web.dialects.hf.dialect import HuggingFaceDialect
from yunmo.web.dialects.hf.errors import REPLIES, error_reply
from yunmo.web.metrics import Metrics

LABELS = Labels(rows=((Label("A", 1.0),),))
CORE_ERRORS = [kind for kind in errors.every_error() if kind.__module__ == "yunmo.core.errors"]
STATUS = {
    "invalid_request": 422,
    "context_length_exceeded": 422,
    "unsupported": 422,
    "poison_request": 422,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "model_not_found": 404,
    "repository_not_found": 404,
    "revision_not_found": 404,
    "entry_not_found": 404,
    "gated": 403,
    "conflict": 409,
    "precondition_failed": 412,
    "too_large": 413,
    "rate_limited": 429,
    "overloaded": 503,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "insufficient_storage": 507,
    "engine_failed": 500,
    "internal_error": 500,
}


@pytest.fixture
def cloud():
    cloud = make_cloud()
    cloud.inference.serve("acme/m", *ALL_TASKS)
    cloud.inference.serve("classifier", "classify", tag="text-classification")
    cloud.inference.answers = {"Classify": [LABELS]}
    return cloud


@pytest.fixture
async def client(cloud):
    app = App(cloud, [HuggingFaceDialect(cloud)], Metrics())
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://yunmo", headers=headers) as client:
        yield client


@pytest.mark.parametrize("kind", CORE_ERRORS, ids=lambda kind: kind.code)
async def test_every_error_has_its_reply(kind, cloud, client):
    cloud.inference.refusal = kind("It broke.")
    reply = await client.post("/models/classifier", json={"inputs": "x"}, headers={"x-request-id": "abc"})
    assert reply.status_code == STATUS[kind.code]
    assert reply.json()["error"] == "It broke."
    assert reply.headers["x-error-message"] == "It broke."
    assert reply.headers["x-request-id"] == "abc"
    assert reply.json().get("error_type") in {None, "validation", "generation", "incomplete_generation", "overloaded"}


def test_the_table_of_errors_is_total():
    assert set(CORE_ERRORS) <= set(REPLIES)
    assert set(STATUS) == {kind.code for kind in CORE_ERRORS}


def test_an_error_that_another_package_derives_has_its_parents_reply():
    class Taken(errors.Conflict):
        code = "taken"

    assert error_reply(Taken("It is taken.")).status_code == 409
    assert error_reply(errors.YunmoError("Unheard of.")).status_code == 500


async def test_a_limited_caller_learns_when_to_come_back(cloud, client):
    cloud.inference.refusal = errors.RateLimited("Too many.", retry_after_seconds=2.2)
    reply = await client.post("/models/classifier", json={"inputs": "x"})
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("3", "2200")
    limit = parse_ratelimit_headers(reply.headers)
    assert (limit.resource_type, limit.remaining, limit.reset_in_seconds) == ("requests", 0, 3)


async def test_a_full_queue_says_when_to_come_back_without_being_told(cloud, client):
    cloud.inference.refusal = errors.Overloaded("Full.")
    reply = await client.post("/models/classifier", json={"inputs": "x"})
    assert reply.headers["retry-after"] == "1"


async def test_a_loading_model_names_its_estimated_time(cloud, client):
    cloud.inference.refusal = errors.Unavailable("Loading.", retry_after_seconds=5)
    reply = await client.post("/models/classifier", json={"inputs": "x"})
    assert reply.json() == {"error": "Loading.", "estimated_time": 5}


async def test_the_limits_that_are_left_are_told_with_every_answer(cloud, client):
    cloud.inference.rates = SimpleNamespace(
        limit_requests=60,
        remaining_requests=58,
        reset_requests_seconds=1.6,
        limit_tokens=None,
        remaining_tokens=None,
        reset_tokens_seconds=None,
    )
    reply = await client.post("/models/classifier", json={"inputs": "x"})
    limit = parse_ratelimit_headers(reply.headers)
    assert (limit.limit, limit.remaining, limit.reset_in_seconds, limit.window_seconds) == (60, 58, 2, 60)


async def test_a_message_that_no_header_can_carry_is_in_the_body_only(cloud, client):
    cloud.inference.refusal = errors.EngineFailed("模型坏了\r\nset-cookie: x")
    reply = await client.post("/models/classifier", json={"inputs": "x"})
    assert reply.json()["error"].startswith("模型坏了")
    assert "x-error-message" not in reply.headers
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize(
    ("task", "body", "name"),
    [
        ("text-classification", {"inputs": "x", "parameters": {"colour": 1}}, "colour"),
        ("text-classification", {"inputs": "x", "colour": 1}, "colour"),
        ("text-generation", {"inputs": "x", "parameters": {"best_of": 2}}, "best_of"),
        ("text-generation", {"inputs": "x", "parameters": {"watermark": True}}, "watermark"),
        ("text-generation", {"inputs": "x", "parameters": {"adapter_id": "a"}}, "adapter_id"),
        ("text-generation", {"inputs": "x", "parameters": {"details": True, "decoder_input_details": True}}, "decoder_input_details"),
        ("text-generation", {"inputs": "x", "parameters": {"grammar": {"type": "json", "value": "{"}}}, "grammar"),
        ("text-generation", {"inputs": "x", "parameters": {"grammar": {"type": "regex", "value": {}}}}, "grammar"),
        ("feature-extraction", {"inputs": "x", "prompt_name": "query"}, "prompt_name"),
        ("feature-extraction", {"inputs": "x", "truncation_direction": "left"}, "truncation_direction"),
        ("question-answering", {"inputs": {"question": "q", "context": "c"}, "parameters": {"max_question_len": 4}}, "max_question_len"),
        ("question-answering", {"inputs": {"question": "q", "context": "c"}, "parameters": {"align_to_words": False}}, "align_to_words"),
        ("summarization", {"inputs": "x", "parameters": {"generate_parameters": {"penalty_alpha": 0.6}}}, "penalty_alpha"),
        ("translation", {"inputs": "x", "parameters": {"src_lang": "de"}}, "tgt_lang"),
        ("zero-shot-classification", {"inputs": "x", "parameters": {}}, "candidate_labels"),
        (
            "zero-shot-classification",
            {"inputs": "x", "parameters": {"candidate_labels": ["a"], "hypothesis_template": "no"}},
            "hypothesis_template",
        ),
        ("automatic-speech-recognition", {"inputs": "UklG", "parameters": {"generation_parameters": {"top_k": 3}}}, "top_k"),
        ("image-classification", {"inputs": "no base64!"}, "inputs"),
        ("visual-question-answering", {"inputs": "aGk=", "parameters": {}}, "question"),
        ("visual-question-answering", {"inputs": "aGk=", "question": " "}, "question"),
        ("visual-question-answering", {"question": "What?"}, "image"),
        ("visual-question-answering", {"question": "What?", "image": "no base64!"}, "inputs"),
        ("visual-question-answering", {"question": 7, "image": "aGk="}, "question"),
        ("visual-question-answering", {"question": "What?", "image": "aGk=", "parameters": {"top_k": 0}}, "top_k"),
        ("document-question-answering", {"inputs": {"question": "What?"}}, "image"),
        ("document-question-answering", {"inputs": {"image": "aGk=", "question": ""}}, "question"),
        (
            "document-question-answering",
            {"inputs": {"image": "aGk=", "question": "a"}, "parameters": {"max_question_len": 4}},
            "max_question_len",
        ),
        *(
            (
                "document-question-answering",
                {"inputs": {"image": "aGk=", "question": "a"}, "parameters": {"word_boxes": boxes}},
                "word_boxes",
            )
            for boxes in (
                "Total",
                [["Total"]],
                [["Total", [1, 2, 3]]],
                ["Total"],
                [[1, [1, 2, 3, 4]]],
                [["a", [1, 2, 3, "b"]]],
                [[1, 2, 3, 4]],
            )
        ),
        ("table-question-answering", {"inputs": {"query": "How many?"}}, "table"),
        ("table-question-answering", {"inputs": {"table": {"a": ["1"]}}}, "query"),
        ("table-question-answering", {"inputs": {"query": "How many?", "table": {}}}, "table"),
        ("table-question-answering", {"inputs": {"query": "How many?", "table": {"a": []}}}, "table"),
        ("table-question-answering", {"inputs": {"query": "How many?", "table": {"a": ["1"], "b": ["1", "2"]}}}, "table"),
        ("table-question-answering", {"inputs": {"query": "How many?", "table": {"a": [None]}}}, "table"),
        ("table-question-answering", {"inputs": {"query": "How many?", "table": [["a"]]}}, "table"),
    ],
)
async def test_what_would_change_the_answer_is_refused_by_name(task, body, name, cloud, client):
    reply = await client.post(f"/models/acme/m/pipeline/{task}", json=body)
    assert reply.status_code == 422
    assert name in reply.json()["error"]
    assert reply.json()["error_type"] == "validation"
    assert MODEL_KWARGS_NOT_USED_REGEX.search(reply.text) is None
    assert cloud.inference.asked == []


@pytest.mark.parametrize("number", ["NaN", "1e999", "-1", str(2**63), "1e308", "[" * 5000])
@pytest.mark.parametrize(
    ("task", "template"),
    [
        ("text-classification", '{{"inputs": "x", "parameters": {{"top_k": {}}}}}'),
        ("text-generation", '{{"inputs": "x", "parameters": {{"max_new_tokens": {}}}}}'),
        ("text-generation", '{{"inputs": "x", "parameters": {{"temperature": {}}}}}'),
        ("text-generation", '{{"inputs": "x", "parameters": {{"seed": {}}}}}'),
        ("feature-extraction", '{{"inputs": "x", "dimensions": {}}}'),
        ("object-detection", '{{"inputs": "aGk=", "parameters": {{"threshold": {}}}}}'),
    ],
)
async def test_a_wild_number_never_reaches_an_engine(task, template, number, cloud, client):
    reply = await client.post(f"/models/acme/m/pipeline/{task}", content=template.format(number))
    assert reply.status_code == 422
    assert cloud.inference.asked == []


async def test_a_task_that_the_model_does_not_have_is_refused_with_those_it_has(client):
    reply = await client.post("/models/classifier/pipeline/translation", json={"inputs": "x"})
    assert reply.status_code == 422
    assert "text-classification" in reply.json()["error"]


@pytest.mark.parametrize("task", ["text-to-image", "image-to-image", "audio-to-audio", "tabular-classification", "tabular-regression"])
async def test_a_task_that_nobody_has_is_refused(task, client):
    reply = await client.post(f"/models/acme/m/pipeline/{task}", json={"inputs": "x"})
    assert reply.status_code == 422
    assert task in reply.json()["error"]


async def test_an_unknown_model_is_a_repository_that_the_client_does_not_find(client):
    reply = await client.post("/models/acme/none", json={"inputs": "x"})
    assert (reply.status_code, reply.headers["x-error-code"]) == (404, "RepoNotFound")


async def test_a_call_without_a_key_is_told_how_to_send_one(client):
    del client.headers["authorization"]
    reply = await client.post("/models/classifier", json={"inputs": "x"})
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, 'Bearer realm="yunmo"')


async def test_a_body_over_the_limit_is_refused_before_it_is_read(client):
    reply = await client.post("/models/classifier", content=b"{" + b" " * (20 << 20))
    assert reply.status_code == 413
    assert "limit" in reply.json()["error"]


async def test_a_large_recording_is_taken_as_it_is_but_not_in_json(cloud, client):
    cloud.inference.answers = {"Transcribe": [Transcript(text="hi", language="en", duration=1.0)]}
    path = "/models/acme/m/pipeline/automatic-speech-recognition"
    assert (await client.post(path, content=b"RIFF" + bytes(21 << 20))).json() == {"text": "hi"}
    reply = await client.post(path, content=b'{"inputs": "' + b"A" * (21 << 20) + b'"}')
    assert (reply.status_code, "without JSON" in reply.json()["error"]) == (413, True)


async def test_an_error_inside_a_stream_is_an_event_of_its_own(cloud, client):
    cloud.inference.answers = {"Generate": [TextDelta(text="a"), errors.EngineFailed("The worker died.")]}
    reply = await client.post("/models/acme/m/pipeline/text-generation", json={"inputs": "x", "stream": True})
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line]
    assert events[0]["token"]["text"] == "a"
    assert events[1] == {"error": "The worker died.", "error_type": "generation"}
    assert cloud.inference.begun[0].is_closed


async def test_an_error_before_the_first_token_still_has_a_status(cloud, client):
    cloud.inference.answers = {"Generate": [errors.ContextTooLong("Too long.")]}
    reply = await client.post("/models/acme/m/pipeline/text-generation", json={"inputs": "x", "stream": True})
    assert reply.status_code == 422
    assert cloud.inference.begun[0].is_closed


async def test_a_stream_gives_one_event_per_token_and_ends_with_the_whole_text(cloud, client):
    top = (TokenLogprob("a", -0.5, 7), TokenLogprob("b", -1.5, 8))
    cloud.inference.answers = {
        "Generate": [
            TextDelta(text="a", logprobs=(TokenLogprob("a", -0.5, 7, top),)),
            TextDelta(text="bc", logprobs=(TokenLogprob("b", -0.25, 8), TokenLogprob("c", -0.125, 9)), finish_reason="length"),
        ]
    }
    body = {"inputs": "x", "stream": True, "parameters": {"details": True, "top_n_tokens": 2, "seed": 5, "return_full_text": True}}
    reply = await client.post("/models/acme/m/pipeline/text-generation", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line]
    assert [each["token"] for each in events] == [
        {"id": 7, "text": "a", "logprob": -0.5, "special": False},
        {"id": 8, "text": "b", "logprob": -0.25, "special": False},
        {"id": 9, "text": "c", "logprob": -0.125, "special": False},
    ]
    assert [each["index"] for each in events] == [1, 2, 3]
    assert [token["id"] for token in events[0]["top_tokens"]] == [7, 8]
    assert [each["generated_text"] for each in events] == [None, None, "xabc"]
    assert events[2]["details"] == {"finish_reason": "length", "generated_tokens": 2, "input_length": 4, "seed": 5}


async def test_an_answer_is_given_up_when_its_caller_is_cancelled(cloud, client):
    cloud.inference.waits = asyncio.Event()
    call = asyncio.create_task(client.post("/models/classifier", json={"inputs": "x"}))
    await asyncio.wait_for(cloud.inference.has_begun.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert cloud.inference.begun[0].is_closed


async def test_a_classifier_that_also_does_zero_shot_does_so_when_labels_are_named(cloud, client):
    cloud.inference.serve("nli", "classify", "classify-zero-shot", tag="text-classification")
    cloud.inference.answers = {"ClassifyZeroShot": [LABELS]}
    reply = await client.post("/models/nli", json={"inputs": "x", "parameters": {"candidate_labels": ["A", "B"]}})
    assert reply.json() == [{"label": "A", "score": 1.0}]


async def test_a_model_is_described(client):
    assert (await client.get("/models/classifier")).json() == {
        "id": "classifier",
        "sha": "c0ffee",
        "pipeline_tag": "text-classification",
        "tasks": ["text-classification"],
        "state": "ready",
        "created_at": 1,
        "owner": "acme",
    }


@pytest.mark.parametrize(("state", "status"), [("ready", 200), ("idle", 200), ("loading", 503), ("failed", 503)])
async def test_health_is_the_models_state(state, status, cloud, client):
    cloud.inference.serve("m", "classify", state=state)
    reply = await client.get("/models/m/health")
    assert (reply.status_code, reply.json()) == (status, {"status": state})
