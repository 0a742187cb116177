"""What models say of the languages that they translate."""

import pytest

from yunmo.apps.translate.abilities import Ability, abilities_of
from yunmo.core.engine import ModelDescription


def pair(source, target):
    return Ability(frozenset([source]), frozenset([target]))


def described(name="acme/model", files=(), languages=(), **documents):
    return ModelDescription(
        name, "0" * 40, dict.fromkeys(files, 1), {f"{path}.json": content for path, content in documents.items()}, languages=languages
    )


CASES = {
    "a marian's tokenizer": (described(tokenizer_config={"source_lang": "eng", "target_lang": "zho"}), [pair("en", "zh")]),
    "the tokenizer before the name": (
        described("acme/opus-mt-de-fr", tokenizer_config={"source_lang": "en", "target_lang": "zh"}),
        [pair("en", "zh")],
    ),
    "the name": (described("acme/opus-mt-en-zh"), [pair("en", "zh")]),
    "another name": (described("acme/translate-en_pt"), [pair("en", "pt")]),
    "a name with to": (described("acme/en-to-de"), [pair("en", "de")]),
    "a bergamot file": (described(files=["model.enzh.intgemm.alphas.bin"]), [pair("en", "zh")]),
    "firefox's metadata": (
        described(files=["model.enzh.bin"], metadata={"sourceLanguage": "en", "targetLanguage": "zh-Hans"}),
        [pair("en", "zh-Hans")],
    ),
    "two languages of the card": (described(languages=["zh", "en"]), [pair("zh", "en")]),
    "many of the card": (
        described("acme/opus-mt-en-ROMANCE", languages=["en", "fr", "it"]),
        [Ability(frozenset(["en", "fr", "it"]), frozenset(["en", "fr", "it"]))],
    ),
    "t5's instructions": (
        described(config={"task_specific_params": {"translation_en_to_de": {"prefix": "x: "}, "translation_en_to_fr": {"prefix": "y: "}}}),
        [pair("en", "de"), pair("en", "fr")],
    ),
    "tokens of many": (
        described(
            config={"architectures": ["M2M100ForConditionalGeneration"]},
            special_tokens_map={"additional_special_tokens": ["eng_Latn", {"content": "zho_Hans"}, "zho_Hant", "<mask>"]},
        ),
        [Ability(frozenset(["en", "zh-Hans", "zh-Hant"]), frozenset(["en", "zh-Hans", "zh-Hant"]))],
    ),
    "m2m100's tokens": (
        described(
            config={"architectures": ["M2M100ForConditionalGeneration"]},
            tokenizer_config={"extra_special_tokens": ["__en__", "__zh__"]},
        ),
        [Ability(frozenset(["en", "zh"]), frozenset(["en", "zh"]))],
    ),
    "mbart's tokens": (
        described(
            config={"architectures": ["MBartForConditionalGeneration"]},
            tokenizer_config={"extra_special_tokens": ["de_DE", "zh_CN", "pt_XX"]},
        ),
        [Ability(frozenset(["de", "zh-Hans", "pt"]), frozenset(["de", "zh-Hans", "pt"]))],
    ),
    "columns of its training": (
        described(training={"order": {"rows": {"columns": {"source": "en", "target": "zh"}}}}),
        [pair("en", "zh")],
    ),
    "columns that are no languages": (described(training={"order": {"rows": {"columns": {"source": "question", "target": "answer"}}}}), []),
    "a group of languages": (described("acme/opus-mt-en-ROMANCE"), []),
    "nothing": (described("acme/summarizer"), []),
    "documents that are no objects": (described(tokenizer_config=[1], training="x", config={"task_specific_params": 3}), []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_languages_are_known_by(name):
    model, abilities = CASES[name]
    assert list(abilities_of(model)) == abilities
