"""The onnx engine against the engines' contract, one tiny model per head; and its exports, from the child process on."""

import json
import shutil
import sys
import threading

import numpy as np
import onnx_models
import pytest
from engine_contract import EngineCase, EngineContract

from yunmo.core.engine import Plan
from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unsupported, YunmoError
from yunmo.core.tasks import Answer, Classify, ClassifyTokens, ClassifyZeroShot, Embed, FillMask
from yunmo.engines.onnx.exported import read_exported
from yunmo.engines.onnx.kind import kind

RUNS = (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8"), ("torch", "bf16"))
HUGE = "the quick brown fox " * 60_000
BROKEN = "half \ud800 of a pair"
VALID = {
    "classify": (
        Classify(texts=("hello world", "paris")),
        Classify(texts=(("paris", "berlin"),), top_k=1),
        Classify(texts=("nul \0 inside",)),
    ),
    "classify-zero-shot": (ClassifyZeroShot(texts=("paris is red",), labels=("politics", "sports")),),
    "classify-tokens": (
        ClassifyTokens(texts=("paris is the capital of france",)),
        ClassifyTokens(texts=("hello world " * 50,), stride=4),
        ClassifyTokens(texts=("hello",), aggregation="none"),
    ),
    "answer": (Answer(question="who am i", context="i am fine. thank you " * 30, top_k=3),),
    "fill-mask": (FillMask(texts=("[MASK] world",)), FillMask(texts=("hello [MASK]",), targets=("red", "car"))),
    "embed": (Embed(inputs=("hello world", "paris")), Embed(inputs=((5, 6, 7),), pooled=False), Embed(inputs=("  ",))),
}
BAD = {
    "classify": (*(Classify(texts=(text,)) for text in ("", HUGE, BROKEN, ("paris", BROKEN), ("", ""))), Classify(texts=("a",), top_k=0)),
    "classify-zero-shot": (
        ClassifyZeroShot(texts=("paris",), labels=()),
        ClassifyZeroShot(texts=("paris",), labels=("red", "")),
        ClassifyZeroShot(texts=("paris",), labels=("red",) * 1000),
        ClassifyZeroShot(texts=("paris",), labels=("red",), hypothesis_template="no hole"),
        ClassifyZeroShot(texts=("paris",), labels=("red " * 200,)),
        ClassifyZeroShot(texts=("",), labels=("red",)),
        ClassifyZeroShot(texts=(BROKEN,), labels=("red",)),
    ),
    "classify-tokens": (
        *(ClassifyTokens(texts=(text,)) for text in ("", HUGE, BROKEN)),
        ClassifyTokens(texts=("paris",), stride=4, aggregation="none"),
        ClassifyTokens(texts=("paris",), stride=64),
        ClassifyTokens(texts=("paris",), stride=63),
        ClassifyTokens(texts=("paris",), stride=-1),
    ),
    "answer": (
        Answer(question="", context="paris"),
        Answer(question="who", context=" "),
        Answer(question="who " * 100, context="paris"),
        Answer(question="who", context="the quick brown fox " * 10_000),
        Answer(question="who", context=HUGE),
        Answer(question="who", context=BROKEN),
        Answer(question="who", context="paris", top_k=0),
        Answer(question="who", context="paris", max_answer_tokens=0),
        Answer(question="who", context="paris", max_window_tokens=3),
        Answer(question="who", context="paris", stride_tokens=-1),
        Answer(question="who", context="paris", stride_tokens=64),
    ),
    "fill-mask": (
        *(FillMask(texts=(text,)) for text in ("", "no mask", "[MASK] [MASK]", HUGE, BROKEN, "[MASK] " + "red " * 100)),
        FillMask(texts=("[MASK]",), targets=()),
        FillMask(texts=("[MASK]",), targets=("",)),
        FillMask(texts=("[MASK]",), targets=(BROKEN,)),
        FillMask(texts=("[MASK]",), top_k=0),
    ),
    "embed": (
        *(Embed(inputs=(given,)) for given in ("", (), (-1,), (10**9,), HUGE, BROKEN)),
        Embed(inputs=("paris",), dimensions=0),
        Embed(inputs=("paris",), dimensions=17),
        Embed(inputs=("paris " * 100,), truncate=False),
        Embed(inputs=((7,) * 100,), truncate=False),
    ),
}
MODELS = {
    "classify": ("classify",),
    "entailment": ("classify", "classify-zero-shot"),
    "classify-tokens": ("classify-tokens",),
    "answer": ("answer",),
    "fill-mask": ("fill-mask",),
    "embed": ("embed",),
    "sentence-embedder": ("embed",),
}


class TestOnnx(EngineContract):
    @pytest.fixture(scope="class", params=[(name, *runs) for name in MODELS for runs in RUNS], ids="-".join)
    def case(self, request, tmp_path_factory, tiny_model):
        name, form, precision = request.param
        tasks = MODELS[name]
        if (form, name) == ("torch", "fill-mask"):
            pytest.skip("masked tokens are not guessed for many texts at a time")
        requests = {task: VALID[task][0] for task in tasks}
        return EngineCase(
            kind=kind,
            directory=tiny_model(name),
            plan=Plan(engine="onnx", format=form, precision=precision, streams=2, slots=4, options={"head": tasks[0]}),
            requests=requests,
            others=tuple(request for task in tasks for request in VALID[task][1:]),
            bad=tuple(request for task in tasks for request in BAD[task]),
        )

    @pytest.fixture(scope="class")
    def engine(self, case, tmp_path_factory):
        derived = tmp_path_factory.mktemp("derived")
        onnx_models.exported(case.directory, derived, case.plan.options["head"], case.plan.precision, case.plan.format)
        return kind.load(case.directory, derived, case.plan, lambda what, share: None)

    async def test_every_bad_request_is_the_callers_fault(self, case, engine):
        for bad in case.bad:
            (refused,) = engine.run(0, [bad])
            assert isinstance(refused, InvalidRequest), bad
            assert refused.message.endswith("."), bad


def test_the_export_runs_elsewhere_once_and_is_kept(tiny_model, tmp_path):
    directory, derived = tiny_model("sentence-embedder"), tmp_path / "derived"
    plan, told = Plan(engine="onnx", options={"head": "embed"}), []
    engine = kind.load(directory, derived, plan, lambda what, share: told.append((what, share)))
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert told[-1] == ("loading", 1.0)
    assert "exporting to ONNX" in [what for what, _ in told]
    facts = read_exported(derived / "embed-fp32")
    assert facts.is_verified
    assert facts.relative_error < 1e-5
    first = engine.run(0, [Embed(inputs=("hello world",))])
    graph, told = (derived / "embed-fp32" / "model.onnx").stat().st_ino, []
    again = kind.load(directory, derived, plan, lambda what, share: told.append(what))
    assert again.run(0, [Embed(inputs=("hello world",))]) == first
    assert (derived / "embed-fp32" / "model.onnx").stat().st_ino == graph
    assert set(told) == {"loading"}
    assert [each.name for each in derived.iterdir()] == ["embed-fp32"]


def test_serving_imports_neither_torch_nor_transformers(tiny_model, tmp_path):
    derived = onnx_models.exported(tiny_model("embed"), tmp_path / "derived", "embed")
    program = f"""
import sys, pathlib
from yunmo.core.engine import Plan
from yunmo.core.tasks import Embed
from yunmo.engines.onnx.kind import kind
assert "numpy" not in sys.modules
engine = kind.load(pathlib.Path({str(tiny_model("embed"))!r}), pathlib.Path({str(derived)!r}), Plan(engine="onnx", options={{"head": "embed"}}), print)
engine.run(0, [Embed(inputs=("hello",))])
assert not {{"torch", "transformers", "onnx"}} & set(sys.modules)
"""
    import subprocess

    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_weights_that_do_not_fit_are_refused_with_their_names(tiny_model, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(tiny_model("embed"), directory)
    with pytest.raises(InvalidRequest, match="classifier"):
        onnx_models.load(directory, tmp_path / "derived", "classify")


def test_a_failed_export_leaves_nothing_and_says_why(tiny_model, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(tiny_model("embed"), directory)
    derived = tmp_path / "derived"
    with pytest.raises(InvalidRequest, match=r"cannot be exported.*classifier"):
        kind.load(directory, derived, Plan(engine="onnx", options={"head": "classify"}), lambda what, share: None)
    assert list(derived.iterdir()) == []


@pytest.mark.parametrize(("form", "precision"), RUNS)
def test_a_token_that_only_the_tokenizer_knows_is_refused_by_name(form, precision, tmp_path):
    from transformers import AutoTokenizer

    directory = onnx_models.build(tmp_path / "model", "bert", "classify")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens(["zyzzyva"])
    tokenizer.save_pretrained(directory)
    engine = onnx_models.load(directory, tmp_path / "derived", "classify", precision, form)
    known, strange = engine.run(0, [Classify(texts=("the quick brown fox",)), Classify(texts=("a zyzzyva",))])
    assert known[0].rows[0]
    assert isinstance(strange, InvalidRequest)
    assert "'zyzzyva'" in strange.message


def test_a_graph_that_drifts_is_refused(tiny_model, tmp_path, monkeypatch):
    from yunmo.engines.onnx import export

    true = export._outputs
    monkeypatch.setattr(export, "_outputs", lambda *given: [rows * np.float32(1.01) for rows in true(*given)])
    with pytest.raises(EngineFailed, match=r"differs from the model by 1\.00%"):
        onnx_models.load(tiny_model("embed"), tmp_path / "derived", "embed")


def test_a_ready_graph_is_used_where_there_are_no_weights(tiny_model, tmp_path):
    derived = onnx_models.exported(tiny_model("embed"), tmp_path / "first", "embed")
    directory = tmp_path / "model"
    shutil.copytree(tiny_model("embed"), directory, ignore=shutil.ignore_patterns("*.safetensors"))
    (directory / "onnx").mkdir()
    shutil.copy(derived / "embed-fp32" / "model.onnx", directory / "onnx" / "model.onnx")
    ready = onnx_models.load(directory, tmp_path / "second", "embed")
    made = kind.load(directory, derived, Plan(engine="onnx", options={"head": "embed"}), lambda what, share: None)
    assert ready.run(0, [Embed(inputs=("hello world",))]) == made.run(0, [Embed(inputs=("hello world",))])
    assert not ready._encoder.facts.is_verified
    with pytest.raises(InvalidRequest, match="has no output 'logits'"):
        onnx_models.load(directory, tmp_path / "third", "classify-tokens")


def test_unknown_precisions_and_modules_are_refused(tiny_model, tmp_path):
    with pytest.raises(InvalidRequest, match=r"int3.*fp32, int8"):
        kind.load(tiny_model("embed"), tmp_path, Plan(engine="onnx", precision="int3", options={"head": "embed"}), lambda what, share: None)
    directory = tmp_path / "model"
    shutil.copytree(tiny_model("sentence-embedder"), directory)
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "magic"}))
    with pytest.raises(Unsupported, match="magic"):
        onnx_models.load(directory, tmp_path / "derived", "embed")


def test_streams_share_the_model_and_agree(tiny_model, tmp_path):
    engine = onnx_models.load(tiny_model("answer"), tmp_path / "derived", "answer")
    requests = [
        Answer(question="who am i", context="i am fine. thank you " * 30, max_window_tokens=size, stride_tokens=8, top_k=2)
        for size in range(20, 44)
    ]
    alone = [engine.run(0, [request])[0] for request in requests]
    found = [None] * 4

    def work(stream):
        order = requests if stream % 2 else requests[::-1]
        found[stream] = [engine.run(stream, [request])[0] for request in order]

    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(isinstance(each, YunmoError) for each in alone)
    assert found == [alone[::-1], alone, alone[::-1], alone]


def test_a_text_that_must_be_read_whole_says_how_long_it_is(tiny_model, tmp_path):
    engine = onnx_models.load(tiny_model("fill-mask"), tmp_path / "derived", "fill-mask")
    (refused,) = engine.run(0, [FillMask(texts=("[MASK] " + "red " * 100,))])
    assert isinstance(refused, ContextTooLong)
    assert "103 tokens" in refused.message
    assert "at most 64" in refused.message
