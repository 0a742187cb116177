"""Every kind of model that the transformers engine runs, as a tiny one with random weights, against the engines' contract."""

import warnings

import pytest
from engine_contract import EngineCase, EngineContract

import tiny_models
from yunmo.core.engine import Hardware
from yunmo.core.tasks import (
    Answer,
    AnswerDocument,
    AnswerImage,
    AnswerTable,
    Chat,
    Classify,
    ClassifyAudio,
    ClassifyImage,
    ClassifyImageZeroShot,
    ClassifyTokens,
    ClassifyZeroShot,
    Describe,
    Detect,
    Embed,
    FillMask,
    Generate,
    Message,
    PlacedWord,
    Sampling,
    Segment,
    Speak,
    Summarize,
    Transcribe,
    Translate,
)
from yunmo.engines.transformers.kind import describe_directory, kind

PICTURE, SOUND = tiny_models.png(), tiny_models.wav(0.5)
LONG = "the quick brown fox " * 60

PAGE = tuple(
    PlacedWord(word, (60 * place, 10, 60 * place + 50, 40))
    for place, word in enumerate(["the", "red", "car", "is", "the", "fox", "of", "france"])
)
TABLE = {"columns": ("dog", "number"), "rows": (("red", "12"), ("lazy", "3"), ("brown", "7"))}


def chat(text: str, **more) -> Chat:
    return Chat(messages=(Message(role="user", content=text),), **more)


