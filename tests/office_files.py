"""Office documents made by the libraries that people make them with, and by hand where those cannot; and what translations of them are tried with."""

import io
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import docx
import openpyxl
import pptx
import pytest
import xlsxwriter
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from PIL import Image, ImageChops
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.oxml import parse_xml as parse_slide_xml
from pptx.util import Inches

from yunmo.apps.translate.documents.format import Document
from yunmo.apps.translate.segments import Segment, segment

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
NAMESPACES = (
    f'xmlns:w="{W}" xmlns:a="{A}" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
)
soffice = pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed")


def pseudo(source: Segment) -> Segment:
    """A translation that can be told: each text in capitals between brackets, tags in their places."""
    return segment(f"[{part.upper()}]" if isinstance(part, str) else part for part in source.parts)


def translated(document: Document, path: Path, target: str = "de", change: Callable[[Segment], Segment] = pseudo) -> Path:
    document.write({unit.key: change(unit.segment) for unit in document.units}, target, path)
    return path


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_parts(path: Path, changed: Mapping[str, bytes | None]) -> Path:
    """The file with these parts exchanged, added, or taken away."""
    kept = {**parts(path), **changed}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in kept.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def skeleton(xml: bytes, texts: set[str]) -> list[object]:
    """What an XML part is beside its texts: elements and attributes in their order, with the texts of all elements but those named."""
    return [
        (element.tag, sorted(element.attrib.items()), None if element.tag in texts else element.text)
        for element in ET.fromstring(xml).iter()
    ]


def pictures(path: Path, folder: Path) -> list[Image.Image]:
    """The pages of a document as LibreOffice draws them."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = f"-env:UserInstallation=file://{folder}/profile"
    command = ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", str(folder), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    import pypdfium2

    with pypdfium2.PdfDocument(folder / f"{path.stem}.pdf") as pdf:
        return [page.render(scale=1).to_pil().convert("RGB") for page in pdf]


def are_same(ones: list[Image.Image], others: list[Image.Image]) -> bool:
    """Whether the pages look the same; edges of letters may be smoothed otherwise where two runs became one."""
    return [one.size for one in ones] == [other.size for other in others] and all(
        ImageChops.difference(one, other).convert("L").getextrema()[1] < 100 for one, other in zip(ones, others, strict=True)
    )


def picture() -> io.BytesIO:
    stream = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 30, 30)).save(stream, "PNG")
    stream.seek(0)
    return stream


def paragraph(inner: str) -> str:
    return f"<w:p {NAMESPACES}>{inner}</w:p>"


def run(text: str, properties: str = "") -> str:
    return f'<w:r>{f"<w:rPr>{properties}</w:rPr>" if properties else ""}<w:t xml:space="preserve">{text}</w:t></w:r>'


TEXT_BOX = """<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:inline distT="0" distB="0" distL="0" distR="0">
<wp:extent cx="2000000" cy="500000"/><wp:docPr id="77" name="Text Box 1" descr="A box with a motto"/><a:graphic>
<a:graphicData uri="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"><wps:wsp><wps:cNvSpPr txBox="1"/>
<wps:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="2000000" cy="500000"/></a:xfrm><a:prstGeom prst="rect"><a:avLst/></a:prstGeom></wps:spPr>
<wps:txbx><w:txbxContent><w:p><w:r><w:rPr><w:b/></w:rPr><w:t>Motto of the house</w:t></w:r></w:p></w:txbxContent></wps:txbx><wps:bodyPr/></wps:wsp>
</a:graphicData></a:graphic></wp:inline></w:drawing></mc:Choice><mc:Fallback><w:pict><v:rect style="width:150pt;height:40pt"><v:textbox><w:txbxContent>
<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>Motto of the house</w:t></w:r></w:p></w:txbxContent></v:textbox></v:rect></w:pict></mc:Fallback></mc:AlternateContent></w:r>"""

FIELD = """<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText xml:space="preserve"> {code} </w:instrText></w:r>
<w:r><w:fldChar w:fldCharType="separate"/></w:r>{result}<w:r><w:fldChar w:fldCharType="end"/></w:r>"""

CHANGED = '<w:ins w:id="90" w:author="A" w:date="2026-01-01T00:00:00Z">{inserted}</w:ins><w:del w:id="91" w:author="A" w:date="2026-01-01T00:00:00Z"><w:r><w:delText>{deleted}</w:delText></w:r></w:del>'

FOOTNOTES = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<w:footnotes {NAMESPACES}><w:footnote w:type="separator" w:id="-1"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>
<w:footnote w:type="continuationSeparator" w:id="0"><w:p><w:r><w:continuationSeparator/></w:r></w:p></w:footnote>
<w:footnote w:id="1"><w:p><w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:footnoteRef/></w:r><w:r><w:t xml:space="preserve"> See the annual report.</w:t></w:r></w:p></w:footnote></w:footnotes>"""

