"""Questions about pictures, pages and tables are answered as the library's own pipelines and models answer them."""

import io
import math

import pytest
from PIL import Image
from transformers_answers import rows, run

import tiny_models
from yunmo.core.errors import ContextTooLong, InvalidRequest, Unsupported
from yunmo.core.tasks import AnswerDocument, AnswerImage, AnswerTable, PlacedWord

PICTURE = tiny_models.png(40, 30)
QUESTION = "what is the capital of france"
WORDS = ["paris", "is", "the", "capital", "of", "france", "and", "berlin", "is", "the", "capital", "of", "germany"]
PAGE = tuple(PlacedWord(word, (70 * place, 20 * place, 70 * place + 60, 20 * place + 15)) for place, word in enumerate(WORDS))
TABLE = {"dog": ["red", "lazy", "brown", ""], "number": ["12", "3", "7", "2,000"], "day": ["1 may 2019", "2 june", "monday", "7 days"]}


def table(question: str, columns: dict[str, list[str]] = TABLE, **more) -> AnswerTable:
    return AnswerTable(question=question, columns=tuple(columns), rows=tuple(zip(*columns.values(), strict=True)), **more)


def opened():
    return Image.open(io.BytesIO(PICTURE)).convert("RGB")


def test_an_answer_chosen_for_a_picture_has_the_models_own_score(tiny_model, tiny_engine):
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, ViltForQuestionAnswering

    directory = tiny_model("vilt")
    model = ViltForQuestionAnswering.from_pretrained(directory).eval()
    inputs = {
        **AutoTokenizer.from_pretrained(directory)(QUESTION, return_tensors="pt"),
        **AutoImageProcessor.from_pretrained(directory)(images=opened(), return_tensors="pt"),
    }
    torch.manual_seed(5)  # whatever the order of the patches
    with torch.inference_mode():
        scores = model(**inputs).logits[0].sigmoid()
    expected = sorted(((model.config.id2label[place], float(score)) for place, score in enumerate(scores)), key=lambda each: -each[1])
    output, usage = run(tiny_engine("vilt"), AnswerImage(image=PICTURE, question=QUESTION))
    assert rows(output.rows[0]) == expected[:5]
    assert usage.input_tokens == len(inputs["input_ids"][0])
    output, _ = run(tiny_engine("vilt"), AnswerImage(image=PICTURE, question=QUESTION, top_k=99))
    assert rows(output.rows[0]) == expected


def test_an_answer_written_for_a_picture_is_the_models_likeliest_with_its_probability(tiny_model, tiny_engine):
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, BlipForQuestionAnswering

    directory = tiny_model("blip-questions")
    model = BlipForQuestionAnswering.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    pixels = AutoImageProcessor.from_pretrained(directory)(images=opened(), return_tensors="pt")
    question = tokenizer(QUESTION, return_tensors="pt")
    options = {"max_new_tokens": 62, "return_dict_in_generate": True, "output_scores": True}
    with torch.inference_mode():
        made = model.generate(question["input_ids"], attention_mask=question["attention_mask"], **pixels, **options)
    chosen = zip(made.scores, made.sequences[0, 1:].tolist(), strict=True)
    logprob = sum(float(step[0].log_softmax(-1)[token]) for step, token in chosen)
    output, usage = run(tiny_engine("blip-questions"), AnswerImage(image=PICTURE, question=QUESTION))
    [[only]] = output.rows
    assert only.label == tokenizer.decode(made.sequences[0], skip_special_tokens=True).strip()
    assert math.log(only.score) == pytest.approx(logprob, rel=1e-4)
    assert usage.output_tokens == len(made.scores)


@pytest.mark.parametrize("more", [{}, {"top_k": 4}, {"top_k": 3, "max_answer_tokens": 2}, {"handle_impossible": True, "top_k": 3}])
def test_an_answer_found_among_a_pages_words_is_the_pipelines(more, tiny_pipeline, tiny_engine):
    boxes = [(word.text, list(word.box)) for word in PAGE]
    names = {"max_answer_tokens": "max_answer_len", "handle_impossible": "handle_impossible_answer"}
    expected = tiny_pipeline("document-question-answering", "layoutlm")(
        image=opened(), question=QUESTION, word_boxes=boxes, **{names.get(name, name): value for name, value in more.items()}
    )
    output, _ = run(tiny_engine("layoutlm"), AnswerDocument(image=PICTURE, question=QUESTION, words=PAGE, **more))
    got = [(each.answer, pytest.approx(each.score, abs=1e-6), each.start, each.end) for each in output.spans]
    assert got == [(each["answer"], each["score"], each["start"], each["end"]) for each in expected]


def test_a_long_page_is_read_in_windows_that_overlap(tiny_pipeline, tiny_engine):
    page = PAGE * 6
    boxes = [(word.text, list(word.box)) for word in page]
    library = tiny_pipeline("document-question-answering", "layoutlm")
    expected = library(image=opened(), question=QUESTION, word_boxes=boxes, doc_stride=10, max_seq_len=40)
    request = AnswerDocument(image=PICTURE, question=QUESTION, words=page, stride_tokens=10, max_window_tokens=40)
    output, usage = run(tiny_engine("layoutlm"), request)
    assert (output.spans[0].answer, output.spans[0].start) == (expected[0]["answer"], expected[0]["start"])
    assert usage.input_tokens > len(page)


