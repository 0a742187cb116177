import time

import polib
import pytest

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.gettext import GettextFormat
from yunmo.apps.translate.documents.plurals import plurals_of
from yunmo.apps.translate.segments import segment
from yunmo.core.errors import InvalidRequest

CATALOGUE = r"""# A comment
msgid ""
msgstr ""
"Project-Id-Version: a 1\n"
"Language: \n"
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\n"

#. Shown on the button
#: a.c:1
#, c-format
msgctxt "menu"
msgid "Open %s"
msgstr ""

#, fuzzy
#| msgid "Old"
msgid "Closed"
msgstr "Geschlossen?"

#, fuzzy
msgid "Fuzzy and empty"
msgstr ""

msgid "Done"
msgstr "Fertig"

msgid ""
"First \"line\"\t\\\n"
"Second <b>line</b>\n"
msgstr   ""
msgid "%d file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

msgid "%d day"
msgid_plural "%d days"
msgstr[0] "%d Tag"
msgstr[1] "%d Tage"

msgid "---"
msgstr ""

#~ msgid "Obsolete"
#~ msgstr ""
"""


@pytest.fixture
def catalogue(tmp_path):
    return document(GettextFormat(), CATALOGUE, tmp_path)


def test_messages_without_a_translation_are_units(catalogue):
    assert texts(catalogue) == ["Open %s", 'First "line"\t\\Second line', "%d file", "%d files"]
    assert catalogue.units[0].note == "context: menu; Shown on the button"
    assert [tag.text for tag in catalogue.units[1].segment.tags] == ["\n", "<b>", "</b>", "\n"]
    assert [unit.key for unit in catalogue.units] == ["1", "2", "3", "3.plural"]


def test_a_catalogue_without_translations_is_the_same_bytes(catalogue, tmp_path):
    assert written(catalogue, {}, tmp_path) == CATALOGUE.encode()


def test_translations_go_into_empty_fields_and_everything_else_stays(catalogue, tmp_path):
    done = written(catalogue, pseudo(catalogue), tmp_path, "de").decode()
    assert done == (
        CATALOGUE.replace('"Language: \\n"', '"Language: de\\n"')
        .replace("nplurals=INTEGER; plural=EXPRESSION;", "nplurals=2; plural=(n != 1);")
        .replace('msgid "Open %s"\nmsgstr ""', 'msgid "Open %s"\nmsgstr "OOppeenn %ss"')
        .replace('msgstr   ""', 'msgstr ""\n"FFiirrsstt \\"lliinnee\\"\\t\\\\\\n"\n"SSeeccoonndd <b>lliinnee</b>\\n"')
        .replace('msgstr[0] ""\nmsgstr[1] ""', 'msgstr[0] "%dd ffiillee"\nmsgstr[1] "%dd ffiilleess"')
    )


@pytest.mark.parametrize("target", ["zh-Hans", "de", "fr", "ru", "ar", "sl", "ga", "ja"])
def test_another_parser_finds_the_same_messages_with_the_targets_plurals(catalogue, tmp_path, target):
    done = polib.pofile(written(catalogue, itself(catalogue), tmp_path, target).decode())
    before = polib.pofile(CATALOGUE)
    assert [(e.msgctxt, e.msgid, e.msgid_plural, e.flags, e.obsolete, e.comment, e.occurrences) for e in done] == [
        (e.msgctxt, e.msgid, e.msgid_plural, e.flags, e.obsolete, e.comment, e.occurrences) for e in before
    ]
    forms = plurals_of(target)
    plural = done.find("%d file").msgstr_plural
    assert len(plural) == forms.count
    assert {number for number, text in plural.items() if text == "%d file"} == ({forms.one} if forms.count > 1 else set())
    assert done.metadata["Plural-Forms"] == f"nplurals={forms.count}; plural=({forms.rule});"
    assert done.find('First "line"\t\\\nSecond <b>line</b>\n').msgstr == 'First "line"\t\\\nSecond <b>line</b>\n'
    assert done.find("Done").msgstr == "Fertig"
    assert done.find("Closed").msgstr == "Geschlossen?"


