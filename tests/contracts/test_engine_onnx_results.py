"""The engine's answers beside those of the reference's own pipelines and models."""

import itertools
import json
import warnings

import numpy as np
import onnx_models
import pytest

from starter_models import minilm_directory
from yunmo.core.errors import ContextTooLong, InvalidRequest
from yunmo.core.tasks import Answer, Classify, ClassifyTokens, ClassifyZeroShot, Embed, FillMask
from yunmo.engines.onnx.kind import kind

TOKENIZED = ("bert", "roberta", "xlm-roberta")
TEXTS = (
    "paris is the capital of france",
    "Hello, world! How are you today? I'm fine; thank you (very much).",
    "the quick brown fox jumps over the lazy dog. " * 12,
    "日本語 und Ünïcödé 😀 translate english",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(directory, engine) by family and head, made once."""
    made = {}

    def get(family, head, **more):
        key = (family, head, *more)
        if key not in made:
            root = tmp_path_factory.mktemp("-".join(key))
            directory = onnx_models.build(root / "model", family, head, **more)
            made[key] = directory, onnx_models.load(directory, root / "derived", head)
        return made[key]

    return get


def pipeline(task, directory):
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.pipeline(task, model=str(directory), tokenizer=str(directory), device="cpu")


def run(engine, request):
    (result,) = engine.run(0, [request])
    if isinstance(result, Exception):
        raise result
    return result


def pairs(row):
    return {label.label: pytest.approx(label.score, abs=1e-4) for label in row}


@pytest.mark.parametrize("function", [None, "softmax", "sigmoid", "none"])
@pytest.mark.parametrize("family", TOKENIZED)
def test_classes_are_the_pipelines(models, family, function):
    directory, engine = models(family, "classify")
    reference = pipeline("text-classification", directory)
    for text in TEXTS:
        given = {} if function is None else {"function_to_apply": function}
        expected = reference(text, top_k=None, truncation=True, **given)
        output, usage = run(engine, Classify(texts=(text,), function=function))
        assert {each["label"]: each["score"] for each in expected} == pairs(output.rows[0])
        scores = [label.score for label in output.rows[0]]
        assert scores == sorted(scores, reverse=True)
        assert usage.input_tokens == len(reference.tokenizer(text, truncation=True)["input_ids"])
        assert usage.characters == len(text)
    assert len(run(engine, Classify(texts=("fox",), top_k=2))[0].rows[0]) == 2


@pytest.mark.parametrize("family", TOKENIZED)
def test_a_pair_of_texts_is_read_together(models, family):
    directory, engine = models(family, "classify")
    reference = pipeline("text-classification", directory)
    for text, pair in (("paris is red", "berlin is wonderful"), ("fox " * 70, "dog " * 30)):
        expected = reference({"text": text, "text_pair": pair}, top_k=None, truncation=True)
        output, _ = run(engine, Classify(texts=((text, pair),)))
        assert {each["label"]: each["score"] for each in expected} == pairs(output.rows[0])


@pytest.mark.parametrize("name", ["cross-encoder", "classify-many", "regression"])
def test_the_models_own_function_is_its_default(tiny_model, tmp_path, name):
    import shutil

    directory = tmp_path / "model"
    shutil.copytree(tiny_model("classify" if name == "regression" else name), directory)
    if name == "regression":
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    engine = onnx_models.load(directory, tmp_path / "derived", "classify")
    expected = pipeline("text-classification", directory)("paris is red", top_k=None)
    assert {each["label"]: each["score"] for each in expected} == pairs(run(engine, Classify(texts=("paris is red",)))[0].rows[0])


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("order", [("contradiction", "neutral", "entailment"), ("ENTAILMENT", "neutral", "contradiction")])
def test_zero_shot_scores_are_the_pipelines(tmp_path, order, multi_label):
    names = {"id2label": dict(enumerate(order)), "label2id": {label: index for index, label in enumerate(order)}}
    directory = onnx_models.build(tmp_path / "model", "roberta", "classify", **names)
    engine = onnx_models.load(directory, tmp_path / "derived", "classify")
    assert engine.tasks == ("classify", "classify-zero-shot")
    reference = pipeline("zero-shot-classification", directory)
    for text, labels in itertools.product(TEXTS, (("politics", "sports", "cooking"), ("cat",))):
        expected = reference(text, list(labels), multi_label=multi_label, hypothesis_template="It is {}!")
        output, usage = run(
            engine, ClassifyZeroShot(texts=(text,), labels=labels, multi_label=multi_label, hypothesis_template="It is {}!")
        )
        assert dict(zip(expected["labels"], expected["scores"], strict=True)) == pairs(output.rows[0])
        assert usage.input_tokens > len(labels)


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
@pytest.mark.parametrize("family", TOKENIZED)
def test_entities_are_the_pipelines(models, family, aggregation):
    directory, engine = models(family, "classify-tokens")
    reference = pipeline("token-classification", directory)
    for text, ignored in itertools.product(TEXTS, (("O",), ("PER", "B-LOC"), ())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that its heuristic for words is one
            expected = reference(text, aggregation_strategy=aggregation, ignore_labels=list(ignored))
        output, _ = run(engine, ClassifyTokens(texts=(text,), aggregation=aggregation, ignore_labels=ignored))
        assert len(output.rows[0]) == len(expected)
        for entity, each in zip(output.rows[0], expected, strict=True):
            assert (entity.label, entity.word) == (each.get("entity_group", each.get("entity")), each["word"])
            assert (entity.start, entity.end, entity.index) == (each["start"], each["end"], each.get("index"))
            assert entity.score == pytest.approx(float(each["score"]), abs=1e-4)


@pytest.mark.parametrize("stride", [0, 8])
@pytest.mark.parametrize("family", TOKENIZED)
def test_a_long_text_is_read_in_windows(models, family, stride):
    directory, engine = models(family, "classify-tokens")
    text = " ".join(TEXTS[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pipeline("token-classification", directory)(text, aggregation_strategy="simple", stride=stride)
    output, usage = run(engine, ClassifyTokens(texts=(text,), stride=stride))
    assert [(entity.label, entity.start, entity.end) for entity in output.rows[0]] == [
        (each["entity_group"], each["start"], each["end"]) for each in expected
    ]
    assert usage.input_tokens > 64


@pytest.mark.parametrize("targets", [None, ("paris", "fox", "xylophone")])
@pytest.mark.parametrize("family", TOKENIZED)
def test_fillings_are_the_pipelines(models, family, targets):
    directory, engine = models(family, "fill-mask")
    reference = pipeline("fill-mask", directory)
    mask = reference.tokenizer.mask_token
    for text in (f"{mask} is the capital of france", f"Hello, {mask}! I 'm fine."):
        expected = reference(text, top_k=7, targets=None if targets is None else list(targets))
        output, _ = run(engine, FillMask(texts=(text,), top_k=7, targets=targets))
        assert [(each.token, each.token_text, each.sequence) for each in output.rows[0]] == [
            (each["token"], each["token_str"], each["sequence"]) for each in expected
        ]
        assert [each.score for each in output.rows[0]] == pytest.approx([each["score"] for each in expected], abs=1e-4)


CONTEXT = "paris is the capital of france and berlin is the capital of germany. " * 6 + "the quick brown fox sleeps in the sun"


@pytest.mark.parametrize("handle_impossible", [False, True])
@pytest.mark.parametrize("family", TOKENIZED)
def test_answers_are_the_best_spans_of_all_windows(models, family, handle_impossible):
    directory, engine = models(family, "answer")
    question = "what is the capital"
    request = Answer(
        question=question,
        context=CONTEXT,
        top_k=4,
        max_answer_tokens=6,
        max_window_tokens=48,
        stride_tokens=16,
        handle_impossible=handle_impossible,
    )
    expected = answers_by_hand(directory, request)
    output, _ = run(engine, request)
    assert [(span.answer, span.start, span.end) for span in output.spans] == [(text, start, end) for text, start, end, _ in expected]
    assert [span.score for span in output.spans] == pytest.approx([score for *_, score in expected], abs=1e-4)
    assert all(CONTEXT[span.start : span.end] == span.answer for span in output.spans)


def answers_by_hand(directory, request):
    """The definition, span by span, over the reference model: what the former pipeline computed."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(directory).eval()
    encoded = tokenizer(
        request.question,
        request.context,
        truncation="only_second",
        max_length=request.max_window_tokens,
        stride=request.stride_tokens,
        return_overflowing_tokens=True,
    )
    found, null = {}, 1e6
    for number in range(len(encoded["input_ids"])):
        inputs = {name: torch.tensor([encoded[name][number]]) for name in tokenizer.model_input_names}
        with torch.no_grad():
            logits = model(**inputs)
        encoding = encoded[number]
        inside = np.array([each == 1 for each in encoding.sequence_ids])
        kept = inside | (np.array(encoding.ids) == tokenizer.cls_token_id)
        starts, ends = (
            torch.tensor(np.where(kept, each[0], -10000.0)).softmax(-1).numpy() for each in (logits.start_logits, logits.end_logits)
        )
        null = min(null, float(starts[0] * ends[0]))
        spans = [
            (float(starts[first] * ends[last]), first, last)
            for first, last in itertools.product(np.flatnonzero(inside), repeat=2)
            if first <= last < first + request.max_answer_tokens
        ]
        for score, first, last in sorted(spans, reverse=True)[: request.top_k]:
            begin = encoding.word_to_chars(encoding.token_to_word(int(first)), 1)[0]
            end = encoding.word_to_chars(encoding.token_to_word(int(last)), 1)[1]
            text = request.context[begin:end]
            known = found.setdefault(text.lower(), [text, begin, end, 0.0])
            known[3] += score
    rows = [tuple(each) for each in found.values()] + ([("", 0, 0, null)] if request.handle_impossible else [])
    return sorted(rows, key=lambda row: -row[3])[: request.top_k]


def vector(output):
    (found,) = output.vectors
    return np.frombuffer(found.data, dtype="<f4").reshape(found.shape)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    derived = tmp_path_factory.mktemp("minilm")
    return onnx_models.load(minilm_directory(), derived, "embed")


@pytest.fixture(scope="module")
def minilm_reference():
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_directory())
    model = transformers.AutoModel.from_pretrained(minilm_directory()).eval()

    def rows(text, max_length=256):
        with torch.no_grad():
            return model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=max_length)).last_hidden_state[0].numpy()

    return rows


