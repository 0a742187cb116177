"""Terms of a glossary in texts, and in translations."""

import time

import pytest

from yunmo.apps.translate.terms import TermFinder, find, is_rendered


def terms_in(text, *terms, language="en"):
    return [(found.term, text[found.start : found.end]) for found in find(text, dict.fromkeys(terms, "x"), language)]


@pytest.mark.parametrize(
    ("language", "term", "text", "found"),
    [
        ("en", "job", "Jobs and the job's jobs, no jobless", ["Jobs", "job's", "jobs"]),
        ("en", "policy", "Policies of one policy", ["Policies", "policy"]),
        ("en", "cache", "cached caches are caching", ["cached", "caches", "caching"]),
        ("en", "Apple", "An apple from Apple, APPLE", ["Apple", "APPLE"]),
        ("en", "US", "Between us, the US", ["US"]),
        ("en", "Cloud Service", "a cloud service", ["cloud service"]),
        ("en", "C++", "C++ and C", ["C++"]),
        ("en", "art", "party, start, art.", ["art"]),
        ("de", "Vertrag", "des Vertrags, Vertragspartner", ["Vertrags"]),
        ("fr", "journal", "des journaux", ["journaux"]),
        ("es", "canción", "canción y canciones", ["canción", "canciones"]),
        ("es", "base de datos", "bases de datos y base\nde datos", ["bases de datos", "base\nde datos"]),
        ("fr", "clé publique", "des clés publiques", ["clés publiques"]),
        ("de", "öffentlicher Schlüssel", "öffentlicher Schlüssels", ["öffentlicher Schlüssels"]),
        ("en", "cloud service", "clouds service, cloudservice, cloud  services", ["cloud  services"]),
        ("zh-Hans", "GPU 节点", "一个GPU 节点", ["GPU 节点"]),
        ("pt", "configuração", "as configurações", ["configurações"]),
        ("it", "prodotto", "i prodotti", ["prodotti"]),
        ("ru", "модель", "о моделях и модели", ["моделях", "модели"]),
        ("zh-Hans", "云平台", "在云平台上部署云平台服务", ["云平台", "云平台"]),
        ("zh-Hans", "GPU", "用GPU训练，GPUs", ["GPU"]),
        ("ja", "クラウド", "クラウドサービス", ["クラウド"]),
        ("ko", "서버", "서버", ["서버"]),
    ],
)
def test_terms_are_found_as_the_language_writes_them(language, term, text, found):
    assert [written for _, written in terms_in(text, term, language=language)] == found


def test_the_longest_term_is_found_and_none_inside_it():
    assert terms_in("machine learning and learning", "learning", "machine learning", "machine") == [
        ("machine learning", "machine learning"),
        ("learning", "learning"),
    ]
    assert terms_in("大语言模型与模型", "模型", "语言模型", "大语言模型", language="zh") == [("大语言模型", "大语言模型"), ("模型", "模型")]


def test_empty_terms_are_none():
    assert terms_in("a text", "", " ") == []
    assert find("a text", {}, "en") == ()


@pytest.mark.parametrize(
    ("language", "translation", "text", "is_there"),
    [
        ("zh-Hans", "云平台", "在云平台上", True),
        ("zh-Hans", "云平台", "在云 平台上", True),
        ("zh-Hans", "云平台", "在云端平台上", False),
        ("zh-Hans", "GPU 节点", "GPU节点", True),
        ("en", "job", "two jobs", True),
        ("en", "job", "a task", False),
        ("de", "Vertrag", "die Verträge", True),
        ("de", "künstliche Intelligenz", "der künstlichen Intelligenz", True),
        ("fr", "base de données", "les bases de données", True),
        ("fr", "base de données", "la table de données", False),
        ("es", "nube pública", "nubes muy públicas", True),
        ("ru", "модель", "обучение моделей", True),
        ("en", "cat", "category", False),
        ("en", "cat", "concatenate", False),
        ("en", "server", "observer", False),
        ("en", "C++", "in C++ and C", True),
        ("en", "C++", "in C", False),
        ("de", "Plattform", "die Cloudplattformen", True),
        ("vi", "máy chủ", "máy chủ này", True),
    ],
)
def test_a_translation_is_looked_for_in_any_of_its_forms(language, translation, text, is_there):
    assert is_rendered(translation, text, language) is is_there


def test_a_large_glossary_looks_through_a_text_quickly():
    finder = TermFinder({f"term{number} of kind{number % 97}": "x" for number in range(50_000)}, "en")
    text = "Here is term4711 of kind55, and much more besides. " * 50
    started = time.process_time()
    assert len(finder.find(text)) == 50
    assert time.process_time() - started < 5