@pytest.mark.parametrize("language", ["ar", "ru", "pl", "lt", "lv", "ro", "sl", "mt", "gd", "cy", "ga", "fr", "en", "ja", "cs"])
def test_the_form_for_one_is_the_one_that_the_rule_chooses(language):
    forms = plurals_of(language)
    choose = polyglot(forms.rule)
    assert choose(1) == forms.one
    assert {choose(n) for n in range(300)} == set(range(forms.count))


def polyglot(rule):
    from gettext import c2py

    return c2py(rule)


def test_a_header_of_the_same_language_keeps_its_plurals_and_region(tmp_path):
    text = CATALOGUE.replace("Language: ", "Language: de_AT").replace("nplurals=INTEGER; plural=EXPRESSION;", "nplurals=2; plural=n!=1;")
    read = document(GettextFormat(), text, tmp_path)
    done = written(read, pseudo(read), tmp_path, "de").decode()
    assert done.split("#.")[0] == text.split("#.")[0]


def test_a_template_of_no_encoding_becomes_utf_8_when_it_must(tmp_path):
    text = CATALOGUE.replace("UTF-8", "CHARSET").replace("\n", "\r\n")
    read = document(GettextFormat(), text, tmp_path)
    done = written(read, {"1": segment(["Öffne %s"])}, tmp_path, "de")
    assert b'charset=UTF-8\\n"\r\n' in done
    assert 'msgstr "Öffne %s"\r\n'.encode() in done
    latin = document(GettextFormat(), CATALOGUE.replace("UTF-8", "ISO-8859-1").replace("A comment", "Größe").encode("latin-1"), tmp_path)
    assert "charset=UTF-8" in written(latin, {"1": segment(["打开 %s"])}, tmp_path, "zh-Hans").decode()
    assert "charset=ISO-8859-1" in written(latin, {"1": segment(["Öffne %s"])}, tmp_path, "de").decode("latin-1")


def test_a_catalogue_of_ascii_keeps_the_encoding_that_it_names(tmp_path):
    latin = document(GettextFormat(), CATALOGUE.replace("UTF-8", "ISO-8859-1"), tmp_path)
    assert "Öffne".encode("latin-1") in written(latin, {"1": segment(["Öffne %s"])}, tmp_path, "de")


def test_one_form_alone_stands_for_all(catalogue, tmp_path):
    done = written(catalogue, {"3.plural": segment(["%d Dateien"])}, tmp_path, "de").decode()
    assert 'msgstr[0] "%d Dateien"\nmsgstr[1] "%d Dateien"' in done


def test_a_translation_without_its_line_break_is_refused(catalogue, tmp_path):
    with pytest.raises(InvalidRequest, match="tag"):
        catalogue.write({"2": segment(["x"])}, "de", tmp_path / "out")
    with pytest.raises(InvalidRequest, match="no unit"):
        catalogue.write({"9": segment(["x"])}, "de", tmp_path / "out")


def test_a_catalogue_that_is_made_to_do_harm_is_read_in_time(tmp_path):
    started = time.process_time()
    for text in (
        'msgid "a"\n' + '"b"\n' * 200_000 + 'msgstr ""\n',
        'msgid "a"\nmsgstr ""\n' + " " * 300_000 + '"',
        "#, c-format\n" * 100_000 + 'msgid "a"\nmsgstr ""\n',
    ):
        try:
            read = document(GettextFormat(), text, tmp_path)
        except InvalidRequest:
            continue
        assert written(read, {}, tmp_path).decode() == text
    assert time.process_time() - started < 15


@pytest.mark.parametrize("text", ['msgid "a\nmsgstr ""\n', 'msgid "a"\nmsgid "b"\n', '"text"\n', "words\n", 'msgid "a" "b"\n'])
def test_what_is_no_catalogue_is_refused_by_its_line(tmp_path, text):
    with pytest.raises(InvalidRequest, match=r"Line \d"):
        document(GettextFormat(), text, tmp_path)
