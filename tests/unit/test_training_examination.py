"""What rows ask of a model, and how its answers are judged."""

import base64
import struct

import pytest

from yunmo.core.errors import InvalidRequest
from yunmo.core.rows import Call, Conversation, Function, LabelledPicture, LabelledText, LabelledWords, Neighbours, Rewritten, Spoken, Turn
from yunmo.core.tasks import (
    Chat,
    Choice,
    Choices,
    Classify,
    Embed,
    Entities,
    Entity,
    Label,
    Labels,
    Message,
    Sampling,
    Summarize,
    Texts,
    Tool,
    ToolCall,
    Translate,
    Vector,
    Vectors,
)
from yunmo.training.evaluation import Evaluation
from yunmo.training.examination import EXAMINATIONS, Setting
from yunmo.training.order import Rows


@pytest.fixture
def setting(tmp_path):
    return Setting(tmp_path, ("classify",))


def test_texts_and_pairs_are_classified_and_judged_by_their_names(setting):
    examination = EXAMINATIONS["classification"]
    assert examination.ask(LabelledText("a", 1), setting) == Classify(texts=("a",), top_k=1)
    assert examination.ask(LabelledText("a", "x", "b"), setting) == Classify(texts=(("a", "b"),), top_k=1)
    assert examination.right(LabelledText("a", 1)) == "1"
    assert examination.read(None, Labels(rows=((Label("x", 0.9),),))) == "x"
    assert examination.metrics(["x", "x", "y"], ["x", "y", "y"]) == {"accuracy": pytest.approx(2 / 3), "macro_f1": pytest.approx(2 / 3)}


def test_each_word_has_the_label_of_its_first_token(setting):
    examination = EXAMINATIONS["token_classification"]
    row = LabelledWords(["Ada", "Lovelace", "写", "诗"], ["B-PER", "I-PER", "O", "O"])
    request = examination.ask(row, setting)
    assert (request.texts, request.aggregation, request.ignore_labels) == (("Ada Lovelace 写诗",), "none", ())
    tokens = [("B-PER", 0, 3), ("I-PER", 4, 8), ("B-ORG", 8, 12), ("O", 13, 14)]
    found = examination.read(row, Entities(rows=(tuple(Entity(label, 1.0, "", start, end) for label, start, end in tokens),)))
    assert found == ["B-PER", "I-PER", "O", "O"]
    assert examination.metrics([found], [row.labels]) == {"f1": 1.0, "precision": 1.0, "recall": 1.0, "accuracy": 1.0}
    assert examination.metrics([examination.nothing(row)], [row.labels])["recall"] == 0.0


def test_a_text_is_translated_by_translators_and_shortened_by_others(setting, tmp_path):
    examination = EXAMINATIONS["seq2seq"]
    assert examination.ask(Rewritten("a", "b"), Setting(tmp_path, ("translate",))) == Translate(texts=("a",))
    assert examination.ask(Rewritten("a", "b"), setting) == Summarize(texts=("a",))
    assert examination.read(None, Texts(texts=("b",))) == "b"
    assert examination.is_right("Der Hund.", "der hund")
    assert examination.metrics(["der Hund"], ["der Hund"])["chrf"] == pytest.approx(100)


def test_the_last_answer_of_a_conversation_is_asked_for_greedily(setting):
    examination = EXAMINATIONS["supervised"]
    call = Call(Function("find", '{"q": 1}'), "c1")
    row = Conversation(
        [
            Turn("user", "hi"),
            Turn("assistant", None, tool_calls=[call]),
            Turn("tool", "7", tool_call_id="c1"),
            Turn("assistant", "It is 7."),
        ],
        tools=[{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
    )
    request = examination.ask(row, setting)
    assert isinstance(request, Chat)
    assert request.messages == (
        Message("user", "hi"),
        Message("assistant", tool_calls=(ToolCall("c1", "find", '{"q": 1}'),)),
        Message("tool", "7", tool_call_id="c1"),
    )
    assert request.tools == (Tool("find", "", '{"type": "object"}'),)
    assert request.sampling == Sampling(temperature=0.0, max_tokens=512)
    assert examination.right(row) == "It is 7."
    assert examination.read(row, Choices(choices=(Choice("", "tool_calls", tool_calls=(ToolCall("x", "find", "{}"),)),))) == "find({})"
    assert examination.metrics(["it is 7"], ["It is 7."]) == {"exact_match": 1.0, "f1": 1.0}


def test_vectors_are_right_where_the_own_text_is_nearer_than_the_wrong_one(setting):
    examination = EXAMINATIONS["embedding"]
    assert examination.ask(Neighbours("a", "b"), setting) == Embed(inputs=("a", "b"))
    assert examination.ask(Neighbours("a", "b", "c"), setting) == Embed(inputs=("a", "b", "c"))
    vectors = [Vector(struct.pack("<2f", *each), (2,)) for each in ((1, 0), (1, 0), (0, 1))]
    found = examination.read(None, Vectors(vectors=tuple(vectors)))
    assert found == [1.0, 0.0]
    assert examination.is_right(found, None)
    assert not examination.is_right([0.2, 0.4], None)
    assert examination.metrics([found, [0.5, 0.7]], [None, None]) == {"cosine": 0.75, "accuracy": 0.5}
    assert examination.metrics([[0.5]], [None]) == {"cosine": 0.5}


def test_pictures_and_recordings_come_from_the_data_set_or_from_the_row(setting, tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    assert EXAMINATIONS["image_classification"].ask(LabelledPicture("a.png", "cat"), setting).image == b"picture"
    url = "data:audio/wav;base64," + base64.b64encode(b"RIFF").decode()
    assert EXAMINATIONS["speech_recognition"].ask(Spoken(url, "hello"), setting).audio == b"RIFF"
    with pytest.raises(InvalidRequest, match="base64"):
        EXAMINATIONS["speech_recognition"].ask(Spoken("data:audio/wav;base64,?", "hello"), setting)
    assert EXAMINATIONS["speech_recognition"].metrics(["hello you"], ["Hello there!"]) == {"wer": 0.5}


@pytest.mark.parametrize("method", ["dpo", "pretrain"])
def test_rows_without_answers_are_refused(method):
    with pytest.raises(InvalidRequest, match="no answers to compare"):
        Evaluation(model="acme/m", method=method, rows=Rows(file="file-1")).check()


def test_what_cannot_be_measured_here_is_refused_before_anything_is_asked(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match="jiwer is not installed"):
        Evaluation(model="acme/m", method="speech_recognition", rows=Rows(file="file-1")).check()
    Evaluation(model="acme/m", method="classification", rows=Rows(file="file-1")).check()


def test_an_evaluation_names_its_model_and_its_rows():
    with pytest.raises(InvalidRequest, match="Name the model"):
        Evaluation(model="", method="classification", rows=Rows(file="file-1")).check()
    with pytest.raises(InvalidRequest, match="one of the two"):
        Evaluation(model="a", method="classification", rows=Rows()).check()
