import openpyxl
import pytest
import xlsxwriter
from openpyxl.cell.rich_text import CellRichText

from office_files import parts, pseudo, rich_workbook, rows, skeleton, translated, with_parts, word_document
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.xlsx import XlsxFormat
from yunmo.apps.translate.segments import Segment, segment
from yunmo.core.errors import InvalidRequest

X = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def read(path):
    return XlsxFormat().read(path, FormatOptions())


def shown(segment):
    signs = {"open": "<{}>", "close": "</{}>", "alone": "<{}/>"}
    return "".join(part if isinstance(part, str) else signs[part.kind].format(part.id) for part in segment.parts)


def texts(path):
    return [unit.segment.text for unit in read(path).units]


def workbook(path, *strings, fill=lambda book, sheet: None):
    """A workbook with these strings in its first column and what `fill` adds."""
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet("Sheet")
    for row, text in enumerate(strings):
        sheet.write_string(row, 0, text)
    fill(book, sheet)
    book.close()
    return path


def with_strings(path, *strings):
    """The workbook with these shared strings, as XML."""
    return with_parts(path, {"xl/sharedStrings.xml": f"<sst {MAIN}>{''.join(f'<si>{each}</si>' for each in strings)}</sst>".encode()})


def test_a_workbook_without_translations_or_with_its_own_texts_stays_byte_by_byte(tmp_path):
    source = rich_workbook(tmp_path / "a.xlsx")
    document = read(source)
    document.write({}, "de", tmp_path / "b.xlsx")
    translated(document, tmp_path / "c.xlsx", change=lambda segment: segment)
    assert (tmp_path / "b.xlsx").read_bytes() == source.read_bytes()
    assert (tmp_path / "c.xlsx").read_bytes() == source.read_bytes()


def test_everything_that_people_read_is_a_unit_once(tmp_path):
    units = read(rich_workbook(tmp_path / "a.xlsx")).units
    assert [(unit.note, shown(unit.segment), unit.limit) for unit in units] == [
        ("cell", "Region", 32_767),
        ("cell", "State", 32_767),
        ("cell", "North", 32_767),
        ("cell", "South", 32_767),
        ("cell", "Closed", 32_767),
        ("cell", "Plain and <1>bold</1><2> words</2>", 32_767),
        ("cell", "Line one\nline two", 32_767),
        ("cell", "Nothing else", 32_767),
        ("sheet Sales, description", "Colour", 32),
        ("sheet Sales, description", "Choose one", 255),
        ("sheet Sales", "Sales & more", None),
        ("sheet Sales", "Page <1/> of all", None),
        ("sheet Sales, comment", "Up there", None),
        ("sheet Sales, drawing, description", "A yellow box", None),
        ("sheet Sales, drawing", "A remark", None),
        ("sheet Sales, drawing, chart", "Sales by region", None),
        ("document title", "Sales book", None),
    ]


def test_an_independent_reader_sees_the_translated_words_and_the_same_numbers_and_formulas(tmp_path):
    before = rows(rich_workbook(tmp_path / "a.xlsx"))
    after = rows(translated(read(tmp_path / "a.xlsx"), tmp_path / "b.xlsx"))
    stay = {"Amount", "Open", "Red"}

    def expected(value):
        if isinstance(value, CellRichText):
            return "".join(f"[{part!s}]".upper() for part in value)
        is_kept = not isinstance(value, str) or value in stay or value.startswith("=")
        return value if is_kept else f"[{value.upper()}]"

    assert [[str(value) if isinstance(value, CellRichText) else value for value in row] for row in after] == [
        [expected(value) for value in row] for row in before
    ]
    rich = openpyxl.load_workbook(tmp_path / "b.xlsx", rich_text=True)["Sales"]["A6"].value
    assert [part.text for part in rich if not isinstance(part, str) and part.font.b] == ["[BOLD]"]