@pytest.mark.parametrize(("name", "class_name"), [("layoutlmv3", "LayoutLMv3ForQuestionAnswering"), ("lilt", "LiltForQuestionAnswering")])
def test_a_model_whose_tokenizer_takes_boxes_gets_them_and_the_picture(name, class_name, tiny_model, tiny_engine):
    import torch
    import transformers

    directory = tiny_model(name)
    model = getattr(transformers, class_name).from_pretrained(directory).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    inputs = tokenizer([QUESTION], [[word.text for word in PAGE]], boxes=[[list(word.box) for word in PAGE]], return_tensors="pt")
    if name == "layoutlmv3":
        images = transformers.AutoImageProcessor.from_pretrained(directory, apply_ocr=False)
        inputs["pixel_values"] = images(images=opened(), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        outputs = model(**inputs)
    places = inputs.word_ids(0)
    allowed = [token == 0 or part == 1 for token, part in enumerate(inputs.sequence_ids(0))]
    starts, ends = (
        logits[0, : len(places)].masked_fill(~torch.tensor(allowed), -10_000).softmax(-1).tolist()
        for logits in (outputs.start_logits, outputs.end_logits)
    )
    inside = [token for token, part in enumerate(inputs.sequence_ids(0)) if part == 1]
    score, first, last = max(
        (starts[first] * ends[last], places[first], places[last]) for first in inside for last in inside if 0 <= last - first < 15
    )
    output, _ = run(tiny_engine(name), AnswerDocument(image=PICTURE, question=QUESTION, words=PAGE))
    [span] = output.spans
    assert (span.score, span.start, span.end) == (pytest.approx(score, rel=1e-4), first, last)
    assert span.answer == " ".join(WORDS[first : last + 1])


def test_the_picture_of_a_page_changes_what_is_found(tiny_engine):
    scores = {
        run(tiny_engine("layoutlmv3"), AnswerDocument(image=tiny_models.png(seed=seed), question=QUESTION, words=PAGE))[0].spans[0].score
        for seed in range(3)
    }
    assert len(scores) > 1


@pytest.mark.parametrize("name", ["layoutlm", "layoutlmv3", "lilt"])
def test_a_model_that_reads_words_says_that_it_needs_them(name, tiny_engine):
    with pytest.raises(Unsupported, match=r"\(OCR\): send them as word_boxes"):
        run(tiny_engine(name), AnswerDocument(image=PICTURE, question=QUESTION))


def test_an_answer_written_for_a_page_is_what_the_model_writes_behind_the_question(tiny_model, tiny_engine):
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

    directory = tiny_model("donut")
    model = VisionEncoderDecoderModel.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    prompt = tokenizer(f"<s_docvqa><s_question>{QUESTION}</s_question><s_answer>", add_special_tokens=False, return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(directory)(images=opened(), return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**pixels, decoder_input_ids=prompt["input_ids"], max_new_tokens=6)[0, prompt["input_ids"].shape[-1] :]
    output, usage = run(tiny_engine("donut"), AnswerDocument(image=PICTURE, question=QUESTION, max_answer_tokens=6))
    [span] = output.spans
    assert span.answer == tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert 0.0 < span.score < 1.0
    assert (span.start, span.end) == (None, None)
    assert (usage.input_tokens, usage.output_tokens) == (prompt["input_ids"].shape[-1], 6)


@pytest.mark.parametrize("more", [{"words": PAGE}, {"handle_impossible": True}])
def test_what_a_model_that_writes_its_answers_cannot_do_is_refused(more, tiny_engine):
    with pytest.raises(Unsupported):
        run(tiny_engine("donut"), AnswerDocument(image=PICTURE, question=QUESTION, **more))


@pytest.mark.parametrize(("name", "request_of"), [("vilt", AnswerImage), ("donut", AnswerDocument)], ids=["vilt", "donut"])
def test_a_picture_too_narrow_to_be_scaled_is_refused(name, request_of, tiny_engine):
    with pytest.raises(InvalidRequest, match="3000 x 1 pixels is too narrow"):
        run(tiny_engine(name), request_of(image=tiny_models.png(3000, 1), question=QUESTION))


def test_a_question_that_fills_the_models_context_is_too_long(tiny_engine):
    with pytest.raises(ContextTooLong, match="shorten it"):
        run(tiny_engine("donut"), AnswerDocument(image=PICTURE, question=QUESTION * 9))


@pytest.mark.parametrize("question", ["how many red", "what number", "when is the lazy dog", "who"])
def test_an_answer_from_a_table_is_the_pipelines(question, tiny_pipeline, tiny_engine):
    expected = tiny_pipeline("table-question-answering", "tapas")(table=TABLE, query=question)
    output, usage = run(tiny_engine("tapas"), table(question))
    assert output.answer == expected["answer"]
    assert list(output.coordinates) == expected["coordinates"]
    assert list(output.cells) == expected["cells"]
    assert output.aggregator == expected["aggregator"]
    assert usage.input_tokens > 10


def test_rows_that_do_not_fit_are_left_out_from_the_end_or_refused(tiny_engine):
    long = {"dog": ["red car"] * 40, "number": [str(number) for number in range(40)]}
    output, _ = run(tiny_engine("tapas"), table("how many red", long))
    assert all(row < 20 for row, _ in output.coordinates)
    with pytest.raises(InvalidRequest, match="40 rows"):
        run(tiny_engine("tapas"), table("how many red", long, truncate=False))
    with pytest.raises(ContextTooLong, match="send fewer rows"):
        run(tiny_engine("tapas"), table("how many red", {name: cells[:30] for name, cells in long.items()}, truncate=False))


def test_columns_of_one_name_are_kept_apart(tiny_engine):
    request = AnswerTable(question="red", columns=("dog", "dog"), rows=(("red", "12"), ("lazy", "3")))
    output, _ = run(tiny_engine("tapas"), request)
    assert all(output.cells[place] == request.rows[row][column] for place, (row, column) in enumerate(output.coordinates))
