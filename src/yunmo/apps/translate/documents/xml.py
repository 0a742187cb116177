"""XML that people upload, parsed so that it can neither reach out nor blow up."""

from typing import Any

from yunmo.core.errors import InvalidRequest

PART_BYTES = 256 << 20


def parse_xml(data: bytes, name: str, limit: int = PART_BYTES) -> Any:
    """The root element (lxml) of an XML document; `name` is what its errors call it.

    No DTD is loaded, nothing is fetched, no entity is declared or expanded; libxml2's own limits on depth (256) and on the length of a text (10 MB)
    hold. Raises InvalidRequest where the document is not well-formed, declares entities, or is larger than `limit` bytes.
    """
    from lxml import etree

    if len(data) > limit:
        raise InvalidRequest(f"{name} has {len(data):,} bytes of XML, more than the {limit:,} that are read: split the document.")
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, dtd_validation=False, no_network=True, huge_tree=False, recover=False, strip_cdata=False
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidRequest(f"{name} is not well-formed XML ({error}): open the document in its own program and save it again.") from error
    subset = root.getroottree().docinfo.internalDTD
    if subset is not None and any(True for _ in subset.iterentities()):
        raise InvalidRequest(f"{name} declares entities of its own, which are not read: replace them by their text.")
    return root
