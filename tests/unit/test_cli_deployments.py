"""What `yunmo ps` says of deployments."""

import pytest

from yunmo.cli.deployments import _engines, _whole

STAND_IN = {"engine": "llama_cpp", "replicas": [{"pid": 1}], "memory_bytes": 2}


@pytest.mark.parametrize(
    ("stand_in", "engines", "memory_bytes"),
    [
        ({"stand_in": STAND_IN}, "openvino_genai + llama_cpp", 3),
        ({"stand_in": STAND_IN | {"replicas": []}}, "openvino_genai", 1),
        ({"stand_in": None}, "openvino_genai", 1),
        ({}, "openvino_genai", 1),
    ],
)
def test_a_stand_in_is_shown_while_it_is_loaded(stand_in, engines, memory_bytes):
    row = {"engine": "openvino_genai", "replicas": [{"pid": 2}], "memory_bytes": 1, **stand_in}
    assert _engines(row) == engines
    assert sum(each["memory_bytes"] for each in _whole(row)) == memory_bytes
    assert _engines({"engine": None}) == ""
