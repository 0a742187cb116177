"""The engine's answers are those of the library's own pipelines, where it has them."""

import numpy as np
import pytest
from transformers_answers import pairs, rows, run

import tiny_models
from yunmo.core.errors import ContextTooLong, InvalidRequest
from yunmo.core.tasks import (
    Answer,
    Chat,
    Classify,
    ClassifyTokens,
    ClassifyZeroShot,
    Embed,
    FillMask,
    Generate,
    Message,
    Sampling,
    Summarize,
    Translate,
)

PICTURE = tiny_models.png(40, 30)
TEXT = "paris is the capital of france"


@pytest.mark.parametrize("name", ["classify", "classify-many", "cross-encoder"])
@pytest.mark.parametrize("function", [None, "softmax", "sigmoid", "none"])
def test_classify(tiny_engine, tiny_pipeline, name, function):
    output, usage = run(tiny_engine(name), Classify(texts=(TEXT,), function=function))
    expected = tiny_pipeline("text-classification", name)(TEXT, top_k=None, function_to_apply=function)
    assert rows(output.rows[0]) == pairs(expected)
    assert usage.characters == len(TEXT)
    assert usage.input_tokens == 8


def test_classify_a_pair(tiny_engine, tiny_pipeline):
    output, _ = run(tiny_engine("cross-encoder"), Classify(texts=((TEXT, "berlin"),)))
    expected = tiny_pipeline("text-classification", "cross-encoder")({"text": TEXT, "text_pair": "berlin"}, top_k=None)
    assert rows(output.rows[0]) == pairs(expected)


@pytest.mark.parametrize("multi_label", [True, False])
def test_classify_zero_shot(tiny_engine, tiny_pipeline, multi_label):
    request = ClassifyZeroShot(texts=(TEXT,), labels=("politics", "sports, games", "cooking"), multi_label=multi_label)
    output, _ = run(tiny_engine("entailment"), request)
    expected = tiny_pipeline("zero-shot-classification", "entailment")(TEXT, list(request.labels), multi_label=multi_label)
    assert rows(output.rows[0]) == list(zip(expected["labels"], expected["scores"], strict=True))


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_classify_tokens(tiny_engine, tiny_pipeline, aggregation):
    text = "paris and berlinx are cities"
    output, _ = run(tiny_engine("classify-tokens"), ClassifyTokens(texts=(text,), aggregation=aggregation))
    expected = tiny_pipeline("token-classification", "classify-tokens")(text, aggregation_strategy=aggregation)
    assert len(expected) > 0
    got = [(each.label, each.word, each.start, each.end, each.index) for each in output.rows[0]]
    assert got == [
        (each.get("entity_group") or each["entity"], each["word"], each["start"], each["end"], each.get("index")) for each in expected
    ]
    assert [each.score for each in output.rows[0]] == pytest.approx([float(each["score"]) for each in expected], abs=1e-6)


def test_classify_tokens_of_a_long_text_in_windows(tiny_engine, tiny_pipeline):
    text = "paris is the capital of france and " * 15
    output, _ = run(tiny_engine("classify-tokens"), ClassifyTokens(texts=(text,), stride=8))
    expected = tiny_pipeline("token-classification", "classify-tokens")(text, aggregation_strategy="simple", stride=8)
    assert [(each.start, each.end) for each in output.rows[0]] == [(each["start"], each["end"]) for each in expected]


@pytest.mark.parametrize("targets", [None, ("dog", "cat")])
def test_fill_mask(tiny_engine, tiny_pipeline, targets):
    text = "the quick brown [MASK] jumps"
    output, _ = run(tiny_engine("fill-mask"), FillMask(texts=(text,), targets=targets, top_k=2))
    expected = tiny_pipeline("fill-mask", "fill-mask")(text, top_k=2, targets=list(targets) if targets else None)
    got = [(each.sequence, each.token, each.token_text) for each in output.rows[0]]
    assert got == [(each["sequence"], each["token"], each["token_str"]) for each in expected]


def test_embed_without_pooling_is_the_feature_extraction(tiny_engine, tiny_pipeline):
    output, usage = run(tiny_engine("embed"), Embed(inputs=(TEXT,), pooled=False))
    expected = np.array(tiny_pipeline("feature-extraction", "embed")(TEXT)[0], dtype=np.float32)
    vector = output.vectors[0]
    assert np.allclose(np.frombuffer(vector.data, "<f4").reshape(vector.shape), expected, atol=1e-5)
    assert usage.input_tokens == vector.shape[0]


