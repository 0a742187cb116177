import pytest

from office_files import (
    are_same,
    pictures,
    rich_open_presentation,
    rich_open_spreadsheet,
    rich_open_text,
    rich_presentation,
    rich_word_document,
    rich_workbook,
    soffice,
    translated,
)
from yunmo.apps.translate.documents.docx import DocxFormat
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.opendocument import ODP, ODS, ODT
from yunmo.apps.translate.documents.pptx import PptxFormat
from yunmo.apps.translate.documents.xlsx import XlsxFormat
from yunmo.apps.translate.segments import segment

FORMATS = [
    (DocxFormat(), "docx", rich_word_document),
    (PptxFormat(), "pptx", rich_presentation),
    (XlsxFormat(), "xlsx", rich_workbook),
    (ODT, "odt", rich_open_text),
    (ODS, "ods", rich_open_spreadsheet),
    (ODP, "odp", rich_open_presentation),
]


def renewed(source):
    """The same words, written anew: a space that cannot be seen goes behind them and back again."""
    return segment([*source.parts, "\u200b"])


@soffice
@pytest.mark.parametrize(("format_", "extension", "make"), FORMATS, ids=[each[1] for each in FORMATS])
def test_libreoffice_opens_a_translation_and_draws_the_same_pages_for_the_same_words(tmp_path, format_, extension, make):
    source = make(tmp_path / f"a.{extension}")
    before = pictures(source, tmp_path / "before")
    again = translated(format_.read(source, FormatOptions()), tmp_path / f"b.{extension}", "en-US", renewed)
    other = translated(format_.read(source, FormatOptions()), tmp_path / f"c.{extension}", "en-US")
    assert are_same(before, pictures(again, tmp_path / "again"))
    assert not are_same(before, pictures(other, tmp_path / "other"))
