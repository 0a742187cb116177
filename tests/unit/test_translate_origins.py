"""The language of each segment of an order."""

from yunmo.apps.translate.orders import Order
from yunmo.apps.translate.origins import UNKNOWN, Origin, origins_of
from yunmo.apps.translate.segments import segment


def found(*texts, target="en", source=None, sources=()):
    return [each.language for each in origins_of(Order(tuple(segment([text]) for text in texts), target, source), sources)]


def test_a_language_that_is_told_is_sure():
    order = Order((segment(["x"]), segment(["你好"])), "en", "fr")
    assert origins_of(order, ()) == [Origin("fr", 1.0)] * 2


def test_each_segment_has_its_own_language():
    texts = ("The weather is lovely today.", "今天天气很好，我们去公园。", "Onde está a minha encomenda?")
    assert found(*texts) == ["en", "zh-Hans", "pt"]


def test_a_short_segment_is_in_the_language_of_those_around_it():
    around = ["Le train pour Lisbonne part à neuf heures.", "Nous avons bien reçu votre lettre du 5 janvier."]
    assert found("Table", *around)[0] == "fr"


def test_what_has_no_letters_is_in_the_language_of_those_around_it_or_in_none():
    assert found("42", "The weather is lovely today.") == ["en", "en"]
    assert found("42") == [UNKNOWN]
    assert origins_of(Order((segment(["42"]),), "en"), ())[0].confidence == 0.0


def test_what_is_in_the_target_language_is_found_to_be():
    assert found("Onde está a minha encomenda?", target="pt", sources=("en",)) == ["pt"]


def test_a_language_that_nothing_translates_is_told_where_no_other_is_about_as_likely():
    assert found("今天天气很好，我们去公园。", target="pt", sources=("en",)) == ["zh-Hans"]
