"""Which model a pair of languages is given to."""

import pytest

from yunmo.apps.translate.routes import ANY, Found, Hop, Pair, Route, RouteTable, language_or_any
from yunmo.core.errors import InvalidRequest


def one(model, source, target):
    return Found(model, frozenset([source]), frozenset([target]))


def many(model, *codes):
    return Found(model, frozenset(codes), frozenset(codes))


def models(table, source, target):
    return [hop.model for hop in table.way(source, target)]


def test_what_was_told_goes_before_what_was_found():
    table = RouteTable([Route("en", "zh", "acme/chat")], [one("acme/opus", "en", "zh")])
    assert models(table, "en", "zh") == ["acme/chat"]


def test_a_projects_own_route_goes_before_everybodys_whatever_its_priority():
    table = RouteTable([Route("en", "zh", "a", 100), Route("en", "zh", "b", -5, "acme")], [])
    assert models(table, "en", "zh") == ["b"]


def test_the_highest_priority_is_taken_and_of_equals_the_one_that_names_the_languages():
    told = [
        Route(ANY, ANY, "chat"),
        Route("en", ANY, "half"),
        Route("en", "zh", "pair"),
        Route("en", "de", "low"),
        Route(ANY, "de", "high", 1),
    ]
    table = RouteTable(told, [])
    assert (models(table, "en", "zh"), models(table, "en", "fr"), models(table, "ja", "fr")) == (["pair"], ["half"], ["chat"])
    assert models(table, "en", "de") == ["high"]


def test_a_model_of_one_pair_goes_before_one_of_many_languages():
    table = RouteTable([], [many("nllb", "en", "zh", "de"), one("opus", "en", "zh")])
    assert models(table, "en", "zh") == ["opus"]
    assert models(table, "zh", "en") == ["nllb"]


def test_without_a_direct_route_the_way_goes_through_one_other_language_english_first():
    found = [one("a", "zh", "en"), one("b", "en", "pt"), one("c", "zh", "de"), one("d", "de", "pt")]
    assert RouteTable([], found).way("zh", "pt") == (Hop("zh", "en", "a", is_only_pair=True), Hop("en", "pt", "b", is_only_pair=True))
    assert models(RouteTable([], found[2:]), "zh", "pt") == ["c", "d"]


def test_no_way_has_more_than_two_steps():
    table = RouteTable([], [one("a", "zh", "en"), one("b", "en", "de"), one("c", "de", "pt")])
    with pytest.raises(InvalidRequest, match="Nothing here translates zh into pt") as refused:
        table.way("zh", "pt")
    assert "yunmo translate routes add zh pt MODEL" in refused.value.message
    assert refused.value.param == "target"


def test_models_can_be_left_out():
    table = RouteTable([Route("en", "zh", "a")], [one("b", "en", "zh"), one("c", "en", "zh")])
    assert models(table.without(["a"]), "en", "zh") == ["b"]
    assert models(table.without(["a", "b"]), "en", "zh") == ["c"]


def test_a_code_is_served_by_the_one_that_covers_it():
    table = RouteTable([], [one("a", "en", "zh"), one("b", "en", "pt-BR")])
    assert models(table, "en-US", "zh-Hans") == ["a"]
    assert models(table, "en", "pt") == ["b"]
    with pytest.raises(InvalidRequest):
        table.way("en", "pt-PT")


def test_the_middle_language_is_never_a_kind_of_the_two():
    table = RouteTable([], [one("a", "pt-BR", "pt-PT"), one("b", "pt-PT", "de")])
    with pytest.raises(InvalidRequest):
        table.way("pt-BR", "de")


def test_a_model_is_not_told_its_only_pair_but_the_pair_that_somebody_else_says_it_has():
    table = RouteTable([Route("fr", "zh", "opus")], [one("opus", "en", "zh"), many("nllb", "en", "de")])
    assert table.way("en", "zh")[0].is_only_pair
    assert not table.way("fr", "zh")[0].is_only_pair
    assert not table.way("en", "de")[0].is_only_pair


def test_the_pairs_are_all_that_there_is_a_way_for():
    table = RouteTable([Route(ANY, "en", "chat")], [one("a", "zh", "en"), one("b", "en", "pt")])
    assert table.pairs == (
        Pair("en", "pt", ("b",)),
        Pair("pt", "en", ("chat",)),
        Pair("zh", "en", ("chat",)),
        Pair("zh", "pt", ("chat", "b")),
    )


def test_the_pairs_of_a_model_of_two_hundred_languages_are_known_in_a_moment():
    import time

    from yunmo.apps.translate.languages import known

    table = RouteTable([], [many("nllb", *(language.code for language in known()))])
    begin = time.process_time()
    count = len(table.pairs)
    assert count == len(known()) * (len(known()) - 1)
    assert time.process_time() - begin < 2


def test_the_codes_of_routes_are_made_canonical():
    assert [language_or_any(code) for code in ("*", "ZH-HANS", "zho_Hant", "eng")] == ["*", "zh-Hans", "zh-Hant", "en"]
    with pytest.raises(InvalidRequest):
        language_or_any("nonsense")
