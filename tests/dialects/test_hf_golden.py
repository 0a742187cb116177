"""Golden requests and replies of every Hugging Face task: what the client sends, what we make of it, what goes back."""

import base64
import json
from pathlib import Path

import httpx
import msgspec
import pytest
from hf_cloud import ALL_TASKS, KEY, make_cloud

from yunmo.core.tasks import TASKS, AnyOutput
from yunmo.web.app import App
from yunmo.web.dialects.hf.dialect import HuggingFaceDialect
from yunmo.web.dialects.hf.forms import FORMS
from yunmo.web.metrics import Metrics

GOLDEN = sorted((Path(__file__).parent / "golden" / "hf").glob("*.json"))
LAYOUTS = ("/models/acme/m", "/hf-inference/models/acme/m", "/models/acme/m@v1.0")


def _body(case):
    raw = case["body"].get("raw")
    return base64.b64decode(raw) if raw else json.dumps(case["body"]).encode()


@pytest.fixture
def cloud():
    cloud = make_cloud()
    cloud.inference.serve("acme/m", *ALL_TASKS)
    return cloud


@pytest.fixture
async def client(cloud):
    app = App(cloud, [HuggingFaceDialect(cloud)], Metrics())
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://yunmo", headers=headers) as client:
        yield client


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_a_golden_request_gets_its_golden_reply(path, cloud, client):
    case = json.loads(path.read_text())
    output = msgspec.convert(case["output"], AnyOutput)
    for layout in LAYOUTS:
        cloud.inference.asked.clear()
        cloud.inference.answers = {TASKS[FORMS[case["tag"]].task].request.__name__: [output]}
        reply = await client.post(f"{layout}/pipeline/{case['tag']}", content=_body(case))
        assert reply.status_code == 200, reply.text
        [(model, request)] = cloud.inference.asked
        assert model == layout.partition("models/")[2]
        assert json.loads(msgspec.json.encode(request)) == case["request"]
        if "raw" in case["reply"]:
            assert (reply.headers["content-type"], reply.content) == ("audio/wav", base64.b64decode(case["reply"]["raw"]))
        else:
            assert reply.headers["content-type"] == "application/json"
            assert reply.json() == case["reply"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_a_model_url_without_a_task_runs_the_task_of_the_models_tag(path, cloud, client):
    case = json.loads(path.read_text())
    task = FORMS[case["tag"]].task
    cloud.inference.serve("acme/m", *(name for name in ALL_TASKS if name != task), task, tag=case["tag"])
    cloud.inference.answers = {TASKS[task].request.__name__: [msgspec.convert(case["output"], AnyOutput)]}
    reply = await client.post("/models/acme/m", content=_body(case))
    assert reply.status_code == 200, reply.text
    assert cloud.inference.asked[0][1].__class__ is TASKS[task].request


def test_every_task_has_a_golden_file():
    assert {json.loads(path.read_text())["tag"] for path in GOLDEN} == set(FORMS)


def test_every_task_but_chat_has_a_form():
    assert {form.task for form in FORMS.values()} == set(TASKS) - {"chat"}