VALID = {
    "classify": (Classify(texts=("hello world", "how are you")), Classify(texts=(("paris", "berlin"),), top_k=1)),
    "classify-tokens": (
        ClassifyTokens(texts=("paris is the capital of france",)),
        ClassifyTokens(texts=("hello world",), aggregation="none"),
    ),
    "classify-zero-shot": (ClassifyZeroShot(texts=("paris is the capital",), labels=("politics", "sports")),),
    "answer": (Answer(question="what is the capital of france", context="paris is the capital of france and berlin of germany", top_k=3),),
    "fill-mask": (FillMask(texts=("paris is the [MASK] of france",)), FillMask(texts=("[MASK] world",), targets=("hello", "red"))),
    "embed": (Embed(inputs=("hello world", "paris")), Embed(inputs=((5, 6, 7),), pooled=False)),
    "generate": (
        Generate(prompt="hello world", sampling=Sampling(max_tokens=12), choices=2),
        Generate(prompt=(40, 41, 42), sampling=Sampling(max_tokens=8, temperature=1.0, seed=7), top_logprobs=2),
    ),
    "chat": (
        chat("hello", sampling=Sampling(max_tokens=12)),
        chat("the red car", sampling=Sampling(max_tokens=9, temperature=0.8, seed=3)),
    ),
    "summarize": (Summarize(texts=("my dog likes to eat fish", "hello world"), sampling=Sampling(max_tokens=12)),),
    "translate": (Translate(texts=("the house is wonderful", "hello world"), source="en", target="de", sampling=Sampling(max_tokens=12)),),
    "classify-image": (ClassifyImage(image=PICTURE), ClassifyImage(image=tiny_models.png(30, 30, seed=1, kind="JPEG"), top_k=2)),
    "classify-image-zero-shot": (ClassifyImageZeroShot(image=PICTURE, labels=("cat", "red car")),),
    "detect": (Detect(image=PICTURE, threshold=0.1), Detect(image=tiny_models.png(seed=2), threshold=0.0)),
    "segment": (Segment(image=PICTURE, threshold=0.0),),
    "describe": (Describe(image=PICTURE, sampling=Sampling(max_tokens=6)),),
    "answer-image": (AnswerImage(image=PICTURE, question="what is this"), AnswerImage(image=PICTURE, question="who", top_k=2)),
    "answer-document": (
        AnswerDocument(image=PICTURE, question="what is the car", words=PAGE, top_k=2),
        AnswerDocument(image=PICTURE, question="who", words=PAGE * 9, handle_impossible=True, max_answer_tokens=3),
    ),
    "answer-table": (AnswerTable(question="how many dog", **TABLE), AnswerTable(question="red", columns=("a",), rows=(("12",),) * 80)),
    "transcribe": (Transcribe(audio=SOUND), Transcribe(audio=tiny_models.wav(0.7, 8000, seed=1))),
    "classify-audio": (ClassifyAudio(audio=SOUND), ClassifyAudio(audio=tiny_models.wav(0.4, 44_100, channels=2), top_k=1)),
    "speak": (Speak(text="hello world"), Speak(text="how are you", speed=1.5)),
}
BAD = {
    "classify": (Classify(texts=("",)), Classify(texts=(LONG,)), Classify(texts=("a",), top_k=0)),
    "classify-tokens": (ClassifyTokens(texts=("",)), ClassifyTokens(texts=(LONG,)), ClassifyTokens(texts=("a",), stride=9999)),
    "classify-zero-shot": (
        ClassifyZeroShot(texts=("a",), labels=()),
        ClassifyZeroShot(texts=("a",), labels=("b",), hypothesis_template="no place"),
        ClassifyZeroShot(texts=("a",), labels=("b",), hypothesis_template="{:>999999999}"),
        ClassifyZeroShot(texts=("a",), labels=("b",), hypothesis_template="{0.__class__}"),
        ClassifyZeroShot(texts=(LONG,), labels=("b",)),
    ),
    "answer": (
        Answer(question="", context="a"),
        Answer(question="a", context=""),
        Answer(question=LONG, context="a"),
        Answer(question="a", context="b", top_k=0),
    ),
    "fill-mask": (FillMask(texts=("no mask",)), FillMask(texts=("[MASK] [MASK]",)), FillMask(texts=("[MASK]",), targets=("☃",))),
    "embed": (
        Embed(inputs=("",)),
        Embed(inputs=((10**9,),)),
        Embed(inputs=((),)),
        Embed(inputs=(LONG,), truncate=False),
        Embed(inputs=("a",), dimensions=10**6),
    ),
    "generate": (
        Generate(prompt=""),
        Generate(prompt=(10**9,)),
        Generate(prompt=LONG * 20, sampling=Sampling(max_tokens=2)),
        Generate(prompt="a", choices=0),
        Generate(prompt="a", sampling=Sampling(temperature=-1.0)),
        Generate(prompt="a", sampling=Sampling(logit_bias={"x": 1.0})),
        Generate(prompt="a", top_logprobs=99),
        Generate(prompt="a", sampling=Sampling(max_tokens=0)),
    ),
    "chat": (chat(LONG * 20), chat("a", top_logprobs=-1), chat("a", sampling=Sampling(stop=("",)))),
    "summarize": (Summarize(texts=("",)), Summarize(texts=(LONG * 5,))),
    "translate": (Translate(texts=("",), source="en", target="de"), Translate(texts=("a",), source="en", target="klingon")),
    "classify-image": (
        ClassifyImage(image=b""),
        ClassifyImage(image=b"GIF89a"),
        ClassifyImage(image=PICTURE[:200]),
        ClassifyImage(image=PICTURE, top_k=-1),
    ),
    "classify-image-zero-shot": (ClassifyImageZeroShot(image=PICTURE, labels=()), ClassifyImageZeroShot(image=b"x", labels=("a",))),
    "detect": (Detect(image=b"not a picture"), Detect(image=PICTURE, threshold=2.0)),
    "segment": (Segment(image=b"\x89PNG\r\n\x1a\n"), Segment(image=PICTURE, threshold=-1.0)),
    "describe": (Describe(image=b"nothing"), Describe(image=PICTURE, sampling=Sampling(beams=99))),
    "answer-image": (
        AnswerImage(image=PICTURE, question=""),
        AnswerImage(image=b"", question="who"),
        AnswerImage(image=PICTURE, question=LONG),
        AnswerImage(image=PICTURE[:99], question="who"),
        AnswerImage(image=PICTURE, question="who", top_k=0),
    ),
    "answer-document": (
        AnswerDocument(image=PICTURE[:99], question="who", words=PAGE),
        AnswerDocument(image=PICTURE, question=" ", words=PAGE),
        AnswerDocument(image=PICTURE, question=LONG, words=PAGE),
        AnswerDocument(image=PICTURE, question="who", words=()),
        AnswerDocument(image=PICTURE, question="who", words=(PlacedWord("a", (0, 0, 1001, 5)),)),
        AnswerDocument(image=PICTURE, question="who", words=(PlacedWord("a", (9, 0, 5, 5)),)),
        AnswerDocument(image=PICTURE, question="who", words=PAGE * 3000),
        AnswerDocument(image=PICTURE, question="who", words=PAGE, max_answer_tokens=0),
        AnswerDocument(image=PICTURE, question="who", words=PAGE, top_k=0),
    ),
    "answer-table": (
        AnswerTable(question="", **TABLE),
        AnswerTable(question=LONG, **TABLE),
        AnswerTable(question="who", columns=(), rows=()),
        AnswerTable(question="who", columns=("a",), rows=()),
        AnswerTable(question="who", columns=("a", "b"), rows=(("1",),)),
        AnswerTable(question="who", columns=("a",) * 40, rows=(("1",) * 40,)),
        AnswerTable(question="who", columns=("a",), rows=(("1",),) * 80, truncate=False),
        AnswerTable(question="who", columns=("a",), rows=(("red dog fox",),) * 30, truncate=False),
        AnswerTable(question="who", columns=("a",), rows=(("x" * 31_000,),)),
    ),
    "transcribe": (Transcribe(audio=b""), Transcribe(audio=b"RIFF????WAVE"), Transcribe(audio=SOUND, skip_silence=True)),
    "classify-audio": (ClassifyAudio(audio=b"ID3"), ClassifyAudio(audio=SOUND[:44]), ClassifyAudio(audio=SOUND, top_k=0)),
    "speak": (Speak(text=""), Speak(text="☃☃"), Speak(text="a" * 5000), Speak(text="a", speed=0.0), Speak(text="a", voice="nobody")),
}
ENDLESS = Sampling(max_tokens=100, logit_bias={"0": -100.0, "1": -100.0})
ENDLESS_OF = {"chat": chat("hello", sampling=ENDLESS), "generate": Generate(prompt="hello", sampling=ENDLESS)}


