"""Bergamot with a real model: English to Portuguese, sentence by sentence; and files that are not what they should be."""

import asyncio
import contextlib
import shutil
import threading

import msgspec
import pytest
from engine_contract import EngineCase, EngineContract

from starter_models import bergamot_directory
from yunmo.core.engine import Hardware
from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unavailable, Unsupported
from yunmo.core.tasks import Generate, Sampling, Translate
from yunmo.engines.bergamot.kind import kind
from yunmo.engines.transformers.kind import describe_directory

ORDER = "Where is my order? It was supposed to arrive yesterday."
ENCOMENDA = "Onde está a minha encomenda? Era para chegar ontem."
WALK = (
    "He walked through the old city, which had been rebuilt after the war, past the market where the fishermen sold their catch each "
    "morning, past the church with its broken clock, past the school in which his mother had taught mathematics for thirty years, and "
    "then along the river, whose water was brown after the long rains of spring, until he came to the bridge that his grandfather had "
    "helped to build, and there he stopped, because a boy was sitting on the wall with a small red boat in his hands, and the boy looked "
    "up and asked him whether he knew how far it was to the sea, and he did not know what to answer, for nobody had ever asked him that."
)
WEIGHTS, VOCABULARY, SHORTLIST = "model.enpt.intgemm.alphas.bin", "vocab.enpt.spm", "lex.50.50.enpt.s2t.bin"


def plan(**fields):
    offer = kind.offer(describe_directory(bergamot_directory()), Hardware(cores=2, memory_bytes=16 << 30))
    return msgspec.structs.replace(offer.plan, **fields)


def load(directory, **fields):
    return kind.load(directory, directory, plan(**fields), lambda step, share: None)


@pytest.fixture(scope="module")
def engine():
    with using(bergamot_directory()) as loaded:
        yield loaded


@contextlib.contextmanager
def using(directory, **fields):
    loaded = load(directory, **fields)
    yield loaded
    asyncio.run(loaded.close())


def watched(engine, monkeypatch):
    """The sentences that its threads have begun, and an event for the first."""
    seen, began, translate = [], threading.Event(), engine._translators._translate

    def noting(sentence):
        seen.append(sentence)
        began.set()
        return translate(sentence)

    monkeypatch.setattr(engine._translators, "_translate", noting)
    return seen, began


async def answered(engine, request):
    return [item async for item in engine.stream(request)]


def answer(engine, text, **fields):
    *_, texts, usage = asyncio.run(answered(engine, Translate(texts=(text,), **fields)))
    return texts.texts[0], usage


def test_english_becomes_portuguese_and_is_counted(engine):
    text, usage = answer(engine, ORDER, source="en-GB", target="pt-BR")
    assert text == ENCOMENDA
    assert (usage.input_tokens, usage.characters) == (14, len(ORDER))
    assert 10 <= usage.output_tokens <= 16


def test_portuguese_becomes_english():
    with using(bergamot_directory("pt", "en"), streams=1) as back:
        assert answer(back, ENCOMENDA, source="pt", target="en")[0] == "Where is my order? It was to get there yesterday."


def test_white_space_and_line_breaks_come_back_as_they_were(engine):
    text, _ = answer(engine, "  Hello.  How are you?\n\nI am fine.\tThanks!\r\n    - item one\n    - item two\n")
    assert text == "  Olá.  Como você está?\n\nEu estou bem.\tObrigado!\r\n    - item um\n    - item dois\n"
    assert answer(engine, " \n\t ")[0] == " \n\t "


def test_every_sentence_of_a_long_text_is_translated_in_its_place(engine):
    alone = [f"There are {number} books in room {number + 1}." for number in range(2, 50)]
    text, usage = answer(engine, " ".join(alone))
    assert text == " ".join(answer(engine, each)[0] for each in alone)
    assert sum(f"Há {number} livros" in text for number in range(2, 50)) > 40
    assert usage.input_tokens > 400


def test_a_sentence_longer_than_the_model_reads_loses_none_of_its_clauses(engine):
    text, _ = answer(engine, WALK)
    for words in ("cidade velha", "pescadores", "relógio", "matemática", "rio", "ponte", "barco vermelho", "o mar", "ninguém"):
        assert words in text


