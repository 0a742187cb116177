"""Every kind of model that we have a tiny one of: pushed once, called by its repository's name with `InferenceClient`'s own method."""

import io
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from huggingface_hub import HfApi, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from running import running_server
from tiny_models import BUILDERS, png, wav

TEXT = "a good day for the cat"
_MEMORY = str(6 << 30)


def classifies(labels):
    def check(client):
        found = client.text_classification(TEXT, top_k=10)
        assert {each.label for each in found} == set(labels)
        assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)

    return check


def classifies_zero_shot(client):
    found = client.zero_shot_classification(TEXT, ["animals", "weather"])
    assert {each.label for each in found} == {"animals", "weather"}
    assert abs(sum(each.score for each in found) - 1) < 1e-3


def classifies_tokens(client):
    for each in client.token_classification(TEXT):
        assert TEXT[each.start : each.end].replace(" ", "") == each.word.replace("##", "").replace(" ", "")


def answers(client):
    context = "the cat sleeps in the garden"
    found = client.question_answering(question="where is the cat ?", context=context)
    assert found.answer == context[found.start : found.end]


def fills(client):
    found = client.fill_mask("a [MASK] day", top_k=3)
    assert len(found) == 3
    assert all(each.sequence for each in found)


def embeds(client):
    vectors = client.feature_extraction(TEXT)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def compares(client):
    same, other = client.sentence_similarity(TEXT, other_sentences=[TEXT, "the weather is bad"])
    assert same == pytest.approx(1, abs=1e-3)
    assert other < same


def generates(client):
    assert isinstance(client.text_generation(TEXT, max_new_tokens=4, do_sample=False), str)


def chats(client):
    generates(client)
    reply = client.chat_completion([{"role": "user", "content": TEXT}], max_tokens=4)
    assert reply.usage.completion_tokens <= 4
    assert reply.choices[0].finish_reason in {"stop", "length"}


def summarizes(client):
    assert isinstance(client.summarization(TEXT).summary_text, str)


def translates(source=None, target=None):
    return lambda client: _is_text(client.translation(TEXT, src_lang=source, tgt_lang=target).translation_text)


def rewrites(client):
    """A T5 without a card is asked for a task only by the method of the client."""
    summarizes(client)
    translates()(client)
    translates("en", "de")(client)
    generates(client)


def classifies_pictures(client):
    found = client.image_classification(png())
    assert found[0].score >= found[-1].score


def classifies_pictures_zero_shot(client):
    found = client.zero_shot_image_classification(png(), candidate_labels=["cat", "dog"])
    assert {each.label for each in found} == {"cat", "dog"}


def detects(client):
    for each in client.object_detection(png(), threshold=0.0):
        assert each.label
        assert each.box.xmin <= each.box.xmax


def segments(client):
    for each in client.image_segmentation(png()):
        assert each.label
        assert isinstance(each.mask, Image.Image)


def describes(client):
    _is_text(client.image_to_text(png()).generated_text)


def answers_about_pictures(client):
    found = client.visual_question_answering(png(), "what is this ?", top_k=2)
    assert found[0].score >= found[-1].score
    _is_text(found[0].answer)
    with pytest.raises(HfHubHTTPError, match=r"(?s)422.*picture cannot be read"):
        client.visual_question_answering(png()[:80], "what is this ?")


PAGE = [[word, [60 * place, 10, 60 * place + 50, 40]] for place, word in enumerate(TEXT.split())]


def answers_about_pages(client):
    found = client.document_question_answering(png(), "who is it ?", word_boxes=PAGE, top_k=2)
    for each in found:
        assert each.answer == " ".join(TEXT.split()[each.start : each.end + 1])
    with pytest.raises(HfHubHTTPError, match=r"(?s)422.*word_boxes"):
        client.document_question_answering(png(), "who is it ?")