CHART = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<c:chartSpace {NAMESPACES}><c:chart><c:title><c:tx><c:rich><a:bodyPr/><a:p><a:r><a:rPr lang="en-US" b="1"/><a:t>Sales by region</a:t></a:r></a:p></c:rich></c:tx></c:title>
<c:plotArea><c:barChart><c:barDir val="col"/><c:ser><c:idx val="0"/><c:order val="0"/><c:tx><c:strRef><c:f>Sheet1!$B$1</c:f><c:strCache><c:ptCount val="1"/><c:pt idx="0"><c:v>Revenue</c:v></c:pt></c:strCache></c:strRef></c:tx>
<c:cat><c:strRef><c:f>Sheet1!$A$2:$A$3</c:f><c:strCache><c:ptCount val="2"/><c:pt idx="0"><c:v>North</c:v></c:pt><c:pt idx="1"><c:v>South</c:v></c:pt></c:strCache></c:strRef></c:cat>
<c:val><c:numRef><c:f>Sheet1!$B$2:$B$3</c:f><c:numCache><c:formatCode>General</c:formatCode><c:ptCount val="2"/><c:pt idx="0"><c:v>3</c:v></c:pt><c:pt idx="1"><c:v>4</c:v></c:pt></c:numCache></c:numRef></c:val>
</c:ser><c:axId val="1"/><c:axId val="2"/></c:barChart><c:catAx><c:axId val="1"/><c:scaling/><c:delete val="0"/><c:axPos val="b"/><c:crossAx val="2"/></c:catAx>
<c:valAx><c:axId val="2"/><c:scaling/><c:delete val="0"/><c:axPos val="l"/><c:crossAx val="1"/></c:valAx></c:plotArea></c:chart></c:chartSpace>"""

DIAGRAM = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<dgm:dataModel {NAMESPACES}><dgm:ptLst><dgm:pt modelId="1" type="doc"/><dgm:pt modelId="2"><dgm:t><a:bodyPr/><a:lstStyle/><a:p><a:r><a:rPr lang="en-US"/><a:t>Plan the work</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>"""