def test_sentences_of_one_text_are_worked_on_by_all_streams(engine, monkeypatch):
    began, seen = threading.Barrier(2, timeout=20), set()
    translate = engine._translators._translate

    def watched(sentence):
        if len(seen) < 2:
            seen.add(threading.get_ident())
            began.wait()
        return translate(sentence)

    monkeypatch.setattr(engine._translators, "_translate", watched)
    assert answer(engine, ORDER)[0] == ENCOMENDA
    assert len(seen) == 2


def test_max_tokens_is_how_many_are_written(engine):
    whole, usage = answer(engine, ORDER)
    for most in range(1, usage.output_tokens):
        text, counted = answer(engine, ORDER, sampling=Sampling(max_tokens=most))
        assert whole.startswith(text)
        assert counted.output_tokens == most
    assert answer(engine, ORDER, sampling=Sampling(max_tokens=500)) == (whole, usage)


def test_a_stop_sequence_ends_the_text(engine):
    assert answer(engine, ORDER, sampling=Sampling(stop=("Era",)))[0] == "Onde está a minha encomenda? "


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0.0), Sampling(beams=1), Sampling(repetition_penalty=1.0, seed=7)],
)
def test_wishes_that_change_nothing_are_taken(engine, sampling):
    assert answer(engine, ORDER, sampling=sampling)[0] == ENCOMENDA


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (Sampling(beams=4), "num_beams"),
        (Sampling(temperature=0.7), "temperature"),
        (Sampling(top_p=0.9), "temperature"),
        (Sampling(repetition_penalty=1.3), "repetition_penalty"),
        (Sampling(frequency_penalty=1.0), "frequency_penalty"),
        (Sampling(presence_penalty=1.0), "presence_penalty"),
        (Sampling(logit_bias={"5": 1.0}), "logit_bias"),
    ],
)
def test_a_wish_that_would_change_the_text_is_refused_by_its_name(engine, sampling, param):
    with pytest.raises(Unsupported) as refusal:
        answer(engine, ORDER, sampling=sampling)
    assert refusal.value.param == param


@pytest.mark.parametrize(("languages", "param"), [({"source": "zh"}, "src_lang"), ({"source": "en", "target": "fr"}, "tgt_lang")])
def test_other_languages_than_the_models_are_refused(engine, languages, param):
    with pytest.raises(InvalidRequest, match="en to pt only") as refusal:
        answer(engine, ORDER, **languages)
    assert refusal.value.param == param


def test_a_text_beyond_the_limit_is_refused_or_its_last_sentences_are_left_out():
    with using(bergamot_directory(), streams=1, options={"most_input_tokens": 20}) as small:
        with pytest.raises(ContextTooLong, match="at most 20"):
            answer(small, f"{ORDER} {ORDER}")
        assert answer(small, f"{ORDER} {ORDER}", truncate=True)[0] == f"{ENCOMENDA} Onde está a minha encomenda?"


def copied(directory):
    shutil.copytree(bergamot_directory(), directory)
    return directory


