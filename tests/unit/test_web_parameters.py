"""Parameters are read wherever clients put them, and a body that cannot be read is said to be one."""

import pytest

from yunmo.core.errors import InvalidRequest, TooLarge
from yunmo.web.parameters import read_parameters
from yunmo.web.request import Request

LISTS = frozenset({"text"})
MULTIPART = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\none\r\n--x\r\nContent-Disposition: form-data; name="text"\r\n\r\ntwo\r\n--x--\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'


def asked(body=b"", kind="", query="", method="POST"):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())] if kind else []
    return Request({"type": "http", "method": method, "path": "/", "query_string": query.encode(), "headers": headers}, receive)


@pytest.mark.parametrize(
    ("body", "kind", "query", "found"),
    [
        (b"", "", "text=a&text=b&x=1&x=2", {"text": ["a", "b"], "x": "2"}),
        (b"text=a&text=b+c&x=%E4%BA%91", "application/x-www-form-urlencoded", "", {"text": ["a", "b c"], "x": "云"}),
        (b'{"text": ["a"], "x": null, "y": {"z": 1}}', "application/json", "", {"text": ["a"], "y": {"z": 1}}),
        (b'{"x": 1}', "application/json; charset=utf-8", "x=0&w=0", {"x": 1, "w": "0"}),
        (b'{"x": 1}', "", "", {"x": 1}),
        (b"x=", "", "", {"x": ""}),
        (MULTIPART, "multipart/form-data; boundary=x", "", {"text": ["one", "two"]}),
        (FILE, "multipart/form-data; boundary=x", "", {"a": "1"}),
        (b"  ", "application/json", "", {}),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_parameters_are_found_in_the_query_a_form_and_json(body, kind, query, found, method):
    request = asked(body, kind, query, method)
    assert await read_parameters(request, 1000, LISTS) == found
    assert await read_parameters(request, 1000, LISTS) == found, "it was read twice"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[1]", "application/json"),
        (b"{", "application/json"),
        (b'{"a": "\xff"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"a=%ff", "application/x-www-form-urlencoded"),
        (b"\xff=1", "application/x-www-form-urlencoded"),
        (b"a&" * 20_000, "application/x-www-form-urlencoded"),
        (b"<a/>", "application/xml"),
        (b"--x", "multipart/form-data"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(body, kind):
    with pytest.raises(InvalidRequest):
        await read_parameters(asked(body, kind), 1_000_000)


async def test_a_body_over_its_limit_is_not_read():
    with pytest.raises(TooLarge):
        await read_parameters(asked(b"a=" + b"x" * 2000, "application/x-www-form-urlencoded"), 1000)
