"""Requests and the exact replies to them, event for event; ids and times are the only things left out."""

import base64
import json
import re
from pathlib import Path

import httpx
import pytest
from openai_double import KEY, World

GOLDEN = Path(__file__).parent / "openai_golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.json"))


@pytest.mark.parametrize("case", CASES)
async def test_the_reply_is_the_golden_one(case):
    golden = json.loads((GOLDEN / f"{case}.json").read_text())
    reply = await ask(golden["request"])
    assert reply.status_code == golden["status"]
    assert written(reply) == golden["reply"]


def test_there_are_golden_replies_for_every_route():
    asked = {json.loads((GOLDEN / f"{case}.json").read_text())["request"]["path"] for case in CASES}
    assert {
        "/v1/models",
        "/v1/models/acme/echo",
        "/v1/chat/completions",
        "/models/acme/echo/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/moderations",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
    } <= asked


async def ask(request):
    async with World().client(request.get("key", KEY)) as client:
        if request["method"] == "GET":
            return await client.get(request["path"])
        if "form" in request:
            files = {"file": ("speech.wav", base64.b64decode(request["file"]))}
            return await client.post(request["path"], data=request["form"], files=files)
        return await client.post(request["path"], json=request["body"])


def written(reply: httpx.Response):
    """JSON as it is; events and other texts as lines."""
    text = (
        re.sub(r"\b(chatcmpl|cmpl|modr)-[0-9a-f]{24}", r"\1-ID", reply.text)
        if _is_text(reply)
        else base64.b64encode(reply.content).decode()
    )
    text = re.sub(r'"created":\d+', '"created":0', text)
    return json.loads(text) if reply.headers["content-type"] == "application/json" else text.split("\n")


def _is_text(reply: httpx.Response) -> bool:
    return reply.headers["content-type"].startswith(("text/", "application/json"))
