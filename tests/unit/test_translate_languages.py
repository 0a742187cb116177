"""Codes of languages, their names, and which serves for which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate import languages
from yunmo.apps.translate.language_table import ALIASES, LANGUAGES
from yunmo.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("code", "canonical"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("EN-US", "en-US"),
        ("en_us", "en-US"),
        ("eng", "en"),
        ("eng_Latn", "en"),
        ("en_XX", "en"),
        ("pt", "pt"),
        ("PT-BR", "pt-BR"),
        ("pb", "pt-BR"),
        ("es-419", "es-419"),
        ("zh", "zh"),
        ("zho", "zh"),
        ("chi", "zh"),
        ("cmn", "zh"),
        ("cmn_Hans", "zh-Hans"),
        ("ZH-HANS", "zh-Hans"),
        ("zh-CN", "zh-Hans"),
        ("zh_CN.UTF-8", "zh-Hans"),
        ("zh-Hans-CN", "zh-Hans"),
        ("zh-SG", "zh-Hans-SG"),
        ("zt", "zh-Hant"),
        ("zho_Hant", "zh-Hant"),
        ("zh-TW", "zh-Hant"),
        ("zh-Hant-TW", "zh-Hant"),
        ("zh-HK", "zh-Hant-HK"),
        ("sr@latin", "sr-Latn"),
        ("sh", "sr-Latn"),
        ("srp_Cyrl", "sr"),
        ("de_DE@euro", "de-DE"),
        ("no", "nb"),
        ("iw", "he"),
        ("fil", "tl"),
        ("arb_Arab", "ar"),
        ("arz_Arab", "ar-EG"),
        ("pes_Arab", "fa"),
        ("yue_Hant", "yue"),
        (" ja ", "ja"),
    ],
)
def test_every_usual_code_has_one_canonical_form(code, canonical):
    assert languages.parse(code).code == canonical


@pytest.mark.parametrize("code", ["", "e", "zz", "english", "zh-", "en-US-extra", "qqq", "../en", "e" * 5000, "中文"])
def test_what_is_no_known_code_is_refused_by_name(code):
    with pytest.raises(InvalidRequest) as refusal:
        languages.parse(code)
    assert code.strip()[:30] in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_the_table_names_every_language_once_in_all_three_ways():
    assert len({entry.base for entry in LANGUAGES}) == len({entry.alpha3 for entry in LANGUAGES}) == len(LANGUAGES) > 100
    assert all(entry.english and entry.chinese and entry.native for entry in LANGUAGES)
    assert all(languages.parse(alias).base for alias in ALIASES)


@pytest.mark.parametrize(
    ("code", "english", "chinese", "native"),
    [
        ("de", "German", "德语", "Deutsch"),
        ("zh-Hans", "Chinese (Simplified)", "简体中文", "简体中文"),
        ("pt-BR", "Portuguese (Brazil)", "葡萄牙语（巴西）", "Português (Brasil)"),
        ("zh-Hant-HK", "Chinese (Traditional, Hong Kong)", "中文（繁体，香港）", "繁體中文（香港）"),
        ("en-ZZ", "English (ZZ)", "英语（ZZ）", "English (ZZ)"),
    ],
)
def test_a_language_says_its_name(code, english, chinese, native):
    language = languages.parse(code)
    assert (language.name(), language.name("zh-Hans"), language.name(code)) == (english, chinese, native)
    assert language.name("fr") == english


@pytest.mark.parametrize(
    ("offered", "wanted", "serves"),
    [
        ("zh", "zh-Hans", True),
        ("zh-CN", "zh", True),
        ("zh-Hans", "zh-Hant", False),
        ("zh-Hant", "zh-HK", True),
        ("pt-BR", "pt", True),
        ("pt", "pt-BR", True),
        ("pt-BR", "pt-PT", False),
        ("es-419", "es-MX", True),
        ("es-419", "es-ES", False),
        ("eng_Latn", "en-GB", True),
        ("sr", "sr-Latn", False),
        ("de", "nl", False),
    ],
)
def test_what_a_model_offers_serves_for_what_is_wanted_or_not(offered, wanted, serves):
    assert languages.covers(offered, wanted) is serves


def test_the_closest_offer_is_taken_as_it_was_written():
    assert languages.best(["zh", "zh_CN"], "zh-Hans") == "zh_CN"
    assert languages.best(["zh_TW", "zho"], "zh-Hans") == "zho"
    assert languages.best(["zho_Hant", "zho_Hans"], "zh") == "zho_Hans"
    assert languages.best(["pt-PT", "pt-BR"], "pt") == "pt-BR"
    assert languages.best(["en-GB", "en"], "en-US") == "en"
    assert languages.best(["de", "fr"], "en") is None


@given(st.sampled_from(languages.known()), st.sampled_from([None, "US", "TW", "419", "GB"]), st.booleans())
def test_a_canonical_code_is_its_own_canonical_form_in_any_case(language, region, is_upper):
    code = language.code if region is None else f"{language.code}-{region}"
    canonical = languages.parse(code).code
    assert languages.parse(canonical.upper() if is_upper else canonical.replace("-", "_")).code == canonical
    assert languages.covers(canonical, canonical)
