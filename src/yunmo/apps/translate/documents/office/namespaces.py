"""The namespaces of office documents by the prefixes that everybody knows them by; ISO 29500's strict names are the same to us."""

from functools import cache

_MICROSOFT = "http://schemas.openxmlformats.org/"
_STRICT = "http://purl.oclc.org/ooxml/"
_OPEN_DOCUMENT = "urn:oasis:names:tc:opendocument:xmlns:"
_PREFIXES = {
    "wordprocessingml": "w",
    "drawingml": "a",
    "drawingml/chart": "c",
    "drawingml/diagram": "dgm",
    "drawingml/picture": "pic",
    "drawingml/wordprocessingDrawing": "wp",
    "drawingml/spreadsheetDrawing": "xdr",
    "presentationml": "p",
    "spreadsheetml": "x",
    "officeDocument/math": "m",
    "officeDocument/relationships": "r",
}
_OTHERS = {
    f"{_MICROSOFT}markup-compatibility/2006": "mc",
    f"{_MICROSOFT}package/2006/content-types": "types",
    f"{_MICROSOFT}package/2006/relationships": "links",
    "urn:schemas-microsoft-com:vml": "v",
    "http://schemas.microsoft.com/office/drawing/2008/diagram": "dsp",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    "http://schemas.microsoft.com/office/word/2010/wordml": "w14",
    "http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments": "threaded",
    "http://schemas.microsoft.com/office/spreadsheetml/2009/9/main": "x14",
    "http://schemas.microsoft.com/office/excel/2006/main": "xm",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://www.w3.org/XML/1998/namespace": "xml",
}


@cache
def short_name(name: str) -> str:
    """`w:p` of a namespace and a local name with a space between; a name of no namespace, or of one that nobody asks for, as it is."""
    namespace, space, local = name.rpartition(" ")
    if not space:
        return local
    prefix = _OTHERS.get(namespace) or _prefix(namespace)
    return f"{prefix}:{local}" if prefix else name


def local_name(name: str) -> str:
    """A name, as `short_name` gives it, without what stands before it."""
    return name.rpartition(" ")[2].rpartition(":")[2]


def _prefix(namespace: str) -> str | None:
    if namespace.startswith(_OPEN_DOCUMENT):
        name = namespace.removeprefix(_OPEN_DOCUMENT).rpartition(":")[0].removesuffix("-compatible").removeprefix("xsl-")
        return "draw" if name == "drawing" else name
    for start in (_MICROSOFT, _STRICT):
        if namespace.startswith(start):
            path = namespace.removeprefix(start).replace("/2006", "").removesuffix("/main")
            return _PREFIXES.get(path)
    return None
