"""What a batch's file may hold: every line is looked at before any is run."""

import json

import pytest

from yunmo.core.errors import InvalidRequest
from yunmo.web.dialects.openai import batch_lines
from yunmo.web.dialects.openai.batch_lines import Line, check, parse

ENDPOINT = "/v1/embeddings"


def row(number=0, **fields):
    made = {"custom_id": f"row-{number}", "method": "POST", "url": ENDPOINT, "body": {"model": "m", "input": "x"}}
    return json.dumps(made | fields).encode()


async def checked(*texts):
    async def lines():
        for text in texts:
            yield text

    return await check(lines(), ENDPOINT)


async def test_good_lines_are_counted_and_empty_ones_passed_over():
    found = await checked(row(0), b"", b"  ", row(1))
    assert (found.lines, found.model, found.problems) == (2, "m", [])


async def test_a_body_stays_as_it_was_written():
    text = b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model":"m",  "input":"\\u00e9"}}'
    assert bytes(parse(text).body) == b'{"model":"m",  "input":"\\u00e9"}'
    assert isinstance(parse(text), Line)


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"\xff", "invalid_json_line", None),
        (b"[]", "invalid_request", None),
        (row(custom_id=""), "invalid_request", "custom_id"),
        (row(custom_id="x" * 513), "invalid_request", "custom_id"),
        (row(custom_id=7), "invalid_request", "custom_id"),
        (row(method="GET"), "invalid_request", "method"),
        (row(url="/v1/chat/completions"), "invalid_request", "url"),
        (row(body=[]), "invalid_request", "body"),
        (row(body={"model": ""}), "invalid_request", "body"),
        (row(body={"model": "m", "stream": True}), "invalid_request", "body.stream"),
        (row()[:-1] + b', "more": ' + b"[" * 100_000, "invalid_json_line", None),
    ],
)
async def test_a_line_that_cannot_be_sent_is_told_with_its_number_and_field(text, code, param):
    found = await checked(row(0), b"", text)
    assert [(each.line, each.code, each.param) for each in found.problems] == [(3, code, param)]


async def test_a_name_that_was_used_before_is_told():
    found = await checked(row(0), row(1), row(0))
    assert [(each.line, each.code) for each in found.problems] == [(3, "duplicate_custom_id")]


async def test_only_the_first_hundred_problems_are_told():
    found = await checked(*[b"{"] * 500)
    assert len(found.problems) == 100
    assert found.problems[-1].line == 100


async def test_a_batch_has_at_most_so_many_lines(monkeypatch):
    monkeypatch.setattr(batch_lines, "LINES_LIMIT", 2)
    assert (await checked(row(0), row(1))).problems == []
    found = await checked(row(0), row(1), row(2))
    assert [each.code for each in found.problems] == ["too_many_tasks"]
    assert "at most 2" in found.problems[0].message


async def test_a_file_without_requests_is_no_batch():
    assert [each.code for each in (await checked(b"", b"\t")).problems] == ["empty_file"]


def test_what_is_no_line_is_an_error_of_the_callers():
    with pytest.raises(InvalidRequest, match="custom_id"):
        parse(b'{"method": "POST"}')
