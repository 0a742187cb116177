"""The dialect over a real cloud: real workers, of which each runs the built-in echo engine."""

import asyncio
import base64
import datetime as dt
import json
import os
import re
import signal
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from openai_double import events_of

from yunmo.assembly import open_cloud
from yunmo.core.errors import EngineFailed
from yunmo.core.tasks import Chat, Message
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import Settings
from yunmo.web.app import App
from yunmo.web.dialects.openai.dialect import OpenAIDialect
from yunmo.web.metrics import Metrics

HI = [{"role": "user", "content": "hello big world"}]
CHAT = "/v1/chat/completions"


async def test_a_real_worker_chats_continues_and_embeds(tmp_path):
    async with _cloud(tmp_path, {"tasks": ["chat", "generate", "embed"]}) as world:
        chat = (await world.client.post(CHAT, json={"model": "talk", "messages": HI, "n": 2})).json()
        assert [choice["message"]["content"] for choice in chat["choices"]] == ["hello big world"] * 2
        assert chat["usage"]["prompt_tokens"] == 3

        stream = await world.client.post(
            CHAT, json={"model": "talk", "messages": HI, "max_tokens": 2, "stream": True, "stream_options": {"include_usage": True}}
        )
        *chunks, usage = [json.loads(event) for event in events_of(stream)[:-1]]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "hello big"
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        assert usage["usage"]["completion_tokens"] == 2

        texts = (await world.client.post("/v1/completions", json={"model": "talk", "prompt": ["a b", "c"]})).json()
        assert [choice["text"] for choice in texts["choices"]] == ["a b", "c"]

        body = {"model": "talk", "input": ["a b", "c"], "encoding_format": "base64"}
        vectors = [
            np.frombuffer(base64.b64decode(each["embedding"]), "<f4")
            for each in (await world.client.post("/v1/embeddings", json=body)).json()["data"]
        ]
        assert [round(float(np.linalg.norm(vector)), 3) for vector in vectors] == [1.0, 1.0]
        assert [model["id"] for model in (await world.client.get("/v1/models")).json()["data"]] == ["talk"]

        refused = await world.client.post("/v1/audio/speech", json={"model": "talk", "input": "a", "response_format": "wav"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
        unknown = await world.client.post(CHAT, json={"model": "no/such", "messages": HI})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failing_engine_has_a_real_status_also_for_a_stream(tmp_path, stream):
    async with _cloud(tmp_path, {"tasks": ["chat"], "error_on": "hello big world"}) as world:
        reply = await world.client.post(CHAT, json={"model": "talk", "messages": HI, "stream": stream})
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "engine_failed")


async def test_a_client_that_leaves_frees_the_real_worker(tmp_path):
    async with _cloud(tmp_path, {"tasks": ["chat"], "delay_seconds": 0.05}) as world:
        messages = [{"role": "user", "content": "word " * 2000}]
        await _leave_after_first_word(world, {"model": "talk", "messages": messages, "stream": True})
        async with asyncio.timeout(2):  # the whole answer would take 100 s
            while world.outstanding():  # noqa: ASYNC110 - only the view tells
                await asyncio.sleep(0.01)


async def test_a_cold_stream_tells_how_far_loading_is(tmp_path):
    async with _cloud(tmp_path, {"tasks": ["chat"], "load_seconds": 5}) as world:
        reply = await world.client.post(CHAT, json={"model": "talk", "messages": HI, "stream": True})
        first, *rest = [part for part in reply.text.split("\n\n") if part.startswith(":")]
        assert all(re.fullmatch(r": loading \d+% loading", comment) for comment in (first, *rest))
        deltas = [json.loads(event)["choices"][0]["delta"] for event in events_of(reply)[1 + len(rest) : -1]]
        assert "".join(delta.get("content", "") for delta in deltas) == "hello big world"


async def test_a_model_that_takes_too_long_to_load_ends_the_stream_with_an_error_event(tmp_path):
    async with _cloud(tmp_path, {"tasks": ["chat"], "load_seconds": 60}, cold_wait_seconds=3) as world:
        reply = await world.client.post(CHAT, json={"model": "talk", "messages": HI, "stream": True})
        comment, error = events_of(reply)
        assert (reply.status_code, comment[:9]) == (200, ": loading")
        assert json.loads(error)["error"]["code"] == "model_unavailable"


async def test_what_fails_within_two_seconds_keeps_its_status(tmp_path):
    async with _cloud(tmp_path, {"tasks": ["chat"], "load_seconds": 60}, cold_wait_seconds=1) as world:
        reply = await world.client.post(CHAT, json={"model": "talk", "messages": HI, "stream": True})
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_unavailable")


async def test_a_crash_in_the_middle_of_an_answer_is_metered_with_its_prompt(tmp_path):
    async with _cloud(tmp_path, {"tasks": ["chat"], "delay_seconds": 0.02}) as world:
        answering = await world.begin(Chat(messages=(Message("user", "word " * 500),)))
        await answering.ready()
        os.kill(world.pid(), signal.SIGKILL)
        with pytest.raises(EngineFailed):
            await answering.whole()
        [row] = await world.usage()
        assert (row.requests, row.aborted, row.input_tokens) == (1, 1, 500)
        assert 1 <= row.output_tokens < 500


async def test_an_answer_that_is_given_up_is_metered_with_its_prompt(tmp_path):
    async with _cloud(tmp_path, {"tasks": ["chat"], "delay_seconds": 0.02}) as world:
        answering = await world.begin(Chat(messages=(Message("user", "word " * 500),)))
        await answering.ready()
        await answering.close()
        async with asyncio.timeout(2):
            while world.outstanding():  # noqa: ASYNC110 - only the view tells
                await asyncio.sleep(0.01)
        [row] = await world.usage()
        assert (row.requests, row.aborted, row.input_tokens) == (1, 1, 500)
        assert 1 <= row.output_tokens < 500


@asynccontextmanager
async def _cloud(tmp_path, options, **serving):
    async with open_cloud(Settings(data=tmp_path, serving=serving)) as (cloud, key):
        admin = await cloud.tenancy.keys.identify(key.text)
        spec = DeploymentSpec("talk", "admin", "echo", "", dt.datetime.now(dt.UTC), options={"options": options})
        await cloud.deployments.create(admin, spec)
        app = App(cloud, [OpenAIDialect(cloud)], Metrics())
        headers = {"authorization": f"Bearer {key.text}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://yunmo", headers=headers, timeout=60) as client:
            yield SimpleNamespace(
                app=app,
                client=client,
                authorization=headers["authorization"].encode(),
                begin=lambda request: cloud.inference.begin(admin, "talk", request),
                usage=lambda: cloud.tenancy.ledger.query(group_by=("model",)),
                pid=lambda: cloud.deployments.view(admin, "talk").replicas[0].pid,
                outstanding=lambda: sum(replica.outstanding for replica in cloud.deployments.view(admin, "talk").replicas),
            )


async def _leave_after_first_word(world, body):
    left = asyncio.Event()
    requests = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive():
        if requests:
            return requests.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if b"word" in message.get("body", b"") and not left.is_set():  # what was on its way may still come after the leaving
            assert world.outstanding() == 1
            left.set()

    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.3"},
        "method": "POST",
        "path": CHAT,
        "raw_path": CHAT.encode(),
        "query_string": b"",
    }
    await asyncio.wait_for(world.app({**scope, "headers": [(b"authorization", world.authorization)]}, receive, send), 30)
    assert left.is_set()