WRITTEN = {
    "donut": {
        "answer-document": (
            AnswerDocument(image=PICTURE, question="what is the car"),
            AnswerDocument(image=PICTURE, question="who", max_answer_tokens=3),
        )
    }
}
"""What models are asked that read the words of a page themselves."""


class TestTransformers(EngineContract):
    @pytest.fixture(scope="class", params=list(tiny_models.BUILDERS))
    def case(self, request, tiny_model):
        directory = tiny_model(request.param)
        offer = kind.offer(describe_directory(directory), Hardware(cores=1, memory_bytes=8 << 30))
        assert offer is not None
        assert offer.problem is None
        assert offer.missing is None
        valid = VALID | WRITTEN.get(request.param, {})
        return EngineCase(
            kind=kind,
            directory=directory,
            plan=offer.plan,
            requests={task: valid[task][0] for task in offer.tasks},
            others=[other for task in offer.tasks for other in valid[task][1:]],
            bad=[
                bad
                for task in offer.tasks
                for bad in BAD[task]
                if not (request.param == "mamba" and getattr(bad, "prompt", "") == LONG * 20)
            ],
            long=next((ENDLESS_OF[task] for task in ("chat", "generate") if task in offer.tasks), None),
        )

    @pytest.fixture(autouse=True)
    def quiet(self):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "std.*degrees of freedom", UserWarning)
            yield