REAL_TEXTS = ("A man is eating food.", "One who eats.", "Quarterly revenue grew by 12 % to €3.4bn.", "word " * 700, "模型")


def test_the_real_models_vectors_are_the_references(minilm, minilm_reference):
    for text in REAL_TEXTS:
        expected = minilm_reference(text).mean(axis=0)
        found = vector(run(minilm, Embed(inputs=(text,)))[0])
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
        assert found @ expected / np.linalg.norm(expected) > 0.99999
    near, far = (vector(run(minilm, Embed(inputs=(text,)))[0]) for text in REAL_TEXTS[1:3])
    base = vector(run(minilm, Embed(inputs=(REAL_TEXTS[0],)))[0])
    assert base @ near > base @ far + 0.2


def test_vectors_can_be_raw_shortened_or_one_per_token(minilm, minilm_reference):
    rows = minilm_reference(REAL_TEXTS[0])
    raw = vector(run(minilm, Embed(inputs=(REAL_TEXTS[0],), normalize=False))[0])
    np.testing.assert_allclose(raw, rows.mean(axis=0), atol=1e-4)
    tokens = vector(run(minilm, Embed(inputs=(REAL_TEXTS[0],), pooled=False))[0])
    np.testing.assert_allclose(tokens, rows, atol=1e-4)
    short = vector(run(minilm, Embed(inputs=(REAL_TEXTS[0],), dimensions=64))[0])
    np.testing.assert_allclose(short, raw[:64] / np.linalg.norm(raw[:64]), atol=1e-4)


