"""Many texts as one sequence: each family and head answers what the transformers library does, whatever else is in the pack."""

import numpy as np
import onnx_models
import pytest
import torch

from yunmo.core.engine import Plan
from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.core.tasks import Classify, ClassifyTokens, Embed
from yunmo.engines.onnx import packed
from yunmo.engines.onnx.export import load_reference
from yunmo.engines.onnx.exported import output_names
from yunmo.engines.onnx.families import _PACKED
from yunmo.engines.onnx.kind import kind

HEADS = ("classify", "classify-tokens", "answer", "embed")
TEXTS = ("the quick brown fox", "paris is the capital of france and berlin is the capital of germany, i am fine. " * 2, "x", "hello world")


def quiet(step, share):
    pass


def loaded(directory, derived, head, **more):
    onnx_models.exported(directory, derived, head)
    plan = Plan(**({"engine": "onnx", "format": "torch", "precision": "bf16", "batch_items": 16, "options": {"head": head}} | more))
    return kind.load(directory, derived, plan, quiet)


def relative(expected, found):
    expected, found = (np.concatenate([each.ravel() for each in rows]) for rows in (expected, found))
    return np.linalg.norm(expected - found) / np.linalg.norm(expected)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", sorted(_PACKED))
def test_every_family_and_head_computes_what_the_reference_does(family, head, tmp_path):
    directory = onnx_models.build(tmp_path / "model", family, head)
    encoder = loaded(directory, tmp_path / "derived", head)._encoder
    model, names, expected = load_reference(directory, head), output_names(head), []
    encodings = [encoder.tokens.truncate(text) for text in TEXTS]
    for encoding in encodings:
        types = {"token_type_ids": torch.tensor([encoding.type_ids])} if encoder.facts.tokenizer.has_token_types else {}
        with torch.no_grad():
            reference = model(input_ids=torch.tensor([encoding.ids]), **types)
        expected += [reference[name][0].numpy() for name in names]
    found = [rows for each in encoder.network.forward_all([encoder.passage(each) for each in encodings], *names) for rows in each]
    assert [each.shape for each in found] == [each.shape for each in expected]
    # large random weights lose 1 to 3 % to bfloat16, a trained MiniLM 0.5 %; a wrong position or a text that sees another far more
    assert 0 < relative(expected, found) < 0.08


def test_a_text_is_answered_alike_in_every_company(tmp_path):
    engine = loaded(onnx_models.build(tmp_path / "model", "bert", "classify"), tmp_path / "derived", "classify")
    requests = [Classify(texts=(text,), function="none") for text in (*TEXTS, ("paris", "berlin"))]

    def scores(results):
        return [[label.score for label in sorted(output.rows[0], key=lambda label: label.label)] for output, _ in results]

    alone = scores([engine.run(0, [request])[0] for request in requests])
    np.testing.assert_allclose(scores(engine.run(0, requests)), alone, atol=0.1)
    np.testing.assert_allclose(scores(engine.run(0, requests[::-1]))[::-1], alone, atol=0.1)


def test_one_bad_item_fails_alone_in_its_pack(tmp_path):
    engine = loaded(onnx_models.build(tmp_path / "model", "bert", "classify-tokens"), tmp_path / "derived", "classify-tokens")
    bad = ClassifyTokens(texts=("",))
    long = ClassifyTokens(texts=(TEXTS[1] * 8,), stride=4)
    first, second, third = engine.run(0, [long, bad, ClassifyTokens(texts=("hello",), aggregation="none", ignore_labels=())])
    assert isinstance(second, InvalidRequest)
    assert first[1].input_tokens > 128
    assert [entity.word for entity in third[0].rows[0]]


def test_a_pack_has_at_most_so_many_tokens(tmp_path, monkeypatch):
    engine = loaded(onnx_models.build(tmp_path / "model", "bert", "embed"), tmp_path / "derived", "embed")
    requests, sizes = [Embed(inputs=((5,) * 40,))] * 8, []
    whole, states = engine.run(0, requests), packed.PackedNetwork._states
    monkeypatch.setattr(packed, "_MOST_TOKENS", 100)
    monkeypatch.setattr(
        packed.PackedNetwork, "_states", lambda self, pack: sizes.append(sum(len(each.ids) for each in pack)) or states(self, pack)
    )
    parts = engine.run(0, requests)
    assert sizes == [80, 80, 80, 80]
    for one, other in zip(whole, parts, strict=True):
        vectors = [np.frombuffer(each[0].vectors[0].data, "<f4") for each in (one, other)]
        np.testing.assert_allclose(*vectors, atol=0.1)


def test_packing_that_mixes_texts_is_not_served(tmp_path, monkeypatch):
    directory = onnx_models.build(tmp_path / "model", "bert", "embed")

    def mixing(_module, query, key, value, _mask, **more):
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=more["scaling"]).transpose(1, 2).contiguous(), None

    monkeypatch.setattr(packed, "_attend", mixing)
    with pytest.raises(EngineFailed, match=r"off those of each alone, and 0.1% is allowed"):
        loaded(directory, tmp_path / "derived", "embed")


def test_a_family_with_attention_of_its_own_is_refused(tmp_path):
    directory = onnx_models.build(tmp_path / "model", "modernbert", "embed")
    with pytest.raises(InvalidRequest, match="does not pack texts of modernbert"):
        loaded(directory, tmp_path / "derived", "embed")


def test_a_repository_without_weights_is_refused(tmp_path):
    directory = onnx_models.build(tmp_path / "model", "bert", "embed")
    onnx_models.exported(directory, tmp_path / "derived", "embed")
    (directory / "model.safetensors").unlink()
    plan = Plan(engine="onnx", format="torch", precision="bf16", options={"head": "embed"})
    with pytest.raises(InvalidRequest, match="needs the model's safetensors"):
        kind.load(directory, tmp_path / "derived", plan, quiet)


@pytest.mark.parametrize(
    ("head", "precision", "named"), [("embed", "", "needs the precision bf16"), ("fill-mask", "bf16", "masked tokens")]
)
def test_a_plan_that_cannot_be_packed_is_refused(head, precision, named):
    with pytest.raises(InvalidRequest, match=named):
        kind.check(Plan(engine="onnx", format="torch", precision=precision, options={"head": head}))
