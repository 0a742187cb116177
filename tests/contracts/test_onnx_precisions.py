"""Eight bits and OpenVINO: every family stays near fp32, the choice of forms is the same every time and is written down."""

import importlib.util
import threading

import numpy as np
import onnx_models
import pytest

from yunmo.core.engine import Plan
from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.core.tasks import Embed
from yunmo.engines.onnx.derive import loadable
from yunmo.engines.onnx.exported import read_exported
from yunmo.engines.onnx.graphs import read_graph, write_graph
from yunmo.engines.onnx.kind import kind
from yunmo.engines.onnx.network import OnnxNetwork
from yunmo.engines.onnx.products import Choice, find_sites, switch, with_forms, with_switches
from yunmo.engines.onnx.quantize import quantize

TEXTS = ("the quick brown fox", "paris is the capital of france and berlin is the capital of germany, i am fine. " * 2, "x")
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "modernbert", "albert")


def quiet(step, share):
    pass


def vectors(engine, texts=TEXTS):
    return [np.frombuffer(engine.run(0, [Embed(inputs=(text,))])[0][0].vectors[0].data, "<f4") for text in texts]


def cosine(one, other):
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize("family", FAMILIES)
def test_eight_bits_keep_the_direction_of_vectors(family, form, tmp_path):
    directory = onnx_models.build(tmp_path / "model", family, "embed")
    full = onnx_models.load(directory, tmp_path / "full", "embed")
    small = onnx_models.load(directory, tmp_path / "small", "embed", "int8", form)
    assert min(cosine(*pair) for pair in zip(vectors(full), vectors(small), strict=True)) > 0.998
    facts = small._encoder.facts
    assert 0 < facts.int8_drift < 0.06
    assert set(facts.int8_forms.values()) & {"tensor", "row", "weights"}


@pytest.mark.parametrize("head", ["classify", "classify-tokens", "answer", "fill-mask", "embed"])
def test_openvino_computes_what_onnx_runtime_does(head, tmp_path):
    directory = onnx_models.build(tmp_path / "model", "bert", head)
    onnx_models.exported(directory, tmp_path / "derived", head)
    encoders = [
        kind.load(directory, tmp_path / "derived", Plan(engine="onnx", format=form, streams=2, options={"head": head}), quiet)._encoder
        for form in ("onnx", "openvino")
    ]
    assert set(encoders[0].network.outputs) <= set(encoders[1].network.outputs)
    for text in TEXTS:
        encoding = encoders[0].tokens.truncate(text)
        for output in encoders[0].network.outputs:
            one, other = (each.network.forward(encoding.ids, each.types(encoding), output)[0] for each in encoders)
            np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


def test_more_threads_than_streams_take_turns(tmp_path):
    directory = onnx_models.build(tmp_path / "model", "bert", "embed")
    onnx_models.exported(directory, tmp_path / "derived", "embed")
    engine = kind.load(directory, tmp_path / "derived", Plan(engine="onnx", format="openvino", streams=2, options={"head": "embed"}), quiet)
    texts = [f"{TEXTS[1][:size]} fox" for size in range(10, 90)]
    alone, found = vectors(engine, texts), [None] * 5

    def work(thread):
        found[thread] = vectors(engine, texts)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for each in found:
        np.testing.assert_allclose(each, alone, atol=1e-6)


def test_the_same_model_gets_the_same_forms_which_are_written_down(tmp_path):
    directory = onnx_models.build(tmp_path / "model", "bert", "classify")
    onnx_models.exported(directory, tmp_path / "derived", "classify", "int8")
    first = tmp_path / "derived" / "classify-int8-onnx-s8"
    (tmp_path / "again").mkdir()
    quantize(tmp_path / "derived" / "classify-fp32", tmp_path / "again", "onnx")
    assert (first / "model.int8.onnx").read_bytes() == (tmp_path / "again" / "model.int8.onnx").read_bytes()
    facts = read_exported(first)
    assert facts == read_exported(tmp_path / "again")
    assert set(facts.int8_forms) == {site.name for site in find_sites(read_graph(tmp_path / "derived" / "classify-fp32" / "model.onnx"))}