def test_embed_pools_and_normalizes_as_the_repository_says(tiny_engine, tiny_pipeline):
    mean = np.array(tiny_pipeline("feature-extraction", "sentence-embedder")(TEXT)[0]).mean(axis=0)
    own, _ = run(tiny_engine("sentence-embedder"), Embed(inputs=(TEXT,)))
    assert np.allclose(np.frombuffer(own.vectors[0].data, "<f4"), mean / np.linalg.norm(mean), atol=1e-5)
    raw, _ = run(tiny_engine("sentence-embedder"), Embed(inputs=(TEXT,), normalize=False, dimensions=4))
    assert np.allclose(np.frombuffer(raw.vectors[0].data, "<f4"), mean[:4], atol=1e-5)


def test_embed_cuts_a_long_text_at_the_published_length_only_if_told(tiny_engine):
    long = "hello " * 100
    _, usage = run(tiny_engine("sentence-embedder"), Embed(inputs=(long,)))
    assert usage.input_tokens == 32
    with pytest.raises(ContextTooLong, match="at most 32"):
        run(tiny_engine("sentence-embedder"), Embed(inputs=(long,), truncate=False))


def test_answers_stand_in_the_context_best_first(tiny_engine):
    context = "paris is the capital of france and berlin is the capital of germany " * 6
    output, _ = run(
        tiny_engine("answer"), Answer(question="what is berlin", context=context, top_k=4, max_window_tokens=32, stride_tokens=8)
    )
    scores = [span.score for span in output.spans]
    assert 1 <= len(scores) <= 4
    assert scores == sorted(scores, reverse=True)
    assert len({(span.start, span.end) for span in output.spans}) == len(scores)
    for span in output.spans:
        assert context[span.start : span.end] == span.answer
        assert span.answer == span.answer.strip()


def test_the_best_answer_is_where_the_logits_are_highest(tiny_engine, tiny_model):
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    directory, context = tiny_model("answer"), "the house is red and the dog sleeps in the sun"
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    encoded = tokenizer("who sleeps", context, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**encoded)
    inside = [index for index, sequence in enumerate(encoded.encodings[0].sequence_ids) if sequence == 1]
    first, last = max(
        ((i, j) for i in inside for j in inside if i <= j < i + 15),
        key=lambda span: float(outputs.start_logits[0, span[0]] + outputs.end_logits[0, span[1]]),
    )
    start, end = (
        encoded.word_to_chars(0, encoded.token_to_word(first), 1).start,
        encoded.word_to_chars(0, encoded.token_to_word(last), 1).end,
    )
    output, _ = run(tiny_engine("answer"), Answer(question="who sleeps", context=context))
    assert (output.spans[0].start, output.spans[0].end) == (start, end)


def test_an_impossible_question_may_have_no_answer(tiny_engine):
    output, _ = run(tiny_engine("answer"), Answer(question="who", context="the dog", top_k=50, handle_impossible=True))
    assert [(span.start, span.end) for span in output.spans if not span.answer] == [(0, 0)]


@pytest.mark.parametrize("name", ["llama", "gpt2", "mamba"])
def test_greedy_generation(tiny_engine, tiny_pipeline, name):
    output, usage = run(tiny_engine(name), Generate(prompt="hello world how", sampling=Sampling(max_tokens=10)))
    expected = tiny_pipeline("text-generation", name)("hello world how", max_new_tokens=10, do_sample=False, return_full_text=False)
    assert output.choices[0].text == expected[0]["generated_text"]
    assert usage.input_tokens > 0
    assert usage.output_tokens == 10


def test_a_chat_is_rendered_as_the_library_renders_it(tiny_engine, tiny_pipeline):
    messages = [{"role": "system", "content": "be {{ kind }}"}, {"role": "user", "content": 'hello <world> & "co"'}]
    request = Chat(messages=tuple(Message(**message) for message in messages), sampling=Sampling(max_tokens=10))
    output, _ = run(tiny_engine("chat"), request)
    expected = tiny_pipeline("text-generation", "chat")(messages, max_new_tokens=10, do_sample=False)
    assert output.choices[0].text == expected[0]["generated_text"][-1]["content"]


def written(directory, text, class_name, **options):
    """What the library's model class writes; options as its old pipelines gave them."""
    import torch
    import transformers

    tokenizer = options.pop("tokenizer", None) or transformers.AutoTokenizer.from_pretrained(directory)
    model = getattr(transformers, class_name).from_pretrained(directory)
    with torch.inference_mode():
        ids = model.generate(**tokenizer(text, return_tensors="pt"), **options)
    return tokenizer.decode(ids[0], skip_special_tokens=True).strip()


