"""How Hugging Face's dialect reads bodies: hostile bytes end in an error of ours, and nothing is lost on the way."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.errors import InvalidRequest, Unsupported, YunmoError
from yunmo.core.tasks import AnyRequest
from yunmo.web.dialects.hf.bodies import GenerationParameters, Grammar, TextGenerationParameters
from yunmo.web.dialects.hf.decode import is_json, media
from yunmo.web.dialects.hf.forms import FORMS
from yunmo.web.dialects.hf.sampling import generation, output_format, sampling_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["question", "context", "text", "x"]), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted(FORMS)), JSON, st.dictionaries(st.sampled_from(["top_k", "threshold", "seed", "stop", "x"]), JSON, max_size=3)
)
def test_any_json_is_a_request_that_the_wire_can_carry_or_an_error_of_ours(tag, inputs, parameters):
    body = msgspec.json.encode({"inputs": inputs, "parameters": parameters})
    try:
        request = FORMS[tag].read(body).request
    except InvalidRequest:
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=AnyRequest) == request


@given(st.sampled_from(sorted(FORMS)), st.binary(max_size=64))
def test_any_bytes_are_a_request_or_an_error_of_ours(tag, body):
    try:
        request = FORMS[tag].read(body).request
    except YunmoError:
        return
    assert FORMS[tag].takes_media
    assert body in msgspec.structs.astuple(request)


@given(st.binary(min_size=1, max_size=64), st.sampled_from(["", "data:image/png;base64,"]))
def test_base64_gives_the_file_back(data, prefix):
    assert media(prefix + base64.b64encode(data).decode()) == data


@pytest.mark.parametrize("text", ["", "a", "=", "YQ", "Y Q==", "🙂", "data:,"])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(InvalidRequest, match="inputs"):
        media(text)


@pytest.mark.parametrize(("body", "expected"), [(b" \n{}", True), (b"", False), (b"\x89PNG{", False), (b"[1]", False)])
def test_json_is_told_from_media_by_its_brace(body, expected):
    assert is_json(body) is expected


@pytest.mark.parametrize(
    ("given_parameters", "temperature"),
    [({}, None), ({"do_sample": False, "temperature": 0.7}, 0.0), ({"do_sample": True}, 1.0), ({"temperature": 0.7}, 0.7)],
)
def test_greedy_decoding_is_temperature_zero(given_parameters, temperature):
    assert sampling_of(GenerationParameters(**given_parameters)).temperature == temperature
    assert generation(TextGenerationParameters(**given_parameters)).temperature == temperature


def test_a_schema_may_be_text_or_an_object():
    assert output_format(Grammar("json", '{"type": "object"}')) == output_format(Grammar("json", {"type": "object"}))
    assert output_format(None) is None


def test_a_generation_parameter_without_a_twin_is_refused_by_name():
    with pytest.raises(Unsupported) as refusal:
        sampling_of(GenerationParameters(penalty_alpha=0.5))
    assert refusal.value.param == "penalty_alpha"
