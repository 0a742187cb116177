"""Which languages a request may name of a model that has one pair."""

import pytest

from yunmo.core.errors import InvalidRequest
from yunmo.core.languages import base_language, check_fixed


@pytest.mark.parametrize(
    ("own", "asked"),
    [("pt", "pt-BR"), ("en", "eng_Latn"), ("zh", "zh-Hant"), ("zh-Hans", "zh"), ("zh-Hans", "zh-CN"), ("zho", "ZH_TW"), ("en", None)],
)
def test_a_code_of_the_models_language_is_taken(own, asked):
    check_fixed(own, "de", asked, "de-AT")


@pytest.mark.parametrize(("own", "asked"), [("pt", "es"), ("zh-Hans", "zh-Hant"), ("zh_CN", "zh-TW"), ("sr-Latn", "sr-Cyrl")])
def test_another_language_or_script_is_refused_with_the_models_own(own, asked):
    with pytest.raises(InvalidRequest, match=f"{own} to en only") as refusal:
        check_fixed(own, "en", asked, None)
    assert refusal.value.param == "src_lang"
    with pytest.raises(InvalidRequest, match=f"en to {own} only") as refusal:
        check_fixed("en", own, None, asked)
    assert refusal.value.param == "tgt_lang"


def test_a_base_language_has_no_region_and_no_script():
    assert [base_language(code) for code in ("pt-BR", "zho_Hans", "EN", "yue")] == ["pt", "zh", "en", "yue"]
