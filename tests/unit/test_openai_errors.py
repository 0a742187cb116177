"""Each of our errors in this vendor's words."""

import inspect
import json
from types import SimpleNamespace

import pytest

from yunmo.core.errors import InvalidRequest, RateLimited, Unavailable, YunmoError, every_error
from yunmo.web.dialects.openai.errors import SHAPES, error_event, error_reply, shape_of
from yunmo.web.dialects.openai.headers import duration_text, rate_headers
from yunmo.web.request import ClientGone

REQUEST = SimpleNamespace(id="r-1")
STATUS_OF_SDK_CLASSES = {400, 401, 403, 404, 409, 422, 429}


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_its_own_reply(kind):
    assert kind.code in SHAPES
    error = _made(kind)
    reply = error_reply(error, REQUEST)
    body = json.loads(reply.body)
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"] == "It broke."
    assert isinstance(body["error"]["type"], str)
    assert reply.status_code in STATUS_OF_SDK_CLASSES | {413, 499} or reply.status_code >= 500
    assert reply.headers["x-request-id"] == "r-1"
    assert reply.headers["x-should-retry"] in {"true", "false"}
    assert ("retry-after" in reply.headers) == (reply.headers["x-should-retry"] == "true")


def test_the_walk_has_seen_the_errors_of_the_web_too():
    assert ClientGone in every_error()


def test_an_error_that_the_table_does_not_know_looks_like_its_parent():
    class TooManyTools(InvalidRequest):
        code = "too_many_tools"

    assert shape_of(TooManyTools("Fewer.")) == SHAPES["invalid_request"]
    assert shape_of(YunmoError("?")) == SHAPES["internal_error"]
    TooManyTools.code = InvalidRequest.code  # leaves no unknown code to the walk above


@pytest.mark.parametrize(
    ("seconds", "whole", "milliseconds"), [(None, "1", "1000"), (0.02, "1", "20"), (1.2, "2", "1200"), (61.0, "61", "61000")]
)
def test_a_rate_limit_says_when_to_come_back_in_whole_seconds_and_in_milliseconds(seconds, whole, milliseconds):
    reply = error_reply(RateLimited("Slow down.", retry_after_seconds=seconds), REQUEST)
    assert reply.status_code == 429
    assert reply.headers["x-should-retry"] == "true"
    assert reply.headers["retry-after"] == whole
    assert reply.headers["retry-after-ms"] == milliseconds
    assert reply.headers["ratelimit"] == f'"api";r=0;t={whole}'


def test_a_model_that_will_be_there_soon_is_worth_a_retry_and_a_failed_one_is_not():
    soon = error_reply(Unavailable("Loading.", retry_after_seconds=5), REQUEST)
    assert (soon.headers["x-should-retry"], soon.headers["retry-after"]) == ("true", "5")
    never = error_reply(Unavailable("It does not fit."), REQUEST)
    assert never.headers["x-should-retry"] == "false"
    assert "retry-after" not in never.headers


def test_an_error_in_a_stream_is_an_event_with_the_same_body():
    data = error_event(InvalidRequest("No.", param="n"))
    assert data == b'data: {"error":{"message":"No.","type":"invalid_request_error","param":"n","code":null}}\n\n'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (0.9994, "999ms"), (1, "1s"), (8.64, "8.64s"), (59.9, "59.9s"), (360, "6m0s"), (3723, "1h2m3s")],
)
def test_durations_are_short_texts(seconds, text):
    assert duration_text(seconds) == text


def test_a_limit_that_the_caller_does_not_have_gives_no_header():
    rates = SimpleNamespace(
        limit_requests=10,
        remaining_requests=0,
        reset_requests_seconds=6.0,
        limit_tokens=None,
        remaining_tokens=None,
        reset_tokens_seconds=None,
    )
    assert rate_headers(rates) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "6s",
    }


def _made(kind):
    """An error of this class; what it asks for beside its message is some text."""
    needed = [each for each in list(inspect.signature(kind).parameters.values())[1:] if each.default is each.empty]
    return kind("It broke.", **{each.name: "text" for each in needed})
