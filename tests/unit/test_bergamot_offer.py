"""What the bergamot engine takes, by the names of files alone, and how a text becomes sentences."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core import plugins
from yunmo.core.engine import Hardware, ModelDescription
from yunmo.core.errors import InvalidRequest
from yunmo.engines.bergamot.kind import kind
from yunmo.engines.bergamot.repository import Contents, contents_of
from yunmo.engines.bergamot.sentences import MOST_TOKENS, sentences, spaced_for
from yunmo.serving.calibration.samples import samples

MIB = 1 << 20
MACHINE = Hardware(cores=2, memory_bytes=16 << 30)
FILES = {
    "model.enpt.intgemm.alphas.bin": 17 * MIB,
    "vocab.enpt.spm": MIB,
    "lex.50.50.enpt.s2t.bin": 4 * MIB,
    "README.md": 5,
    "config.intgemm8bitalpha.yml": 349,
}


def described(files=FILES, **documents):
    return ModelDescription("a/b", "0" * 40, files, {f"{name}.json": value for name, value in documents.items()})


def renamed(**names):
    return {names.get(path.partition(".")[0], path): size for path, size in FILES.items()}


def without(path):
    return {name: size for name, size in FILES.items() if name != path}


def offered(files=FILES, hardware=MACHINE, **documents):
    return kind.offer(described(files, **documents), hardware)


def words(text):
    return len(text.split())


def test_the_kind_is_registered_under_its_name():
    assert plugins.engines()["bergamot"] is kind


def test_a_model_is_offered_with_a_stream_for_each_core_and_only_its_own_files():
    offer = offered()
    assert offer.tasks == ("translate",)
    assert (offer.plan.precision, offer.plan.streams, offer.plan.threads, offer.plan.batch_items) == ("int8", 2, 1, 1)
    assert offer.plan.slots > offer.plan.streams
    assert set(offer.files) == {"model.enpt.intgemm.alphas.bin", "vocab.enpt.spm", "lex.50.50.enpt.s2t.bin"}
    assert offer.problem is None
    kind.check(offer.plan)


def test_calibration_may_try_one_stream_and_all_cores_and_each_takes_its_memory():
    large = offered(hardware=Hardware(cores=32, memory_bytes=64 << 30))
    assert [each.plan.streams for each in (large, *large.alternatives)] == [8, 32, 1]
    eight, all_cores, alone = (each.resident_bytes for each in (large, *large.alternatives))
    assert alone < eight < all_cores
    assert all(each.memory_bytes > each.resident_bytes for each in (large, *large.alternatives))
    assert [each.plan.streams for each in offered(hardware=Hardware(cores=1, memory_bytes=1 << 30)).alternatives] == []


def test_the_languages_are_told_by_the_weights_name_or_by_metadata():
    def pair(files=FILES, **documents):
        found = contents_of(described(files, **documents))
        return (found.source, found.target) if isinstance(found, Contents) else None

    assert pair() == ("en", "pt")
    assert pair(renamed(model="model.en-zh.intgemm8.bin")) == ("en", "zh")
    assert pair(renamed(model="model.engpor.intgemm.alphas.bin")) == ("eng", "por")
    assert pair(metadata={"sourceLanguage": "en", "targetLanguage": "zh-Hans"}) == ("en", "zh-Hans")
    assert pair(renamed(model="model.intgemm.alphas.bin"), metadata={"sourceLanguage": "ca", "targetLanguage": "en"}) == ("ca", "en")
    assert pair(metadata=["no", "object"]) == ("en", "pt")


def test_metadata_is_laid_out_beside_the_model():
    files = FILES | {"metadata.json": 99}
    assert "metadata.json" in offered(files, metadata={"sourceLanguage": "en", "targetLanguage": "pt"}).files


def test_a_vocabulary_of_each_language_and_no_shortlist_are_taken():
    files = without("vocab.enpt.spm") | {"srcvocab.enja.spm": 1, "trgvocab.enja.spm": 1}
    del files["lex.50.50.enpt.s2t.bin"]
    found = contents_of(described(files))
    assert (found.source_vocabulary, found.target_vocabulary, found.shortlist) == ("srcvocab.enja.spm", "trgvocab.enja.spm", None)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (without("vocab.enpt.spm"), "vocab"),
        (without("vocab.enpt.spm") | {"srcvocab.enpt.spm": 1}, "trgvocab"),
        (FILES | {"model.pten.intgemm.alphas.bin": 1}, "model.pten"),
        (FILES | {"lex.pten.s2t.bin": 1}, "lex.pten"),
        (renamed(model="model.intgemm.alphas.bin"), "metadata.json"),
        (renamed(model="model.tiny.intgemm.alphas.bin.gz"), "unpack"),
    ],
    ids=["no vocabulary", "half of the vocabularies", "two models", "two shortlists", "no languages", "packed"],
)
def test_what_is_wrong_with_a_repository_is_told(files, told):
    offer = offered(files)
    assert told in offer.problem
    assert offer.files == ()


@pytest.mark.parametrize("weights", ["model.bin", "model.safetensors", "pytorch_model.bin", "model.npz", "a/model.enpt.intgemm.alphas.bin"])
def test_other_models_are_left_to_others(weights):
    assert offered(renamed(model=weights)) is None


def test_without_the_library_the_offer_says_what_to_install(monkeypatch):
    monkeypatch.setattr("yunmo.engines.bergamot.kind.find_spec", lambda name: None)
    assert "yunmo[bergamot]" in offered().missing


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"threads": 2}, "threads"),
        ({"batch_items": 4}, "batch_items"),
        ({"precision": "fp32"}, "precision"),
        ({"options": {"beams": 4}}, "beams"),
        ({"options": {"most_input_tokens": 0}}, "most_input_tokens"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_its_field(changes, param):
    with pytest.raises(InvalidRequest) as refusal:
        kind.check(msgspec.structs.replace(offered().plan, **changes))
    assert refusal.value.param == param


def test_calibration_names_no_language_to_a_model_that_has_one_pair():
    requests = samples("translate", described())
    assert requests
    assert {(request.source, request.target) for request in requests} == {(None, None)}


def test_sentences_are_told_from_abbreviations_and_lines():
    found, end = sentences("Mr. Bean came on Jan. 5.  He left.\n\n- one\n\t- two \n", "en", words)
    assert [each.text for each in found] == ["Mr. Bean came on Jan. 5.", "He left.", "- one", "- two"]
    assert [each.before for each in found] == ["", "  ", "\n\n", "\n\t"]
    assert end == " \n"


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab. \n\r\t,;!?。，\u2028\u00a0A1“”😀")))
def test_the_sentences_and_the_white_space_between_them_are_the_text(text):
    found, end = sentences(text, "en", lambda part: len(part) // 3)
    assert "".join(each.before + each.text for each in found) + end == text
    assert all(each.text.strip() == each.text != "" for each in found)
    assert end.strip() == ""


def test_a_sentence_that_is_too_long_is_cut_behind_a_clause_or_at_a_space_or_anywhere():
    clauses = ", ".join(["one two three four five six seven"] * 40)
    found, _ = sentences(clauses, "en", words)
    assert all(each.text.endswith((",", "seven")) for each in found)
    assert all(MOST_TOKENS // 2 < words(each.text) <= MOST_TOKENS for each in found[:-1])
    spaced, _ = sentences("word " * 300, "en", words)
    assert [words(each.text) for each in spaced] == [64, 64, 64, 64, 44]
    unbroken, _ = sentences("x" * 1000, "en", len)
    assert [len(each.text) for each in unbroken] == [64] * 15 + [40]


def test_a_very_long_text_without_an_end_is_cut_without_counting_all_of_it_each_time():
    counted = []

    def count(text):
        counted.append(len(text))
        return len(text) // 4

    sentences("word " * 100_000, "en", count)
    assert max(counted) <= 16 * MOST_TOKENS


@pytest.mark.parametrize(
    ("gap", "source", "target", "expected"),
    [
        (" ", "en", "pt", " "),
        ("\n\n", "en", "zh", "\n\n"),
        (" ", "en", "zh", ""),
        ("  ", "en", "zh", "  "),
        ("", "zh", "en", " "),
        ("\n", "zh", "en", "\n"),
        ("", "zh", "ja", ""),
        ("", "en", "pt", ""),
    ],
)
def test_sentences_are_spaced_as_the_target_language_has_it(gap, source, target, expected):
    assert spaced_for(gap, source, target) == expected