DIAGRAM_DRAWING = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<dsp:drawing xmlns:dsp="http://schemas.microsoft.com/office/drawing/2008/diagram" {NAMESPACES}><dsp:spTree><dsp:sp modelId="2"><dsp:txBody><a:bodyPr/><a:p><a:r><a:rPr lang="en-US"/><a:t>Plan the work</a:t></a:r></a:p></dsp:txBody></dsp:sp></dsp:spTree></dsp:drawing>"""

_OFFICE = "application/vnd.openxmlformats-officedocument."
HANDMADE = (
    ("/word/footnotes.xml", _OFFICE + "wordprocessingml.footnotes+xml", RELATIONSHIP_TYPE.FOOTNOTES, FOOTNOTES),
    ("/word/charts/chart1.xml", _OFFICE + "drawingml.chart+xml", RELATIONSHIP_TYPE.CHART, CHART),
    ("/word/diagrams/data1.xml", _OFFICE + "drawingml.diagramData+xml", RELATIONSHIP_TYPE.DIAGRAM_DATA, DIAGRAM),
    (
        "/word/diagrams/drawing1.xml",
        "application/vnd.ms-office.drawingml.diagramDrawing+xml",
        "http://schemas.microsoft.com/office/2007/relationships/diagramDrawing",
        DIAGRAM_DRAWING,
    ),
)


def word_document(path: Path, *paragraphs: str) -> Path:
    """A document of just these paragraphs."""
    document = docx.Document()
    body = document.element.body
    for each in paragraphs:
        body.insert(len(body) - 1, parse_xml(each))
    document.save(str(path))
    return path


def rich_word_document(path: Path) -> Path:
    """A document with some of everything that Word documents hold."""
    document = docx.Document()
    document.core_properties.title = "Annual review"
    document.add_heading("The year in short", level=1)
    mixed = document.add_paragraph("Our ")
    mixed.add_run("best").bold = True
    mixed.add_run(" year, with ")
    mixed.add_run("new").italic = True
    mixed.add_run(" customers & <friends>.").add_break()
    commented = mixed.add_run("Second line.")
    document.add_comment([commented], text="Is that so?", author="Reader", initials="R")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([cell for row in table.rows for cell in row.cells], ["Region", "Sales", "North", "1,234.50"], strict=True):
        cell.text = text
    document.add_picture(picture())
    link = document.part.relate_to("https://example.com/", RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    body = document.element.body
    for inner in (
        run("Read ")
        + f'<w:hyperlink r:id="{link}" w:tooltip="Opens the site">{run("our ", "<w:u/>")}{run("site", "<w:b/><w:u/>")}</w:hyperlink>'
        + run(" today."),
        run("A note") + '<w:r><w:footnoteReference w:id="1"/></w:r>' + run(" in the text."),
        TEXT_BOX,
        run("Page ") + FIELD.format(code="PAGE", result=run("1")) + run(" of the report."),
        run("Go ") + FIELD.format(code='HYPERLINK "https://example.org/"', result=run("elsewhere")) + run("."),
        run("It was ") + CHANGED.format(inserted=run("good"), deleted="bad") + run(" weather."),
    ):
        body.insert(len(body) - 1, parse_xml(paragraph(inner)))
    section = document.sections[0]
    section.header.paragraphs[0].text = "Confidential report"
    section.footer.paragraphs[0].text = "Yours faithfully"
    for name, content_type, relationship, xml in HANDMADE:
        document.part.relate_to(Part(PackURI(name), content_type, xml.encode(), document.part.package), relationship)
    document.save(str(path))
    return path


def shape(text_body: str, number: int = 90) -> str:
    """A text box of a slide."""
    return (
        f'<p:sp xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" {NAMESPACES}><p:nvSpPr><p:cNvPr id="{number}" name="Box"/>'
        '<p:cNvSpPr txBox="1"/><p:nvPr/></p:nvSpPr><p:spPr><a:xfrm><a:off x="500000" y="5600000"/><a:ext cx="4000000" cy="900000"/></a:xfrm>'
        f'<a:prstGeom prst="rect"><a:avLst/></a:prstGeom></p:spPr><p:txBody><a:bodyPr/><a:lstStyle/>{text_body}</p:txBody></p:sp>'
    )


def slide_of(path: Path, *paragraphs: str) -> Path:
    """A presentation of one slide with a text box of these paragraphs."""
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    slide.shapes._spTree.append(parse_slide_xml(shape("".join(paragraphs))))
    presentation.save(str(path))
    return path


def rich_presentation(path: Path) -> Path:
    """A presentation with some of everything that presentations hold; its slides are in another order than their parts."""
    presentation = pptx.Presentation()
    presentation.core_properties.title = "Quarterly talk"
    second = presentation.slides.add_slide(presentation.slide_layouts[5])
    first = presentation.slides.add_slide(presentation.slide_layouts[1])
    listed = presentation.slides._sldIdLst
    listed.insert(0, listed[1])
    first.shapes.title.text = "Welcome all"
    frame = first.placeholders[1].text_frame
    frame.text = "First point"
    point = frame.add_paragraph()
    for text, is_bold in (("A ", False), ("strong", True), (" second point", False)):
        run = point.add_run()
        run.text, run.font.bold = text, is_bold or None
    point.runs[0].hyperlink.address = "https://example.com/"
    first.notes_slide.notes_text_frame.text = "Smile at the audience"
    picture_shape = first.shapes.add_picture(picture(), Inches(7), Inches(6))
    picture_shape._element.nvPicPr.cNvPr.set("descr", "A red bar")
    second.shapes.title.text = "Numbers"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(1.6), Inches(3), Inches(1)).table
    for (row, column), text in {(0, 0): "City", (0, 1): "Guests", (1, 0): "Rome", (1, 1): "12"}.items():
        table.cell(row, column).text = text
    data = CategoryChartData()
    data.categories = ["North", "South"]
    data.add_series("Revenue", (3, 4))
    second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(5), Inches(1.6), Inches(4), Inches(3), data)
    page = '<a:fld id="{B6F15528-21DE-4FAA-801E-634DDDAF4B2B}" type="slidenum"><a:rPr lang="en-US"/><a:t>2</a:t></a:fld>'
    body = f'<a:p><a:r><a:rPr lang="en-US"/><a:t>Slide </a:t></a:r>{page}<a:br/><a:r><a:rPr lang="en-US"/><a:t>of many</a:t></a:r><a:endParaRPr lang="en-US"/></a:p>'
    second.shapes._spTree.append(parse_slide_xml(shape(body)))
    presentation.slide_master.shapes._spTree.append(parse_slide_xml(shape("<a:p><a:r><a:t>For internal use</a:t></a:r></a:p>")))
    presentation.save(str(path))
    return path


def rich_workbook(path: Path) -> Path:
    """A workbook with some of everything that workbooks hold."""
    workbook = xlsxwriter.Workbook(str(path))
    workbook.set_properties({"title": "Sales book"})
    sheet, other = workbook.add_worksheet("Sales"), workbook.add_worksheet("Notes")
    bold = workbook.add_format({"bold": True})
    data = [["North", 3, "Open"], ["South", 4, "Closed"], ["North", 5, "Open"]]
    headers = [{"header": header} for header in ("Region", "Amount", "State")]
    sheet.add_table("A1:C4", {"data": data, "columns": headers, "name": "Sales"})
    sheet.write_rich_string("A6", "Plain and ", bold, "bold", " words")
    sheet.write_formula("A7", '=IF(C2="Open","Still open","Done")', None, "Still open")
    sheet.write_formula("A8", "=SUM(Sales[Amount])", None, 12)
    sheet.write("A9", "Line one\nline two", workbook.add_format({"text_wrap": True}))
    sheet.write("B9", 12.5)
    sheet.write_comment("A2", "Up there")
    sheet.set_header("&L&12Sales && more")
    sheet.set_footer("&CPage &P of all")
    sheet.data_validation("D2", {"validate": "list", "source": ["Red", "Green"], "input_title": "Colour", "input_message": "Choose one"})
    sheet.write("D2", "Red")
    sheet.insert_textbox("F20", "A remark", {"description": "A yellow box"})
    chart = workbook.add_chart({"type": "column"})
    chart.set_title({"name": "Sales by region"})
    chart.add_series({"name": "=Sales!$B$1", "categories": "=Sales!$A$2:$A$4", "values": "=Sales!$B$2:$B$4"})
    sheet.insert_chart("F2", chart)
    other.write("A1", "North")
    other.write("A2", "Nothing else")
    workbook.close()
    return path


def rows(path: Path) -> list[list[object]]:
    """All cells of a workbook, as openpyxl reads them."""
    workbook = openpyxl.load_workbook(path, rich_text=True)
    return [[cell.value for cell in row] for sheet in workbook for row in sheet.iter_rows()]


OPEN = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {
        "office": "office", "text": "text", "table": "table", "style": "style", "draw": "drawing", "presentation": "presentation", "chart": "chart",
        "fo": "xsl-fo-compatible", "svg": "svg-compatible", "meta": "meta", "manifest": "manifest",
    }.items()
) + ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:officeooo="http://openoffice.org/2009/office"'  # fmt: skip

STYLES = """<office:automatic-styles>
<style:style style:name="T1" style:family="text"><style:text-properties fo:font-weight="bold"/></style:style>
<style:style style:name="T2" style:family="text"><style:text-properties fo:font-style="italic"/></style:style>
<style:style style:name="T3" style:family="text"><style:text-properties officeooo:rsid="0012" fo:language="en" fo:country="US"/></style:style>
</office:automatic-styles>"""


def open_document(path: Path, kind: str, body: str, master: str = "", **more: str) -> Path:
    """An OpenDocument file of that kind (`text`, `spreadsheet`, `presentation`) with this body, and this on its master page."""
    inside = f"<office:{kind}>{body}</office:{kind}>"
    files = {
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "content.xml": f'<office:document-content {OPEN} office:version="1.3">{STYLES}<office:body>{inside}</office:body></office:document-content>',
        "styles.xml": f"""<office:document-styles {OPEN} office:version="1.3"><office:styles><style:default-style style:family="paragraph">
