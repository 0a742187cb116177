"""From a file's terms to what a reader fetches: which chunks of which xorbs, in as few ranges as possible."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yunmo.hub.xet.hashes import text_of
from yunmo.hub.xet.xorbs import ChunkTable

Tables = Mapping[bytes, ChunkTable]
Link = Callable[[bytes, int, int], str]
"""Makes a signed URL for the bytes `start` up to, not including, `end` of a xorb."""


@dataclass(frozen=True, slots=True)
class Span:
    """Chunks `first` up to, not including, `last` of one xorb, and their length unpacked."""

    xorb: bytes
    first: int
    last: int
    length: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The spans that hold a range of a file. The range starts `skip` bytes into the first span and is `length` long."""

    spans: list[Span]
    skip: int
    length: int


def spans_of(terms: NDArray[np.void]) -> list[Span]:
    """A file's terms as spans."""
    rows = zip(terms["xorb"], terms["first"].tolist(), terms["last"].tolist(), terms["bytes"].tolist(), strict=True)
    return [Span(xorb.tobytes(), first, last, length) for xorb, first, last, length in rows]


def cut(terms: NDArray[np.void], tables: Tables, start: int, end: int) -> Plan:
    """The plan for the bytes `start` up to, not including, `end` of a file; `tables` holds the xorbs of the touched terms.

    Chunks outside the range are left out at both ends.
    """
    spans: list[Span] = []
    skip = 0
    for term_start, span in touched(terms, start, end):
        table = tables[span.xorb]
        base = table.unpacked_range(span.first, span.last)[0] - term_start
        first = _chunk_at(table, max(start, term_start) + base)
        last = _chunk_at(table, min(end, term_start + span.length) - 1 + base) + 1
        low, high = table.unpacked_range(first, last)
        if not spans:
            skip = start + base - low
        spans.append(Span(span.xorb, first, last, high - low))
    return Plan(spans, skip, end - start)


def touched(terms: NDArray[np.void], start: int, end: int) -> Iterator[tuple[int, Span]]:
    """The terms that overlap a range of the file, each with its offset in the file."""
    ends = np.cumsum(terms["bytes"], dtype=np.int64)
    low = int(np.searchsorted(ends, start, side="right"))
    high = int(np.searchsorted(ends, end, side="left")) + 1
    offset = int(ends[low - 1]) if low else 0
    for span in spans_of(terms[low:high]):
        if span.length:
            yield offset, span
        offset += span.length


def answer_v2(plan: Plan, tables: Tables, link: Link) -> dict[str, Any]:
    """The reply of `GET /v2/reconstructions/{file}`: one URL for each merged range of each xorb."""
    xorbs = {
        text_of(xorb): [{"url": url, "ranges": [{"chunks": chunks, "bytes": stored}]} for url, chunks, stored in ranges]
        for xorb, ranges in _fetches(plan, tables, link).items()
    }
    return {**_terms(plan), "xorbs": xorbs}


def answer_v1(plan: Plan, tables: Tables, link: Link) -> dict[str, Any]:
    """The reply of `GET /v1/reconstructions/{file}`."""
    fetches = {
        text_of(xorb): [{"range": chunks, "url": url, "url_range": stored} for url, chunks, stored in ranges]
        for xorb, ranges in _fetches(plan, tables, link).items()
    }
    return {**_terms(plan), "fetch_info": fetches}


def merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that touch or overlap made one: a client fetches each of them with one request."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def _terms(plan: Plan) -> dict[str, Any]:
    terms = [
        {"hash": text_of(span.xorb), "unpacked_length": span.length, "range": {"start": span.first, "end": span.last}}
        for span in plan.spans
    ]
    return {"offset_into_first_range": plan.skip, "terms": terms}


def _fetches(plan: Plan, tables: Tables, link: Link) -> dict[bytes, list[tuple[str, dict[str, int], dict[str, int]]]]:
    wanted: dict[bytes, list[tuple[int, int]]] = {}
    for span in plan.spans:
        wanted.setdefault(span.xorb, []).append((span.first, span.last))
    fetches: dict[bytes, list[tuple[str, dict[str, int], dict[str, int]]]] = {}
    for xorb, ranges in wanted.items():
        for first, last in merged(ranges):
            start, end = tables[xorb].stored_range(first, last)
            # chunk ranges exclude their end, byte ranges include it (Xet specification)
            entry = (link(xorb, start, end), {"start": first, "end": last}, {"start": start, "end": end - 1})
            fetches.setdefault(xorb, []).append(entry)
    return fetches


def _chunk_at(table: ChunkTable, offset: int) -> int:
    """The chunk that holds this byte of the unpacked xorb."""
    return int(np.searchsorted(table.unpacked_ends, offset, side="right"))