def reads_pages(client):
    _is_text(client.document_question_answering(png(), "who is it ?", max_answer_len=6)[0].answer)
    with pytest.raises(HfHubHTTPError, match=r"(?s)422.*leave word_boxes out"):
        client.document_question_answering(png(), "who is it ?", word_boxes=PAGE)


def answers_from_tables(client):
    table = {"name": ["cat", "dog"], "number": ["12", "3"]}
    found = client.table_question_answering(table, "how many ?")
    assert found.cells == [list(table.values())[column][row] for row, column in found.coordinates]
    assert found.aggregator in {"NONE", "SUM", "AVERAGE", "COUNT"}
    with pytest.raises(HfHubHTTPError, match=r"(?s)422.*'table' is empty"):
        client.table_question_answering({}, "how many ?")


def transcribes(client):
    _is_text(client.automatic_speech_recognition(wav(0.5)).text)


def classifies_sound(client):
    assert client.audio_classification(wav(0.5))[0].label


def speaks(client):
    with wave.open(io.BytesIO(client.text_to_speech("hello"))) as file:
        assert file.getnframes() > 0


def _is_text(text):
    assert isinstance(text, str)


KINDS = {
    "text encoders": {
        "classify": classifies(("negative", "neutral", "positive")),
        "classify-many": classifies(("toxic", "rude", "kind")),
        "cross-encoder": classifies(("LABEL_0",)),
        "entailment": classifies_zero_shot,
        "classify-tokens": classifies_tokens,
        "answer": answers,
        "fill-mask": fills,
        "embed": embeds,
        "sentence-embedder": compares,
    },
    "text writers": {
        "chat": chats,
        "llama": generates,
        "gpt2": generates,
        "mamba": generates,
        "t5": rewrites,
        "bart": summarizes,
        "marian": translates(),
        "m2m100": translates("en", "fr"),
        "nllb": translates("eng_Latn", "fra_Latn"),
        "mbart": translates("en_XX", "fr_XX"),
    },
    "pictures": {
        "vit": classifies_pictures,
        "clip": classifies_pictures_zero_shot,
        "siglip": classifies_pictures_zero_shot,
        "yolos": detects,
        "detr": detects,
        "detr-panoptic": segments,
        "segformer": segments,
        "mask2former": segments,
        "blip": describes,
        "vit-gpt2": describes,
        "git": describes,
    },
    "questions": {
        "vilt": answers_about_pictures,
        "blip-questions": answers_about_pictures,
        "layoutlm": answers_about_pages,
        "layoutlmv3": answers_about_pages,
        "lilt": answers_about_pages,
        "donut": reads_pages,
        "tapas": answers_from_tables,
    },
    "sounds": {
        "whisper": transcribes,
        "wav2vec2": transcribes,
        "hubert": transcribes,
        "wav2vec2-classifier": classifies_sound,
        "ast": classifies_sound,
        "vits": speaks,
        "vits-speakers": speaks,
    },
}


def test_no_tiny_model_is_forgotten():
    assert {name for calls in KINDS.values() for name in calls} == set(BUILDERS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_model_of_a_kind_answers_the_clients_method_for_its_task(kind, tmp_path, tiny_model):
    calls = KINDS[kind]
    directories = {name: tiny_model(name) for name in calls}
    with running_server(tmp_path, {"YUNMO_SERVING__MEMORY_BYTES": _MEMORY}) as server:
        hub = HfApi(endpoint=server.url, token=server.key)

        def push(name):
            hub.create_repo(f"acme/{name}")
            hub.upload_folder(folder_path=directories[name], repo_id=f"acme/{name}")

        def call(name):
            try:
                calls[name](InferenceClient(model=f"{server.url}/models/acme/{name}", token=server.key, timeout=120))
            except Exception as error:
                return f"{name}: {type(error).__name__}: {error}"
            return None

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(push, calls))
        with ThreadPoolExecutor(2) as pool:
            wrong = [said for said in pool.map(call, calls) if said is not None]
    assert not wrong, "\n".join(wrong)