def test_unsigned_weights_compute_the_same_numbers(tmp_path):
    directory = onnx_models.build(tmp_path / "model", "bert", "embed")
    graph = onnx_models.exported(directory, tmp_path / "derived", "embed") / "embed-fp32" / "model.onnx"
    found = []
    for unsigned in (False, True):
        model = read_graph(graph)
        choices = {site.name: Choice("row" if place % 2 else "tensor") for place, site in enumerate(find_sites(model))}
        write_graph(with_forms(model, choices, unsigned=unsigned), tmp_path / f"{unsigned}.onnx")
        found.append(OnnxNetwork(tmp_path / f"{unsigned}.onnx", 1).forward([5, 6, 7, 8], None, "last_hidden_state")[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_a_switched_form_is_that_form_alone(tmp_path):
    directory = onnx_models.build(tmp_path / "model", "bert", "embed")
    graph = onnx_models.exported(directory, tmp_path / "derived", "embed") / "embed-fp32" / "model.onnx"
    sites = find_sites(read_graph(graph))
    both = {site.name: [Choice("tensor"), Choice("row")] for site in sites}
    write_graph(with_switches(read_graph(graph), both), tmp_path / "switched.onnx")
    write_graph(with_forms(read_graph(graph), {sites[1].name: Choice("row")}), tmp_path / "one.onnx")
    ids, output = [5, 6, 7, 8], "last_hidden_state"
    switched, full = OnnxNetwork(tmp_path / "switched.onnx", 1), OnnxNetwork(graph, 1).forward(ids, None, output)[0]
    one = OnnxNetwork(tmp_path / "one.onnx", 1).forward(ids, None, output)[0]
    np.testing.assert_allclose(switched.forward(ids, None, output, switches={})[0], full, atol=1e-5)
    np.testing.assert_allclose(switched.forward(ids, None, output, switches={switch(sites[1], "row"): 1.0})[0], one, atol=1e-5)
    assert abs(one - full).max() > 1e-4


def test_all_plans_share_one_export(tmp_path, tiny_model):
    derived, told = tmp_path / "derived", []
    for form in ("onnx", "openvino"):
        plan = Plan(engine="onnx", format=form, precision="int8", options={"head": "embed"})
        kind.load(tiny_model("embed"), derived, plan, lambda step, share: told.append((step, share)))
    assert [step for step, _ in told].count("exporting to ONNX") == 1
    assert sorted(each.name for each in derived.iterdir()) == ["embed-fp32", "embed-int8-onnx-s8", "embed-int8-openvino-s8"]
    ends = [place for place, (step, share) in enumerate(told) if share == 1.0]
    first = [share for _, share in told[: ends[0] + 1]]
    assert first == sorted(first)


def test_a_runtime_that_is_not_installed_is_named(tiny_model, tmp_path, monkeypatch):
    true = importlib.util.find_spec
    onnx_models.exported(tiny_model("embed"), tmp_path / "derived", "embed")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else true(name))
    with pytest.raises(Unavailable, match=r"yunmo\[openvino\]"):
        kind.load(tiny_model("embed"), tmp_path / "derived", Plan(engine="onnx", format="openvino", options={"head": "embed"}), quiet)


@pytest.mark.parametrize(("more", "named"), [({"format": "gguf"}, "onnx, openvino, torch"), ({"precision": "bf16"}, "fp32, int8")])
def test_a_plan_that_no_runtime_has_is_refused(more, named):
    with pytest.raises(InvalidRequest, match=named):
        kind.check(Plan(engine="onnx", options={"head": "embed"}, **more))


def test_a_graph_that_cannot_be_packed_is_loaded_as_it_is(tmp_path):
    graph = tmp_path / "model.onnx"
    graph.write_bytes(bytes(17 << 20))
    assert loadable(tmp_path, Plan(engine="onnx", format="onnx"), lambda *_: None) == graph
    assert {each.name for each in tmp_path.iterdir()} == {"model.onnx", ".lock"}
    assert loadable(tmp_path, Plan(engine="onnx", format="openvino"), lambda *_: None) == graph
