"""A slow answer over real HTTP, to DeepL's own client: it waits longer than its patience, and takes no failure for a translation."""

import asyncio

import deepl
import pytest

from yunmo.core.errors import Overloaded, YunmoError
from yunmo.web.dialects.deepl import waiting
from yunmo.web.dialects.deepl.errors import error_reply
from yunmo.web.dialects.deepl.waiting import Flights, held
from yunmo.web.dialects.deepl.wire import TranslateReply, Translation
from yunmo.web.request import Request
from yunmo.web.server import serve

PATIENCE_SECONDS = 0.6


class App:
    """Answers every translation after a while, or fails it."""

    def __init__(self):
        self.asked = 0
        self.trouble = None
        self.seconds = 3 * PATIENCE_SECONDS
        self._flights = Flights()

    async def __call__(self, scope, receive, send):
        request = Request(scope, receive)
        request.id = "trace"
        await request.bytes()
        try:
            reply = await held(self._flights.join("all", self._work))
        except YunmoError as error:
            reply = error_reply(error, request)
        await reply(scope, receive, send)

    async def _work(self):
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.trouble is not None:
            raise self.trouble
        return TranslateReply([Translation(detected_source_language="EN", text="hallo", billed_characters=5)])


@pytest.fixture
async def served(monkeypatch):
    monkeypatch.setattr(waiting, "QUIET_SECONDS", PATIENCE_SECONDS / 4)
    monkeypatch.setattr("deepl.http_client.min_connection_timeout", PATIENCE_SECONDS)
    monkeypatch.setattr("deepl.http_client.max_network_retries", 1)
    monkeypatch.setattr("deepl.http_client._BackoffTimer.BACKOFF_INITIAL", 0.05)
    app, stop = App(), asyncio.Event()
    port = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app, "127.0.0.1", 0, ready=port.set_result, stop=stop))
    client = deepl.DeepLClient("key", server_url=f"http://127.0.0.1:{await port}")
    yield app, client
    client.close()
    stop.set()
    await serving


async def translate(client):
    return await asyncio.to_thread(client.translate_text, "hello", source_lang="EN", target_lang="DE")


async def test_an_answer_may_take_longer_than_the_clients_patience(served):
    app, client = served
    assert (await translate(client)).text == "hallo"
    assert app.asked == 1


async def test_a_client_whose_patience_is_over_would_have_asked_again(served, monkeypatch):
    _, client = served
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 60)
    with pytest.raises(deepl.ConnectionException):
        await translate(client)


async def test_a_late_failure_is_an_error_for_the_client(served):
    app, client = served
    app.trouble = Overloaded("full")
    with pytest.raises(deepl.DeepLException):
        await translate(client)
    app.seconds = 0
    with pytest.raises(deepl.DeepLException, match="Service unavailable, message: full"):
        await translate(client)