@pytest.mark.parametrize("file", [WEIGHTS, VOCABULARY, SHORTLIST])
@pytest.mark.parametrize("damage", ["emptied", "half", "zeros", "another file"])
def test_a_damaged_file_fails_the_load_with_a_reason(tmp_path, file, damage):
    path = copied(tmp_path / "model") / file
    data = path.read_bytes()
    path.write_bytes(
        {"emptied": b"", "half": data[: len(data) // 2], "zeros": bytes(len(data)), "another file": b"# A model\n" * 99}[damage]
    )
    with pytest.raises(EngineFailed, match=r"damaged|empty|holds no weights|is no shortlist"):
        load(tmp_path / "model")


def test_a_vocabulary_that_went_missing_fails_the_load(tmp_path):
    (copied(tmp_path / "model") / VOCABULARY).unlink()
    with pytest.raises(EngineFailed, match="vocab"):
        load(tmp_path / "model")


def test_metadata_that_is_not_json_fails_the_load(tmp_path):
    (copied(tmp_path / "model") / "metadata.json").write_text("{")
    with pytest.raises(EngineFailed, match="not JSON"):
        load(tmp_path / "model")


def test_a_model_without_a_shortlist_translates_too(tmp_path):
    (copied(tmp_path / "model") / SHORTLIST).unlink()
    with using(tmp_path / "model", streams=1) as whole:
        assert answer(whole, "How are you today?")[0] == "Como você está hoje?"


def test_a_vocabulary_of_each_language_is_read_and_chinese_sentences_are_not_spaced(tmp_path):
    directory = copied(tmp_path / "model")
    shutil.copyfile(directory / VOCABULARY, directory / "trgvocab.enzh.spm")
    (directory / VOCABULARY).rename(directory / "srcvocab.enzh.spm")
    (directory / "metadata.json").write_text('{"sourceLanguage": "en", "targetLanguage": "zh-Hans"}')
    with using(directory, streams=1) as chinese:
        assert answer(chinese, f" {ORDER}\n{ORDER}", target="zh-CN")[0] == " {0}\n{0}".format(ENCOMENDA.replace("? ", "?"))
        with pytest.raises(InvalidRequest, match="zh-Hans only"):
            answer(chinese, ORDER, target="zh-TW")


async def test_a_short_text_does_not_wait_for_all_of_a_long_one(tmp_path):
    loaded = load(bergamot_directory(), streams=1)
    long = asyncio.create_task(answered(loaded, Translate(texts=(f"{WALK}\n" * 20,))))
    await asyncio.sleep(0)
    assert (await answered(loaded, Translate(texts=(ORDER,))))[0].texts == (ENCOMENDA,)
    assert not long.done()
    assert len((await long)[1].texts[0].splitlines()) == 20
    await loaded.close()


async def test_a_text_that_nobody_waits_for_is_not_translated_to_its_end(tmp_path, monkeypatch):
    loaded = load(bergamot_directory(), streams=1)
    seen, began = watched(loaded, monkeypatch)
    task = asyncio.create_task(answered(loaded, Translate(texts=("How are you?\n" * 2000,))))
    assert await asyncio.to_thread(began.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await answered(loaded, Translate(texts=(ORDER,))))[0].texts == (ENCOMENDA,)
    assert len(seen) < 1000
    await loaded.close()
    with pytest.raises(Unavailable):
        await answered(loaded, Translate(texts=(ORDER,)))


async def test_a_text_in_work_is_told_when_its_model_is_unloaded(monkeypatch):
    loaded = load(bergamot_directory(), streams=1)
    _, began = watched(loaded, monkeypatch)
    task = asyncio.create_task(answered(loaded, Translate(texts=("How are you?\n" * 3000,))))
    assert await asyncio.to_thread(began.wait, 20)
    await loaded.close()
    with pytest.raises(Unavailable, match="unloaded"):
        await task


async def test_what_was_read_of_a_long_text_is_known_before_it_is_translated(engine):
    read, texts, usage = await answered(engine, Translate(texts=(f"{WALK}\n" * 8,)))
    assert (read.input_tokens, read.characters, read.output_tokens) == (usage.input_tokens, len(WALK) * 8 + 8, 0)
    assert usage.output_tokens > 8 * 100
    assert len(texts.texts[0].splitlines()) == 8


def test_texts_of_one_request_come_in_their_order_and_a_full_one_ends_alone(engine):
    request = Translate(texts=(ORDER, "How are you?", f"{ORDER} {ORDER}"), sampling=Sampling(max_tokens=9))
    texts, usage = asyncio.run(answered(engine, request))
    assert texts.texts == ("Onde está a minha encomenda? Era para", "Como você está?", "Onde está a minha encomenda? Era para")
    assert usage.output_tokens == 9 + 5 + 9


class TestBergamot(EngineContract):
    """What every engine promises."""

    @pytest.fixture(scope="class")
    def case(self):
        return EngineCase(
            kind=kind,
            directory=bergamot_directory(),
            plan=plan(),
            requests={"translate": Translate(texts=(ORDER, "How are you today?\nFine."))},
            bad=(
                Translate(texts=("",)),
                Translate(texts=("Hello",), target="de"),
                Translate(texts=("Hello",), sampling=Sampling(beams=3)),
                Generate(prompt="Hello"),
            ),
            others=tuple(Translate(texts=(f"The train leaves at {hour} o'clock.",)) for hour in range(1, 9)),
        )