@pytest.mark.filterwarnings("ignore:Recommended")
@pytest.mark.parametrize("beams", [None, 1, 3])
def test_translate_with_a_model_of_one_pair(tiny_engine, tiny_model, beams):
    output, _ = run(tiny_engine("marian"), Translate(texts=("the house is wonderful",), sampling=Sampling(max_tokens=12, beams=beams)))
    expected = written(tiny_model("marian"), "the house is wonderful", "MarianMTModel", max_new_tokens=12, num_beams=beams or 2)
    assert output.texts[0] == expected
    with pytest.raises(InvalidRequest, match="en to de only"):
        run(tiny_engine("marian"), Translate(texts=("a",), source="en", target="fr"))


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("en-US", "fr"), ("eng", "ger")])
def test_translate_by_instruction(tiny_engine, tiny_model, source, target):
    language = {"de": "German", "fr": "French", "ger": "German"}[target]
    output, _ = run(tiny_engine("t5"), Translate(texts=("the house",), source=source, target=target))
    expected = written(tiny_model("t5"), f"translate English to {language}: the house", "T5ForConditionalGeneration", max_new_tokens=16)
    assert output.texts[0] == expected
    with pytest.raises(InvalidRequest, match="en to de, en to fr"):
        run(tiny_engine("t5"), Translate(texts=("a",), source="en", target="it"))


def test_a_text_that_begins_with_the_models_instruction_is_not_told_twice(tiny_engine):
    engine = tiny_engine("t5")
    expected, _ = run(engine, Translate(texts=("the house",), source="en", target="de"))
    assert run(engine, Translate(texts=("translate English to German: the house",)))[0] == expected
    assert run(engine, Translate(texts=("translate English to German: the house",), source="en", target="de"))[0] == expected
    assert run(engine, Summarize(texts=("summarize: my dog",)))[0] == run(engine, Summarize(texts=("my dog",)))[0]
    with pytest.raises(InvalidRequest, match="name the source and the target language"):
        run(engine, Translate(texts=("translate English to German: the house", "the dog")))


@pytest.mark.parametrize(
    ("name", "source", "target", "codes"),
    [
        ("m2m100", "en", "de", ("en", "de")),
        ("nllb", "en", "zh-TW", ("eng_Latn", "zho_Hant")),
        ("nllb", "fra_Latn", "deu_Latn", ("fra_Latn", "deu_Latn")),
        ("mbart", "de-DE", "fr", ("de_DE", "fr_XX")),
    ],
)
def test_translate_with_language_codes(tiny_engine, tiny_model, name, source, target, codes):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(name), src_lang=codes[0])
    tokenizer.src_lang = codes[0]
    first = tokenizer.get_lang_id(codes[1]) if name == "m2m100" else tokenizer.convert_tokens_to_ids(codes[1])
    options = {"tokenizer": tokenizer, "forced_bos_token_id": first, "max_new_tokens": 8, "num_beams": 1}
    expected = written(tiny_model(name), "hello world", "AutoModelForSeq2SeqLM", **options)
    output, _ = run(tiny_engine(name), Translate(texts=("hello world",), source=source, target=target, sampling=Sampling(max_tokens=8)))
    assert output.texts[0] == expected
    with pytest.raises(InvalidRequest, match="it knows"):
        run(tiny_engine(name), Translate(texts=("a",), source="en", target="xx"))
    with pytest.raises(InvalidRequest, match="name the source and the target"):
        run(tiny_engine(name), Translate(texts=("a",)))


def test_summarize_with_the_models_own_settings(tiny_engine, tiny_model):
    text = "my dog likes to eat fish"
    output, _ = run(tiny_engine("t5"), Summarize(texts=(text,)))
    expected = written(tiny_model("t5"), f"summarize: {text}", "T5ForConditionalGeneration", max_new_tokens=20, num_beams=2)
    assert output.texts[0] == expected


def test_a_long_text_is_cut_only_if_told(tiny_engine):
    long = "my dog likes to eat fish " * 40
    with pytest.raises(ContextTooLong):
        run(tiny_engine("bart"), Summarize(texts=(long,)))
    _, usage = run(tiny_engine("bart"), Summarize(texts=(long,), truncate=True, sampling=Sampling(max_tokens=3)))
    assert usage.input_tokens == 64