def test_token_ids_are_read_as_they_are(minilm):
    ids = tuple(minilm._encoder.tokens.encode(REAL_TEXTS[0]).ids)
    by_id, usage = run(minilm, Embed(inputs=(ids,)))
    np.testing.assert_allclose(vector(by_id), vector(run(minilm, Embed(inputs=(REAL_TEXTS[0],)))[0]), atol=1e-6)
    assert (usage.input_tokens, usage.characters) == (len(ids), 0)


def test_what_is_too_long_is_refused_where_it_may_not_be_cut(minilm):
    for given in ("word " * 700, (1000,) * 700):
        with pytest.raises(ContextTooLong):
            run(minilm, Embed(inputs=(given,), truncate=False))
        assert run(minilm, Embed(inputs=(given,)))[1].input_tokens == 256


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"pooling_mode_cls_token": True}, lambda rows: rows[0]),
        ({"pooling_mode_max_tokens": True}, lambda rows: rows.max(axis=0)),
        ({"pooling_mode": "lasttoken"}, lambda rows: rows[-1]),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, lambda rows: np.concatenate([rows[0], rows.mean(axis=0)])),
    ],
    ids=["cls", "max", "last", "cls and mean"],
)
def test_pooling_follows_the_repository(tiny_model, tmp_path, flags, expected):
    import shutil

    from safetensors.numpy import save_file

    directory = tmp_path / "model"
    shutil.copytree(tiny_model("sentence-embedder"), directory)
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    modules = json.loads((directory / "modules.json").read_text())
    modules[2] = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "2_Dense").mkdir()
    (directory / "2_Dense" / "config.json").write_text(json.dumps({"activation_function": "torch.nn.modules.activation.Tanh"}))
    engine = onnx_models.exported(directory, tmp_path / "derived", "embed")
    rows = reference_rows(directory)
    width = len(expected(rows))
    weight, bias = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32), np.arange(5, dtype=np.float32)
    save_file({"linear.weight": weight, "linear.bias": bias}, directory / "2_Dense" / "model.safetensors")
    from yunmo.core.engine import Plan

    engine = kind.load(directory, tmp_path / "derived", Plan(engine="onnx", options={"head": "embed"}), lambda step, share: None)
    found = vector(run(engine, Embed(inputs=("  the quick brown fox ",)))[0])
    np.testing.assert_allclose(found, np.tanh(weight @ expected(rows) + bias), atol=1e-4)


def reference_rows(directory):
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModel.from_pretrained(directory).eval()
    with torch.no_grad():
        return model(**tokenizer("the quick brown fox", return_tensors="pt")).last_hidden_state[0].numpy()


def test_a_mask_is_needed_exactly_once(models):
    _, engine = models("bert", "fill-mask")
    for text in ("no mask here", "[MASK] and [MASK]"):
        with pytest.raises(InvalidRequest, match=r"exactly one.*\[MASK\]"):
            run(engine, FillMask(texts=(text,)))