<style:paragraph-properties style:tab-stop-distance="1cm"/><style:text-properties fo:language="en" fo:country="US" style:language-asian="ja" style:country-asian="JP"
 style:language-complex="hi" style:country-complex="IN"/></style:default-style></office:styles>
<office:automatic-styles><style:page-layout style:name="pm1"><style:page-layout-properties fo:page-width="20cm" fo:page-height="15cm" fo:margin="1cm"/>
<style:header-style/><style:footer-style/></style:page-layout></office:automatic-styles>
<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="pm1">{master}</style:master-page></office:master-styles></office:document-styles>""",
        "meta.xml": f'<office:document-meta {OPEN} office:version="1.3"><office:meta><dc:title>Open letter</dc:title></office:meta></office:document-meta>',
    }
    entry = '<manifest:file-entry manifest:full-path="{0}" manifest:media-type="{1}"/>'
    entries = entry.format("/", files["mimetype"]) + "".join(entry.format(name, "text/xml") for name in files if name != "mimetype")
    files["META-INF/manifest.xml"] = f'<manifest:manifest {OPEN} manifest:version="1.3">{entries}</manifest:manifest>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**files, **more}.items():
            archive.writestr(name, text, zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED)
    return path


def rich_open_text(path: Path) -> Path:
    """An OpenDocument text with some of everything that they hold."""
    body = """<text:h text:outline-level="1">The year in short</text:h>