def test_a_translation_changes_texts_and_nothing_else(tmp_path):
    before = parts(rich_workbook(tmp_path / "a.xlsx"))
    after = parts(translated(read(tmp_path / "a.xlsx"), tmp_path / "b.xlsx"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "xl/sharedStrings.xml", "xl/worksheets/sheet1.xml", "xl/comments1.xml", "xl/tables/table1.xml", "xl/drawings/drawing1.xml",
        "xl/charts/chart1.xml", "docProps/core.xml",
    }  # fmt: skip
    free = {f"{X}t", f"{A}t", f"{C}v", f"{X}oddHeader", f"{X}oddFooter"}
    read_attributes = {"name", "prompt", "promptTitle", "descr", "lang", "{http://www.w3.org/XML/1998/namespace}space"}

    def seen(xml):
        return [
            (tag, [pair for pair in pairs if pair[0] not in read_attributes], text)
            for tag, pairs, text in skeleton(xml, free)
            if tag != f"{A}rPr"
        ]

    for name in changed - {"docProps/core.xml"}:
        assert seen(before[name]) == seen(after[name]), name


def test_table_headers_stay_equal_to_their_cells_and_unlike_each_other(tmp_path):
    headers = [{"header": header} for header in ("Price", "Cost", "Year 1")]
    source = workbook(tmp_path / "a.xlsx", fill=lambda _, sheet: sheet.add_table("A1:C2", {"columns": headers}))
    translated(read(source), tmp_path / "b.xlsx", change=lambda _: Segment(("Preis",)))
    sheet = openpyxl.load_workbook(tmp_path / "b.xlsx").active
    names = [column.name for column in sheet.tables["Table1"].tableColumns]
    assert names == [sheet.cell(1, column).value for column in (1, 2, 3)] == ["Preis", "Preis2", "Preis3"]


def test_a_header_whose_cell_has_formats_stays_with_its_cell(tmp_path):
    headers = [{"header": "Big price"}, {"header": "Other"}]
    source = workbook(tmp_path / "a.xlsx", fill=lambda _, sheet: sheet.add_table("A1:B2", {"columns": headers}))
    with_strings(source, "<r><t>Big </t></r><r><rPr><b/></rPr><t>price</t></r>", "<t>Other</t>")
    assert texts(source) == ["Other"]


def test_strings_that_the_workbook_looks_for_stay(tmp_path):
    def fill(book, sheet):
        sheet.write_formula("B1", '=COUNTIF(A:A,"Says ""hi""")+SUM(Table1[Net])')
        sheet.data_validation("B2", {"validate": "list", "source": ["Red", "Green"]})
        sheet.conditional_format(
            "A1:A9", {"type": "cell", "criteria": "==", "value": '"Urgent"', "format": book.add_format({"bold": True})}
        )
        sheet.autofilter("A1:A9")
        sheet.filter_column("A", "x == Chosen")
        book.define_name("Yes", '="Agreed"')

    words = ('says "HI"', "Red", "Green", "Urgent", "Chosen", "Net", "Agreed")
    source = workbook(tmp_path / "a.xlsx", "Free", *words, fill=fill)
    assert texts(source) == ["Free"]


def test_what_pivots_name_stays(tmp_path):
    source = workbook(tmp_path / "a.xlsx", "Region", "North", "Free")
    types = parts(source)["[Content_Types].xml"].decode()
    override = '<Override PartName="/xl/pivotCache/c.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.pivotCacheDefinition+xml"/>'
    cache = f'<pivotCacheDefinition {MAIN}><cacheFields><cacheField name="Region"><sharedItems><s v="North"/></sharedItems></cacheField></cacheFields></pivotCacheDefinition>'
    with_parts(
        source, {"[Content_Types].xml": types.replace("</Types>", override + "</Types>").encode(), "xl/pivotCache/c.xml": cache.encode()}
    )
    assert texts(source) == ["Free"]


def test_chart_texts_are_one_with_the_cells_that_they_come_from(tmp_path):
    def fill(book, sheet):
        chart = book.add_chart({"type": "column"})
        chart.add_series({"categories": "=Sheet!$A$1:$A$2", "values": "=Sheet!$B$1:$B$2"})
        sheet.insert_chart("D1", chart)

    source = workbook(tmp_path / "a.xlsx", "North", "South", fill=fill)
    assert texts(source) == ["North", "South"]
    assert parts(translated(read(source), tmp_path / "b.xlsx"))["xl/charts/chart1.xml"].count(b"<c:v>[NORTH]</c:v>") == 1


def test_what_formulas_made_of_texts_is_computed_anew_when_the_file_is_opened(tmp_path):
    source = workbook(tmp_path / "a.xlsx", "North", fill=lambda _, sheet: sheet.write_formula("B1", '=A1&"!"', None, "North!"))
    assert b'fullCalcOnLoad="1"' in parts(translated(read(source), tmp_path / "b.xlsx"))["xl/workbook.xml"]
    bare = parts(source)["xl/workbook.xml"].replace(b'<calcPr calcId="124519" fullCalcOnLoad="1"/>', b"")
    with_parts(source, {"xl/workbook.xml": bare})
    after = parts(translated(read(source), tmp_path / "b.xlsx"))["xl/workbook.xml"]
    assert after == bare.replace(b"</sheets>", b'</sheets><calcPr fullCalcOnLoad="1"/>')


def test_pronunciations_go_with_their_translation_and_stay_without_one(tmp_path):
    spoken = '<t>東京</t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh><phoneticPr fontId="1"/>'
    source = with_strings(workbook(tmp_path / "a.xlsx", "x", "y"), spoken, "<t>Hello</t>")
    document = read(source)
    assert [unit.segment.text for unit in document.units] == ["東京", "Hello"]
    document.write({document.units[1].key: Segment(("Hallo",))}, "de", tmp_path / "b.xlsx")
    assert spoken in parts(tmp_path / "b.xlsx")["xl/sharedStrings.xml"].decode()
    document.write({document.units[0].key: Segment(("Tokio",))}, "de", tmp_path / "c.xlsx")
    assert "<si><t>Tokio</t></si>" in parts(tmp_path / "c.xlsx")["xl/sharedStrings.xml"].decode()


def test_inline_strings_are_units_too(tmp_path):
    book = openpyxl.Workbook()
    book.active["A1"], book.active["A2"] = "Hello", "Hello"
    book.save(tmp_path / "a.xlsx")
    assert b"inlineStr" in parts(tmp_path / "a.xlsx")["xl/worksheets/sheet1.xml"]
    assert texts(tmp_path / "a.xlsx") == ["Hello"]
    assert rows(translated(read(tmp_path / "a.xlsx"), tmp_path / "b.xlsx")) == [["[HELLO]"], ["[HELLO]"]]


@pytest.mark.parametrize("text", ["Tab\tand\r\nreturn", "like _x0041_ an escape", "half _xD800_ a sign", "a <&> b", "  outer  "])
def test_strange_characters_of_strings_come_through(tmp_path, text):
    source = workbook(tmp_path / "a.xlsx", text)
    document = read(source)
    translated(document, tmp_path / "b.xlsx", change=lambda it: segment(f"{part}!" if isinstance(part, str) else part for part in it.parts))
    assert [unit.segment.text for unit in read(tmp_path / "b.xlsx").units] == [document.units[0].segment.text + "!"]
    assert document.units[0].segment.text == text.strip()


def test_threads_of_comments_are_translated_once_where_they_are_read(tmp_path):
    source = workbook(
        tmp_path / "a.xlsx", "x", fill=lambda _, sheet: sheet.write_comment("A1", "[Threaded comment] Hello", {"author": "tc={1-2}"})
    )
    assert texts(source) == ["x"]


def test_a_text_that_is_too_long_for_its_place_is_refused(tmp_path):
    document = read(rich_workbook(tmp_path / "a.xlsx"))
    colour = next(unit for unit in document.units if unit.segment.text == "Colour")
    with pytest.raises(InvalidRequest, match="more than the 32 that fit"):
        document.write({colour.key: Segment(("x" * 33,))}, "de", tmp_path / "b.xlsx")


def test_cells_of_numbers_are_not_even_looked_at(tmp_path, monkeypatch):
    source = workbook(tmp_path / "a.xlsx", "Text", fill=lambda _, sheet: [sheet.write(row, 1, row) for row in range(1, 200)])
    monkeypatch.setattr("yunmo.apps.translate.documents.office.spans.ELEMENT_LIMIT", 100)
    assert texts(source) == ["Text"]
    assert rows(translated(read(source), tmp_path / "b.xlsx"))[150] == [None, 150]


def test_other_files_under_the_name_of_a_workbook_are_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="one of Word, not of Excel"):
        read(word_document(tmp_path / "a.xlsx"))


def test_every_kind_of_text_has_a_translation(tmp_path):
    document = read(rich_workbook(tmp_path / "a.xlsx"))
    again = read(translated(document, tmp_path / "b.xlsx"))
    assert [shown(unit.segment) for unit in again.units] == [shown(pseudo(unit.segment)) for unit in document.units]