<text:p>Our <text:span text:style-name="T1">best</text:span> ye<text:span text:style-name="T3">ar</text:span>,<text:s text:c="2"/>with
   <text:span text:style-name="T2">new</text:span><text:tab/>customers &amp; friends.<text:line-break/>Second line.</text:p>
<text:p>Read <text:a xlink:type="simple" xlink:href="https://example.com/">our <text:span text:style-name="T1">site</text:span></text:a> on page <text:page-number text:select-page="current">1</text:page-number> today.</text:p>
<text:p>A note<text:note text:id="n1" text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body><text:p>See the report.</text:p></text:note-body></text:note> in the text.<office:annotation><dc:creator>R</dc:creator><text:p>Is that so?</text:p></office:annotation></text:p>
<table:table table:name="T"><table:table-column table:number-columns-repeated="2"/><table:table-row><table:table-cell><text:p>Region</text:p></table:table-cell><table:table-cell><text:p>12</text:p></table:table-cell></table:table-row></table:table>
<text:p><draw:frame text:anchor-type="paragraph" svg:width="6cm" svg:height="1cm"><draw:text-box><text:p>Motto of the house</text:p></draw:text-box><svg:desc>A box with a motto</svg:desc></draw:frame></text:p>"""
    return open_document(path, "text", body, "<style:header><text:p>Confidential report</text:p></style:header>")


def rich_open_spreadsheet(path: Path) -> Path:
    def cell(text: str, attributes: str = 'office:value-type="string"') -> str:
        return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"

    code = "of:=IF([.A1]=&quot;Open&quot;;&quot;Go&quot;;&quot;Halt&quot;)"
    formula = f'office:value-type="string" table:formula="{code}" office:string-value="Go"'
    rows = [
        cell("Open") + cell("North"),
        cell("North") + cell("3", 'office:value-type="float" office:value="3"'),
        cell("Go", formula) + cell("June", 'office:value-type="date" office:date-value="2026-06-01"'),
    ]
    table = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    return open_document(
        path, "spreadsheet", f'<table:table table:name="Sales"><table:table-column table:number-columns-repeated="2"/>{table}</table:table>'
    )


def rich_open_presentation(path: Path) -> Path:
    def box(text: str, attributes: str = "") -> str:
        return f'<draw:frame svg:x="2cm" svg:y="3cm" svg:width="10cm" svg:height="2cm" {attributes}><draw:text-box><text:p>{text}</text:p></draw:text-box></draw:frame>'

    notes = f"<presentation:notes>{box('Smile')}</presentation:notes>"
    pages = [
        f'<draw:page draw:name="p{number}" draw:master-page-name="Standard">{box(text)}{notes}</draw:page>'
        for number, text in ((1, "Welcome"), (2, "Goodbye"))
    ]
    master = box("Click to edit", 'presentation:class="title"') + box("For internal use").replace('svg:y="3cm"', 'svg:y="9cm"')
    return open_document(path, "presentation", "".join(pages), master)
